"""The app behind uvicorn on a loopback socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from api.app import create_app
from api.crowd import Crowd
from tests.api.stand_in import StandIn


@asynccontextmanager
async def uvicorn_of(venue: StandIn, most: int | None = None) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """Its URL and the server, which ends with the block; it serves `most` connections at once."""
    app: ASGIApp = create_app(venue)  # type: ignore[arg-type]
    if most is not None:
        app = Crowd(app, most, lambda: len(server.server_state.connections))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.should_exit = True
        await running

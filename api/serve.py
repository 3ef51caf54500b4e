"""The venue's process: `python -m api.serve FOLDER`, started by `darkpool up`.

It ends when its standard input does, or by SIGTERM; killed at any moment, the next one goes on from the log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import uvicorn

from api.app import create_app
from api.crowd import Crowd
from compliance.desk_open import open_office
from compliance.office import Office
from compliance.screened_disclosure import ScreenedDisclosure
from darkpool import eip712, parent
from darkpool.alone import alone
from darkpool.committee.meeting import Meeting
from darkpool.config import Settings
from darkpool.convening import meeting_of
from darkpool.deployment import Deployment, operator_key
from darkpool.errors import DarkpoolError
from darkpool.operator import open_venue
from darkpool.store.database import StoreError
from darkpool.tasks import end_process_on_defects, guarded
from darkpool.venue import Venue

GRACE_SECONDS: Final = 3  # less than the supervisor gives (supervise.py)
KEEP_ALIVE_SECONDS: Final = 30
LOCK: Final = "venue.lock"


async def _serve(folder: Path, settings: Settings, meeting: Meeting) -> None:
    end_process_on_defects()
    offices: list[Office] = []

    async def screened(stack: AsyncExitStack, venue: Venue, deployment: Deployment) -> None:
        domain = eip712.Domain(deployment.chain_id, deployment.vault)
        offices.append(await open_office(stack, venue, folder, deployment.venue, domain))

    async with open_venue(folder, settings, meeting, screened) as venue:
        (office,) = offices
        desk = office.desk
        disclosure = ScreenedDisclosure(venue, operator_key(folder), desk.recorder, desk.plugins)
        office.serve(disclosure.auditors)
        app = create_app(venue, serving=disclosure, office=office)
        crowd = Crowd(app, settings.api.max_connections, lambda: len(server.server_state.connections))
        config = uvicorn.Config(
            crowd,
            host=settings.api.host,
            port=settings.api.port,
            log_config=None,
            access_log=False,  # it would say who asked for what
            server_header=False,
            proxy_headers=False,  # else any local caller could choose whom its requests count for
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            lifespan="off",
        )
        server = uvicorn.Server(config)
        serving, signing = asyncio.create_task(server.serve()), guarded(desk.keep_signed(), "audit log")
        try:
            await asyncio.shield(serving)
        finally:
            # What is under way is answered while there is a venue to answer it.
            server.should_exit = True
            await serving
            signing.cancel()
            with suppress(StoreError):
                await desk.recorder.sign()


def main(arguments: list[str]) -> int:
    """Serve a venue. Exit code 2 for wrong arguments or settings."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m api.serve FOLDER\n")
        return 2
    folder = Path(arguments[0])
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        settings = Settings.load(folder)
        meeting = meeting_of(folder, settings)
        with alone(folder / LOCK), asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(parent.while_it_lives(_serve(folder, settings, meeting)))
    except DarkpoolError as error:
        sys.stderr.write(error.rendered() + "\n")
        return error.exit_code
    return 0


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

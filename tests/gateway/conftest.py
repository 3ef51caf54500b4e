"""A venue behind a real socket, and gateways of its traders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx
import pytest
from starlette.types import ASGIApp

from api.app import create_app as venue_app
from darkpool.client.live import Live, Told
from darkpool.client.trader import AsyncTrader
from darkpool.gateway.app import create_app
from darkpool.gateway.hub import Hub
from tests.client.plain_venue import PlainVenue, plain_venue
from tests.client.serving import served

TOKEN = "a" * 64


@dataclass
class Desk:
    """A trader's gateway: `http` has the token, `told` what its listeners hear."""

    trader: AsyncTrader
    hub: Hub
    app: ASGIApp
    http: httpx.AsyncClient
    told: list[Told]

    async def until(self, kind: str, **values: object) -> dict[str, Any]:
        """Wait for an event that says so."""
        async with asyncio.timeout(20):
            while True:
                for found, data in self.told:
                    if found == kind and values.items() <= data.items():
                        return data
                await asyncio.sleep(0.02)


@dataclass
class Stage:
    """The venue, and where it is served."""

    venue: PlainVenue
    url: str

    @asynccontextmanager
    async def desk(self, name: str, folder: str = "", *, fresh: bool = True) -> AsyncIterator[Desk]:
        async with AsyncExitStack() as stack:
            opening = self.venue.trader(name, folder, fresh=fresh, url=self.url, transport=None)
            trader = await stack.enter_async_context(opening)
            hub = await stack.enter_async_context(Hub(Live(trader, renew=True, delay=(0.0, 0.05))))
            app = create_app(trader, hub, TOKEN)
            told: list[Told] = []

            async def listen() -> None:
                async for one in hub.listen():
                    told.append(one)  # noqa: PERF401 - seen as it comes

            listening = asyncio.create_task(listen())
            stack.callback(listening.cancel)
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app, raise_app_exceptions=False),
                base_url="http://gateway",
                headers={"Authorization": f"Bearer {TOKEN}"},
            )
            yield Desk(trader, hub, app, await stack.enter_async_context(client), told)


Scenario: TypeAlias = Callable[[Stage], Coroutine[Any, Any, None]]
Play: TypeAlias = Callable[[Scenario], None]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Stage]]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def up() -> Stage:
            venue = await stack.enter_async_context(plain_venue(tmp_path_factory.mktemp("venue")))
            return Stage(venue, await stack.enter_async_context(served(venue_app(venue.venue))))

        yield runner, runner.run(up())
        runner.run(stack.aclose())


@pytest.fixture
def play(stage: tuple[asyncio.Runner, Stage]) -> Play:
    """Runs a scenario in the venue's loop, in an empty book."""
    runner, found = stage

    async def scenario_alone(scenario: Scenario) -> None:
        await found.venue.cleared()
        await scenario(found)

    return lambda scenario: runner.run(scenario_alone(scenario))

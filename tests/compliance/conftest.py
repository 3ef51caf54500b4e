"""One venue with a desk for all tests of it; each finds it empty."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import pytest

from tests.compliance.desk_support import DeskVenue, desk_venue

Scenario: TypeAlias = Callable[[DeskVenue], Coroutine[Any, Any, None]]
Desk: TypeAlias = Callable[[Scenario], None]


@pytest.fixture(scope="session")
def desk_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, DeskVenue]]:
    with asyncio.Runner() as runner:
        context = desk_venue(tmp_path_factory.mktemp("venue"))
        yield runner, runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
def desk(desk_stage: tuple[asyncio.Runner, DeskVenue]) -> Desk:
    """Runs a scenario in the venue's loop."""
    runner, venue = desk_stage
    runner.run(venue.cleared())
    return lambda scenario: runner.run(scenario(venue))

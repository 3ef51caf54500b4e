"""One venue for a whole module of tests; each test has traders of its own and finds the book empty."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias, TypeVar

import pytest

from tests.client.plain_venue import PlainVenue, plain_venue

T = TypeVar("T")

Scenario: TypeAlias = Callable[[PlainVenue], Coroutine[Any, Any, T]]
Play: TypeAlias = Callable[[Scenario[Any]], Any]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, PlainVenue]]:
    with asyncio.Runner() as runner:
        context = plain_venue(tmp_path_factory.mktemp("venue"))
        yield runner, runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
def play(stage: tuple[asyncio.Runner, PlainVenue]) -> Play:
    """Runs a scenario in the venue's loop."""
    runner, venue = stage
    runner.run(venue.cleared())
    return lambda scenario: runner.run(scenario(venue))

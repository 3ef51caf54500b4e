"""A venue and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.http import serving
from tests.api.stand_in import StandIn, stand_in


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[StandIn]:
    made = stand_in(tmp_path)
    yield made
    made.store.database.close()


@pytest.fixture
async def client(venue: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(venue) as client:
        yield client

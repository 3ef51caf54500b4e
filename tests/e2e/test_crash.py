"""A venue whose processes are killed at random moments while traders trade: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest

from darkpool.market import Side
from tests.anvil import anvil_path
from tests.databases import database_name, disconnect, fresh_url
from tests.e2e.audit import Folded, audit
from tests.e2e.service import EVERY_KIND, Service
from tests.e2e.traders import Trader

ROUNDS = 30
SIDES = (Side.BUY, Side.SELL, Side.BUY, Side.SELL)
AWAY_SECONDS = 4

Blow: TypeAlias = Callable[[], bool]
"""Does harm, and says whether there was anything to harm."""


@pytest.fixture
def rng() -> random.Random:
    """Of DARKPOOL_CRASH_SEED, or fresh; pytest shows the seed of a test that fails."""
    seed = int(os.environ.get("DARKPOOL_CRASH_SEED") or secrets.randbits(32))
    print(f"DARKPOOL_CRASH_SEED={seed}")  # noqa: T201
    return random.Random(seed)


def _deaths(service: Service, rng: random.Random, kinds: Sequence[str]) -> dict[str, Blow]:
    """Of one process of each kind."""

    def blow(kind: str) -> Blow:
        def kill() -> bool:
            found = service.processes().get(kind)
            if found:
                service.kill(rng.choice(found))
            return bool(found)

        return kill

    return {kind: blow(kind) for kind in kinds}


def _no_database(url: str) -> bool:
    """Every connection is ended, and none let in for a while."""
    name = database_name(url)
    with disconnect(url) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
    try:
        with disconnect(url):  # those that came between the two
            time.sleep(AWAY_SECONDS)
    finally:
        with disconnect(url) as server:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    return True


async def _harm(
    service: Service, trader: Trader, rng: random.Random, blows: Mapping[str, Blow], rounds: int
) -> Counter[str]:
    """Strike each of those blows, shuffled, over and over until so many rounds went by."""
    struck: Counter[str] = Counter()
    first = (await trader.market()).round
    while len(struck) < len(blows) or (await trader.market()).round < first + rounds:
        for name in rng.sample(list(blows), len(blows)):
            # Mostly a venue that is whole, sometimes one in the middle of its recovery.
            if rng.random() < 0.8:
                await asyncio.to_thread(service.wait)
            await asyncio.sleep(rng.uniform(0, 6))
            if await asyncio.to_thread(blows[name]):
                struck[name] += 1
    return struck


async def _under_load(
    service: Service, rng: random.Random, blows: Mapping[str, Blow], rounds: int
) -> tuple[Folded, Counter[str]]:
    """Traders trade while harm is done, then all is audited. What traders heard instead of an answer too."""
    await asyncio.to_thread(service.wait)
    limits = httpx.Limits(max_keepalive_connections=0)  # a dead process must not be asked twice
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=10, limits=limits) as http:
        traders = [Trader(http, side, random.Random(rng.random())) for side in SIDES]
        for trader in traders:
            trader.info = await trader.market()
        await asyncio.gather(*(asyncio.to_thread(t.deposit, service.rpc_url) for t in traders))
        for trader in traders:
            await trader.known()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for trader in traders:
                group.create_task(trader.trade(stop))
            struck = await _harm(service, traders[0], rng, blows, rounds)
            await asyncio.to_thread(service.wait)
            stop.set()
        folded = await audit(service, traders)
    unanswered = sum((t.unanswered for t in traders), Counter())
    print(  # noqa: T201
        f"{len(folded.accepted)} orders, {len(folded.results)} rounds crossed and settled, "
        f"harm {dict(struck)}, without answer {dict(unanswered)}"
    )
    return folded, unanswered


@pytest.mark.slow  # while other things run beside it, its minute is not enough
def test_a_venue_survives_the_death_of_its_processes(tmp_path: Path, rng: random.Random) -> None:
    anvil_path()
    with Service(tmp_path / "venue") as service:
        blows = _deaths(service, rng, ("venue", "member", "anvil", "up"))
        folded, _ = asyncio.run(_under_load(service, rng, blows, 2))
    assert folded.accepted


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thirty_rounds_of_killing_every_kind_of_process(tmp_path: Path, rng: random.Random) -> None:
    anvil_path()
    with Service(tmp_path / "venue") as service:
        folded, _ = asyncio.run(_under_load(service, rng, _deaths(service, rng, EVERY_KIND), ROUNDS))
    assert folded.results


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_venue_survives_the_loss_of_its_database(tmp_path: Path, rng: random.Random) -> None:
    anvil_path()
    with (
        fresh_url("postgresql", tmp_path) as url,
        Service(tmp_path / "venue", {"DARKPOOL_DATABASE__URL": url}) as service,
    ):
        blows = {**_deaths(service, rng, ("venue", "up")), "database": lambda: _no_database(url)}
        folded, unanswered = asyncio.run(_under_load(service, rng, blows, 3))
    assert folded.accepted
    assert unanswered["database-away"]

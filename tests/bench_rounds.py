"""Rounds from sealed list to signatures, three members on this machine; settlement gas; peak memory."""

from __future__ import annotations

import asyncio
import random
import resource
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commitments.params import PRODUCTION
from darkpool.auction import PlainOrder
from darkpool.committee.seat import Seat
from darkpool.house import open_house
from darkpool.market import Side
from darkpool.plan import Options
from darkpool.run import Run, RunReport
from darkpool.types import Lots, Tick
from tests.bench_orders import LEVELS
from tests.bench_scale import Scale
from tests.encrypted import plan_of
from tests.figures import Figure, Part, Series

_TARGETS = {(100, 10): 2, (1_000, 100): 12}  # seconds
_MEBIBYTE = 1 << 20
_MOST = 600  # MiB
_LEAST_SIZES = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """One round: seconds from sealed list to signatures, gas of its settlement, the members' reports."""

    orders: int
    accounts: int
    seconds: float
    gas: int
    statuses: Sequence[Mapping[str, Any]]


def book_of(orders: int, accounts: int) -> list[PlainOrder]:
    """A book that crosses: limits around the reference, accounts in turn; the same for the same sizes."""
    rng, book = random.Random(11), []
    for number in range(orders):
        side = Side(rng.randrange(2))
        lean = 1 if side is Side.BUY else -1
        level = Tick(LEVELS // 2 + lean * rng.randrange(-12, 8))
        book.append(PlainOrder(f"desk-{number % accounts:03d}", side, level, Lots(rng.randrange(1, 5_000))))
    return book


def measured(scale: Scale, seats: Sequence[Seat], orders: int, accounts: int) -> Measured:
    """One such round, compared with the plain auction and the chain on the way."""
    prepared = plan_of(LEVELS, [(Tick(LEVELS // 2), book_of(orders, accounts))])

    async def run(home: Path) -> RunReport:
        async with open_house(seats, home) as house:
            return await Run(prepared, Options("0.01", scale.profile, levels=LEVELS)).execute(house)

    with tempfile.TemporaryDirectory(prefix="dp-bench-") as folder:
        report = asyncio.run(run(Path(folder)))
    (outcome,) = report.rounds
    gas = sum(settled.receipt.gas_used for settled in report.settlements)
    statuses = [status.fields for status in report.members.values()]
    return Measured(orders, accounts, outcome.closed.seconds, gas, statuses)


def rounds(scale: Scale, seats: Sequence[Seat]) -> Part:
    """Every size of the scale, each once: a round cannot be repeated with the same list."""
    done = [measured(scale, seats, orders, accounts) for orders, accounts in scale.rounds]
    figures = []
    for one in done:
        target = _TARGETS.get((one.orders, one.accounts)) if scale.profile is PRODUCTION else None
        name = f"round of {one.orders:,} orders, {one.accounts} accounts"
        figures.append(Figure(f"{name}: sealed list to signatures", one.seconds, "s", target))
    figures += [
        Figure(f"settlement of {one.orders:,} orders, {one.accounts} accounts", one.gas, "gas")
        for one in done
    ]
    statuses = [status for one in done for status in one.statuses]
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for who, mebibytes in (
        ("a member", max(s["peak_bytes"] for s in statuses) / _MEBIBYTE),
        ("an evaluator", max(s["evaluator_peak_bytes"] for s in statuses) / _MEBIBYTE),
        ("operator, chain and traders in one process", own),
    ):
        figures.append(Figure(f"peak memory of {who}", mebibytes, "MiB", _MOST))
    return Part(figures, _growth(done))


def _growth(done: Sequence[Measured]) -> list[Series]:
    """Against orders at the accounts measured most, and against accounts at the orders measured most."""
    accounts = _commonest([one.accounts for one in done])
    orders = _commonest([one.orders for one in done])
    against_orders = [one for one in done if one.accounts == accounts]
    against_accounts = sorted((one for one in done if one.orders == orders), key=lambda one: one.accounts)
    found = []
    if len(against_orders) >= _LEAST_SIZES:
        points = tuple((one.orders, one.seconds) for one in against_orders)
        claim = "below 1: products linear, openings logarithmic in orders"
        found.append(Series(f"round of {accounts} accounts", "orders", "s", points, claim))
    if len(against_accounts) >= _LEAST_SIZES:
        points = tuple((one.accounts, one.seconds) for one in against_accounts)
        gas = tuple((one.accounts, one.gas) for one in against_accounts)
        claim = "at most 1: one to three openings an account beside a fixed part"
        found.append(Series(f"round of {orders} orders", "accounts", "s", points, claim))
        claim = "at most 1: a row an account and token beside a fixed part"
        found.append(Series(f"settlement of {orders} orders", "accounts", "gas", gas, claim))
    return found


def _commonest(sizes: Sequence[int]) -> int:
    return max(sorted(set(sizes)), key=sizes.count)

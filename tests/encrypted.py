"""A kept-alive venue with three real member processes for the tests of the whole path."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from commitments.params import INSECURE_TEST, PRODUCTION, Profile
from commitments.pedersen import generator_g
from commitments.threshold import safe_prime
from darkpool.auction import PlainOrder
from darkpool.chain import Chain
from darkpool.committee.seat import Seat, seats_from_primes
from darkpool.committee.transport import Tap
from darkpool.engine import Engine
from darkpool.house import House, open_house
from darkpool.market import Grid
from darkpool.orderfile import OrderRow, TickSize
from darkpool.plan import Batch, Options, Plan
from darkpool.run import MEMBERS, THRESHOLD, Run, RunReport
from darkpool.types import Quanta, Tick, TokenIndex
from darkpool.windows import Pending

T = TypeVar("T")

REFERENCE = 1_000  # ticks
TICK = TickSize.parse("0.01")


class Committee:
    """A house that lives as long as the fixture; every run brings a market and accounts of its own."""

    def __init__(self, house: House, runner: asyncio.Runner) -> None:
        self.house, self._runner = house, runner

    def execute(self, prepared: Plan, options: Options) -> RunReport:
        """The report of a run, which has already compared itself with the plain auction and the chain."""
        return self.run(Run(prepared, options).execute(self.house))

    def run(self, body: Coroutine[Any, Any, T]) -> T:
        """Something else in the house."""
        return self._runner.run(body)


def seats(profile: Profile, members: int = MEMBERS) -> list[Seat]:
    """Fresh seats, dealt in this process."""
    primes = [safe_prime(profile.modulus_bits // 2) for _ in range(2)]
    return seats_from_primes(primes[0], primes[1], members, THRESHOLD)


@contextmanager
def running(
    dealt: Sequence[Seat],
    modules: Sequence[str] | None = None,
    tap: Tap | None = None,
    timeout: int = 60,
    chain: Chain | None = None,
) -> Iterator[Committee]:
    """A house for the length of the block."""
    Chain.embedded()  # py-evm raises the recursion limit on import, which hypothesis must not see mid-test
    with tempfile.TemporaryDirectory(prefix="dp-test-") as folder, asyncio.Runner() as runner:
        loop = runner.get_loop()
        opened: asyncio.Future[House] = loop.create_future()
        done = asyncio.Event()

        async def keep() -> None:  # one task enters and leaves the house, whoever runs in it meanwhile
            async with open_house(
                dealt, Path(folder), chain=chain, modules=modules, tap=tap, clear_timeout=timeout
            ) as house:
                opened.set_result(house)
                await done.wait()

        async def first(keeping: asyncio.Task[None]) -> House:
            await asyncio.wait((keeping, opened), return_when=asyncio.FIRST_COMPLETED)
            if not opened.done():
                await keeping
            return await opened

        async def end() -> None:
            done.set()
            await keeping

        keeping = loop.create_task(keep())
        house = runner.run(first(keeping))
        try:
            yield Committee(house, runner)
        finally:
            runner.run(end())


class _Opened(Exception):  # noqa: N818 - no error
    """The round is open and has its orders."""


class _OpenRun(Run):
    async def _close(self, house: House) -> NoReturn:
        del house
        raise _Opened


async def opened(house: House, prepared: Plan, options: Options) -> tuple[Run, bytes]:
    """A run that got as far as its first round, open and with all its orders; its market."""
    run = _OpenRun(prepared, options)
    with suppress(_Opened):
        await run.execute(house)
    return run, run.report.terms.market.id


async def settled(engine: Engine) -> list[Pending]:
    """All that is unsettled lands; what became final by that."""
    await engine.close_window()
    await engine.sign_pending()
    await engine.settle()
    return [pending for effects in await engine.follow_chain() for pending in effects.settled]


def assert_ledger_is_the_chain(house: House, run: Run, *, locked: str = "") -> None:
    """Each F of the run commits to what the chain holds, for every account without standing orders.

    `locked` names the accounts that have some.
    """
    ledger, book = house.engine.state.ledger, house.engine.state.books[run.report.terms.market.id]
    desks = {desk.wallet.address: desk for desk in run._desks.values()}
    standing = {order.account for order in book.standing}
    assert {desks[a].name for a in standing} == set(locked)
    for account in desks.keys() - standing:
        for index, token in enumerate(house.tokens):
            # Blindings of locks returned in full cancel, so what is left is the public value alone.
            held = house.chain.balance(TokenIndex(index), account)
            assert ledger.of(account, token).current == generator_g() * held


def plan_of(levels: int, rounds: Sequence[tuple[Tick, Sequence[PlainOrder]]]) -> Plan:
    """Orders in the clear as a checked file would give them, with a reference of its own for each round."""
    grid = Grid.centred(Quanta(REFERENCE), Quanta(1), levels)
    batches, number = [], 0
    for reference, orders in rounds:
        rows = []
        for order in orders:
            number += 1
            price = int(grid.price(order.tick))
            row = OrderRow(str(number), order.account, order.side, order.quantity, price)
            rows.append((row, order.tick))
        batches.append(Batch(reference, tuple(rows)))
    return Plan(TICK, grid, tuple(batches), ())


__all__ = [
    "INSECURE_TEST",
    "PRODUCTION",
    "Committee",
    "assert_ledger_is_the_chain",
    "opened",
    "plan_of",
    "running",
    "seats",
    "settled",
]

"""What `darkpool run` is about to do: a checked file of orders, dealt to rounds, and its deposits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low
from typing import Final

from commitments.params import Profile
from darkpool.account import NONCES_PER_WORD
from darkpool.auction import PlainBook, PlainOrder
from darkpool.book import MAX_OPEN_PER_ACCOUNT
from darkpool.errors import ConfigError
from darkpool.market import MAX_VOLUME, Grid, Side
from darkpool.orderfile import OUTSIDE, OrderRow, TickSize, place, read_orders
from darkpool.settlement_gas import fits
from darkpool.state import MAX_UNSETTLED
from darkpool.types import Lots, Quanta, Tick, TokenIndex

BASE, QUOTE = TokenIndex(0), TokenIndex(1)  # in the vault of a run
_MAX_DEPOSITS: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a file. reference: a decimal price or None for the median limit of the file.

    window: crossing rounds that are netted into one settlement.
    """

    tick: str
    profile: Profile
    reference: str | None = None
    levels: int = 64
    pressure_ticks: int = 0
    per_round: int | None = None
    renew: bool = False
    min_volume: int = 1
    window: int = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """The new orders of one round, each with its level, and the round's reference level."""

    reference: Tick
    rows: tuple[tuple[OrderRow, Tick], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked file: what will be sealed, in which round."""

    tick: TickSize
    grid: Grid
    batches: tuple[Batch, ...]
    outside: tuple[OrderRow, ...] = field(repr=False)

    @property
    def rows(self) -> list[tuple[OrderRow, Tick]]:
        """All orders that will be sealed, in file order."""
        return [row for batch in self.batches for row in batch.rows]

    def deposits(self) -> dict[str, tuple[Quanta, Quanta]]:
        """(base, quote) quanta for every account: enough for its locks.

        Deposits are public, so every account gets the same power of two: what its own orders need would tell
        their worth. Near the vault's cap it is the same share of the cap, and if that is too little for one,
        exactly what each needs. Raises ConfigError beyond the cap.
        """
        needs: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for row, level in self.rows:
            need = needs[row.account]
            if row.side is Side.SELL:
                need[BASE] += row.quantity
            else:
                need[QUOTE] += row.quantity * self.grid.price(level)
        amounts = [_deposits("base", [n[BASE] for n in needs.values()])]
        amounts.append(_deposits("quote", [n[QUOTE] for n in needs.values()]))
        return {a: (Quanta(b), Quanta(q)) for a, b, q in zip(needs, *amounts, strict=True)}


def _deposits(name: str, needs: Sequence[int]) -> list[int]:
    if sum(needs) > _MAX_DEPOSITS:
        raise ConfigError(
            f"deposits: the file needs {sum(needs)} {name} quanta, the vault holds at most 2^64 - 1",
            "split the file",
        )
    most = max(needs, default=0)
    alike = min(1 << most.bit_length(), _MAX_DEPOSITS // max(len(needs), 1))
    return [alike] * len(needs) if alike >= most else list(needs)


def plan(path: Path, options: Options) -> Plan:
    """Read and check everything before anything is sealed. Raises OrderFileError or ConfigError."""
    tick = TickSize.parse(options.tick)
    rows = read_orders(path, tick)
    if options.per_round is not None and options.per_round < 1:
        raise ConfigError(f"per-round: {options.per_round}, must be at least 1")
    if not 1 <= options.window <= MAX_UNSETTLED:
        raise ConfigError(
            f"window: {options.window}, must be 1 to {MAX_UNSETTLED}", "that many rounds may wait at most"
        )
    if not 1 <= options.min_volume <= MAX_VOLUME:
        raise ConfigError(f"min-volume: {options.min_volume}, must be 1 to {MAX_VOLUME}", "give it in lots")
    if options.reference is not None:
        reference = tick.argument(options.reference)
    else:
        limits = [row.price for row in rows if row.price is not None]
        if not limits:
            raise ConfigError("reference: the file has market orders only", "give --reference PRICE")
        reference = median_low(limits)
    # One quantum of quote is one tick of one lot, so amounts on chain are the file's own units.
    grid = Grid.centred(Quanta(reference), Quanta(1), options.levels)
    placed = [(row, level) for row in rows if (level := place(row, grid)) is not OUTSIDE]
    outside = tuple(row for row in rows if place(row, grid) is OUTSIDE)
    size = options.per_round or max(len(placed), 1)
    level_of_reference = grid.level(Quanta(reference))
    starts = range(0, max(len(placed), 1), size)
    batches = tuple(Batch(level_of_reference, tuple(placed[i : i + size])) for i in starts)
    _check_bounds(batches, options)
    return Plan(tick, grid, batches, outside)


def _check_bounds(batches: Sequence[Batch], options: Options) -> None:
    """Refuse a file that would overfill the book, rolled and renewed orders counted, before sealing any.

    The command knows all orders, so it can play them through in the clear.
    """
    book = PlainBook(options.levels, options.pressure_ticks, Lots(options.min_volume))
    for number, batch in enumerate(batches, 1):
        for row, level in batch.rows:
            book.add(row.order_id, PlainOrder(row.account, row.side, level, row.quantity))
        counts = Counter(entry.order.account for entry in book.resting)
        words = sum(-(-count // NONCES_PER_WORD) for count in counts.values())
        if not fits(2 * len(counts), words):
            raise ConfigError(
                f"orders: {len(counts)} accounts in round {number} are more than a settlement takes",
                "split the file, or deal them to fewer accounts",
            )
        for account, count in counts.most_common(1):
            if count > MAX_OPEN_PER_ACCOUNT:
                raise ConfigError(
                    f"orders: {count} of {account} in round {number}, a book takes {MAX_OPEN_PER_ACCOUNT}",
                    "split the file, or deal them to more accounts",
                )
        result = book.clear(batch.reference)
        if options.renew:
            book.renew(result)

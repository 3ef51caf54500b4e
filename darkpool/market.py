"""Instruments, price grids, and rounds with their state machine (`docs/protocol.md`, sections 3 and 6).

Units. A *quantum* is the smallest amount of a token the chain books; a *lot* is a fixed number of base quanta
and the unit of every order quantity; a *tick* is either the grid's step, in quote quanta per lot, or the
index of a level on the grid. Everything is an exact integer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final

from commitments.params import COLLATERAL_BITS, MAX_LEVELS, MAX_ORDERS_PER_ROUND, QUANTITY_BITS, SUM_BITS
from darkpool.errors import ConfigError, DarkpoolError
from darkpool.types import ADDRESS_BYTES, Address, Lots, Quanta, RoundId, Tick

MAX_LOTS: Final = 2**QUANTITY_BITS - 1
"""Largest quantity of one order; its 32 bits are proven."""

MAX_LOCKED: Final = 2**COLLATERAL_BITS - 1
"""Largest amount, in quanta, that one order may lock: collateral remainders are proven to have 64 bits."""

MAX_VOLUME: Final = 2**SUM_BITS - 1
"""Bound of every sum of a round, in lots."""

MAX_ORDERS: Final = MAX_ORDERS_PER_ROUND
"""Most orders of one round, so that no sum passes MAX_VOLUME."""

MIN_LEVELS: Final = 2
MAX_NAME: Final = 64
WHOLE: Final = "all"
"""The segment of everybody."""

MARKET_ID_BYTES: Final = 32


class IllegalTransition(DarkpoolError):  # noqa: N818  # named like its siblings in `darkpool.errors`
    """A round was asked to go where its state machine has no edge: a fault of the caller, nothing changed."""


class Side(IntEnum):
    """The side of an order; the value is s in slot k = 2i + s."""

    BUY = 0
    SELL = 1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


@dataclass(frozen=True, slots=True)
class Grid:
    """The price levels p_i = p_0 + i * tick, 0 <= i < levels, in quote quanta per lot.

    Raises ConfigError unless 2 <= levels <= 256, all prices are above zero, and the largest order at the
    highest price stays below 2^64 quanta.
    """

    p_0: Quanta
    tick: Quanta
    levels: int

    def __post_init__(self) -> None:
        _require("grid levels", self.levels, MIN_LEVELS, MAX_LEVELS, "choose another number of levels")
        _require("grid tick", self.tick, 1, MAX_LOCKED, "give the tick in whole quote quanta per lot")
        _require(
            "lowest price p_0",
            self.p_0,
            1,
            MAX_LOCKED,
            "all levels must be above zero: fewer levels, smaller tick",
        )
        _require(
            "highest price",
            self.p_0 + (self.levels - 1) * self.tick,
            1,
            MAX_LOCKED // MAX_LOTS,
            "2^32 - 1 lots at the highest price must stay below 2^64 quanta: use a smaller lot",
        )

    @classmethod
    def centred(cls, reference_price: Quanta, tick: Quanta, levels: int) -> Grid:
        """The grid with half of the levels below the reference, the reference itself, the rest above.

        The reference becomes level `levels // 2`. Raises ConfigError like the constructor.
        """
        return cls(Quanta(reference_price - (levels // 2) * tick), tick, levels)

    @property
    def last(self) -> Tick:
        """The highest level."""
        return Tick(self.levels - 1)

    @property
    def first_tick(self) -> int:
        """The price of level 0 counted in ticks from zero.

        Raises ConfigError if the prices of this grid are not multiples of its tick.
        """
        first, rest = divmod(self.p_0, self.tick)
        if rest:
            raise ConfigError(
                f"grid: p_0 {self.p_0} is not a multiple of the tick {self.tick}",
                "choose a reference price that is on the tick",
            )
        return first

    def price(self, level: Tick) -> Quanta:
        """p_i in quote quanta per lot. Raises ConfigError if the level is not on the grid."""
        _require("level", level, 0, self.last, "use a level of this grid")
        return Quanta(self.p_0 + level * self.tick)

    def level(self, price: Quanta) -> Tick:
        """The level whose price this is. Raises ConfigError if no level has it."""
        level, rest = divmod(price - self.p_0, self.tick)
        if rest or not 0 <= level < self.levels:
            raise ConfigError(
                f"price {price} is not on the grid {self.p_0} to {self.price(self.last)} by {self.tick}",
                "use a price of this grid",
            )
        return Tick(level)


@dataclass(frozen=True, slots=True)
class Market:
    """One instrument and the terms all its rounds share.

    `id` is 32 bytes and unique per venue; `lot` is in base quanta; `min_volume` is V_min, the least number of
    lots a round must cross to reveal anything else; a round with fewer than `min_accounts` accounts or
    `min_orders` orders stays open. Raises ConfigError naming the field that is out of range.
    """

    id: bytes
    name: str
    base: Address
    quote: Address
    lot: Quanta
    grid: Grid
    pressure_ticks: int = 0
    min_volume: Lots = field(default=Lots(1))
    min_accounts: int = 1
    min_orders: int = 1

    @property
    def instrument(self) -> str:
        """The name of what is traded: that of the market without its segment."""
        return self.name.partition("/")[0]

    @property
    def segment(self) -> str:
        """Whose market it is: the part of its name after a slash, or everybody's."""
        return self.name.partition("/")[2] or WHOLE

    def __post_init__(self) -> None:
        _require("market id, bytes", len(self.id), MARKET_ID_BYTES, MARKET_ID_BYTES, "give 32 bytes")
        _require("market name, characters", len(self.name), 1, MAX_NAME, "choose another name")
        if not (self.name.isascii() and self.name.isprintable()):
            raise ConfigError("market name has characters outside printable ASCII", "choose another name")
        for token in (self.base, self.quote):
            _require("market token address, bytes", len(token), ADDRESS_BYTES, ADDRESS_BYTES, "give 20 bytes")
        if self.base == self.quote:
            raise ConfigError("market: base and quote token are the same", "name two different tokens")
        _require(
            "market lot", self.lot, 1, MAX_LOCKED // MAX_LOTS, "2^32 - 1 lots must stay below 2^64 quanta"
        )
        _require(
            "market pressure_ticks",
            self.pressure_ticks,
            0,
            MAX_LEVELS,
            "0 stays nearest the reference",
        )
        _require("market min_volume", self.min_volume, 1, MAX_VOLUME, "give it in lots")
        _require(
            "market min_accounts",
            self.min_accounts,
            1,
            MAX_ORDERS_PER_ROUND,
            "a round has that many orders at most",
        )
        _require(
            "market min_orders",
            self.min_orders,
            1,
            MAX_ORDERS_PER_ROUND,
            "a round has that many orders at most",
        )


class RoundState(StrEnum):
    """Where a round is; `TRANSITIONS` says where it may go."""

    OPEN = "open"
    SEALED = "sealed"
    CLEARING = "clearing"
    NO_CROSS = "no_cross"
    CLEARED = "cleared"
    SETTLING = "settling"
    SETTLED = "settled"
    VOID = "void"
    ABORTED = "aborted"

    @property
    def final(self) -> bool:
        """Whether a round in this state never changes again."""
        return not TRANSITIONS[self]


TRANSITIONS: Final[Mapping[RoundState, frozenset[RoundState]]] = MappingProxyType(
    {
        RoundState.OPEN: frozenset({RoundState.SEALED}),
        RoundState.SEALED: frozenset({RoundState.CLEARING}),
        RoundState.CLEARING: frozenset({RoundState.NO_CROSS, RoundState.CLEARED, RoundState.ABORTED}),
        RoundState.CLEARED: frozenset({RoundState.SETTLING, RoundState.VOID}),
        RoundState.SETTLING: frozenset({RoundState.SETTLED, RoundState.VOID}),
        RoundState.NO_CROSS: frozenset(),
        RoundState.SETTLED: frozenset(),
        RoundState.VOID: frozenset(),
        RoundState.ABORTED: frozenset(),
    }
)
"""Every legal step of section 6; the states without a step onwards are final."""


@dataclass(frozen=True, slots=True)
class Round:
    """One auction of one market: its number, its reference level, its state.

    The grid is the market's for the whole session, so orders can roll; only the reference moves from round
    to round, and it is fixed when the round opens.
    """

    id: RoundId
    market: Market
    reference: Tick
    state: RoundState = RoundState.OPEN

    def __post_init__(self) -> None:
        _require(
            "round reference level", self.reference, 0, self.market.grid.last, "take a level of the grid"
        )

    def advance(self, state: RoundState) -> Round:
        """The same round in its next state. Raises IllegalTransition if there is no such step."""
        allowed = TRANSITIONS[self.state]
        if state not in allowed:
            raise IllegalTransition(
                f"round {self.id}: no step from {self.state} to {state}",
                f"from {self.state}: {', '.join(sorted(allowed)) or 'nothing, it is final'}",
            )
        return replace(self, state=state)


def _require(name: str, value: int, low: int, high: int, hint: str) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}, must be {low} to {high}", hint)

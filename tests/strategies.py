"""Hypothesis strategies for books of orders, shared by every test that compares with the plain auction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from darkpool.auction import PlainOrder
from darkpool.market import MAX_LOTS, Side
from darkpool.orderfile import OrderRow
from darkpool.types import Lots, Tick

ACCOUNTS = ("ada", "ben", "cyd", "dov", "eve", "fay")


@dataclass(frozen=True, slots=True)
class RandomBook:
    """A round to be cleared; `orders` are in arrival order and all lie on the grid."""

    levels: int
    reference: Tick
    pressure_ticks: int
    min_volume: Lots
    orders: tuple[PlainOrder, ...]


@dataclass(frozen=True, slots=True)
class RandomSession:
    """Several rounds on one grid: what arrives before each round, with that round's reference."""

    levels: int
    pressure_ticks: int
    min_volume: Lots
    rounds: tuple[tuple[Tick, tuple[PlainOrder, ...]], ...]


class Shape(Enum):
    """What a book is made to be rich in."""

    ANY = "any tick, any quantity"
    TIES = "few ticks, few quantities: many orders compete for the marginal tick"
    PLATEAUS = "balanced sides far apart: wide intervals of equal volume and surplus"
    STRADDLE = "equal limits on both sides of a gap: balanced ticks, or a surplus of both kinds"
    MARKET = "mostly orders at their aggressive edge"
    ONE_SIDED = "only one side"
    EMPTY = "no order, or decoys only"
    DECOYS = "many zero quantities"
    SELF = "two accounts on both sides"
    LARGE = "quantities up to the limit"


_SHAPES = (
    [Shape.ANY] * 3
    + [Shape.TIES] * 4
    + [Shape.PLATEAUS] * 4
    + [Shape.STRADDLE] * 4
    + [Shape.MARKET] * 3
    + [Shape.SELF] * 3
    + [Shape.DECOYS] * 2
    + [Shape.LARGE, Shape.ONE_SIDED, Shape.EMPTY]
)
_QUANTITIES: dict[Shape, SearchStrategy[int]] = {
    Shape.TIES: st.integers(1, 3),
    Shape.PLATEAUS: st.sampled_from([1, 2, 2, 4]),
    Shape.EMPTY: st.just(0),
    Shape.DECOYS: st.sampled_from([0, 0, 1, 5]),
    Shape.LARGE: st.one_of(st.just(MAX_LOTS), st.integers(1, MAX_LOTS)),
}


def _ticks(shape: Shape, side: Side, levels: int) -> SearchStrategy[int]:
    edge = levels - 1 if side is Side.BUY else 0
    match shape:
        case Shape.TIES:
            return st.sampled_from(sorted({levels // 2 - 1, levels // 2}))
        case Shape.PLATEAUS:
            # Buys high and sells low with a gap between, so that many ticks are equally good.
            near = (levels - 1) * 3 // 4 if side is Side.BUY else (levels - 1) // 4
            return st.sampled_from([edge, near, near, levels // 2])
        case Shape.MARKET:
            return st.one_of(st.just(edge), st.just(edge), st.integers(0, levels - 1))
        case _:
            return st.integers(0, levels - 1)


@st.composite
def plain_orders(draw: DrawFn, levels: int, shape: Shape, *, max_size: int = 12) -> tuple[PlainOrder, ...]:
    """A list of orders of one shape on a grid of `levels` ticks, in arrival order."""
    if shape is Shape.STRADDLE:
        return draw(_straddles(levels, max_size))
    sides = [draw(st.sampled_from(Side))] if shape is Shape.ONE_SIDED else list(Side)
    accounts = ACCOUNTS[:2] if shape is Shape.SELF else ACCOUNTS
    quantities = _QUANTITIES.get(shape, st.integers(0, 9))
    order = st.sampled_from(sides).flatmap(
        lambda side: _orders(accounts, side, _ticks(shape, side, levels), quantities)
    )
    least = 0 if shape is Shape.EMPTY else min(3, max_size)
    return tuple(draw(st.lists(order, min_size=least, max_size=max_size)))


def _orders(
    accounts: Sequence[str], side: Side, ticks: SearchStrategy[int], quantities: SearchStrategy[int]
) -> SearchStrategy[PlainOrder]:
    return st.builds(
        PlainOrder, st.sampled_from(accounts), st.just(side), ticks.map(Tick), quantities.map(Lots)
    )


@st.composite
def _straddles(draw: DrawFn, levels: int, max_size: int) -> tuple[PlainOrder, ...]:
    """Pairs that trade with one another across the gap between t and t + 1, and c lots waiting on each side.

    So D - S is c at t and -c at t + 1 with equal volume: a mixed surplus, or for c = 0 a balanced interval.
    """
    t = draw(st.integers(0, levels - 2))
    above, below = st.integers(t + 1, levels - 1), st.integers(0, t)
    orders: list[PlainOrder] = []
    for quantity in draw(st.lists(st.integers(1, 5), min_size=1, max_size=max(1, max_size // 2 - 1))):
        orders.append(draw(_orders(ACCOUNTS, Side.BUY, above, st.just(quantity))))
        orders.append(draw(_orders(ACCOUNTS, Side.SELL, below, st.just(quantity))))
    waiting = st.just(draw(st.sampled_from([0, 1, 1, 3])))
    orders.append(draw(_orders(ACCOUNTS, Side.BUY, st.just(t), waiting)))
    orders.append(draw(_orders(ACCOUNTS, Side.SELL, st.just(t + 1), waiting)))
    return tuple(draw(st.permutations(orders))[:max_size])


@st.composite
def books(
    draw: DrawFn, *, levels: int | None = None, max_orders: int = 12, max_accounts: int = len(ACCOUNTS)
) -> RandomBook:
    """A round of any shape: its grid (2 to 12 ticks unless fixed), reference, pressure, V_min and orders."""
    size = draw(st.integers(2, 12)) if levels is None else levels
    orders = draw(plain_orders(size, draw(st.sampled_from(_SHAPES)), max_size=max_orders))
    return RandomBook(
        levels=size,
        reference=Tick(draw(st.integers(0, size - 1))),
        pressure_ticks=draw(_pressures(size)),
        min_volume=Lots(draw(st.sampled_from([1, 1, 1, 2, 5]))),
        orders=_renamed(orders, max_accounts),
    )


@st.composite
def sessions(
    draw: DrawFn, *, levels: int | None = None, max_rounds: int = 4, max_orders: int = 8
) -> RandomSession:
    """Some rounds of any shapes on one grid."""
    size = draw(st.integers(2, 12)) if levels is None else levels
    arrivals = st.sampled_from(_SHAPES).flatmap(lambda shape: plain_orders(size, shape, max_size=max_orders))
    reference = st.integers(0, size - 1).map(Tick)
    return RandomSession(
        levels=size,
        pressure_ticks=draw(_pressures(size)),
        min_volume=Lots(draw(st.sampled_from([1, 1, 1, 2, 5]))),
        rounds=tuple(draw(st.lists(st.tuples(reference, arrivals), min_size=1, max_size=max_rounds))),
    )


def _pressures(levels: int) -> SearchStrategy[int]:
    return st.one_of(st.just(0), st.integers(0, 3), st.just(levels))


def _renamed(orders: Sequence[PlainOrder], accounts: int) -> tuple[PlainOrder, ...]:
    names = ACCOUNTS[:accounts]
    return tuple(
        PlainOrder(names[ACCOUNTS.index(o.account) % len(names)], o.side, o.tick, o.quantity) for o in orders
    )


_NAME_ALPHABET = "ABCXYZabcxyz0189._-"


@st.composite
def order_rows(draw: DrawFn, *, max_size: int = 12) -> tuple[OrderRow, ...]:
    """Rows of an order file with unique ids: limits from one tick up, market orders, decoys."""
    names = st.text(_NAME_ALPHABET, min_size=1, max_size=64)
    ids = draw(st.lists(names, min_size=1, max_size=max_size, unique=True))
    return tuple(
        OrderRow(
            order_id=order_id,
            account=draw(names),
            side=draw(st.sampled_from(Side)),
            quantity=Lots(draw(st.integers(0, MAX_LOTS))),
            price=draw(st.none() | st.integers(1, 10**6)),
        )
        for order_id in ids
    )


def flip(data: st.DataObject, value: bytes) -> bytes:
    """The bytes with one bit of the example's choice changed."""
    at = data.draw(st.integers(0, 8 * len(value) - 1))
    return (int.from_bytes(value, "big") ^ (1 << at)).to_bytes(len(value), "big")

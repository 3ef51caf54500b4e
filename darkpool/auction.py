"""The call auction in the clear: the rule of `docs/protocol.md`, section 7, by direct evaluation.

The pool never runs this on its traders' orders; it computes the same result on ciphertexts and shares.
This is the plain statement of what that result must be: for whoever knows all the orders (a demo, a test,
`darkpool run` on one trader's file) to compare with, written to be read rather than to be fast: O(T n).

The rule. D_i is the quantity of buys with tick >= i, S_i of sells with tick <= i, V_i = min(D_i, S_i).
All ticks are candidates, whether or not an order names them:

1. maximise V_i;
2. among those minimise |D_i - S_i|;
3. the rest is an interval [lo, hi]. With reference tick ref and pressure L the price is
   clamp(ref + L, lo, hi) if the surplus is of buys on all of it, clamp(ref - L, lo, hi) if of sells,
   clamp(ref, lo, hi) if there is none or both occur.

L = 0 stays nearest the reference (Euronext, Trading Manual for the cash market, 3.1); a large L is the
market-pressure rule of Xetra (T7 Market Model for the Trading Venue Xetra, 11.1.1) and most call auctions.

Fills: every order at the price or better is eligible. The short side fills whole; the long side by tick,
best first, then by arrival. An order of quantity zero is a decoy and never fills.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from commitments.params import MAX_LEVELS
from darkpool.market import MAX_LOTS, MIN_LEVELS, Side
from darkpool.types import Lots, Tick


@dataclass(frozen=True, slots=True)
class PlainOrder:
    """One order in the clear; `tick` is a level of the grid, `quantity` is in lots, zero for a decoy.

    What it hides from `repr` is what the pool hides from everybody.
    """

    account: str
    side: Side = field(repr=False)
    tick: Tick = field(repr=False)
    quantity: Lots = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a crossing round decides.

    `price` is a level of the grid, `volume` in lots. `long_side` is the side with a surplus at that price,
    buys if there is none. `marginal` is u, the worst tick of the long side that trades: for buys the largest
    i with D_i >= V, for sells the smallest i with S_i >= V; `exact` says that the long side is filled whole
    down to u. `fills` follows the list that was cleared; `bought` and `sold` name only accounts with
    something in them.
    """

    price: Tick
    volume: Lots
    long_side: Side
    marginal: Tick
    exact: bool
    fills: tuple[Lots, ...]
    bought: Mapping[str, Lots]
    sold: Mapping[str, Lots]

    @property
    def traded(self) -> frozenset[str]:
        """The accounts that bought or sold anything, even if they only traded with themselves."""
        return frozenset(self.bought) | frozenset(self.sold)

    def base_net(self, account: str) -> int:
        """Lots of the base token the account gains; negative if it gives."""
        return self.bought.get(account, 0) - self.sold.get(account, 0)


def curves(orders: Sequence[PlainOrder], levels: int) -> tuple[tuple[Lots, ...], tuple[Lots, ...]]:
    """The cumulative demand D and supply S, each of `levels` entries in lots."""
    demand = tuple(
        Lots(sum(o.quantity for o in orders if o.side is Side.BUY and o.tick >= i)) for i in range(levels)
    )
    supply = tuple(
        Lots(sum(o.quantity for o in orders if o.side is Side.SELL and o.tick <= i)) for i in range(levels)
    )
    return demand, supply


def clear(
    orders: Sequence[PlainOrder], levels: int, reference: Tick, pressure_ticks: int, min_volume: Lots
) -> Outcome | None:
    """Evaluate the rule on orders in arrival order; None if less than `min_volume` lots would trade.

    Raises ValueError if a size, the reference or an order lies outside its range.
    """
    _check(orders, levels, reference, pressure_ticks, min_volume)
    demand, supply = curves(orders, levels)
    crossing = [min(d, s) for d, s in zip(demand, supply, strict=True)]
    surplus = [d - s for d, s in zip(demand, supply, strict=True)]
    volume = max(crossing)
    if volume < min_volume:
        return None

    best = [i for i in range(levels) if crossing[i] == volume]
    least = min(abs(surplus[i]) for i in best)
    best = [i for i in best if abs(surplus[i]) == least]
    if all(surplus[i] > 0 for i in best):
        aim = reference + pressure_ticks
    elif all(surplus[i] < 0 for i in best):
        aim = reference - pressure_ticks
    else:
        aim = reference
    price = Tick(min(max(aim, best[0]), best[-1]))

    if surplus[price] >= 0:
        long_side, marginal = Side.BUY, max(i for i in range(levels) if demand[i] >= volume)
        exact = demand[marginal] == volume
    else:
        long_side, marginal = Side.SELL, min(i for i in range(levels) if supply[i] >= volume)
        exact = supply[marginal] == volume

    fills = _fills(orders, price, volume)
    return Outcome(
        price=price,
        volume=volume,
        long_side=long_side,
        marginal=Tick(marginal),
        exact=exact,
        fills=fills,
        bought=_totals(orders, fills, Side.BUY),
        sold=_totals(orders, fills, Side.SELL),
    )


def _fills(orders: Sequence[PlainOrder], price: Tick, volume: Lots) -> tuple[Lots, ...]:
    """Price, then time; on the short side the volume suffices for everybody eligible."""
    fills = [Lots(0)] * len(orders)
    buys = [k for k, o in enumerate(orders) if o.side is Side.BUY and o.tick >= price]
    sells = [k for k, o in enumerate(orders) if o.side is Side.SELL and o.tick <= price]
    buys.sort(key=lambda k: (-orders[k].tick, k))
    sells.sort(key=lambda k: (orders[k].tick, k))
    for queue in (buys, sells):
        left = volume
        for k in queue:
            fills[k] = Lots(min(orders[k].quantity, left))
            left = Lots(left - fills[k])
    return tuple(fills)


def _totals(orders: Sequence[PlainOrder], fills: Sequence[Lots], side: Side) -> dict[str, Lots]:
    totals: Counter[str] = Counter()
    for order, fill in zip(orders, fills, strict=True):
        if order.side is side and fill:
            totals[order.account] += fill
    return {account: Lots(total) for account, total in totals.items()}


def _check(
    orders: Sequence[PlainOrder], levels: int, reference: Tick, pressure_ticks: int, min_volume: Lots
) -> None:
    if not MIN_LEVELS <= levels <= MAX_LEVELS:
        raise ValueError(f"levels is {levels}, must be {MIN_LEVELS} to {MAX_LEVELS}")
    if not 0 <= reference < levels:
        raise ValueError(f"reference is tick {reference}, must be 0 to {levels - 1}")
    if pressure_ticks < 0:
        raise ValueError(f"pressure_ticks is {pressure_ticks}, must not be negative")
    if min_volume < 1:
        raise ValueError(f"min_volume is {min_volume}, must be at least 1")
    for k, order in enumerate(orders):
        if not 0 <= order.tick < levels:
            raise ValueError(f"order {k}: its tick must be 0 to {levels - 1}")
        if not 0 <= order.quantity <= MAX_LOTS:
            raise ValueError(f"order {k}: its quantity must be 0 to {MAX_LOTS} lots")


@dataclass(frozen=True, slots=True)
class BookEntry:
    """An order resting in a `PlainBook`; the id names it in results and survives rolling and renewal."""

    order_id: str
    order: PlainOrder


@dataclass(frozen=True, slots=True)
class PlainRound:
    """One round of a `PlainBook`: what was in it, what came out.

    `entries` are all orders of the round in arrival order. With `outcome` None nothing crossed and all of
    them rolled. Otherwise the orders of every account that traded are consumed, filled or not, and
    `remainders` are what is left of those, decoys and whole fills excepted.
    """

    entries: tuple[BookEntry, ...]
    outcome: Outcome | None
    consumed: tuple[BookEntry, ...]
    rolled: tuple[BookEntry, ...]
    remainders: tuple[BookEntry, ...]

    @property
    def fills(self) -> dict[str, Lots]:
        """Lots filled of every order of the round, by order id."""
        if self.outcome is None:
            return {e.order_id: Lots(0) for e in self.entries}
        return {e.order_id: fill for e, fill in zip(self.entries, self.outcome.fills, strict=True)}

    def nets(self, first_tick: int) -> dict[str, tuple[int, int]]:
        """(base, quote) of every account that traded: base in lots, quote in ticks times lots.

        `first_tick` is the price of level 0 in ticks from zero (`Grid.first_tick`). Both columns sum to zero.
        """
        if self.outcome is None:
            return {}
        price = first_tick + self.outcome.price
        bases = {account: self.outcome.base_net(account) for account in sorted(self.outcome.traded)}
        return {account: (base, -price * base) for account, base in bases.items()}


class PlainBook:
    """Several rounds in the clear: orders roll, are consumed, and are renewed when asked.

    The rule of section 6: a round that crosses consumes all orders of the accounts that bought or sold
    anything; orders of other accounts roll and keep their arrival. If less than `min_volume` crosses, all
    roll.
    """

    def __init__(self, levels: int, pressure_ticks: int = 0, min_volume: Lots = Lots(1)) -> None:  # noqa: B008
        self._levels = levels
        self._pressure_ticks = pressure_ticks
        self._min_volume = min_volume
        self._resting: dict[str, BookEntry] = {}

    @property
    def resting(self) -> tuple[BookEntry, ...]:
        """The orders of the next round so far, in arrival order."""
        return tuple(self._resting.values())

    def add(self, order_id: str, order: PlainOrder) -> None:
        """Append an order, as the latest to arrive. Raises ValueError if the id is in the book already."""
        if order_id in self._resting:
            raise ValueError(f"order {order_id} is in the book already")
        self._resting[order_id] = BookEntry(order_id, order)

    def clear(self, reference: Tick) -> PlainRound:
        """Run one round over everything resting. Raises ValueError as the function `clear` does."""
        entries = self.resting
        outcome = clear(
            [e.order for e in entries], self._levels, reference, self._pressure_ticks, self._min_volume
        )
        traded = frozenset[str]() if outcome is None else outcome.traded
        fills = (Lots(0),) * len(entries) if outcome is None else outcome.fills
        consumed = tuple(e for e in entries if e.order.account in traded)
        rolled = tuple(e for e in entries if e.order.account not in traded)
        remainders = tuple(
            replace(e, order=replace(e.order, quantity=Lots(e.order.quantity - fill)))
            for e, fill in zip(entries, fills, strict=True)
            if e.order.account in traded and fill < e.order.quantity
        )
        self._resting = {e.order_id: e for e in rolled}
        return PlainRound(entries, outcome, consumed, rolled, remainders)

    def renew(self, result: PlainRound) -> None:
        """Append the remainders of a round, in their old order among themselves, as the latest to arrive."""
        for entry in result.remainders:
            self.add(entry.order_id, entry.order)

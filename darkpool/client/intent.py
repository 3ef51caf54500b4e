"""What a trader wants, in words and numbers people use, and as an order of a market."""

from __future__ import annotations

from dataclasses import dataclass, field

from darkpool.client.answers import MarketInfo
from darkpool.client.own_order import OwnOrder, noted
from darkpool.errors import ConfigError, OrderRefused
from darkpool.market import Side
from darkpool.order import Order, TimeInForce
from darkpool.types import Lots, Nonce, Quanta, Tick


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order in human units. `repr` shows nothing of it.

    market: its name, which may be left out if there is only one; quantity: decimal of base tokens, zero for a
    decoy; price: decimal of quote tokens per base token, None to trade at any price of the grid; valid_until:
    unix seconds, with GOOD_TILL_TIME only; reference: the trader's own name for it, used once.
    """

    side: Side = field(repr=False)
    quantity: str = field(repr=False)
    price: str | None = field(default=None, repr=False)
    market: str = ""
    time_in_force: TimeInForce = TimeInForce.GOOD_TILL_CANCELLED
    valid_until: int = 0
    reference: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Intent:
    """An order about to be drafted, under those terms.

    root: of its family, None if it begins one; replaces: the order it takes the place of.
    """

    market: bytes
    terms_hash: bytes
    order: Order = field(repr=False)
    time_in_force: TimeInForce
    valid_until: int = 0
    root: Nonce | None = None
    replaces: OwnOrder | None = None

    def noted(self, nonce: Nonce) -> Order:
        """The order with the reference its note carries."""
        root = nonce if self.root is None else self.root
        o = self.order
        return Order(o.side, o.level, o.quantity, noted(o.reference, root))

    def locks(self, info: MarketInfo) -> tuple[int, int]:
        """Base and quote quanta it locks."""
        market = info.terms.market
        if self.order.side is Side.SELL:
            return self.order.quantity * market.lot, 0
        return 0, self.order.quantity * market.grid.price(self.order.level)


def intent_of(wanted: Wanted, info: MarketInfo) -> Intent:
    """The intent under the market's present terms. Raises OrderRefused naming what cannot be."""
    noted(wanted.reference, Nonce(0))
    if (wanted.time_in_force is TimeInForce.GOOD_TILL_TIME) != (wanted.valid_until != 0):
        raise OrderRefused(
            "valid_until: belongs to the time in force gtt, and to no other",
            "give both or none",
            "order-times",
        )
    try:
        quantity = info.instrument.lots(wanted.quantity)
        level = level_of(wanted, info)
    except ConfigError as error:
        raise OrderRefused(error.message, error.hint, "bad-order") from None
    order = Order(wanted.side, level, quantity, wanted.reference)
    return Intent(info.terms.market.id, info.terms.hash, order, wanted.time_in_force, wanted.valid_until)


def level_of(wanted: Wanted, info: MarketInfo) -> Tick:
    """The grid level of its limit. Raises ConfigError."""
    grid = info.terms.market.grid
    if wanted.price is None:
        return grid.last if wanted.side is Side.BUY else Tick(0)
    price = info.instrument.price(wanted.price)
    if not grid.p_0 <= price <= grid.price(grid.last):
        lowest, highest = (info.instrument.price_text(p) for p in (grid.p_0, grid.price(grid.last)))
        raise ConfigError(
            f"price: {wanted.price} is not on today's grid", f"from {lowest} to {highest}, or no price at all"
        )
    return grid.level(price)


def renewal(own: OwnOrder, lots: Lots, info: MarketInfo) -> Intent:
    """The same order once more, for what is left of it. Raises OrderRefused if its price is off the grid."""
    s, price = own.statement, Quanta(own.price)
    try:
        level = info.terms.market.grid.level(price)
    except ConfigError as error:
        raise OrderRefused(error.message, "replace the order", "price-off-grid") from None
    order = Order(own.order.side, level, lots, own.reference)
    tif = TimeInForce(s.time_in_force)
    return Intent(s.market, info.terms.hash, order, tif, s.valid_until, Nonce(own.root))

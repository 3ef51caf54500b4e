"""What the trader sees, as plain values in human units: for the command line, the gateway and their JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from darkpool.client.answers import MarketInfo
from darkpool.client.family import Family
from darkpool.client.intent import Wanted
from darkpool.client.own_order import OwnOrder
from darkpool.client.round_fills import RoundFills
from darkpool.client.submission import Placed
from darkpool.client.trading import Balance
from darkpool.errors import OrderRefused
from darkpool.jsonfields import hex_text
from darkpool.market import Side
from darkpool.order import TimeInForce
from darkpool.types import Lots

View = dict[str, str | int | None]

TIMES: Final[Mapping[str, TimeInForce]] = {
    "round": TimeInForce.ROUND,
    "gtt": TimeInForce.GOOD_TILL_TIME,
    "gtc": TimeInForce.GOOD_TILL_CANCELLED,
}
UNANSWERED: Final = "unanswered"
_SHOWN: Final = 20
_TIME_NAMES: Final = {value: name for name, value in TIMES.items()}


def wanted(
    market: str,
    side: str,
    quantity: str,
    price: str | None,
    time_in_force: str,
    valid_until: int | None,
    reference: str,
) -> Wanted:
    """An order as somebody wrote it. Raises OrderRefused naming the field; numbers are read later."""
    sides = {side.name.lower(): side for side in Side}
    for name, value, allowed in (("side", side, sides), ("time_in_force", time_in_force, TIMES)):
        if value not in allowed:
            raise OrderRefused(
                f"{name}: {value[:32]!r} is unknown", f"one of {', '.join(allowed)}", "bad-order"
            )
    return Wanted(sides[side], quantity, price, market, TIMES[time_in_force], valid_until or 0, reference)


def order_view(family: Family, info: MarketInfo, now: int, ended: Collection[int]) -> View:
    """A family: quantities in base tokens, price in quote tokens per base token (at most, or at least)."""
    own, record, instrument = family.latest.own, family.latest.record, info.instrument
    return {
        "id": str(family.root),
        "reference": own.reference,
        "market": info.name,
        "side": own.order.side.name.lower(),
        "quantity": instrument.quantity_text(family.quantity),
        "price": instrument.price_text(own.price),
        "time_in_force": _TIME_NAMES[TimeInForce(record.time_in_force)],
        "valid_until": record.valid_until or None,
        "state": family.state(now, ended),
        "filled": instrument.quantity_text(family.filled),
        "remaining": instrument.quantity_text(family.remaining(now, ended)),
        "reason": record.reason,
        "hash": hex_text(own.hash),
        "nonce": own.nonce,
        "accepted_at": family.members[0].record.accepted_at,
    }


def unanswered_view(own: OwnOrder, info: MarketInfo) -> View:
    """An order that was signed and has no answer, in the form of `order_view`."""
    statement, quantity = own.statement, info.instrument.quantity_text(own.order.quantity)
    return {
        "id": str(own.root),
        "reference": own.reference,
        "market": info.name,
        "side": own.order.side.name.lower(),
        "quantity": quantity,
        "price": info.instrument.price_text(own.price),
        "time_in_force": _TIME_NAMES[TimeInForce(statement.time_in_force)],
        "valid_until": statement.valid_until or None,
        "state": UNANSWERED,
        "filled": info.instrument.quantity_text(Lots(0)),
        "remaining": quantity,
        "reason": None,
        "hash": hex_text(own.hash),
        "nonce": own.nonce,
        "accepted_at": None,
    }


def order_views(
    families: Iterable[Family],
    unanswered: Iterable[OwnOrder],
    markets: Mapping[bytes, MarketInfo],
    now: int,
    ended: Collection[int],
) -> list[View]:
    """All families, and behind them what is unanswered and the venue does not list."""
    views, known = [], set()
    for family in families:
        known |= {member.own.hash for member in family.members}
        views.append(order_view(family, markets[family.latest.record.market], now, ended))
    return views + [
        unanswered_view(o, markets[o.statement.market]) for o in unanswered if o.hash not in known
    ]


def set_aside_text(roots: Sequence[int]) -> str:
    """What to tell of the families that are not renewed, as the folder came without its past."""
    names = ", ".join(map(str, roots[:_SHOWN]))
    more = f" and {len(roots) - _SHOWN} more" if len(roots) > _SHOWN else ""
    return (
        f"not renewed: what is left of orders {names}{more}, for this folder does not know which of them "
        "were cancelled. Submit anew what you still want of them, under no reference or a new one"
    )


def fill_views(found: RoundFills, info: MarketInfo) -> list[View]:
    """The orders of a round that got something."""
    return [
        {
            "id": str(fill.own.root),
            "reference": fill.own.reference,
            "market": info.name,
            "round": found.round,
            "side": fill.own.order.side.name.lower(),
            "quantity": info.instrument.quantity_text(fill.filled),
            "price": info.instrument.price_text(fill.price),
            "state": str(found.state),
            "sealed_at": found.sealed_at,
            "hash": hex_text(fill.own.hash),
        }
        for fill in found.fills
        if fill.filled
    ]


def balance_view(balance: Balance) -> View:
    """A token: what the vault holds for the account, what of it is free, what is not settled yet."""
    text = balance.units.text
    return {
        "token": balance.units.symbol,
        "balance": text(balance.balance),
        "free": text(balance.free),
        "pending_debit": text(balance.pending_debit),
        "pending_credit": text(balance.pending_credit),
    }


def market_view(info: MarketInfo) -> View:
    """A market: its units, its grid, its latest round."""
    grid, instrument = info.terms.market.grid, info.instrument
    return {
        "name": info.name,
        "base": instrument.base.symbol,
        "quote": instrument.quote.symbol,
        "lot": instrument.base.text(info.terms.market.lot),
        "tick": instrument.price_text(grid.tick),
        "lowest_price": instrument.price_text(grid.p_0),
        "highest_price": instrument.price_text(grid.price(grid.last)),
        "round": info.round or None,
        "round_state": None if info.round_state is None else str(info.round_state),
        "next_seal_at": info.next_seal_at,
    }


def placed_view(placed: Placed) -> View:
    """An acceptance: the order's name, and the log entry the operator's receipt promises."""
    receipt = placed.receipt
    return {
        "id": str(placed.root),
        "hash": hex_text(placed.hash),
        "sequence": receipt.sequence,
        "round": receipt.round,
        "accepted_at": receipt.time,
    }

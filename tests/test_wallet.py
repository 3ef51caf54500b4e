"""The trader's own state: predicted collateral, pipelining, fills dealt to its orders by the public rule."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given

from darkpool import auction
from darkpool.auction import PlainOrder
from darkpool.errors import PeerFault
from darkpool.listing import RoundResult
from darkpool.market import Side
from darkpool.netting import Totals
from darkpool.order import Order
from darkpool.types import Lots, Nonce, Quanta, RoundId, Tick
from darkpool.wallet import assign
from tests.strategies import RandomBook, books
from tests.venue_log import Venue
from tests.venue_support import (
    BASE,
    QUOTE,
    boxes_for,
    buy,
    collateral_of,
    key_of,
    result_of,
    sell,
)


def order_of(plain: PlainOrder) -> Order:
    return Order(plain.side, plain.tick, plain.quantity)


@given(books())
def test_every_account_deals_its_totals_to_its_orders_as_the_auction_filled_them(book: RandomBook) -> None:
    outcome = auction.clear(book.orders, book.levels, book.reference, book.pressure_ticks, book.min_volume)
    if outcome is None:
        return
    result = RoundResult(crossed=True, price=outcome.price, volume=outcome.volume)
    for account in {o.account for o in book.orders}:
        mine = [k for k, o in enumerate(book.orders) if o.account == account]
        bought, sold = (Lots(side.get(account, 0)) for side in (outcome.bought, outcome.sold))
        fills = assign([order_of(book.orders[k]) for k in mine], result, Totals(bought, sold))
        assert [f.filled for f in fills] == [outcome.fills[k] for k in mine]
        assert [f.remainder for f in fills] == [book.orders[k].quantity - outcome.fills[k] for k in mine]


@pytest.mark.parametrize(
    "orders,bought,sold,side",
    [
        ([buy(3, 5)], 6, 0, "buy"),
        ([buy(1, 5)], 1, 0, "buy"),  # its limit is below the price
        ([sell(3, 5)], 0, 1, "sell"),  # its limit is above the price
        ([sell(0, 5)], 1, 5, "buy"),
        ([buy(3, 5), sell(0, 5)], 5, 6, "sell"),
        ([], 1, 0, "buy"),
        ([buy(3, 0)], 1, 0, "buy"),
    ],
)
def test_totals_beyond_what_the_orders_could_trade_are_a_peers_fault(
    orders: Sequence[Order], bought: int, sold: int, side: str
) -> None:
    result = RoundResult(crossed=True, price=Tick(2), volume=Lots(9))
    with pytest.raises(PeerFault, match=f"the {side} total"):
        assign(orders, result, Totals(Lots(bought), Lots(sold)))


def test_better_prices_fill_first_then_earlier_orders() -> None:
    orders = [buy(2, 5), buy(3, 5), buy(3, 5), buy(2, 5), sell(1, 2), sell(0, 2)]
    result = RoundResult(crossed=True, price=Tick(2), volume=Lots(13))
    fills = assign(orders, result, Totals(Lots(13), Lots(3)))
    assert [f.filled for f in fills] == [3, 5, 5, 0, 1, 2]


def test_pipelined_orders_are_predicted_without_asking() -> None:
    venue = Venue(names=("ada",))
    ada = venue.wallets["ada"]
    raws = []
    for order in (buy(1, 1), sell(2, 3), buy(3, 0)):
        draft = venue.draft("ada", order)
        ada.accepted(order, draft)
        raws.append(venue.sealed("ada", draft).raw)
    for raw in raws:
        assert not isinstance(venue.answer(raw), Exception)
    venue.check()
    assert [live.nonce for live in ada.live] == [0, 1, 2]
    assert ada.free(QUOTE) == venue.rich - 1_010
    assert ada.free(BASE) == venue.rich - 21


def test_a_released_order_returns_its_lock_and_nothing_else() -> None:
    venue = Venue(names=("ada",))
    ada = venue.wallets["ada"]
    first, second = venue.place("ada", buy(1, 1)), venue.place("ada", buy(2, 2))
    ada.released([first.nonce])
    assert [live.nonce for live in ada.live] == [second.nonce]
    assert ada.free(QUOTE) == venue.rich - 2 * 1_020
    assert ada._free[QUOTE].version == 2
    with pytest.raises(KeyError):
        ada.released([first.nonce])


def test_refused_orders_leave_versions_as_they_were() -> None:
    venue = Venue(names=("ada",))
    ada = venue.wallets["ada"]
    before = collateral_of(ada)
    for order in (buy(1, 1), buy(2, 1)):
        ada.accepted(order, venue.draft("ada", order))
    ada.refused([Nonce(0), Nonce(1)])
    assert collateral_of(ada) == before
    assert not ada.live
    venue.place("ada", buy(3, 1))
    venue.check()


def test_no_two_drafts_share_a_nonce_even_if_the_first_was_never_sent() -> None:
    venue = Venue(names=("ada",))
    first, second = venue.draft("ada", buy(1, 5)), venue.draft("ada", sell(2, 9))
    assert first.statement.nonce != second.statement.nonce


def test_nonces_are_never_used_again() -> None:
    venue = Venue(names=("ada",))
    used = [venue.place("ada", buy(1, 1)).nonce for _ in range(2)]
    venue.cancel(venue.book.standing[0])
    used.append(venue.place("ada", buy(1, 1)).nonce)
    assert used == [0, 1, 2]


def crossed(*late: Order) -> tuple[Venue, RoundResult, dict[int, bytes], bytes]:
    """Ada bought 4 of 5 in a round whose book has ended, her wallet not yet told.

    `late`: orders of hers that came while it was sealed.
    """
    venue = Venue(names=("ada", "ben"))
    venue.place("ada", buy(3, 5))
    venue.place("ben", sell(0, 4))
    sealed = venue.seal()
    for order in late:
        venue.place("ada", order)
    digest, result = sealed.digest(venue.terms.domain), result_of(venue.outcome(sealed))
    venue.book.finish(result)
    return venue, result, boxes_for(venue.wallets["ada"], digest, 4, 0), digest


def test_fills_come_from_the_members_boxes() -> None:
    venue, result, boxes, digest = crossed()
    ada = venue.wallets["ada"]
    (fill,) = ada.cleared(RoundId(1), digest, result, boxes)
    assert (fill.filled, fill.remainder) == (4, 1)
    price = venue.terms.market.grid.price(result.price)
    assert (ada.free(BASE), ada.free(QUOTE)) == (venue.rich, venue.rich - 4 * price)
    ada.settled(RoundId(1))
    assert (ada.free(BASE), ada.free(QUOTE)) == (venue.rich + 28, venue.rich - 4 * price)
    ada.settled(RoundId(1))
    ada.void(RoundId(1))
    assert ada.free(BASE) == venue.rich + 28


def test_a_void_round_returns_the_debit() -> None:
    venue, result, boxes, digest = crossed()
    ada = venue.wallets["ada"]
    ada.cleared(RoundId(1), digest, result, boxes)
    ada.void(RoundId(1))
    assert (ada.free(BASE), ada.free(QUOTE)) == (venue.rich, venue.rich)


@pytest.mark.parametrize("fault", ["digest", "net", "missing", "swapped", "tampered", "of another account"])
def test_boxes_that_do_not_fit_are_refused_and_f_follows_the_public_net(fault: str) -> None:
    venue, result, boxes, digest = crossed()
    ada, ben = venue.wallets["ada"], venue.wallets["ben"]
    match fault:
        case "digest":
            digest = bytes(32)
        case "net":
            result = RoundResult(True, result.price, result.volume, {ada.address: 3})
        case "missing":
            del boxes[2]
        case "swapped":
            boxes[1], boxes[2] = boxes[2], boxes[1]
        case "tampered":
            boxes[3] = boxes[3][:-1] + bytes([boxes[3][-1] ^ 1])
        case _:
            boxes = boxes_for(ben, digest, 4, 0)
    with pytest.raises(PeerFault):
        ada.cleared(RoundId(1), digest, result, boxes)
    price = venue.terms.market.grid.price(result.price)
    assert ada.live == ()
    assert (ada.free(BASE), ada.free(QUOTE)) == (venue.rich, venue.rich - result.nets[ada.address] * price)


def test_only_the_orders_in_the_sealed_list_are_consumed() -> None:
    venue, result, boxes, digest = crossed(buy(3, 5))
    ada = venue.wallets["ada"]
    venue.open(2)
    (late,) = venue.book.standing
    (fill,) = ada.cleared(RoundId(1), digest, result, boxes, {Nonce(0)})
    assert fill.filled == 4
    assert [live.nonce for live in ada.live] == [late.nonce]
    venue.wallets["ben"].cleared(RoundId(1), digest, result, boxes_for(venue.wallets["ben"], digest, 0, 4))
    venue.check()


def test_no_repr_shows_a_secret() -> None:
    venue = Venue(names=("ada",))
    ada = venue.wallets["ada"]
    venue.place("ada", buy(3, 3_141_592, "sentinel"))
    shown = (
        repr(ada)
        + repr(ada.live)
        + repr(assign([buy(3, 3_141_592)], RoundResult(True), Totals(Lots(0), Lots(0))))
    )
    for secret in (
        "3141592",
        "sentinel",
        key_of("ada").hex(),
        key_of("ada")[::-1].hex(),
        str(ada.free(QUOTE)),
    ):
        assert secret not in shown
    assert ada.address.hex() in shown


def test_a_wallet_knows_nothing_it_was_not_told() -> None:
    venue = Venue(names=("ada",), rich=Quanta(1))
    ada = venue.wallets["ada"]
    assert (ada.free(BASE), ada.free(QUOTE), ada.live) == (1, 1, ())
    venue.place("ada", Order(Side.BUY, Tick(0), Lots(0)))
    assert venue.seal().orders
    venue.check()

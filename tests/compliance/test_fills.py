"""Fills: every true outcome of an auction is possible, false ones are caught, the chain's deltas compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from compliance.fills import account_totals, check_settled, round_fills
from compliance.opening import Opened
from darkpool import auction
from darkpool.auction import PlainOrder
from darkpool.errors import PeerFault
from darkpool.listing import NO_CROSS, RoundResult, token_movements
from darkpool.market import Side
from darkpool.order import Order, TimeInForce
from darkpool.types import Address, Lots, Nonce, Quanta, Tick
from tests.compliance.audit_support import OTHER_MARKET, TERMS, account_of
from tests.venue_support import BASE, QUOTE, buy, result_of, sell

ADA, BEN = account_of("ada"), account_of("ben")
DIGEST = b"\x05" * 32


def opened(order: Order, nonce: int = 0, account: Address = ADA) -> Opened:
    """As if a note had opened to it."""
    return Opened(
        hash=bytes([nonce]) * 32,
        account=account,
        market=TERMS.market.id,
        nonce=Nonce(nonce),
        utc_day=1,
        first_round=1,
        time_in_force=TimeInForce.GOOD_TILL_CANCELLED,
        valid_until=0,
        lot=Quanta(7),
        order=order,
        price=Quanta(1_000 + 10 * order.level),
    )


def crossed(price: int, volume: int, nets: dict[Address, int]) -> RoundResult:
    return RoundResult(True, Tick(price), Lots(volume), nets)


def fills(result: RoundResult, *orders: Order) -> list[int]:
    return [row.filled for row in round_fills(result, ADA, [opened(o, i) for i, o in enumerate(orders)])]


plain = st.builds(
    PlainOrder,
    st.sampled_from([ADA.hex(), BEN.hex(), "05" * 20]),
    st.sampled_from(Side),
    st.integers(0, 3).map(Tick),
    st.integers(0, 9).map(Lots),
)
books = st.lists(plain, min_size=1, max_size=9)


def mine(book: Sequence[PlainOrder], account: Address) -> list[int]:
    return [i for i, o in enumerate(book) if o.account == account.hex()]


@given(books, st.integers(0, 3))
def test_what_an_auction_gave_is_recomputed_from_price_and_net(
    book: list[PlainOrder], reference: int
) -> None:
    """The plain auction is the oracle, for accounts on one side, on both, and trading with themselves."""
    outcome = auction.clear(book, 4, Tick(reference), 0, Lots(1))
    for account in (ADA, BEN):
        places = [i for i, o in enumerate(book) if o.account == account.hex()]
        orders = [
            opened(Order(book[i].side, book[i].tick, book[i].quantity), account=account) for i in places
        ]
        rows = round_fills(result_of(outcome), account, orders)
        true = [0] * len(book) if outcome is None else outcome.fills
        assert [row.filled for row in rows] == [true[i] for i in places]


@given(books, st.integers(-20, 20))
def test_a_net_beyond_the_eligible_orders_is_caught(book: list[PlainOrder], net: int) -> None:
    outcome = auction.clear(book, 4, Tick(2), 0, Lots(1))
    assume(outcome is not None)
    result = result_of(outcome)
    orders = [opened(Order(o.side, o.tick, o.quantity)) for o in book if o.account == ADA.hex()]
    buys = sum(o.quantity for o in orders if o.side is Side.BUY and o.order.level >= result.price)
    sells = sum(o.quantity for o in orders if o.side is Side.SELL and o.order.level <= result.price)
    assume(net > min(buys, result.volume) or -net > min(sells, result.volume))
    with pytest.raises(PeerFault, match="false fill"):
        account_totals(replace(result, nets={**result.nets, ADA: net}), ADA, orders)


def test_fills_go_by_price_then_arrival() -> None:
    result = crossed(2, 10, {ADA: 7, BEN: -7})
    assert fills(result, buy(2, 5), buy(3, 4), buy(1, 9)) == [3, 4, 0]
    assert fills(crossed(2, 10, {ADA: -7}), sell(2, 5), sell(0, 4)) == [3, 4]


def test_an_account_on_both_sides_fills_its_short_side_whole() -> None:
    result = crossed(2, 20, {ADA: 1, BEN: -1})
    assert fills(result, buy(3, 6), sell(1, 3)) == [4, 3]
    assert fills(result, buy(3, 6), sell(1, 8)) == [6, 5]
    assert fills(result, buy(3, 6), sell(1, 5)) == [6, 5]


@pytest.mark.parametrize(
    "result,orders",
    [
        (crossed(2, 10, {ADA: 8}), [buy(2, 5), buy(3, 2)]),  # more than it wanted
        (crossed(2, 10, {ADA: 3}), [buy(1, 5)]),  # past its limit
        (crossed(2, 10, {ADA: 3}), [sell(1, 5)]),  # the wrong side
        (crossed(2, 10, {ADA: -3}), [sell(3, 5)]),  # past its limit
        (crossed(2, 4, {ADA: 5}), [buy(2, 5)]),  # more than the volume
        (crossed(2, 10, {BEN: 3}), [buy(2, 5), sell(1, 5)]),  # a short side left unfilled
        (crossed(2, 10, {ADA: 0}), [buy(1, 5)]),  # said to have traded, without an order that could
    ],
)
def test_a_false_fill_is_caught(result: RoundResult, orders: list[Order]) -> None:
    with pytest.raises(PeerFault, match="false fill"):
        fills(result, *orders)


def test_a_round_that_did_not_cross_fills_nothing() -> None:
    assert fills(NO_CROSS, buy(3, 5), sell(0, 5)) == [0, 0]


# --- against the chain ------------------------------------------------------------------------------


def test_the_chain_must_have_moved_what_the_rounds_of_a_settlement_say() -> None:
    first, second = crossed(2, 9, {ADA: 3, BEN: -3}), crossed(1, 9, {ADA: -1, BEN: 1})
    rounds = [(TERMS, first), (OTHER_MARKET, second), (TERMS, NO_CROSS)]
    moved = {BASE: 2 * 7, QUOTE: -3 * 1_020 + 1_010}
    check_settled(rounds, ADA, moved)
    check_settled(rounds, BEN, {token: -amount for token, amount in moved.items()})
    for false in (
        {**moved, BASE: 15},
        {**moved, QUOTE: moved[QUOTE] + 1},
        {BASE: 14},
        {**moved, Address(bytes(20)): 1},
        {},
    ):
        with pytest.raises(PeerFault, match="false fill: the chain moved"):
            check_settled(rounds, ADA, false)


def test_what_nets_out_needs_no_row_on_chain() -> None:
    there, back = crossed(2, 9, {ADA: 3}), crossed(2, 9, {ADA: -3})
    check_settled([(TERMS, there), (TERMS, back)], ADA, {})
    assert token_movements(TERMS, there)

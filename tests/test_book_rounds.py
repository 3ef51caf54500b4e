"""The end of a round: what it consumes, rolls and releases, and how F moves."""

from __future__ import annotations

import pytest

from commitments.group import Point
from commitments.pedersen import generator_g
from darkpool.chain_events import ChainEvent
from darkpool.errors import ConfigError, OrderRefused, PeerFault
from darkpool.listing import NO_CROSS, RoundResult, token_movements
from darkpool.order import TimeInForce
from darkpool.types import Address, Lots, Quanta, RoundId, Tick
from tests.venue_log import Venue
from tests.venue_support import (
    BASE,
    QUOTE,
    boxes_for,
    buy,
    nonces,
    sell,
    some_terms,
)


def test_no_cross_rolls_all_but_orders_for_this_round_only() -> None:
    venue = Venue()
    kept = [venue.place("ada", buy(0, 3)), venue.place("ben", sell(3, 3))]
    venue.place("cyd", buy(1, 1), time_in_force=TimeInForce.ROUND)
    later = venue.place("cyd", buy(1, 2))
    sealed = venue.seal()
    result, _ = venue.finish(sealed)
    assert not result.crossed
    assert venue.book.standing == (*kept, later)
    venue.check()
    venue.open(2)
    newest = venue.place("ada", buy(0, 1))
    assert venue.seal().orders == (*kept, later, newest)


def test_a_crossing_consumes_the_orders_of_exactly_the_accounts_that_traded() -> None:
    venue = Venue()
    venue.place("ada", buy(3, 5))
    venue.place("ada", buy(0, 1))  # did not trade, but its account did
    rolled = venue.place("cyd", buy(0, 9))
    venue.place("ben", sell(1, 4))
    sealed = venue.seal()
    result, fills = venue.finish(sealed)
    assert [venue.name_of(a) for a in result.nets] == sorted(
        ("ada", "ben"), key=lambda n: venue.wallets[n].address
    )
    assert venue.book.standing == (rolled,)
    assert [f.filled for f in fills["ada"]] == [4, 0]
    assert [f.remainder for f in fills["ada"]] == [1, 1]
    venue.check()


def test_f_moves_by_lock_less_debit_in_one_step_and_a_debit_bumps_its_version() -> None:
    venue = Venue(names=("ada", "ben"))
    venue.place("ada", buy(3, 5))
    venue.place("ben", sell(0, 4))
    base, quote = (venue.free("ada", token).copy() for token in (BASE, QUOTE))
    sealed = venue.seal()
    lock = sealed.orders[0]
    result, _ = venue.finish(sealed)
    price = venue.terms.market.grid.price(result.price)
    free = venue.free("ada", QUOTE)
    assert free.current == quote.current + lock.c_quote + generator_g() * (-4 * price)
    assert free.version == quote.version + 1
    # Nothing but the end value is provable: neither what was before nor anything between the two.
    assert free.since_decrease == [free.current.encode()]
    for version in (quote.version, free.version):
        for old in (quote.current, quote.current + lock.c_quote):
            with pytest.raises(OrderRefused):
                free.check("quote", old, version)
    free.check("quote", free.current, free.version)
    # Without a debit the lock returns as any other does.
    free = venue.free("ada", BASE)
    assert free.current == base.current + lock.c_base
    assert free.version == base.version
    assert free.since_decrease == [*base.since_decrease, free.current.encode()]
    free.check("base", base.current, base.version)


def test_the_credit_waits_for_the_settlement() -> None:
    venue = Venue(names=("ada", "ben"), rich=Quanta(0))
    venue.deposit("ada", QUOTE, Quanta(1_030))
    venue.deposit("ben", BASE, Quanta(7))
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    result, _ = venue.finish(venue.seal())
    price = venue.terms.market.grid.price(result.price)
    ada, ben = venue.wallets["ada"], venue.wallets["ben"]
    assert [w.free(t) for w in (ada, ben) for t in (BASE, QUOTE)] == [0, 1_030 - price, 0, 0]
    venue.check()
    venue.settled()
    assert [w.free(t) for w in (ada, ben) for t in (BASE, QUOTE)] == [7, 1_030 - price, 0, price]
    venue.check()


def test_a_void_settlement_gives_debits_back_and_no_credit() -> None:
    venue = Venue(names=("ada", "ben"))
    venue.place("ada", buy(3, 2))
    venue.place("ben", sell(0, 1))
    venue.finish(venue.seal())
    assert [cleared.round for cleared in venue.settled(final=False).busted] == [1]
    venue.check()
    assert all(w.free(t) == venue.rich for w in venue.wallets.values() for t in (BASE, QUOTE))
    assert not venue.book.standing


@pytest.mark.parametrize("final", [False, True])
def test_a_settlement_is_reported_once_and_only_of_a_round_that_crossed(final: bool) -> None:
    venue = Venue(names=("ada", "ben"))
    stranger = ChainEvent("settled", number=1, root=bytes(32), transcript=bytes(32))
    with pytest.raises(OrderRefused, match="this log does not know"):
        venue.chain(stranger)
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    venue.finish(venue.seal())
    landed, pending = venue.landed(), venue.state.pending[0]
    with pytest.raises(OrderRefused, match="is not ours"):
        venue.chain(stranger)
    effects = venue.settled(final=final)
    assert effects.settled == [pending] * final
    assert effects.void == [pending] * (not final)
    with pytest.raises(OrderRefused, match="this log does not know"):
        venue.chain(landed)
    effects = venue.chain(at=pending.ends + 2)
    assert (effects.settled, effects.void) == ([], [])
    venue.check()


def test_an_account_that_only_trades_with_itself_is_consumed_and_pays_nothing() -> None:
    venue = Venue(names=("ada", "ben"))
    venue.place("ada", buy(3, 5))
    venue.place("ada", sell(0, 5))
    rolled = venue.place("ben", buy(0, 1))
    result, fills = venue.finish(venue.seal())
    assert dict(result.nets) == {venue.wallets["ada"].address: 0}
    assert token_movements(venue.terms, result) == []
    assert [f.filled for f in fills["ada"]] == [5, 5]
    assert venue.book.standing == (rolled,)
    assert venue.wallets["ada"].free(BASE) == venue.rich
    venue.check()


def test_an_abort_releases_every_sealed_order_and_keeps_the_later_ones() -> None:
    venue = Venue()
    for name in ("ada", "ben"):
        venue.place(name, buy(1, 1))
    sealed = venue.seal()
    late = venue.place("cyd", buy(1, 1))
    venue.abort()
    assert sealed.orders
    assert venue.book.standing == (late,)
    venue.check()
    venue.open(2)
    assert venue.seal().orders == (late,)


def test_an_order_admitted_while_a_round_is_sealed_waits_for_the_next() -> None:
    venue = Venue(names=("ada", "ben"))
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    sealed = venue.seal()
    late = venue.place("ada", buy(3, 2))
    assert late not in sealed.orders
    venue.check()
    result, fills = venue.finish(sealed)
    assert result.crossed
    assert [len(f) for f in fills.values()] == [1, 1]
    assert venue.book.standing == (late,)
    venue.check()
    venue.settled()
    venue.check()


def test_several_rounds_may_be_unsettled_at_once() -> None:
    venue = Venue(names=("ada", "ben"))
    for number in (1, 2):
        if number > 1:
            venue.open(number)
        venue.place("ada", buy(3, number))
        venue.place("ben", sell(0, number))
        venue.finish(venue.seal())
        venue.window()
        venue.check()
    first, second = venue.state.pending
    s = second.settlement
    early = ChainEvent("settled", number=s.id, root=s.root, transcript=s.transcript)
    with pytest.raises(OrderRefused, match="is not ours"):  # ids are sequential
        venue.chain(early)
    assert venue.settled().settled == [first]
    venue.check()
    assert venue.settled(final=False).void == [second]
    venue.check()


def test_movements_of_every_token_sum_to_zero_and_none_is_zero() -> None:
    terms = some_terms()
    nets = {Address(bytes([i]) * 20): net for i, net in enumerate((3, -1, 0, -2), start=1)}
    rows = token_movements(terms, RoundResult(crossed=True, price=Tick(3), volume=Lots(3), nets=nets))
    assert len(rows) == 6
    assert all(row.amount for row in rows)
    for token, unit in ((BASE, 7), (QUOTE, -1_030)):
        mine = {row.account: row.amount for row in rows if row.token == token}
        assert sum(mine.values()) == 0
        assert mine == {a: net * unit for a, net in nets.items() if net}
    assert token_movements(terms, NO_CROSS) == []


def test_a_result_at_a_price_off_the_grid_is_no_result() -> None:
    nets = {Address(bytes(20)): 1}
    with pytest.raises(ConfigError):
        token_movements(some_terms(), RoundResult(crossed=True, price=Tick(4), volume=Lots(1), nets=nets))


@pytest.mark.parametrize("bought,sold", [(3, 0), (5, 1), (6, 2), (4, 1)])
def test_boxes_that_contradict_the_public_net_or_the_own_orders_are_a_fault(bought: int, sold: int) -> None:
    venue = Venue(names=("ada", "ben"))
    venue.place("ada", buy(3, 5))
    venue.place("ben", sell(0, 4))
    sealed = venue.seal()
    digest, ada = sealed.digest(venue.terms.domain), venue.wallets["ada"]
    result = RoundResult(crossed=True, price=Tick(2), volume=Lots(4), nets={ada.address: 4})
    with pytest.raises(PeerFault, match="committee"):
        ada.cleared(RoundId(1), digest, result, boxes_for(ada, digest, bought, sold))
    # The public net counts all the same, so the next proof is against the book's F.
    assert ada.live == ()
    assert ada.free(QUOTE) == venue.rich - 4 * venue.terms.market.grid.price(Tick(2))


def test_a_decoy_looks_like_any_order() -> None:
    venue = Venue(names=("ada",))
    decoy, order = venue.place("ada", buy(1, 0)), venue.place("ada", buy(1, 5))
    sealed, other = venue.sent[decoy.hash], venue.sent[order.hash]
    assert len(sealed.raw) == len(other.raw)
    sent = sealed.sent
    assert Point.identity() not in (sent.c_base, sent.c_quote, sent.c_q, sent.c_m)
    assert nonces(venue.book.standing) == [0, 1]
    venue.check()

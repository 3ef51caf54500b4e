"""The book: who may leave it, and what a round seals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from commitments import merkle
from darkpool.book import End, cancel_all_digest, cancel_digest
from darkpool.draft import Standing
from darkpool.eip712 import sign_digest
from darkpool.errors import OrderRefused
from darkpool.listing import NO_CROSS, ListedOrder
from darkpool.market import RoundState
from darkpool.message import terms_message
from darkpool.order import TimeInForce
from darkpool.types import Nonce, RoundId, Tick
from darkpool.wallet import Wallet
from tests.venue_log import Venue
from tests.venue_support import (
    BASE,
    NOW,
    QUOTE,
    buy,
    collateral_of,
    key_of,
    sell,
    signers,
    some_terms,
)


def reasons(answers: Sequence[ListedOrder | OrderRefused]) -> list[str]:
    """An empty text for what was accepted, else the field refused."""
    return [a.message.split(":")[0] if isinstance(a, OrderRefused) else "" for a in answers]


# --- cancel and halt --------------------------------------------------------------------------------


def test_a_cancelled_order_returns_its_lock() -> None:
    venue = Venue(names=("ada",))
    before = collateral_of(venue.wallets["ada"])
    order = venue.place("ada", buy(1, 1))
    assert venue.cancel(order) == order
    assert not venue.book.standing
    venue.check()
    after = collateral_of(venue.wallets["ada"])
    assert [after[t].opening for t in after] == [before[t].opening for t in before]


def test_only_the_account_cancels() -> None:
    venue = Venue(names=("ada", "ben"))
    order = venue.place("ada", buy(1, 1))
    right = cancel_digest(venue.terms, order.account, order.nonce)
    wrong = [
        sign_digest(right, key_of("ben")),
        sign_digest(cancel_digest(venue.terms, order.account, Nonce(1)), key_of("ada")),
        sign_digest(cancel_digest(some_terms(id=b"\x09" * 32), order.account, order.nonce), key_of("ada")),
        sign_digest(
            cancel_digest(replace(venue.terms, chain_id=1), order.account, order.nonce), key_of("ada")
        ),
        venue.sent[order.hash].signature,
        bytes(65),
        b"",
    ]
    for signature in wrong:
        with pytest.raises(OrderRefused, match="signature: not the account's"):
            venue.book.check_cancel(order.account, order.nonce, signature)
    with pytest.raises(OrderRefused, match="signature: not the account's"):
        venue.append("cancel", {**venue.cancelling(order), "signature": wrong[0].hex()})
    assert venue.book.standing == (order,)
    venue.check()


def test_what_does_not_stand_cannot_be_cancelled() -> None:
    venue = Venue(names=("ada",))
    order = venue.place("ada", buy(1, 1))
    venue.cancel(order)
    with pytest.raises(OrderRefused, match="no standing order"):
        venue.cancel(order)


def test_a_sealed_order_cannot_be_cancelled_until_its_round_ends() -> None:
    venue = Venue(names=("ada",))
    order = venue.place("ada", buy(1, 1))
    sealed = venue.seal()
    with pytest.raises(OrderRefused, match="in sealed round 1"):
        venue.cancel(order)
    with pytest.raises(OrderRefused, match="no unsealed order"):
        venue.cancel_all("ada", 1)
    venue.finish(sealed)
    venue.cancel(order)
    venue.check()


def test_cancel_all_takes_the_unsealed_orders_below_its_nonce_and_no_others() -> None:
    venue = Venue(names=("ada", "ben"))
    first = venue.place("ada", buy(1, 1))
    venue.seal()
    second, third = venue.place("ada", buy(1, 1)), venue.place("ada", buy(1, 1))
    other = venue.place("ben", buy(1, 1))
    assert venue.cancel_all("ada", third.nonce) == [second]
    assert venue.book.standing == (first, third, other)
    venue.check()


def test_cancel_all_with_nothing_to_cancel_is_refused() -> None:
    """An entry that does nothing would make the log grow for free."""
    venue = Venue(names=("ada", "ben"))
    order = venue.place("ada", buy(1, 1))
    before = len(venue.entries)
    for name, below in (("ada", order.nonce), ("ben", 9)):
        with pytest.raises(OrderRefused, match="no unsealed order"):
            venue.cancel_all(name, below)
    digest = cancel_all_digest(venue.terms, order.account, Nonce(9))
    stolen = {**venue.wish(digest, "ben", below=9), "account": order.account.hex()}
    with pytest.raises(OrderRefused, match="signature: not the account's"):
        venue.append("cancel_all", stolen)
    assert venue.book.standing == (order,)
    assert len(venue.entries) == before
    venue.cancel_all("ada", 1)
    with pytest.raises(OrderRefused, match="no unsealed order"):
        venue.cancel_all("ada", 1)
    venue.check()


def test_a_halt_drops_the_accounts_unsealed_orders_and_takes_no_new_ones() -> None:
    venue = Venue(names=("ada", "ben"))
    dropped = venue.place("ada", buy(1, 1))
    kept = venue.place("ben", buy(1, 1))
    raw = venue.sealed("ada", venue.draft("ada", buy(1, 1))).raw
    effects = venue.chain(venue.event("withdrawal_requested", "ada"))
    assert [(e.order, e.end) for e in effects.ended] == [(dropped, End.RELEASED)]
    assert effects.halted == [dropped.account]
    assert venue.book.standing == (kept,)
    assert reasons([venue.answer(raw)]) == ["account"]
    venue.check()
    assert venue.chain(venue.event("withdrawn", "ada")).resumed == [dropped.account]
    venue.check()
    # It may trade again, but every F started anew: what was proven before does not hold.
    assert reasons([venue.answer(raw)]) == ["collateral"]
    raw = venue.sealed("ada", venue.draft("ada", buy(1, 1))).raw
    assert reasons([venue.answer(raw)]) == [""]


def test_a_halted_accounts_sealed_order_stays_to_the_end_of_its_round_and_no_longer() -> None:
    venue = Venue(names=("ada", "ben"))
    venue.place("ada", buy(1, 1))
    venue.place("ben", buy(1, 1))
    sealed = venue.seal()
    assert venue.chain(venue.event("withdrawal_requested", "ada")).ended == []
    assert len(venue.book.standing) == 2
    venue.finish(sealed)
    assert [venue.name_of(o.account) for o in venue.book.standing] == ["ben"]
    venue.check()


def test_a_restart_from_the_public_value_heals_an_account_that_lost_its_state() -> None:
    venue = Venue(names=("ada",))
    ada = venue.wallets["ada"]
    venue.place("ada", buy(1, 1))
    ada._free[BASE] = replace(ada._free[BASE], version=99)  # it does not know its own F any more
    venue.chain(venue.event("withdrawal_requested", "ada"))
    with pytest.raises(AssertionError, match="version differs"):
        venue.check()
    for token in (BASE, QUOTE):  # versions are public
        ada._free[token] = replace(ada._free[token], version=venue.free("ada", token).version)
    venue.chain(venue.event("withdrawn", "ada", venue.terms.tokens.index(BASE), 5))
    assert (ada.free(BASE), ada.free(QUOTE)) == (venue.rich - 5, venue.rich)
    venue.check()
    venue.place("ada", buy(1, 1))
    venue.check()


def test_an_account_with_a_standing_order_or_a_pending_settlement_does_not_restart() -> None:
    venue = Venue(names=("ada", "ben"))
    ada, halted = venue.wallets["ada"].address, venue.state.ledger.halted
    leave = venue.event("withdrawal_requested", "ada"), venue.event("withdrawn", "ada")
    assert venue.chain(*leave).resumed == [ada]
    venue.place("ada", buy(3, 5))
    venue.place("ben", sell(0, 5))
    sealed = venue.seal()
    assert venue.chain(*leave).resumed == []  # its sealed order stands
    assert halted == {ada: set()}
    venue.finish(sealed)
    assert not venue.book.standing
    assert venue.chain().resumed == []  # its settlement is pending
    assert halted == {ada: set()}
    venue.check()
    assert venue.settled().resumed == [ada]
    assert not halted
    venue.check()


# --- sealing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "minima,places,seals",
    [
        ({}, "", False),
        ({}, "a", True),
        ({"min_orders": 2}, "a", False),
        ({"min_orders": 2}, "aa", True),
        ({"min_accounts": 2}, "aaa", False),
        ({"min_accounts": 2}, "ab", True),
        ({"min_accounts": 2, "min_orders": 3}, "ab", False),
        ({"min_accounts": 2, "min_orders": 3}, "aba", True),
    ],
)
def test_a_round_below_its_minima_stays_open(minima: dict[str, int], places: str, seals: bool) -> None:
    venue = Venue(terms=some_terms(**minima), names=("ada", "ben"))
    for letter in places:
        venue.place({"a": "ada", "b": "ben"}[letter], buy(1, 1))
    if seals:
        assert len(venue.seal().orders) == len(places)
    else:
        with pytest.raises(OrderRefused, match="it needs"):
            venue.seal()
        assert venue.book.sealed is None
    assert venue.book.current_round.state is (RoundState.SEALED if seals else RoundState.OPEN)
    if not seals:
        venue.place("ada", buy(1, 1))


def test_a_sealed_list_is_the_book_in_arrival_order_under_one_root() -> None:
    venue = Venue()
    placed = [venue.place(name, buy(k % 4, k)) for k, name in enumerate(("ada", "ben", "ada", "cyd"))]
    sealed = venue.seal()
    assert sealed.orders == tuple(placed)
    assert sealed.root == merkle.root(o.leaf for o in placed)
    assert sealed.accounts == tuple(sorted({o.account for o in placed}))
    assert sealed.terms_hash == venue.terms.hash
    assert (sealed.round, sealed.sealed_at, sealed.reference) == (1, NOW, 2)


def test_every_part_of_a_sealed_list_is_in_its_digest() -> None:
    venue = Venue(names=("ada",))
    venue.place("ada", buy(1, 1))
    venue.place("ada", buy(1, 1))
    sealed, domain = venue.seal(), venue.terms.domain
    changed = [
        replace(sealed, round=RoundId(2)),
        replace(sealed, market=bytes(32)),
        replace(sealed, reference=Tick(1)),
        replace(sealed, sealed_at=NOW + 1),
        replace(sealed, orders=sealed.orders[:1]),
        replace(sealed, root=bytes(32)),
        replace(sealed, terms_hash=bytes(32)),
    ]
    digests = {s.digest(domain) for s in changed} | {sealed.digest(domain)}
    assert len(digests) == 8


def test_a_round_is_sealed_once_and_the_next_opens_after_its_end() -> None:
    venue = Venue(names=("ada",))
    venue.place("ada", buy(1, 1))
    sealed = venue.seal()
    with pytest.raises(OrderRefused, match="is sealed, not open"):
        venue.book.check_seal(NOW)
    with pytest.raises(OrderRefused, match="still sealed"):
        venue.seal()
    with pytest.raises(OrderRefused, match="still sealed"):
        venue.open(2)
    ends = venue.abort_entry(), venue.result_entry(NO_CROSS)
    venue.finish(sealed)
    for end in ends:
        with pytest.raises(OrderRefused, match="not the sealed one"):
            venue.take(end)
    over: list[Callable[[], object]] = [
        lambda: venue.book.abort("again"),
        lambda: venue.book.finish(NO_CROSS),
    ]
    for again in over:
        with pytest.raises(OrderRefused, match="none is sealed"):
            again()
    with pytest.raises(OrderRefused, match="not open"):
        venue.seal()
    for number in (1, 3):
        with pytest.raises(OrderRefused, match="where 2 is next"):
            venue.open(number)
    venue.open(2)
    assert venue.seal().round == 2


def test_expiry_is_judged_at_sealing() -> None:
    venue = Venue(names=("ada", "ben"))
    gtt = TimeInForce.GOOD_TILL_TIME
    first = venue.place("ada", buy(1, 1), time_in_force=gtt, valid_until=NOW + 10)
    second = venue.place("ben", buy(1, 1), time_in_force=gtt, valid_until=NOW + 11)
    sealed = venue.seal(NOW + 10)
    assert sealed.orders == (second,)
    assert first not in venue.book.standing
    assert not venue.wallets["ada"].live
    venue.check()


def test_expiry_can_leave_a_round_below_its_minima_and_then_changes_nothing() -> None:
    """Members are not asked to seal such a round, so the operator's book must stay as theirs."""
    venue = Venue(terms=some_terms(min_orders=2), names=("ada", "ben"))
    brief = venue.place("ada", buy(1, 1), time_in_force=TimeInForce.GOOD_TILL_TIME, valid_until=NOW + 1)
    kept = venue.place("ben", buy(1, 1))
    with pytest.raises(OrderRefused, match="1 orders of 1 accounts; it needs 2"):
        venue.seal(NOW + 1)
    assert venue.book.standing == (brief, kept)
    venue.check()


def test_an_order_for_one_round_leaves_when_another_opens() -> None:
    venue = Venue(names=("ada", "ben"))
    brief = venue.place("ada", buy(1, 1), time_in_force=TimeInForce.ROUND)
    kept = venue.place("ben", buy(1, 1))
    effects = venue.open(2)
    assert [(e.order, e.end) for e in effects.ended] == [(brief, End.EXPIRED)]
    assert brief not in venue.book.standing
    assert venue.book.standing == (kept,)


def test_times_and_terms_of_an_order_are_checked_at_its_entrys_time() -> None:
    """It may have waited since it was screened, and members see only the entry."""
    venue = Venue(names=("ada", "ben"))
    draft = venue.draft("ada", buy(1, 1), TimeInForce.GOOD_TILL_TIME, NOW + 10)
    brief, lasting = (venue.sealed("ada", d).raw for d in (draft, venue.draft("ada", buy(1, 1))))
    venue.now = NOW + 10
    with pytest.raises(OrderRefused, match="valid_until"):
        venue.append("order", {}, [brief])
    with pytest.raises(OrderRefused, match="utc_day"):
        venue.append("order", {"time": NOW + 2 * 86_400}, [lasting])
    kept = venue.place("ben", buy(1, 1))
    with pytest.raises(OrderRefused, match="before the log's latest"):
        venue.append("order", {"time": NOW + 9}, [brief])
    changed = replace(venue.terms, market=replace(venue.terms.market, min_orders=2))
    effects = venue.append("market", terms_message(changed, venue.now).fields)
    assert [(e.order, e.end) for e in effects.ended] == [(kept, End.RELEASED)]
    with pytest.raises(OrderRefused, match="not that of market"):
        venue.append("order", {}, [lasting])
    assert not venue.book.standing
    venue.check()


def test_nonces_and_halts_hold_in_every_market_of_the_ledger() -> None:
    """The vault keeps one set of nullifiers an account: a nonce spent in one market is spent in all."""
    venue = Venue(names=("ada",))
    other = replace(venue.terms, market=replace(venue.terms.market, id=b"\x55" * 32))
    venue.append("market", terms_message(other, NOW).fields)
    venue.append("open", {"market": other.market.id.hex(), "round": 1, "reference": 2, "source": "given"})
    elsewhere = Wallet(other, signers(), key_of("ada"), key_of("ada")[::-1])
    for token in (BASE, QUOTE):
        elsewhere.deposited(token, venue.rich)
    made = elsewhere.draft(buy(1, 1), Standing(RoundId(1), NOW))
    assert made.statement.nonce == 0
    raw = made.finish(other.key, other.chain_id, other.contract, key_of("ada")).raw
    entry = venue.entry("order", {}, [raw])
    venue.state.checked(entry, ListedOrder.read(raw, other.key))  # it would be taken
    venue.place("ada", buy(1, 1))
    assert reasons([venue.answer(raw)]) == ["nonce"]
    venue.chain(venue.event("withdrawal_requested", "ada"))
    answer = venue.answer(raw)
    assert isinstance(answer, OrderRefused)
    assert "pending" in answer.message


@pytest.mark.parametrize("ended", [False, True])
def test_an_order_for_one_round_is_not_taken_once_that_round_is_sealed(ended: bool) -> None:
    venue = Venue(names=("ada", "ben"))
    venue.place("ada", buy(1, 1))
    sealed = venue.seal()
    if ended:
        venue.finish(sealed)
    raw = venue.sealed("ben", venue.draft("ben", buy(1, 1), TimeInForce.ROUND)).raw
    assert reasons([venue.answer(raw)]) == ["first_round"]

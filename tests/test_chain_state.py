"""What final chain events do: settlements land or expire, accounts leave, nonces burn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from commitments.errors import DecodeError
from commitments.pedersen import generator_g
from darkpool.book import End
from darkpool.chain_events import ChainEvent
from darkpool.effects import Effects
from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder
from darkpool.market import RoundState
from darkpool.message import Message
from darkpool.state import MAX_UNSETTLED
from darkpool.types import Address, Quanta
from tests.venue_log import Venue, crossed, crossing, crossing_result, open_market, portrait, refused
from tests.venue_support import (
    BASE,
    NOW,
    QUOTE,
    buy,
    finish,
    key_of,
    sell,
    signers,
    with_statement,
)

WINDOW = 600  # the terms' settle window, seconds
STRANGER = Address(bytes([0x5A]) * 20)

# --- settlements ------------------------------------------------------------------------------------


@pytest.mark.parametrize("windows", [0, 3, MAX_UNSETTLED])
def test_so_many_rounds_may_be_unsettled_and_no_more(windows: int) -> None:
    """In a settlement that is not final or in none: a debtor's F counts on each of them."""
    venue = Venue(names=("ada", "ben"))
    for number in range(MAX_UNSETTLED):
        crossed(venue)
        if number < windows:
            venue.window()
    venue.place("ada", buy(1, 1))
    assert f"{MAX_UNSETTLED} is the bound" in refused(venue, venue.seal)
    with pytest.raises(OrderRefused, match="3 is the bound"):  # an operator may set a lower one
        venue.state.check_may_seal(3)
    assert [p.settlement.id for p in venue.state.pending] == list(range(1, windows + 1))
    venue.chain(venue.landed())
    venue.seal()
    assert venue.state.next_settlement == max(windows, 1) + 1
    venue.check()


def three_pending() -> Venue:
    """Settlements 1, 2, 3 that end 100 seconds apart."""
    venue = Venue(names=("ada", "ben"))
    for _ in range(3):
        crossed(venue)
        venue.window()
        venue.now += 100
    assert [p.ends for p in venue.state.pending] == [NOW + WINDOW + 100 * i for i in range(3)]
    return venue


def test_settlements_are_void_together_when_the_last_has_expired() -> None:
    """After one that expired none can land, but their ids are free only when none of them could."""
    venue = three_pending()
    pending = list(venue.state.pending)
    for at in (pending[0].ends, pending[0].ends + 1, pending[2].ends):
        assert venue.chain(at=at).void == []
    venue.place("ada", buy(1, 1))
    assert "settlement 1 has expired" in refused(venue, venue.seal)
    effects = venue.chain(at=pending[2].ends + 1)
    assert effects.void == pending
    assert effects.busted == [cleared for p in pending for cleared in p.rounds]
    assert (venue.state.pending, venue.state.voided) == ([], 3)
    assert venue.state.next_settlement == 1
    venue.check()
    venue.seal()


def test_those_that_landed_are_not_void_with_the_others() -> None:
    venue = three_pending()
    first, *others = venue.state.pending
    assert venue.chain(venue.landed()).settled == [first]
    effects = venue.chain(at=others[-1].ends + 1)
    assert effects.void == others
    assert (venue.state.settled_id, venue.state.next_settlement) == (1, 2)
    venue.check()


def test_what_landed_in_its_window_counts_though_it_is_seen_later() -> None:
    venue = three_pending()
    ends, events = venue.state.pending[-1].ends, []
    for pending in venue.state.pending:
        s = pending.settlement
        events.append(ChainEvent("settled", number=s.id, root=s.root, transcript=s.transcript))
    effects = venue.chain(*events, at=ends + 1_000)
    assert len(effects.settled) == 3
    assert effects.void == []
    venue.check()


@pytest.mark.parametrize("change", [{"number": 2}, {"root": bytes(32)}, {"transcript": bytes(32)}])
def test_a_settlement_on_chain_that_is_not_ours_is_refused(change: dict[str, Any]) -> None:
    venue = Venue(names=("ada", "ben"))
    crossed(venue)
    event = replace(venue.landed(), **change)
    assert "not ours" in refused(venue, lambda: venue.chain(event))


def test_a_settlement_on_chain_that_the_log_does_not_know_is_refused() -> None:
    venue = Venue(names=("ada", "ben"))
    crossed(venue)
    event = venue.landed()
    assert "does not know" in refused(venue, lambda: venue.chain(event, replace(event, number=2)))
    venue.chain(event)
    assert "does not know" in refused(venue, lambda: venue.chain(event))


def test_a_list_without_an_end_is_released_when_its_window_has_passed() -> None:
    venue = crossing()
    ends = NOW + WINDOW
    result = venue.result_entry(crossing_result(venue))
    assert venue.chain(at=ends).rounds == []
    effects = venue.chain(at=ends + 1)
    assert [e.end for e in effects.ended] == [End.RELEASED] * 2
    assert effects.reason == "no result within the settle window"
    assert venue.book.current_round.state is RoundState.ABORTED
    assert "not the sealed one" in refused(venue, lambda: venue.take(result))
    venue.check()


def test_a_settlement_is_void_whether_a_list_is_sealed_or_not_and_that_list_goes_on() -> None:
    """What members sign for a result names no id, so it counts on no settlement before it."""
    venue = Venue(names=("ada", "ben"))
    crossed(venue)
    pending = venue.window()
    venue.now += WINDOW // 2
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    sealed = venue.seal()
    effects = venue.chain(at=pending.ends + 1)
    assert (effects.void, effects.ended) == ([pending], [])
    assert venue.state.next_settlement == 1
    venue.finish(sealed)
    assert venue.settled().settled[0].rounds[0].root == sealed.root
    venue.check()


# --- entries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"block": 0},
        {"block": -1},
        {"block": None},
        {"at": 4},
        {"at": None},
        {"hash": "00" * 31},
        {"hash": None},
        {"events": None},
        {"events": {}},
        {"events": [5]},
        {"events": [["deposit"]]},
        {"events": [["deposit", "aa" * 20, 0, 1, 1]]},
        {"events": [["deposit", "aa" * 20, 3, 1]]},
        {"events": [["deposit", "aa" * 20, 0, -1]]},
        {"events": [["deposit", "aa" * 19, 0, 1]]},
        {"events": [["gift", "aa" * 20, 0, 1]]},
        {"events": [[5, "aa" * 20, 0, 1]]},
        {"events": [["cancelled", "aa" * 20, 0, 1]]},
        {"events": [["cancelled", "aa" * 20, "00" * 32, "00" * 31]]},
        {"events": [["settled", 0, "00" * 32, "00" * 32]]},
        {"events": [["settled", 1, "00" * 31, "00" * 32]]},
    ],
)
def test_a_chain_entry_that_is_none_is_refused(change: dict[str, Any]) -> None:
    venue = Venue(names=("ada",), rich=Quanta(0))
    venue.chain(at=5)
    fields = {"block": 1, "at": 5, "hash": "00" * 32, "events": []}
    assert refused(venue, lambda: venue.append("chain", {**fields, **change}))
    venue.append("chain", fields)


def test_a_deposit_before_the_first_market_has_no_token() -> None:
    venue = Venue(names=("ada",), rich=Quanta(0))
    fresh = type(venue.state)(venue.terms.key, signers())
    fields = {"time": 1, "block": 0, "at": 5, "hash": "00" * 32}
    row = venue.deposit_of("ada", BASE, 1).row()
    with pytest.raises(DecodeError):
        fresh.checked(Message("chain", {**fields, "events": [row]}))
    fresh.checked(Message("chain", {**fields, "events": []}))


# --- leaving ----------------------------------------------------------------------------------------


def test_a_withdrawal_halts_pays_and_then_f_starts_again_from_the_chain() -> None:
    venue = Venue(names=("ada", "ben"), rich=Quanta(10_000))
    order = venue.place("ada", buy(1, 1))
    ada = venue.wallets["ada"]
    raw = venue.sealed("ada", venue.draft("ada", buy(1, 1))).raw
    effects = venue.chain(venue.event("withdrawal_requested", "ada", 2, 4_000))
    assert effects.halted == [ada.address]
    assert [(e.order, e.end) for e in effects.ended] == [(order, End.RELEASED)]
    answer = venue.answer(raw)
    assert isinstance(answer, OrderRefused)
    assert answer.code == "account-halted"
    version = venue.free("ada", QUOTE).version
    effects = venue.chain(venue.event("withdrawn", "ada", 2, 4_000))
    assert effects.resumed == [ada.address]
    assert venue.free("ada", QUOTE).current == generator_g() * 6_000
    assert venue.free("ada", QUOTE).version == version + 1
    venue.check()
    venue.place("ada", buy(1, 1))


def test_an_account_resumes_when_all_requests_are_answered_and_its_rounds_have_ended_and_settled() -> None:
    venue = crossing()
    requests = [("withdrawal_requested", 1), ("withdrawal_requested", 2), ("cancel_requested", 9)]
    effects = venue.chain(*(venue.event(kind, "ada", number) for kind, number in requests))
    assert effects.halted == [venue.wallets["ada"].address]
    assert venue.book.open_orders(venue.wallets["ada"].address) == 1  # in the sealed list
    for kind, number in (("withdrawn", 1), ("withdrawn", 2), ("cancelled", 9)):
        assert venue.chain(venue.event(kind, "ada", number, 0 if kind == "withdrawn" else 1)).resumed == []
    venue.finish(venue.sealed_list)
    assert venue.wallets["ada"].address in venue.state.ledger.halted
    effects = venue.chain(venue.landed())
    assert effects.resumed == [venue.wallets["ada"].address]
    venue.check()


def test_an_order_for_the_next_round_of_a_leaving_account_goes_and_its_sealed_one_ends_with_the_round() -> (
    None
):
    venue = Venue(names=("ada", "ben"))
    sealed_order = venue.place("ada", buy(0, 1))
    venue.place("ben", buy(0, 1))
    venue.seal()
    late = venue.place("ada", buy(1, 1))
    effects = venue.chain(venue.event("withdrawal_requested", "ada"))
    assert [e.order for e in effects.ended] == [late]
    venue.finish(venue.sealed_list)
    assert [venue.name_of(o.account) for o in venue.book.standing] == ["ben"]
    assert sealed_order not in venue.book.standing
    venue.check()


@pytest.mark.parametrize("first", [False, True])
def test_nonces_burnt_on_chain_are_used_whether_before_the_first_deposit_or_after(first: bool) -> None:
    """An account that burns before it is known would else hold a nonce that makes its settlement revert."""
    venue = Venue(names=("ada",), rich=Quanta(0))

    def burn() -> Effects:
        venue.chain(venue.event("cancel_requested", "ada", 0, 0b1011))
        return venue.chain(venue.event("cancelled", "ada", 0, 0b1011))

    if first:
        burn()
    venue.deposit("ada", BASE, 1_000)
    venue.deposit("ada", QUOTE, 10_000)
    if not first:
        burn()
    codes = []
    for nonce in range(5):
        draft = with_statement(venue.draft("ada", buy(1, 0)), nonce=nonce)
        answer = venue.answer(finish(draft, venue.terms, key_of("ada")).raw)
        codes.append(answer.code if isinstance(answer, OrderRefused) else "")
        if isinstance(answer, ListedOrder):
            venue.wallets["ada"].accepted(buy(1, 0), draft)
    assert codes == ["nonce-used", "nonce-used", "", "nonce-used", ""]
    venue.check()


@pytest.mark.parametrize("kind", ["withdrawal_requested", "cancel_requested"])
def test_a_request_made_before_the_first_deposit_halts_the_account(kind: str) -> None:
    """It may be ripe by the time the account trades, and then break a settlement of a sealed round."""
    venue = Venue(names=("ada",), rich=Quanta(0))
    venue.chain(venue.event(kind, "ada", 1))
    venue.deposit("ada", QUOTE, 10_000)
    answer = venue.answer(venue.sealed("ada", venue.draft("ada", buy(1, 1))).raw)
    assert isinstance(answer, OrderRefused)
    assert answer.code == "account-halted"
    done = "withdrawn" if kind == "withdrawal_requested" else "cancelled"
    assert venue.chain(venue.event(done, "ada", 1, 0)).resumed == [venue.wallets["ada"].address]


def test_answers_nobody_asked_for_change_no_f() -> None:
    venue = Venue(names=("ada",))
    venue.chain(ChainEvent("withdrawn", STRANGER, 1, Quanta(0)), ChainEvent("cancelled", STRANGER, 1, mask=1))
    assert not venue.state.ledger.known(STRANGER)
    assert STRANGER not in venue.state.ledger.halted
    venue.check()


# --- the fold ---------------------------------------------------------------------------------------


def test_whoever_folds_the_log_has_the_same_state() -> None:
    venue = three_pending()
    open_market(venue)
    venue.chain(venue.landed(), venue.event("withdrawal_requested", "ben"))
    order = venue.place("ada", buy(0, 3))
    venue.replace(order, buy(0, 2))
    venue.seal()
    assert portrait(venue.folded()) == portrait(venue.state)
    venue.abort()
    assert portrait(venue.folded()) == portrait(venue.state)

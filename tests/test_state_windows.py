"""Windows in the log: what nets rounds into a settlement, and what becomes of those that no window took."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkpool import state as state_module
from darkpool.book import Book
from darkpool.certificates import result_digest
from darkpool.draft import Standing
from darkpool.effects import Effects
from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder
from darkpool.order import Terms
from darkpool.results import result_fields
from darkpool.settlement_gas import estimate
from darkpool.types import Quanta
from darkpool.wallet import Wallet
from tests.venue_log import (
    NO_AUDIT,
    Venue,
    crossed,
    crossing,
    crossing_result,
    open_market,
    portrait,
    refused,
)
from tests.venue_support import BASE, NOW, QUOTE, buy, key_of, sell, signatures_of, signers

WINDOW = 600  # the terms' settle window, seconds


def unsettled(rounds: int = 3, apart: int = 100) -> Venue:
    """Rounds with a result and in no window, sealed so many seconds apart."""
    venue = Venue(names=("ada", "ben"))
    for _ in range(rounds):
        crossed(venue)
        venue.now += apart
    return venue


def crossed_elsewhere(venue: Venue, terms: Terms, nonce: int) -> None:
    """A round of another market in which ben buys from ada what he sells her in the first."""
    book: Book = venue.state.books[terms.market.id]
    for name, order in (("ben", buy(3, 1)), ("ada", sell(0, 1))):
        wallet = Wallet(terms, signers(), key_of(name), key_of(name)[::-1])
        wallet._free, wallet._next_nonce = venue.wallets[name]._free, nonce  # type: ignore[assignment]
        draft = wallet.draft(order, Standing(book.current_round.id, venue.now))
        raw = draft.finish(terms.key, terms.chain_id, terms.contract, key_of(name)).raw
        entry = venue.entry("order", {}, [raw])
        venue.state.checked(entry, ListedOrder.read(raw, terms.key))(len(venue.entries))
        venue.entries.append(entry.encode())
    about = {"market": terms.market.id.hex(), "round": 1}
    _raw(venue, "seal", {**about, "epoch": 1, **NO_AUDIT})
    result = crossing_result(venue)
    result = type(result)(True, result.price, result.volume, {a: -n for a, n in result.nets.items()})
    signed = signatures_of(venue.state.result_digest(book, result))
    _raw(venue, "result", {**about, **result_fields(result), "signatures": 3}, signed)


def _raw(venue: Venue, op: str, fields: dict[str, Any], blobs: Any = ()) -> Effects:  # noqa: ANN401
    """An entry that the first market's wallets need not hear of."""
    entry = venue.entry(op, fields, blobs)
    effects = venue.state.checked(entry)(len(venue.entries))
    venue.entries.append(entry.encode())
    return effects


# --- the entry --------------------------------------------------------------------------------------


def test_a_window_takes_the_oldest_rounds_and_fixes_what_its_id_settles() -> None:
    venue = unsettled()
    first, second, third = venue.state.unsettled
    pending = venue.window(2)
    assert pending.rounds == (first, second)
    assert (pending.settlement.id, pending.settlement.epoch, pending.ends) == (1, 1, first.ends)
    assert (venue.state.pending, venue.state.unsettled) == ([pending], [third])
    assert venue.state.next_settlement == 2
    assert venue.window().rounds == (third,)
    assert "0 unsettled" in refused(venue, lambda: venue.window(1))
    assert portrait(venue.folded()) == portrait(venue.state)
    venue.check()


@pytest.mark.parametrize(
    "change, says",
    [
        ({"id": 2}, "1 is next"),
        ({"id": 0}, "id"),
        ({"id": None}, "id"),
        ({"epoch": 0}, "epoch"),
        ({"epoch": None}, "epoch"),
        ({"rounds": 0}, "rounds"),
        ({"rounds": 4}, "4 of 3"),
        ({"rounds": True}, "rounds"),
        ({"rounds": None}, "rounds"),
    ],
)
def test_a_window_that_is_none_is_refused(change: dict[str, Any], says: str) -> None:
    venue = unsettled()
    fields = {"id": 1, "epoch": 1, "rounds": 3}
    assert says in refused(venue, lambda: venue.append("window", {**fields, **change}))
    venue.append("window", fields)


def test_a_window_above_the_gas_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    venue = unsettled()
    gas = estimate(4, 2)  # both accounts' base and quote, and a word of nonces each
    monkeypatch.setattr("darkpool.windows.MAX_SETTLEMENT_GAS", gas - 1)
    assert f"up to {gas} gas" in refused(venue, venue.window)
    monkeypatch.setattr("darkpool.windows.MAX_SETTLEMENT_GAS", gas)
    venue.window()


def test_no_window_after_a_settlement_that_expired_until_it_is_void() -> None:
    venue = unsettled()
    first, second = venue.window(1), venue.window(1)
    venue.chain(at=first.ends + 1)
    assert "settlement 1 has expired" in refused(venue, venue.window)
    effects = venue.chain(at=second.ends + 1)
    assert effects.void == [first, second]
    assert venue.window().settlement.id == 1
    venue.check()


def test_a_round_that_has_expired_before_its_result_gets_no_window() -> None:
    """The chain's clock may be ahead of the venue's when the list is sealed."""
    venue = Venue(names=("ada", "ben"))
    venue.chain(at=NOW + WINDOW + 1)
    crossed(venue)
    assert "round 1 has expired" in refused(venue, venue.window)
    assert [cleared.round for cleared in venue.chain(at=NOW + WINDOW + 2).busted] == [1]
    venue.check()


def test_a_window_is_refused_while_the_venue_has_no_result() -> None:
    venue = crossing()
    assert "0 unsettled" in refused(venue, lambda: venue.window(1))


# --- money ------------------------------------------------------------------------------------------


def test_debits_count_at_once_and_credits_when_the_window_has_landed() -> None:
    venue = Venue(names=("ada", "ben"), rich=Quanta(10_000))
    crossed(venue)  # ada pays 1,020 for 7
    assert [venue.wallets["ada"].free(t) for t in (BASE, QUOTE)] == [10_000, 8_980]
    crossed(venue)
    pending = venue.window()
    assert [venue.wallets["ada"].free(t) for t in (BASE, QUOTE)] == [10_000, 7_960]
    venue.check()
    assert venue.settled().settled == [pending]
    assert [venue.wallets["ada"].free(t) for t in (BASE, QUOTE)] == [10_014, 7_960]
    assert venue.state.ledger.balances[venue.wallets["ada"].address, BASE] == 10_014
    venue.check()


def test_rounds_of_two_markets_net_into_one_settlement() -> None:
    """ada buys from ben in one what she sells him in the other: nothing moves, but nonces are spent."""
    venue = Venue(names=("ada", "ben"))
    before = dict(venue.state.ledger.balances)
    other = open_market(venue)
    crossed(venue)
    crossed_elsewhere(venue, other, nonce=1)
    pending = venue.window()
    assert [cleared.market for cleared in pending.rounds] == [venue.terms.market.id, other.market.id]
    assert pending.settlement.deltas == ()
    assert {row.mask for row in pending.settlement.nullifiers} == {0b11}
    assert [(flow.gross, flow.net) for flow in pending.flows] == [(14, 0), (2_040, 0)]
    s = pending.settlement
    row = ["settled", s.id, s.root.hex(), s.transcript.hex()]
    fields = {"block": venue.state.block + 1, "at": 1, "hash": "11" * 32, "events": [row]}
    assert _raw(venue, "chain", fields).settled == [pending]
    assert venue.state.ledger.balances == before
    assert portrait(venue.folded()) == portrait(venue.state)


def test_an_account_that_leaves_resumes_when_no_round_of_it_waits_for_a_window_any_more() -> None:
    venue = unsettled(1)
    ada = venue.wallets["ada"].address
    venue.chain(venue.event("withdrawal_requested", "ada", 1, 10))
    assert venue.chain(venue.event("withdrawn", "ada", 1, 10)).resumed == []
    venue.window()
    assert venue.chain(at=NOW).resumed == []
    assert venue.chain(venue.landed()).resumed == [ada]
    venue.check()


# --- void -------------------------------------------------------------------------------------------


def test_rounds_in_no_window_are_void_one_by_one_and_at_once() -> None:
    venue = unsettled()
    first, second, third = venue.state.unsettled
    for at, busted in (
        (first.ends, []),
        (first.ends + 1, [first]),
        (second.ends, []),
        (third.ends + 1, [second, third]),
    ):
        effects = venue.chain(at=at)
        assert (effects.busted, effects.void) == (busted, [])
        venue.check()
    assert (venue.state.not_final, venue.state.voided) == ([], 3)
    assert all(w.free(t) == venue.rich for w in venue.wallets.values() for t in (BASE, QUOTE))


def test_rounds_behind_an_expired_settlement_live_on_and_are_settled_when_it_is_void() -> None:
    venue = unsettled()
    pending = venue.window(1)
    second, third = venue.state.unsettled
    effects = venue.chain(at=pending.ends + 1)
    assert (effects.void, effects.busted) == ([pending], list(pending.rounds))
    again = venue.window()
    assert (again.settlement.id, again.rounds) == (1, (second, third))
    venue.settled()
    venue.check()


def test_the_bound_holds_until_rounds_are_void_and_then_the_market_goes_on() -> None:
    venue = unsettled(state_module.MAX_UNSETTLED, apart=10)
    venue.window(3)
    venue.place("ada", buy(1, 1))
    assert "is the bound" in refused(venue, venue.seal)
    venue.settled(final=False)
    venue.now = venue.state.chain_time
    venue.seal()


MOVES = st.lists(
    st.sampled_from(
        ["cross", "cross", "cross", "window", "window all", "land", "pass", "expire", "expire all"]
    ),
    max_size=14,
)


@settings(max_examples=10, deadline=None)
@given(MOVES)
def test_whatever_lands_or_expires_in_whatever_order_every_round_ends_once(moves: list[str]) -> None:
    venue = Venue(names=("ada", "ben"))
    ended: dict[int, str] = {}

    def end(effects: Effects) -> None:
        for how, found in (
            ("settled", [c for p in effects.settled for c in p.rounds]),
            ("busted", effects.busted),
        ):
            for cleared in found:
                assert ended.setdefault(cleared.round, how) is how
        together = {cleared.round for pending in effects.void for cleared in pending.rounds}
        ends = [p.ends for p in effects.void] + [c.ends for c in effects.busted if c.round not in together]
        assert all(venue.state.chain_time > at for at in ends)

    for move in moves:
        state = venue.state
        late = bool(state.pending) and state.chain_time > state.pending[0].ends
        ends = sorted(c.ends for c in state.not_final)
        if move == "cross" and not late and len(ends) < state_module.MAX_UNSETTLED:
            crossed(venue)
            venue.now += 50
        elif move.startswith("window") and state.unsettled and not late:
            venue.window(1 if move == "window" else None)
        elif move == "land" and state.pending:
            end(venue.chain(venue.landed()))
        elif move == "pass":
            venue.now += 200
        elif move.startswith("expire") and ends:
            end(venue.chain(at=max((ends[0] if move == "expire" else ends[-1]) + 1, state.chain_time)))
            venue.now = max(venue.now, state.chain_time)
        venue.check()
    crossings = venue.book.current_round.id - 1
    alive = {cleared.round for cleared in venue.state.not_final}
    assert sorted([*ended, *alive]) == list(range(1, crossings + 1))
    assert venue.state.voided == [*ended.values()].count("busted")
    settled = [*ended.values()].count("settled")
    assert venue.state.ledger.balances[venue.wallets["ada"].address, BASE] == venue.rich + 7 * settled
    assert portrait(venue.folded()) == portrait(venue.state)


def test_a_round_shares_the_end_of_the_settlement_it_is_in() -> None:
    """The vault takes none of it after the window of the earliest, and nothing else can land it."""
    venue = unsettled(2)
    pending = venue.window()
    first, second = pending.rounds
    assert (pending.ends, second.ends) == (first.ends, first.ends + 100)
    assert venue.chain(at=first.ends).busted == []
    assert venue.chain(at=first.ends + 1).busted == [first, second]
    venue.check()


# --- certificates -----------------------------------------------------------------------------------


def test_what_members_sign_for_a_result_names_no_settlement() -> None:
    """So a result stays good whatever becomes of the settlements before it."""
    venue = crossing()
    result = crossing_result(venue)
    before = venue.state.result_digest(venue.book, result)
    venue.state.settled_id, venue.state.epoch = 41, 9
    assert venue.state.result_digest(venue.book, result) == before
    sealed = venue.sealed_list.digest(venue.terms.domain)
    assert before != result_digest(venue.terms.domain, sealed, None)
    with pytest.raises(OrderRefused, match="none is sealed"):
        Venue(names=("ada",)).state.result_digest(Venue(names=("ada",)).book, result)
    assert QUOTE in venue.terms.tokens

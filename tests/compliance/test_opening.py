"""One order opened: what a day's key opens, and each way an order can be refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256

import pytest

from commitments import sealing
from commitments.encoding import Reader
from commitments.order_statement import Statement
from commitments.params import GROUP_ORDER
from compliance.opening import (
    DirectOpening,
    Opened,
    Reason,
    Refusal,
    check_proof,
    open_directly,
    open_order,
)
from compliance.view_keys import ViewKey, scope_of
from darkpool.draft import Draft, note_context
from darkpool.eip712 import SIGNATURE_BYTES, sign_digest
from darkpool.market import Side
from darkpool.order import Order, SealedOrder, Terms, order_hash, signing_digest
from darkpool.types import Nonce
from tests.commitments_support import published_key
from tests.compliance.audit_support import (
    DAY,
    OTHER_MARKET,
    TERMS,
    account_of,
    drafted,
    market_of,
    sealed,
    seed_of,
)
from tests.venue_support import buy, finish, key_of, sell

NOTE = slice(-SIGNATURE_BYTES - 292, -SIGNATURE_BYTES)


@cache
def an_order(
    name: str = "ada", day: int = DAY, nonce: int = 0, terms: Terms = TERMS, side: Side = Side.BUY
) -> SealedOrder:
    order = buy(2, 77, "mine") if side is Side.BUY else sell(1, 5, "mine")
    return sealed(name, order, day, nonce, terms)


DAY_KEY = ViewKey.of(seed_of("ada"), replace(market_of("ada"), day=DAY))


def refused(call: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.reason in caught.value.message
    assert caught.value.hint
    return caught.value


def cheating(change: Callable[[Draft, bytes], Draft]) -> SealedOrder:
    """An order whose trader writes another note, then proves and signs it like any other."""
    honest = drafted("ada", buy(2, 77, "mine"))
    leaf = DAY_KEY.under(scope_of(honest.statement)).node
    return finish(change(honest, sealing.note_key(leaf)), TERMS, key_of("ada"))


def with_note(draft: Draft, note: bytes, leaf: bytes | None = None) -> Draft:
    """That note, named and committed to as an honest one is."""
    statement = replace(draft.statement, note_hash=sha256(note).digest())
    key = DAY_KEY.under(scope_of(statement)).node.secret if leaf is None else leaf
    commitment = sealing.hmac_commit(key, statement.encode_without_leaf())
    return replace(draft, statement=replace(statement, leaf_commitment=commitment), note=note)


def noted(draft: Draft, key: bytes, order: Order, blindings: tuple[int, ...] | None = None) -> Draft:
    """A note that opens, and says that."""
    blindings = draft.witness.blindings if blindings is None else blindings
    plaintext = order.encode() + b"".join(r.to_bytes(32) for r in blindings)
    return sealed_note(draft, key, plaintext)


def sealed_note(draft: Draft, key: bytes, plaintext: bytes) -> Draft:
    s = draft.statement
    context = note_context(TERMS, account_of("ada"), Nonce(s.nonce), s.salt)
    return with_note(draft, sealing.seal(key, plaintext, context))


# --- what opens -------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", Side)
def test_an_order_opens_with_all_that_its_trader_meant(side: Side) -> None:
    order = an_order(side=side)
    opened = open_order(order.raw, TERMS, [DAY_KEY], leaf=order.leaf)
    expected = (Side.BUY, 2, 77, 1_020) if side is Side.BUY else (Side.SELL, 1, 5, 1_010)
    assert (opened.side, opened.order.level, opened.quantity, opened.price) == expected
    assert (opened.reference, opened.lot, opened.direct) == ("mine", 7, False)
    assert (opened.account, opened.market, opened.nonce) == (account_of("ada"), TERMS.market.id, 0)
    assert (opened.hash, opened.utc_day, opened.valid_until) == (order.hash, DAY, 0)


def test_every_node_above_an_order_opens_it() -> None:
    order = scope_of(an_order().statement)
    day = replace(order, nonce=None)
    market = replace(day, day=None)
    for scope in (order, day, market, replace(market, market=None)):
        key = ViewKey.of(seed_of("ada"), scope)
        assert open_order(an_order().raw, TERMS, [key]).quantity == 77


NEIGHBOURS: dict[str, tuple[str, int, Terms]] = {
    "another day": ("ada", DAY + 1, TERMS),
    "the day before": ("ada", DAY - 1, TERMS),
    "another market": ("ada", DAY, OTHER_MARKET),
    "another account": ("ben", DAY, TERMS),
}


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_one_day_of_one_market_of_one_account_opens_nothing_else(neighbour: str) -> None:
    """By its scope, and by the key itself under the scope a cheat would write on it."""
    name, day, terms = NEIGHBOURS[neighbour]
    order = an_order(name, day, 0, terms)
    found = refused(lambda: open_order(order.raw, terms, [DAY_KEY]))
    assert (found.reason, found.order) == (Reason.OUT_OF_SCOPE, order.hash)
    relabelled = ViewKey(replace(market_of(name, terms), day=day), DAY_KEY.node)
    assert refused(lambda: open_order(order.raw, terms, [relabelled])).reason is Reason.WRONG_KEY


def test_one_order_opens_no_other_of_its_day() -> None:
    first, second = an_order(), an_order(nonce=1)
    leaf = DAY_KEY.under(scope_of(first.statement))
    assert open_order(first.raw, TERMS, [leaf]).quantity == 77
    assert refused(lambda: open_order(second.raw, TERMS, [leaf])).reason is Reason.OUT_OF_SCOPE
    relabelled = ViewKey(scope_of(second.statement), leaf.node)
    assert refused(lambda: open_order(second.raw, TERMS, [relabelled])).reason is Reason.WRONG_KEY
    assert open_order(second.raw, TERMS, [leaf, DAY_KEY]).quantity == 77


# --- what does not ----------------------------------------------------------------------------------


def test_bytes_that_are_no_order_are_refused() -> None:
    raw = an_order().raw
    for bad in (b"", raw[:-1], raw + b"\0", raw[:300]):
        assert refused(lambda b=bad: open_order(b, TERMS, [DAY_KEY])).reason is Reason.MALFORMED  # type: ignore[misc]


def test_an_order_of_another_market_or_committee_key_is_refused() -> None:
    other = replace(TERMS, key=published_key("production"))
    for terms in (OTHER_MARKET, replace(TERMS, venue=bytes(32)), other):
        found = refused(lambda t=terms: open_order(an_order().raw, t, [DAY_KEY]))  # type: ignore[misc]
        assert found.reason is Reason.OTHER_MARKET


def test_other_bytes_than_the_listed_ones_are_refused() -> None:
    order, other = an_order(), sealed("ada", buy(2, 77, "mine"))
    found = refused(lambda: open_order(other.raw, TERMS, [DAY_KEY], leaf=order.leaf))
    assert (found.reason, found.order) == (Reason.NOT_LISTED, order.hash)
    moved = order.leaf[:28] + bytes(32) + order.leaf[60:]
    found = refused(lambda: open_order(order.raw, TERMS, [DAY_KEY], leaf=moved))
    assert (found.reason, found.order) == (Reason.NOT_LISTED, order.hash)


def test_an_order_somebody_else_signed_is_refused() -> None:
    forged = finish(drafted("ada", buy(2, 77)), TERMS, key_of("ben"))
    assert refused(lambda: open_order(forged.raw, TERMS, [DAY_KEY])).reason is Reason.BAD_SIGNATURE


def test_a_note_that_is_not_the_signed_one_is_a_forged_note() -> None:
    raw = bytearray(an_order().raw)
    raw[NOTE] = an_order(nonce=1).note
    assert refused(lambda: open_order(bytes(raw), TERMS, [DAY_KEY])).reason is Reason.NOTE_FORGED


def test_an_order_that_commits_to_a_key_outside_the_tree_is_refused() -> None:
    order = cheating(lambda draft, _: with_note(draft, draft.note, leaf=bytes(32)))
    assert refused(lambda: open_order(order.raw, TERMS, [DAY_KEY])).reason is Reason.WRONG_KEY


def test_a_note_that_does_not_open_is_a_refusal_of_its_account() -> None:
    order = cheating(lambda draft, _: with_note(draft, bytes(len(draft.note))))
    found = refused(lambda: open_order(order.raw, TERMS, [DAY_KEY]))
    assert found.reason is Reason.NOTE_CLOSED
    assert "open C_q and C_m directly" in found.hint


@pytest.mark.parametrize(
    "lie,commitment",
    [(buy(2, 76), "C_Q"), (sell(2, 77), "C_H"), (buy(3, 77), "C_H"), (buy(2, 2**32 - 1), "C_Q")],
)
def test_a_note_that_lies_about_the_order_is_caught(lie: Order, commitment: str) -> None:
    order = cheating(lambda draft, key: noted(draft, key, lie))
    found = refused(lambda: open_order(order.raw, TERMS, [DAY_KEY]))
    assert found.reason is Reason.COMMITMENT
    assert commitment in found.problem
    check_proof(order.raw, TERMS)  # members could not have known


@pytest.mark.parametrize(
    "place,commitment", [(0, "C_Q"), (1, "C_H"), (3, "C_BASE"), (4, "C_QUOTE"), (5, "C_M")]
)
def test_a_wrong_blinding_of_each_commitment_is_caught(place: int, commitment: str) -> None:
    def lie(draft: Draft, key: bytes) -> Draft:
        blindings = list(draft.witness.blindings)
        blindings[place] = (blindings[place] + 1) % GROUP_ORDER
        return noted(draft, key, buy(2, 77, "mine"), tuple(blindings))

    found = refused(lambda: open_order(cheating(lie).raw, TERMS, [DAY_KEY]))
    assert (found.reason, found.problem.split()[0]) == (Reason.COMMITMENT, commitment)


def test_a_note_that_opens_to_no_order_is_a_forged_note() -> None:
    length = 72 + 6 * 32
    for text in (b"\x02" + bytes(length - 1), b"\xff" * length, buy(4, 77).encode() + bytes(6 * 32)):
        order = cheating(lambda draft, key, t=text: sealed_note(draft, key, t))  # type: ignore[misc]
        assert refused(lambda o=order: open_order(o.raw, TERMS, [DAY_KEY])).reason is Reason.NOTE_FORGED  # type: ignore[misc]


def test_a_refusal_and_an_opened_order_show_nothing_secret() -> None:
    order = sealed("ada", buy(3, 3_141_592, "sentinel"))
    opened = open_order(order.raw, TERMS, [DAY_KEY])
    lying = cheating(lambda draft, key: noted(draft, key, buy(3, 3_141_592, "sentinel")))
    refusal = refused(lambda: open_order(lying.raw, TERMS, [DAY_KEY]))
    shown = DirectOpening(3_141_592, 6, 99_887_766, 55_443_322)
    for text in (repr(opened), str(opened), repr(refusal), refusal.rendered(), repr(shown)):
        assert not any(secret in text for secret in ("3141592", "sentinel", "1030", "99887766", "55443322"))


# --- opened by the account itself -------------------------------------------------------------------


def closed() -> tuple[SealedOrder, Draft]:
    """An order whose note does not open, with what its trader knows."""
    drafts: list[Draft] = []

    def spoil(draft: Draft, _: bytes) -> Draft:
        drafts.append(with_note(draft, bytes(len(draft.note))))
        return drafts[0]

    return cheating(spoil), drafts[0]


def test_an_account_can_open_an_order_directly() -> None:
    order, draft = closed()
    r = draft.witness.blindings
    opened: Opened = open_directly(order.raw, TERMS, DirectOpening(77, 4, r[0], r[5]), leaf=order.leaf)
    assert (opened.side, opened.order.level, opened.quantity, opened.price) == (Side.BUY, 2, 77, 1_020)
    assert opened.direct


@pytest.mark.parametrize(
    "change,reason",
    [
        ({"quantity": 76}, Reason.COMMITMENT),
        ({"slot": 5}, Reason.COMMITMENT),
        ({"slot": 2}, Reason.COMMITMENT),
        ({"r_q": 1}, Reason.COMMITMENT),
        ({"r_m": 1}, Reason.COMMITMENT),
        ({"quantity": -1}, Reason.COMMITMENT),
        ({"quantity": 1 << 32}, Reason.COMMITMENT),
        ({"slot": -1}, Reason.COMMITMENT),
        ({"slot": 8}, Reason.NOTE_FORGED),
    ],
)
def test_a_false_direct_opening_is_caught(change: dict[str, int], reason: Reason) -> None:
    order, draft = closed()
    r = draft.witness.blindings
    shown = replace(DirectOpening(77, 4, r[0], r[5]), **change)
    assert refused(lambda: open_directly(order.raw, TERMS, shown)).reason is reason


# --- the proof, and the other group library ---------------------------------------------------------


def test_the_proof_is_checked_again() -> None:
    check_proof(an_order().raw, TERMS)
    draft = drafted("ada", buy(2, 77, "mine"))
    other = replace(draft.statement, first_round=2)
    honest = finish(draft, TERMS, key_of("ada"))
    moved = other.encode() + honest.raw[len(other.encode()) : -SIGNATURE_BYTES]
    resigned = _signed_anew(moved)
    assert refused(lambda: check_proof(resigned, TERMS)).reason is Reason.BAD_PROOF


def _signed_anew(body: bytes) -> bytes:
    digest = order_hash(body + bytes(SIGNATURE_BYTES))
    statement = Statement.read(Reader(body))
    return body + sign_digest(signing_digest(TERMS.domain, statement, digest), key_of("ada"))


def test_the_reference_library_comes_to_the_same() -> None:
    order = an_order()
    native = open_order(order.raw, TERMS, [DAY_KEY], leaf=order.leaf)
    assert open_order(order.raw, TERMS, [DAY_KEY], leaf=order.leaf, backend="reference") == native
    lying = cheating(lambda draft, key: noted(draft, key, sell(2, 77)))
    found = refused(lambda: open_order(lying.raw, TERMS, [DAY_KEY], backend="reference"))
    assert (found.reason, found.problem.split()[0]) == (Reason.COMMITMENT, "C_H")


@pytest.mark.slow
def test_the_reference_library_verifies_the_proof() -> None:
    check_proof(an_order().raw, TERMS, backend="reference")


@pytest.mark.production
def test_an_order_of_production_size_opens() -> None:
    terms = replace(TERMS, key=published_key("production"))
    terms = replace(terms, market=replace(terms.market, grid=replace(terms.market.grid, levels=64)))
    order = sealed("ada", sell(63, 2**32 - 1, "large"), terms=terms)
    opened = open_order(order.raw, terms, [DAY_KEY], leaf=order.leaf)
    assert (opened.side, opened.order.level, opened.quantity) == (Side.SELL, 63, 2**32 - 1)
    check_proof(order.raw, terms)

"""Admission: who may enter the book, alone and in batches, and what a refused one is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from darkpool import book as module
from darkpool import eip712
from darkpool.book import Book
from darkpool.draft import Draft
from darkpool.eip712 import sign_digest
from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder
from darkpool.order import Order, order_hash
from darkpool.types import Nonce, Quanta
from tests.venue_log import Venue
from tests.venue_support import (
    BASE,
    NOW,
    QUOTE,
    buy,
    finish,
    key_of,
    sell,
    with_statement,
)


def reasons(answers: Sequence[ListedOrder | OrderRefused]) -> list[str]:
    """An empty text for what was accepted, else the field refused."""
    return [a.message.split(":")[0] if isinstance(a, OrderRefused) else "" for a in answers]


def chain_of(venue: Venue, name: str, count: int) -> list[tuple[Order, Draft]]:
    """Orders pipelined one on another: each is proven against the F the one before leaves."""
    chain = []
    for k in range(count):
        order = buy(k % 4, k + 1) if k % 2 else sell(k % 4, k + 1)
        draft = venue.draft(name, order)
        venue.wallets[name].accepted(order, draft)
        chain.append((order, draft))
    return chain


def broken(venue: Venue, name: str, draft: Draft) -> bytes:
    """Signed and consistent, but the proof is of another claim."""
    good = venue.sealed(name, draft)
    proof = good.claim.proof
    forged = replace(proof, tau=(proof.tau + 1) % (1 << 250))
    body = good.raw[: good.raw.index(proof.encode(venue.terms.key))]
    tail = good.raw[len(body) + len(proof.encode(venue.terms.key)) : -65]
    raw = body + forged.encode(venue.terms.key) + tail
    unsigned = replace(good, raw=raw + bytes(65))
    digest = eip712.digest(
        venue.terms.domain,
        "SealedOrder(address account,uint64 nonce,bytes32 market,bytes32 order)",
        (good.account, good.nonce, good.statement.market, unsigned.hash),
    )
    return raw + sign_digest(digest, key_of(name))


def test_an_accepted_order_locks_and_stands() -> None:
    venue = Venue(names=("ada",))
    order = venue.place("ada", sell(2, 5))
    assert venue.book.standing == (order,)
    venue.check()
    assert venue.wallets["ada"].free(BASE) == venue.rich - 35
    assert venue.wallets["ada"].free(QUOTE) == venue.rich


def test_without_a_round_nothing_is_admitted() -> None:
    venue = Venue(names=("ada",))
    raw = venue.sealed("ada", venue.draft("ada", buy(1, 1))).raw
    fresh = venue.state.books[venue.terms.market.id] = Book(venue.terms, venue.state.ledger)
    assert reasons([venue.answer(raw)]) == ["round"]
    assert not fresh.standing
    with pytest.raises(OrderRefused, match="none is open"):
        fresh.check_seal(NOW)


def test_an_order_is_not_admitted_twice() -> None:
    venue = Venue(names=("ada",))
    raw = venue.sent[venue.place("ada", buy(1, 1)).hash].raw
    assert reasons([venue.answer(raw)]) == ["nonce"]
    assert reasons(venue.admit([raw] * 3)) == ["nonce"] * 3
    venue.check()


def test_a_copy_within_one_batch_is_refused() -> None:
    venue = Venue(names=("ada",))
    order, draft = buy(1, 1), venue.draft("ada", buy(1, 1))
    raw = venue.sealed("ada", draft).raw
    assert reasons(venue.admit([raw, raw])) == ["", "nonce"]
    venue.wallets["ada"].accepted(order, draft)
    venue.check()


def test_a_nonce_stays_used_whatever_became_of_its_order() -> None:
    venue = Venue(names=("ada",))
    order = venue.place("ada", buy(1, 1))
    venue.cancel(order)
    again = with_statement(venue.draft("ada", buy(1, 1)), nonce=order.nonce)
    assert reasons([venue.answer(finish(again, venue.terms, key_of("ada")).raw)]) == ["nonce"]


@pytest.mark.parametrize("nonce,reason", [(0, ""), (511, ""), (512, "nonce"), (2**63, "nonce")])
def test_nonces_may_leave_gaps_within_the_window(nonce: int, reason: str) -> None:
    venue = Venue(names=("ada",))
    draft = with_statement(venue.draft("ada", buy(1, 1)), nonce=nonce)
    assert reasons([venue.answer(finish(draft, venue.terms, key_of("ada")).raw)]) == [reason]


def test_the_window_moves_only_with_the_lowest_unused_nonce() -> None:
    venue = Venue(names=("ada",))
    used = venue.state.ledger.nonces[venue.wallets["ada"].address]
    for nonce in range(1, 512):
        used.use(Nonce(nonce))
    with pytest.raises(OrderRefused, match="beyond 0"):
        used.check(Nonce(512))
    used.use(Nonce(0))
    assert (used.lowest_unused, used.used_above) == (512, set())
    used.check(Nonce(512 + 511))
    for refused in (0, 511, 1024):
        with pytest.raises(OrderRefused, match=f"nonce: {refused}"):
            used.check(Nonce(refused))


def test_decoys_count_in_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN_PER_ACCOUNT", 2)
    venue = Venue(names=("ada", "ben"))
    decoy = venue.place("ada", buy(0, 0))
    venue.place("ada", buy(1, 0))
    third = venue.sealed("ada", venue.draft("ada", buy(1, 1))).raw
    assert reasons([venue.answer(third)]) == ["account"]
    venue.place("ben", buy(1, 1))
    venue.cancel(decoy)
    # The increase did not invalidate the proof.
    assert reasons([venue.answer(third)]) == [""]


def test_the_quota_counts_within_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN_PER_ACCOUNT", 2)
    venue = Venue(names=("ada",))
    raws = [venue.sealed("ada", draft).raw for _, draft in chain_of(venue, "ada", 4)]
    assert reasons(venue.admit(raws)) == ["", "", "account", "account"]


def test_a_full_book_takes_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ORDERS", 1)
    venue = Venue(names=("ada", "ben"))
    raws = [venue.sealed(n, venue.draft(n, buy(1, 1))).raw for n in ("ada", "ben")]
    assert reasons(venue.admit(raws)) == ["", "book"]


def test_pipelined_orders_of_one_batch_are_accepted_in_their_order() -> None:
    venue = Venue(names=("ada", "ben"))
    chains = [chain_of(venue, name, 3) for name in ("ada", "ben")]
    drafts = [
        (n, d) for pair in zip(*chains, strict=True) for n, (_, d) in zip(("ada", "ben"), pair, strict=True)
    ]
    raws = [venue.sealed(name, draft).raw for name, draft in drafts]
    assert reasons(venue.admit(raws)) == [""] * 6
    assert [o.hash for o in venue.book.standing] == [order_hash(raw) for raw in raws]
    venue.check()


def test_pipelined_orders_out_of_order_are_refused_but_for_the_first() -> None:
    venue = Venue(names=("ada",))
    raws = [venue.sealed("ada", draft).raw for _, draft in chain_of(venue, "ada", 3)]
    assert reasons(venue.admit(raws[::-1])) == ["collateral", "collateral", ""]


def test_a_bad_proof_takes_its_dependents_with_it_and_nobody_else() -> None:
    venue = Venue(names=("ada", "ben"))
    ada, ben = chain_of(venue, "ada", 4), chain_of(venue, "ben", 2)
    raws = [
        venue.sealed("ada", ada[0][1]).raw,
        venue.sealed("ben", ben[0][1]).raw,
        broken(venue, "ada", ada[1][1]),
        venue.sealed("ada", ada[2][1]).raw,
        venue.sealed("ben", ben[1][1]).raw,
        venue.sealed("ada", ada[3][1]).raw,
    ]
    answers = venue.admit(raws)
    assert reasons(answers) == ["", "", "proof", "collateral", "", "collateral"]
    current = venue.free("ada", BASE)
    assert isinstance(answers[3], OrderRefused)
    assert f"version {current.version}: 0x{current.current.encode().hex()}" in answers[3].hint
    venue.wallets["ada"].refused([Nonce(1), Nonce(2), Nonce(3)])
    venue.check()
    venue.place("ada", buy(1, 1))  # nonces may leave gaps
    venue.check()


def test_a_signed_order_with_a_bad_proof_alone_is_refused_as_in_a_batch() -> None:
    venue = Venue(names=("ada",))
    raw = broken(venue, "ada", venue.draft("ada", buy(1, 1)))
    assert reasons([venue.answer(raw)]) == ["proof"]
    assert not venue.book.standing
    venue.check()


def test_garbage_in_a_batch_harms_nobody() -> None:
    venue = Venue(names=("ada",))
    order, draft = buy(1, 1), venue.draft("ada", buy(1, 1))
    raw = venue.sealed("ada", draft).raw
    answers = venue.admit([b"", b"\xff" * 9_000, raw, raw[:-1], raw + b"\0"])
    assert [bool(r) for r in reasons(answers)] == [True, True, False, True, True]
    venue.wallets["ada"].accepted(order, draft)
    venue.check()


def test_an_empty_batch_is_nothing() -> None:
    assert Venue(names=("ada",)).admit([]) == []


def test_a_proof_against_collateral_spent_since_is_refused_and_heals_with_a_new_one() -> None:
    venue = Venue(names=("ada",))
    stale = venue.draft("ada", buy(1, 1))
    venue.place("ada", buy(2, 2))
    answer = venue.answer(finish(stale, venue.terms, key_of("ada")).raw)
    assert reasons([answer]) == ["collateral"]
    venue.place("ada", buy(1, 1))
    venue.check()


def test_a_proof_survives_any_increase() -> None:
    venue = Venue(names=("ada",))
    first = venue.place("ada", sell(1, 1))
    order, draft = buy(1, 1), venue.draft("ada", buy(1, 1))
    venue.deposit("ada", BASE, Quanta(5))
    venue.deposit("ada", QUOTE, Quanta(5))
    venue.cancel(first)
    assert reasons([venue.answer(venue.sealed("ada", draft).raw)]) == [""]
    venue.wallets["ada"].accepted(order, draft)
    venue.check()


def test_a_copy_of_somebodys_order_under_another_account_is_refused() -> None:
    """The statement is inside the proof, so its commitments and ciphertexts are of no use to a copier."""
    venue = Venue(names=("ada", "ben"))
    victim = venue.sealed("ada", venue.draft("ada", buy(2, 9)))
    mine = venue.draft("ben", buy(2, 9)).statement
    statement = replace(mine, note_hash=victim.statement.note_hash)
    raw = statement.encode() + victim.raw[len(victim.statement.encode()) : -65]
    stolen = replace(victim, raw=raw + bytes(65), claim=replace(victim.claim, statement=statement))
    digest = eip712.digest(
        venue.terms.domain,
        "SealedOrder(address account,uint64 nonce,bytes32 market,bytes32 order)",
        (stolen.account, stolen.nonce, stolen.statement.market, stolen.hash),
    )
    assert reasons([venue.answer(raw + sign_digest(digest, key_of("ben")))]) == ["proof"]

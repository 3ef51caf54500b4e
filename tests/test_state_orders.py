"""Replacements, and batches of orders: how a log is cut into them must not matter."""

from __future__ import annotations

from typing import Any

import pytest

from darkpool.admission import Tentative
from darkpool.draft import Standing
from darkpool.eip712 import sign_digest
from darkpool.errors import OrderRefused
from darkpool.log import listed
from darkpool.message import Message
from darkpool.types import Nonce, Quanta, RoundId
from darkpool.wallet import Wallet
from tests.venue_log import Venue, open_market, refused
from tests.venue_support import (
    BASE,
    NOW,
    QUOTE,
    buy,
    finish,
    key_of,
    signers,
    with_statement,
)

WINDOW = 600  # the terms' settle window, seconds


# --- replace ----------------------------------------------------------------------------------------


def test_a_replacement_takes_the_place_of_an_order_and_may_use_its_lock() -> None:
    venue = Venue(names=("ada",), rich=Quanta(1_010))
    old = venue.place("ada", buy(1, 1))  # all it has
    new = venue.replace(old, buy(0, 1))
    assert venue.book.standing == (new,)
    assert venue.wallets["ada"].free(QUOTE) == 10
    venue.check()


def test_a_replacement_that_is_refused_leaves_the_order() -> None:
    venue = Venue(names=("ada", "ben"))
    old, bens = venue.place("ada", buy(1, 1)), venue.place("ben", buy(1, 1))
    raw = venue.sealed("ada", venue.draft("ada", buy(2, 1))).raw
    wish = venue.cancelling(old)
    bad: list[dict[str, Any]] = [
        venue.cancelling(bens),
        {**wish, "account": bens.account.hex()},
        {**wish, "nonce": 7},
        {**wish, "market": "55" * 32},
        {**wish, "signature": sign_digest(bytes(32), key_of("ada")).hex()},
        {**wish, "signature": venue.cancelling(bens)["signature"]},
        {k: v for k, v in wish.items() if k != "signature"},
    ]
    for fields in bad:
        refused(venue, lambda fields=fields: venue.append("replace", fields, [raw]))  # type: ignore[misc]
    for blobs in ([], [raw, raw], [b""]):
        refused(venue, lambda blobs=blobs: venue.append("replace", wish, blobs))  # type: ignore[misc]
    venue.seal()
    assert "in sealed round" in refused(venue, lambda: venue.append("replace", wish, [raw]))


# --- batches ----------------------------------------------------------------------------------------


def checked_as_one(venue: Venue, entries: list[Message]) -> list[str]:
    """Why each of a batch is refused, empty if it is not."""
    tentative, answers = Tentative(venue.state.ledger), []
    for entry in entries:
        try:
            venue.state.checked(entry, listed(entry, venue.terms.key), tentative)
            answers.append("")
        except OrderRefused as refusal:
            answers.append(refusal.code)
    return answers


def checked_one_by_one(venue: Venue, entries: list[Message]) -> list[str]:
    answers = []
    for entry in entries:
        try:
            venue.take(entry)
            answers.append("")
        except OrderRefused as refusal:
            answers.append(refusal.code)
    return answers


def test_an_order_is_replaced_once_in_a_batch() -> None:
    """Both would be durable before the first is gone, and the second then could not be."""
    venue = Venue(names=("ada",))
    old, ada = venue.place("ada", buy(1, 1)), venue.wallets["ada"]
    ada.released([old.nonce])
    drafts = []
    for order in (buy(2, 1), buy(3, 1)):
        drafts.append(venue.draft("ada", order))
        ada.accepted(order, drafts[-1])
    ada.refused([Nonce(2), Nonce(1)])
    raws = [venue.sealed("ada", d).raw for d in drafts]
    entries = [venue.entry("replace", venue.cancelling(old), [raw]) for raw in raws]
    assert checked_as_one(venue, entries) == ["", "order-not-standing"]
    assert checked_one_by_one(venue, entries) == ["", "order-not-standing"]


def test_a_refused_replacement_does_not_count_for_those_after_it() -> None:
    venue = Venue(names=("ada",))
    old = venue.place("ada", buy(1, 1))
    order = venue.entry("order", {}, [venue.sealed("ada", venue.draft("ada", buy(2, 1))).raw])
    again = venue.entry("replace", venue.cancelling(old), [venue.sent[old.hash].raw])  # its nonce is used
    assert checked_as_one(venue, [again, order]) == ["nonce-used", ""]
    assert checked_one_by_one(venue, [again, order]) == ["nonce-used", ""]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_how_a_log_is_cut_into_batches_changes_no_answer(size: int) -> None:
    """Else a member that gets two of the operator's batches at once would refuse what the operator took."""
    venue = Venue(names=("ada", "ben"))
    other = open_market(venue)
    elsewhere = Wallet(other, signers(), key_of("ben"), key_of("ben")[::-1])
    for token in (BASE, QUOTE):
        elsewhere.deposited(token, venue.rich)
    raws = []
    # The nonce window moves with each nonce used, also within a batch; orders of two markets do not mix.
    for nonce in (0, 512, 513, 1, 2, 513):
        draft = with_statement(venue.draft("ada", buy(1, 0)), nonce=nonce)
        raws.append(finish(draft, venue.terms, key_of("ada")).raw)
        venue.wallets["ada"].accepted(buy(1, 0), draft)
        if nonce == 513 and len(raws) == 3:
            venue.wallets["ada"].refused([Nonce(nonce)])
    made = elsewhere.draft(buy(1, 1), Standing(RoundId(1), NOW))
    raws.append(finish(made, other, key_of("ben")).raw)
    entries = [venue.entry("order", {}, [raw]) for raw in raws]
    answers = []
    for start in range(0, len(entries), size):
        batch = entries[start : start + size]
        tentative, changes = Tentative(venue.state.ledger), []
        for entry in batch:
            try:
                change = venue.state.checked(entry, listed(entry, venue.terms.key), tentative)
                changes.append((entry, change))
                answers.append("")
            except OrderRefused as refusal:
                answers.append(refusal.code)
        for entry, change in changes:
            change(len(venue.entries))
            venue.entries.append(entry.encode())
    assert answers == ["", "", "nonce-beyond-window", "", "", "", ""]

"""A book takes no more than one settlement holds, whatever of it trades."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from darkpool import book as book_module
from darkpool.book import MAX_WORDS
from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder
from darkpool.types import Nonce
from tests.venue_log import Venue
from tests.venue_support import buy


def rows_of(accounts: int, words: int) -> Callable[[int, int], bool]:
    """A bound in place of a settlement's: so few accounts and words."""
    return lambda deltas, nullifiers: deltas <= 2 * accounts and nullifiers <= words


def test_accounts_of_a_book_are_bounded_by_what_one_settlement_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "fits", rows_of(1, 2))
    venue = Venue(names=("ada", "ben"))
    first = venue.place("ada", buy(1, 1))
    venue.place("ada", buy(1, 1))
    draft = venue.draft("ben", buy(1, 1))
    answer = venue.answer(venue.sealed("ben", draft).raw)
    assert isinstance(answer, OrderRefused)
    assert (answer.code, "takes 2 accounts" in answer.message) == ("book-full", True)
    for order in (first, *(o for o in venue.book.standing if o != first)):
        venue.cancel(order)
    again = venue.answer(venue.sealed("ben", draft).raw)
    assert not isinstance(again, OrderRefused)


@pytest.mark.parametrize("together", [False, True])
def test_words_of_nonces_are_bounded_by_what_one_settlement_holds_in_a_batch_or_not(
    monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    monkeypatch.setattr(book_module, "fits", rows_of(2, 3))
    venue, raws = Venue(names=("ada", "ben")), []
    for name, nonce in (("ada", 0), ("ada", 300), ("ben", 0), ("ben", 1), ("ben", 301), ("ada", 1)):
        wallet = venue.wallets[name]
        wallet._next_nonce = Nonce(nonce)
        draft = venue.draft(name, buy(1, 0))
        raws.append(venue.sealed(name, draft).raw)
        if nonce != 301:
            wallet.accepted(buy(1, 0), draft)
    answers = venue.admit(raws) if together else [venue.answer(raw) for raw in raws]
    assert [isinstance(answer, OrderRefused) for answer in answers] == [False] * 4 + [True, False]
    assert isinstance(answers[4], OrderRefused)
    assert (answers[4].code, "with 4 words" in answers[4].message) == ("book-full", True)
    venue.check()


def test_a_full_book_takes_an_order_in_the_place_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "fits", rows_of(1, 1))
    venue = Venue(names=("ada",))
    old = venue.place("ada", buy(1, 1))
    venue.wallets["ada"]._next_nonce = Nonce(256)
    assert venue.replace(old, buy(1, 2)).nonce == 256
    assert isinstance(venue.answer(venue.sealed("ada", venue.draft("ada", buy(1, 1))).raw), ListedOrder)


def test_standing_orders_lie_in_three_words_of_nonces_at_most() -> None:
    """A settlement takes 512 rows, so one account's orders may not be spread over many words."""
    venue = Venue(names=("ada",))
    ledger, wallet = venue.state.ledger, venue.wallets["ada"]
    old = venue.place("ada", buy(0, 1))
    answers = []
    for word in range(MAX_WORDS):
        ledger.burn(wallet.address, word, 2**256 - 1 if word else 2**256 - 2)  # the window moves on
        wallet._next_nonce = Nonce(256 * (word + 1))
        draft = venue.draft("ada", buy(0, 1))
        answers.append(venue.answer(venue.sealed("ada", draft).raw))
        if isinstance(answers[-1], ListedOrder):
            wallet.accepted(buy(0, 1), draft)
    assert [isinstance(answer, ListedOrder) for answer in answers] == [True, True, False]
    assert isinstance(answers[-1], OrderRefused)
    assert (answers[-1].code, "few words" in answers[-1].hint) == ("quota-exceeded", True)
    venue.cancel(old)
    venue.place("ada", buy(0, 1))
    venue.check()

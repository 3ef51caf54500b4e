"""A member's records: forward only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from darkpool.store.database import Database, StoreError
from darkpool.store.member_store import MemberStore
from darkpool.store.records import AttemptState, HandedState
from darkpool.store.rows import MAX_PAGE
from tests.databases import KINDS, fresh_url
from tests.store_rows import MARKET, OTHER_MARKET, attempt, digest, handed

STATES = list(AttemptState)


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def store(url: str) -> Iterator[MemberStore]:
    database = Database.open(url)
    yield MemberStore(database)
    database.close()


def test_a_list_from_sealed_to_signed(url: str, store: MemberStore) -> None:
    for state in STATES[:4]:
        store.record(attempt(1, state, state.encode()))
    signed = replace(attempt(1, AttemptState.SIGNED, b"signed"), signature=None)
    store.record(signed)
    store.database.close()
    again = MemberStore(Database.open(url))
    assert again.attempt(signed.digest) == again.latest(MARKET) == signed
    again.database.close()


def test_every_step_forward_and_none_back(store: MemberStore) -> None:
    for number, (old, new) in enumerate(product(STATES, STATES)):
        row = attempt(number, old, b"old")
        later = replace(attempt(number, new, b"later"), signature=b"s" * 65)
        store.record(row)
        if STATES.index(new) > STATES.index(old) and old is not AttemptState.SIGNED:
            store.record(later)
            assert store.attempt(row.digest) == later
            continue
        with pytest.raises(StoreError, match=f"no step from {old} to {new}") as refused:
            store.record(later)
        assert refused.value.hint
        assert store.attempt(row.digest) == row


def test_the_same_state_twice_only_with_the_same_content(store: MemberStore) -> None:
    for number, state in enumerate(STATES):
        row = attempt(number, state, b"kept")
        store.record(row)
        store.record(row)
        for other in (replace(row, payload=b"other"), replace(row, signature=b"other")):
            with pytest.raises(StoreError, match=f"no step from {state} to {state}"):
                store.record(other)
        assert store.attempt(row.digest) == row


def test_a_digest_means_one_list(store: MemberStore) -> None:
    store.record(attempt(1))
    later = attempt(1, AttemptState.ATTEMPTED)
    for other in (
        replace(later, root=digest("other")),
        replace(later, market=OTHER_MARKET),
        replace(later, round=2),
    ):
        with pytest.raises(StoreError, match="it is round 1"):
            store.record(other)
    assert store.attempt(later.digest) == attempt(1)


def test_the_latest_list_is_the_one_recorded_last(store: MemberStore) -> None:
    assert store.latest(MARKET) is None
    assert store.attempt(digest("x")) is None
    for number in (1, 3, 2):
        store.record(attempt(number))
    store.record(replace(attempt(9), market=OTHER_MARKET))
    store.record(attempt(1, AttemptState.ABANDONED))
    assert store.latest(MARKET) == attempt(2)


class TestHanded:
    def test_they_wait_in_order_of_arrival(self, url: str, store: MemberStore) -> None:
        rows = [handed(n) for n in (3, 1, 2)]
        for row in rows:
            store.hand(row)
        store.hand(replace(rows[0], received_at=9, raw=b"not this"))
        store.database.close()
        again = MemberStore(Database.open(url))
        assert again.waiting() == rows
        assert again.waiting(2) == rows[:2]
        assert again.handed(rows[0].hash) == rows[0]
        assert again.handed(digest("x")) is None
        again.database.close()

    def test_what_is_logged_or_refused_waits_no_more(self, store: MemberStore) -> None:
        first, second, third = (handed(n) for n in (1, 2, 3))
        for row in (first, second, third):
            store.hand(row)
        store.mark(first.hash, HandedState.LOGGED)
        store.mark(second.hash, HandedState.REFUSED, "nonce: 3 is used")
        assert store.waiting() == [third]
        # The bytes are in the log, or of no use.
        assert store.handed(second.hash) == replace(
            second, state=HandedState.REFUSED, reason="nonce: 3 is used", raw=b""
        )

    def test_one_refused_before_waits_again(self, store: MemberStore) -> None:
        store.hand(handed(1))
        store.mark(handed(1).hash, HandedState.REFUSED, "collateral decreased")
        store.hand(replace(handed(1), received_at=1_800_000_000))
        assert store.waiting() == [replace(handed(1), received_at=1_800_000_000)]

    def test_one_logged_never_waits_again(self, store: MemberStore) -> None:
        store.hand(handed(1))
        store.mark(handed(1).hash, HandedState.LOGGED)
        store.mark(handed(1).hash, HandedState.LOGGED)
        store.hand(handed(1))
        assert store.waiting() == []

    def test_one_refused_may_be_found_in_the_log(self, store: MemberStore) -> None:
        store.hand(handed(1))
        store.mark(handed(1).hash, HandedState.REFUSED, "late")
        store.mark(handed(1).hash, HandedState.LOGGED)
        assert store.handed(handed(1).hash) == replace(handed(1), state=HandedState.LOGGED, raw=b"")

    def test_what_is_logged_stays_so(self, store: MemberStore) -> None:
        store.hand(handed(1))
        store.mark(handed(1).hash, HandedState.LOGGED)
        for state in (HandedState.WAITING, HandedState.REFUSED):
            with pytest.raises(StoreError, match=f"it is logged, not {state}"):
                store.mark(handed(1).hash, state)

    def test_an_unknown_one(self, store: MemberStore) -> None:
        for state in HandedState:
            with pytest.raises(StoreError, match="there is none of hash"):
                store.mark(digest("x"), state)

    def test_limits(self, store: MemberStore) -> None:
        for limit in (-1, 0, MAX_PAGE + 1):
            with pytest.raises(ValueError, match=f"limit is {limit}"):
                store.waiting(limit)

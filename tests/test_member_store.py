"""A member's records: forward only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NoReturn

import pytest

from darkpool.store.database import Database, StoreError
from darkpool.store.member_store import MAX_EVIDENCE_ROWS, MemberStore
from darkpool.store.records import AttemptState, HandedState, PinRow
from darkpool.store.rows import MAX_PAGE
from tests.databases import KINDS, fresh_url
from tests.store_rows import MARKET, OTHER_MARKET, attempt, charge, digest, handed

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


def test_attempts_at_a_list_only_count_upwards(store: MemberStore) -> None:
    """In every state but abandoned, with nothing else changed; also together with a step forward."""
    for number, state in enumerate(STATES):
        row = replace(attempt(number, state, b"kept"), attempts=2)
        store.record(row)
        for bad in (
            replace(row, attempts=1),
            replace(row, attempts=3, payload=b"other"),
            replace(row, attempts=3, signature=b"other"),
            replace(row, attempts=3, root=digest("other")),
        ):
            with pytest.raises(StoreError):
                store.record(bad)
            assert store.attempt(row.digest) == row
        later = replace(row, attempts=3)
        if state is AttemptState.ABANDONED:
            with pytest.raises(StoreError, match="no step from abandoned to abandoned"):
                store.record(later)
            later = row
        else:
            store.record(later)
        assert store.attempt(row.digest) == later
    sealed = attempt(0, AttemptState.ATTEMPTED)
    for attempts in (2, 0):
        with pytest.raises(StoreError, match=f"{attempts} after 3"):
            store.record(replace(sealed, attempts=attempts))
    store.record(replace(sealed, attempts=4))
    store.record(replace(attempt(0, AttemptState.ABANDONED), attempts=4))


class TestPins:
    def test_the_first_code_of_a_step_of_a_list_stays(self, url: str, store: MemberStore) -> None:
        first = PinRow(digest("list"), "price", b"1" * 32)
        for other in (first, replace(first, code=b"2" * 32), replace(first, code=b"")):
            assert store.pinned(other) == first.code
        store.database.close()
        again = MemberStore(Database.open(url))
        assert again.pinned(replace(first, code=b"3" * 32)) == first.code
        again.database.close()

    def test_another_step_or_list_has_a_code_of_its_own(self, store: MemberStore) -> None:
        first = PinRow(digest("list"), "price", b"1" * 32)
        assert store.pinned(first) == first.code
        for k, other in enumerate(
            (replace(first, step="prices"), replace(first, step="Price"), replace(first, digest=digest("x")))
        ):
            code = bytes([k]) * 32
            assert store.pinned(replace(other, code=code)) == code
        assert store.pinned(replace(first, code=b"")) == first.code
        assert store.revealed(first.digest) == ["Price", "price", "prices"]
        assert store.revealed(digest("another")) == []

    def test_a_database_that_is_away_pins_nothing(self, store: MemberStore) -> None:
        """The member then ends the attempt: a value nobody keeps could be another one the next time."""
        row = PinRow(digest("list"), "price", b"1" * 32)
        with pytest.MonkeyPatch.context() as patch:

            def away(_: Database, what: str) -> NoReturn:
                raise StoreError(f"{what}: away")

            patch.setattr(Database, "writing", away)
            with pytest.raises(StoreError, match="keep what was revealed"):
                store.pinned(row)
        assert store.pinned(replace(row, code=b"2" * 32)) == b"2" * 32


class TestCharges:
    def test_they_are_read_newest_first(self, url: str, store: MemberStore) -> None:
        rows = [charge(k) for k in range(5)]
        store.charge(rows[:2])
        store.charge(rows[2:])
        assert store.charges() == rows[::-1]
        assert store.charges(2) == rows[:2:-1]
        store.database.close()
        again = MemberStore(Database.open(url))
        assert again.charges() == rows[::-1]
        again.database.close()

    def test_the_same_charge_may_be_made_again(self, store: MemberStore) -> None:
        store.charge([charge(1), charge(1)])
        assert store.charges() == [charge(1)] * 2

    def test_of_old_ones_the_evidence_is_dropped(self, store: MemberStore) -> None:
        """A member that lies without end must not fill the disk with its messages."""
        count = MAX_EVIDENCE_ROWS + 3
        for k in range(count):
            store.charge([charge(k)])
        kept = store.charges(count)
        assert [row.at for row in kept] == list(range(count))[::-1]
        assert [row.evidence for row in kept[-3:]] == [b""] * 3
        assert all(row.evidence for row in kept[:-3])

    def test_limits(self, store: MemberStore) -> None:
        for limit in (-1, 0, MAX_PAGE + 1):
            with pytest.raises(ValueError, match=f"limit is {limit}"):
                store.charges(limit)


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

"""Grants, revocations and queries on disk, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from darkpool.market import RoundState
from darkpool.store.database import Database, StoreError
from darkpool.store.disclosure_store import DisclosureStore
from darkpool.store.records import (
    DisclosureQueryRow,
    GrantRevocationRow,
    GrantRow,
    OrderRow,
    OrderState,
    RoundRow,
)
from darkpool.store.venue_store import Changes, VenueStore
from tests.databases import KINDS, fresh_url

ADA, BEN, EVE = (bytes([n]) * 20 for n in (1, 2, 3))
MARKET = b"\x03" * 32
LAST = (1 << 63) - 1


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DisclosureStore]:
    with fresh_url(request.param, tmp_path) as url:
        database = Database.open(url)
        yield DisclosureStore(database)
        database.close()


def grant(number: int, account: bytes = ADA, expires: int = 100) -> GrantRow:
    return GrantRow(bytes([number]) * 32, account, EVE, expires, 5, b"payload %d" % number)


def query(account: bytes = ADA, visible_at: int = 0) -> DisclosureQueryRow:
    names = (EVE, account, "policy", None, "examiner", "file 1", MARKET, 1, 2, "answered")
    return DisclosureQueryRow(7, visible_at, *names)


def test_grants_keep_their_order_and_come_once(store: DisclosureStore) -> None:
    for number in (3, 1, 2):
        assert store.add_grant(grant(number), 9, 0)
    assert not store.add_grant(replace(grant(1), payload=b"other"), 9, 0)
    assert store.add_grant(grant(4, BEN, LAST), 9, 0)
    found = store.grants(account=ADA)
    assert [row.id[0] for row in found] == [3, 1, 2]
    assert [row.id[0] for row in store.grants(account=ADA, after=found[0].position, limit=1)] == [1]
    assert [row.id[0] for row in store.grants(auditor=EVE)] == [3, 1, 2, 4]
    assert store.grants(auditor=ADA) == []
    kept = store.grant(b"\x01" * 32)
    assert kept is not None
    assert (kept.payload, kept.position) == (b"payload 1", found[1].position)
    assert store.grant(bytes(32)) is None


def test_an_account_has_so_many_grants_that_have_not_expired(store: DisclosureStore) -> None:
    for number in (1, 2):
        store.add_grant(grant(number), 2, 99)
    assert (store.live_grants(ADA, 99), store.live_grants(ADA, 100), store.live_grants(BEN, 0)) == (2, 0, 0)
    with pytest.raises(StoreError, match="the account has 2"):
        store.add_grant(grant(3), 2, 99)
    assert store.grant(b"\x03" * 32) is None
    assert store.add_grant(grant(3, expires=LAST), 2, 100)


def test_the_earliest_revocation_stays(store: DisclosureStore) -> None:
    row = GrantRevocationRow(b"\x01" * 32, ADA, 50, 6, b"fifty")
    assert store.revoke(row)
    assert not store.revoke(replace(row, at=50, payload=b"again"))
    assert not store.revoke(replace(row, at=(1 << 64) - 1, payload=b"late"))
    assert store.revoke(replace(row, at=49, payload=b"earlier"))
    assert store.revocations([b"\x01" * 32, b"\x02" * 32])[row.grant].payload == b"earlier"
    assert store.revocations([]) == {}


def test_queries_are_numbered_and_seen_when_they_may_be(store: DisclosureStore) -> None:
    rows = [store.add_query(query(*of)) for of in ((ADA, 0), (ADA, 100), (BEN, 0), (ADA, 50))]
    numbers = [row.number for row in rows]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 0
    assert [row.number for row in store.queries(ADA, 49)] == [numbers[0]]
    assert [row.number for row in store.queries(ADA, 100)] == [numbers[0], numbers[1], numbers[3]]
    assert [row.number for row in store.queries(ADA, 100, after=numbers[0], limit=1)] == [numbers[1]]
    assert store.query(numbers[2]) == rows[2]
    assert store.query(1 << 70) is None


def test_rounds_and_orders_of_days(store: DisclosureStore) -> None:
    venue = VenueStore(store.database)
    store.append(0, [b"entry"] * 20)

    def sealed(number: int, at: int | None) -> RoundRow:
        names = (RoundState.NO_CROSS, 4, "1", "x", at or 0, number, b"\x01" * 32)
        return replace(RoundRow(MARKET, number, *names), sealed_at=at)

    def order(number: int, accepted: int, ended: int | None) -> OrderRow:
        state = OrderState.STANDING if ended is None else OrderState.CANCELLED
        row = OrderRow(bytes([number]) * 32, number, MARKET, ADA, number, 1, 2, 0, accepted, state)
        return replace(row, ended_sequence=ended)

    rounds = [sealed(1, 10), sealed(2, 20), sealed(3, 30), sealed(4, 40), sealed(5, 50), sealed(6, None)]
    orders = [order(1, 5, 2), order(2, 5, 3), order(3, 25, None), order(4, 40, None)]
    venue.project(20, Changes(rounds=rounds, orders=orders))

    def between(start: int, end: int, limit: int = 99) -> list[int]:
        return [row.number for row in store.rounds_between(MARKET, start, end, limit)]

    assert between(25, 35) == [2, 3, 4]
    assert between(20, 30) == [1, 2, 3]
    assert between(5, 15) == [1, 2]
    assert between(45, 99) == [4, 5]
    assert between(25, 99, 2) == [2, 3]
    assert store.rounds_between(bytes(32), 0, 99, 9) == []
    found = store.orders_between(ADA, MARKET, 3, 40, 99)
    assert [row.hash[0] for row in found] == [2, 3]
    assert [row.hash[0] for row in store.orders_between(ADA, MARKET, 0, 41, 2)] == [1, 2]
    assert store.orders_between(BEN, MARKET, 0, 99, 9) == []

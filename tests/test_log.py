"""The log: durable before it counts, one root over it, and the same state after any restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from commitments import merkle
from commitments.errors import DecodeError
from darkpool import log as module
from darkpool import snapshot
from darkpool.effects import Effects
from darkpool.errors import ConfigError
from darkpool.log import Log, listed
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.state import VenueState
from darkpool.store.database import Database, StoreError, sqlite_url
from darkpool.store.log_store import LogStore
from tests.venue_log import Venue, portrait
from tests.venue_scenario import Scenario
from tests.venue_support import buy, seats, signers

KEY = seats()[0].committee.key


@pytest.fixture(scope="module")
def venue() -> Venue:
    return Scenario(1, 60).venue


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LogStore]:
    database = Database.open(sqlite_url(tmp_path / "log.db"))
    yield LogStore(database)
    database.close()


def append(log: Log, data: bytes) -> None:
    entry = Message.decode(data)
    log.append([data], [log.state.checked(entry, listed(entry, KEY))])


def opened(store: LogStore) -> Log:
    return Log.open(store, KEY, signers())


def test_an_empty_log_has_the_root_of_nothing(store: LogStore) -> None:
    log = opened(store)
    assert (log.size, log.root) == (0, merkle.EMPTY_ROOT)
    assert log.append([], []) == []
    assert log.roots([]) == []


def test_every_entry_has_its_place_its_root_and_its_effects(venue: Venue, store: LogStore) -> None:
    log = opened(store)
    for place, data in enumerate(venue.entries):
        (root,) = log.roots([data])
        assert log.size == place
        append(log, data)
        assert log.root == root == merkle.root(venue.entries[: place + 1])
    assert store.size() == log.size == len(venue.entries)
    assert portrait(log.state) == portrait(venue.state)
    # Roots of entries that are not there yet change nothing.
    assert log.roots([b"x", b"y"]) == [
        merkle.root([*venue.entries, *rest]) for rest in ([b"x"], [b"x", b"y"])
    ]
    assert log.root == merkle.root(venue.entries)


@pytest.mark.parametrize("every", [1, 7, 10_000])
def test_a_restart_at_any_time_comes_to_the_same(
    venue: Venue, store: LogStore, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", every)
    monkeypatch.setattr(module, "_PAGE", 3)
    log = opened(store)
    for place, data in enumerate(venue.entries):
        append(log, data)
        log.checkpoint()
        if place % 5 == 0:
            log = opened(store)
    log = opened(store)
    assert (log.size, log.root) == (len(venue.entries), merkle.root(venue.entries))
    assert portrait(log.state) == portrait(venue.state)
    assert (store.checkpoint() is None) == (every > len(venue.entries))


def test_a_snapshot_is_taken_when_due_and_never_of_a_sealed_round(
    store: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 3)
    log, venue = opened(store), Venue(names=("ada",))
    venue.place("ada", buy(1, 1))
    venue.seal()
    for data in venue.entries:
        append(log, data)
    log.checkpoint()
    assert store.checkpoint() is None
    venue.abort()
    append(log, venue.entries[-1])
    log.checkpoint()
    assert store.checkpoint() == (6, snapshot.encode(log.state, log._tree))
    venue.open(2)
    append(log, venue.entries[-1])
    log.checkpoint()
    found = store.checkpoint()
    assert found is not None
    assert found[0] == 6


def test_those_who_watch_are_told_of_entries_since_the_snapshot_and_no_others(
    venue: Venue, store: LogStore
) -> None:
    log = opened(store)
    for data in venue.entries:
        append(log, data)
        if log.size == 20 and log.state.sealed is None:
            store.save_checkpoint(20, snapshot.encode(log.state, log._tree))
    kept = store.checkpoint()
    first = kept[0] if kept else 0
    told: list[tuple[int, bytes, str]] = []

    def watch(state: VenueState, sequence: int, root: bytes, entry: Message, effects: Effects) -> None:
        assert state.time == entry.integer("time")
        assert all(o.sequence == sequence for o in effects.accepted)
        told.append((sequence, root, entry.op))

    Log.open(store, KEY, signers(), watch)
    assert told == [
        (place, merkle.root(venue.entries[: place + 1]), Message.decode(venue.entries[place]).op)
        for place in range(first, len(venue.entries))
    ]


def test_what_the_database_does_not_take_changes_nothing(
    venue: Venue, store: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(store)
    for data in venue.entries[:10]:
        append(log, data)
    before, root = portrait(log.state), log.root

    def away(_self: LogStore, _first: int, _entries: object) -> None:
        raise StoreError("database: away")

    with monkeypatch.context() as patched:
        patched.setattr(LogStore, "append", away)
        with pytest.raises(StoreError):
            append(log, venue.entries[10])
    assert (portrait(log.state), log.root, log.size) == (before, root, 10)
    append(log, venue.entries[10])
    # Another writer: what we would add is no continuation.
    store.append(11, [venue.entries[11]])
    with pytest.raises(StoreError, match="no continuation"):
        append(log, venue.entries[11])
    assert log.size == 11


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"noise",
        Message("market", {"time": 5}).encode(),
        Message("order", {"time": 5}).encode(),
        Message("order", {"time": 5}, [b"x"]).encode(),
        Message("launch", {"time": 5}).encode(),
        Message("open", {"time": 5, "market": "55" * 32}).encode(),
    ],
)
def test_a_database_that_holds_no_log_is_refused(store: LogStore, data: bytes) -> None:
    store.append(0, [data])
    with pytest.raises(ConfigError, match="does not hold one"):
        opened(store)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"version":4}'])
def test_a_snapshot_that_is_none_is_refused(venue: Venue, store: LogStore, data: bytes) -> None:
    store.append(0, venue.entries[:5])
    store.save_checkpoint(5, data)
    with pytest.raises(ConfigError, match="does not hold one"):
        opened(store)


def test_a_log_of_another_committee_is_refused(venue: Venue, store: LogStore) -> None:
    """Its certificates are signed by others."""
    store.append(0, venue.entries)
    strangers = Signers(1, {1: venue.wallets["ada"].address})
    with pytest.raises(ConfigError, match="does not hold one"):
        Log.open(store, KEY, strangers)


@pytest.mark.parametrize("blobs", [[], [b"a", b"b"]])
def test_an_order_entry_holds_one_order(blobs: list[bytes]) -> None:
    for op in ("order", "replace"):
        with pytest.raises(DecodeError, match="exactly one order"):
            listed(Message(op, {}, blobs), KEY)
    assert listed(Message("seal", {}, blobs), KEY) is None

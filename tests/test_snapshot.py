"""A restart from a snapshot is as good as one from the whole log, wherever it was taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import pytest

from commitments.errors import CommitmentsError, DecodeError
from commitments.group import Point
from commitments.merkle import Frontier, leaf_hash
from darkpool import snapshot
from darkpool.errors import ConfigError
from darkpool.log import listed
from darkpool.message import Message
from darkpool.state import VenueState
from darkpool.types import Quanta
from tests.venue_log import Venue, crossed, portrait
from tests.venue_scenario import Scenario
from tests.venue_support import BASE, QUOTE, seats, signers

KEY = seats()[0].committee.key


@cache
def scenario(seed: int, steps: int = 90) -> Venue:
    return Scenario(seed, steps).venue


def order_in(entries: list[bytes]) -> Callable[[int], bytes]:
    return lambda sequence: Message.decode(entries[sequence]).blobs[0]


def restored(venue: Venue, data: bytes) -> tuple[VenueState, Frontier]:
    return snapshot.decode(data, KEY, signers(), order_in(venue.entries))


def fold(state: VenueState, frontier: Frontier, entries: list[bytes]) -> None:
    for data in entries:
        entry = Message.decode(data)
        state.checked(entry, listed(entry, KEY))(frontier.size)
        frontier.append(leaf_hash(data))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_snapshot_holds_all_of_the_state_at_every_cut_of_a_log(seed: int) -> None:
    venue = scenario(seed)
    state, frontier = VenueState(KEY, signers()), Frontier()
    taken = 0
    for data in venue.entries:
        fold(state, frontier, [data])
        if state.sealed is not None:
            with pytest.raises(ConfigError, match="a round is sealed"):
                snapshot.encode(state, frontier)
            continue
        taken += 1
        written = snapshot.encode(state, frontier)
        again, tree = restored(venue, written)
        assert portrait(again) == portrait(state)
        assert (again.epoch, tree.size, tree.root()) == (state.epoch, frontier.size, frontier.root())
        assert snapshot.encode(again, tree) == written
    assert portrait(state) == portrait(venue.state)
    assert taken > 20


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_snapshot_and_the_rest_of_the_log_come_to_the_same(seed: int) -> None:
    venue = scenario(seed)
    state, frontier = VenueState(KEY, signers()), Frontier()
    for place, data in enumerate(venue.entries):
        fold(state, frontier, [data])
        if state.sealed is None and place % 17 == seed:
            again, tree = restored(venue, snapshot.encode(state, frontier))
            fold(again, tree, venue.entries[tree.size :])
            assert portrait(again) == portrait(venue.state)
    assert frontier.size == len(venue.entries)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_long_logs_at_every_cut(seed: int) -> None:
    venue = scenario(seed, 250)
    state, frontier = VenueState(KEY, signers()), Frontier()
    for data in venue.entries:
        fold(state, frontier, [data])
        if state.sealed is None:
            state, frontier = restored(venue, snapshot.encode(state, frontier))
    assert portrait(state) == portrait(venue.state)


def test_an_account_that_withdrew_everything_is_restored() -> None:
    """Its F commits to nothing with no blinding: the identity."""
    venue = Venue(names=("ada", "ben"), rich=Quanta(1_000))
    for number in (1, 2):
        venue.chain(venue.event("withdrawal_requested", "ada", number))
        venue.chain(venue.event("withdrawn", "ada", number, 1_000))
    assert all(venue.free("ada", token).current == Point.identity() for token in (BASE, QUOTE))
    frontier = Frontier()
    fold(VenueState(KEY, signers()), frontier, venue.entries)
    again, _ = restored(venue, snapshot.encode(venue.state, frontier))
    assert portrait(again) == portrait(venue.state)


# --- what is none -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b'{"version":null}', b'{"version":4', b"\xff"])
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="snapshot"):
        snapshot.decode(data, KEY, signers(), order_in([]))


def test_a_snapshot_without_one_of_its_parts_is_refused() -> None:
    venue, frontier = scenario(1), Frontier()
    state = VenueState(KEY, signers())
    fold(state, frontier, venue.entries[:10])
    document = json.loads(snapshot.encode(state, frontier))
    for name in document.keys() - {"version"}:
        for broken in ({k: v for k, v in document.items() if k != name}, {**document, name: None}):
            numbers = {"time", "block", "chain_time", "settled_id", "epoch", "last_seal", "voided"}
            if name in numbers and name in broken:
                continue  # numbers of our own database are taken as they are
            with pytest.raises((CommitmentsError, KeyError, TypeError, AttributeError, ValueError)):
                restored(venue, json.dumps(broken).encode())


def test_a_snapshot_of_another_version_says_so() -> None:
    """Entries of version 1 do not check any more, so there is nothing to fold instead."""
    for version in (2, 3, 5):
        with pytest.raises(ConfigError, match="another version of darkpool made it") as caught:
            snapshot.decode(json.dumps({"version": version}).encode(), KEY, signers(), order_in([]))
        assert "version of darkpool that wrote it" in caught.value.hint


def test_what_is_not_settled_is_restored() -> None:
    venue = Venue(names=("ada", "ben"))
    for _ in range(3):
        crossed(venue)
    venue.settled(final=False)
    venue.now = venue.state.chain_time
    for _ in range(3):
        crossed(venue)
    venue.window(2)
    frontier = Frontier()
    fold(VenueState(KEY, signers()), frontier, venue.entries)
    again, _ = restored(venue, snapshot.encode(venue.state, frontier))
    assert (again.pending, again.unsettled, again.voided) == (venue.state.pending, venue.state.unsettled, 3)
    assert [len(p.rounds) for p in again.pending] == [2]

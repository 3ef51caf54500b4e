"""A member's copy of the log stays up to date, whatever happens to it, to the link or to our database."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from darkpool.committee import follower as module
from darkpool.committee import transport
from darkpool.committee.follower import Follower
from darkpool.committee.meeting import Group, Sockets
from darkpool.committee.member_link import MemberLink
from darkpool.committee.node import Node
from darkpool.errors import PeerFault
from darkpool.message import Message
from darkpool.store.database import StoreError
from darkpool.store.log_store import LogStore
from tests.member_host import Host, fresh_venue
from tests.venue_log import Venue
from tests.venue_support import buy

SECONDS = 20.0


@pytest.fixture(scope="module")
def venue() -> Venue:
    """Tests only read it."""
    made = fresh_venue()
    for name in ("ada", "ben", "ada", "cyd"):
        made.place(name, buy(1, 1))
    for number in range(2, 8):
        made.open(number)
    return made


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.02)


class Alive:
    """The member with its socket; it may die and come back."""

    def __init__(self, host: Host, meeting: Sockets) -> None:
        self.host, self._meeting = host, meeting
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(Node(self.host.member, self._meeting).serve())

    async def die(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self.host.restart()


@asynccontextmanager
async def following(
    host: Host, read: Callable[[int, int], Awaitable[Sequence[bytes]]], size: int
) -> AsyncIterator[tuple[Alive, Follower]]:
    """A member that is up, and its follower over a log of so many entries."""
    with tempfile.TemporaryDirectory(prefix="dp-") as folder:
        meeting = Sockets(Path(folder), Group.of(host.member.seat.committee))
        alive = Alive(host, meeting)
        alive.start()
        link = MemberLink(meeting, 1, patience=1.0)
        follower = Follower(link, read, size)
        try:
            yield alive, follower
        finally:
            await follower.close()
            await link.close()
            await alive.die()


def reader(entries: Sequence[bytes]) -> Callable[[int, int], Awaitable[Sequence[bytes]]]:
    async def read(first: int, limit: int) -> Sequence[bytes]:
        return entries[first : first + limit]

    return read


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_it_sends_what_there_is_and_what_is_added(
    host: Host, venue: Venue, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(module, "BATCH", batch)
    size = len(venue.entries)

    async def go() -> None:
        async with following(host, reader(venue.entries), 4) as (_, follower):
            await follower.caught_up(4, SECONDS)
            assert (host.member.log.size, follower.lag) == (4, 0)
            for more in (5, size - 1, size):
                follower.extended(more)
                assert follower.lag > 0
                await follower.caught_up(more, SECONDS)
                assert (host.member.log.size, follower.lag) == (more, 0)
            assert follower.fault == ""

    asyncio.run(go())


def test_large_entries_go_in_frames_that_hold_them(
    host: Host, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest, size = max(map(len, venue.entries)), len(venue.entries)
    assert sum(map(len, venue.entries)) > 2 * largest
    monkeypatch.setattr(transport, "MAX_FRAME", largest + 1_000)
    monkeypatch.setattr(module, "BATCH_BYTES", largest - 1)

    async def go() -> None:
        async with following(host, reader(venue.entries), size) as (_, follower):
            await follower.caught_up(size, SECONDS)
            assert host.member.log.size == size

    asyncio.run(go())


def test_a_member_that_dies_gets_the_rest_when_it_is_back(
    host: Host, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    size = len(venue.entries)

    async def go() -> None:
        async with following(host, reader(venue.entries), 0) as (alive, follower):
            for done in range(1, size):
                follower.extended(done)
                if done % 4 == 0:
                    await alive.die()
                    alive.start()
            follower.extended(size)
            await follower.caught_up(size, SECONDS)
            assert host.member.log.size == size
            assert follower.fault == ""

    asyncio.run(go())


def test_who_has_not_caught_up_in_time_is_named(host: Host, venue: Venue) -> None:
    async def go() -> None:
        async with following(host, reader(venue.entries), 3) as (alive, follower):
            await follower.caught_up(3, SECONDS)
            await alive.die()
            follower.extended(5)
            with pytest.raises(PeerFault, match=r"member 1: has [03] of 5 entries"):
                await follower.caught_up(5, 0.1)
            alive.start()
            await follower.caught_up(5, SECONDS)

    asyncio.run(go())


def test_what_the_member_or_we_lack_for_now_is_tried_again(
    host: Host, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = ["read", "append", "append", "read"]
    append, read = LogStore.append, reader(venue.entries)

    def sometimes(self: LogStore, first: int, entries: Sequence[bytes]) -> None:
        if failures and failures[0] == "append":
            failures.pop(0)
            raise StoreError("database: away")
        append(self, first, entries)

    async def reads(first: int, limit: int) -> Sequence[bytes]:
        if failures and failures[0] == "read":
            failures.pop(0)
            raise StoreError("database: away")
        return await read(first, limit)

    monkeypatch.setattr(LogStore, "append", sometimes)

    async def go() -> None:
        async with following(host, reads, 6) as (_, follower):
            await follower.caught_up(6, SECONDS)
            assert failures == []
            assert follower.fault == ""

    asyncio.run(go())


def test_an_entry_it_will_never_take_is_a_fault(host: Host, venue: Venue) -> None:
    wrong = [*venue.entries[:3], Message("launch", {"time": venue.now}).encode(), *venue.entries[3:]]

    async def go() -> None:
        async with following(host, reader(wrong), len(wrong)) as (_, follower):
            with pytest.raises(PeerFault, match="member 1: op: 'launch' is none of the log's"):
                await follower.caught_up(4, SECONDS)
            assert "launch" in follower.fault
            with pytest.raises(PeerFault, match="launch"):
                await follower.caught_up(1, SECONDS)
        assert host.member.log.size == 3

    asyncio.run(go())


def test_a_log_that_forks_or_lost_entries_is_a_fault(host: Host, venue: Venue) -> None:
    """What the member has is durable: ours is another, or a restored copy of before."""
    host.follow(venue)
    size = len(venue.entries)

    async def go() -> None:
        async with following(host, reader(venue.entries[:3]), 3) as (_, follower):
            with pytest.raises(PeerFault, match=f"member 1 has {size} entries of the log, the venue 3"):
                await follower.caught_up(3, SECONDS)

    asyncio.run(go())

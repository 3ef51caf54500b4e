"""One member in this process, with a database of its own, that can die and come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any, Self

from darkpool.chain import Chain
from darkpool.committee.member import Member
from darkpool.committee.seat import Seat
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.store.database import Database, sqlite_url
from darkpool.store.member_store import MemberStore
from tests.mesh_support import Meshes
from tests.venue_log import Venue
from tests.venue_support import buy, seats, sell, signers


class Host:
    """A member, the first seat's unless told otherwise."""

    def __init__(self, folder: Path, chain: Chain | None = None, seat: Seat | None = None) -> None:
        self._url, self.chain = sqlite_url(folder / "member.db"), chain
        self.seat, self.signers = seat or seats()[0], signers()
        self._start(self.signers)

    def _start(self, committee: Signers) -> None:
        self._database = Database.open(self._url)
        self.store = MemberStore(self._database)
        self.member = Member(self.seat, committee, self.store, self.chain)

    def restart(self) -> None:
        """As after a crash: all that is left is the database."""
        self.close()
        self._start(self.signers)

    def close(self) -> None:
        with suppress(Exception):
            self._database.close()

    def ask(self, op: str, blobs: Sequence[bytes] = (), **fields: Any) -> Message:  # noqa: ANN401
        """Its reply, whatever it is."""
        return asyncio.run(self.asked(op, blobs, **fields))

    async def asked(self, op: str, blobs: Sequence[bytes] = (), **fields: Any) -> Message:  # noqa: ANN401
        """The same, in a loop that runs."""
        request = Message.decode(Message(op, fields, blobs).encode())
        return Message.decode((await self.member.handle(request)).encode())

    def append(self, entries: Sequence[bytes], first: int | None = None) -> Message:
        return self.ask("append", entries, first=self.member.log.size if first is None else first)

    def follow(self, venue: Venue) -> None:
        """All entries it lacks."""
        reply = self.append(venue.entries[self.member.log.size :])
        assert reply.op == "appended", reply
        assert reply.fields["size"] == len(venue.entries)


class Circle:
    """All three members in one process, joined by sockets, with real evaluators; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._runner = folder, asyncio.Runner()
        self.hosts: dict[int, Host] = {}
        for seat in seats():
            (folder / str(seat.index)).mkdir()
            self.hosts[seat.index] = Host(folder / str(seat.index), seat=seat)
        self._generation = 0

    def __enter__(self) -> Self:
        self._runner.run(self._join())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._close())
        self._runner.close()
        for host in self.hosts.values():
            host.close()

    async def _join(self) -> None:
        self._meshes = Meshes(len(self.hosts), self._folder)
        self._meshes.members = {i: host.member.mesh for i, host in self.hosts.items()}
        for low, high in combinations(self.hosts, 2):
            await self._meshes.join(low, high)

    async def _close(self) -> None:
        for host in self.hosts.values():
            await host.member.close()
        await self._meshes.close()

    def restart(self) -> None:
        """All of them, as after a crash."""
        self._runner.run(self._close())
        for host in self.hosts.values():
            host.restart()
        self._runner.run(self._join())

    def ask(self, op: str, blobs: Sequence[bytes] = (), **fields: Any) -> dict[int, Message]:  # noqa: ANN401
        """All of them the same at once; their replies."""
        return self.ask_each(op, dict.fromkeys(self.hosts, fields), blobs)

    def ask_each(
        self, op: str, fields: Mapping[int, Mapping[str, Any]], blobs: Sequence[bytes] = ()
    ) -> dict[int, Message]:
        """Each something else at once."""

        async def go() -> list[Message]:
            return await asyncio.gather(*(self.hosts[i].asked(op, blobs, **f) for i, f in fields.items()))

        return dict(zip(fields, self._runner.run(go()), strict=True))

    def follow(self, venue: Venue) -> None:
        """All entries they lack."""
        for host in self.hosts.values():
            more = venue.entries[host.member.log.size :]
            reply = self._runner.run(host.asked("append", more, first=host.member.log.size))
            assert reply.op == "appended", reply

    def start(self) -> None:
        """New evaluators."""
        self._generation += 1
        started = self.ask("start", generation=self._generation, members=sorted(self.hosts))
        assert {reply.op for reply in started.values()} == {"started"}, started


def refusal(reply: Message, *, retry: bool = False) -> str:
    """The reason."""
    assert reply.op == "refused", reply
    assert reply.fields["retry"] is retry, reply
    return str(reply.fields["reason"])


def fresh_venue(**options: Any) -> Venue:  # noqa: ANN401 - of a Venue
    """One whose clock is right, as members look at it."""
    return Venue(now=int(time.time()), **options)


def sealed_venue() -> Venue:
    """A sealed round of ada and ben that crosses, and one that is just open."""
    venue = fresh_venue(names=("ada", "ben"))
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    venue.seal()
    return venue

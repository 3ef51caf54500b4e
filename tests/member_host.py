"""One member in this process, with a database of its own, that can die and come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from darkpool.chain import Chain
from darkpool.committee.member import Member
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.store.database import Database, sqlite_url
from darkpool.store.member_store import MemberStore
from tests.venue_log import Venue
from tests.venue_support import buy, seats, sell, signers


class Host:
    """The first seat's member."""

    def __init__(self, folder: Path, chain: Chain | None = None) -> None:
        self._url, self.chain = sqlite_url(folder / "member.db"), chain
        self.seat, self.signers = seats()[0], signers()
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
        request = Message.decode(Message(op, fields, blobs).encode())
        return Message.decode(asyncio.run(self.member.handle(request)).encode())

    def append(self, entries: Sequence[bytes], first: int | None = None) -> Message:
        return self.ask("append", entries, first=self.member.log.size if first is None else first)

    def follow(self, venue: Venue) -> None:
        """All entries it lacks."""
        reply = self.append(venue.entries[self.member.log.size :])
        assert reply.op == "appended", reply
        assert reply.fields["size"] == len(venue.entries)


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

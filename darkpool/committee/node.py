"""A committee member's process: `python -m darkpool.committee.node HOME [SOCKETS]`.

HOME is laid out as home.py says. Members and the coordinator meet over Unix sockets in the folder SOCKETS, or
without it over TLS as committee.json in HOME says. It ends when its standard input does, or by SIGTERM.

A home without a seat waits for its share (successor.py). Once it has a seat, or one of another key, it goes
on with that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol

from commitments.errors import DecodeError
from darkpool import parent
from darkpool.alone import alone
from darkpool.committee import status
from darkpool.committee.certificate import Identity
from darkpool.committee.directory import COMMITTEE, Directory
from darkpool.committee.home import SEAT, Home, Keys, open_store
from darkpool.committee.joining import directory_for
from darkpool.committee.meeting import Group, Meeting, Sockets, keep_connected, name_of
from darkpool.committee.member import Member
from darkpool.committee.mesh import Mesh
from darkpool.committee.seat import Seat
from darkpool.committee.successor import Successor
from darkpool.committee.tls import Tls
from darkpool.committee.transport import COORDINATOR, NUMBER_BYTES, Kind, Link, Tap
from darkpool.errors import ConfigError, DarkpoolError, PeerFault
from darkpool.message import Message
from darkpool.workers import of_member, present

LOCK: Final = "member.lock"

log = logging.getLogger("darkpool.member")


class Party(Protocol):
    """A member, or one to be. `over`: its seat is another by now."""

    @property
    def mesh(self) -> Mesh:
        """Its links to its peers."""

    @property
    def over(self) -> bool:
        """Whether it has come to a seat with which it must be made anew."""

    async def handle(self, request: Message) -> Message:
        """The reply to the coordinator; a refusal is a reply too."""

    async def close(self) -> None:
        """End what it has started."""


class Over(Exception):  # noqa: N818 - no error
    """The node's member is over."""


class Node:
    """A member and its connections, each of which may be lost and come back at any time."""

    def __init__(self, member: Party, meeting: Meeting) -> None:
        self._member, self._meeting = member, meeting
        self._over = asyncio.Event()
        self._coordinator: Link | None = None
        self._turn = asyncio.Lock()

    async def serve(self) -> None:
        """Connect to members of lower index, accept those of higher and the coordinator, until cancelled.

        What goes wrong with a link ends that link; any other error is a defect and raised. Raises Over in a
        group when the member is.
        """
        mesh = self._member.mesh

        def use(peer: int) -> Callable[[Link], Awaitable[None]]:
            return lambda link: mesh.serve(peer, link)

        try:
            async with asyncio.TaskGroup() as group:
                for peer in (p for p in mesh.peers if p < mesh.index):
                    group.create_task(keep_connected(self._meeting, peer, mesh.index, use(peer)))
                group.create_task(self._meeting.listen(mesh.index, self._welcome))
                await self._over.wait()
                raise Over
        finally:
            await self._member.close()

    async def _welcome(self, who: int, link: Link) -> None:
        """Serve whoever came; the newest connection of each is the only one."""
        if who == COORDINATOR:
            await self._answer_all(link)
        else:
            await self._member.mesh.serve(who, link)

    async def _answer_all(self, link: Link) -> None:
        """Answer one coordinator's requests in order, until it goes or the next takes its place.

        A request that has begun then goes on to its end, and the next coordinator's wait for it.
        """
        if self._coordinator is not None:
            self._coordinator.close()
        self._coordinator = link
        log.info("the coordinator is here")
        try:
            while True:
                kind, body = await link.receive()
                if kind is not Kind.REQUEST or len(body) < NUMBER_BYTES:
                    raise PeerFault(f"an unexpected {kind.name} frame", peer=link.name)  # noqa: TRY301
                async with self._turn:
                    if self._coordinator is not link:
                        return
                    reply = await self._answer(body[NUMBER_BYTES:])
                link.send(Kind.REPLY, body[:NUMBER_BYTES] + reply.encode())
                await link.flush()
                if self._member.over:
                    return
        except PeerFault as error:
            log.info("link ended: %s", error)
        finally:
            link.close()
            if self._coordinator is link:
                self._coordinator = None
            if self._member.over:
                self._over.set()

    async def status(self) -> dict[str, Any]:
        """What the member's owner alone is told: its status, how its links are, how long its last steps took.

        The latter not to the venue: how long a step takes may depend on what is opened in it.
        """
        said = await self._member.handle(Message("status"))
        mesh, trouble = self._member.mesh, self._meeting.trouble
        here = set(mesh.links) | ({COORDINATOR} if self._coordinator is not None else set())
        links = {
            name_of(i): "connected" if i in here else trouble.get(i, "has not connected")
            for i in (COORDINATOR, *mesh.peers)
        }
        more: dict[str, Any] = {"links": links, "strangers": self._meeting.refused}
        if isinstance(self._member, Member):
            took = self._member.rounds.took.items()
            more["took"] = {step: round(seconds, 3) for step, seconds in took}
        return {"member": mesh.index, **said.fields, **more}

    async def _answer(self, request: bytes) -> Message:
        try:
            return await self._member.handle(Message.decode(request))
        except DecodeError as error:
            return Message("refused", {"reason": str(error)})


async def _serve(home: Path, settings: Home, member: Member | Successor, meeting: Meeting) -> None:
    """Until cancelled, or the member is over."""
    node = Node(member, meeting)
    workers = of_member(home, member.seat.committee.key) if isinstance(member, Member) else None
    try:
        async with present(workers), asyncio.TaskGroup() as group:
            if settings.port and isinstance(member, Member):
                from darkpool.committee import counter  # a member without one needs no HTTP

                group.create_task(counter.serve(member.handed, settings.port, settings.host))
            group.create_task(status.serve(home, node.status))
            group.create_task(node.serve())
    except* Over:
        log.info("goes on with its new seat")


def _opened(
    home: Path, settings: Home, sockets: Path | None, tap: Tap | None
) -> tuple[Member | Successor, Meeting]:
    """Raises as `run`."""
    if settings.signers is None:
        raise ConfigError(f"{home}: it has not joined a committee", "run darkpool member join")
    seat = Seat.load(home / SEAT) if sockets is not None or (home / SEAT).exists() else None
    meeting: Meeting
    if sockets is not None and seat is not None:
        meeting = Sockets(sockets, Group.of(seat.committee), tap)
    else:
        directory = Directory.load(home / COMMITTEE) if seat is None else directory_for(home, seat)
        meeting = tls = Tls(Identity.load(home), directory, tap)
        if seat is None:
            log.info("has no share yet: waits until the members deal it one")
            return Successor(tls.me, tls.group.members, Keys.load(home).signing_key, home), meeting
    return Member(seat, settings.signers, open_store(home), settings.chain(), home), meeting


def run(home: Path, sockets: Path | None = None, tap: Tap | None = None, *, watched: bool = True) -> None:
    """Run the member of a home, until SIGTERM comes or, if `watched`, standard input ends.

    It meets the others over Unix sockets in a folder, or else over TLS as its committee.json says.
    Raises ConfigError, StoreError, ChainError for what it cannot start with.
    """
    if not home.is_dir():
        raise ConfigError(f"{home}: no such folder", "make a home with darkpool member init")
    os.umask(0o077)
    logging.basicConfig(
        filename=home / "member.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    with alone(home / LOCK):
        again = True
        while again:
            settings = Home.load(home)
            member, meeting = _opened(home, settings, sockets, tap)
            if not member.over:
                if isinstance(meeting, Tls):
                    meeting.bind()
                asyncio.run(parent.while_it_lives(_serve(home, settings, member, meeting), watched=watched))
            again = member.over


def main(arguments: list[str], tap: Tap | None = None) -> int:
    """Run a member. Exit code 2 for wrong arguments or a bad seat."""
    if len(arguments) not in {1, 2}:
        sys.stderr.write("usage: python -m darkpool.committee.node HOME [SOCKETS]\n")
        return 2
    try:
        home, *sockets = map(Path, arguments)
        run(home, sockets[0] if sockets else None, tap)
    except DarkpoolError as error:
        sys.stderr.write(error.rendered() + "\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A committee member's process: `python -m darkpool.committee.node HOME SOCKETS`.

HOME holds the member's seat (seat.json), its journal of what it signed, and its log; SOCKETS is where members
and the coordinator meet. It ends when its standard input does, or by SIGTERM.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from commitments.errors import DecodeError
from darkpool import parent
from darkpool.alone import alone
from darkpool.committee.home import SEAT, Home, open_store
from darkpool.committee.member import Member
from darkpool.committee.seat import Seat
from darkpool.committee.transport import (
    COORDINATOR,
    NUMBER_BYTES,
    READ_BYTES,
    Kind,
    Link,
    Tap,
    keep_connected,
    socket_path,
)
from darkpool.errors import DarkpoolError, PeerFault
from darkpool.message import Message

HELLO_SECONDS: Final = 10.0
LOCK: Final = "member.lock"

log = logging.getLogger("darkpool.member")


class Node:
    """A member and its connections, each of which may be lost and come back at any time."""

    def __init__(self, member: Member, sockets: Path, tap: Tap | None = None) -> None:
        self._member, self._sockets, self._tap = member, sockets, tap
        self._coordinator: Link | None = None
        self._turn = asyncio.Lock()

    async def serve(self) -> None:
        """Connect to members of lower index, accept those of higher and the coordinator, until cancelled.

        What goes wrong with a link ends that link; any other error is a defect and raised.
        """
        mesh = self._member.mesh
        try:
            async with asyncio.TaskGroup() as group:

                def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    group.create_task(self._welcome(Link(reader, writer, "a newcomer", self._tap)))

                def use(peer: int) -> Callable[[Link], Awaitable[None]]:
                    return lambda link: mesh.serve(peer, link)

                # A socket that a predecessor left behind is replaced.
                path = socket_path(self._sockets, mesh.index)
                server = await asyncio.start_unix_server(accept, path, limit=READ_BYTES)
                try:
                    for peer in (p for p in mesh.peers if p < mesh.index):
                        group.create_task(
                            keep_connected(self._sockets, peer, mesh.index, use(peer), self._tap)
                        )
                    await asyncio.Event().wait()  # until cancelled
                finally:
                    server.close()
        finally:
            await self._member.close()

    async def _welcome(self, link: Link) -> None:
        """Find out who it is, and serve it; the newest connection of each is the only one."""
        mesh = self._member.mesh
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                kind, body = await link.receive()
        except (PeerFault, TimeoutError) as error:
            log.info("a newcomer does not say who it is: %s", error)
            link.close()
            return
        who = body[0] if kind is Kind.HELLO and len(body) == 1 else -1
        if who == COORDINATOR:
            link.name = "coordinator"
            await self._answer_all(link)
        elif who in mesh.peers and who > mesh.index:
            link.name = f"member {who}"
            await mesh.serve(who, link)
        else:
            log.warning("a newcomer that is nobody we wait for")
            link.close()

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
        except PeerFault as error:
            log.info("link ended: %s", error)
        finally:
            link.close()

    async def _answer(self, request: bytes) -> Message:
        try:
            return await self._member.handle(Message.decode(request))
        except DecodeError as error:
            return Message("refused", {"reason": str(error)})


async def _serve(member: Member, sockets: Path, port: int, tap: Tap | None) -> None:
    async with asyncio.TaskGroup() as group:
        if port:
            from darkpool.committee import counter  # a member that takes no orders by hand needs no HTTP

            group.create_task(counter.serve(member.handed, port))
        group.create_task(Node(member, sockets, tap).serve())


def main(arguments: list[str], tap: Tap | None = None) -> int:
    """Run a member. Exit code 2 for wrong arguments or a bad seat."""
    if len(arguments) != 2:  # noqa: PLR2004
        sys.stderr.write("usage: python -m darkpool.committee.node HOME SOCKETS\n")
        return 2
    home, sockets = map(Path, arguments)
    os.umask(0o077)
    logging.basicConfig(
        filename=home / "member.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    with alone(home / LOCK):
        try:
            settings = Home.load(home)
            member = Member(Seat.load(home / SEAT), settings.signers, open_store(home), settings.chain())
        except DarkpoolError as error:
            sys.stderr.write(error.rendered() + "\n")
            return error.exit_code
        asyncio.run(parent.while_it_lives(_serve(member, sockets, settings.port, tap)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

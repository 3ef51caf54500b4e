"""A committee member's process: `python -m darkpool.committee.node HOME SOCKETS`.

HOME holds the member's seat (seat.json), its journal of what it signed, and its log; SOCKETS is where members
and the coordinator meet.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Final

from commitments.errors import DecodeError
from darkpool.committee.member import Member
from darkpool.committee.seat import Seat
from darkpool.committee.transport import COORDINATOR, NUMBER_BYTES, Kind, Link, Tap, connect, socket_path
from darkpool.errors import DarkpoolError, PeerFault
from darkpool.message import Message

START_SECONDS: Final = 60.0

log = logging.getLogger("darkpool.member")


class Node:
    """A member and its connections: it joins the mesh, then answers the coordinator until that goes."""

    def __init__(self, member: Member, sockets: Path, tap: Tap | None = None) -> None:
        self._member, self._sockets, self._tap = member, sockets, tap
        self._tasks: set[asyncio.Task[None]] = set()
        self._coordinator: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        """Connect to members of lower index, accept those of higher, then answer requests one by one."""
        mesh = self._member.mesh
        path = socket_path(self._sockets, mesh.index)
        server = await asyncio.start_unix_server(self._accept, path, limit=1 << 20)
        try:
            for peer in (p for p in mesh.peers if p < mesh.index):
                self._join(peer, await connect(self._sockets, peer, mesh.index, START_SECONDS, self._tap))
            link = await asyncio.wait_for(self._coordinator, START_SECONDS)
            while True:
                await self._answer(link)
        except PeerFault as error:
            log.info("ending: %s", error)
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await self._member.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mesh = self._member.mesh
        link = Link(reader, writer, "a newcomer", self._tap)
        kind, body = await link.receive()
        who = body[0] if kind is Kind.HELLO and len(body) == 1 else -1
        if who == COORDINATOR and not self._coordinator.done():
            link.name = "coordinator"
            self._coordinator.set_result(link)
        elif who in mesh.peers and who > mesh.index and who not in mesh.links:
            link.name = f"member {who}"
            self._join(who, link)
        else:
            link.close()

    def _join(self, peer: int, link: Link) -> None:
        self._member.mesh.links[peer] = link
        self._tasks.add(asyncio.create_task(self._member.mesh.serve(peer)))

    async def _answer(self, link: Link) -> None:
        kind, body = await link.receive()
        if kind is not Kind.REQUEST:
            raise PeerFault(f"an unexpected {kind.name} frame", peer=link.name)
        number, request = body[:NUMBER_BYTES], body[NUMBER_BYTES:]
        try:
            reply = await self._member.handle(Message.decode(request))
        except DecodeError as error:
            reply = Message("refused", {"reason": str(error)})
        link.send(Kind.REPLY, number + reply.encode())


async def _serve(member: Member, sockets: Path, tap: Tap | None) -> None:
    await Node(member, sockets, tap).serve()


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
    try:
        member = Member(Seat.load(home / "seat.json"), home)
    except DarkpoolError as error:
        sys.stderr.write(error.rendered() + "\n")
        return error.exit_code
    asyncio.run(_serve(member, sockets, tap))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

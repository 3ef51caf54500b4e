"""The operator's link to one member: it connects by itself, and again whenever it is lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from commitments.errors import DecodeError
from darkpool.committee.meeting import Meeting, keep_connected
from darkpool.committee.transport import COORDINATOR, NUMBER_BYTES, Kind, Link
from darkpool.errors import PeerFault
from darkpool.message import Message

PATIENCE_SECONDS: Final = 10.0


class MemberLink:
    """Requests to member `index`, one at a time and in the order they were asked.

    `patience` is how many seconds a request waits for a member that is away. A PeerFault from `ask` says
    nothing about whether the member has acted on the request: it may have, or may still. Make requests that
    can be repeated. Create it inside a running event loop.
    """

    def __init__(self, meeting: Meeting, index: int, patience: float = PATIENCE_SECONDS) -> None:
        self.index, self.name = index, f"member {index}"
        self.connections = 0  # made so far: what is told to the member in one may be news to the next
        self._meeting, self._patience = meeting, patience
        self._link: Link | None = None
        self._here = asyncio.Event()
        self._turn = asyncio.Lock()
        self._number = 0
        self._reply: asyncio.Future[Message] | None = None
        self._keeping = asyncio.create_task(keep_connected(meeting, index, COORDINATOR, self._serve))

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link is not None

    @property
    def trouble(self) -> str:
        """Why there is no connection, as far as that is known."""
        return self._meeting.trouble.get(self.index, "is away")

    async def ask(self, request: Message, seconds: float) -> Message:
        """The reply. Raises PeerFault if the member is away, leaves, or takes longer than so many seconds.

        A late reply to a request that was given up is passed over.
        """
        body = request.encode()
        async with self._turn:
            link = await self._connection()
            self._number += 1
            self._reply = asyncio.get_running_loop().create_future()
            try:
                link.send(Kind.REQUEST, self._number.to_bytes(NUMBER_BYTES, "big") + body)
                async with asyncio.timeout(seconds):
                    return await self._reply
            except TimeoutError:
                raise PeerFault(f"no reply to {request.op} in {seconds:g} s", peer=self.name) from None
            finally:
                self._reply = None

    async def here(self) -> int:
        """Wait, for ever, until there is a connection; which one it is, counted from 1."""
        await self._here.wait()
        return self.connections

    async def _connection(self) -> Link:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._here.wait()
        if self._link is None:
            raise PeerFault(self.trouble, "restart it, or wait until its supervisor has", peer=self.name)
        return self._link

    async def close(self) -> None:
        """Drop the connection and make no other; a request under way fails."""
        self._keeping.cancel()
        await asyncio.wait((self._keeping,))

    async def _serve(self, link: Link) -> None:
        self._link = link
        self.connections += 1
        self._here.set()
        fault = PeerFault("the link was closed here", peer=self.name)
        try:
            while True:
                self._take(*await link.receive())
        except PeerFault as error:
            fault = error
        finally:
            self._link = None
            self._here.clear()
            link.close()
            if self._reply is not None and not self._reply.done():
                self._reply.set_exception(fault)

    def _take(self, kind: Kind, body: bytes) -> None:
        """A reply. Raises PeerFault for anything else."""
        number = int.from_bytes(body[:NUMBER_BYTES], "big")
        if kind is not Kind.REPLY or len(body) < NUMBER_BYTES or number > self._number:
            raise PeerFault(f"an unexpected {kind.name} frame", peer=self.name)
        if self._reply is None or self._reply.done() or number < self._number:
            return
        try:
            self._reply.set_result(Message.decode(body[NUMBER_BYTES:]))
        except DecodeError as error:
            self._reply.set_exception(PeerFault(str(error), peer=self.name))

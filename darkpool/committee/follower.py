"""Keeps one member's copy of the log up to date, whatever happens to it or to the link."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate
from typing import Final

from commitments.errors import DecodeError
from darkpool.committee.member_link import MemberLink
from darkpool.committee.transport import MAX_FRAME
from darkpool.errors import DarkpoolError, PeerFault
from darkpool.message import Message
from darkpool.tasks import guarded

BATCH: Final = 64  # entries
BATCH_BYTES: Final = MAX_FRAME // 2
APPEND_SECONDS: Final = 300.0
PAUSE_SECONDS: Final = 0.2
WAIT_SECONDS: Final = 1.0


class Follower:
    """Sends a member the entries it lacks, in order. `fault` says why it refuses one, for good.

    A successor (successor.py) `waits` for its seat, and is told of the key epoch in office until it has it.
    """

    def __init__(
        self,
        link: MemberLink,
        read_log: Callable[[int, int], Awaitable[Sequence[bytes]]],
        size: int,
        key_epoch: Callable[[], int] = lambda: 0,
    ) -> None:
        self._link, self._read, self._key_epoch = link, read_log, key_epoch
        self.waits = False
        self._size = size  # of our log
        self._has: int | None = None  # entries the member has; None if it must be asked
        self.fault = ""
        self._changed = asyncio.Condition()
        self._task = guarded(self._follow(), f"following {link.name}")

    @property
    def lag(self) -> int:
        """Entries the member lacks, as far as is known."""
        return self._size - (self._has or 0)

    def extended(self, size: int) -> None:
        """Our log has so many entries."""
        self._size = size
        self._wake()

    def _wake(self) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._waking = asyncio.create_task(notify())

    async def close(self) -> None:
        """Stop sending."""
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def caught_up(self, size: int, seconds: float) -> None:
        """Wait until the member has so many entries. Raises PeerFault after so many seconds."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.fault or (self._has or 0) >= size)
        except TimeoutError:
            raise PeerFault(f"has {self._has or 0} of {size} entries", peer=self._link.name) from None
        if self.fault:
            raise PeerFault(self.fault)

    async def _follow(self) -> None:
        while not self.fault:
            try:
                if self._has is None:
                    status = await self._link.ask(Message("status"), APPEND_SECONDS)
                    self.waits = status.fields.get("waits") is True
                    if self.waits:
                        seat = Message("seat", {"key_epoch": self._key_epoch()})
                        await self._link.ask(seat, APPEND_SECONDS)
                        await asyncio.sleep(WAIT_SECONDS)
                        continue
                    self._has = status.integer("size")
                    self._check_size()
                if self._has < self._size:
                    await self._send()
                    continue
            except (DarkpoolError, DecodeError):
                self._has = None  # it went, or we could not read our log: ask again
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            async with self._changed:
                self._changed.notify_all()
                await self._changed.wait_for(lambda: (self._has or 0) < self._size)
        async with self._changed:
            self._changed.notify_all()

    def _check_size(self) -> None:
        if self._has is not None and self._has > self._size:
            # The member's copy is durable, so ours has lost entries: nothing good can follow.
            self.fault = f"{self._link.name} has {self._has} entries of the log, the venue {self._size}"

    async def _send(self) -> None:
        first = self._has or 0
        entries = _fitting(await self._read(first, min(BATCH, self._size - first)))
        reply = await self._link.ask(Message("append", {"first": first}, entries), APPEND_SECONDS)
        if reply.op == "refused" and reply.fields.get("retry") is not True:
            self.fault = f"{self._link.name}: {reply.fields.get('reason')}"
            return
        if reply.op != "appended":
            self._has = None
            await asyncio.sleep(PAUSE_SECONDS)
            return
        self._has = reply.integer("size")


def _fitting(entries: Sequence[bytes]) -> Sequence[bytes]:
    """The first one, and those after it that go into the same frame."""
    sizes = accumulate(map(len, entries))
    return entries[: max(1, sum(size <= BATCH_BYTES for size in sizes))]

"""Framed links between members, and between them and the coordinator, over whatever joins them (meeting.py).

A frame is length (4 bytes) || kind (1) || body, at most MAX_FRAME. Every byte a link carries can be handed to
a `tap`, which is how the tests compare what two runs leave behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from darkpool.errors import PeerFault

MAX_FRAME: Final = 64 << 20
COORDINATOR: Final = 0  # its index, where a member has 1 .. n
NUMBER_BYTES: Final = 8  # of a request, before its message and its reply's
READ_BYTES: Final = 1 << 20

Tap = Callable[[str, int, bytes], None]


class Kind(IntEnum):
    """What a frame carries."""

    HELLO = 1
    REQUEST = 2
    REPLY = 3
    STEP = 4
    MPC = 5
    ABORT = 6


class Link:
    """One connection. `name` says who is at the other end, for errors and taps."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, tap: Tap | None = None
    ) -> None:
        self._reader, self._writer, self.name, self._tap = reader, writer, name, tap
        self.frames = self.octets = 0  # both ways

    def send(self, kind: Kind, body: bytes) -> None:
        """Queue a frame; order is kept. Raises PeerFault above MAX_FRAME."""
        if len(body) > MAX_FRAME:
            raise PeerFault(f"a frame of {len(body)} bytes is above {MAX_FRAME}", peer=self.name)
        self._count(f"to {self.name}", kind, body)
        self._writer.write((len(body) + 1).to_bytes(4, "big") + bytes([kind]) + body)

    async def receive(self, limit: int | None = None) -> tuple[Kind, bytes]:
        """The next frame, with a body of at most `limit` bytes (None: MAX_FRAME).

        Raises PeerFault when the peer is gone or breaks the framing.
        """
        most = (MAX_FRAME if limit is None else limit) + 1
        try:
            length = int.from_bytes(await self._reader.readexactly(4), "big")
            if not 1 <= length <= most:
                raise PeerFault(f"a frame of {length} bytes; 1 to {most} are allowed", peer=self.name)
            data = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise PeerFault("closed the connection", peer=self.name) from None
        except OSError as error:  # TLS, or the network
            raise PeerFault(f"the connection failed: {failure(error)}", peer=self.name) from None
        try:
            kind = Kind(data[0])
        except ValueError:
            raise PeerFault(f"a frame of unknown kind {data[0]}", peer=self.name) from None
        self._count(f"from {self.name}", kind, data[1:])
        return kind, data[1:]

    def _count(self, direction: str, kind: Kind, body: bytes) -> None:
        self.frames += 1
        self.octets += len(body)
        if self._tap is not None:
            self._tap(direction, kind, body)

    async def flush(self) -> None:
        """Wait until what was sent has left this process's buffer below its limit."""
        try:
            await self._writer.drain()
        except OSError:
            raise PeerFault("closed the connection", peer=self.name) from None

    def close(self) -> None:
        """Drop the connection."""
        self._writer.close()


def failure(error: OSError) -> str:
    """What went wrong, in the words of OpenSSL or the system."""
    words = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error.strerror
    return str(words or error) or type(error).__name__

"""Framed links over Unix sockets, and the mesh in which members take synchronous steps.

A frame is length (4 bytes) || kind (1) || body, at most MAX_FRAME. Members of one machine meet in a directory
only their user may enter; the operating system is what authenticates them (ADR 5). Every byte a link carries
can be handed to a `tap`, which is how the tests compare what two runs leave behind.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Final

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError
from darkpool.errors import PeerFault, RoundAborted

MAX_FRAME: Final = 64 << 20
MAX_STEPS_WAITING: Final = 256
COORDINATOR: Final = 0
_REASON_BYTES: Final = 512
_STEP_BYTES: Final = 64
_CONNECT_PAUSE: Final = 0.05

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

    def send(self, kind: Kind, body: bytes) -> None:
        """Queue a frame; order is kept. Raises PeerFault above MAX_FRAME."""
        if len(body) > MAX_FRAME:
            raise PeerFault(f"a frame of {len(body)} bytes is above {MAX_FRAME}", peer=self.name)
        if self._tap is not None:
            self._tap(f"to {self.name}", kind, body)
        self._writer.write((len(body) + 1).to_bytes(4, "big") + bytes([kind]) + body)

    async def receive(self) -> tuple[Kind, bytes]:
        """The next frame. Raises PeerFault when the peer is gone or breaks the framing."""
        try:
            length = int.from_bytes(await self._reader.readexactly(4), "big")
            if not 1 <= length <= MAX_FRAME + 1:
                raise PeerFault(f"a frame of {length} bytes; 1 to {MAX_FRAME + 1} are allowed", peer=self.name)
            data = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise PeerFault("closed the connection", peer=self.name) from None
        try:
            kind = Kind(data[0])
        except ValueError:
            raise PeerFault(f"a frame of unknown kind {data[0]}", peer=self.name) from None
        if self._tap is not None:
            self._tap(f"from {self.name}", kind, data[1:])
        return kind, data[1:]

    async def flush(self) -> None:
        """Wait until what was sent has left this process's buffer below its limit."""
        try:
            await self._writer.drain()
        except ConnectionError:
            raise PeerFault("closed the connection", peer=self.name) from None

    def close(self) -> None:
        """Drop the connection."""
        self._writer.close()


def socket_path(directory: Path, index: int) -> Path:
    """Where member `index` listens."""
    return directory / f"member-{index}.sock"


async def connect(directory: Path, index: int, me: int, timeout: float, tap: Tap | None = None) -> Link:  # noqa: ASYNC109
    """A link to member `index`, waiting for it to listen. Raises PeerFault after `timeout` seconds."""
    name = f"member {index}"
    path = socket_path(directory, index)
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
                    break
                except (FileNotFoundError, ConnectionRefusedError):
                    await asyncio.sleep(_CONNECT_PAUSE)
    except TimeoutError:
        raise PeerFault(f"does not listen at {path.name} after {timeout:g} s", peer=name) from None
    link = Link(reader, writer, name, tap)
    link.send(Kind.HELLO, bytes([me]))
    return link


class Mesh:
    """A member's links to all its peers, and the steps of the session they are in.

    A session is named by 32 bytes; in each of its steps every member sends one message to every other and waits
    for one from each. Whoever cannot go on aborts the session for all.
    """

    def __init__(self, index: int, members: int) -> None:
        self.index = index
        self.peers = tuple(i for i in range(1, members + 1) if i != index)
        self.links: dict[int, Link] = {}
        self.on_mpc: Callable[[int, bytes], None] = lambda _peer, _data: None
        self._arrived: defaultdict[tuple[bytes, bytes], dict[int, bytes]] = defaultdict(dict)
        self._changed = asyncio.Condition()
        self._aborted: dict[bytes, str] = {}

    async def serve(self, peer: int) -> None:
        """Read frames from one peer until it goes; run as a task per peer."""
        link = self.links[peer]
        try:
            while True:
                kind, body = await link.receive()
                if kind is Kind.MPC:
                    self.on_mpc(peer, body)
                    continue
                reader = Reader(body)
                session = reader.fixed("session", 32)
                if kind is Kind.STEP:
                    step = reader.var("step", _STEP_BYTES)
                    data = reader.var("step data", MAX_FRAME)
                    reader.end("step")
                    self._store(peer, session, step, data)
                elif kind is Kind.ABORT:
                    reason = reader.var("reason", _REASON_BYTES).decode("utf-8", "replace")
                    self._aborted.setdefault(session, f"member {peer}: {reason}")
                else:
                    raise PeerFault(f"an unexpected {kind.name} frame", peer=link.name)
                async with self._changed:
                    self._changed.notify_all()
        except (PeerFault, DecodeError) as error:
            self.links.pop(peer, None)
            link.close()
            async with self._changed:
                self._gone = str(error)
                self._changed.notify_all()

    def _store(self, peer: int, session: bytes, step: bytes, data: bytes) -> None:
        if len(self._arrived) >= MAX_STEPS_WAITING:
            raise PeerFault(f"more than {MAX_STEPS_WAITING} steps are waiting", peer=f"member {peer}")
        waiting = self._arrived[session, step]
        if peer in waiting:
            raise PeerFault(f"step {step.decode('ascii', 'replace')} sent twice", peer=f"member {peer}")
        waiting[peer] = data

    async def exchange(self, session: bytes, step: str, out: Mapping[int, bytes], timeout: float) -> dict[int, bytes]:  # noqa: ASYNC109
        """Send `out[peer]` to every peer and return what each of them sent for the same step.

        Raises RoundAborted if a peer is away, aborts, or does not answer in time; it names which.
        """
        key = (session, step.encode())
        for peer in self.peers:
            link = self.links.get(peer)
            if link is None:
                raise RoundAborted(f"step {step}: member {peer} is away")
            link.send(Kind.STEP, bytes(Writer().fixed(session, 32).var(key[1]).var(out[peer])))
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self._ready(key))
        except TimeoutError:
            late = [p for p in self.peers if p not in self._arrived[key]]
            raise RoundAborted(f"step {step}: no answer from members {late} in {timeout:g} s") from None
        if session in self._aborted:
            raise RoundAborted(self._aborted[session])
        if len(self._arrived[key]) < len(self.peers):
            gone = [p for p in self.peers if p not in self.links and p not in self._arrived[key]]
            raise RoundAborted(f"step {step}: members {gone} left")
        return self._arrived.pop(key)

    def _ready(self, key: tuple[bytes, bytes]) -> bool:
        arrived = self._arrived[key]
        return key[0] in self._aborted or all(p in arrived or p not in self.links for p in self.peers)

    def abort(self, session: bytes, reason: str) -> None:
        """Tell every peer that this session cannot go on."""
        body = bytes(Writer().fixed(session, 32).var(reason.encode()[:_REASON_BYTES]))
        for link in self.links.values():
            link.send(Kind.ABORT, body)

    def forget(self, session: bytes) -> None:
        """The session is over: drop what is left of it."""
        self._aborted.pop(session, None)
        for key in [k for k in self._arrived if k[0] == session]:
            del self._arrived[key]

    def send_mpc(self, peer: int, data: bytes) -> None:
        """Evaluator traffic to a peer; lost if the peer is away, which its evaluation then times out on."""
        link = self.links.get(peer)
        if link is not None:
            link.send(Kind.MPC, data)

"""Framed links over Unix sockets, and the mesh in which members take synchronous steps.

A frame is length (4 bytes) || kind (1) || body, at most MAX_FRAME. Members of one machine meet in a directory
only their user may enter; the operating system is what authenticates them (ADR 5). Every byte a link carries
can be handed to a `tap`, which is how the tests compare what two runs leave behind.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
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
NUMBER_BYTES: Final = 8  # of a request, before its message and its reply's
_REASON_BYTES: Final = 512
_STEP_BYTES: Final = 64
_OVER_REMEMBERED: Final = 256
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
        self.frames = self.octets = 0  # both ways

    def send(self, kind: Kind, body: bytes) -> None:
        """Queue a frame; order is kept. Raises PeerFault above MAX_FRAME."""
        if len(body) > MAX_FRAME:
            raise PeerFault(f"a frame of {len(body)} bytes is above {MAX_FRAME}", peer=self.name)
        self._count(f"to {self.name}", kind, body)
        self._writer.write((len(body) + 1).to_bytes(4, "big") + bytes([kind]) + body)

    async def receive(self) -> tuple[Kind, bytes]:
        """The next frame. Raises PeerFault when the peer is gone or breaks the framing."""
        try:
            length = int.from_bytes(await self._reader.readexactly(4), "big")
            if not 1 <= length <= MAX_FRAME + 1:
                raise PeerFault(
                    f"a frame of {length} bytes; 1 to {MAX_FRAME + 1} are allowed", peer=self.name
                )
            data = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise PeerFault("closed the connection", peer=self.name) from None
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
        except ConnectionError:
            raise PeerFault("closed the connection", peer=self.name) from None

    def close(self) -> None:
        """Drop the connection."""
        self._writer.close()


def socket_path(directory: Path, index: int) -> Path:
    """Where member `index` listens."""
    return directory / f"member-{index}.sock"


async def connect(directory: Path, index: int, me: int, seconds: float, tap: Tap | None = None) -> Link:
    """A link to member `index`, waiting for it to listen. Raises PeerFault after so many seconds."""
    name = f"member {index}"
    path = socket_path(directory, index)
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await _connected(path)
    except TimeoutError:
        raise PeerFault(f"does not listen at {path.name} after {seconds:g} s", peer=name) from None
    link = Link(reader, writer, name, tap)
    link.send(Kind.HELLO, bytes([me]))
    return link


async def _connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_unix_connection(path, limit=1 << 20)
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.sleep(_CONNECT_PAUSE)


class Mesh:
    """A member's links to all its peers, and the steps of the session they are in.

    A session is named by 32 bytes; in each of its steps every member sends one message to every other and
    waits for one from each. Whoever cannot go on aborts the session for all. A session that is over never
    starts again, and what still arrives for it is dropped.
    """

    def __init__(self, index: int, members: int) -> None:
        self.index = index
        self.peers = tuple(i for i in range(1, members + 1) if i != index)
        self.links: dict[int, Link] = {}
        self.on_mpc: Callable[[int, bytes], None] = lambda _peer, _data: None
        self._arrived: defaultdict[tuple[bytes, bytes], dict[int, bytes]] = defaultdict(dict)
        self._changed = asyncio.Condition()
        self._aborted: dict[bytes, str] = {}
        self._over: deque[bytes] = deque(maxlen=_OVER_REMEMBERED)

    @property
    def frames(self) -> int:
        """Frames to and from present peers."""
        return sum(link.frames for link in self.links.values())

    @property
    def octets(self) -> int:
        """Bytes of those frames."""
        return sum(link.octets for link in self.links.values())

    async def serve(self, peer: int) -> None:
        """Read frames from one peer until it goes; run as a task per peer."""
        link = self.links[peer]
        try:
            while True:
                kind, body = await link.receive()
                if kind is Kind.MPC:
                    self.on_mpc(peer, body)
                    continue
                self._take(peer, kind, body)
                async with self._changed:
                    self._changed.notify_all()
        except (PeerFault, DecodeError):
            self.links.pop(peer, None)
            link.close()
            async with self._changed:
                self._changed.notify_all()

    def _take(self, peer: int, kind: Kind, body: bytes) -> None:
        """A step or an abort. Raises PeerFault or DecodeError for anything else."""
        reader = Reader(body)
        session = reader.fixed("session", 32)
        if kind is Kind.STEP:
            step = reader.var("step", _STEP_BYTES)
            data = reader.var("step data", MAX_FRAME)
            reader.end("step")
            self._store(peer, session, step, data)
        elif kind is Kind.ABORT:
            reason = reader.var("reason", _REASON_BYTES).decode("utf-8", "replace")
            reader.end("abort")
            self._abort(session, f"member {peer}: {reason}")
        else:
            raise PeerFault(f"an unexpected {kind.name} frame", peer=f"member {peer}")

    def _store(self, peer: int, session: bytes, step: bytes, data: bytes) -> None:
        if session in self._over:
            return
        if sum(peer in waiting for waiting in self._arrived.values()) >= MAX_STEPS_WAITING:
            raise PeerFault(f"more than {MAX_STEPS_WAITING} steps are waiting", peer=f"member {peer}")
        waiting = self._arrived[session, step]
        if peer in waiting:
            raise PeerFault(f"step {step.decode('ascii', 'replace')} sent twice", peer=f"member {peer}")
        waiting[peer] = data

    def _abort(self, session: bytes, reason: str) -> None:
        if session in self._over:
            return
        if len(self._aborted) >= MAX_STEPS_WAITING:  # the oldest is the likeliest to be of no session at all
            del self._aborted[next(iter(self._aborted))]
        self._aborted.setdefault(session, reason)

    async def exchange(
        self, session: bytes, step: str, out: Mapping[int, bytes], seconds: float
    ) -> dict[int, bytes]:
        """Send `out[peer]` to every peer and return what each of them sent for the same step.

        Raises RoundAborted if a peer is away, aborts, or does not answer in time; it names which.
        """
        key = (session, step.encode())
        if session in self._over:
            raise RoundAborted(f"step {step}: the session is over")
        for peer in self.peers:
            link = self.links.get(peer)
            if link is None:
                raise RoundAborted(f"step {step}: member {peer} is away")
            link.send(Kind.STEP, bytes(Writer().fixed(session, 32).var(key[1]).var(out[peer])))
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._ready(key))
        except TimeoutError:
            late = [p for p in self.peers if p not in self._arrived[key]]
            raise RoundAborted(f"step {step}: no answer from members {late} in {seconds:g} s") from None
        if session in self._aborted:
            raise RoundAborted(self._aborted[session])
        if len(self._arrived[key]) < len(self.peers):
            gone = [p for p in self.peers if p not in self.links and p not in self._arrived[key]]
            raise RoundAborted(f"step {step}: members {gone} left")
        return self._arrived.pop(key)

    def _ready(self, key: tuple[bytes, bytes]) -> bool:
        arrived = self._arrived[key]
        return key[0] in self._aborted or all(p in arrived or p not in self.links for p in self.peers)

    async def aborted(self, session: bytes) -> str:
        """Wait until a peer aborts the session or leaves; the reason. For what waits outside of a step."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: session in self._aborted or len(self.links) < len(self.peers)
            )
        missing = [p for p in self.peers if p not in self.links]
        return self._aborted.get(session, f"members {missing} left")

    def abort(self, session: bytes, reason: str) -> None:
        """Tell every peer that this session cannot go on."""
        body = bytes(Writer().fixed(session, 32).var(reason.encode()[:_REASON_BYTES]))
        for link in self.links.values():
            link.send(Kind.ABORT, body)

    def forget(self, session: bytes) -> None:
        """The session is over: drop what is left of it."""
        self._over.append(session)
        self._aborted.pop(session, None)
        for key in [k for k in self._arrived if k[0] == session]:
            del self._arrived[key]

    def send_mpc(self, peer: int, data: bytes) -> None:
        """Evaluator traffic to a peer; lost if the peer is away, which its evaluation then times out on."""
        link = self.links.get(peer)
        if link is not None:
            link.send(Kind.MPC, data)

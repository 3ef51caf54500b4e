"""Framed links over Unix sockets, and the mesh in which members take synchronous steps.

A frame is length (4 bytes) || kind (1) || body, at most MAX_FRAME. Members of one machine meet in a directory
only their user may enter; the operating system is what authenticates them (ADR 5). Every byte a link carries
can be handed to a `tap`, which is how the tests compare what two runs leave behind.

Every process may end at any moment and come back: whoever dials a link dials it again, and whoever accepts
takes the newest connection of a peer for the only one. Links heal so; sessions do not, see `Mesh`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Final, NoReturn

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
_FIRST_PAUSE: Final = 0.05  # seconds between attempts to connect, doubling up to ...
_LAST_PAUSE: Final = 1.0
READ_BYTES: Final = 1 << 20

Tap = Callable[[str, int, bytes], None]

log = logging.getLogger("darkpool.link")


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
    try:
        async with asyncio.timeout(seconds):
            while True:
                link = await _dialled(directory, index, me, tap)
                if link is not None:
                    return link
                await asyncio.sleep(_FIRST_PAUSE)
    except TimeoutError:
        name = socket_path(directory, index).name
        raise PeerFault(f"does not listen at {name} after {seconds:g} s", peer=f"member {index}") from None


async def keep_connected(
    directory: Path, index: int, me: int, use: Callable[[Link], Awaitable[None]], tap: Tap | None = None
) -> NoReturn:
    """Connect to member `index`, `use` the link until that returns, and again, until cancelled.

    `me` is who connects: a member's index or COORDINATOR. `use` closes the link.
    """
    loop = asyncio.get_running_loop()
    pause = _FIRST_PAUSE
    while True:
        link = await _dialled(directory, index, me, tap)
        if link is not None:
            since = loop.time()
            await use(link)
            if loop.time() - since > _LAST_PAUSE:  # else it accepts and hangs up: no reason to hurry
                pause = _FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LAST_PAUSE)


async def _dialled(directory: Path, index: int, me: int, tap: Tap | None) -> Link | None:
    try:
        reader, writer = await asyncio.open_unix_connection(socket_path(directory, index), limit=READ_BYTES)
    except OSError:  # not there yet, there no more, or out of descriptors: all may pass
        return None
    link = Link(reader, writer, f"member {index}", tap)
    link.send(Kind.HELLO, bytes([me]))
    return link


class Mesh:
    """A member's links to all its peers, and the steps of the sessions they are in.

    A session is named by 32 bytes; in each of its steps every member sends one message to every other and
    waits for one from each. Whoever cannot go on aborts the session for all. A session that is over never
    starts again, and what still arrives for it is dropped.

    A session lives and dies with the connections it began on: to each peer, the one that brought the first of
    its messages or, if none came, the one that stood when this member began. Once that is lost the peer has
    left the session, even if it is back: it may have lost what it had sent or received. What had arrived
    still counts, also if this member begins only then, so that a peer lost after its last message hurts
    nobody. Of sessions this member never begins, first messages would pile up from one connection of a peer
    to the next; they make room when the peer's allowance is used up.
    """

    def __init__(self, index: int, members: int) -> None:
        self.index = index
        self.peers = tuple(i for i in range(1, members + 1) if i != index)
        self.links: dict[int, Link] = {}
        self.on_mpc: Callable[[int, bytes], None] = lambda _peer, _data: None
        self.on_lost: Callable[[int], None] = lambda _peer: None
        self._past_frames = self._past_octets = 0  # of links that are gone
        self._arrived: defaultdict[tuple[bytes, bytes], dict[int, bytes]] = defaultdict(dict)
        self._bound: dict[bytes, dict[int, Link]] = {}
        self._begun: set[bytes] = set()
        self._changed = asyncio.Condition()
        self._aborted: dict[bytes, str] = {}
        self._over: deque[bytes] = deque(maxlen=_OVER_REMEMBERED)

    @property
    def frames(self) -> int:
        """Frames to and from peers since this process began."""
        return self._past_frames + sum(link.frames for link in self.links.values())

    @property
    def octets(self) -> int:
        """Bytes of those frames."""
        return self._past_octets + sum(link.octets for link in self.links.values())

    async def serve(self, peer: int, link: Link) -> None:
        """Make this the connection to a peer, and read its frames until it ends or another takes its place.

        Closes the link. From when this begins nothing of the former connection is delivered any more.
        """
        self._drop(peer)
        self.links[peer] = link
        log.info("member %d is here", peer)
        try:
            await self._notify()
            while True:
                kind, body = await link.receive()
                if self.links.get(peer) is not link:
                    return
                if kind is Kind.MPC:
                    self.on_mpc(peer, body)
                    continue
                self._take(peer, kind, body)
                await self._notify()
        except (PeerFault, DecodeError) as error:
            log.info("link ended: %s", error)
        finally:
            if self.links.get(peer) is link:
                self._drop(peer)
                await self._notify()

    def _drop(self, peer: int) -> None:
        link = self.links.pop(peer, None)
        if link is not None:
            self._past_frames += link.frames
            self._past_octets += link.octets
            link.close()
            self.on_lost(peer)

    async def _notify(self) -> None:
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
        if self._waiting(peer) >= MAX_STEPS_WAITING:
            self._make_room(peer)
        if self._waiting(peer) >= MAX_STEPS_WAITING:
            raise PeerFault(f"more than {MAX_STEPS_WAITING} steps are waiting", peer=f"member {peer}")
        link = self.links[peer]
        if self._bound.setdefault(session, {}).setdefault(peer, link) is not link:
            return  # it has left this session
        waiting = self._arrived[session, step]
        if peer in waiting:
            raise PeerFault(f"step {step.decode('ascii', 'replace')} sent twice", peer=f"member {peer}")
        waiting[peer] = data

    def _waiting(self, peer: int) -> int:
        return sum(peer in waiting for waiting in self._arrived.values())

    def _make_room(self, peer: int) -> None:
        """Forget what former connections of the peer brought for sessions this member has not begun."""
        for session in [s for s in self._bound if s not in self._begun]:
            if peer not in self._bound[session] or self._stays(session, peer):
                continue
            del self._bound[session][peer]
            if not self._bound[session]:
                del self._bound[session]
            for key in [k for k in self._arrived if k[0] == session]:
                self._arrived[key].pop(peer, None)
                if not self._arrived[key]:
                    del self._arrived[key]

    def _abort(self, session: bytes, reason: str) -> None:
        if session in self._over:
            return
        if len(self._aborted) >= MAX_STEPS_WAITING:  # the oldest is the likeliest to be of no session at all
            del self._aborted[next(iter(self._aborted))]
        self._aborted.setdefault(session, reason)

    def _begin(self, session: bytes) -> None:
        """From the first step on, a peer belongs to the session by one connection."""
        if session not in self._begun:
            self._begun.add(session)
            self._bound[session] = self.links | self._bound.get(session, {})

    def _stays(self, session: bytes, peer: int) -> bool:
        """Whether the connection to the peer is still the one the session began on."""
        link = self.links.get(peer)
        return link is not None and self._bound.get(session, {}).get(peer) is link

    async def exchange(
        self, session: bytes, step: str, out: Mapping[int, bytes], seconds: float
    ) -> dict[int, bytes]:
        """Send `out[peer]` to every peer and return what each of them sent for the same step.

        Raises RoundAborted if a peer is away or has left the session before its message came, aborts, or does
        not answer in time; it names which.
        """
        key = (session, step.encode())
        if session in self._over:
            raise RoundAborted(f"step {step}: the session is over")
        self._begin(session)
        for peer in self.peers:
            if self._stays(session, peer):
                body = Writer().fixed(session, 32).var(key[1]).var(out[peer])
                self.links[peer].send(Kind.STEP, bytes(body))
            elif peer not in self._arrived[key]:
                raise RoundAborted(f"step {step}: member {peer} {self._absence(peer)}")
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._ready(key))
        except TimeoutError:
            late = [p for p in self.peers if p not in self._arrived[key]]
            raise RoundAborted(f"step {step}: no answer from members {late} in {seconds:g} s") from None
        if session in self._aborted:
            raise RoundAborted(self._aborted[session])
        gone = [p for p in self._left(session) if p not in self._arrived[key]]
        if gone:
            raise RoundAborted(f"step {step}: members {gone} left")
        return self._arrived.pop(key)

    def _absence(self, peer: int) -> str:
        return "left, and came back too late" if peer in self.links else "is away"

    def _ready(self, key: tuple[bytes, bytes]) -> bool:
        session, missing = key[0], [p for p in self.peers if p not in self._arrived[key]]
        return not missing or session in self._aborted or not all(self._stays(session, p) for p in missing)

    async def aborted(self, session: bytes) -> str:
        """Wait until a peer aborts the session or leaves it; the reason. For what waits outside of a step."""
        self._begin(session)
        async with self._changed:
            await self._changed.wait_for(lambda: session in self._aborted or self._left(session))
        return self._aborted.get(session, f"members {self._left(session)} left")

    def _left(self, session: bytes) -> list[int]:
        return [p for p in self.peers if not self._stays(session, p)]

    def abort(self, session: bytes, reason: str) -> None:
        """Tell every peer that this session cannot go on."""
        body = bytes(Writer().fixed(session, 32).var(reason.encode()[:_REASON_BYTES]))
        for link in self.links.values():
            link.send(Kind.ABORT, body)

    def forget(self, session: bytes) -> None:
        """The session is over: drop what is left of it."""
        self._over.append(session)
        self._aborted.pop(session, None)
        self._bound.pop(session, None)
        self._begun.discard(session)
        for key in [k for k in self._arrived if k[0] == session]:
            del self._arrived[key]

    def send_mpc(self, peer: int, data: bytes) -> None:
        """Evaluator traffic to a peer; lost if the peer is away, which its evaluation then times out on."""
        link = self.links.get(peer)
        if link is not None:
            link.send(Kind.MPC, data)

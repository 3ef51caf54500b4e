"""The mesh in which members take synchronous steps, over links to one another (transport.py)."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError
from darkpool.committee.transport import MAX_FRAME, Kind, Link
from darkpool.errors import PeerFault, RoundAborted

MAX_STEPS_WAITING: Final = 256
MAX_WAITING_BYTES: Final = 2 * MAX_FRAME  # of one peer's steps
GRACE_SECONDS: Final = 2.0  # for those that are late to say that they wait for others
_REASON_BYTES: Final = 512
_STEP_BYTES: Final = 64
_OVER_REMEMBERED: Final = 256

log = logging.getLogger("darkpool.link")


class Absent(RoundAborted):
    """Members whose message did not come: they were late, or their connection is gone."""

    def __init__(self, message: str, members: Sequence[int], *, late: bool = False) -> None:
        super().__init__(message)
        self.members, self.late = tuple(members), late
        self.args = (self.message, self.members)


class Abandoned(RoundAborted):
    """Members that ended the session for all."""

    def __init__(self, message: str, members: Sequence[int]) -> None:
        super().__init__(message)
        self.members = tuple(members)
        self.args = (self.message, self.members)


class Mesh:
    """A member's links to all its peers, and the steps of the sessions they are in.

    A session is named by 32 bytes; in each of its steps every player sends one message to every other and
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
        self._aborted: dict[int, dict[bytes, str]] = {peer: {} for peer in self.peers}
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
            self._abort(session, peer, f"member {peer}: {reason}")
        else:
            raise PeerFault(f"an unexpected {kind.name} frame", peer=f"member {peer}")

    def _store(self, peer: int, session: bytes, step: bytes, data: bytes) -> None:
        if session in self._over:
            return
        if self._full(peer, len(data)):
            self._make_room(peer)
        if self._full(peer, len(data)):
            limits = f"{MAX_STEPS_WAITING} steps or {MAX_WAITING_BYTES} bytes"
            raise PeerFault(f"more than {limits} are waiting", peer=f"member {peer}")
        link = self.links[peer]
        if self._bound.setdefault(session, {}).setdefault(peer, link) is not link:
            return  # it has left this session
        waiting = self._arrived[session, step]
        if peer in waiting:
            raise PeerFault(f"step {step.decode('ascii', 'replace')} sent twice", peer=f"member {peer}")
        waiting[peer] = data

    def _waiting(self, peer: int) -> int:
        return sum(peer in waiting for waiting in self._arrived.values())

    def _full(self, peer: int, more: int) -> bool:
        octets = sum(len(waiting[peer]) for waiting in self._arrived.values() if peer in waiting)
        return self._waiting(peer) >= MAX_STEPS_WAITING or octets + more > MAX_WAITING_BYTES

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

    def _abort(self, session: bytes, peer: int, reason: str) -> None:
        if session in self._over:
            return
        aborted = self._aborted[peer]
        if len(aborted) >= MAX_STEPS_WAITING:  # the oldest is the likeliest to be of no session at all
            del aborted[next(iter(aborted))]
        aborted.setdefault(session, reason)

    def _aborters(self, session: bytes, peers: Collection[int]) -> list[int]:
        """Only players can abort: whoever was left out could else stop all that go on without it."""
        return [p for p in peers if session in self._aborted[p]]

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
        """Send `out[peer]` to each of those peers and return what each of them sent for the same step.

        Raises Absent if one is away, has left the session before its message came, or does not answer in
        time, Abandoned if one aborts. A step that is complete counts, whatever came after it.
        """
        key = (session, step.encode())
        if session in self._over:
            raise RoundAborted(f"step {step}: the session is over")
        self._begin(session)
        arrived = self._arrived[key]
        for peer, data in out.items():
            if self._stays(session, peer):
                body = Writer().fixed(session, 32).var(key[1]).var(data)
                self.links[peer].send(Kind.STEP, bytes(body))
            elif peer not in arrived:
                raise Absent(f"step {step}: member {peer} {self._absence(peer)}", [peer])
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._ready(key, out))
        except TimeoutError:
            late = [p for p in out if p not in arrived]
            message = f"step {step}: no answer from members {late} in {seconds:g} s"
            raise await self._late(session, late, message, min(GRACE_SECONDS, seconds)) from None
        missing = [p for p in out if p not in arrived]
        if missing and (aborters := self._aborters(session, out)):
            raise Abandoned(self._aborted[aborters[0]][session], aborters)
        if missing:
            gone = self._left(session, missing)
            raise Absent(f"step {step}: members {gone} left", gone)
        del self._arrived[key]
        return {peer: arrived[peer] for peer in out}

    async def _late(
        self, session: bytes, late: Sequence[int], message: str, seconds: float
    ) -> Absent | Abandoned:
        """Time is up: say so, and see who else does, within so many seconds.

        A member may be late because another is, for which it waits in the step before: its time is up first.
        """
        self.abort(session, message)

        def silent() -> list[int]:
            return [p for p in late if session not in self._aborted[p] and self._stays(session, p)]

        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: not silent())
        if found := silent():
            return Absent(message, found, late=True)
        if aborters := self._aborters(session, late):
            return Abandoned(self._aborted[aborters[0]][session], aborters)
        return Absent(f"members {late} left", late)

    def _absence(self, peer: int) -> str:
        return "left, and came back too late" if peer in self.links else "is away"

    def _ready(self, key: tuple[bytes, bytes], peers: Collection[int]) -> bool:
        session, missing = key[0], [p for p in peers if p not in self._arrived[key]]
        return not missing or bool(self._aborters(session, peers)) or bool(self._left(session, missing))

    async def aborted(self, session: bytes, peers: Collection[int]) -> Absent | Abandoned:
        """Wait until one of those peers aborts the session or leaves it. For what waits outside of a step."""
        self._begin(session)
        async with self._changed:
            await self._changed.wait_for(lambda: self._aborters(session, peers) or self._left(session, peers))
        if aborters := self._aborters(session, peers):
            return Abandoned(self._aborted[aborters[0]][session], aborters)
        gone = self._left(session, peers)
        return Absent(f"members {gone} left", gone)

    def _left(self, session: bytes, peers: Collection[int]) -> list[int]:
        return [p for p in peers if not self._stays(session, p)]

    def abort(self, session: bytes, reason: str) -> None:
        """Tell every peer that this session cannot go on."""
        body = bytes(Writer().fixed(session, 32).var(reason.encode()[:_REASON_BYTES]))
        for link in self.links.values():
            link.send(Kind.ABORT, body)

    def forget(self, session: bytes) -> None:
        """The session is over: drop what is left of it."""
        self._over.append(session)
        for aborted in self._aborted.values():
            aborted.pop(session, None)
        self._bound.pop(session, None)
        self._begun.discard(session)
        for key in [k for k in self._arrived if k[0] == session]:
            del self._arrived[key]

    def send_mpc(self, peer: int, data: bytes) -> None:
        """Evaluator traffic to a peer; lost if the peer is away, which its evaluation then times out on."""
        link = self.links.get(peer)
        if link is not None:
            link.send(Kind.MPC, data)

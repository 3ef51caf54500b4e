"""Where members and the coordinator meet: all that they know of the network.

Whoever dials says HELLO: version, index, and the committee it belongs to (hash of N, n, t). Whoever is
dialled answers with its own, or ABORT and the reason. Members are dialled by those of higher index and by the
coordinator. Until both have said HELLO a link carries nothing else, and no frame beyond its size.

Every process may end at any moment and come back: whoever dials a link dials it again, and whoever accepts
takes the newest connection of a peer for the only one. Links heal so; sessions do not, see mesh.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError
from commitments.threshold import Committee
from darkpool.committee.transport import COORDINATOR, READ_BYTES, Kind, Link, Tap
from darkpool.errors import ConfigError, PeerFault

HELLO_SECONDS: Final = 10.0
MAX_SOCKET_PATH: Final = 107  # bytes: the system's law
_VERSION: Final = 1
_HELLO_BYTES: Final = 36
_REASON_BYTES: Final = 512
_KEY_BYTES: Final = 32
_NOT_SAID: Final = re.compile(r"[^\w .,:;=…-]")  # in no reason of ours, and perhaps markup where it is shown
_FIRST_PAUSE: Final = 0.05  # seconds between attempts to connect, doubling up to ...
_LAST_PAUSE: Final = 1.0

Serve = Callable[[int, Link], Awaitable[None]]
"""What is done with the link of whoever came, by index, until it ends; closes it."""

log = logging.getLogger("darkpool.link")


@dataclass(frozen=True, slots=True)
class Group:
    """The committee that meets: hash of N (32 bytes), n and t. Who belongs to another one is refused."""

    key_id: bytes
    members: int
    threshold: int

    @staticmethod
    def of(committee: Committee) -> Group:
        """That of a committee."""
        return Group(committee.key.key_id, committee.members, committee.threshold)

    def hello(self, me: int) -> bytes:
        """What member `me`, or the coordinator, says first."""
        writer = Writer().uint(_VERSION, 1).uint(me, 1).fixed(self.key_id, _KEY_BYTES)
        return bytes(writer.uint(self.members, 1).uint(self.threshold, 1))

    def read(self, kind: Kind, body: bytes) -> int:
        """Who says this hello. Raises PeerFault unless it is one of this committee."""
        if kind is not Kind.HELLO:
            raise PeerFault(f"a {kind.name} frame before HELLO")
        reader = Reader(body)
        try:
            version, who = reader.uint("version", 1), reader.uint("index", 1)
            found = Group(reader.fixed("key id", _KEY_BYTES), reader.uint("n", 1), reader.uint("t", 1))
            reader.end("hello")
        except DecodeError as error:
            raise PeerFault(f"HELLO: {error}") from None
        if version != _VERSION:
            raise PeerFault(f"HELLO: version {version} of the protocol, expected {_VERSION}")
        if found.key_id != self.key_id:
            raise PeerFault(f"HELLO: key {found.key_id[:4].hex()}…, expected {self.key_id[:4].hex()}…")
        if found != self:
            raise PeerFault(
                f"HELLO: n = {found.members}, t = {found.threshold}, "
                f"expected n = {self.members}, t = {self.threshold}"
            )
        return who


class Meeting(ABC):
    """How links come about among the members of `group` and the coordinator.

    `trouble` says, by index, why there is no link to a peer, as far as this process was told.
    `refused` counts strangers that were turned away.
    `hint`: what may be wrong if a peer hangs up before it says HELLO.
    """

    hint = ""

    def __init__(self, group: Group, tap: Tap | None = None) -> None:
        self.group: Final = group
        self.trouble: Final[dict[int, str]] = {}
        self.refused = 0
        self._tap = tap

    @abstractmethod
    async def listen(self, me: int, serve: Serve) -> None:
        """Welcome whoever comes to member `me`, until cancelled. What `serve` raises is raised."""

    @abstractmethod
    async def _connected(self, index: int, me: int) -> Link:
        """A connection to member `index`, of which nothing else is known yet than that it is the right one.

        Raises PeerFault if it is not, OSError if nobody listens.
        """

    async def dial(self, index: int, me: int) -> Link | None:
        """A link to member `index`, which has agreed to it. None if there is none now; `trouble` says why."""
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                link = await self._agreed(index, me)
        except TimeoutError:
            why = f"does not answer within {HELLO_SECONDS:g} s"
        except PeerFault as error:
            why = _bare(error)
        except OSError as error:  # not there yet, there no more, or out of descriptors: all may pass
            why = f"does not listen ({os.strerror(error.errno) if error.errno else type(error).__name__})"
        else:
            self.trouble.pop(index, None)
            return link
        if self.trouble.get(index) != why:  # told once, though tried again and again
            log.info("%s: %s", name_of(index), why)
        self.trouble[index] = why
        return None

    async def _agreed(self, index: int, me: int) -> Link:
        link = await self._connected(index, me)
        try:
            link.send(Kind.HELLO, self.group.hello(me))
            await self._check_answer(link, index)
        except BaseException:
            link.close()
            raise
        return link

    async def _check_answer(self, link: Link, index: int) -> None:
        """Raises PeerFault unless it is the HELLO of member `index`."""
        try:
            kind, body = await link.receive(_REASON_BYTES)
        except PeerFault as error:
            raise PeerFault(f"{_bare(error)} before HELLO{self.hint}") from None
        if kind is Kind.ABORT:
            raise PeerFault(f"refuses this link: {_NOT_SAID.sub('?', body.decode('utf-8', 'replace'))}")
        if (who := self.group.read(kind, body)) != index:
            raise PeerFault(f"HELLO: index {who}, expected {index}")

    async def _greeted(self, link: Link, me: int, known: int | None = None) -> int | None:
        """Who the newcomer is, once both have said HELLO; None if it was refused.

        `known`: who it is in any case, if that is known.
        """
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                who = self.group.read(*await link.receive(_HELLO_BYTES))
            if known not in {None, who}:
                raise PeerFault(f"HELLO: index {who}, expected {known}")  # noqa: TRY301
            if who != COORDINATOR and not me < who <= self.group.members:
                raise PeerFault(f"HELLO: index {who}; member {me} waits for the coordinator and higher ones")  # noqa: TRY301
        except (PeerFault, TimeoutError) as error:
            why = _bare(error) if isinstance(error, PeerFault) else "does not say who it is"
            log.warning("%s is refused: %s", link.name, why)
            if known is not None:
                self.trouble[known] = f"was refused: {why}"
            link.send(Kind.ABORT, why.encode()[:_REASON_BYTES])
            link.close()
            return None
        link.name = name_of(who)
        self.trouble.pop(who, None)
        link.send(Kind.HELLO, self.group.hello(me))
        return who


def _bare(error: PeerFault) -> str:
    """Without the peer's name, which is said beside it."""
    return error.message.removeprefix(f"{error.peer}: ")


def name_of(index: int) -> str:
    """The peer of that index in errors and logs."""
    return "coordinator" if index == COORDINATOR else f"member {index}"


class Sockets(Meeting):
    """Unix sockets in a directory that only their user may enter: one user on one machine.

    The operating system is what authenticates peers, so each is who it says (ADR 5).
    """

    def __init__(self, folder: Path, group: Group, tap: Tap | None = None) -> None:
        super().__init__(group, tap)
        self._folder = folder

    def check(self) -> None:
        """Raises ConfigError if others may enter the folder, or its path is too long for sockets."""
        if len(os.fsencode(self.path(self.group.members))) > MAX_SOCKET_PATH:
            raise ConfigError(
                f"{self._folder}: its sockets' paths are longer than {MAX_SOCKET_PATH} bytes",
                "use a shorter path",
            )
        if self._folder.stat().st_mode & 0o077:
            raise ConfigError(f"{self._folder}: others may enter it", f"run chmod 700 {self._folder}")

    def path(self, index: int) -> Path:
        """Where member `index` listens."""
        return self._folder / f"member-{index}.sock"

    async def listen(self, me: int, serve: Serve) -> None:
        """As above; a socket that a predecessor left behind is replaced."""
        async with asyncio.TaskGroup() as group:

            async def welcome(link: Link) -> None:
                who = await self._greeted(link, me)
                if who is not None:
                    await serve(who, link)

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                group.create_task(welcome(Link(reader, writer, "a newcomer", self._tap)))

            server = await asyncio.start_unix_server(accept, self.path(me), limit=READ_BYTES)
            try:
                await asyncio.Event().wait()  # until cancelled
            finally:
                server.close()

    async def _connected(self, index: int, me: int) -> Link:
        del me
        reader, writer = await asyncio.open_unix_connection(self.path(index), limit=READ_BYTES)
        return Link(reader, writer, name_of(index), self._tap)


async def keep_connected(
    meeting: Meeting, index: int, me: int, use: Callable[[Link], Awaitable[None]]
) -> NoReturn:
    """Connect to member `index`, `use` the link until that returns, and again, until cancelled.

    `me` is who connects: a member's index or COORDINATOR. `use` closes the link.
    """
    loop = asyncio.get_running_loop()
    pause = _FIRST_PAUSE
    while True:
        link = await meeting.dial(index, me)
        if link is not None:
            since = loop.time()
            await use(link)
            if loop.time() - since > _LAST_PAUSE:  # else it accepts and hangs up: no reason to hurry
                pause = _FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LAST_PAUSE)

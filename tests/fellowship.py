"""A committee whose members meet over TLS on loopback, for tests: identities, committee.json, free ports."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from commitments.params import INSECURE_TEST
from commitments.sealing import BoxKey
from darkpool.committee.certificate import Identity
from darkpool.committee.directory import Directory
from darkpool.committee.introduction import Introduction
from darkpool.committee.meeting import Meeting
from darkpool.committee.seat import Seat
from darkpool.committee.tls import Tls
from darkpool.committee.transport import Link
from darkpool.eip712 import address_of, fresh_key
from darkpool.errors import PeerFault
from tests.encrypted import seats

LIMIT = 5.0


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """A test's body within a time limit."""
    asyncio.run(asyncio.wait_for(coroutine, 20))


class Listening:
    """Member `me` of a meeting; whom it welcomed, and what they sent."""

    def __init__(self, where: Meeting) -> None:
        self.meeting = where
        self.came: asyncio.Queue[tuple[int, Link]] = asyncio.Queue()

    async def serve(self, who: int, link: Link) -> None:
        self.came.put_nowait((who, link))
        try:
            while True:
                kind, body = await link.receive()
                link.send(kind, body)
        except PeerFault:
            pass
        finally:
            link.close()


@asynccontextmanager
async def listening(where: Meeting, me: int) -> AsyncIterator[Listening]:
    member = Listening(where)
    if isinstance(where, Tls):
        where.bind()
    task = asyncio.create_task(where.listen(me, member.serve))
    await asyncio.sleep(0)
    try:
        yield member
    finally:
        task.cancel()
        await asyncio.wait((task,))
        await asyncio.sleep(0.01)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 - refusals are not announced
            await asyncio.sleep(0.001)


async def closed(link: Link) -> None:
    link.close()
    await asyncio.wait_for(link._writer.wait_closed(), LIMIT)


async def refused(where: Meeting, me: int, index: int = 1) -> str:
    """Why the dialling side gets no link."""
    assert await where.dial(index, me) is None
    return where.trouble[index]


def logged(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return any(words in record.getMessage() for record in caplog.records)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens at, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@dataclass(frozen=True, slots=True)
class Fellowship:
    """Identities by index, 0 the coordinator's, and the directory they are in."""

    identities: Sequence[Identity]
    directory: Directory
    seats: Sequence[Seat]

    def tls(self, index: int) -> Tls:
        """The meeting as that one sees it."""
        return Tls(self.identities[index], self.directory)

    def with_certificate(self, index: int, identity: Identity) -> Directory:
        """The directory with another certificate for that member."""
        members = list(self.directory.members)
        place, key = members[index - 1], fresh_key()
        members[index - 1] = Introduction.signed(place.host, place.port, identity.certificate, place.box, key)
        return replace(self.directory, members=members)


def fellowship(folder: Path, n: int = 3, dealt: Sequence[Seat] | None = None) -> Fellowship:
    """A new one of n members."""
    dealt = dealt or seats(INSECURE_TEST, n)
    identities = []
    for index in range(n + 1):
        (folder / f"identity-{index}").mkdir(mode=0o700)
        identities.append(Identity.create(folder / f"identity-{index}"))
    members = [
        Introduction.signed(
            "127.0.0.1", port, identities[seat.index].certificate, BoxKey.generate().public, seat.signing_key
        )
        for seat, port in zip(dealt, free_ports(n), strict=True)
    ]
    directory = Directory(dealt[0].committee, members, identities[0].certificate, address_of(fresh_key()))
    return Fellowship(identities, directory, dealt)

"""Links over real Unix sockets: framing, bounds, time limits, taps."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from darkpool.committee import transport as module
from darkpool.committee.meeting import Group, Sockets, keep_connected
from darkpool.committee.transport import Kind, Link
from darkpool.errors import PeerFault

LIMIT = 5.0
GROUP = Group(bytes(32), 7, 1)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """A test's body within a time limit."""
    asyncio.run(asyncio.wait_for(coroutine, 20))


@asynccontextmanager
async def link_pair(tmp_path: Path) -> AsyncIterator[tuple[Link, Link]]:
    """Both ends of one connection; the first is the server's."""
    path = tmp_path / "pair.sock"
    accepted: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(Link(reader, writer, "client"))

    server = await asyncio.start_unix_server(accept, path, limit=1 << 20)
    client = Link(*await asyncio.open_unix_connection(path, limit=1 << 20), "server")
    first = await accepted
    try:
        yield first, client
    finally:
        first.close()
        client.close()
        server.close()
        await asyncio.sleep(0)


def test_frames_arrive_whole_and_in_order(tmp_path: Path) -> None:
    async def body() -> None:
        async with link_pair(tmp_path) as (server, client):
            sent = [
                (Kind.REQUEST, b""),
                (Kind.STEP, b"x"),
                (Kind.MPC, os.urandom(3 << 20)),
                (Kind.ABORT, b"y"),
            ]
            for kind, data in sent:
                client.send(kind, data)
            assert [await server.receive() for _ in sent] == sent
            server.send(Kind.REPLY, b"back")
            await server.flush()
            assert await client.receive() == (Kind.REPLY, b"back")
            assert (client.frames, client.octets) == (5, 2 + 4 + (3 << 20))

    run(body())


def test_a_tap_sees_both_directions(tmp_path: Path) -> None:
    async def body() -> None:
        seen: list[tuple[str, int, bytes]] = []
        async with link_pair(tmp_path) as (server, client):
            server._tap = lambda *frame: seen.append(frame)
            client.send(Kind.REQUEST, b"ask")
            await server.receive()
            server.send(Kind.REPLY, b"answer")
        assert seen == [("from client", Kind.REQUEST, b"ask"), ("to client", Kind.REPLY, b"answer")]

    run(body())


@pytest.mark.parametrize(
    "raw,message",
    [
        (b"\0\0\0\0", "a frame of 0 bytes"),
        (b"\xff\xff\xff\xff", "a frame of 4294967295 bytes"),
        ((module.MAX_FRAME + 2).to_bytes(4), f"a frame of {module.MAX_FRAME + 2} bytes"),
        (b"\0\0\0\1\0", "unknown kind 0"),
        (b"\0\0\0\1\7", "unknown kind 7"),
        (b"\0\0\0\2\xffx", "unknown kind 255"),
        (b"", "closed the connection"),
        (b"\0\0\0", "closed the connection"),
        (b"\0\0\0\5\1abc", "closed the connection"),
    ],
)
def test_broken_framing_is_the_peers_fault(tmp_path: Path, raw: bytes, message: str) -> None:
    async def body() -> None:
        async with link_pair(tmp_path) as (server, client):
            client._writer.write(raw)
            client._writer.write_eof()
            with pytest.raises(PeerFault, match=f"client: .*{message}"):
                await server.receive()

    run(body())


def test_an_oversize_frame_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FRAME", 8)

    async def body() -> None:
        async with link_pair(tmp_path) as (server, client):
            client.send(Kind.STEP, bytes(8))
            assert await server.receive() == (Kind.STEP, bytes(8))
            with pytest.raises(PeerFault, match="9 bytes is above 8"):
                client.send(Kind.STEP, bytes(9))

    run(body())


def test_a_link_is_made_again_whenever_it_is_lost(tmp_path: Path) -> None:
    async def body() -> None:
        meeting = Sockets(tmp_path, GROUP)
        greeted: asyncio.Queue[Link] = asyncio.Queue()
        lost: list[str] = []

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            link = Link(reader, writer, "newcomer")
            assert await link.receive() == (Kind.HELLO, GROUP.hello(7))
            link.send(Kind.HELLO, GROUP.hello(2))
            greeted.put_nowait(link)

        async def use(link: Link) -> None:
            try:
                await link.receive()
            except PeerFault as error:
                lost.append(str(error))
            finally:
                link.close()

        keeping = asyncio.create_task(keep_connected(meeting, 2, 7, use))
        for _ in range(2):
            server = await asyncio.start_unix_server(accept, meeting.path(2))
            for _ in range(2):
                (await greeted.get()).close()
            server.close()
            # The second listener finds a dead socket in its way.
            assert meeting.path(2).exists()
        keeping.cancel()
        await asyncio.wait((keeping,))
        assert set(lost) == {"member 2: closed the connection"}

    run(body())


@pytest.mark.parametrize("listening", [False, True])
def test_attempts_to_connect_slow_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: bool
) -> None:
    async def body() -> None:
        meeting = Sockets(tmp_path, GROUP)
        pauses: list[float] = []
        sleep, enough = asyncio.sleep, asyncio.Event()

        async def recorded(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 7:
                enough.set()
            await sleep(0)

        async def use(link: Link) -> None:
            link.close()

        server = None
        if listening:
            server = await asyncio.start_unix_server(lambda _r, w: w.close(), meeting.path(2))
        monkeypatch.setattr(asyncio, "sleep", recorded)
        keeping = asyncio.create_task(keep_connected(meeting, 2, 7, use))
        await enough.wait()
        keeping.cancel()
        monkeypatch.undo()
        assert pauses[:7] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
        if server is not None:
            server.close()

    run(body())

"""Members joined by real Unix sockets in one process, for the tests of the mesh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from commitments.encoding import Writer
from darkpool.committee.mesh import Mesh
from darkpool.committee.transport import Link
from darkpool.errors import RoundAborted

SESSION, OTHER = b"\x01" * 32, b"\x02" * 32
LIMIT = 5.0
SHORT = 0.05


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """A test's body within a time limit."""
    asyncio.run(asyncio.wait_for(coroutine, 20))


class Meshes:
    """n members in one process, each pair joined by a real socket."""

    def __init__(self, n: int, directory: Path) -> None:
        self.members = {i: Mesh(i, n) for i in range(1, n + 1)}
        self.tasks: list[asyncio.Task[None]] = []
        self._directory = directory

    async def connection(self, low: int, high: int) -> tuple[Link, Link]:
        """A new one, not yet served: the end of `low`, the end of `high`."""
        accepted: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set_result(Link(reader, writer, f"member {high}"))

        path = self._directory / f"{low}-{high}"
        server = await asyncio.start_unix_server(accept, path, limit=1 << 20)
        reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
        link = await accepted
        server.close()
        return link, Link(reader, writer, f"member {low}")

    def serve(self, me: int, peer: int, link: Link) -> None:
        self.tasks.append(asyncio.create_task(self.members[me].serve(peer, link)))

    async def join(self, low: int, high: int) -> None:
        """Join two members, over what joined them before."""
        ends = await self.connection(low, high)
        self.serve(low, high, ends[0])
        self.serve(high, low, ends[1])
        await settle(lambda: (self.members[low].links.get(high), self.members[high].links.get(low)) == ends)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        ended = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert all(e is None or isinstance(e, asyncio.CancelledError) for e in ended)
        assert not any(mesh.links for mesh in self.members.values())


@asynccontextmanager
async def group(tmp_path: Path, n: int = 2) -> AsyncIterator[Meshes]:
    members = Meshes(n, tmp_path)
    for low in members.members:
        for high in (i for i in members.members if i > low):
            await members.join(low, high)
    try:
        yield members
    finally:
        await members.close()


@asynccontextmanager
async def meshes(tmp_path: Path, n: int = 3) -> AsyncIterator[dict[int, Mesh]]:
    async with group(tmp_path, n) as joined:
        yield joined.members


async def step(
    mesh: Mesh, name: str = "a", session: bytes = SESSION, seconds: float = LIMIT
) -> dict[int, bytes]:
    """Everybody sends "<me>><peer>"."""
    return await among(mesh, (mesh.index, *mesh.peers), name, session, seconds)


async def among(
    mesh: Mesh, players: Sequence[int], name: str = "a", session: bytes = SESSION, seconds: float = LIMIT
) -> dict[int, bytes]:
    """The same among some."""
    out = {peer: b"%d>%d" % (mesh.index, peer) for peer in players if peer != mesh.index}
    return await mesh.exchange(session, name, out, seconds)


async def settle(condition: Callable[[], bool]) -> None:
    """Wait until frames under way have arrived."""
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 - nothing tells when a buffer has been read
            await asyncio.sleep(0.001)


async def refusal(awaitable: Awaitable[object]) -> str:
    try:
        await awaitable
    except RoundAborted as error:
        return str(error)
    pytest.fail("not aborted")


def frame(name: bytes, data: bytes = b"", session: bytes = SESSION) -> bytes:
    return bytes(Writer().fixed(session, 32).var(name).var(data))

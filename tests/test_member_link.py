"""The operator's link to a member, over real sockets: who is away, late, back, or breaks the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from darkpool.committee import transport
from darkpool.committee.meeting import Group, Sockets
from darkpool.committee.member_link import MemberLink
from darkpool.committee.transport import COORDINATOR, NUMBER_BYTES, Kind, Link
from darkpool.errors import PeerFault
from darkpool.message import Message

LIMIT = 5.0
GROUP = Group(bytes(32), 3, 1)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """A test's body within a time limit."""
    asyncio.run(asyncio.wait_for(coroutine, 20))


class Listener:
    """What stands for member 2: connections are served by the test itself."""

    def __init__(self, directory: Path) -> None:
        self._path = Sockets(directory, GROUP).path(2)
        self._links: asyncio.Queue[Link] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._links.put_nowait(Link(reader, writer, "coordinator"))

        self._server = await asyncio.start_unix_server(accept, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def accepted(self) -> Link:
        link = await self._links.get()
        assert await link.receive() == (Kind.HELLO, GROUP.hello(COORDINATOR))
        link.send(Kind.HELLO, GROUP.hello(2))
        return link


async def request(link: Link) -> tuple[bytes, Message]:
    """Number and content of the next request."""
    kind, body = await link.receive()
    assert kind is Kind.REQUEST
    return body[:NUMBER_BYTES], Message.decode(body[NUMBER_BYTES:])


async def answer(link: Link, op: str = "ok") -> Message:
    number, asked = await request(link)
    link.send(Kind.REPLY, number + Message(op).encode())
    return asked


@asynccontextmanager
async def linked(tmp_path: Path) -> AsyncIterator[tuple[MemberLink, Link, Listener]]:
    """The operator's link, the member's end of it, and who accepts the next."""
    async with Listener(tmp_path) as listener:
        member = MemberLink(Sockets(tmp_path, GROUP), 2, patience=LIMIT)
        link = await listener.accepted()
        await member.here()
        try:
            yield member, link, listener
        finally:
            await member.close()
            link.close()


async def fault(awaitable: Awaitable[object]) -> str:
    with pytest.raises(PeerFault) as caught:
        await awaitable
    return str(caught.value)


def ask(member: MemberLink, op: str, seconds: float = LIMIT) -> asyncio.Task[Message]:
    return asyncio.create_task(member.ask(Message(op), seconds))


def test_a_request_brings_its_reply(tmp_path: Path) -> None:
    async def body() -> None:
        async with linked(tmp_path) as (member, link, _):
            assert member.connected
            asking = asyncio.create_task(member.ask(Message("orders", {"now": 1}, [b"x"]), LIMIT))
            number, asked = await request(link)
            assert asked == Message("orders", {"now": 1}, [b"x"])
            reply = Message("done", {"a": [1]}, [b"y", b""])
            link.send(Kind.REPLY, number + reply.encode())
            assert await asking == reply

    run(body())


def test_requests_go_out_one_at_a_time_in_order(tmp_path: Path) -> None:
    async def body() -> None:
        async with linked(tmp_path) as (member, link, _):
            asking = [ask(member, op) for op in ("a", "b", "c")]
            for op in ("a", "b", "c"):
                number, asked = await request(link)
                assert asked.op == op
                assert not link._reader._buffer  # type: ignore[attr-defined]
                link.send(Kind.REPLY, number + Message(f"{op}!").encode())
            assert [reply.op for reply in await asyncio.gather(*asking)] == ["a!", "b!", "c!"]

    run(body())


def test_a_member_that_is_away_is_named(tmp_path: Path) -> None:
    async def body() -> None:
        member = MemberLink(Sockets(tmp_path, GROUP), 2, patience=0.01)
        assert not member.connected
        assert await fault(member.ask(Message("a"), LIMIT)) == (
            "member 2: does not listen (No such file or directory)"
        )
        await member.close()

    run(body())


def test_a_member_that_comes_in_time_is_waited_for(tmp_path: Path) -> None:
    async def body() -> None:
        member = MemberLink(Sockets(tmp_path, GROUP), 2, patience=LIMIT)
        asking = ask(member, "a")
        async with Listener(tmp_path) as listener:
            link = await listener.accepted()
            await answer(link)
            assert (await asking).op == "ok"
            await member.close()
            link.close()

    run(body())


def test_a_member_that_leaves_fails_its_request_at_once_and_may_come_back(tmp_path: Path) -> None:
    async def body() -> None:
        async with linked(tmp_path) as (member, link, listener):
            asking = ask(member, "a", 3600)
            await request(link)
            link.close()
            assert await fault(asking) == "member 2: closed the connection"
            assert not member.connected
            again = ask(member, "b")
            restarted = await listener.accepted()
            assert (await answer(restarted)).op == "b"
            assert (await again).op == "ok"
            assert await member.here() == 2
            restarted.close()

    run(body())


def test_a_late_reply_is_passed_over(tmp_path: Path) -> None:
    async def body() -> None:
        async with linked(tmp_path) as (member, link, _):
            asking = ask(member, "slow", 0.05)
            late, _asked = await request(link)
            assert await fault(asking) == "member 2: no reply to slow in 0.05 s"
            # Once while nothing is asked, once before the reply to the next request.
            link.send(Kind.REPLY, late + Message("late").encode())
            asking = ask(member, "next")
            number, _asked = await request(link)
            link.send(Kind.REPLY, late + Message("later").encode())
            link.send(Kind.REPLY, number + Message("in time").encode())
            assert (await asking).op == "in time"
            assert member.connections == 1

    run(body())


def test_a_request_that_is_cancelled_leaves_the_link_usable(tmp_path: Path) -> None:
    async def body() -> None:
        async with linked(tmp_path) as (member, link, _):
            asking = ask(member, "a")
            number, _asked = await request(link)
            asking.cancel()
            await asyncio.wait((asking,))
            link.send(Kind.REPLY, number + Message("late").encode())
            asking = ask(member, "b")
            await answer(link)
            assert (await asking).op == "ok"

    run(body())


@pytest.mark.parametrize(
    "kind, change",
    [
        (Kind.REPLY, lambda number: (int.from_bytes(number) + 1).to_bytes(NUMBER_BYTES) + b"ahead"),
        (Kind.REPLY, lambda number: number[:-1]),
        (Kind.REPLY, lambda _: b""),
        (Kind.REQUEST, lambda number: number + Message("ok").encode()),
        (Kind.STEP, lambda number: number + Message("ok").encode()),
        (Kind.MPC, lambda _: b""),
        (Kind.HELLO, lambda _: b"\x02"),
    ],
)
def test_what_is_no_reply_ends_the_link(tmp_path: Path, kind: Kind, change: Callable[[bytes], bytes]) -> None:
    async def body() -> None:
        async with linked(tmp_path) as (member, link, listener):
            asking = ask(member, "a")
            number, _asked = await request(link)
            link.send(kind, change(number))
            assert await fault(asking) == f"member 2: an unexpected {kind.name} frame"
            (await listener.accepted()).close()

    run(body())


@pytest.mark.parametrize("reply", [b"", b"x", Message("ok").encode() + b"\0", Message("ok").encode()[:-1]])
def test_a_malformed_reply_fails_its_request_only(tmp_path: Path, reply: bytes) -> None:
    async def body() -> None:
        async with linked(tmp_path) as (member, link, _):
            asking = ask(member, "a")
            number, _asked = await request(link)
            link.send(Kind.REPLY, number + reply)
            assert (await fault(asking)).startswith("member 2: ")
            asking = ask(member, "b")
            await answer(link)
            assert (await asking).op == "ok"
            assert member.connections == 1

    run(body())


def test_a_request_too_long_for_a_frame_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with linked(tmp_path) as (member, link, _):
            monkeypatch.setattr(transport, "MAX_FRAME", 100)
            assert "is above 100" in await fault(member.ask(Message("a", {}, [bytes(100)]), LIMIT))
            asking = ask(member, "b")
            assert (await answer(link)).op == "b"
            await asking

    run(body())


def test_closing_fails_what_is_under_way(tmp_path: Path) -> None:
    async def body() -> None:
        async with linked(tmp_path) as (member, link, _):
            asking = ask(member, "a", 3600)
            await request(link)
            await member.close()
            assert await fault(asking) == "member 2: the link was closed here"
            assert not member.connected

    run(body())

"""A member's node over real sockets: coordinators and peers that come, go, are replaced or say nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from darkpool.committee import meeting
from darkpool.committee import node as module
from darkpool.committee.meeting import Group, Sockets
from darkpool.committee.member import Member
from darkpool.committee.mesh import Mesh
from darkpool.committee.node import Node
from darkpool.committee.transport import COORDINATOR, NUMBER_BYTES, Kind, Link
from darkpool.errors import PeerFault
from darkpool.message import Message

LIMIT = 5.0
GROUP = Group(bytes(32), 3, 1)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """A test's body within a time limit."""
    asyncio.run(asyncio.wait_for(coroutine, 20))


class Echo(Member):
    """A member without a seat, which answers what it is asked; "wait" takes until it is let go."""

    def __init__(self, index: int, members: int) -> None:
        vars(self)["mesh"] = Mesh(index, members)  # final in a real one, which has a seat
        self.asked: list[str] = []
        self.finished: list[str] = []
        self.may_go = asyncio.Event()

    async def handle(self, request: Message) -> Message:
        self.asked.append(request.op)
        if request.op.startswith("wait"):
            await self.may_go.wait()
        if request.op == "defect":
            raise ZeroDivisionError
        self.finished.append(request.op)
        return Message(request.op)

    async def close(self) -> None:
        self.asked.append("close")


@asynccontextmanager
async def serving(directory: Path, *members: Echo) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(Node(member, Sockets(directory, GROUP)).serve()) for member in members]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(member.asked[-1] == "close" and not member.mesh.links for member in members)


async def settle(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 - nothing tells when a buffer has been read
            await asyncio.sleep(0.001)


def send(link: Link, number: int, op: str) -> None:
    link.send(Kind.REQUEST, number.to_bytes(NUMBER_BYTES) + Message(op).encode())


async def reply(link: Link) -> tuple[int, str]:
    kind, body = await link.receive()
    assert kind is Kind.REPLY
    return int.from_bytes(body[:NUMBER_BYTES]), Message.decode(body[NUMBER_BYTES:]).op


async def ended(link: Link) -> None:
    with pytest.raises(PeerFault, match="closed the connection"):
        await link.receive()
    link.close()


async def connect(directory: Path, index: int, me: int) -> Link:
    async with asyncio.timeout(LIMIT):
        while (link := await Sockets(directory, GROUP).dial(index, me)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return link


async def coordinator(directory: Path, index: int = 1) -> Link:
    return await connect(directory, index, COORDINATOR)


async def stranger(directory: Path, index: int) -> Link:
    """A connection that has not said HELLO."""
    return Link(*await asyncio.open_unix_connection(Sockets(directory, GROUP).path(index)), "member")


def test_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path, Echo(1, 3)):
            link = await coordinator(tmp_path)
            for number, op in ((5, "a"), (6, "b"), (9, "c")):
                send(link, number, op)
            assert [await reply(link) for _ in range(3)] == [(5, "a"), (6, "b"), (9, "c")]
            link.send(Kind.REQUEST, bytes(NUMBER_BYTES) + b"no message")
            assert await reply(link) == (0, "refused")
            link.close()

    run(body())


def test_a_lost_coordinator_is_no_reason_to_end(tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path, Echo(1, 3)):
            for _ in range(3):
                link = await coordinator(tmp_path)
                send(link, 1, "a")
                assert await reply(link) == (1, "a")
                link.close()

    run(body())


def test_a_new_coordinator_replaces_the_old_one_whose_request_finishes_first(tmp_path: Path) -> None:
    async def body() -> None:
        member = Echo(1, 3)
        async with serving(tmp_path, member):
            old = await coordinator(tmp_path)
            send(old, 1, "wait")
            send(old, 2, "never begun")
            await settle(lambda: bool(member.asked))
            new = await coordinator(tmp_path)
            send(new, 1, "a")
            await ended(old)
            assert member.asked == ["wait"]
            member.may_go.set()
            assert await reply(new) == (1, "a")
            assert member.finished == ["wait", "a"]
            new.close()

    run(body())


def test_a_request_that_waits_is_dropped_with_its_coordinator(tmp_path: Path) -> None:
    async def body() -> None:
        member = Echo(1, 3)
        async with serving(tmp_path, member):
            links = [await coordinator(tmp_path)]
            send(links[0], 1, "wait")
            await settle(lambda: bool(member.asked))
            for op in ("b", "c"):
                links.append(await coordinator(tmp_path))
                send(links[-1], 1, op)
                await ended(links[-2])
            member.may_go.set()
            assert await reply(links[-1]) == (1, "c")
            assert member.finished == ["wait", "c"]
            links[-1].close()

    run(body())


def test_the_request_of_a_coordinator_that_goes_finishes(tmp_path: Path) -> None:
    async def body() -> None:
        member = Echo(1, 3)
        async with serving(tmp_path, member):
            link = await coordinator(tmp_path)
            send(link, 1, "wait")
            await settle(lambda: bool(member.asked))
            link.close()
            member.may_go.set()
            await settle(lambda: member.finished == ["wait"])

    run(body())


@pytest.mark.parametrize(
    "kind, body_",
    [(Kind.REQUEST, bytes(NUMBER_BYTES - 1)), (Kind.REPLY, bytes(20)), (Kind.STEP, b""), (Kind.HELLO, b"\0")],
)
def test_a_coordinator_that_breaks_the_protocol_is_dropped(tmp_path: Path, kind: Kind, body_: bytes) -> None:
    async def body() -> None:
        async with serving(tmp_path, Echo(1, 3)) as (task,):
            link = await coordinator(tmp_path)
            link.send(kind, body_)
            await ended(link)
            assert not task.done()

    run(body())


@pytest.mark.parametrize(
    "kind, body_",
    [
        (Kind.HELLO, b""),
        (Kind.HELLO, GROUP.hello(3)[:-1]),
        (Kind.HELLO, GROUP.hello(1)),  # a lower index is dialled, not accepted
        (Kind.HELLO, GROUP.hello(2)),  # itself
        (Kind.HELLO, GROUP.hello(4)),
        (Kind.HELLO, GROUP.hello(255)),
        (Kind.REQUEST, GROUP.hello(3)),
        (Kind.STEP, b"\0"),
    ],
)
def test_a_newcomer_nobody_waits_for_is_dropped(tmp_path: Path, kind: Kind, body_: bytes) -> None:
    async def body() -> None:
        member = Echo(2, 3)
        async with serving(tmp_path, member):
            old = await coordinator(tmp_path, 2)
            newcomer = await stranger(tmp_path, 2)
            newcomer.send(kind, body_)
            assert (await newcomer.receive())[0] is Kind.ABORT
            await ended(newcomer)
            assert not member.mesh.links
            send(old, 1, "still here")
            assert await reply(old) == (1, "still here")
            old.close()

    run(body())


def test_a_newcomer_that_says_nothing_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "HELLO_SECONDS", 0.05)

    async def body() -> None:
        async with serving(tmp_path, Echo(1, 3)) as (task,):
            await settle(Sockets(tmp_path, GROUP).path(1).exists)
            silent = await stranger(tmp_path, 1)
            assert await silent.receive() == (Kind.ABORT, b"does not say who it is")
            await ended(silent)
            assert not task.done()

    run(body())


def test_the_newest_connection_of_a_peer_is_the_only_one(tmp_path: Path) -> None:
    async def body() -> None:
        member = Echo(1, 3)
        async with serving(tmp_path, member):
            old = await connect(tmp_path, 1, 3)
            await settle(lambda: 3 in member.mesh.links)
            new = await connect(tmp_path, 1, 3)
            await ended(old)
            assert set(member.mesh.links) == {3}
            new.close()
            await settle(lambda: not member.mesh.links)

    run(body())


def test_members_find_each_other_again_in_whatever_order_they_start(tmp_path: Path) -> None:
    async def body() -> None:
        members = {i: Echo(i, 3) for i in (1, 2, 3)}
        tasks = {
            i: asyncio.create_task(Node(members[i], Sockets(tmp_path, GROUP)).serve()) for i in (3, 2, 1)
        }

        async def step(session: bytes) -> None:
            await settle(lambda: all(len(m.mesh.links) == 2 for m in members.values()))
            steps = (
                m.mesh.exchange(session, "a", dict.fromkeys(m.mesh.peers, b"x"), LIMIT)
                for m in members.values()
            )
            await asyncio.gather(*steps)

        await step(bytes(32))
        for leaving in (1, 2, 3):
            tasks[leaving].cancel()
            await asyncio.wait((tasks[leaving],))
            others = [m for i, m in members.items() if i != leaving]
            await settle(lambda others=others: all(len(m.mesh.links) == 1 for m in others))  # type: ignore[misc]
            members[leaving] = Echo(leaving, 3)
            tasks[leaving] = asyncio.create_task(Node(members[leaving], Sockets(tmp_path, GROUP)).serve())
            await step(bytes([leaving]) * 32)
        for task in tasks.values():
            task.cancel()
        await asyncio.wait(tasks.values())

    run(body())


def test_a_defect_ends_the_process_instead_of_leaving_a_link_unanswered(tmp_path: Path) -> None:
    async def body() -> None:
        member = Echo(1, 3)
        node = asyncio.create_task(Node(member, Sockets(tmp_path, GROUP)).serve())
        link = await coordinator(tmp_path)
        send(link, 1, "defect")
        await ended(link)
        await asyncio.wait((node,))
        error = node.exception()
        assert isinstance(error, ExceptionGroup)
        assert error.subgroup(ZeroDivisionError) is not None
        assert member.asked == ["defect", "close"]

    run(body())


def test_the_wrong_number_of_arguments_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(SystemExit):
        assert module.main([]) == 2
        assert module.main(["one", "too", "many"]) == 2
    assert "usage" in capsys.readouterr().err

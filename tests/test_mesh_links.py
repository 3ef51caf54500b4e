"""The mesh while links are lost, replaced and come back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from commitments.encoding import Writer
from darkpool.committee import mesh as module
from darkpool.committee.transport import Kind
from tests.mesh_support import OTHER, SESSION, frame, group, meshes, refusal, run, settle, step


def test_a_member_that_leaves_is_noticed_though_another_is_only_slow(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path) as members:
            waiting = asyncio.create_task(refusal(step(members[1])))
            await asyncio.sleep(0)
            members[3].links[1].close()
            assert await waiting == "step a: members [3] left"

    run(body())


def test_a_member_that_was_replaced_has_left_its_sessions(tmp_path: Path) -> None:
    async def body() -> None:
        async with group(tmp_path) as joined:
            one, two = joined.members.values()
            waiting = asyncio.create_task(refusal(step(one)))
            elsewhere = asyncio.create_task(one.aborted(OTHER, [2]))
            await settle(lambda: bool(two._arrived))
            await joined.join(1, 2)
            assert await waiting == "step a: members [2] left"
            assert str(await elsewhere) == "members [2] left"
            assert await refusal(step(one, "b")) == "step b: member 2 left, and came back too late"
            # What belongs to no session yet goes over the new connection.
            got = await asyncio.gather(*(step(m, session=b"\x03" * 32) for m in (one, two)))
            assert got == [{2: b"2>1"}, {1: b"1>2"}]

    run(body())


def test_the_session_of_a_lost_connection_takes_no_step_over_the_next(tmp_path: Path) -> None:
    async def body() -> None:
        async with group(tmp_path) as joined:
            one, two = joined.members.values()
            two.links[1].send(Kind.STEP, frame(b"a"))
            await settle(lambda: bool(one._arrived))
            await joined.join(1, 2)
            two.links[1].send(Kind.STEP, frame(b"b"))
            two.links[1].send(Kind.STEP, frame(b"a", session=OTHER))
            await settle(lambda: len(one._arrived) == 2)
            assert set(one._arrived) == {(SESSION, b"a"), (OTHER, b"a")}

    run(body())


@pytest.mark.parametrize("back", [False, True])
def test_what_arrived_counts_for_a_session_begun_after_its_sender_left(tmp_path: Path, back: bool) -> None:
    async def body() -> None:
        async with group(tmp_path) as joined:
            one, two = joined.members.values()
            two.links[1].send(Kind.STEP, frame(b"a", b"last words"))
            await settle(lambda: bool(one._arrived))
            if back:
                await joined.join(1, 2)
            else:
                two.links[1].close()
                await settle(lambda: not one.links)
            assert await step(one) == {2: b"last words"}
            said = "left, and came back too late" if back else "is away"
            assert await refusal(step(one, "b")) == f"step b: member 2 {said}"
            assert str(await one.aborted(SESSION, [2])) == "members [2] left"
            # The next process of member 2 is not bothered with it.
            assert not two._arrived

    run(body())


def test_an_abort_is_heard_over_a_new_connection_too(tmp_path: Path) -> None:
    async def body() -> None:
        async with group(tmp_path) as joined:
            one, two = joined.members.values()
            two.links[1].send(Kind.STEP, frame(b"a"))
            await settle(lambda: bool(one._arrived))
            await joined.join(1, 2)
            two.abort(SESSION, "I was restarted")
            assert str(await one.aborted(SESSION, [2])) in {"member 2: I was restarted", "members [2] left"}
            await settle(lambda: SESSION in one._aborted[2])
            assert await step(one) == {2: b""}  # that step is complete
            assert await refusal(step(one, "b")) == "step b: member 2 left, and came back too late"
            assert isinstance(await one.aborted(SESSION, [2]), module.Abandoned)

    run(body())


@pytest.mark.parametrize("kind", [Kind.STEP, Kind.ABORT, Kind.MPC])
def test_nothing_of_a_former_connection_is_delivered_once_the_next_is_there(
    tmp_path: Path, kind: Kind
) -> None:
    async def body() -> None:
        async with group(tmp_path) as joined:
            one, heard = joined.members[1], []
            one.on_mpc = lambda _peer, data: heard.append(data)
            former, before = one.links[2], len(joined.tasks)
            link, other_end = await joined.connection(1, 2)
            joined.serve(1, 2, link)
            # A whole frame is in the former connection's buffer when the next takes over.
            late = frame(b"a") if kind is not Kind.ABORT else bytes(Writer().fixed(SESSION, 32).var(b"no"))
            former._reader.feed_data((len(late) + 1).to_bytes(4) + bytes([kind]) + late)
            await settle(lambda: sum(task.done() for task in joined.tasks[:before]) == 2)
            assert former.frames == 1
            assert (one._arrived, one._aborted, heard) == ({}, {2: {}}, [])
            other_end.send(Kind.STEP, frame(b"a", b"new"))
            await settle(lambda: bool(one._arrived))
            assert one._arrived[SESSION, b"a"] == {2: b"new"}
            other_end.close()

    run(body())


def test_steps_of_sessions_never_begun_make_room_once_their_connection_is_gone(tmp_path: Path) -> None:
    async def body() -> None:
        async with group(tmp_path, 3) as joined:
            one, two = joined.members[1], joined.members[2]
            begun, other = b"\xaa" * 32, b"\xbb" * 32
            waiting = asyncio.create_task(refusal(step(one, session=begun)))
            two.links[1].send(Kind.STEP, frame(b"a", session=begun))
            joined.members[3].links[1].send(Kind.STEP, frame(b"a", session=bytes(32)))
            for k in range(module.MAX_STEPS_WAITING - 1):
                two.links[1].send(Kind.STEP, frame(b"a", session=k.to_bytes(32)))
            await settle(lambda: one._waiting(2) == module.MAX_STEPS_WAITING)
            await joined.join(1, 2)
            two.links[1].send(Kind.STEP, frame(b"a", session=other))
            await settle(lambda: 2 in one._arrived[other, b"a"])
            # Member 3's step, and what came for the session under way, are not in the way.
            assert {k[0]: v for k, v in one._arrived.items()} == {
                begun: {2: b""},
                bytes(32): {3: b""},
                other: {2: b""},
            }
            assert set(one._bound) == {begun, bytes(32), other}
            # On one connection the allowance is what it was.
            for k in range(module.MAX_STEPS_WAITING):
                two.links[1].send(Kind.STEP, frame(b"b", session=(k + 1).to_bytes(32)))
            await settle(lambda: 2 not in one.links)
            assert one._waiting(2) == module.MAX_STEPS_WAITING
            waiting.cancel()

    run(body())


def test_a_session_that_is_over_leaves_no_trace(tmp_path: Path) -> None:
    async def body() -> None:
        async with group(tmp_path) as joined:
            one, two = joined.members.values()
            await asyncio.gather(step(one), step(two))
            elsewhere = asyncio.create_task(one.aborted(SESSION, [2]))
            await asyncio.sleep(0)
            one.forget(SESSION)
            elsewhere.cancel()
            assert (one._bound, one._begun, one._arrived, one._aborted) == ({}, set(), {}, {2: {}})

    run(body())


def test_traffic_of_former_connections_stays_counted(tmp_path: Path) -> None:
    async def body() -> None:
        async with group(tmp_path) as joined:
            one, two = joined.members.values()
            await asyncio.gather(step(one), step(two))
            counted = (one.frames, one.octets)
            await joined.join(1, 2)
            assert (one.frames, one.octets) == counted
            await asyncio.gather(*(step(m, session=OTHER) for m in (one, two)))
            assert (one.frames, one.octets) == (2 * counted[0], 2 * counted[1])
            one.links[2].close()
            await settle(lambda: not one.links)
            assert (one.frames, one.octets) == (2 * counted[0], 2 * counted[1])

    run(body())

"""The mesh over real Unix sockets: steps, aborts, time limits, peers that misbehave or leave."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from commitments.encoding import Writer
from darkpool.committee import mesh as module
from darkpool.committee.transport import Kind
from tests.mesh_support import LIMIT, OTHER, SESSION, SHORT, among, frame, meshes, refusal, run, settle, step


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_step_brings_everybody_everybodys_message(tmp_path: Path, n: int) -> None:
    async def body() -> None:
        async with meshes(tmp_path, n) as members:
            for name in ("a", "b", "c"):
                got = await asyncio.gather(*(step(m, name) for m in members.values()))
                for mesh, arrived in zip(members.values(), got, strict=True):
                    assert arrived == {p: b"%d>%d" % (p, mesh.index) for p in mesh.peers}
            assert not any(m._arrived for m in members.values())

    run(body())


def test_sessions_and_steps_under_way_at_once_do_not_mix(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path, 2) as members:
            one, two = members.values()
            names = [("a", SESSION), ("b", SESSION), ("a", OTHER)]
            ahead = [asyncio.create_task(step(one, *n)) for n in names]
            await settle(lambda: len(two._arrived) == 3)
            for name, session in reversed(names):
                out = {1: name.encode() + session}
                assert await two.exchange(session, name, out, LIMIT) == {1: b"1>2"}
            got = await asyncio.gather(*ahead)
            assert got == [{2: name.encode() + session} for name, session in names]

    run(body())


def test_a_silent_member_is_named_when_time_is_up(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path) as members:
            said = await asyncio.gather(*(refusal(step(members[i], seconds=SHORT)) for i in (1, 2)))
            assert said == ["step a: no answer from members [3] in 0.05 s"] * 2

    run(body())


def test_an_abort_ends_the_session_for_all_with_its_reason(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path) as members:
            waiting = [asyncio.create_task(refusal(step(members[i]))) for i in (1, 2)]
            await asyncio.sleep(0)
            members[3].abort(SESSION, "wrong mask from member 1")
            assert await asyncio.gather(*waiting) == ["member 3: wrong mask from member 1"] * 2
            # Another session goes on.
            await asyncio.gather(*(step(m, session=OTHER) for m in members.values()))

    run(body())


def test_only_the_players_of_a_session_wait_for_one_another_and_can_end_it(tmp_path: Path) -> None:
    """Whoever was left out could else stop all that go on without it."""

    async def body() -> None:
        async with meshes(tmp_path, 4) as members:
            players = (1, 2, 4)
            elsewhere = asyncio.create_task(members[1].aborted(SESSION, [2, 4]))
            members[3].abort(SESSION, "I was left out")
            await settle(lambda: all(SESSION in members[i]._aborted[3] for i in players))
            got = await asyncio.gather(*(among(members[i], players) for i in players))
            assert [set(arrived) for arrived in got] == [set(players) - {i} for i in players]
            for link in list(members[3].links.values()):
                link.close()
            await settle(lambda: not any(3 in members[i].links for i in players))
            await asyncio.gather(*(among(members[i], players, "b") for i in players))
            assert not elsewhere.done()
            members[4].abort(SESSION, "a player")
            assert str(await elsewhere) == "member 4: a player"

    run(body())


def test_who_waits_for_another_is_not_taken_for_silent(tmp_path: Path) -> None:
    """Else a member that says nothing to one other would have that one charged by all."""

    async def body() -> None:
        async with meshes(tmp_path) as members:
            waiting = asyncio.create_task(step(members[3], "b", seconds=4 * SHORT))
            await settle(lambda: all(SESSION in members[i]._aborted[3] for i in (1, 2)))  # its time is up
            members[1].abort(SESSION, "step a: no answer from members [2]")
            with pytest.raises(module.Absent) as silent:
                await waiting
            assert (silent.value.members, silent.value.late) == ((2,), True)
            waiting = asyncio.create_task(step(members[3], "b", OTHER, seconds=4 * SHORT))
            await settle(lambda: all(OTHER in members[i]._aborted[3] for i in (1, 2)))
            for index in (1, 2):
                members[index].abort(OTHER, "no answer")
            with pytest.raises(module.Abandoned) as ended:
                await waiting
            assert ended.value.members == (1, 2)

    run(body())


def test_who_is_missed_is_told_from_who_ended_it(tmp_path: Path) -> None:
    """A charge depends on it: late, gone, or given up."""

    async def body() -> None:
        async with meshes(tmp_path) as members:
            with pytest.raises(module.Absent) as late:
                await step(members[1], seconds=SHORT)
            assert (late.value.members, late.value.late) == ((2, 3), True)
            members[2].abort(SESSION, "no")
            await settle(lambda: bool(members[1]._aborted[2]))
            with pytest.raises(module.Abandoned) as ended:
                await step(members[1], "b")
            assert ended.value.members == (2,)
            members[3].links[1].close()
            await settle(lambda: 3 not in members[1].links)
            with pytest.raises(module.Absent) as gone:
                await step(members[1], "a", OTHER)
            assert (gone.value.members, gone.value.late) == ((3,), False)

    run(body())


def test_an_abort_before_the_step_counts(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path, 2) as members:
            members[2].abort(SESSION, "no")
            await settle(lambda: bool(members[1]._aborted[2]))
            assert await refusal(step(members[1])) == "member 2: no"

    run(body())


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path, 2) as members:
            members[2].abort(SESSION, "\u00e9" * 2_000)
            await settle(lambda: bool(members[1]._aborted[2]))
            assert len(members[1]._aborted[2][SESSION]) <= 512
            assert 2 in members[1].links

    run(body())


def test_a_member_that_leaves_during_a_step_is_named(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path) as members:
            waiting = [asyncio.create_task(refusal(step(members[i]))) for i in (1, 2)]
            await asyncio.sleep(0.01)
            for link in list(members[3].links.values()):
                link.close()
            assert await asyncio.gather(*waiting) == ["step a: members [3] left"] * 2
            assert await refusal(step(members[1], "b")) == "step b: member 3 is away"

    run(body())


def test_what_a_member_sent_before_it_left_still_counts(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path, 2) as members:
            sent = asyncio.create_task(refusal(step(members[2])))
            await settle(lambda: bool(members[1]._arrived))
            waiting = asyncio.create_task(step(members[1]))
            await asyncio.sleep(0)
            members[2].links[1].close()
            assert await waiting == {2: b"2>1"}
            sent.cancel()

    run(body())


@pytest.mark.parametrize(
    "kind,body_",
    [
        (Kind.STEP, b""),
        (Kind.STEP, SESSION[:-1]),
        (Kind.STEP, SESSION),
        (Kind.STEP, frame(b"x" * 65)),
        (Kind.STEP, frame(b"x") + b"\0"),
        (Kind.STEP, frame(b"x", b"data")[:-1]),
        (Kind.ABORT, SESSION),
        (Kind.ABORT, bytes(Writer().fixed(SESSION, 32).var(b"r" * 513))),
        (Kind.ABORT, bytes(Writer().fixed(SESSION, 32).var(b"r")) + b"\0"),
        (Kind.REQUEST, frame(b"x")),
        (Kind.REPLY, frame(b"x")),
        (Kind.HELLO, frame(b"x")),
    ],
)
def test_a_frame_no_step_consists_of_ends_the_link(tmp_path: Path, kind: Kind, body_: bytes) -> None:
    async def body() -> None:
        async with meshes(tmp_path, 2) as members:
            waiting = asyncio.create_task(refusal(step(members[1])))
            await asyncio.sleep(0)
            members[2].links[1].send(kind, body_)
            assert await waiting == "step a: members [2] left"

    run(body())


def test_a_step_sent_twice_ends_the_link_and_keeps_the_first(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path) as members:
            for data in (b"one", b"two"):
                members[2].links[1].send(Kind.STEP, frame(b"a", data))
            await settle(lambda: 2 not in members[1].links)
            assert members[1]._arrived[SESSION, b"a"] == {2: b"one"}
            assert 3 in members[1].links

    run(body())


def test_a_flood_of_steps_ends_the_flooders_link_only(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path) as members:
            for k in range(module.MAX_STEPS_WAITING + 1):
                members[2].links[1].send(Kind.STEP, frame(b"%d" % k))
            await settle(lambda: 2 not in members[1].links)
            assert len(members[1]._arrived) == module.MAX_STEPS_WAITING
            # Member 3 is not made to pay for it.
            members[3].links[1].send(Kind.STEP, frame(b"a"))
            await settle(lambda: (SESSION, b"a") in members[1]._arrived)
            assert 3 in members[1].links

    run(body())


def test_a_flood_of_aborts_is_bounded(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path, 2) as members:
            for k in range(2 * module.MAX_STEPS_WAITING):
                members[2].abort(k.to_bytes(32), "no")
            last = (2 * module.MAX_STEPS_WAITING - 1).to_bytes(32)
            await settle(lambda: last in members[1]._aborted[2])
            assert len(members[1]._aborted[2]) == module.MAX_STEPS_WAITING

    run(body())


def test_a_flood_of_aborts_hides_nobody_elses(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path) as members:
            members[3].abort(SESSION, "wrong mask")
            await settle(lambda: SESSION in members[1]._aborted[3])
            for k in range(module.MAX_STEPS_WAITING + 1):
                members[2].abort(k.to_bytes(32), "no")
            await settle(lambda: module.MAX_STEPS_WAITING.to_bytes(32) in members[1]._aborted[2])
            assert await refusal(step(members[1])) == "member 3: wrong mask"

    run(body())


def test_a_session_that_is_over_keeps_nothing_and_never_starts_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path, 2) as members:
            members[2].links[1].send(Kind.STEP, frame(b"a"))
            await settle(lambda: bool(members[1]._arrived))
            members[1].forget(SESSION)
            assert not members[1]._arrived
            members[2].links[1].send(Kind.STEP, frame(b"b"))
            members[2].abort(SESSION, "late")
            members[2].links[1].send(Kind.STEP, frame(b"c", session=OTHER))
            await settle(lambda: bool(members[1]._arrived))
            assert list(members[1]._arrived) == [(OTHER, b"c")]
            assert not members[1]._aborted[2]
            assert await refusal(step(members[1])) == "step a: the session is over"

    run(body())


def test_evaluator_traffic_goes_its_own_way(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path, 2) as members:
            heard: list[tuple[int, bytes]] = []
            members[1].on_mpc = lambda peer, data: heard.append((peer, data))
            members[2].send_mpc(1, b"one")
            members[2].send_mpc(1, b"")
            members[2].send_mpc(3, b"to nobody")
            await settle(lambda: len(heard) == 2)
            assert heard == [(2, b"one"), (2, b"")]
            assert not members[1]._arrived

    run(body())


def test_traffic_is_counted(tmp_path: Path) -> None:
    async def body() -> None:
        async with meshes(tmp_path) as members:
            await asyncio.gather(*(step(m) for m in members.values()))
            assert [m.frames for m in members.values()] == [4] * 3
            assert len({m.octets for m in members.values()}) == 1

    run(body())

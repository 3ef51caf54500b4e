"""A committee of real member processes: killed one by one, they come back and find each other."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from commitments.params import INSECURE_TEST
from commitments.threshold import safe_prime
from darkpool.committee.home import SEAT, Home
from darkpool.committee.meeting import MAX_SOCKET_PATH, Group, Sockets
from darkpool.committee.member_link import MemberLink
from darkpool.committee.members import MODULE, Members
from darkpool.committee.seat import Seat, seats_from_primes
from darkpool.errors import ConfigError
from darkpool.message import Message
from darkpool.netting import Signers

ROOT = Path(__file__).parent.parent
LIMIT = 60.0


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """A test's body within a time limit."""
    asyncio.run(asyncio.wait_for(coroutine, 4 * LIMIT))


@pytest.fixture
def homes(tmp_path: Path) -> list[Path]:
    primes = [safe_prime(INSECURE_TEST.modulus_bits // 2) for _ in range(2)]
    dealt = seats_from_primes(primes[0], primes[1], 3, 1)
    signers = Signers(1, {seat.index: seat.signer for seat in dealt})
    folders = [tmp_path / f"member-{seat.index}" for seat in dealt]
    for seat, folder in zip(dealt, folders, strict=True):
        Home(signers).save(folder, seat)
    return folders


@pytest.fixture
def sockets() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dp-") as folder:
        yield Path(folder)


def met(homes: list[Path], sockets: Path) -> Sockets:
    """Where the members of those homes meet."""
    return Sockets(sockets, Group.of(Seat.load(homes[0] / SEAT).committee))


def test_members_killed_one_by_one_come_back_and_find_each_other(homes: list[Path], sockets: Path) -> None:
    async def body() -> None:
        links = [MemberLink(met(homes, sockets), index, patience=LIMIT) for index in (1, 2, 3)]

        async def peers(link: MemberLink) -> int:
            status = await link.ask(Message("status"), LIMIT)
            return len(status.fields["peers"])

        async def start(generation: int) -> None:
            """New evaluators, whose traffic needs, and would not wait for, all links among the members."""
            for link in links:
                while await peers(link) < 2:  # noqa: ASYNC110 - members do not announce it
                    await asyncio.sleep(0.005)
            request = Message("start", {"generation": generation, "members": [1, 2, 3]})
            replies = await asyncio.gather(*(link.ask(request, LIMIT) for link in links))
            assert [reply.op for reply in replies] == ["started"] * 3

        async with Members(homes, [str(sockets)]) as members:
            await start(1)
            for generation, name in enumerate(("member-2", "member-1", "member-3"), 2):
                link = links[int(name[-1]) - 1]
                before, pid = await link.here(), members.pids[name]
                os.kill(pid, signal.SIGKILL)
                while await link.here() == before:  # noqa: ASYNC110 - the loss is not announced
                    await asyncio.sleep(0.005)
                assert members.pids[name] != pid
                await start(generation)
            assert not members.given_up
        for link in links:
            await link.close()
        assert not any(members.pids)

    run(body())


def test_a_member_with_a_bad_seat_is_not_started_again(homes: list[Path], sockets: Path) -> None:
    async def body() -> None:
        (homes[1] / SEAT).write_text("{}")
        async with Members(homes, [str(sockets)]) as members:
            with pytest.raises(ConfigError, match="member-2 ended with exit code 2"):
                await members.wait()
            link = MemberLink(met(homes, sockets), 1, patience=LIMIT)
            assert (await link.ask(Message("status"), LIMIT)).op == "status"
            await link.close()
        assert "error: " in (homes[1] / "member.log").read_text()

    run(body())


def test_other_programs_can_take_a_members_place(homes: list[Path], sockets: Path) -> None:
    async def body() -> None:
        modules = [MODULE, "tests.no_such_program", MODULE]
        async with Members(homes, [str(sockets)], modules, restart=False) as members:
            with pytest.raises(ConfigError, match="member-2 ended with exit code 1"):
                await members.wait()
        with pytest.raises(ValueError, match="shorter"):
            Members(homes, [str(sockets)], modules[:2])

    run(body())


def test_a_folder_for_sockets_is_private_and_its_path_short(tmp_path: Path) -> None:
    group = Group(bytes(32), 3, 1)
    fits = MAX_SOCKET_PATH - len(str(Sockets(tmp_path, group).path(3))) - 1
    for length in (fits, fits + 1):
        (tmp_path / ("x" * length)).mkdir(mode=0o700)
    folder = tmp_path / ("x" * fits)
    Sockets(folder, group).check()
    with pytest.raises(ConfigError, match="longer than 107 bytes"):
        Sockets(tmp_path / ("x" * (fits + 1)), group).check()
    for mode in (0o710, 0o701, 0o755):
        folder.chmod(mode)
        with pytest.raises(ConfigError, match="others may enter"):
            Sockets(folder, group).check()


@pytest.mark.parametrize("how", ["stdin", "sigterm"])
def test_a_member_ends_with_its_parent(homes: list[Path], sockets: Path, how: str) -> None:
    async def listening() -> None:
        link = MemberLink(met(homes, sockets), 1, patience=LIMIT)
        await link.here()
        await link.close()

    with subprocess.Popen(
        [sys.executable, "-m", MODULE, str(homes[0]), str(sockets)], cwd=ROOT, stdin=subprocess.PIPE
    ) as process:
        run(listening())
        if how == "stdin":
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.terminate()
        assert process.wait(LIMIT) == 0
    assert "Traceback" not in (homes[0] / "member.log").read_text()

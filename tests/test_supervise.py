"""Programs kept running: restarts, their pauses, the end of all of them, also when we are killed."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from darkpool import supervise as module
from darkpool.errors import ConfigError
from darkpool.supervise import Supervised, Supervisor

ROOT = Path(__file__).parent.parent
LIMIT = 10.0
WATCHES = ("cat",)  # ends with its standard input
DEAF = ("sleep", "1000")  # does not
STUBBORN = ("sh", "-c", "trap '' TERM; while :; do sleep 1000; done")


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """A test's body within a time limit."""
    asyncio.run(asyncio.wait_for(coroutine, 30))


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def program(folder: Path, argv: tuple[str, ...], name: str = "program", **options: Any) -> Supervised:  # noqa: ANN401
    return Supervised(name, argv, folder / f"{name}.log", **options)


async def settle(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 - nothing tells when another process has done something
            await asyncio.sleep(0.005)


def has_ended(watched: int) -> bool:
    """Whether the process of that pidfd has ended within the limit."""
    ended = bool(select.select([watched], [], [], LIMIT)[0])
    os.close(watched)
    return ended


class Pauses:
    """In place of sleeping: takes no time, until there were enough."""

    def __init__(self, enough: int) -> None:
        self.seen: list[float] = []
        self.enough = asyncio.Event()
        self._enough = enough

    async def __call__(self, seconds: float) -> None:
        self.seen.append(seconds)
        if len(self.seen) == self._enough:
            self.enough.set()
            await asyncio.Event().wait()


def clock(lives: Iterable[float]) -> Callable[[], float]:
    """A clock by which the program's lives last so long."""

    def times() -> Iterator[float]:
        now = 1_000.0
        for life in lives:
            yield now
            now += life
            yield now
        while True:
            yield now

    ticking = times()
    return lambda: next(ticking)


def test_a_program_that_ends_is_started_again_ever_more_slowly(tmp_path: Path) -> None:
    async def body() -> None:
        pauses = Pauses(7)
        failing = program(tmp_path, shell("echo started; exit 3"))
        async with Supervisor([failing], sleep=pauses, clock=clock([29.9] * 7)) as supervisor:
            await pauses.enough.wait()
            assert not supervisor.pids
            assert not supervisor.given_up
        assert pauses.seen == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
        assert failing.log.read_text() == "started\n" * 7

    run(body())


def test_a_program_that_ran_for_long_starts_over_with_the_first_pause(tmp_path: Path) -> None:
    async def body() -> None:
        pauses = Pauses(5)
        lives = clock([0, 0, 30, 0, 0])
        async with Supervisor([program(tmp_path, shell("exit 0"))], sleep=pauses, clock=lives):
            await pauses.enough.wait()
        assert pauses.seen == [0.2, 0.4, 0.2, 0.4, 0.8]

    run(body())


def test_a_killed_program_is_another_process_soon(tmp_path: Path) -> None:
    async def body() -> None:
        async with Supervisor([program(tmp_path, WATCHES, "a"), program(tmp_path, WATCHES, "b")]) as both:
            await settle(lambda: len(both.pids) == 2)
            before = dict(both.pids)
            os.kill(before["a"], signal.SIGKILL)
            await settle(lambda: both.pids.get("a", before["a"]) != before["a"])
            assert both.pids["b"] == before["b"]

    run(body())


@pytest.mark.parametrize("code, restart", [(2, True), (2, False), (9, False), (0, False)])
def test_some_programs_are_given_up(tmp_path: Path, code: int, restart: bool) -> None:
    async def body() -> None:
        hopeless = program(tmp_path, shell(f"exit {code}"), "hopeless")
        other = program(tmp_path, WATCHES, "other")
        async with Supervisor([other, hopeless], restart=restart, sleep=Pauses(1)) as supervisor:
            with pytest.raises(ConfigError) as caught:
                await supervisor.wait()
            assert caught.value.message == f"hopeless ended with exit code {code}"
            assert str(hopeless.log) in caught.value.hint
            assert set(supervisor.given_up) == {"hopeless"}
            await settle(lambda: set(supervisor.pids) == {"other"})

    run(body())


@pytest.mark.parametrize(
    "argv, log, reason",
    [
        (("/nonexistent/program",), "a.log", "cannot be started: No such file"),
        (("/",), "a.log", "cannot be started: Permission denied"),
        (WATCHES, "none/a.log", "cannot be started: No such file"),
    ],
)
def test_what_cannot_be_started_is_given_up(
    tmp_path: Path, argv: tuple[str, ...], log: str, reason: str
) -> None:
    async def body() -> None:
        async with Supervisor([Supervised("a", argv, tmp_path / log)]) as supervisor:
            with pytest.raises(ConfigError, match=f"a {reason}"):
                await supervisor.wait()

    run(body())


def test_a_deaf_program_that_cannot_be_started_says_so_in_its_log(tmp_path: Path) -> None:
    async def body() -> None:
        deaf = program(tmp_path, ("/nonexistent/program",), watches_stdin=False)
        async with Supervisor([deaf]) as supervisor:
            with pytest.raises(ConfigError, match="exit code 2"):
                await supervisor.wait()
        assert "error: /nonexistent/program cannot be started: No such file" in deaf.log.read_text()

    run(body())


def test_output_goes_to_a_log_for_its_owner_only(tmp_path: Path) -> None:
    async def body() -> None:
        talking = program(
            tmp_path, shell("echo $COLOUR; echo red >&2; exit 2"), environment={"COLOUR": "blue"}
        )
        talking.log.write_text("before\n")
        talking.log.chmod(0o600)
        for _ in range(2):
            async with Supervisor([talking]) as supervisor:
                with pytest.raises(ConfigError):
                    await supervisor.wait()
        assert talking.log.read_text() == "before\n" + "blue\nred\n" * 2
        fresh = program(tmp_path, shell("exit 2"), "fresh")
        async with Supervisor([fresh]) as supervisor:
            with pytest.raises(ConfigError):
                await supervisor.wait()
        assert stat.S_IMODE(fresh.log.stat().st_mode) == 0o600

    run(body())


def test_arguments_and_environment_are_not_shown() -> None:
    secret = Supervised("a", ("x", "--key=secret"), Path("a.log"), {"KEY": "secret"})
    assert "secret" not in repr(secret)


@pytest.mark.parametrize(
    "argv, watches, grace",
    [
        (WATCHES, True, 1_000.0),  # by its standard input alone
        (DEAF, False, 1_000.0),  # by SIGTERM at once
        (DEAF, True, 0.1),  # by SIGTERM after a while
        (STUBBORN, False, 0.1),  # killed
        (STUBBORN, True, 0.1),
    ],
)
def test_all_programs_end_with_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], watches: bool, grace: float
) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", grace)

    async def body() -> None:
        programs = [program(tmp_path, argv, name, watches_stdin=watches) for name in ("a", "b")]
        async with Supervisor(programs) as supervisor:
            await settle(lambda: len(supervisor.pids) == 2)
            watched = [os.pidfd_open(pid) for pid in supervisor.pids.values()]
        assert not supervisor.pids
        assert all(map(has_ended, watched))

    run(body())


@pytest.mark.parametrize("ends", ["exit 3", "exec cat"])
def test_what_a_program_leaves_behind_is_killed(tmp_path: Path, ends: str) -> None:
    async def body() -> None:
        left = tmp_path / "left"
        leaving = program(tmp_path, shell(f"sleep 1000 & echo $! > {left}.new; mv {left}.new {left}; {ends}"))
        pauses = Pauses(1)
        async with Supervisor([leaving], sleep=pauses):
            await settle(left.exists)
            if ends == "exit 3":
                await pauses.enough.wait()
        with suppress(ProcessLookupError):  # unless whoever inherited it has buried it already
            assert has_ended(os.pidfd_open(int(left.read_text())))

    run(body())


SUPERVISOR = """
import asyncio
from pathlib import Path
from darkpool.supervise import Supervised, Supervisor

async def main():
    programs = [
        Supervised("watching", ("cat",), Path("watching.log")),
        Supervised("deaf", ("sleep", "1000"), Path("deaf.log"), watches_stdin=False),
    ]
    async with Supervisor(programs) as supervisor:
        while len(supervisor.pids) < 2:
            await asyncio.sleep(0.01)
        deaf = Path("/proc", str(supervisor.pids["deaf"]), "comm")
        while deaf.read_text() != "sleep\\n":
            await asyncio.sleep(0.01)
        print(*supervisor.pids.values(), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_all_programs_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as supervisor:
        assert supervisor.stdout is not None
        watched = [os.pidfd_open(int(pid)) for pid in supervisor.stdout.readline().split()]
        assert len(watched) == 2
        supervisor.kill()
        supervisor.wait(LIMIT)
        assert all(map(has_ended, watched))


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "usage"),
        (["1"], "usage"),
        (["-1", "true"], "usage"),
        (["one", "true"], "usage"),
        (["1", "true"], ""),  # whoever started it is not its parent any more
    ],
)
def test_nothing_is_started_for_a_parent_that_is_gone_or_unnamed(arguments: list[str], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "darkpool.supervise_child", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(said)

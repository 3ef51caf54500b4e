"""Programs kept running: started, started again when they end, and ended with us, even if we are killed.

Every program is the leader of a process group of its own, so that whatever it started ends with it, and a
terminal's Ctrl-C reaches us alone. Its standard input is a pipe we hold: it ends when we do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from darkpool.errors import EXIT_USAGE, ConfigError

FIRST_PAUSE: Final = 0.2  # seconds before a program is started again, doubling up to ...
LAST_PAUSE: Final = 5.0
STEADY_SECONDS: Final = 30.0  # a program that ran so long starts over with the first pause
GRACE_SECONDS: Final = 5.0  # to end by itself, and again after SIGTERM

log = logging.getLogger("darkpool.supervise")


@dataclass(frozen=True, slots=True)
class Supervised:
    """A program: its arguments, what it adds to our environment, and the log its output is appended to.

    `watches_stdin`: it ends by itself when its standard input does (parent.py). Others get SIGTERM to end,
    and are killed by the kernel if we die (supervise_child.py).
    """

    name: str
    argv: Sequence[str] = field(repr=False)
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    watches_stdin: bool = True

    @property
    def command(self) -> Sequence[str]:
        """What is executed by this process."""
        if self.watches_stdin:
            return self.argv
        return (sys.executable, "-m", "darkpool.supervise_child", str(os.getpid()), *self.argv)


class Supervisor:
    """Keeps programs running for the length of an `async with` block, and ends them all at its end.

    Use it on the main thread: the kernel binds a child to the thread that started it. Programs that must end
    in an order are kept by nested supervisors. A program that ends with exit code 2 (a setting or a seat it
    cannot work with) or cannot be started is given up, and so is any that ends if `restart` is false.
    """

    def __init__(
        self,
        programs: Sequence[Supervised],
        *,
        restart: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.pids: dict[str, int] = {}  # of the programs that run, by name
        self.given_up: dict[str, ConfigError] = {}
        self._programs, self._restart, self._clock, self._sleep = programs, restart, clock, sleep
        self._tasks: list[asyncio.Task[None]] = []
        self._hopeless = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._keep(program)) for program in self._programs]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait(self) -> None:
        """Wait for the first program that is given up. Raises ConfigError, which names it and its log."""
        await self._hopeless.wait()
        raise next(iter(self.given_up.values()))

    async def _keep(self, program: Supervised) -> None:
        pause = FIRST_PAUSE
        while True:
            since = self._clock()
            try:
                code = await self._run(program)
            except OSError as error:
                return self._give_up(program, f"cannot be started: {error.strerror}")
            if code == EXIT_USAGE or not self._restart:
                return self._give_up(program, f"ended with exit code {code}")
            if self._clock() - since >= STEADY_SECONDS:
                pause = FIRST_PAUSE
            log.warning(
                "%s ended with exit code %d; again in %g s; see %s", program.name, code, pause, program.log
            )
            await self._sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)

    def _give_up(self, program: Supervised, why: str) -> None:
        error = ConfigError(f"{program.name} {why}", f"read {program.log}")
        log.error("%s; given up", error)
        self.given_up[program.name] = error
        self._hopeless.set()

    async def _run(self, program: Supervised) -> int:
        """One life of a program; its exit code, negative for a signal. Cancelling ends it."""
        output = os.open(program.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **program.environment},
                start_new_session=True,
            )
        finally:
            os.close(output)
        self.pids[program.name] = process.pid
        log.info("%s runs as process %d", program.name, process.pid)
        try:
            return await process.wait()
        finally:
            await _end(process, program)
            del self.pids[program.name]


async def _end(process: asyncio.subprocess.Process, program: Supervised) -> None:
    """End a program that may have ended, and whatever it started."""
    if process.stdin is not None:
        process.stdin.close()
    if not (program.watches_stdin and await _ended(process)):
        _signal_group(process, signal.SIGTERM)
        if not await _ended(process):
            log.warning("%s does not end; killed", program.name)
    _signal_group(process, signal.SIGKILL)
    await process.wait()


async def _ended(process: asyncio.subprocess.Process) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    return process.returncode is not None


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # The group's number stays taken while any of its processes is left; if none is, there is no such group.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)

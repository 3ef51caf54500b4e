"""Heavy work on a Ray cluster, through a child process that alone speaks to it (workers_ray_child.py).

So whatever Ray does to a process whose cluster goes away, it does to the child, and nothing of this process,
which may hold a key share, can reach the cluster but the bytes of a request. What the cluster does not answer
in time, or answers wrongly, is done by processes of this machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import count
from typing import Final, Self

from commitments.errors import DecodeError
from commitments.paillier import PublicKey
from darkpool.devnet import PYTHONPATH
from darkpool.errors import ConfigError
from darkpool.message import Message
from darkpool.tasks import guarded
from darkpool.work import MAX_ANSWER, read_answer, warm
from darkpool.workers import Workers

HEAD_BYTES: Final = 13  # length of what follows, number of the request, whether it was done
READY: Final = 0
MAX_AT_ONCE: Final = 256
START_SECONDS: Final = 30.0  # that who starts waits for a cluster
PAUSE_SECONDS: Final = 5.0  # before a child that ended is started again
_LINE_BYTES: Final = 500

log = logging.getLogger("darkpool.workers")


class _NotDone(Exception):  # noqa: N818 - says what happened
    """The cluster did not do it."""


class Ray:
    """The workers of a cluster at an address ("HOST:PORT", "auto"); `local` does what it does not.

    at_once: its processors when it was found first, or as many as `local` takes. Raises ConfigError if Ray is
    not installed.
    """

    def __init__(
        self,
        key: PublicKey,
        local: Workers,
        seconds: float,
        address: str,
        program: Sequence[str] = (sys.executable, "-m", "darkpool.workers_ray_child"),
    ) -> None:
        if find_spec("ray") is None:
            raise ConfigError(
                "workers: kind is ray, which is not installed", "pip install 'darkpool[cluster]'"
            )
        self.at_once = local.at_once
        self._key, self._local, self._seconds, self._program = key, local, seconds, (*program, address)
        self._room = asyncio.Semaphore(2 * MAX_AT_ONCE)
        self._child: asyncio.subprocess.Process | None = None
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._ready, self._looked = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = guarded(self._keep(), "workers on the cluster")
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._looked.wait()
                # As for processes: what the first orders need is imported and built now.
                request = warm(self._key)
                await asyncio.gather(
                    *(self._sent(request) for _ in range(self.at_once)), return_exceptions=True
                )
        return self

    async def __aexit__(self, *arguments: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._local.__aexit__(*arguments)

    async def ask(self, request: bytes) -> Message:
        """As `Workers.ask`."""
        async with self._room:
            try:
                async with asyncio.timeout(self._seconds):
                    return read_answer(request, await self._sent(request))
            except (_NotDone, TimeoutError, DecodeError) as error:
                log.warning("workers: %s; done on this machine", str(error) or "the cluster takes too long")
        return await self._local.ask(request)

    async def _sent(self, request: bytes) -> bytes:
        child = self._child
        if child is None or child.stdin is None or not self._ready.is_set():
            raise _NotDone("the cluster is away")
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            child.stdin.write(len(request).to_bytes(4, "big") + number.to_bytes(8, "big") + request)
            await child.stdin.drain()
            return await answer
        except OSError:
            raise _NotDone("its process ended") from None
        finally:
            del self._waiting[number]

    # --- the child ----------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            code = await self._run()
            log.warning("the process that speaks to the cluster ended with exit code %d", code)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _run(self) -> int:
        """One life of the child; its exit code."""
        child = await asyncio.create_subprocess_exec(
            *self._program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ray would tell its makers that it is used.
            env={**os.environ, **PYTHONPATH, "RAY_USAGE_STATS_ENABLED": "0"},
            start_new_session=True,
        )
        self._child = child
        try:
            await self._read(child)
        finally:
            self._child = None
            self._ready.clear()
            self._looked.set()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(_NotDone("its process ended"))
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        return child.returncode or 0

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        """Take answers until the child ends, or says what it must not."""
        stream = child.stdout
        if stream is None:
            raise AssertionError("it was started with a pipe")
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = await stream.readexactly(HEAD_BYTES)
                length, number = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:12], "big")
                if length > MAX_ANSWER:
                    log.error("workers: an answer of %d bytes, at most %d", length, MAX_ANSWER)
                    return
                body = await stream.readexactly(length)
                if number == READY:
                    self._begin(int.from_bytes(body, "big"))
                elif (answer := self._waiting.get(number)) is not None and not answer.done():
                    if head[12]:
                        answer.set_result(body)
                    else:
                        answer.set_exception(_NotDone(body[:_LINE_BYTES].decode("utf-8", "replace")))

    def _begin(self, processors: int) -> None:
        if not self._ready.is_set():
            log.info("the cluster has %d processors", processors)
            self.at_once = min(max(1, processors), MAX_AT_ONCE)
            self._ready.set()
            self._looked.set()

"""Who does the heavy work (work.py): processes of this machine, or a Ray cluster (workers_ray.py).

Work that fails is done again elsewhere, and if that fails too, not at all: `ask` raises Unavailable, so an
order whose proof nobody verified is neither accepted nor refused. What waits is bounded: `ask` begins when
there is room.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from contextvars import ContextVar
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Final, Protocol, Self

from commitments.errors import CommitmentsError
from commitments.paillier import PublicKey
from darkpool import work
from darkpool.admission import unproven
from darkpool.config import FILE, Settings, WorkersSettings
from darkpool.errors import OrderRefused, Unavailable
from darkpool.message import Message

MIN_TOGETHER: Final = 16
"""Orders that are not split any further: each costs less the more are verified together."""

log = logging.getLogger("darkpool.workers")


class Workers(Protocol):
    """Does work for the length of an `async with` block. `at_once`: requests that proceed side by side."""

    at_once: int

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def ask(self, request: bytes) -> Message:
        """The answer to a request of work.py. Raises Unavailable if nobody can do it.

        DecodeError if the answer says that the request is one that cannot be done.
        """


PRESENT: Final[ContextVar[Workers | None]] = ContextVar("workers", default=None)
"""The workers of this process, if what runs in it shall use them: see `present`."""


@asynccontextmanager
async def present(workers: Workers | None) -> AsyncIterator[None]:
    """Within the block, and for what is started in it, heavy work is done by these."""
    if workers is None:
        yield
        return
    async with workers:
        token = PRESENT.set(workers)
        try:
            yield
        finally:
            PRESENT.reset(token)


def chosen(settings: WorkersSettings, key: PublicKey, processes: int) -> Workers:
    """Those of the settings; `processes` on this machine, 0 for one a core. Raises ConfigError."""
    local = Processes(key, processes or os.cpu_count() or 1, settings.seconds)
    if settings.kind == "processes":
        return local
    from darkpool.workers_ray import Ray  # nobody else needs it

    return Ray(key, local, settings.seconds, settings.address)


def of_member(home: Path, key: PublicKey) -> Workers | None:
    """Those that a darkpool.toml in a member's home names; None without one: the member works alone.

    Raises ConfigError.
    """
    if not (home / FILE).exists():
        return None
    settings = Settings.load(home)
    return chosen(settings.workers, key, settings.admission.workers)


async def refusals(
    workers: Workers | None, key: PublicKey, raws: Sequence[bytes], *, divided: bool = False
) -> dict[int, OrderRefused]:
    """`unproven` of screened orders, done by workers if there are any. Raises Unavailable.

    divided: among all workers, for who has nothing else for them meanwhile.
    """
    if workers is None:
        return unproven(key, raws)
    size = max(MIN_TOGETHER, -(-len(raws) // workers.at_once)) if divided else max(1, len(raws))
    starts = range(0, len(raws), size)
    parts = await asyncio.gather(*(_refusals(workers, key, raws[i : i + size]) for i in starts))
    return {start + i: r for start, part in zip(starts, parts, strict=True) for i, r in part.items()}


async def _refusals(workers: Workers, key: PublicKey, raws: Sequence[bytes]) -> dict[int, OrderRefused]:
    try:
        return work.read_refusals(await workers.ask(work.orders_request(key, raws)), len(raws))
    except CommitmentsError as error:
        log.warning("workers: %s; verified in this process", error)
        return await asyncio.to_thread(unproven, key, raws)


class Processes:
    """A pool of processes. One that dies is replaced, and its work tried once more."""

    def __init__(self, key: PublicKey, count: int, seconds: float) -> None:
        self.at_once = count
        self._key, self._seconds = key, seconds
        self._room = asyncio.Semaphore(2 * count)
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.at_once, get_context("spawn"), initializer=begin)

    async def __aenter__(self) -> Self:
        # They import and build their tables now, not with the first order.
        request = work.warm(self._key)
        loop = asyncio.get_running_loop()
        runs = [loop.run_in_executor(self._pool, work.answered, request) for _ in range(self.at_once)]
        await asyncio.gather(*runs)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def ask(self, request: bytes) -> Message:
        """As `Workers.ask`. A process that takes too long counts as dead."""
        loop = asyncio.get_running_loop()
        async with self._room:
            for _ in range(2):
                pool = self._pool
                try:
                    async with asyncio.timeout(self._seconds):
                        answer = await loop.run_in_executor(pool, work.answered, request)
                    return work.read_answer(request, answer)
                except (BrokenProcessPool, TimeoutError):
                    log.warning("a working process died or takes too long; starting others")
                    if self._pool is pool:
                        self._pool = self._new_pool()
                        _end(pool)
        raise Unavailable("workers: the processes died twice over this work", "venue")


def _end(pool: ProcessPoolExecutor) -> None:
    """Also of processes that hang. What others wait for from them is tried once more."""
    for process in dict(pool._processes or {}).values():  # noqa: SLF001 - Python 3.14 has `kill_workers`
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)


# --- in a process of the pool -----------------------------------------------------------------------


def begin() -> None:
    """Called first in every process of a pool."""
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's processes wait for work for ever when the process that made the pool was killed."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)

"""Orders on their way in: proofs verified by workers, in batches, then written in arrival order.

An order waits `batch_ms` for others to join it and, while all workers are at work, until one is free: the
more orders come, the larger the batches, and the less each costs. Batches are written in the order they were
formed, so arrival order is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from commitments.paillier import PublicKey
from darkpool.config import AdmissionSettings
from darkpool.engine import Committed, Draft
from darkpool.errors import Busy, DarkpoolError, OrderRefused, Unavailable
from darkpool.listing import ListedOrder
from darkpool.tasks import guarded
from darkpool.types import Address
from darkpool.workers import Workers, refusals

Commit = Callable[[Sequence[Draft]], Awaitable[list[Committed | OrderRefused]]]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A draft whose order's proof is not verified yet, and who waits for it."""

    draft: Draft
    order: ListedOrder
    answer: asyncio.Future[Committed] = field(repr=False)


class Intake:
    """The queue before the log. Use as an async context manager; `commit` writes entries."""

    def __init__(
        self, key: Callable[[], PublicKey], settings: AdmissionSettings, workers: Workers, commit: Commit
    ) -> None:
        self._key, self._settings, self._workers, self._commit = key, settings, workers, commit
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._inside: dict[bytes, _Waiting] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._workers.__aenter__()
        at_once = self._workers.at_once
        self._free = asyncio.Semaphore(at_once)
        self._batches: asyncio.Queue[tuple[list[_Waiting], asyncio.Future[dict[int, OrderRefused]]]] = (
            asyncio.Queue(at_once)
        )
        self._tasks = [guarded(self._form(), "forming batches"), guarded(self._write(), "writing batches")]
        return self

    async def __aexit__(self, *arguments: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiting in self._inside.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(Unavailable("venue: it is stopping", "venue"))
                waiting.answer.exception()
        await self._workers.__aexit__(*arguments)

    @property
    def size(self) -> int:
        """Orders waiting or being verified."""
        return len(self._inside)

    def holds(self, digest: bytes) -> bool:
        """Whether the order of that hash waits or is being verified."""
        return digest in self._inside

    def inside(self, account: Address) -> list[tuple[Draft, ListedOrder]]:
        """What the account has inside, in order, so that its next order can follow on it."""
        return [(w.draft, w.order) for w in self._inside.values() if w.order.account == account]

    async def decided(self, account: Address) -> None:
        """Returns once each order that the account has inside now is in the log or refused."""
        answers = [w.answer for w in self._inside.values() if w.order.account == account]
        if answers:
            await asyncio.wait(answers)

    async def submit(self, draft: Draft, order: ListedOrder) -> Committed:
        """The entry of an order that passed the cheap checks, once it is durable.

        The same order sent again while it is inside has the same answer. Raises OrderRefused, Busy,
        Unavailable, StoreError.
        """
        waiting = self._inside.get(order.hash)
        if waiting is None:
            if self.size >= self._settings.max_queue:
                raise Busy(f"admission: {self.size} orders wait already", 1, "queue-full")
            waiting = _Waiting(draft, order, asyncio.get_running_loop().create_future())
            self._inside[order.hash] = waiting
            self._queue.put_nowait(waiting)
        return await asyncio.shield(waiting.answer)

    # --- batches ------------------------------------------------------------------------------------

    async def _form(self) -> None:
        """Batches as they form, each for a worker that is free."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            ends = loop.time() + self._settings.batch_ms / 1000
            while len(batch) < self._settings.max_batch:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(ends):
                        batch.append(await self._queue.get())
                        continue
                break
            await self._free.acquire()
            while len(batch) < self._settings.max_batch and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            verdict = asyncio.ensure_future(self._verified([w.draft.blobs[0] for w in batch]))
            await self._batches.put((batch, verdict))

    async def _verified(self, raws: Sequence[bytes]) -> dict[int, OrderRefused]:
        """Refusals by position. Raises Unavailable if nobody can verify them."""
        try:
            return await refusals(self._workers, self._key(), raws)
        finally:
            self._free.release()

    async def _write(self) -> None:
        while True:
            batch, verdict = await self._batches.get()
            try:
                refused = await verdict
                proven = [w for i, w in enumerate(batch) if i not in refused]
                answers = dict(zip(proven, await self._commit([w.draft for w in proven]), strict=True))
                for i, waiting in enumerate(batch):
                    _settle(waiting, refused[i] if i in refused else answers[waiting])
            except DarkpoolError as error:
                for waiting in batch:
                    _settle(waiting, error)
            finally:
                for waiting in batch:
                    self._inside.pop(waiting.order.hash, None)


def _settle(waiting: _Waiting, answer: Committed | DarkpoolError) -> None:
    if waiting.answer.done():
        return
    if isinstance(answer, Committed):
        waiting.answer.set_result(answer)
    else:
        waiting.answer.set_exception(answer)
        waiting.answer.exception()  # seen, also if nobody waits any more

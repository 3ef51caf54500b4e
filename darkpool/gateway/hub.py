"""One live view of the account, shared by everybody who listens to the gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, Self

from darkpool.client.live import Live, Told
from darkpool.errors import DarkpoolError

MAX_LISTENERS: Final = 64
_QUEUE: Final = 256
_PAUSE: Final = 5.0

log = logging.getLogger("darkpool.gateway")


class Hub:
    """Runs a live view, and with it the renewals. Use as an async context manager."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._listeners: set[asyncio.Queue[Told | None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for queue in self._listeners:
            queue.put_nowait(None)

    @property
    def full(self) -> bool:
        """Whether nobody else may listen."""
        return len(self._listeners) >= MAX_LISTENERS

    async def _run(self) -> None:
        while True:
            try:
                async for told in self._live.events():
                    self._tell(told)
            except DarkpoolError as error:
                log.warning("events: %s", error)
                self._tell(("error", {"message": error.message, "hint": error.hint}))
            await asyncio.sleep(_PAUSE)

    def _tell(self, told: Told) -> None:
        for queue in list(self._listeners):
            if queue.qsize() < _QUEUE:
                queue.put_nowait(told)
            else:  # too slow: it may come back
                self._listeners.discard(queue)
                queue.put_nowait(None)

    async def listen(self) -> AsyncIterator[Told]:
        """What happens from now on, until the reader lags too far behind or the gateway ends."""
        queue: asyncio.Queue[Told | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while (told := await queue.get()) is not None:
                yield told
        finally:
            self._listeners.discard(queue)

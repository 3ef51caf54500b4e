"""The venue's event stream: what was written, then what happens, to each reader what it may see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from darkpool.store.records import EventRow
from darkpool.types import Address

PAGE: Final = 200

ReadEvents: TypeAlias = Callable[[int, Address | None], Awaitable[Sequence[EventRow]]]
"""(after, account) -> the next events a reader may see, at most a page."""


class Events:
    """Readers of the stream. Each has a bounded queue: one too slow to keep up is disconnected."""

    def __init__(self, read: ReadEvents, queue: int) -> None:
        self._read, self._size = read, queue
        self._readers: dict[asyncio.Queue[EventRow | None], Address | None] = {}
        self._loop = asyncio.get_running_loop()

    def publish(self, rows: Sequence[EventRow]) -> None:
        """Tell readers of events that are written; from any thread."""
        if rows:
            self._loop.call_soon_threadsafe(self._deliver, list(rows))

    def _deliver(self, rows: Sequence[EventRow]) -> None:
        for queue, account in list(self._readers.items()):
            for row in rows:
                if row.account in {None, account}:
                    self._put(queue, row)

    def _put(self, queue: asyncio.Queue[EventRow | None], row: EventRow | None) -> None:
        if queue.qsize() < self._size:
            queue.put_nowait(row)
        elif self._readers.pop(queue, None) is not None or row is None:
            queue.put_nowait(None)

    async def subscribe(self, account: Address | None, after: int | None) -> AsyncGenerator[EventRow, None]:
        """Public events and the account's own, from the one after `after` on; None: only new ones.

        It ends for a reader that lags by more than the queue, which may come back with the last id it saw.
        """
        queue: asyncio.Queue[EventRow | None] = asyncio.Queue()
        self._readers[queue] = account
        try:
            seen = after
            while seen is not None:
                page = await self._read(seen, account)
                if not page:
                    break
                for row in page:
                    yield row
                seen = page[-1].id
            while (event := await queue.get()) is not None:
                if seen is None or event.id > seen:
                    yield event
        finally:
            self._readers.pop(queue, None)

    def close(self) -> None:
        """End every reader's stream."""
        for queue in list(self._readers):
            queue.put_nowait(None)

"""Records on their way into the audit log: those that come meanwhile join one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Final, TypeAlias

from commitments.errors import DecodeError
from compliance.audit_log import AuditLog
from compliance.audit_record import Kind, Record
from darkpool.store.database import StoreError
from darkpool.types import Address

Run: TypeAlias = Callable[[Callable[[], object]], Awaitable[object]]

_BATCH: Final = 1_000


class Recorder:
    """Writes to one audit log. What was noted and could not be written is tried again with the next.

    run: calls in the database's thread.
    """

    def __init__(self, log: AuditLog, run: Run, clock: Callable[[], float] = time.time) -> None:
        self.log: Final = log
        self._run, self._clock = run, clock
        self._noted: list[Record] = []
        self._turn = asyncio.Lock()

    @property
    def now(self) -> int:
        """Unix seconds."""
        return int(self._clock())

    def head(self) -> tuple[int, bytes]:
        """Size and root of what is durable."""
        head = self.log.head
        return head.size, head.root

    def note(self, *records: Record) -> None:
        """To be written with the next flush. Raises DecodeError for one that is out of bounds."""
        for record in records:
            record.encode()
        self._noted += records

    async def flush(self) -> None:
        """Returns once all that was noted is durable. Raises StoreError; then some of it is not."""
        # Once begun it must end, whoever asked and went away: what is written must not be written again.
        await asyncio.shield(asyncio.ensure_future(self._flush()))

    async def _flush(self) -> None:
        async with self._turn:
            while batch := self._noted[:_BATCH]:
                await self._run(partial(self.log.append, batch))
                del self._noted[: len(batch)]

    async def sign(self) -> None:
        """Flush, then keep a signed checkpoint of what is durable. Raises StoreError."""
        await self.flush()
        await self._run(self.log.checkpoint)

    async def write(self, records: Iterable[Record]) -> None:
        """Note them and flush. Raises StoreError, also for one that is out of bounds."""
        try:
            self.note(*records)
        except DecodeError as error:
            raise StoreError(f"audit log: {error}", "shorten it") from None
        await self.flush()

    async def __call__(
        self, kind: str, actor: str, body: Mapping[str, object], *, account: Address, visible_at: int
    ) -> None:
        """One record of disclosure (compliance/disclosure.py). Raises StoreError."""
        record = Record(Kind(kind), self.now, actor, account=account, visible_at=visible_at, body=body)
        await self.write([record])

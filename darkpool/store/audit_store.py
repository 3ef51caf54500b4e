"""The audit log on disk, and its signed checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, insert, or_, select

from darkpool.store.database import Database, StoreError
from darkpool.store.log_store import MAX_HASHES
from darkpool.store.records import AuditCheckpointRow, AuditRow
from darkpool.store.rows import AUDIT, AUDIT_CHECKPOINTS, MAX_PAGE, check_limit, clamped

_entries: Final = AUDIT.table.c
_notes: Final = AUDIT_CHECKPOINTS.table.c


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; None asks nothing.

    since: unix seconds; visible_at: a time by which the account may see them; below: sequences.
    """

    kind: str | None = None
    account: bytes | None = None
    since: int | None = None
    visible_at: int | None = None
    below: int | None = None

    def where(self) -> list[ColumnElement[bool]]:
        """As conditions."""
        found: list[ColumnElement[bool]] = []
        if self.kind is not None:
            found.append(_entries.kind == self.kind)
        if self.account is not None:
            found.append(_entries.account == self.account)
        if self.since is not None:
            found.append(_entries.at >= clamped(self.since))
        if self.visible_at is not None:
            found.append(or_(_entries.visible_at == 0, _entries.visible_at <= clamped(self.visible_at)))
        if self.below is not None:
            found.append(_entries.sequence < clamped(self.below))
        return found


class AuditStore:
    """Entries numbered from 0 without gap; what `append` has returned from survives any crash.

    Every method raises StoreError, and has then written nothing.
    """

    __slots__ = ("database",)

    def __init__(self, database: Database) -> None:
        self.database: Final = database

    def append(self, rows: Sequence[AuditRow]) -> None:
        """Adds entries that follow those there are, in one transaction; all are durable on return.

        Raises StoreError, and adds none, if the first is not numbered by the size of the log: anything else
        would fork it.
        """
        with self.database.writing("append to the audit log") as connection:
            size = _size_of(connection)
            if [row.sequence for row in rows] != list(range(size, size + len(rows))):
                raise StoreError(
                    f"audit log: the entries are no continuation, the log has {size}",
                    "one process may write to a log: end the others, and start this one again",
                )
            if rows:
                connection.execute(insert(AUDIT.table), [AUDIT.values(row) for row in rows])

    def size(self) -> int:
        """How many entries there are."""
        with self.database.reading("read the size of the audit log") as connection:
            return _size_of(connection)

    def rows(self, first: int, limit: int) -> list[AuditRow]:
        """At most `limit` (1 to MAX_PAGE) entries from number `first` on."""
        check_limit(limit, MAX_PAGE)
        query = AUDIT.select(_entries.sequence >= clamped(first)).order_by(_entries.sequence).limit(limit)
        with self.database.reading("read the audit log") as connection:
            return AUDIT.read(connection, query)

    def latest(self, asked: AuditFilter, limit: int) -> list[AuditRow]:
        """At most `limit` (1 to MAX_PAGE) of the entries asked for, the newest first."""
        check_limit(limit, MAX_PAGE)
        query = AUDIT.select(*asked.where()).order_by(_entries.sequence.desc()).limit(limit)
        with self.database.reading("search the audit log") as connection:
            return AUDIT.read(connection, query)

    def leaf_hashes(self, first: int, count: int) -> list[bytes]:
        """The Merkle leaf hashes of entries first to first + count - 1, of those there are.

        count: 1 to MAX_HASHES.
        """
        check_limit(count, MAX_HASHES)
        within = (_entries.sequence >= clamped(first), _entries.sequence < clamped(first + count))
        with self.database.reading("read the hashes of the audit log") as connection:
            return list(connection.scalars(select(_entries.leaf).where(*within).order_by(_entries.sequence)))

    def save_checkpoint(self, row: AuditCheckpointRow) -> None:
        """Keeps a checkpoint; the first one of a size stays."""
        with self.database.writing("keep a checkpoint of the audit log") as connection:
            size = _size_of(connection)
            if not 0 <= row.size <= size:
                raise StoreError(
                    f"audit checkpoint: of {row.size} entries, the log has {size}", "append them first"
                )
            AUDIT_CHECKPOINTS.add(connection, [row])

    def checkpoints(self, after: int, limit: int) -> list[AuditCheckpointRow]:
        """At most `limit` (1 to MAX_PAGE) checkpoints of more than `after` entries, by size."""
        check_limit(limit, MAX_PAGE)
        query = AUDIT_CHECKPOINTS.select(_notes.size > clamped(after)).order_by(_notes.size).limit(limit)
        with self.database.reading("read checkpoints of the audit log") as connection:
            return AUDIT_CHECKPOINTS.read(connection, query)


def _size_of(connection: Connection) -> int:
    last = connection.scalar(select(func.max(_entries.sequence)))
    return 0 if last is None else int(last) + 1

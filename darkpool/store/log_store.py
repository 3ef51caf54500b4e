"""The log on disk, and checkpoints of the state it folds into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from commitments.merkle import leaf_hash
from darkpool.store.database import Database, StoreError
from darkpool.store.rows import MAX_PAGE, check_limit, clamped
from darkpool.store.tables import Checkpoint, Entry, core

MAX_HASHES: Final = 1 << 20
"""Leaf hashes of one answer, 32 MiB."""

KEPT_CHECKPOINTS: Final = 2

_entries: Final = core(Entry)
_checkpoints: Final = core(Checkpoint)


class LogStore:
    """Entries numbered from 0 without gap; what `append` has returned from survives any crash."""

    __slots__ = ("database",)

    def __init__(self, database: Database) -> None:
        self.database: Final = database

    def append(self, first: int, entries: Sequence[bytes]) -> None:
        """Adds entries first, first + 1, …; all are durable on return.

        Raises StoreError, and adds none, unless `first` is the size of the log: anything else would fork it.
        """
        with self.database.writing("append to the log") as connection:
            size = size_of(connection)
            if first != size:
                raise StoreError(
                    f"log: an entry {first} is no continuation, the log has {size}",
                    "one process may write to a log: end the others, and start this one again",
                )
            if entries:
                rows = [
                    {"sequence": first + i, "leaf": leaf_hash(entry), "data": entry}
                    for i, entry in enumerate(entries)
                ]
                connection.execute(insert(_entries), rows)

    def size(self) -> int:
        """How many entries there are. Raises StoreError."""
        with self.database.reading("read the size of the log") as connection:
            return size_of(connection)

    def entry(self, sequence: int) -> bytes:
        """One entry. Raises StoreError, also if there is none of that number."""
        query = select(_entries.c.data).where(_entries.c.sequence == clamped(sequence))
        with self.database.reading("read the log") as connection:
            found = connection.scalar(query)
        if found is None:
            raise StoreError(f"log: there is no entry {sequence}", "ask for one below its size")
        return bytes(found)

    def entries(self, first: int, limit: int) -> list[bytes]:
        """At most `limit` (1 to MAX_PAGE) entries from number `first` on. Raises StoreError."""
        check_limit(limit, MAX_PAGE)
        query = select(_entries.c.data).where(_entries.c.sequence >= clamped(first))
        with self.database.reading("read the log") as connection:
            return list(connection.scalars(query.order_by(_entries.c.sequence).limit(limit)))

    def leaf_hashes(self, first: int, count: int) -> list[bytes]:
        """At most `count` (1 to MAX_HASHES) Merkle leaf hashes from entry `first` on. Raises StoreError."""
        check_limit(count, MAX_HASHES)
        query = select(_entries.c.leaf).where(_entries.c.sequence >= clamped(first))
        with self.database.reading("read the hashes of the log") as connection:
            return list(connection.scalars(query.order_by(_entries.c.sequence).limit(count)))

    def save_checkpoint(self, sequence: int, data: bytes) -> None:
        """Keeps the state after the first `sequence` entries, and drops all but the newest two.

        Raises StoreError, also for a state of entries the log does not have.
        """
        with self.database.writing("save a checkpoint") as connection:
            size = size_of(connection)
            if not 0 <= sequence <= size:
                raise StoreError(
                    f"checkpoint: of {sequence} entries, the log has {size}", "append them first"
                )
            connection.execute(delete(_checkpoints).where(_checkpoints.c.sequence == sequence))
            connection.execute(insert(_checkpoints).values(sequence=sequence, data=data))
            newest = select(_checkpoints.c.sequence).order_by(_checkpoints.c.sequence.desc())
            kept = connection.scalars(newest.limit(KEPT_CHECKPOINTS)).all()
            connection.execute(delete(_checkpoints).where(_checkpoints.c.sequence < kept[-1]))

    def checkpoint(self, below: int | None = None) -> tuple[int, bytes] | None:
        """The newest state kept and the number of entries it is of; with `below`, of fewer than so many.

        So whoever cannot use the newest asks for the one before. Raises StoreError.
        """
        query = select(_checkpoints.c.sequence, _checkpoints.c.data)
        if below is not None:
            query = query.where(_checkpoints.c.sequence < clamped(below))
        with self.database.reading("read a checkpoint") as connection:
            row = connection.execute(query.order_by(_checkpoints.c.sequence.desc()).limit(1)).first()
        return None if row is None else (row.sequence, row.data)


def size_of(connection: Connection) -> int:
    """The number of entries, within a transaction."""
    last = connection.scalar(select(func.max(_entries.c.sequence)))
    return 0 if last is None else int(last) + 1

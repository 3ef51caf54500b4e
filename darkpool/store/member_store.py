"""What a member keeps: its copy of the log, how far it went with each sealed list, orders handed to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from darkpool.store.database import StoreError
from darkpool.store.log_store import LogStore
from darkpool.store.records import AttemptRow, AttemptState, HandedRow, HandedState
from darkpool.store.rows import ATTEMPTS, HANDED, MAX_PAGE, check_limit, conflict_insert

_RANK: Final = {state: rank for rank, state in enumerate(AttemptState)}
_FINAL: Final = frozenset({AttemptState.SIGNED, AttemptState.ABANDONED})


class MemberStore(LogStore):
    """A member's database. Every method raises StoreError, and has then written nothing."""

    __slots__ = ()

    def record(self, row: AttemptRow) -> None:
        """Keeps how far the member is with a sealed list: a new list, or a later state of a known one.

        The same row again changes nothing. Raises StoreError for a step back, for another content of the
        same state, and for another round or root under the same digest: a member that could go back would
        open or sign two things for one list.
        """
        with self.database.writing("record an attempt") as connection:
            old = ATTEMPTS.first(connection, ATTEMPTS.select(ATTEMPTS.table.c.digest == row.digest))
            if old == row:
                return
            if old is not None:
                _check_step(old, row)
            ATTEMPTS.upsert(connection, [row])

    def attempt(self, digest: bytes) -> AttemptRow | None:
        """How far the member is with the list it sealed under that digest."""
        with self.database.reading("read an attempt") as connection:
            return ATTEMPTS.first(connection, ATTEMPTS.select(ATTEMPTS.table.c.digest == digest))

    def latest(self, market: bytes) -> AttemptRow | None:
        """The list of a market the member sealed last."""
        c = ATTEMPTS.table.c
        query = ATTEMPTS.select(c.market == market).order_by(c.position.desc())
        with self.database.reading("read an attempt") as connection:
            return ATTEMPTS.first(connection, query)

    def hand(self, row: HandedRow) -> None:
        """Keeps an order handed to the member; one that is waiting or logged stays as it is.

        One refused before waits again: what stood against it may have passed.
        """
        c = HANDED.table.c
        with self.database.writing("keep a handed order") as connection:
            statement = conflict_insert(connection, HANDED.table).values(HANDED.values(row))
            again = {"raw": row.raw, "state": row.state, "reason": row.reason, "received_at": row.received_at}
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=HANDED.key, set_=again, where=c.state == HandedState.REFUSED
                )
            )

    def handed(self, order_hash: bytes) -> HandedRow | None:
        """What became of an order handed to the member."""
        with self.database.reading("read a handed order") as connection:
            return HANDED.first(connection, HANDED.select(HANDED.table.c.hash == order_hash))

    def waiting(self, limit: int = MAX_PAGE) -> list[HandedRow]:
        """The oldest orders, 1 to MAX_PAGE, that are neither logged nor refused."""
        check_limit(limit)
        c = HANDED.table.c
        query = HANDED.select(c.state == HandedState.WAITING).order_by(c.position).limit(limit)
        with self.database.reading("read handed orders") as connection:
            return HANDED.read(connection, query)

    def mark(self, order_hash: bytes, state: HandedState, reason: str = "") -> None:
        """Notes what became of a handed order. Raises StoreError for an unknown one, and after `logged`."""
        with self.database.writing("mark a handed order") as connection:
            old = HANDED.first(connection, HANDED.select(HANDED.table.c.hash == order_hash))
            if old is None:
                raise StoreError(f"handed order: there is none of hash {order_hash.hex()}", "hand it first")
            if old.state is HandedState.LOGGED and state is not HandedState.LOGGED:
                raise StoreError(
                    f"handed order {order_hash.hex()}: it is logged, not {state}", "the log keeps it"
                )
            # Its bytes are in the log, or of no use any more.
            HANDED.upsert(connection, [replace(old, state=state, reason=reason, raw=b"")])


def _check_step(old: AttemptRow, new: AttemptRow) -> None:
    hint = "the member keeps to what it did; look for a second process with its seat"
    if (old.market, old.round, old.root) != (new.market, new.round, new.root):
        raise StoreError(
            f"attempt {old.digest.hex()}: it is round {old.round} under another root, not {new.round}", hint
        )
    if old.state in _FINAL or _RANK[new.state] <= _RANK[old.state]:
        raise StoreError(f"attempt {old.digest.hex()}: no step from {old.state} to {new.state}", hint)

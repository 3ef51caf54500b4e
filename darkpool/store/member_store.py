"""What a member keeps: the log, how far it went with each list, whom it charged, orders handed to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import func, insert, select, update

from darkpool.store.database import StoreError
from darkpool.store.log_store import LogStore
from darkpool.store.records import AttemptRow, AttemptState, BlameRow, HandedRow, HandedState, PinRow
from darkpool.store.rows import ATTEMPTS, BLAME, HANDED, MAX_PAGE, PINS, check_limit, conflict_insert

MAX_EVIDENCE_ROWS: Final = 100

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

    def pinned(self, row: PinRow) -> bytes:
        """The code kept for what was revealed in that step of that list: this one, if there was none."""
        c = PINS.table.c
        with self.database.writing("keep what was revealed") as connection:
            PINS.add(connection, [row])
            kept = PINS.first(connection, PINS.select(c.digest == row.digest, c.step == row.step))
        return row.code if kept is None else kept.code

    def revealed(self, digest: bytes) -> list[str]:
        """The steps in which something of that list was revealed to the member, by name."""
        c = PINS.table.c
        with self.database.reading("read what was revealed") as connection:
            return [
                row.step for row in PINS.read(connection, PINS.select(c.digest == digest).order_by(c.step))
            ]

    def charge(self, rows: Sequence[BlameRow]) -> None:
        """Keeps charges; of all but the latest MAX_EVIDENCE_ROWS the evidence is dropped."""
        c = BLAME.table.c
        with self.database.writing("keep a charge") as connection:
            connection.execute(insert(BLAME.table), [BLAME.values(row) for row in rows])
            newest = connection.execute(select(func.max(c.position))).scalar_one()
            old = update(BLAME.table).where(c.position <= newest - MAX_EVIDENCE_ROWS)
            connection.execute(old.values(evidence=b""))

    def charges(self, limit: int = MAX_PAGE) -> list[BlameRow]:
        """The latest charges, 1 to MAX_PAGE, newest first."""
        check_limit(limit)
        query = BLAME.select().order_by(BLAME.table.c.position.desc()).limit(limit)
        with self.database.reading("read charges") as connection:
            return BLAME.read(connection, query)

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
    if new.attempts < old.attempts:
        raise StoreError(f"attempt {old.digest.hex()}: {new.attempts} after {old.attempts}", hint)
    if old.state is not AttemptState.ABANDONED and new == replace(old, attempts=new.attempts):
        return
    if old.state in _FINAL or _RANK[new.state] <= _RANK[old.state]:
        raise StoreError(f"attempt {old.digest.hex()}: no step from {old.state} to {new.state}", hint)

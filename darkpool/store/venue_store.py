"""What the operator writes: the log, its read model, and what is in no log.

The read model ("projection") follows from the log alone: `projected` says how many entries are in it, and
after a crash the projection goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, delete, insert

from darkpool.store.database import StoreError
from darkpool.store.log_store import size_of
from darkpool.store.records import (
    AccountRow,
    BoxRow,
    EventRow,
    FillRow,
    OrderRow,
    ReceiptRow,
    RoundRow,
    SealedRow,
    SettlementRow,
    SettlementState,
)
from darkpool.store.rows import (
    ACCOUNTS,
    BOXES,
    EVENTS,
    FILLS,
    ORDERS,
    RECEIPTS,
    ROUNDS,
    SEALED,
    SETTLEMENTS,
    conflict_insert,
)
from darkpool.store.tables import Request, core
from darkpool.store.venue_reads import CURSORS, PROJECTION, VenueReads, projected_of

_REQUESTS: Final = core(Request)
_EVENT: Final = insert(EVENTS.table).returning(EVENTS.table.c.id, sort_by_parameter_order=True)

# Where a settlement may go; it may stay, to note another transaction.
_ONWARDS: Final[Mapping[SettlementState, frozenset[SettlementState]]] = {
    SettlementState.PENDING: frozenset(SettlementState),
    SettlementState.SUBMITTED: frozenset(SettlementState),  # its block may be reorganised away
    SettlementState.SETTLED: frozenset({SettlementState.SETTLED}),
    SettlementState.VOID: frozenset({SettlementState.VOID}),
}


@dataclass(frozen=True, slots=True)
class Changes:
    """What entries of the log change in the read model: rows that replace those of their key; new events."""

    orders: Sequence[OrderRow] = ()
    rounds: Sequence[RoundRow] = ()
    sealed: Sequence[SealedRow] = ()
    settlements: Sequence[SettlementRow] = ()
    fills: Sequence[FillRow] = ()
    boxes: Sequence[BoxRow] = ()
    events: Sequence[EventRow] = ()
    receipts: Sequence[ReceiptRow] = ()


class VenueStore(VenueReads):
    """The operator's database. Every method raises StoreError, and has then written nothing."""

    __slots__ = ()

    def project(self, up_to: int, changes: Changes) -> list[EventRow]:
        """Takes in what the entries from `projected()` up to, not including, `up_to` changed.

        Returns the events with their ids. Raises StoreError unless projected() < up_to <= size(): so nothing
        is taken in twice, or before it is in the log.
        """
        with self.database.writing("write the read model") as connection:
            done, size = projected_of(connection), size_of(connection)
            if not done < up_to <= size:
                raise StoreError(
                    f"read model: cannot go from {done} to {up_to} of {size} entries",
                    "project the entries that follow those it has",
                )
            ORDERS.upsert(connection, changes.orders)
            ROUNDS.upsert(connection, changes.rounds)
            SEALED.upsert(connection, changes.sealed)
            SETTLEMENTS.upsert(connection, changes.settlements)
            FILLS.upsert(connection, changes.fills)
            BOXES.upsert(connection, changes.boxes)
            RECEIPTS.add(connection, changes.receipts)
            cursor = conflict_insert(connection, CURSORS).values(name=PROJECTION, position=up_to)
            connection.execute(
                cursor.on_conflict_do_update(index_elements=["name"], set_={"position": up_to})
            )
            return _appended(connection, changes.events)

    def append_event(self, row: EventRow) -> EventRow:
        """Adds one event that follows from no entry; returns it with its id."""
        with self.database.writing("write an event") as connection:
            return _appended(connection, [row])[0]

    def save_receipts(self, rows: Iterable[ReceiptRow]) -> None:
        """Keeps receipts; the first one given for a subject stays."""
        with self.database.writing("write receipts") as connection:
            RECEIPTS.add(connection, rows)

    def register(self, row: AccountRow) -> None:
        """Keeps an account's registration; the first one stays."""
        with self.database.writing("register an account") as connection:
            ACCOUNTS.add(connection, [row])

    def remember_request(self, account: bytes, nonce: bytes, expires: int, now: int) -> bool:
        """Whether the account's request nonce is new; it is remembered until `expires` has passed.

        The caller has refused requests that expired before `now`: of those nothing is remembered.
        """
        with self.database.writing("remember a request") as connection:
            connection.execute(delete(_REQUESTS).where(_REQUESTS.c.expires < now))
            row = conflict_insert(connection, _REQUESTS).values(account=account, nonce=nonce, expires=expires)
            added = connection.scalar(row.on_conflict_do_nothing().returning(_REQUESTS.c.expires))
            return added is not None

    def update_settlement(  # each a column
        self,
        digest: bytes,
        *,
        state: SettlementState | None = None,
        payload: bytes | None = None,
        tx_hash: bytes | None = None,
        block: int | None = None,
        gas: int | None = None,
    ) -> SettlementRow:
        """Notes what became of a settlement, and returns it; None leaves a column as it is.

        One that is pending again is in no block, and has no transaction, block and gas.

        Raises StoreError for an unknown digest or a step back: what is settled or void stays so.
        """
        given: dict[str, Any] = {
            "state": state,
            "payload": payload,
            "tx_hash": tx_hash,
            "block": block,
            "gas": gas,
        }
        with self.database.writing("update a settlement") as connection:
            old = SETTLEMENTS.first(connection, SETTLEMENTS.select(SETTLEMENTS.table.c.digest == digest))
            if old is None:
                raise StoreError(f"settlement: there is none of digest {digest.hex()}", "project it first")
            new = replace(old, **{name: value for name, value in given.items() if value is not None})
            if state is SettlementState.PENDING:
                new = replace(new, tx_hash=None, block=None, gas=None)
            if new.state not in _ONWARDS[old.state]:
                raise StoreError(
                    f"settlement {old.id}: no step from {old.state} to {new.state}",
                    "the chain decides, read it again",
                )
            SETTLEMENTS.upsert(connection, [new])
            return new


def _appended(connection: Connection, rows: Sequence[EventRow]) -> list[EventRow]:
    """The events with their ids, which ascend as they do."""
    if not rows:
        return []
    values = [{k: v for k, v in EVENTS.values(row).items() if k != "id"} for row in rows]
    ids = connection.scalars(_EVENT, values)
    return [replace(row, id=int(number)) for row, number in zip(rows, ids, strict=True)]

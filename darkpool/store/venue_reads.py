"""What the operator's database answers: the read model of the log, and what is in no log.

Lists are pages of 1 to MAX_PAGE rows: ask again from the last row until none comes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, or_, select
from sqlalchemy import Table as CoreTable

from darkpool.market import RoundState
from darkpool.store.log_store import LogStore
from darkpool.store.records import (
    AccountRow,
    BoxRow,
    EventRow,
    FillRow,
    OrderRow,
    OrderState,
    ReceiptRow,
    RoundRow,
    SettlementRow,
    SettlementState,
)
from darkpool.store.rows import (
    ACCOUNTS,
    BOXES,
    EVENTS,
    FILLS,
    MAX_PAGE,
    ORDERS,
    RECEIPTS,
    ROUNDS,
    SEALED,
    SETTLEMENTS,
    check_limit,
    clamped,
)
from darkpool.store.tables import Cursor, core

PROJECTION: Final = "projection"
CURSORS: Final = core(Cursor)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows there are in each state; states without any are left out."""

    orders: Mapping[OrderState, int]
    rounds: Mapping[RoundState, int]
    settlements: Mapping[SettlementState, int]


class VenueReads(LogStore):
    """Every method raises StoreError when the database fails, and ValueError for a limit out of bounds."""

    __slots__ = ()

    def projected(self) -> int:
        """How many entries of the log the read model has taken in."""
        with self.database.reading("read the cursor") as connection:
            return projected_of(connection)

    def order(self, order_hash: bytes) -> OrderRow | None:
        """The order of that hash."""
        query = ORDERS.select(ORDERS.table.c.hash == order_hash)
        with self.database.reading("read an order") as connection:
            return ORDERS.first(connection, query)

    def order_by_nonce(self, account: bytes, nonce: int) -> OrderRow | None:
        """The one order an account may have under a nonce."""
        c = ORDERS.table.c
        with self.database.reading("read an order") as connection:
            return ORDERS.first(connection, ORDERS.select(c.account == account, c.nonce == nonce))

    def orders_by_hash(self, hashes: Sequence[bytes]) -> dict[bytes, OrderRow]:
        """Those of a round, say, by hash; the unknown are left out."""
        found: dict[bytes, OrderRow] = {}
        with self.database.reading("read orders") as connection:
            for start in range(0, len(hashes), MAX_PAGE):
                query = ORDERS.select(ORDERS.table.c.hash.in_(hashes[start : start + MAX_PAGE]))
                found.update((row.hash, row) for row in ORDERS.read(connection, query))
        return found

    def orders(  # each narrows the list
        self,
        account: bytes,
        *,
        market: bytes | None = None,
        states: Collection[OrderState] | None = None,
        after: int = -1,
        limit: int = MAX_PAGE,
    ) -> list[OrderRow]:
        """An account's orders by sequence, from the first above `after`."""
        check_limit(limit)
        c = ORDERS.table.c
        where: list[ColumnElement[bool]] = [c.account == account, c.sequence > clamped(after)]
        if market is not None:
            where.append(c.market == market)
        if states is not None:
            where.append(c.state.in_(states))
        with self.database.reading("read an account's orders") as connection:
            return ORDERS.read(connection, ORDERS.select(*where).order_by(c.sequence).limit(limit))

    def round(self, market: bytes, number: int) -> RoundRow | None:
        """One round."""
        c = ROUNDS.table.c
        with self.database.reading("read a round") as connection:
            return ROUNDS.first(connection, ROUNDS.select(c.market == market, c.number == clamped(number)))

    def rounds(self, market: bytes, *, before: int | None = None, limit: int = MAX_PAGE) -> list[RoundRow]:
        """A market's rounds from the newest down, or from the first number below `before`."""
        check_limit(limit)
        c = ROUNDS.table.c
        query = ROUNDS.select(c.market == market)
        if before is not None:
            query = query.where(c.number < clamped(before))
        with self.database.reading("read rounds") as connection:
            return ROUNDS.read(connection, query.order_by(c.number.desc()).limit(limit))

    def sealed_orders(self, market: bytes, number: int) -> list[tuple[int, bytes]]:
        """The sealed list of a round in its order: (sequence, leaf); a round bounds its length."""
        c = SEALED.table.c
        query = select(c.sequence, c.leaf).where(c.market == market, c.round == clamped(number))
        with self.database.reading("read a sealed list") as connection:
            return [(row.sequence, row.leaf) for row in connection.execute(query.order_by(c.position))]

    def settlement(self, digest: bytes) -> SettlementRow | None:
        """The settlement of that digest."""
        query = SETTLEMENTS.select(SETTLEMENTS.table.c.digest == digest)
        with self.database.reading("read a settlement") as connection:
            return SETTLEMENTS.first(connection, query)

    def settlements(
        self,
        *,
        states: Collection[SettlementState] | None = None,
        before: int | None = None,
        limit: int = MAX_PAGE,
    ) -> list[SettlementRow]:
        """Settlements from the newest down, or from the first whose sequence is below `before`."""
        check_limit(limit)
        c = SETTLEMENTS.table.c
        query = SETTLEMENTS.select()
        if before is not None:
            query = query.where(c.sequence < clamped(before))
        if states is not None:
            query = query.where(c.state.in_(states))
        with self.database.reading("read settlements") as connection:
            return SETTLEMENTS.read(connection, query.order_by(c.sequence.desc()).limit(limit))

    def fills(self, account: bytes, *, after: int = -1, limit: int = MAX_PAGE) -> list[FillRow]:
        """An account's fills by sequence, from the first above `after`."""
        check_limit(limit)
        c = FILLS.table.c
        query = FILLS.select(c.account == account, c.sequence > clamped(after))
        with self.database.reading("read fills") as connection:
            return FILLS.read(connection, query.order_by(c.sequence).limit(limit))

    def round_fills(self, market: bytes, number: int) -> list[FillRow]:
        """Every account's fill of a round, by account; a round bounds their number."""
        c = FILLS.table.c
        query = FILLS.select(c.market == market, c.round == clamped(number))
        with self.database.reading("read fills") as connection:
            return FILLS.read(connection, query.order_by(c.account))

    def boxes(self, market: bytes, number: int, account: bytes) -> list[BoxRow]:
        """What each member sealed to an account of a round, by member."""
        c = BOXES.table.c
        query = BOXES.select(c.market == market, c.round == clamped(number), c.account == account)
        with self.database.reading("read boxes") as connection:
            return BOXES.read(connection, query.order_by(c.member))

    def events(
        self, *, after: int = 0, account: bytes | None = None, limit: int = MAX_PAGE
    ) -> list[EventRow]:
        """Public events, and those of the account if one is given, from the first id above `after`."""
        check_limit(limit)
        c = EVENTS.table.c
        seen: ColumnElement[bool] = c.account.is_(None)
        if account is not None:
            seen = or_(seen, c.account == account)
        query = EVENTS.select(c.id > clamped(after), seen).order_by(c.id).limit(limit)
        with self.database.reading("read events") as connection:
            return EVENTS.read(connection, query)

    def last_event(self) -> int:
        """The id of the newest event, 0 before the first."""
        with self.database.reading("read events") as connection:
            return int(connection.scalar(select(func.max(EVENTS.table.c.id))) or 0)

    def receipt(self, subject: bytes) -> ReceiptRow | None:
        """The receipt given for an order hash or a cancel digest."""
        query = RECEIPTS.select(RECEIPTS.table.c.subject == subject)
        with self.database.reading("read a receipt") as connection:
            return RECEIPTS.first(connection, query)

    def account(self, account: bytes) -> AccountRow | None:
        """An account's registration."""
        query = ACCOUNTS.select(ACCOUNTS.table.c.account == account)
        with self.database.reading("read an account") as connection:
            return ACCOUNTS.first(connection, query)

    def counts(self) -> Counts:
        """For metrics."""
        with self.database.reading("count rows") as connection:
            return Counts(
                _by_state(connection, ORDERS.table),
                _by_state(connection, ROUNDS.table),
                _by_state(connection, SETTLEMENTS.table),
            )


def projected_of(connection: Connection) -> int:
    """As `projected`, within a transaction."""
    found = connection.scalar(select(CURSORS.c.position).where(CURSORS.c.name == PROJECTION))
    return int(found or 0)


def _by_state(connection: Connection, table: CoreTable) -> dict[Any, int]:
    query = select(table.c.state, func.count()).group_by(table.c.state)
    return {row[0]: row[1] for row in connection.execute(query)}

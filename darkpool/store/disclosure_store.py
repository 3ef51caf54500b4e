"""Grants, revocations and auditors' queries on disk, and what of the read model a query is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, func, insert, or_, select

from darkpool.market import RoundState
from darkpool.message import Message
from darkpool.store.database import StoreError
from darkpool.store.log_store import LogStore
from darkpool.store.records import (
    DisclosureQueryRow,
    GrantRevocationRow,
    GrantRow,
    OrderRow,
    OrderState,
    RoundRow,
)
from darkpool.store.rows import (
    DISCLOSURE_QUERIES,
    GRANT_REVOCATIONS,
    GRANTS,
    MAX_PAGE,
    ORDERS,
    ROUNDS,
    check_limit,
    clamped,
)

_SCANNED: Final = 64  # entries read at once in the search for an abandonment
_GRANT: Final = GRANTS.table.c
_QUERY: Final = DISCLOSURE_QUERIES.table.c
_ROUND: Final = ROUNDS.table.c
_ORDER: Final = ORDERS.table.c


class DisclosureStore(LogStore):
    """Every method raises StoreError, and has then written nothing."""

    __slots__ = ()

    # --- grants -------------------------------------------------------------------------------------

    def add_grant(self, row: GrantRow, live: int, now: int) -> bool:
        """Keeps a grant unless there is one of its id; whether it is new.

        Raises StoreError if the account has `live` grants that have not expired already.
        """
        with self.database.writing("keep a grant") as connection:
            if GRANTS.first(connection, GRANTS.select(_GRANT.id == row.id)) is not None:
                return False
            if _live(connection, row.account, now) >= live:
                raise StoreError(f"grants: the account has {live}", "count them before")
            values = {name: value for name, value in GRANTS.values(row).items() if name != "position"}
            connection.execute(insert(GRANTS.table).values(values))
            return True

    def live_grants(self, account: bytes, now: int) -> int:
        """How many grants of the account have not expired."""
        with self.database.reading("count grants") as connection:
            return _live(connection, account, now)

    def grant(self, grant: bytes) -> GrantRow | None:
        """The grant of that id."""
        with self.database.reading("read a grant") as connection:
            return GRANTS.first(connection, GRANTS.select(_GRANT.id == grant))

    def grants(
        self,
        *,
        account: bytes | None = None,
        auditor: bytes | None = None,
        after: int = 0,
        limit: int = MAX_PAGE,
    ) -> list[GrantRow]:
        """Grants by an account, or to an auditor's account, from the first position above `after`."""
        check_limit(limit)
        query = GRANTS.select(_GRANT.position > clamped(after))
        if account is not None:
            query = query.where(_GRANT.account == account)
        if auditor is not None:
            query = query.where(_GRANT.auditor == auditor)
        with self.database.reading("read grants") as connection:
            return GRANTS.read(connection, query.order_by(_GRANT.position).limit(limit))

    def revoke(self, row: GrantRevocationRow) -> bool:
        """Keeps a revocation, if there is none of its grant or that one is later; whether it was kept."""
        table = GRANT_REVOCATIONS.table
        with self.database.writing("keep a revocation") as connection:
            held = GRANT_REVOCATIONS.first(connection, GRANT_REVOCATIONS.select(table.c.grant == row.grant))
            if held is not None and held.at <= row.at:
                return False
            GRANT_REVOCATIONS.upsert(connection, [row])
            return True

    def revocations(self, grants: list[bytes]) -> dict[bytes, GrantRevocationRow]:
        """The revocations of up to MAX_PAGE grants, by grant."""
        query = GRANT_REVOCATIONS.select(GRANT_REVOCATIONS.table.c.grant.in_(grants[:MAX_PAGE]))
        with self.database.reading("read revocations") as connection:
            return {row.grant: row for row in GRANT_REVOCATIONS.read(connection, query)}

    # --- queries ------------------------------------------------------------------------------------

    def add_query(self, row: DisclosureQueryRow) -> DisclosureQueryRow:
        """Adds a query; returns it with its number."""
        values = {n: v for n, v in DISCLOSURE_QUERIES.values(row).items() if n != "number"}
        statement = insert(DISCLOSURE_QUERIES.table).values(values).returning(_QUERY.number)
        with self.database.writing("record a query") as connection:
            number = connection.scalar(statement)
        return replace(row, number=int(number or 0))

    def queries(
        self, account: bytes, now: int, *, after: int = 0, limit: int = MAX_PAGE
    ) -> list[DisclosureQueryRow]:
        """Queries about an account that it may see by now, from the first number above `after`."""
        check_limit(limit)
        query = DISCLOSURE_QUERIES.select(
            _QUERY.account == account, _QUERY.visible_at <= clamped(now), _QUERY.number > clamped(after)
        )
        with self.database.reading("read queries") as connection:
            return DISCLOSURE_QUERIES.read(connection, query.order_by(_QUERY.number).limit(limit))

    def query(self, number: int) -> DisclosureQueryRow | None:
        """One query."""
        with self.database.reading("read a query") as connection:
            return DISCLOSURE_QUERIES.first(
                connection, DISCLOSURE_QUERIES.select(_QUERY.number == clamped(number))
            )

    # --- what a query is about ------------------------------------------------------------------------

    def rounds_between(self, market: bytes, start: int, end: int, limit: int) -> list[RoundRow]:
        """At most `limit` of a market's sealed rounds, by number.

        From the last one sealed before `start` (unix seconds), or the first of all, to the first one sealed
        at `end` or later.
        """
        c = _ROUND
        sealed = (c.market == market, c.sealed_at.is_not(None))
        with self.database.reading("read rounds") as connection:
            first = connection.scalar(select(func.max(c.number)).where(*sealed, c.sealed_at < clamped(start)))
            last = connection.scalar(select(func.min(c.number)).where(*sealed, c.sealed_at >= clamped(end)))
            query = ROUNDS.select(*sealed, c.number >= (first or 0))
            if last is not None:
                query = query.where(c.number <= last)
            return ROUNDS.read(connection, query.order_by(c.number).limit(limit))

    def orders_between(
        self, account: bytes, market: bytes, since: int, before: int, limit: int
    ) -> list[OrderRow]:
        """At most `limit` of an account's orders in a market, by sequence.

        Those accepted before a time (unix seconds) that had not ended before the log's entry `since`.
        """
        c = _ORDER
        query = ORDERS.select(
            c.account == account,
            c.market == market,
            c.accepted_at < clamped(before),
            or_(c.state == OrderState.STANDING, c.ended_sequence >= clamped(since)),
        )
        with self.database.reading("read orders") as connection:
            return ORDERS.read(connection, query.order_by(c.sequence).limit(limit))

    def abandonment(self, row: RoundRow) -> tuple[bytes, ...]:
        """The members' signatures that they abandoned an aborted round; none if it ended otherwise."""
        if row.state is not RoundState.ABORTED or row.seal_sequence is None:
            return ()
        first, size = row.seal_sequence + 1, self.size()
        while first < size:
            for data in self.entries(first, _SCANNED):
                entry = Message.decode(data)
                if entry.op == "abort" and entry.fields.get("market") == row.market.hex():
                    return tuple(entry.blobs)
                if entry.op == "open" and entry.fields.get("market") == row.market.hex():
                    return ()
                first += 1
        return ()


def _live(connection: Connection, account: bytes, now: int) -> int:
    query = select(func.count()).where(_GRANT.account == account, _GRANT.expires > clamped(now))
    return int(connection.scalar(query) or 0)

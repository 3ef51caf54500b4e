"""Records in and out of their tables, the same on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, select
from sqlalchemy import Table as CoreTable
from sqlalchemy.dialects import postgresql, sqlite

from darkpool.store import records, tables

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_PAGE: Final = 1000
"""Rows of one answer."""

_Record = TypeVar("_Record", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Rows(Generic[_Record]):
    """A table as records of one class; the record's fields are columns of the table.

    key: the columns that identify a record.
    """

    record: type[_Record]
    table: CoreTable
    key: tuple[str, ...]

    @staticmethod
    def of(record: type[_Record], table: type[tables.Table], *key: str) -> Rows[_Record]:
        """Records of a table; `key` where it is not the primary key."""
        found = tables.core(table)
        return Rows(record, found, key or tuple(found.primary_key.columns.keys()))

    @property
    def names(self) -> tuple[str, ...]:
        """The record's fields."""
        return tuple(f.name for f in fields(self.record))

    def select(self, *where: ColumnElement[bool]) -> Select[Any]:
        """A query for records, to be ordered and limited."""
        return select(*(self.table.c[name] for name in self.names)).where(*where)

    def read(self, connection: Connection, query: Select[Any]) -> list[_Record]:
        """The records of a query that `select` began."""
        return [self.record(*row) for row in connection.execute(query)]

    def first(self, connection: Connection, query: Select[Any]) -> _Record | None:
        """The first of them, or None."""
        row = connection.execute(query.limit(1)).first()
        return None if row is None else self.record(*row)

    def values(self, record: _Record) -> dict[str, Any]:
        """The record as a row."""
        return {name: getattr(record, name) for name in self.names}

    def upsert(self, connection: Connection, records: Iterable[_Record]) -> None:
        """Adds each, or replaces the one of the same key."""
        rows = [self.values(record) for record in records]
        if rows:
            connection.execute(_replacing(self, connection.dialect.name), rows)

    def add(self, connection: Connection, records: Iterable[_Record]) -> None:
        """Adds each, unless there is one of the same key."""
        rows = [self.values(record) for record in records]
        if rows:
            statement = conflict_insert(connection, self.table)
            connection.execute(statement.on_conflict_do_nothing(index_elements=self.key), rows)


ORDERS: Final = Rows.of(records.OrderRow, tables.Order)
ROUNDS: Final = Rows.of(records.RoundRow, tables.Round)
SEALED: Final = Rows.of(records.SealedRow, tables.Sealed)
SETTLEMENTS: Final = Rows.of(records.SettlementRow, tables.Settlement)
FILLS: Final = Rows.of(records.FillRow, tables.Fill)
BOXES: Final = Rows.of(records.BoxRow, tables.Box)
EVENTS: Final = Rows.of(records.EventRow, tables.Event)
ACCOUNTS: Final = Rows.of(records.AccountRow, tables.Account)
RECEIPTS: Final = Rows.of(records.ReceiptRow, tables.Receipt)
ATTEMPTS: Final = Rows.of(records.AttemptRow, tables.Attempt, "digest")
PINS: Final = Rows.of(records.PinRow, tables.Pin)
BLAME: Final = Rows.of(records.BlameRow, tables.Blame)
HANDED: Final = Rows.of(records.HandedRow, tables.Handed, "hash")
AUDIT: Final = Rows.of(records.AuditRow, tables.AuditEntry)
AUDIT_CHECKPOINTS: Final = Rows.of(records.AuditCheckpointRow, tables.AuditCheckpoint)
GRANTS: Final = Rows.of(records.GrantRow, tables.Grant, "id")
GRANT_REVOCATIONS: Final = Rows.of(records.GrantRevocationRow, tables.GrantRevocation)
DISCLOSURE_QUERIES: Final = Rows.of(records.DisclosureQueryRow, tables.DisclosureQuery)
POLICIES: Final = Rows.of(records.PolicyRow, tables.PolicyVersion)
CREDENTIALS: Final = Rows.of(records.CredentialRow, tables.PresentedCredential)
REVOCATION_LISTS: Final = Rows.of(records.RevocationsRow, tables.PublishedRevocations)
BLOCKS: Final = Rows.of(records.BlockRow, tables.OperatorBlock)


def conflict_insert(connection: Connection, table: CoreTable) -> Any:  # noqa: ANN401  # either dialect's Insert
    """An insert that can say what to do about a row that is there."""
    return _insert(table, connection.dialect.name)


def _insert(table: CoreTable, dialect: str) -> Any:  # noqa: ANN401
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


@cache
def _replacing(rows: Rows[Any], dialect: str) -> Any:  # noqa: ANN401
    """Made once: making it takes longer than executing it."""
    statement = _insert(rows.table, dialect)
    changed = {name: statement.excluded[name] for name in rows.names if name not in rows.key}
    return statement.on_conflict_do_update(index_elements=rows.key, set_=changed)


def clamped(number: int) -> int:
    """A number to compare with, brought into the range of a column; no row lies beyond it."""
    return max(-1, min(number, (1 << 63) - 1))


def check_limit(limit: int, most: int = MAX_PAGE) -> None:
    """Raises ValueError unless 1 <= limit <= most: a caller that got fewer would take it for the end."""
    if not 1 <= limit <= most:
        raise ValueError(f"limit is {limit}, must be 1 to {most}")

"""Tables of every database, as SQLModel maps them; records.py says what the columns mean.

Operator and members share one layout; each fills the tables it needs. A change here needs a new step in
migrations/versions, and a test compares the two.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Dialect, Index, Integer, MetaData, String, TypeDecorator, UniqueConstraint
from sqlalchemy import Table as CoreTable
from sqlmodel import Field, SQLModel

from darkpool.market import RoundState
from darkpool.store.records import AttemptState, FillState, HandedState, OrderState, SettlementState

_HALF, _WHOLE = 1 << 63, 1 << 64


class Unsigned64(TypeDecorator[int]):
    """0 to 2^64 - 1 in a signed column, as two's complement. Traders choose such numbers freely.

    Only equality may be asked of it: order is lost above 2^63.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """As stored."""
        return value if value is None or value < _HALF else value - _WHOLE

    def process_result_value(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """As given."""
        return value if value is None or value >= 0 else value + _WHOLE


class State(TypeDecorator[StrEnum]):
    """A member of the enumeration, stored as its value."""

    impl = String(16)
    cache_ok = True

    def __init__(self, states: type[StrEnum]) -> None:
        super().__init__()
        self.states = states

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """As stored; a word the enumeration lacks never is."""
        return None if value is None else self.states(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002
        """As given."""
        return None if value is None else self.states(value)


# SQLite numbers rows by itself only in a column declared INTEGER, which has 64 bits there.
_INT64 = BigInteger().with_variant(Integer(), "sqlite")


def _int(
    *,
    key: bool = False,
    serial: bool = False,
    unique: bool = False,
    index: bool = False,
    null: bool = False,
) -> Any:  # noqa: ANN401  # as Field is typed
    return Field(
        sa_type=_INT64,
        primary_key=key or serial,
        unique=unique,
        index=index,
        nullable=null,
        sa_column_kwargs={"autoincrement": serial},
    )


def _state(states: type[StrEnum], *, index: bool = False) -> Any:  # noqa: ANN401
    return Field(sa_type=State(states), index=index)


class Table(SQLModel):
    """Root of the tables; constraints have stable names, so that a later step can drop them."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def core(table: type[Table]) -> CoreTable:
    """The same table for statements of SQLAlchemy's core."""
    return Table.metadata.tables[str(table.__tablename__)]


class Entry(Table, table=True):
    """The log. The key makes a second entry of one number impossible, whoever writes."""

    __tablename__ = "entries"
    sequence: int = _int(key=True)
    leaf: bytes
    data: bytes


class Checkpoint(Table, table=True):
    """The state after the first `sequence` entries, opaque."""

    __tablename__ = "checkpoints"
    sequence: int = _int(key=True)
    data: bytes


class Cursor(Table, table=True):
    """How many entries a reader of the log has taken in."""

    __tablename__ = "cursors"
    name: str = Field(primary_key=True)
    position: int = _int()


class Order(Table, table=True):
    """OrderRow."""

    __tablename__ = "orders"
    __table_args__ = (UniqueConstraint("account", "nonce"), Index(None, "account", "sequence"))
    hash: bytes = Field(primary_key=True)
    sequence: int = _int(unique=True)
    market: bytes
    account: bytes
    nonce: int = Field(sa_type=Unsigned64)
    first_round: int = Field(sa_type=Unsigned64)
    time_in_force: int = _int()
    valid_until: int = Field(sa_type=Unsigned64)
    accepted_at: int = _int()
    state: OrderState = _state(OrderState, index=True)
    reason: str
    ended_round: int | None = _int(null=True)
    ended_sequence: int | None = _int(null=True)
    replaced_by: bytes | None


class Round(Table, table=True):
    """RoundRow."""

    __tablename__ = "rounds"
    market: bytes = Field(primary_key=True)
    number: int = _int(key=True)
    state: RoundState = _state(RoundState, index=True)
    reference: int = _int()
    reference_price: str
    source: str
    opened_at: int = _int()
    open_sequence: int = _int()
    terms_hash: bytes
    sealed_at: int | None = _int(null=True)
    orders: int | None = _int(null=True)
    accounts: int | None = _int(null=True)
    root: bytes | None
    digest: bytes | None
    price: int | None = _int(null=True)
    price_text: str | None
    volume: int | None = _int(null=True)
    settlement: bytes | None
    seal_sequence: int | None = _int(null=True)
    result_sequence: int | None = _int(null=True)
    reason: str


class Sealed(Table, table=True):
    """SealedRow."""

    __tablename__ = "sealed"
    market: bytes = Field(primary_key=True)
    round: int = _int(key=True)
    position: int = _int(key=True)
    sequence: int = _int()
    leaf: bytes


class Settlement(Table, table=True):
    """SettlementRow."""

    __tablename__ = "settlements"
    digest: bytes = Field(primary_key=True)
    id: int = _int(index=True)
    sequence: int = _int(unique=True)
    payload: bytes
    created_at: int = _int()
    sealed_at: int = _int()
    rounds: str
    flows: str
    state: SettlementState = _state(SettlementState, index=True)
    tx_hash: bytes | None
    block: int | None = _int(null=True)
    gas: int | None = _int(null=True)


class Fill(Table, table=True):
    """FillRow."""

    __tablename__ = "fills"
    __table_args__ = (Index(None, "account", "sequence"),)
    market: bytes = Field(primary_key=True)
    round: int = _int(key=True)
    account: bytes = Field(primary_key=True)
    sequence: int = _int()
    net: int = _int()
    state: FillState = _state(FillState)


class Box(Table, table=True):
    """BoxRow."""

    __tablename__ = "boxes"
    market: bytes = Field(primary_key=True)
    round: int = _int(key=True)
    account: bytes = Field(primary_key=True)
    member: int = _int(key=True)
    box: bytes


class Event(Table, table=True):
    """EventRow. An id is never used again, so a reader that resumes misses nothing."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "account", "id"), {"sqlite_autoincrement": True})
    id: int = _int(serial=True)
    at: int = _int()
    account: bytes | None
    kind: str
    data: str


class Account(Table, table=True):
    """AccountRow."""

    __tablename__ = "accounts"
    account: bytes = Field(primary_key=True)
    registered_at: int = _int()
    signature: bytes


class Receipt(Table, table=True):
    """ReceiptRow."""

    __tablename__ = "receipts"
    subject: bytes = Field(primary_key=True)
    sequence: int = _int(index=True)
    payload: str


class Request(Table, table=True):
    """Nonces of signed requests, kept until the request has expired by itself."""

    __tablename__ = "requests"
    account: bytes = Field(primary_key=True)
    nonce: bytes = Field(primary_key=True)
    expires: int = _int(index=True)


class Attempt(Table, table=True):
    """AttemptRow; `position` keeps the order in which the lists were sealed."""

    __tablename__ = "attempts"
    __table_args__ = (Index(None, "market", "position"),)
    position: int = _int(serial=True)
    digest: bytes = Field(unique=True)
    market: bytes
    round: int = _int()
    state: AttemptState = _state(AttemptState)
    root: bytes
    payload: bytes
    signature: bytes | None
    attempts: int = _int()


class Pin(Table, table=True):
    """PinRow."""

    __tablename__ = "pins"
    digest: bytes = Field(primary_key=True)
    step: str = Field(primary_key=True)
    code: bytes


class Blame(Table, table=True):
    """BlameRow; `position` keeps the order in which the charges were made."""

    __tablename__ = "blame"
    position: int = _int(serial=True)
    digest: bytes
    attempt: int = _int()
    member: int = _int()
    charge: str
    step: str
    at: int = _int()
    evidence: bytes


class Handed(Table, table=True):
    """HandedRow; `position` keeps the order of arrival."""

    __tablename__ = "handed"
    __table_args__ = (Index(None, "state", "position"),)
    position: int = _int(serial=True)
    hash: bytes = Field(unique=True)
    raw: bytes
    received_at: int = _int()
    state: HandedState = _state(HandedState)
    reason: str


class AuditEntry(Table, table=True):
    """AuditRow. `leaf` stands before `data`, so that reading the leaves skips what follows them."""

    __tablename__ = "audit_entries"
    __table_args__ = (Index(None, "account", "sequence"),)
    sequence: int = _int(key=True)
    at: int = _int()
    kind: str = Field(max_length=16)
    account: bytes | None
    visible_at: int = _int()
    leaf: bytes
    data: bytes


class AuditCheckpoint(Table, table=True):
    """AuditCheckpointRow."""

    __tablename__ = "audit_checkpoints"
    size: int = _int(key=True)
    note: str


class Grant(Table, table=True):
    """GrantRow; `position` keeps the order of arrival."""

    __tablename__ = "grants"
    __table_args__ = (Index(None, "account", "position"), Index(None, "auditor", "position"))
    position: int = _int(serial=True)
    id: bytes = Field(unique=True)
    account: bytes
    auditor: bytes
    expires: int = _int()
    received_at: int = _int()
    payload: bytes


class GrantRevocation(Table, table=True):
    """GrantRevocationRow."""

    __tablename__ = "grant_revocations"
    grant: bytes = Field(primary_key=True)
    account: bytes
    at: int = Field(sa_type=Unsigned64)
    received_at: int = _int()
    payload: bytes


class DisclosureQuery(Table, table=True):
    """DisclosureQueryRow. A number is never used again."""

    __tablename__ = "disclosure_queries"
    __table_args__ = (Index(None, "account", "number"), {"sqlite_autoincrement": True})
    number: int = _int(serial=True)
    at: int = _int()
    visible_at: int = _int()
    auditor: bytes
    account: bytes
    basis: str = Field(max_length=16)
    grant: bytes | None
    authority: str
    legal_reference: str
    market: bytes
    first_day: int = _int()
    last_day: int = _int()
    outcome: str = Field(max_length=32)


class PolicyVersion(Table, table=True):
    """PolicyRow; the last is in force."""

    __tablename__ = "policies"
    number: int = _int(serial=True)
    hash: bytes = Field(index=True)
    files: bytes
    applied_at: int = _int()
    actor: str


class PresentedCredential(Table, table=True):
    """CredentialRow."""

    __tablename__ = "credentials"
    account: bytes = Field(primary_key=True)
    payload: bytes
    presented_at: int = _int()


class PublishedRevocations(Table, table=True):
    """RevocationsRow."""

    __tablename__ = "revocation_lists"
    issuer: bytes = Field(primary_key=True)
    payload: bytes
    published_at: int = _int()


class OperatorBlock(Table, table=True):
    """BlockRow."""

    __tablename__ = "blocks"
    kind: str = Field(primary_key=True, max_length=16)
    subject: str = Field(primary_key=True)
    reason: str
    actor: str
    at: int = _int()

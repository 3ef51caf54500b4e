"""Rows as the rest of the program sees them: plain, frozen, one per table of tables.py.

Times are unix seconds, hashes and digests 32 bytes, accounts 20, prices levels of the grid, volumes and nets
lots. A `sequence` is the number of a log entry, from 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from darkpool.market import RoundState


class OrderState(StrEnum):
    """What became of an order; only `standing` changes again."""

    STANDING = "standing"
    CONSUMED = "consumed"
    CANCELLED = "cancelled"
    REPLACED = "replaced"
    EXPIRED = "expired"
    RELEASED = "released"


class SettlementState(StrEnum):
    """Where a settlement is on its way to the chain; the last two are final."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    SETTLED = "settled"
    VOID = "void"


class FillState(StrEnum):
    """Whether an account's net of a round counts: provisional until its settlement is final."""

    PROVISIONAL = "provisional"
    SETTLED = "settled"
    BUSTED = "busted"


class AttemptState(StrEnum):
    """How far a member went with a sealed list, in order; nothing follows the last two."""

    SEALED = "sealed"
    ATTEMPTED = "attempted"
    BOXED = "boxed"
    SIGNED = "signed"
    ABANDONED = "abandoned"


class HandedState(StrEnum):
    """What became of an order handed to a member instead of the operator."""

    WAITING = "waiting"
    LOGGED = "logged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An accepted order: what it said in public, and what became of it. Its bytes are log entry `sequence`.

    valid_until: 0 for none; ended_round, ended_sequence: the round and the entry that ended it;
    replaced_by: hash of its successor.
    """

    hash: bytes
    sequence: int
    market: bytes
    account: bytes
    nonce: int
    first_round: int
    time_in_force: int
    valid_until: int
    accepted_at: int
    state: OrderState = OrderState.STANDING
    reason: str = ""
    ended_round: int | None = None
    ended_sequence: int | None = None
    replaced_by: bytes | None = None


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One auction of one market; what is not known yet is None.

    terms_hash: of the terms it was sealed under, of those it was opened under until then; reference_price,
    price_text: decimal text of the levels reference and price on the grid of those terms (a round from before
    layout 3 has no price_text); root: of the sealed list; digest: what members signed of it; settlement: the
    digest of the one it is in.
    """

    market: bytes
    number: int
    state: RoundState
    reference: int
    reference_price: str
    source: str
    opened_at: int
    open_sequence: int
    terms_hash: bytes
    sealed_at: int | None = None
    orders: int | None = None
    accounts: int | None = None
    root: bytes | None = None
    digest: bytes | None = None
    price: int | None = None
    price_text: str | None = None
    volume: int | None = None
    settlement: bytes | None = None
    seal_sequence: int | None = None
    result_sequence: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SealedRow:
    """One place of a round's sealed list, from 0.

    sequence: the order's log entry; leaf: its entry of the list (`ListedOrder.leaf`), which ends with the
    order's hash.
    """

    market: bytes
    round: int
    position: int
    sequence: int
    leaf: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SettlementRow:
    """A settlement by its digest, for an id is used again after a void.

    sequence: of the window entry; payload: a `SignedSettlement`, with the signatures once there are some;
    sealed_at: the earliest of its rounds; rounds: JSON, [market, number] of each; flows: JSON, [token, gross,
    net] of each, in quanta; gas: units used.
    """

    digest: bytes
    id: int
    sequence: int
    payload: bytes = field(repr=False)
    created_at: int
    sealed_at: int
    rounds: str
    flows: str
    state: SettlementState = SettlementState.PENDING
    tx_hash: bytes | None = None
    block: int | None = None
    gas: int | None = None


@dataclass(frozen=True, slots=True)
class FillRow:
    """An account's net of a round in signed lots, as its result states it; `sequence`: the result's entry."""

    market: bytes
    round: int
    account: bytes
    sequence: int
    net: int
    state: FillState = FillState.PROVISIONAL


@dataclass(frozen=True, slots=True)
class BoxRow:
    """One member's shares of an account's totals, sealed to the account."""

    market: bytes
    round: int
    account: bytes
    member: int
    box: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of the stream, public unless it names an account; `data` is JSON.

    The database gives the id, ascending; 0 until then.
    """

    at: int
    account: bytes | None
    kind: str
    data: str
    id: int = 0


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A registered account and the signature it registered with."""

    account: bytes
    registered_at: int
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """The operator's signed answer to an order or a cancel, by what it is about; `payload` is JSON."""

    subject: bytes
    sequence: int
    payload: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """What a member did with the list it sealed under `digest`; `payload` is opaque to the store.

    attempts: the number of the latest attempt at clearing it that the member took part in, 0 for none.
    """

    digest: bytes
    market: bytes
    round: int
    state: AttemptState
    root: bytes
    payload: bytes = field(default=b"", repr=False)
    signature: bytes | None = field(default=None, repr=False)
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class PinRow:
    """What was revealed in a step of clearing a list, as a code only the member can make."""

    digest: bytes
    step: str
    code: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BlameRow:
    """A charge of this member's against another; `evidence` is what that one had signed, or empty."""

    digest: bytes
    attempt: int
    member: int
    charge: str
    step: str
    at: int
    evidence: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HandedRow:
    """An order handed to a member: the operator must log it or say why not."""

    hash: bytes
    raw: bytes = field(repr=False)
    received_at: int
    state: HandedState = HandedState.WAITING
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry of the audit log.

    data: its bytes; leaf: their Merkle leaf hash. The others are in `data` too and stand here to be searched:
    at, kind, the account it is about if it is about one, and when that account may see it (0: at once).
    """

    sequence: int
    at: int
    kind: str
    account: bytes | None
    visible_at: int
    leaf: bytes = field(repr=False)
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuditCheckpointRow:
    """A signed checkpoint of the first `size` entries of the audit log; `note` is its text."""

    size: int
    note: str


@dataclass(frozen=True, slots=True)
class GrantRow:
    """An account's grant to an auditor; `payload` is its canonical bytes, the others are to search by.

    auditor: its account; expires: unix seconds; `position` is the database's, ascending, 0 until then.
    """

    id: bytes
    account: bytes
    auditor: bytes
    expires: int
    received_at: int
    payload: bytes = field(repr=False)
    position: int = 0


@dataclass(frozen=True, slots=True)
class GrantRevocationRow:
    """The earliest revocation of a grant; `at`: from when on, `payload`: its canonical bytes."""

    grant: bytes
    account: bytes
    at: int
    received_at: int
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DisclosureQueryRow:
    """An auditor's query about an account; the account may see it from `visible_at` on.

    basis: "grant" or "policy"; grant: its id; authority, legal_reference: of a policy's auditor; days: UTC
    days since 1970-01-01; outcome: "answered", or the check that refused it. The database gives the number,
    ascending.
    """

    at: int
    visible_at: int
    auditor: bytes
    account: bytes
    basis: str
    grant: bytes | None
    authority: str
    legal_reference: str
    market: bytes
    first_day: int
    last_day: int
    outcome: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy that was applied; the same may be again. files: JSON, base64 of each by name.

    The database gives the number, ascending; 0 until then.
    """

    hash: bytes
    files: bytes = field(repr=False)
    applied_at: int
    actor: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class CredentialRow:
    """The credential an account presented last, as its JSON text."""

    account: bytes
    payload: bytes = field(repr=False)
    presented_at: int


@dataclass(frozen=True, slots=True)
class RevocationsRow:
    """An issuer's newest revocation list, as its JSON text."""

    issuer: bytes
    payload: bytes = field(repr=False)
    published_at: int


@dataclass(frozen=True, slots=True)
class BlockRow:
    """What the operator stopped: a market, jurisdiction, account or issuer."""

    kind: str
    subject: str
    reason: str
    actor: str
    at: int

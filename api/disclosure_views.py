"""Grants, queries and who looked, as the API answers them; the documents themselves are compliance/'s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api.parameters import AddressText, HashText, HexText, Uint
from compliance.disclosure import KeptGrant
from compliance.disclosure_query import Basis
from darkpool.jsonfields import hex_text
from darkpool.market import RoundState
from darkpool.store.records import DisclosureQueryRow, OrderState
from darkpool.types import Address, address_hex


@dataclass(frozen=True, slots=True)
class GrantState:
    """A grant that is kept; `created`: it was not before."""

    id: HashText
    created: bool


@dataclass(frozen=True, slots=True)
class KeptGrantView:
    """grant, revocation: as their accounts signed them (compliance/grants.py, grant_revocations.py)."""

    grant: dict[str, Any]
    received_at: Uint
    revocation: dict[str, Any] | None

    @staticmethod
    def of(kept: KeptGrant) -> KeptGrantView:
        """Of a grant that is kept."""
        revocation = None if kept.revocation is None else kept.revocation.as_json()
        return KeptGrantView(kept.grant.as_json(), kept.received_at, revocation)


@dataclass(frozen=True, slots=True)
class GrantPage:
    """Grants by arrival; `next`: ask for those after it, null at the end."""

    items: list[KeptGrantView]
    next: Uint | None


@dataclass(frozen=True, slots=True)
class RevocationState:
    """A revocation that is kept; `changed`: it takes effect earlier than what was kept before."""

    grant: HashText
    changed: bool


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """The operator's receipt for a query (compliance/disclosure_query.py)."""

    number: Uint
    at: Uint
    auditor: AddressText
    query: HashText
    answer: HashText
    signature: HexText


@dataclass(frozen=True, slots=True)
class ListedRoundView:
    """A round to look at; abandoned: the members' signatures of its abandonment, if it was."""

    round: Uint
    state: RoundState
    settlement: HashText | None
    abandoned: list[HexText]


@dataclass(frozen=True, slots=True)
class ListedOrderView:
    """An order of the account: when it came and how it ended are the venue's word."""

    hash: HashText
    sequence: Uint
    nonce: Uint
    accepted_at: Uint
    state: OrderState
    reason: str
    ended_round: Uint | None
    replaced_by: HashText | None


@dataclass(frozen=True, slots=True)
class AnswerView:
    """Where to look for what the query is about (compliance/disclosure_answer.py)."""

    query: dict[str, Any]
    receipt: ReceiptView
    grant: dict[str, Any] | None
    revocations: list[dict[str, Any]]
    rounds: list[ListedRoundView]
    orders: list[ListedOrderView]


@dataclass(frozen=True, slots=True)
class AccessView:
    """A query about the account: when, by whom, on what basis, for what, and whether it was answered.

    authority, legal_reference: of a policy's auditor; outcome: "answered", or the check that refused it.
    """

    number: Uint
    at: Uint
    auditor: AddressText
    basis: Basis
    grant: HashText | None
    authority: str
    legal_reference: str
    market: HashText
    first_day: Uint
    last_day: Uint
    outcome: str

    @staticmethod
    def of(row: DisclosureQueryRow) -> AccessView:
        """Of a row."""
        return AccessView(
            number=row.number,
            at=row.at,
            auditor=address_hex(Address(row.auditor)),
            basis=Basis(row.basis),
            grant=None if row.grant is None else hex_text(row.grant),
            authority=row.authority,
            legal_reference=row.legal_reference,
            market=hex_text(row.market),
            first_day=row.first_day,
            last_day=row.last_day,
            outcome=row.outcome,
        )


@dataclass(frozen=True, slots=True)
class AccessPage:
    """Queries about the account, oldest first; `next`: ask for those after it, null at the end."""

    items: list[AccessView]
    next: Uint | None

"""Policies, access and blocks as the API answers them."""

from __future__ import annotations

from binascii import b2a_base64
from dataclasses import dataclass

from api.parameters import AddressText, HashText, HexText, Uint
from compliance.blocks import Block
from compliance.office import Access, PolicyVersion
from darkpool.jsonfields import hex_text
from darkpool.types import address_hex


@dataclass(frozen=True, slots=True)
class IssuerView:
    """Whose credentials count."""

    name: str
    title: str
    address: AddressText


@dataclass(frozen=True, slots=True)
class AuditorView:
    """Who reads orders, by which key (48 bytes)."""

    name: str
    title: str
    key: HexText


@dataclass(frozen=True, slots=True)
class PolicyView:
    """A policy that is or was in force; segments: names, none if all trade with all."""

    hash: HashText
    id: str
    version: Uint
    note: str
    applied_at: Uint
    credentials: bool
    markets: list[str]
    jurisdictions: list[str]
    classes: list[str]
    segments: list[str]
    issuers: list[IssuerView]
    auditors: list[AuditorView]

    @staticmethod
    def of(found: PolicyVersion) -> PolicyView:
        """Of a version."""
        config = found.policy.config
        return PolicyView(
            hash=hex_text(found.policy.hash),
            id=config.id,
            version=config.version,
            note=config.note,
            applied_at=found.applied_at,
            credentials=config.credentials,
            markets=list(config.markets),
            jurisdictions=list(config.jurisdictions),
            classes=list(config.classes),
            segments=[segment.name for segment in config.segments],
            issuers=[IssuerView(i.name, i.title, address_hex(i.address)) for i in config.issuers],
            auditors=[AuditorView(a.name, a.title, hex_text(a.key.encode())) for a in config.auditors],
        )


@dataclass(frozen=True, slots=True)
class PolicyDetail:
    """A policy with its files in base64, by name: enough to decide anything again."""

    summary: PolicyView
    files: dict[str, str]

    @staticmethod
    def of(found: PolicyVersion) -> PolicyDetail:
        """Of a version."""
        files = {n: b2a_base64(data, newline=False).decode() for n, data in found.policy.files.items()}
        return PolicyDetail(PolicyView.of(found), files)


@dataclass(frozen=True, slots=True)
class ReasonView:
    """A deciding rule."""

    rule: str
    sentence: str


@dataclass(frozen=True, slots=True)
class AccessView:
    """What an account may do in a market of that plain name, and how its orders must be sealed there.

    market_id, terms_hash: of its segment's market; auditor_keys: those it owes handles for, exactly.
    """

    market: str
    allowed: bool
    reasons: list[ReasonView]
    segment: str | None
    market_id: HashText | None
    terms_hash: HashText | None
    auditor_keys: list[HexText]
    policy_hash: HashText

    @staticmethod
    def of(found: Access) -> AccessView:
        """Of a market."""
        decision, terms = found.decision, found.terms
        return AccessView(
            market=found.market,
            allowed=decision.allowed,
            reasons=[ReasonView(r.rule, r.sentence) for r in decision.reasons],
            segment=decision.segment,
            market_id=None if terms is None else hex_text(terms.market.id),
            terms_hash=None if terms is None else hex_text(terms.hash),
            auditor_keys=[hex_text(key.encode()) for key in decision.auditor_keys],
            policy_hash=hex_text(decision.policy),
        )


@dataclass(frozen=True, slots=True)
class AppliedView:
    """A policy in force. waiting: markets that follow after their sealed round; released: orders."""

    policy: PolicyView
    waiting: list[str]
    released: Uint


@dataclass(frozen=True, slots=True)
class CredentialView:
    """A credential that was kept; times in unix seconds."""

    jurisdiction: str
    investor_class: str
    expires: Uint


@dataclass(frozen=True, slots=True)
class RevocationsView:
    """The list held of an issuer."""

    issuer: AddressText
    sequence: Uint
    issued: Uint


@dataclass(frozen=True, slots=True)
class BlockView:
    """What the operator stopped; at: unix seconds."""

    kind: str
    subject: str
    reason: str
    actor: str
    at: Uint

    @staticmethod
    def of(block: Block) -> BlockView:
        """Of a block."""
        return BlockView(block.kind.value, block.subject, block.reason, block.actor, block.at)


@dataclass(frozen=True, slots=True)
class ReleasedView:
    """How many orders left at once."""

    released: Uint

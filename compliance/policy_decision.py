"""What a policy is asked and what it answers, with the reasons; both go to JSON and back for the record."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from commitments.errors import DecodeError
from commitments.group import Point
from compliance.credential_check import Check
from compliance.credentials import Claim
from compliance.policy_config import Disclosure, PolicyAuditor
from darkpool.jsonfields import Fields, hex_text
from darkpool.jsontext import parsed
from darkpool.types import Address, address_hex

MAX_RECORD_BYTES: Final = 1 << 16

_REQUEST: Final = ("account", "market", "at", "open_orders", "claim", "refused")


class Builtin(StrEnum):
    """Reasons to deny that no policy names; no rule may have such an id, nor one of `credential-` a check."""

    DEFAULT = "default"
    UNKNOWN_MARKET = "unknown-market"
    UNKNOWN_JURISDICTION = "unknown-jurisdiction"
    UNKNOWN_CLASS = "unknown-class"
    NO_SEGMENT = "no-segment"
    ERROR = "evaluation-error"
    BLOCKED = "operator-block"


SENTENCES: Final = MappingProxyType(
    {
        Builtin.DEFAULT: "No rule allows it, and what no rule allows is denied.",
        Builtin.UNKNOWN_MARKET: "The policy does not name this market.",
        Builtin.UNKNOWN_JURISDICTION: "The policy does not name the jurisdiction of the credential.",
        Builtin.UNKNOWN_CLASS: "The policy does not name the investor class of the credential.",
        Builtin.NO_SEGMENT: "No segment is for accounts of this jurisdiction and class.",
        Builtin.ERROR: "The rules could not be evaluated without error, so nothing is allowed.",
        Builtin.BLOCKED: "The operator has stopped this.",
    }
)
CREDENTIAL_SENTENCES: Final = MappingProxyType(
    {
        Check.MISSING: "The policy demands a credential, and none was presented.",
        Check.MALFORMED: "The credential is malformed.",
        Check.FOREIGN: "The credential is for another vault or chain.",
        Check.ISSUER: "The credential's issuer is not registered in the policy.",
        Check.SIGNATURE: "The credential is not signed by its issuer, or was changed.",
        Check.SCOPE: "The credential's issuer may not speak of that jurisdiction.",
        Check.SUBJECT: "The credential is about another account.",
        Check.EARLY: "The credential does not count yet.",
        Check.EXPIRED: "The credential has expired.",
        Check.REVOKED: "The credential is revoked.",
        Check.REVOCATIONS_MISSING: "It is unknown whether the credential is revoked: there is no list.",
        Check.REVOCATIONS_STALE: "It is unknown whether the credential is revoked: the list is too old.",
    }
)


def credential_rule(check: Check) -> str:
    """The id under which a failed check denies."""
    return f"credential-{check}"


RESERVED: Final = frozenset({*map(str, Builtin), *map(credential_rule, Check)})
"""Ids that no rule of a policy may have."""


@dataclass(frozen=True, slots=True)
class Request:
    """The question whether an account may place another order in a market now.

    at: unix seconds; open_orders: its other orders there, the earlier ones when a standing order is asked
    about; claim: what a verified credential states, or refused: the check that the presented one failed.
    """

    account: Address
    market: str
    at: int
    open_orders: int = 0
    claim: Claim | None = None
    refused: Check | None = None

    def as_json(self) -> dict[str, object]:
        """Its JSON object."""
        return {
            "account": address_hex(self.account),
            "market": self.market,
            "at": self.at,
            "open_orders": self.open_orders,
            "claim": None if self.claim is None else self.claim.as_json(),
            "refused": self.refused,
        }

    @staticmethod
    def from_json(value: object) -> Request:
        """The request of such an object, with exactly its keys. Raises DecodeError."""
        fields = Fields(value, "request", _REQUEST)
        claim, refused = fields.member("claim"), fields.member("refused")
        if refused is not None and refused not in set(Check):
            raise DecodeError("refused", "not the name of a check")
        return Request(
            account=fields.address("account"),
            market=fields.text("market"),
            at=fields.uint("at"),
            open_orders=fields.uint("open_orders"),
            claim=None if claim is None else Claim.from_fields(Fields(claim, "claim", Claim.names())),
            refused=None if refused is None else Check(str(refused)),
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """A deciding rule: its id and what it says in a sentence."""

    rule: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer and all that it rests on.

    reasons: the deciding rules, in the policy's order; policy: its hash, 32 bytes; lists: name and version
    (32 bytes) of each; listed: names of those the account is on; errors: what the rule engine reported, any
    of which denies. If allowed: segment, the duties of disclosure and the auditors they name, ascending by
    key, whose handles the order must carry.
    """

    allowed: bool
    reasons: tuple[Reason, ...]
    policy: bytes
    lists: tuple[tuple[str, bytes], ...]
    request: Request
    listed: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    segment: str | None = None
    disclosures: tuple[Disclosure, ...] = ()
    auditors: tuple[PolicyAuditor, ...] = field(default=())

    @property
    def rules(self) -> tuple[str, ...]:
        """Ids of the deciding rules."""
        return tuple(reason.rule for reason in self.reasons)

    @property
    def auditor_keys(self) -> tuple[Point, ...]:
        """The demanded keys as an order's terms have them: ascending by encoding, each once."""
        return tuple(auditor.key for auditor in self.auditors)

    def as_json(self) -> dict[str, object]:
        """Its JSON object: the record of the decision, which `recorded_request` reads."""
        return {
            "allowed": self.allowed,
            "reasons": [{"rule": r.rule, "sentence": r.sentence} for r in self.reasons],
            "policy": hex_text(self.policy),
            "lists": {name: hex_text(version) for name, version in self.lists},
            "listed": list(self.listed),
            "errors": list(self.errors),
            "segment": self.segment,
            "disclosures": [d.id for d in self.disclosures],
            "auditors": {a.name: hex_text(a.key.encode()) for a in self.auditors},
            "request": self.request.as_json(),
        }


def recorded_request(line: bytes) -> Request:
    """What was asked, of a recorded decision's line of JSON. Raises DecodeError."""
    if len(line) > MAX_RECORD_BYTES:
        raise DecodeError("decision", f"over {MAX_RECORD_BYTES} bytes")
    value = parsed(line, "decision")
    if not isinstance(value, dict) or "request" not in value:
        raise DecodeError("decision", "no JSON object with a request")
    return Request.from_json(value["request"])

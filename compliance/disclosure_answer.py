"""What a venue answers a query with: where to look. Rounds and orders by name; their bytes are public.

Rounds, and the rest of what matters, are checked against what members signed; what only the venue knows of an
order (when it came, how it ended) is its word, bound by its signed receipt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from commitments.errors import DecodeError
from compliance.disclosure_query import Query, QueryReceipt, json_hash
from compliance.grant_revocations import Revocation
from compliance.grants import Grant
from darkpool.eip712 import SIGNATURE_BYTES
from darkpool.jsonfields import Fields, hex_text, read_hex
from darkpool.market import RoundState
from darkpool.store.records import OrderRow, OrderState
from darkpool.types import Signature

MAX_ROUNDS: Final = 20_000
MAX_ORDERS: Final = 20_000
MAX_REVOCATIONS: Final = 1
_MAX_SIGNATURES: Final = 64
_MAX_REASON: Final = 300
_ROUND: Final = ("round", "state", "settlement", "abandoned")
_ORDER: Final = (
    "hash",
    "sequence",
    "nonce",
    "accepted_at",
    "state",
    "reason",
    "ended_round",
    "replaced_by",
)
_ANSWER: Final = ("query", "receipt", "grant", "revocations", "rounds", "orders")


@dataclass(frozen=True, slots=True)
class ListedRound:
    """A sealed round and how it ended.

    settlement: digest of the one it is in, b"" for none; abandoned: the members' signatures that it was.
    """

    round: int
    state: RoundState
    settlement: bytes = b""
    abandoned: tuple[Signature, ...] = field(default=(), repr=False)

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "round": self.round,
            "state": self.state.value,
            "settlement": hex_text(self.settlement) if self.settlement else None,
            "abandoned": [hex_text(signature) for signature in self.abandoned],
        }

    @staticmethod
    def from_json(value: object) -> ListedRound:
        """Raises DecodeError."""
        fields = Fields(value, "rounds", _ROUND)
        state = fields.text("state")
        if state not in set(RoundState):
            raise DecodeError("rounds.state", "unknown")
        settlement = b"" if fields.member("settlement") is None else fields.octets("settlement", 32)
        signatures = fields.array("abandoned", _MAX_SIGNATURES)
        return ListedRound(
            fields.uint("round", low=1),
            RoundState(state),
            settlement,
            tuple(Signature(read_hex(s, "rounds.abandoned", SIGNATURE_BYTES)) for s in signatures),
        )


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """What the venue says of an order: log entry, when it accepted it (unix seconds), what became of it."""

    hash: bytes
    sequence: int
    nonce: int
    accepted_at: int
    state: OrderState
    reason: str
    ended_round: int | None
    replaced_by: bytes

    @staticmethod
    def of(row: OrderRow) -> VenueOrder:
        """Of a row."""
        return VenueOrder(
            row.hash,
            row.sequence,
            row.nonce,
            row.accepted_at,
            row.state,
            row.reason[:_MAX_REASON],
            row.ended_round,
            row.replaced_by or b"",
        )

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "hash": hex_text(self.hash),
            "sequence": self.sequence,
            "nonce": self.nonce,
            "accepted_at": self.accepted_at,
            "state": self.state.value,
            "reason": self.reason,
            "ended_round": self.ended_round,
            "replaced_by": hex_text(self.replaced_by) if self.replaced_by else None,
        }

    @staticmethod
    def from_json(value: object) -> VenueOrder:
        """Raises DecodeError."""
        fields = Fields(value, "orders", _ORDER)
        state, reason = fields.text("state"), fields.text("reason")
        if state not in set(OrderState):
            raise DecodeError("orders.state", "unknown")
        if len(reason) > _MAX_REASON:
            raise DecodeError("orders.reason", f"above {_MAX_REASON} characters")
        return VenueOrder(
            fields.octets("hash", 32),
            fields.uint("sequence"),
            fields.uint("nonce"),
            fields.uint("accepted_at"),
            OrderState(state),
            reason,
            None if fields.member("ended_round") is None else fields.uint("ended_round"),
            b"" if fields.member("replaced_by") is None else fields.octets("replaced_by", 32),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a query; `receipt` is of all the rest. grant: the one it rests on, None by policy."""

    query: Query
    receipt: QueryReceipt
    grant: Grant | None
    revocations: tuple[Revocation, ...]
    rounds: tuple[ListedRound, ...]
    orders: tuple[VenueOrder, ...] = field(repr=False)

    @property
    def hash(self) -> bytes:
        """What the receipt names: of everything but the receipt, 32 bytes."""
        document = self.as_json()
        del document["receipt"]
        return json_hash(document)

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "query": self.query.as_json(),
            "receipt": self.receipt.as_json(),
            "grant": None if self.grant is None else self.grant.as_json(),
            "revocations": [revocation.as_json() for revocation in self.revocations],
            "rounds": [row.as_json() for row in self.rounds],
            "orders": [row.as_json() for row in self.orders],
        }

    @staticmethod
    def from_json(value: object) -> Answer:
        """Not checked yet: see `QueryReceipt.check`. Raises DecodeError, GrantRefused (malformed)."""
        fields = Fields(value, "answer", _ANSWER)
        grant = fields.member("grant")
        return Answer(
            Query.from_json(fields.member("query")),
            QueryReceipt.from_json(fields.member("receipt")),
            None if grant is None else Grant.from_json(grant),
            tuple(Revocation.from_json(row) for row in fields.array("revocations", MAX_REVOCATIONS)),
            tuple(ListedRound.from_json(row) for row in fields.array("rounds", MAX_ROUNDS)),
            tuple(VenueOrder.from_json(row) for row in fields.array("orders", MAX_ORDERS)),
        )

"""What an auditor asks a venue for: the scope of a query, never its answer; and the venue's receipt for it.

A query rests on a grant, or on a policy that names the auditor, with a legal reference. The venue records it
before it answers. Its receipt, signed by the operator, says that it did, and to which answer:

    DisclosureQuery(uint64 number,uint64 at,address auditor,bytes32 query,bytes32 answer)

EIP-712 under the vault's domain; `query` and `answer` are the SHA-256 of their JSON, keys sorted, no spaces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from commitments.errors import DecodeError, VerificationError
from compliance.view_keys import NO_END
from darkpool import eip712
from darkpool.errors import PeerFault
from darkpool.jsonfields import Fields, hex_text
from darkpool.types import Address, PrivateKey, Signature, address_hex

MAX_REFERENCE: Final = 256
MAX_AUTHORITY: Final = 64
_SCOPE: Final = ("market", "first_day", "last_day")
_NAMES: Final = {
    "grant": ("basis", "grant", *_SCOPE),
    "policy": ("basis", "auditor", "legal_reference", "account", *_SCOPE),
}
NOBODY: Final = Address(b"")
_TYPE: Final = "DisclosureQuery(uint64 number,uint64 at,address auditor,bytes32 query,bytes32 answer)"


class Basis(StrEnum):
    """What gives an auditor the right to ask."""

    GRANT = "grant"
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Query:
    """The scope asked for: a market and days (UTC, since 1970-01-01) of one account.

    grant: id of the grant it rests on; authority, legal_reference, account: of a policy's auditor instead.
    """

    basis: Basis
    market: bytes
    first_day: int
    last_day: int
    grant: bytes = b""
    authority: str = ""
    legal_reference: str = ""
    account: Address = NOBODY

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        scope = {"market": hex_text(self.market), "first_day": self.first_day, "last_day": self.last_day}
        if self.basis is Basis.GRANT:
            return {"basis": self.basis.value, "grant": hex_text(self.grant), **scope}
        return {
            "basis": self.basis.value,
            "auditor": self.authority,
            "legal_reference": self.legal_reference,
            "account": address_hex(self.account),
            **scope,
        }

    @staticmethod
    def from_json(value: object) -> Query:
        """The query of such an object, with exactly its keys. Raises DecodeError naming the field."""
        basis = value.get("basis") if isinstance(value, Mapping) else None
        if basis not in _NAMES:
            raise DecodeError("basis", f"not one of {', '.join(_NAMES)}")
        fields = Fields(value, "query", _NAMES[basis])
        market, last = fields.octets("market", 32), fields.uint("last_day", NO_END)
        first = fields.uint("first_day", last)
        if basis == Basis.GRANT:
            return Query(Basis.GRANT, market, first, last, grant=fields.octets("grant", 32))
        return Query(
            Basis.POLICY,
            market,
            first,
            last,
            authority=printable(fields, "auditor", MAX_AUTHORITY),
            legal_reference=printable(fields, "legal_reference", MAX_REFERENCE),
            account=fields.address("account"),
        )

    @property
    def days(self) -> tuple[int, int]:
        """First and last."""
        return self.first_day, self.last_day

    @property
    def hash(self) -> bytes:
        """32 bytes."""
        return json_hash(self.as_json())


def printable(fields: Fields, name: str, limit: int) -> str:
    """A text of 1 to `limit` printable characters. Raises DecodeError."""
    text = fields.text(name)
    if not 1 <= len(text) <= limit or not text.isprintable():
        raise DecodeError(name, f"not 1 to {limit} printable characters")
    return text


def json_hash(document: Mapping[str, Any]) -> bytes:
    """SHA-256 of the document as canonical JSON: keys sorted, no spaces, ASCII."""
    return sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).digest()


@dataclass(frozen=True, slots=True)
class QueryReceipt:
    """The operator's word that it recorded a query as `number` at `at` (unix seconds), and what it answered.

    query, answer: hashes, 32 bytes.
    """

    number: int
    at: int
    auditor: Address
    query: bytes
    answer: bytes
    signature: Signature = field(default=Signature(b""), repr=False)

    def digest(self, domain: eip712.Domain) -> bytes:
        """What the operator signs, 32 bytes."""
        return eip712.digest(domain, _TYPE, (self.number, self.at, self.auditor, self.query, self.answer))

    def signed(self, domain: eip712.Domain, operator: PrivateKey) -> QueryReceipt:
        """With the operator's signature."""
        return replace(self, signature=eip712.sign_digest(self.digest(domain), operator))

    def check(
        self, domain: eip712.Domain, operator: Address, auditor: Address, query: bytes, answer: bytes
    ) -> None:
        """Raises PeerFault unless the operator signed it for this auditor, query and answer."""
        for name, found, due in (
            ("auditor", self.auditor, auditor),
            ("query", self.query, query),
            ("answer", self.answer, answer),
        ):
            if found != due:
                raise PeerFault(f"query receipt, {name}: it is of another", peer="operator")
        try:
            eip712.check_signer(self.digest(domain), self.signature, operator)
        except VerificationError as error:
            raise PeerFault(f"query receipt: not the operator's: {error.problem}", peer="operator") from None

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "number": self.number,
            "at": self.at,
            "auditor": address_hex(self.auditor),
            "query": hex_text(self.query),
            "answer": hex_text(self.answer),
            "signature": hex_text(self.signature),
        }

    @staticmethod
    def from_json(value: object) -> QueryReceipt:
        """Raises DecodeError."""
        names = ("number", "at", "auditor", "query", "answer", "signature")
        fields = Fields(value, "receipt", names)
        return QueryReceipt(
            fields.uint("number"),
            fields.uint("at"),
            fields.address("auditor"),
            fields.octets("query", 32),
            fields.octets("answer", 32),
            Signature(fields.octets("signature", eip712.SIGNATURE_BYTES)),
        )

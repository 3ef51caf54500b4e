"""Receipts: the operator's signed promise that something is in the venue's log, given once it is durable.

A receipt names the entry (`sequence`) and a root of the log that holds it, so a log that lacks the entry, or
has another in its place, contradicts it: evidence. `darkpool.inclusion` checks what became of an order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from commitments.errors import DecodeError, VerificationError
from darkpool import eip712
from darkpool.errors import PeerFault
from darkpool.jsonfields import MAX_UINT64, Fields, hex_text
from darkpool.types import Address, PrivateKey, Signature, address_hex

_TYPE: Final = (
    "Receipt(uint8 kind,bytes32 subject,bytes32 market,address account,uint64 sequence,uint64 size,"
    "bytes32 root,uint64 round,uint64 time,bytes32 policy)"
)
_NAMES: Final = (
    "kind",
    "subject",
    "market",
    "account",
    "sequence",
    "size",
    "root",
    "round",
    "time",
    "policy",
    "signature",
)


class Kind(IntEnum):
    """What was received."""

    ORDER = 1
    CANCEL = 2
    REPLACE = 3
    CANCEL_ALL = 4


@dataclass(frozen=True, slots=True)
class Receipt:
    """One promise; unsigned until `signed`.

    subject: the order's hash (of a replacement: the new order's), or the digest the account signed to cancel;
    sequence: the entry's place in the log, from 0; size, root: the log's first `size` entries, of which it is
    one; round: the one that was open; time: unix seconds; policy: hash of the policy in force. Hashes have
    32 bytes.
    """

    kind: Kind
    subject: bytes
    market: bytes
    account: Address
    sequence: int
    size: int
    root: bytes
    round: int
    time: int
    policy: bytes
    signature: Signature = field(default=Signature(b""))

    def digest(self, domain: eip712.Domain) -> bytes:
        """What the operator signs, 32 bytes."""
        values = (
            self.kind,
            self.subject,
            self.market,
            self.account,
            self.sequence,
            self.size,
            self.root,
            self.round,
            self.time,
            self.policy,
        )
        return eip712.digest(domain, _TYPE, values)

    def signed(self, domain: eip712.Domain, key: PrivateKey) -> Receipt:
        """The same promise under the operator's key."""
        return replace(self, signature=eip712.sign_digest(self.digest(domain), key))

    def check(self, domain: eip712.Domain, operator: Address) -> None:
        """Raises PeerFault unless the operator signed it and it is one that can be kept."""
        if not self.sequence < self.size:
            raise PeerFault(
                f"receipt: entry {self.sequence} is not among the first {self.size}", peer="operator"
            )
        try:
            eip712.check_signer(self.digest(domain), self.signature, operator)
        except VerificationError as error:
            raise PeerFault(f"receipt: {error.problem}", peer="operator") from None

    def as_json(self) -> dict[str, str | int]:
        """Its JSON object: bytes as 0x and lower-case digits, the account with its checksum."""
        return {
            "kind": int(self.kind),
            "subject": hex_text(self.subject),
            "market": hex_text(self.market),
            "account": address_hex(self.account),
            "sequence": self.sequence,
            "size": self.size,
            "root": hex_text(self.root),
            "round": self.round,
            "time": self.time,
            "policy": hex_text(self.policy),
            "signature": hex_text(self.signature),
        }

    @staticmethod
    def from_json(value: object) -> Receipt:
        """The receipt of such an object, with exactly its keys; not checked yet. Raises DecodeError."""
        fields = Fields(value, "receipt", _NAMES)
        receipt = Receipt(
            kind=Kind(fields.uint("kind", max(Kind), min(Kind))),
            subject=fields.octets("subject", 32),
            market=fields.octets("market", 32),
            account=fields.address("account"),
            sequence=fields.uint("sequence", MAX_UINT64 - 1),
            size=fields.uint("size", low=1),
            root=fields.octets("root", 32),
            round=fields.uint("round"),
            time=fields.uint("time"),
            policy=fields.octets("policy", 32),
            signature=Signature(fields.octets("signature", eip712.SIGNATURE_BYTES)),
        )
        if receipt.sequence >= receipt.size:
            raise DecodeError("sequence", f"entry {receipt.sequence} is not among the first {receipt.size}")
        return receipt

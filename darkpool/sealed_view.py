"""A round's sealed list as the venue publishes it, and the check that the members signed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from commitments import merkle
from commitments.errors import DecodeError, VerificationError
from commitments.params import MAX_ORDERS_PER_ROUND
from darkpool import eip712
from darkpool.errors import PeerFault
from darkpool.jsonfields import Fields, hex_text, read_hex
from darkpool.listing import sealed_digest
from darkpool.netting import Signers

LEAF_BYTES: Final = 20 + 8 + 32 + 96 + 96 + 32
_OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class SealedListView:
    """A round's sealed list as the venue publishes it, in list order.

    reference: grid level; sealed_at: unix seconds; audit_root: of the operator's audit log then, which the
    transcript of a result covers; leaves: `SealedOrder.leaf` of each order; sequences: their log entries;
    signatures: the members', by index, none until the round has ended with a result.
    """

    market: bytes
    round: int
    reference: int
    sealed_at: int
    root: bytes
    terms_hash: bytes
    audit_root: bytes
    leaves: tuple[bytes, ...] = field(repr=False)
    sequences: tuple[int, ...] = field(repr=False)
    signatures: Mapping[int, bytes] = field(repr=False)

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """Of its orders, 32 bytes each."""
        return tuple(leaf[-32:] for leaf in self.leaves)

    def digest(self, domain: eip712.Domain) -> bytes:
        """As `SealedList.digest`, of the leaves alone."""
        return sealed_digest(
            domain,
            self.market,
            self.round,
            self.reference,
            self.sealed_at,
            len(self.leaves),
            self.root,
            self.terms_hash,
        )

    def check_leaves(self) -> None:
        """Raises PeerFault unless the root is that of the leaves."""
        if merkle.root(self.leaves) != self.root:
            raise PeerFault(f"sealed list {self.round}: its leaves do not have its root", peer=_OPERATOR)

    def check(self, domain: eip712.Domain, signers: Signers) -> None:
        """Raises PeerFault unless at least 2t+1 members, and nobody else, signed this very list."""
        self.check_leaves()
        needed = 2 * signers.threshold + 1
        if len(self.signatures) < needed:
            raise PeerFault(
                f"sealed list {self.round}: {len(self.signatures)}/{needed} signatures", peer=_OPERATOR
            )
        digest = self.digest(domain)
        for index, signature in self.signatures.items():
            try:
                eip712.check_signer(digest, signature, signers.addresses[index])
            except (VerificationError, KeyError) as error:
                raise PeerFault(
                    f"sealed list {self.round}: not signed by member {index}: {error}", peer=_OPERATOR
                ) from None

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "market": hex_text(self.market),
            "round": self.round,
            "reference": self.reference,
            "sealed_at": self.sealed_at,
            "root": hex_text(self.root),
            "terms_hash": hex_text(self.terms_hash),
            "audit_root": hex_text(self.audit_root),
            "leaves": [hex_text(leaf) for leaf in self.leaves],
            "sequences": list(self.sequences),
            "signatures": {str(index): hex_text(s) for index, s in sorted(self.signatures.items())},
        }

    @staticmethod
    def from_json(value: object) -> SealedListView:
        """The list of such an object, with exactly its keys; not checked yet. Raises DecodeError."""
        fields = Fields(value, "sealed list", _LIST_NAMES)
        leaves = fields.array("leaves", MAX_ORDERS_PER_ROUND)
        numbers = fields.array("sequences", MAX_ORDERS_PER_ROUND)
        if len(leaves) != len(numbers):
            raise DecodeError("sequences", f"{len(numbers)} for {len(leaves)} leaves")
        sequences = (Fields({"s": n}, "sequences", ("s",)).uint("s") for n in numbers)
        return SealedListView(
            market=fields.octets("market", 32),
            round=fields.uint("round"),
            reference=fields.uint("reference", (1 << 16) - 1),
            sealed_at=fields.uint("sealed_at"),
            root=fields.octets("root", 32),
            terms_hash=fields.octets("terms_hash", 32),
            audit_root=fields.octets("audit_root", 32),
            leaves=tuple(read_hex(leaf, f"leaves[{i}]", LEAF_BYTES) for i, leaf in enumerate(leaves)),
            sequences=tuple(sequences),
            signatures=_signatures(fields.member("signatures")),
        )


_LIST_NAMES: Final = (
    "market",
    "round",
    "reference",
    "sealed_at",
    "root",
    "terms_hash",
    "audit_root",
    "leaves",
    "sequences",
    "signatures",
)
_MAX_SIGNATURES: Final = 64


def _signatures(value: object) -> dict[int, bytes]:
    if not isinstance(value, dict) or len(value) > _MAX_SIGNATURES:
        raise DecodeError("signatures", f"not an object of at most {_MAX_SIGNATURES}")
    found = {}
    for index, signature in value.items():
        if not (index.isascii() and index.isdigit() and index == str(int(index[:4]))):
            raise DecodeError("signatures", "a key is no member's index")
        found[int(index)] = read_hex(signature, f"signatures.{index}", eip712.SIGNATURE_BYTES)
    return found

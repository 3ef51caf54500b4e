"""A settlement with its members' signatures as bytes: all that anyone needs to send it to its vault."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from operator import index
from typing import Any, Final

from commitments.errors import DecodeError
from darkpool import eip712
from darkpool.message import Message
from darkpool.settlement import MAX_MEMBERS, Delta, NullifierRow, Settlement, check_signatures, digest
from darkpool.types import ADDRESS_BYTES, Address, Quanta, Signature, TokenIndex

MAX_BYTES: Final = 1 << 19
"""Above the largest: 512 rows of each kind."""

_OP: Final = "settlement"


@dataclass(frozen=True, slots=True)
class SignedSettlement:
    """A settlement for the vault of a domain; signatures in the vault's order, none before it is signed."""

    domain: eip712.Domain
    settlement: Settlement
    signatures: tuple[Signature, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> bytes:
        """What the members sign, 32 bytes: its name."""
        return digest(self.settlement, self.domain)

    def check(self, members: Collection[Address], quorum: int) -> None:
        """Raises SettlementRefused unless `quorum` of those members signed, as the vault checks it."""
        check_signatures(self.settlement, self.domain, self.signatures, members, quorum)

    def encode(self) -> bytes:
        """Canonical bytes."""
        s = self.settlement
        fields: dict[str, Any] = {
            "chain_id": self.domain.chain_id,
            "vault": self.domain.contract.hex(),
            "id": s.id,
            "epoch": s.epoch,
            "sealed_at": s.sealed_at,
            "root": s.root.hex(),
            "transcript": s.transcript.hex(),
            "deltas": delta_fields(s.deltas),
            "nullifiers": nullifier_fields(s.nullifiers),
        }
        return Message(_OP, fields, self.signatures).encode()

    @staticmethod
    def decode(data: bytes) -> SignedSettlement:
        """Raises DecodeError, SettlementRefused, ConfigError. The signatures are not checked: see `check`."""
        if len(data) > MAX_BYTES:
            raise DecodeError(_OP, f"above {MAX_BYTES} bytes")
        message = Message.decode(data)
        if message.op != _OP or len(message.blobs) > MAX_MEMBERS:
            raise DecodeError(_OP, f"not one with at most {MAX_MEMBERS} signatures")
        signed = SignedSettlement(
            eip712.Domain(message.integer("chain_id", 1), Address(message.octets("vault", ADDRESS_BYTES))),
            Settlement(
                id=message.integer("id", 1),
                epoch=message.integer("epoch", 1),
                sealed_at=message.integer("sealed_at"),
                root=message.octets("root", 32),
                transcript=message.octets("transcript", 32),
                deltas=read_deltas(message.fields.get("deltas")),
                nullifiers=read_nullifiers(message.fields.get("nullifiers")),
            ),
            tuple(Signature(blob) for blob in message.blobs),
        )
        if signed.encode() != data:
            raise DecodeError(_OP, "not in its canonical form")
        return signed


def delta_fields(deltas: Collection[Delta]) -> list[list[Any]]:
    """Rows as JSON."""
    return [[d.token, d.account.hex(), d.amount] for d in deltas]


def nullifier_fields(rows: Collection[NullifierRow]) -> list[list[Any]]:
    """Rows as JSON: words and masks in hexadecimal, being above 64 bits."""
    return [[n.account.hex(), f"{n.word:x}", f"{n.mask:x}"] for n in rows]


def read_deltas(value: object) -> tuple[Delta, ...]:
    """Raises DecodeError, SettlementRefused."""
    try:
        rows = [(index(token), _address(account), index(quanta)) for token, account, quanta in _rows(value)]
    except (TypeError, ValueError):
        raise DecodeError("deltas", "a row is malformed") from None
    return tuple(Delta(TokenIndex(t), a, Quanta(q)) for t, a, q in rows)


def read_nullifiers(value: object) -> tuple[NullifierRow, ...]:
    """Raises DecodeError, SettlementRefused."""
    try:
        rows = [(_address(account), int(word, 16), int(mask, 16)) for account, word, mask in _rows(value)]
    except (TypeError, ValueError):
        raise DecodeError("nullifiers", "a row is malformed") from None
    return tuple(NullifierRow(*row) for row in rows)


def _rows(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _address(text: str) -> Address:
    address = bytes.fromhex(text)
    if len(address) != ADDRESS_BYTES:
        raise ValueError
    return Address(address)

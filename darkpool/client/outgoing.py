"""A signed order on its way to the venue, as the outbox keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field

from commitments.errors import DecodeError
from darkpool.message import Message
from darkpool.order import order_hash
from darkpool.types import Nonce


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A signed order on its way; of a replacement, also what it replaces and the wish that cancels that."""

    raw: bytes = field(repr=False)
    replaces: tuple[Nonce, bytes] | None = None

    @property
    def hash(self) -> bytes:
        """Of the order."""
        return order_hash(self.raw)

    def encode(self) -> bytes:
        """Canonical bytes."""
        if self.replaces is None:
            return Message("order", {}, [self.raw]).encode()
        nonce, signature = self.replaces
        return Message("replace", {"nonce": nonce, "signature": signature.hex()}, [self.raw]).encode()

    @staticmethod
    def decode(data: bytes) -> Outgoing:
        """Raises DecodeError."""
        message = Message.decode(data)
        if message.op not in {"order", "replace"} or len(message.blobs) != 1:
            raise DecodeError("outbox", "not an order")
        if message.op == "order":
            return Outgoing(message.blobs[0])
        wish = Nonce(message.integer("nonce")), message.octets("signature", 65)
        return Outgoing(message.blobs[0], wish)

"""Proofs of orders that are sealed to any of a venue's committee keys, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from commitments import order_verify
from commitments.errors import DecodeError
from commitments.paillier import PublicKey
from darkpool.order import SealedOrder


def verify_orders(orders: Sequence[SealedOrder], keys: Sequence[PublicKey]) -> None:
    """Verify all proofs, those under each key together. Raises VerificationError, DecodeError."""
    names = {key.key_id for key in keys}
    if any(order.statement.key_id not in names for order in orders):
        raise DecodeError("key_id", "an order is sealed to another committee key than the venue ever had")
    for key in keys:
        claims = [order.claim for order in orders if order.statement.key_id == key.key_id]
        if claims:
            order_verify.verify_batch(key, claims)

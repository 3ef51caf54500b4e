"""What refutes a contest that denies too much: the round, or the order as its account signed it.

Both are public; whoever shows them gets the accuser's bond. Coroutines are of steps.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from darkpool.arbiter import Contested
from darkpool.client.connection import Connection
from darkpool.client.published import PublishedRound, published_rounds, sealed_order
from darkpool.contest import SettledRecord
from darkpool.eip712 import SIGNATURE_BYTES, keccak256
from darkpool.types import address_hex


@dataclass(frozen=True, slots=True)
class Refutation:
    """A call of the arbiter, and in words what it shows."""

    function: str
    arguments: tuple[Any, ...] = field(repr=False)
    text: str


async def refutation(connection: Connection, found: Contested, record: SettledRecord) -> Refutation | None:
    """What the venue publishes and the account denied of that settlement; None if it denied nothing of it.

    Raises as VenueApi.
    """
    rounds = await published_rounds(connection, record.transcript)
    transcripts = [r.words.hash for r in rounds]
    if keccak256(b"".join(transcripts)) != record.transcript:
        return None
    vault, account = address_hex(connection.any.terms.contract), address_hex(found.account)
    head = (vault, account, record.words)
    for place, r in enumerate(rounds):
        if not found.rounds >> place & 1:
            shown = (*head, transcripts, (place, list(r.words.words)))
            return Refutation("refute_round", shown, f"round {r.words.number}")
    denied = set(record.consumed(found.account)) - set(found.orders)
    for place, r in enumerate(rounds):
        for at in r.listed(found.account, place):
            if at.nonce in denied:
                raw = await sealed_order(connection, r.words.market, r.words.number, at.hash)
                order = (at.nonce, *_signed(r, raw, at.index), at.index, list(at.path))
                nullifiers = [row.packed() for row in record.nullifiers]
                its_round = (place, list(r.words.words))
                rest = (nullifiers, transcripts, its_round, list(found.orders), order)
                return Refutation("refute_order", (*head, *rest), f"the order with nonce {at.nonce}")
    return None


def _signed(r: PublishedRound, raw: bytes, index: int) -> Sequence[bytes]:
    """Body, signature, C_q and C_m of an order; the points as its leaf has them."""
    leaf = r.sealed.leaves[index]
    return raw[:-SIGNATURE_BYTES], raw[-SIGNATURE_BYTES:], leaf[60:156], leaf[156:252]

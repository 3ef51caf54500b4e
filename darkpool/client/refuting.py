"""What refutes a contest that denies too much: the rounds, or the order as its account signed it.

Both are public; whoever shows them gets the accuser's bond. Coroutines are of steps.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from darkpool.arbiter import Contested
from darkpool.client.connection import Connection
from darkpool.client.published import PublishedRound, published_rounds, sealed_order
from darkpool.client.trader_home import TraderHome
from darkpool.contest import SettledRecord, claim, terms_hash_of
from darkpool.eip712 import SIGNATURE_BYTES, keccak256
from darkpool.errors import OrderRefused
from darkpool.types import address_hex


@dataclass(frozen=True, slots=True)
class Refutation:
    """A call of the arbiter, and in words what it shows."""

    function: str
    arguments: tuple[Any, ...] = field(repr=False)
    text: str


async def refutation(
    connection: Connection, home: TraderHome, found: Contested, record: SettledRecord
) -> Refutation | None:
    """What the venue publishes and the account denied of that settlement; None if it denied nothing of it.

    Raises as VenueApi; OrderRefused if the terms that the order names are neither in the folder nor in force.
    """
    rounds = await published_rounds(connection, record.transcript)
    transcripts = [r.words.hash for r in rounds]
    if keccak256(b"".join(transcripts)) != record.transcript:
        return None
    vault, account = address_hex(connection.any.terms.contract), address_hex(found.account)
    head = (vault, account, record.words)
    hidden = [(p, r.words) for p, r in enumerate(rounds) if not found.rounds >> p & 1]
    if hidden:
        shown = (*head, transcripts, [(place, list(words.words)) for place, words in hidden])
        numbers = ", ".join(str(words.number) for _, words in hidden)
        return Refutation("refute_round", shown, f"round {numbers}")
    consumed, said = record.consumed(found.account), dict(zip(found.orders, found.claims, strict=True))
    for place, r in enumerate(rounds):
        for at in r.listed(found.account, place):
            true = (bytes(32), claim(r.sealed.leaves[at.index], r.words))
            if at.nonce in consumed and said.get(at.nonce) not in true:
                raw = await sealed_order(connection, r.words.market, r.words.number, at.hash)
                order = (at.nonce, *_signed(r, raw, at.index), at.index, list(at.path))
                nullifiers = [row.packed() for row in record.nullifiers]
                its_round = (place, list(r.words.words))
                terms = home.terms(terms_hash_of(raw))
                if terms is None:
                    raise OrderRefused(
                        f"order {at.nonce}: the terms it names are not in {home.folder}",
                        "use a folder that visited the venue while they were in force",
                    )
                said_of = [list(found.orders), list(found.claims)]
                rest = (nullifiers, transcripts, its_round, *said_of, order, terms)
                return Refutation("refute_order", (*head, *rest), f"the order with nonce {at.nonce}")
    return None


def _signed(r: PublishedRound, raw: bytes, index: int) -> Sequence[bytes]:
    """Body, signature, C_q and C_m of an order; the points as its leaf has them."""
    leaf = r.sealed.leaves[index]
    return raw[:-SIGNATURE_BYTES], raw[-SIGNATURE_BYTES:], leaf[60:156], leaf[156:252]

"""What refutes a contest that denies too much: the rounds, or the order as its account signed it.

Both are public; whoever shows them gets the accuser's bond. Coroutines are of steps.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from darkpool.arbiter import Contested
from darkpool.client.connection import Connection
from darkpool.client.published import PublishedRound, published_rounds, sealed_order
from darkpool.client.trader_home import TraderHome
from darkpool.contest import SettledRecord, claim, terms_hash_of
from darkpool.eip712 import SIGNATURE_BYTES, keccak256
from darkpool.entitlement import RoundWords
from darkpool.errors import OrderRefused
from darkpool.types import Address, address_hex


@dataclass(frozen=True, slots=True)
class Refutation:
    """A call of the arbiter, and in words what it shows."""

    function: str
    arguments: tuple[Any, ...] = field(repr=False)
    text: str


class Published(Protocol):
    """Who tells the rounds of settlements: the venue, or a copy of its log (logged.py)."""

    @property
    def vault(self) -> Address:
        """Where they are settled."""

    async def rounds(self, transcript: bytes) -> Sequence[PublishedRound]:
        """Those of the settlement of that transcript, in its order."""

    async def order(self, words: RoundWords, digest: bytes) -> bytes:
        """The bytes of an order of a round's list."""

    def terms(self, digest: bytes) -> bytes | None:
        """The preimage of the terms of that hash, if it is known."""


class AtVenue:
    """What the venue publishes; terms are those that a trader's folder keeps."""

    def __init__(self, connection: Connection, home: TraderHome) -> None:
        self._connection, self._home = connection, home

    @property
    def vault(self) -> Address:
        """That of its markets."""
        return self._connection.any.terms.contract

    async def rounds(self, transcript: bytes) -> Sequence[PublishedRound]:
        """Raises as `published_rounds`."""
        return await published_rounds(self._connection, transcript)

    async def order(self, words: RoundWords, digest: bytes) -> bytes:
        """Raises as `sealed_order`."""
        return await sealed_order(self._connection, words.market, words.number, digest)

    def terms(self, digest: bytes) -> bytes | None:
        """From the folder."""
        return self._home.terms(digest)


async def refutation(source: Published, found: Contested, record: SettledRecord) -> Refutation | None:
    """What is published and the account denied of that settlement; None if it denied nothing of it.

    Raises as the source; OrderRefused if it does not know the terms that an order names.
    """
    rounds = await source.rounds(record.transcript)
    transcripts = [r.words.hash for r in rounds]
    if keccak256(b"".join(transcripts)) != record.transcript:
        return None
    vault, account = address_hex(source.vault), address_hex(found.account)
    head = (vault, account, record.words)
    hidden = [(p, r.words) for p, r in enumerate(rounds) if not found.rounds >> p & 1]
    if hidden:
        shown = (*head, transcripts, [(place, list(words.words)) for place, words in hidden])
        numbers = ", ".join(str(words.number) for _, words in hidden)
        return Refutation("refute_round", shown, f"round {numbers}")
    consumed, said = record.consumed(found.account), dict(zip(found.orders, found.claims, strict=True))
    for place, r in enumerate(rounds):
        for at in r.listed(found.account, place):
            true = (bytes(32), claim(r.leaves[at.index], r.words))
            if at.nonce in consumed and said.get(at.nonce) not in true:
                raw = await source.order(r.words, at.hash)
                order = (at.nonce, *_signed(r, raw, at.index), at.index, list(at.path))
                nullifiers = [row.packed() for row in record.nullifiers]
                its_round = (place, list(r.words.words))
                terms = source.terms(terms_hash_of(raw))
                if terms is None:
                    raise OrderRefused(
                        f"order {at.nonce}: the terms it names are not known here",
                        "use a folder that visited the venue while they were in force",
                    )
                said_of = [list(found.orders), list(found.claims)]
                rest = (nullifiers, transcripts, its_round, *said_of, order, terms)
                return Refutation("refute_order", (*head, *rest), f"the order with nonce {at.nonce}")
    return None


def _signed(r: PublishedRound, raw: bytes, index: int) -> Sequence[bytes]:
    """Body, signature, C_q and C_m of an order; the points as its leaf has them."""
    leaf = r.leaves[index]
    return raw[:-SIGNATURE_BYTES], raw[-SIGNATURE_BYTES:], leaf[60:156], leaf[156:252]

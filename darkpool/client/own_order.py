"""An own order, opened from its public bytes with nothing but the seed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from commitments import sealing
from commitments.encoding import Reader
from commitments.errors import CommitmentsError
from commitments.order_proof import Witness
from commitments.order_statement import Statement
from commitments.pedersen import Opening
from darkpool import eip712
from darkpool.draft import Draft, leaf_node, open_note
from darkpool.errors import ConfigError, OrderRefused, PeerFault
from darkpool.order import MAX_REFERENCE_BYTES, NOTE_BYTES, Order, Terms, order_hash
from darkpool.types import Address, Nonce, Quanta

MAX_OWN_REFERENCE: Final = MAX_REFERENCE_BYTES - 21
"""Bytes of a trader's own reference: the note's has "#" and the root's nonce after it."""

_NOTED: Final = re.compile(r"(.*)#(0|[1-9][0-9]{0,19})", re.DOTALL)
_NOTHING: Final = Opening(0, 0)


def noted(reference: str, root: Nonce) -> str:
    """What a note carries as reference: the trader's own and the name of the order it descends from.

    Raises OrderRefused for one that is too long or not printable.
    """
    if len(reference.encode(errors="replace")) > MAX_OWN_REFERENCE or not reference.isprintable():
        raise OrderRefused(
            f"reference: not at most {MAX_OWN_REFERENCE} bytes of printable text",
            "shorten it",
            "bad-reference",
        )
    return f"{reference}#{root}"


@dataclass(frozen=True, slots=True)
class OwnOrder:
    """An order of the account's with all that its trader knows of it.

    root: nonce of the first order of its family, which renewals and replacements carry on: the name by
    which the trader knows them all.
    """

    hash: bytes
    statement: Statement = field(repr=False)
    order: Order = field(repr=False)
    locked: tuple[Opening, Opening] = field(repr=False)
    reference: str = field(repr=False)
    root: int

    @property
    def nonce(self) -> Nonce:
        """Its own nonce."""
        return Nonce(self.statement.nonce)

    @property
    def price(self) -> Quanta:
        """Its limit in quote quanta per lot."""
        return Quanta(self.statement.price(self.order.level))


def open_order(raw: bytes, terms: Terms, account: Address, seed: bytes) -> OwnOrder:
    """The own order of those bytes, of the market of `terms`.

    Steps: statement, whose it is, note against its hash, note under its leaf key, leaf key against its
    commitment. Raises PeerFault for an order this seed did not make.
    """
    try:
        statement = Statement.read(Reader(raw))
        s = (statement.chain_id, statement.contract, statement.market, statement.account)
        if s != (terms.chain_id, terms.contract, terms.market.id, account):
            raise PeerFault("an order of another account, market or vault", peer="venue")
        end = len(raw) - eip712.SIGNATURE_BYTES
        note = raw[end - NOTE_BYTES : end]
        if sha256(note).digest() != statement.note_hash:
            raise PeerFault("an order whose note is not the one it names", peer="venue")
        nonce = Nonce(statement.nonce)
        leaf = leaf_node(terms, account, seed, nonce, statement.utc_day)
        order, blindings = open_note(terms, leaf, account, nonce, statement.salt, note)
        sealing.verify_hmac_commit(leaf.secret, statement.encode_without_leaf(), statement.leaf_commitment)
        witness = Witness(order.slot, order.quantity, _NOTHING, _NOTHING, blindings, ())
        locked = Draft(statement, witness, note).locked
    except (CommitmentsError, ConfigError, ValueError) as error:
        raise PeerFault(
            f"an order of this account that its seed does not open ({type(error).__name__})",
            "check that the keystore is the one the order was made with",
            "venue",
        ) from None
    return OwnOrder(order_hash(raw), statement, order, locked, *_family(order.reference, nonce))


def _family(reference: str, nonce: Nonce) -> tuple[str, int]:
    match = _NOTED.fullmatch(reference)
    return (reference, nonce) if match is None else (match[1], int(match[2]))

"""The trader's side of an order: secrets derived, statement written, note sealed, proof made, signed.

    Order (secret) + Terms (public) + the account's keys and free collateral -> Draft -> SealedOrder

Every blinding and every s_j is HKDF of the seed and public data, so openings can be recovered from the seed;
a fresh public salt per attempt keeps two attempts from sharing one (protocol, section 4). Proof masks are
fresh randomness of the operating system.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final

from commitments import sealing
from commitments.encoding import Reader, Writer
from commitments.group import Point
from commitments.order_proof import Witness, prove, seal
from commitments.order_statement import Statement
from commitments.order_verify import Claim
from commitments.paillier import PublicKey
from commitments.params import GROUP_ORDER, LABEL_BLINDINGS, LABEL_ORDER_HASH, RANDOMNESS_BITS
from commitments.pedersen import Opening
from darkpool import eip712
from darkpool.order import BLINDING_COUNT, NOTE_BYTES, Order, SealedOrder, Terms, TimeInForce, signing_digest
from darkpool.types import Address, Nonce, PrivateKey, RoundId

_NOTE_LABEL: Final = b"darkpool/v1/note-associated"
_FILL_LABEL: Final = b"darkpool/v1/fill-key"
_WIDE: Final = 48  # bytes reduced modulo the group order: 129 bits of slack
_SECONDS_PER_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Collateral:
    """The trader's side of an F: its opening and the version a proof names."""

    opening: Opening = field(repr=False)
    version: int


@dataclass(frozen=True, slots=True)
class Draft:
    """An order ready to be proven: cheap to make, so that a client can pipeline; `finish` is heavy."""

    statement: Statement
    witness: Witness = field(repr=False)
    note: bytes = field(repr=False)

    @property
    def locked(self) -> tuple[Opening, Opening]:
        """Openings of C_base and C_quote: what acceptance takes from F."""
        base, quote = self.witness.locks(self.statement)
        return Opening(base, self.witness.blindings[3]), Opening(quote, self.witness.blindings[4])

    def finish(self, key: PublicKey, chain_id: int, contract: bytes, private_key: PrivateKey) -> SealedOrder:
        """Seal, prove, sign."""
        sent = seal(key, self.statement, self.witness)
        claim = Claim(self.statement, sent, prove(key, self.statement, sent, self.witness))
        body = self.statement.encode() + sent.encode(key) + claim.proof.encode(key)
        body = bytes(Writer().fixed(body, len(body)).var(self.note))
        order_hash = sha256(LABEL_ORDER_HASH + body).digest()
        domain = eip712.Domain(chain_id, Address(contract))
        signature = eip712.sign_digest(signing_digest(domain, self.statement, order_hash), private_key)
        return SealedOrder(body + signature, claim, self.note, signature)


@dataclass(frozen=True, slots=True)
class Standing:
    """When an order joins and how long it stands; times in unix seconds.

    auditor_keys: whom it carries handles for, ascending by encoding, of the terms' keys; None: for all.
    """

    first_round: RoundId
    now: int
    time_in_force: TimeInForce = TimeInForce.GOOD_TILL_CANCELLED
    valid_until: int = 0
    auditor_keys: tuple[Point, ...] | None = None


def draft(
    terms: Terms,
    account: Address,
    seed: bytes,
    nonce: Nonce,
    order: Order,
    standing: Standing,
    base: Collateral,
    quote: Collateral,
) -> Draft:
    """Statement, witness and encrypted note of an order. The salt is fresh: every call is a new attempt."""
    market, salt = terms.market, secrets.token_bytes(32)
    day = standing.now // _SECONDS_PER_DAY
    versions = (base.version, quote.version)
    blindings, randomness = derive_secrets(terms, account, seed, nonce, salt, versions, order)
    leaf = leaf_node(terms, account, seed, nonce, day)
    plaintext = order.encode() + b"".join(r.to_bytes(32, "big") for r in blindings)
    note = sealing.seal(sealing.note_key(leaf), plaintext, note_context(terms, account, nonce, salt))
    statement = Statement(
        chain_id=terms.chain_id,
        contract=terms.contract,
        venue=terms.venue,
        market=market.id,
        p_0=market.grid.p_0,
        tick=market.grid.tick,
        levels=market.grid.levels,
        lot=market.lot,
        pressure=market.pressure_ticks,
        first_round=standing.first_round,
        time_in_force=standing.time_in_force,
        valid_until=standing.valid_until,
        utc_day=day,
        account=account,
        nonce=nonce,
        salt=salt,
        key_id=terms.key.key_id,
        policy_hash=terms.policy_hash,
        terms_hash=terms.hash,
        auditor_keys=terms.auditor_keys if standing.auditor_keys is None else standing.auditor_keys,
        f_base=base.opening.commitment(),
        base_version=base.version,
        f_quote=quote.opening.commitment(),
        quote_version=quote.version,
        note_hash=sha256(note).digest(),
        fill_key=fill_key(terms, account, seed).public,
        leaf_commitment=bytes(32),
    )
    commitment = sealing.hmac_commit(leaf.secret, statement.encode_without_leaf())
    witness = Witness(order.slot, order.quantity, base.opening, quote.opening, blindings, randomness)
    return Draft(replace(statement, leaf_commitment=commitment), witness, note)


def derive_secrets(
    terms: Terms,
    account: Address,
    seed: bytes,
    nonce: Nonce,
    salt: bytes,
    versions: tuple[int, int],
    order: Order,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(six blindings, K ciphertext exponents) of one attempt: HKDF over seed, order and public data."""
    info = Writer().var(LABEL_BLINDINGS).uint(terms.chain_id, 8).fixed(terms.contract, 20)
    info.fixed(terms.market.id, 32).fixed(account, 20).uint(nonce, 8).fixed(terms.key.key_id, 32)
    info.uint(versions[0], 8).uint(versions[1], 8).fixed(sha256(order.encode()).digest(), 32)
    width = RANDOMNESS_BITS // 8
    length = BLINDING_COUNT * _WIDE + terms.packing.ciphertexts * width
    stream = Reader(sealing.hkdf(seed, salt, bytes(info), length))
    blindings = tuple(stream.uint("blinding", _WIDE) % GROUP_ORDER for _ in range(BLINDING_COUNT))
    return blindings, tuple(stream.uint("randomness", width) for _ in range(terms.packing.ciphertexts))


def leaf_node(terms: Terms, account: Address, seed: bytes, nonce: Nonce, day: int) -> sealing.NodeKey:
    """The order's key in the view-key tree: account -> market -> session day -> order."""
    return _leaf_node(terms.chain_id, terms.contract, terms.market.id, account, seed, nonce, day)


def _leaf_node(
    chain_id: int, contract: bytes, market: bytes, account: bytes, seed: bytes, nonce: int, day: int
) -> sealing.NodeKey:
    node = sealing.view_account(seed, chain_id, contract, account)
    return sealing.view_order(sealing.view_day(sealing.view_market(node, market), day), nonce)


def note_context(terms: Terms, account: Address, nonce: Nonce, salt: bytes) -> bytes:
    """What a note is bound to besides its key."""
    return _note_context(terms.chain_id, terms.contract, terms.market.id, account, nonce, salt)


def _note_context(
    chain_id: int, contract: bytes, market: bytes, account: bytes, nonce: int, salt: bytes
) -> bytes:
    head = Writer().var(_NOTE_LABEL).uint(chain_id, 8).fixed(contract, 20)
    return bytes(head.fixed(market, 32).fixed(account, 20).uint(nonce, 8).fixed(salt, 32))


def open_note(
    terms: Terms, leaf: sealing.NodeKey, account: Address, nonce: Nonce, salt: bytes, note: bytes
) -> tuple[Order, tuple[int, ...]]:
    """Order and blindings of a note. Raises VerificationError if the key is not the note's, DecodeError."""
    return _read_note(leaf, note, note_context(terms, account, nonce, salt))


def open_own(raw: bytes, seed: bytes) -> tuple[Statement, Order, tuple[int, ...]]:
    """Statement, order and six blindings of an own order, from its bytes and the seed alone.

    Raises VerificationError if the seed is not its trader's, DecodeError.
    """
    s = Statement.read(Reader(raw))
    end = len(raw) - eip712.SIGNATURE_BYTES
    leaf = _leaf_node(s.chain_id, s.contract, s.market, s.account, seed, s.nonce, s.utc_day)
    context = _note_context(s.chain_id, s.contract, s.market, s.account, s.nonce, s.salt)
    return s, *_read_note(leaf, raw[max(end - NOTE_BYTES, 0) : end], context)


def _read_note(leaf: sealing.NodeKey, note: bytes, context: bytes) -> tuple[Order, tuple[int, ...]]:
    reader = Reader(sealing.open_(sealing.note_key(leaf), note, context))
    order = Order.read(reader)
    blindings = tuple(reader.uint("note.blinding", 32, GROUP_ORDER - 1) for _ in range(BLINDING_COUNT))
    reader.end("note")
    return order, blindings


def fill_key(terms: Terms, account: Address, seed: bytes) -> sealing.BoxKey:
    """The key to which members seal the account's bought and sold totals."""
    context = bytes(Writer().uint(terms.chain_id, 8).fixed(terms.contract, 20).fixed(account, 20))
    return sealing.BoxKey.derive(sealing.derive_path(seed, (_FILL_LABEL, context)).secret)

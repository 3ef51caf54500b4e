"""A trader's order and what becomes of it: sealed, proven, noted and signed.

    Order (secret) + Terms (public) + the account's keys and free collateral -> SealedOrder (public bytes)

Every blinding and every s_j is HKDF of the seed and public data, so openings can be recovered from the seed;
a fresh public salt per attempt keeps two attempts from sharing one (protocol, section 4). Proof masks are
fresh randomness of the operating system.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from hashlib import sha256
from typing import Final

from commitments import sealing
from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, VerificationError
from commitments.group import Point
from commitments.order_proof import Proof, Witness, prove, seal
from commitments.order_statement import Commitments, Statement
from commitments.order_verify import Claim
from commitments.paillier import Packing, PublicKey
from commitments.params import GROUP_ORDER, LABEL_BLINDINGS, LABEL_ORDER_HASH, RANDOMNESS_BITS
from commitments.pedersen import Opening
from darkpool import eip712
from darkpool.errors import OrderRefused
from darkpool.market import Market, Side
from darkpool.types import Address, Lots, Nonce, PrivateKey, RoundId, Tick

MAX_ORDER_BYTES: Final = 1 << 18
MAX_REFERENCE_BYTES: Final = 64
_NOTE_LABEL: Final = b"darkpool/v1/note-associated"
_FILL_LABEL: Final = b"darkpool/v1/fill-key"
_BLINDING_COUNT: Final = 6
_WIDE: Final = 48  # bytes reduced modulo the group order: 129 bits of slack
_SECONDS_PER_DAY: Final = 86_400


class TimeInForce(IntEnum):
    """How long an order stands."""

    ROUND = 0
    GOOD_TILL_TIME = 1
    GOOD_TILL_CANCELLED = 2


@dataclass(frozen=True, slots=True)
class Terms:
    """What every order of a market must name: the public frame of a statement.

    policy_hash: the policy in force; tokens: the vault's list; auditor_keys: keys it demands handles for,
    ascending by encoding.
    """

    chain_id: int
    contract: Address
    venue: bytes
    market: Market
    key: PublicKey
    policy_hash: bytes
    tokens: tuple[Address, ...]
    auditor_keys: tuple[Point, ...] = ()

    @property
    def packing(self) -> Packing:
        """How the market's curves lie in ciphertexts."""
        return Packing(self.market.grid.levels, self.key.bits)

    @property
    def domain(self) -> eip712.Domain:
        """The EIP-712 domain of every signature."""
        return eip712.Domain(self.chain_id, self.contract)


@dataclass(frozen=True, slots=True)
class Order:
    """What the trader wants. Secret: `repr` shows none of it.

    level: grid level of the limit, 0 <= level < T; quantity in lots, zero is a decoy; reference: the
    client's own name for it, up to 64 bytes of UTF-8, which travels only inside the encrypted note.
    """

    side: Side = field(repr=False)
    level: Tick = field(repr=False)
    quantity: Lots = field(repr=False)
    reference: str = field(default="", repr=False)

    @property
    def slot(self) -> int:
        """k = 2i + s."""
        return 2 * self.level + self.side

    def encode(self) -> bytes:
        """Fixed length, so that a note's length says nothing."""
        reference = self.reference.encode()
        if len(reference) > MAX_REFERENCE_BYTES:
            raise OrderRefused(
                f"reference: {len(reference)} bytes, the limit is {MAX_REFERENCE_BYTES}", hint="shorten it"
            )
        writer = Writer().uint(self.side, 1).uint(self.level, 2).uint(self.quantity, 4)
        return bytes(writer.uint(len(reference), 1).fixed(reference.ljust(MAX_REFERENCE_BYTES, b"\0"), 64))

    @staticmethod
    def read(reader: Reader) -> Order:
        """The order of a note. Raises DecodeError."""
        side = Side(reader.uint("note.side", 1, 1))
        level = Tick(reader.uint("note.level", 2))
        quantity = Lots(reader.uint("note.quantity", 4))
        length = reader.uint("note.reference", 1, MAX_REFERENCE_BYTES)
        text = reader.fixed("note.reference", MAX_REFERENCE_BYTES)
        if text[length:].strip(b"\0"):
            raise DecodeError("note.reference", "not padded with zeros")
        try:
            return Order(side, level, quantity, text[:length].decode())
        except UnicodeDecodeError:
            raise DecodeError("note.reference", "not UTF-8") from None


@dataclass(frozen=True)
class SealedOrder:
    """An order as everybody sees it. `raw` is the wire form; the rest was decoded from it, strictly.

    Wire: statement || commitments || proof || length || note || signature (65 bytes, EIP-712 over the
    hash of all before it).
    """

    raw: bytes = field(repr=False)
    claim: Claim = field(repr=False)
    note: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def statement(self) -> Statement:
        """Its public statement."""
        return self.claim.statement

    @property
    def sent(self) -> Commitments:
        """Its commitments and ciphertexts."""
        return self.claim.sent

    @property
    def account(self) -> Address:
        """Who signed it."""
        return Address(self.statement.account)

    @property
    def nonce(self) -> Nonce:
        """The account's nonce, which is its nullifier on chain."""
        return Nonce(self.statement.nonce)

    @cached_property
    def hash(self) -> bytes:
        """32 bytes that name the order: SHA-256 over everything but the signature."""
        return sha256(LABEL_ORDER_HASH + self.raw[: -eip712.SIGNATURE_BYTES]).digest()

    @cached_property
    def leaf(self) -> bytes:
        """The entry of the sealed list: account, nonce, market, C_q, C_m uncompressed, order hash.

        Short enough to show to a contract without the order's 17 KB.
        """
        s, sent = self.statement, self.sent
        head = s.account + s.nonce.to_bytes(8, "big") + s.market
        return head + sent.c_q.encode_xy() + sent.c_m.encode_xy() + self.hash

    def check_signature(self, domain: eip712.Domain) -> None:
        """Raises OrderRefused unless the account itself signed."""
        try:
            eip712.check_signer(
                _signing_digest(domain, self.statement, self.hash), self.signature, self.account
            )
        except VerificationError as error:
            raise OrderRefused(
                f"signature: not the account's over this order: {error.problem}",
                hint="sign the order hash anew",
            ) from None

    @staticmethod
    def decode(raw: bytes, key: PublicKey) -> SealedOrder:
        """Strict: exact length, canonical points and integers, ranges. Raises DecodeError with the field."""
        if len(raw) > MAX_ORDER_BYTES:
            raise DecodeError("order", f"{len(raw)} bytes are above the limit {MAX_ORDER_BYTES}")
        reader = Reader(raw)
        statement = Statement.read(reader)
        if statement.key_id != key.key_id:
            raise DecodeError("key_id", "the order is sealed to another committee key; fetch the current one")
        sent = Commitments.read(reader, statement, key)
        proof = Proof.read(reader, statement, key)
        note = reader.var("note", NOTE_BYTES)
        signature = reader.fixed("signature", eip712.SIGNATURE_BYTES)
        reader.end("order")
        if len(note) != NOTE_BYTES or sha256(note).digest() != statement.note_hash:
            raise DecodeError("note", f"not the {NOTE_BYTES} bytes whose hash the statement carries")
        return SealedOrder(raw, Claim(statement, sent, proof), note, signature)


NOTE_BYTES: Final = 72 + 32 * _BLINDING_COUNT + sealing.NOTE_OVERHEAD


def _signing_digest(domain: eip712.Domain, statement: Statement, order_hash: bytes) -> bytes:
    return eip712.digest(
        domain,
        "SealedOrder(address account,uint64 nonce,bytes32 market,bytes32 order)",
        (statement.account, statement.nonce, statement.market, order_hash),
    )


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
        """Seal, prove, sign. About 25 ms at 3072 bits."""
        sent = seal(key, self.statement, self.witness)
        claim = Claim(self.statement, sent, prove(key, self.statement, sent, self.witness))
        body = self.statement.encode() + sent.encode(key) + claim.proof.encode(key)
        body = bytes(Writer().fixed(body, len(body)).var(self.note))
        order_hash = sha256(LABEL_ORDER_HASH + body).digest()
        domain = eip712.Domain(chain_id, Address(contract))
        signature = eip712.sign_digest(_signing_digest(domain, self.statement, order_hash), private_key)
        return SealedOrder(body + signature, claim, self.note, signature)


@dataclass(frozen=True, slots=True)
class Standing:
    """When an order joins and how long it stands; times in unix seconds."""

    first_round: RoundId
    now: int
    time_in_force: TimeInForce = TimeInForce.GOOD_TILL_CANCELLED
    valid_until: int = 0


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
        auditor_keys=terms.auditor_keys,
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
    length = _BLINDING_COUNT * _WIDE + terms.packing.ciphertexts * width
    stream = Reader(sealing.hkdf(seed, salt, bytes(info), length))
    blindings = tuple(stream.uint("blinding", _WIDE) % GROUP_ORDER for _ in range(_BLINDING_COUNT))
    return blindings, tuple(stream.uint("randomness", width) for _ in range(terms.packing.ciphertexts))


def leaf_node(terms: Terms, account: Address, seed: bytes, nonce: Nonce, day: int) -> sealing.NodeKey:
    """The order's key in the view-key tree: account -> market -> session day -> order."""
    node = sealing.view_account(seed, terms.chain_id, terms.contract, account)
    return sealing.view_order(sealing.view_day(sealing.view_market(node, terms.market.id), day), nonce)


def note_context(terms: Terms, account: Address, nonce: Nonce, salt: bytes) -> bytes:
    """What a note is bound to besides its key."""
    head = Writer().var(_NOTE_LABEL).uint(terms.chain_id, 8).fixed(terms.contract, 20)
    return bytes(head.fixed(terms.market.id, 32).fixed(account, 20).uint(nonce, 8).fixed(salt, 32))


def open_note(
    terms: Terms, leaf: sealing.NodeKey, account: Address, nonce: Nonce, salt: bytes, note: bytes
) -> tuple[Order, tuple[int, ...]]:
    """Order and blindings of a note. Raises VerificationError if the key is not the note's, DecodeError."""
    plaintext = sealing.open_(sealing.note_key(leaf), note, note_context(terms, account, nonce, salt))
    reader = Reader(plaintext)
    order = Order.read(reader)
    blindings = tuple(reader.uint("note.blinding", 32, GROUP_ORDER - 1) for _ in range(_BLINDING_COUNT))
    reader.end("note")
    return order, blindings


def fill_key(terms: Terms, account: Address, seed: bytes) -> sealing.BoxKey:
    """The key to which members seal the account's bought and sold totals."""
    context = bytes(Writer().uint(terms.chain_id, 8).fixed(terms.contract, 20).fixed(account, 20))
    return sealing.BoxKey.derive(sealing.derive_path(seed, (_FILL_LABEL, context)).secret)

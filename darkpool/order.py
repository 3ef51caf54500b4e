"""A trader's order, in the clear and as everybody sees it; making the one from the other is draft.py's.

Order (secret)  ->  SealedOrder (public bytes): statement, commitments, proof, note, signature
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from hashlib import sha256
from typing import Final

from commitments import sealing
from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, VerificationError
from commitments.group import Point
from commitments.order_proof import Proof
from commitments.order_statement import Commitments, Statement
from commitments.order_verify import Claim
from commitments.paillier import Packing, PublicKey
from commitments.params import (
    LABEL_ORDER_HASH,
    LABEL_TERMS,
    MAX_AUDITOR_KEYS,
)
from darkpool import eip712
from darkpool.errors import ConfigError, OrderRefused
from darkpool.market import Market, Side
from darkpool.types import Address, Lots, Nonce, Tick

MAX_ORDER_BYTES: Final = 1 << 18
MAX_REFERENCE_BYTES: Final = 64
BLINDING_COUNT: Final = 6


class TimeInForce(IntEnum):
    """How long an order stands."""

    ROUND = 0
    GOOD_TILL_TIME = 1
    GOOD_TILL_CANCELLED = 2


@dataclass(frozen=True, slots=True)
class Terms:
    """What every order of a market must name: the public frame of a statement.

    policy_hash: the policy in force; tokens and settle_window (seconds): the vault's; auditor_keys: keys it
    demands handles for, ascending by encoding. Raises ConfigError.
    """

    chain_id: int
    contract: Address
    venue: bytes
    market: Market
    key: PublicKey
    policy_hash: bytes
    tokens: tuple[Address, ...]
    settle_window: int
    auditor_keys: tuple[Point, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.chain_id < 1 << 64:
            raise ConfigError(f"chain id: {self.chain_id} is not from 1 to 2^64 - 1")
        if not 0 < self.settle_window < 1 << 64:
            raise ConfigError(f"settle window: {self.settle_window} is not from 1 to 2^64 - 1 seconds")
        for name, data, width in (
            ("contract", self.contract, 20),
            ("venue", self.venue, 32),
            ("policy hash", self.policy_hash, 32),
        ):
            if len(data) != width:
                raise ConfigError(f"{name}: {len(data)} bytes, not {width}")
        if not {self.market.base, self.market.quote} <= set(self.tokens):
            raise ConfigError(f"tokens: the vault lacks one of market {self.market.name}")
        keys = [key.encode() for key in self.auditor_keys]
        if len(keys) > MAX_AUDITOR_KEYS or keys != sorted(set(keys)):
            raise ConfigError(f"auditor keys: not at most {MAX_AUDITOR_KEYS} in ascending order, each once")

    @property
    def hash(self) -> bytes:
        """32 bytes over every term. In statements and sealed roots, so all parties mean the same market."""
        return sha256(self.preimage).digest()

    @property
    def preimage(self) -> bytes:
        """What `hash` is of. contracts/src/evidence.vy reads the tokens in it."""
        market, grid = self.market, self.market.grid
        writer = (
            Writer().var(LABEL_TERMS).uint(self.chain_id, 8).fixed(self.contract, 20).fixed(self.venue, 32)
        )
        writer.fixed(market.id, 32).var(market.name.encode()).fixed(market.base, 20).fixed(market.quote, 20)
        for number in (market.lot, grid.p_0, grid.tick, grid.levels, market.pressure_ticks):
            writer.uint(number, 8)
        minima = (market.min_volume, market.min_accounts, market.min_orders)
        for number in (*minima, self.settle_window, len(self.tokens)):
            writer.uint(number, 8)
        for token in self.tokens:
            writer.fixed(token, 20)
        writer.fixed(self.key.key_id, 32).fixed(self.policy_hash, 32)
        for key in self.auditor_keys:
            writer.fixed(key.encode(), 48)
        return bytes(writer)

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
        return order_hash(self.raw)

    @cached_property
    def leaf(self) -> bytes:
        """The entry of the sealed list."""
        return order_leaf(self.statement, self.sent, self.hash)

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


NOTE_BYTES: Final = 72 + 32 * BLINDING_COUNT + sealing.NOTE_OVERHEAD


def signing_digest(domain: eip712.Domain, statement: Statement, order_hash: bytes) -> bytes:
    """What the account signs."""
    return eip712.digest(
        domain,
        "SealedOrder(address account,uint64 nonce,bytes32 market,bytes32 order)",
        (statement.account, statement.nonce, statement.market, order_hash),
    )


def check_order_signature(
    domain: eip712.Domain, statement: Statement, digest: bytes, signature: bytes
) -> None:
    """Raises OrderRefused unless the account itself signed the order of that hash."""
    try:
        eip712.check_signer(signing_digest(domain, statement, digest), signature, Address(statement.account))
    except VerificationError as error:
        raise OrderRefused(
            f"signature: not the account's over this order: {error.problem}",
            "sign the order hash anew",
            "bad-signature",
        ) from None


def order_hash(raw: bytes) -> bytes:
    """32 bytes that name the order: SHA-256 over everything but the signature."""
    return sha256(LABEL_ORDER_HASH + raw[: -eip712.SIGNATURE_BYTES]).digest()


def order_leaf(statement: Statement, sent: Commitments, digest: bytes) -> bytes:
    """The entry of the sealed list: account, nonce, market, C_q, C_m uncompressed, order hash.

    Short enough to show to a contract without the order's 17 KB.
    """
    head = statement.account + statement.nonce.to_bytes(8, "big") + statement.market
    return head + sent.c_q.encode_xy() + sent.c_m.encode_xy() + digest

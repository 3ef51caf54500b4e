"""What a sealed order says in public: the statement, and the commitments and ciphertexts that hide the rest.

Wire format: statement, then commitments, in the order of the fields below, integers big-endian of the widths
given, points compressed. The proof follows (order_proof.py), then note and signature (darkpool.order).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError
from commitments.group import Point
from commitments.paillier import Ciphertext, Packing, PublicKey
from commitments.params import (
    COLLATERAL_BITS,
    MAX_AUDITOR_KEYS,
    MAX_LEVELS,
    POINT_BYTES,
    PROTOCOL_VERSION,
    QUANTITY_BITS,
)
from commitments.transcript import Transcript

_MAX_QUANTITY: Final = (1 << QUANTITY_BITS) - 1
_WIDTHS: Final = {
    "chain_id": 8,
    "p_0": 8,
    "tick": 8,
    "levels": 2,
    "lot": 8,
    "pressure": 2,
    "first_round": 8,
    "time_in_force": 1,
    "valid_until": 8,
    "utc_day": 4,
    "nonce": 8,
    "base_version": 8,
    "quote_version": 8,
}
_BYTES: Final = {
    "contract": 20,
    "venue": 32,
    "market": 32,
    "account": 20,
    "salt": 32,
    "key_id": 32,
    "policy_hash": 32,
    "terms_hash": 32,
    "note_hash": 32,
    "fill_key": 32,
    "leaf_commitment": 32,
}
_POINTS: Final = ("c_q", "c_h", "c_bits", "c_base", "c_quote", "c_m")
_MIN_LEVELS: Final = 2


@dataclass(frozen=True, slots=True)
class Statement:
    """Everything the proof and the signature bind (protocol, section 5). All of it is public.

    p_0, tick: quote quanta per lot; lot: base quanta per lot; levels: T; pressure: L in ticks;
    valid_until: unix seconds, 0 for none; utc_day: days since 1970-01-01; key_id: of the committee's key;
    f_base, f_quote: the free-collateral commitments, with versions, that the proof is against;
    terms_hash: of all the market's terms, minima included; note_hash: SHA-256 of the encrypted note;
    fill_key: X25519 key the account's totals are sealed to;
    leaf_commitment: HMAC of the rest of the statement under the note's key (`encode_without_leaf`).
    """

    chain_id: int
    contract: bytes
    venue: bytes
    market: bytes
    p_0: int
    tick: int
    levels: int
    lot: int
    pressure: int
    first_round: int
    time_in_force: int
    valid_until: int
    utc_day: int
    account: bytes
    nonce: int
    salt: bytes
    key_id: bytes
    policy_hash: bytes
    terms_hash: bytes
    auditor_keys: tuple[Point, ...]
    f_base: Point
    base_version: int
    f_quote: Point
    quote_version: int
    note_hash: bytes
    fill_key: bytes
    leaf_commitment: bytes

    def price(self, level: int) -> int:
        """p_i in quote quanta per lot."""
        return self.p_0 + level * self.tick

    def encode(self) -> bytes:
        """Canonical bytes. Raises ParameterError if a value does not fit its width."""
        return self.encode_without_leaf() + self.leaf_commitment

    def encode_without_leaf(self) -> bytes:
        """The rest of the statement: what the leaf commitment covers."""
        writer = Writer().uint(PROTOCOL_VERSION, 2)
        for item in fields(self)[:-1]:
            value = getattr(self, item.name)
            if item.name in _WIDTHS:
                writer.uint(value, _WIDTHS[item.name])
            elif item.name in _BYTES:
                writer.fixed(value, _BYTES[item.name])
            elif isinstance(value, Point):
                writer.fixed(value.encode(), POINT_BYTES)
            else:
                writer.uint(len(value), 1)
                for key in value:
                    writer.fixed(key.encode(), POINT_BYTES)
        return bytes(writer)

    @staticmethod
    def read(reader: Reader) -> Statement:
        """A statement whose fields are in range and whose amounts cannot wrap. Raises DecodeError.

        Whether it is the right statement (chain, market, round, account …) is for the book to say.
        """
        version = reader.uint("version", 2)
        if version != PROTOCOL_VERSION:
            raise DecodeError("version", f"{version} where {PROTOCOL_VERSION} is spoken")
        values: dict[str, Any] = {}
        for item in fields(Statement):
            name = item.name
            if name in _WIDTHS:
                values[name] = reader.uint(name, _WIDTHS[name])
            elif name in _BYTES:
                values[name] = reader.fixed(name, _BYTES[name])
            elif name == "auditor_keys":
                count = reader.uint(name, 1, MAX_AUDITOR_KEYS)
                values[name] = tuple(_read_point(reader, f"auditor_keys[{i}]") for i in range(count))
            else:
                values[name] = Point.decode(reader.fixed(name, POINT_BYTES), name, identity_allowed=True)
        statement = Statement(**values)
        statement._check_ranges()
        return statement

    def _check_ranges(self) -> None:
        if not _MIN_LEVELS <= self.levels <= MAX_LEVELS:
            raise DecodeError("levels", f"{self.levels} is not from {_MIN_LEVELS} to {MAX_LEVELS}")
        if not self.tick or not self.lot:
            raise DecodeError("tick" if not self.tick else "lot", "zero; at least 1 quantum")
        top = max(self.price(self.levels - 1), self.lot)
        if (top * _MAX_QUANTITY).bit_length() > COLLATERAL_BITS:
            raise DecodeError(
                "grid", f"{_MAX_QUANTITY} lots would be worth 2^{COLLATERAL_BITS} quanta or more"
            )
        keys = [key.encode() for key in self.auditor_keys]
        if keys != sorted(set(keys)):
            raise DecodeError("auditor_keys", "not in strictly ascending order of their encodings")


def _read_point(reader: Reader, name: str) -> Point:
    return Point.decode(reader.fixed(name, POINT_BYTES), name)


@dataclass(frozen=True, slots=True)
class Handle:
    """What lets the holder of A = aH open C_q and C_m: r_q A and r_m A."""

    q: Point
    m: Point


@dataclass(frozen=True, slots=True)
class Commitments:
    """The hidden part, as sent. C_base and C_quote are what the order locks, in quanta."""

    c_q: Point
    c_h: Point
    c_bits: Point
    c_base: Point
    c_quote: Point
    c_m: Point
    handles: tuple[Handle, ...]
    ciphertexts: tuple[Ciphertext, ...] = field(repr=False)

    def encode(self, key: PublicKey) -> bytes:
        """Canonical bytes: six points, the handles, the ciphertexts."""
        return b"".join(data for _, data in self.elements(key))

    def elements(self, key: PublicKey) -> list[tuple[bytes, bytes]]:
        """(label, encoding) of every element, in wire and transcript order."""
        items = [(name.encode(), getattr(self, name).encode()) for name in _POINTS]
        for i, handle in enumerate(self.handles):
            items += [(b"handle_q/%d" % i, handle.q.encode()), (b"handle_m/%d" % i, handle.m.encode())]
        items += [(b"ciphertext/%d" % j, key.encode_ciphertext(c)) for j, c in enumerate(self.ciphertexts)]
        return items

    @staticmethod
    def read(reader: Reader, statement: Statement, key: PublicKey) -> Commitments:
        """The commitments of that statement. Raises DecodeError."""
        points = {name: _read_point(reader, name) for name in _POINTS}
        handles = tuple(
            Handle(_read_point(reader, f"handles[{i}].q"), _read_point(reader, f"handles[{i}].m"))
            for i in range(len(statement.auditor_keys))
        )
        packing = Packing(statement.levels, key.bits)
        ciphertexts = tuple(
            key.decode_ciphertext(
                reader.fixed(f"ciphertexts[{j}]", key.ciphertext_bytes), f"ciphertexts[{j}]"
            )
            for j in range(packing.ciphertexts)
        )
        return Commitments(**points, handles=handles, ciphertexts=ciphertexts)


def open_transcript(label: bytes, key: PublicKey, statement: Statement, sent: Commitments) -> Transcript:
    """A transcript that has absorbed the key, the whole statement and everything sent, in that order."""
    transcript = Transcript(label)
    transcript.absorb(b"modulus", key.encode())
    transcript.absorb(b"statement", statement.encode())
    for name, data in sent.elements(key):
        transcript.absorb(name, data)
    return transcript

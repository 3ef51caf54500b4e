"""An auditor's key A = aH, and the proof that whoever registers it knows a.

A policy that names A makes every order carry the handles r_q A and r_m A (protocol, section 5): the holder
of a reads those orders. A key whose secret nobody knows would be a demand that nobody can use, and one made
of other keys would lean on theirs; so a registration proves possession, and says for which chain, contract,
venue and authority:

    PoK{ a :  A = aH }      challenge over context, A and S;  zH = S + eA

Schnorr 1991, Fiat-Shamir with TupleHash256; transcript order is the order of fields. How several authorities
share a key is auditor_shares.py's.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.group import Point, Scalar
from commitments.params import (
    CHALLENGE_BITS,
    GROUP_ORDER,
    LABEL_AUDITOR_REGISTRATION,
    LABEL_AUDITOR_SECRET,
    POINT_BYTES,
    SCALAR_BYTES,
)
from commitments.pedersen import generator_h, random_scalar
from commitments.transcript import Transcript

MAX_AUTHORITY_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class KeyContext:
    """Where a key is registered and whose it is.

    contract: 20 bytes; venue: 32 bytes; authority: its name, 1 to 64 bytes of printable UTF-8.
    """

    chain_id: int
    contract: bytes
    venue: bytes
    authority: str

    def encode(self) -> bytes:
        """Canonical bytes. Raises ParameterError if a field does not fit."""
        problem = _name_problem(self.authority)
        if problem:
            raise ParameterError(f"authority: {problem}")
        writer = Writer().uint(self.chain_id, 8).fixed(self.contract, 20).fixed(self.venue, 32)
        return bytes(writer.var(self.authority.encode()))

    @staticmethod
    def read(reader: Reader) -> KeyContext:
        """The context of a registration. Raises DecodeError."""
        chain_id = reader.uint("context.chain_id", 8)
        contract, venue = reader.fixed("context.contract", 20), reader.fixed("context.venue", 32)
        try:
            authority = reader.var("context.authority", MAX_AUTHORITY_BYTES).decode()
        except UnicodeDecodeError:
            raise DecodeError("context.authority", "not UTF-8") from None
        problem = _name_problem(authority)
        if problem:
            raise DecodeError("context.authority", problem)
        return KeyContext(chain_id, contract, venue, authority)


def _name_problem(name: str) -> str:
    """What is wrong with an authority's name, or nothing. The name ends up on screens and in logs."""
    if not 1 <= len(name.encode("utf-8", "replace")) <= MAX_AUTHORITY_BYTES:
        return f"not 1 to {MAX_AUTHORITY_BYTES} bytes"
    if not name.isprintable() or name.strip() != name:
        return "a control character, or a blank at an end"
    return ""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """a, from 1 to r - 1. Secret: it reads every order of its policy. Raises ParameterError out of range."""

    value: Scalar = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.value < GROUP_ORDER:
            raise ParameterError("an auditor's secret key is from 1 to r - 1")

    @staticmethod
    def generate() -> SecretKey:
        """A key from the operating system's randomness."""
        return SecretKey(1 + secrets.randbelow(GROUP_ORDER - 1))

    @property
    def public(self) -> Point:
        """A = aH."""
        return generator_h() * self.value

    def encode(self) -> bytes:
        """label, a. In the clear: whoever stores it encrypts it."""
        return bytes(Writer().var(LABEL_AUDITOR_SECRET).uint(self.value, SCALAR_BYTES))

    @staticmethod
    def decode(data: bytes) -> SecretKey:
        """The key of `encode`. Raises DecodeError."""
        reader = Reader(data)
        read_label(reader, LABEL_AUDITOR_SECRET)
        value = reader.uint("secret_key.value", SCALAR_BYTES, GROUP_ORDER - 1)
        reader.end("secret_key")
        if not value:
            raise DecodeError("secret_key.value", "zero; at least 1")
        return SecretKey(value)


@dataclass(frozen=True, slots=True)
class Registration:
    """A key with its context and proof of possession: the file an authority hands to the operator. Public."""

    context: KeyContext
    key: Point
    mask: Point  # S
    response: Scalar  # z

    def encode(self) -> bytes:
        """Canonical bytes: label, context, A, S, z."""
        context = self.context.encode()
        writer = Writer().var(LABEL_AUDITOR_REGISTRATION).fixed(context, len(context))
        writer.fixed(self.key.encode(), POINT_BYTES).fixed(self.mask.encode(), POINT_BYTES)
        return bytes(writer.uint(self.response, SCALAR_BYTES))

    @staticmethod
    def decode(data: bytes) -> Registration:
        """A registration in canonical form, points in the subgroup, A not the identity. Raises DecodeError.

        Whether it holds is for `verify`.
        """
        reader = Reader(data)
        read_label(reader, LABEL_AUDITOR_REGISTRATION)
        context = KeyContext.read(reader)
        key = Point.decode(reader.fixed("key", POINT_BYTES), "key")
        mask = Point.decode(reader.fixed("mask", POINT_BYTES), "mask", identity_allowed=True)
        response = reader.uint("response", SCALAR_BYTES, GROUP_ORDER - 1)
        reader.end("registration")
        return Registration(context, key, mask, response)


def register(secret: SecretKey, context: KeyContext) -> Registration:
    """The registration of aH in that context. Raises ParameterError for a context that does not fit."""
    key, t = secret.public, random_scalar()
    mask = generator_h() * t
    e = _challenge(context, key, mask)
    return Registration(context, key, mask, (t + e * secret.value) % GROUP_ORDER)


def verify(registration: Registration, chain_id: int, contract: bytes, venue: bytes) -> None:
    """Raises VerificationError unless the key is for that venue and its holder was proven to know a."""
    context, key = registration.context, registration.key
    if (context.chain_id, context.contract, context.venue) != (chain_id, contract, venue):
        raise VerificationError("context", "the key was registered for another chain, contract or venue")
    if key.is_identity():
        raise VerificationError("key", "the identity is no key")
    e = _challenge(context, key, registration.mask)
    if generator_h() * registration.response != registration.mask + key * e:
        raise VerificationError("proof of possession", "it does not hold for this key in this context")


def _challenge(context: KeyContext, key: Point, mask: Point) -> int:
    transcript = Transcript(LABEL_AUDITOR_REGISTRATION)
    transcript.absorb(b"context", context.encode())
    transcript.absorb(b"key", key.encode())
    transcript.absorb(b"mask", mask.encode())
    return transcript.challenge(b"e", CHALLENGE_BITS)


def read_label(reader: Reader, label: bytes) -> None:
    """The file's first field. Raises DecodeError unless it is that label."""
    if reader.var("label", len(label)) != label:
        raise DecodeError("label", f"not a file of kind {label.decode()}")

"""A partial decryption is right: the exponent of the member's verification value made it (blame).

    PoK{ s :  V_i = V^s,  x_i^2 = x~^s }   in QR_N,  x = c mod N,  x~ = x^(4 Delta)

A partial is x_i = x^(2 Delta s_i), and only its square is combined, so its sign proves and changes nothing.

Moves (Fiat-Shamir with TupleHash256; transcript order is this order):
  0. N, n, t, epoch, scale, i, V, V_i, x, x_i
  1. A = V^r, B = x~^r, r uniform below 2^(|s| + 256)      -> e (128 bits)
  2. z = r + e s, an integer; |s| is the committee's `share_bits`.
Sent are e and z. Check: with A = V^z V_i^(-e) and B = x~^z x_i^(-2e), the hash gives e.

Claim. QR_N is cyclic of order p'q', and V generates it but with negligible probability. Two answers to one
first move give V^(z-z') = V_i^(e-e') and x~^(z-z') = x_i^(2(e-e')); |e-e'| < 2^128 < p', q' has an inverse
modulo p'q', so both logarithms are (z-z') / (e-e'): the statement is true, whoever made x. (If V_i is minus
a power of V, squaring the first equation says the same.) Zero knowledge is statistical, 2^-128: no reduction
modulo the unknown order, instead r is 128 bits longer than e s. Not constant-time. The profile insecure-test
has no soundness, as everywhere.

Shoup 2000, "Practical threshold signatures", section 2.2 (proof of correctness); Chaum, Pedersen 1992.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

import gmpy2
from gmpy2 import mpz

from commitments.encoding import Reader, Writer
from commitments.errors import ParameterError, VerificationError
from commitments.paillier import Ciphertext
from commitments.params import CHALLENGE_BITS, LABEL_SHARE_PROOF
from commitments.threshold import Committee, KeyShare, partial
from commitments.transcript import Transcript

_HIDING_BITS: Final = 128  # the mask above e s
_CHALLENGE_BYTES: Final = CHALLENGE_BITS // 8


@dataclass(frozen=True, slots=True)
class Statement:
    """Member `index` of the committee answered x = c mod N with `partial`, a unit modulo N.

    Raises ParameterError if the committee has no verification value for that member.
    """

    committee: Committee
    index: int
    residue: mpz  # x
    partial: mpz  # x_i

    def __post_init__(self) -> None:
        self.committee.value(self.index)


@dataclass(frozen=True, slots=True)
class ShareProof:
    """Challenge e and response z."""

    challenge: int
    response: int = field(repr=False)

    @staticmethod
    def width(committee: Committee) -> int:
        """Bytes of every encoded proof: 16 and those of z."""
        return _CHALLENGE_BYTES + _response_bytes(committee)

    def encode(self, committee: Committee) -> bytes:
        """Canonical bytes. Raises ParameterError if a part does not fit."""
        writer = Writer().uint(self.challenge, _CHALLENGE_BYTES)
        return bytes(writer.uint(self.response, _response_bytes(committee)))

    @staticmethod
    def read(reader: Reader, committee: Committee) -> ShareProof:
        """A proof for that committee, not yet checked. Raises DecodeError."""
        e = reader.uint("share proof, challenge", _CHALLENGE_BYTES)
        z = reader.uint("share proof, response", _response_bytes(committee), _response_limit(committee))
        return ShareProof(e, z)


def prove(statement: Statement, witness: KeyShare) -> ShareProof:
    """A proof that the share made the partial; masks are fresh.

    Raises ParameterError if the share is too long for its committee, where it would not be hidden.
    """
    committee, n = statement.committee, statement.committee.key.n
    bits = committee.share_bits
    if not 0 <= witness.value < 1 << bits:
        raise ParameterError(f"a share outside its bound of {bits} bits")
    r = secrets.randbits(bits + CHALLENGE_BITS + _HIDING_BITS)
    a = gmpy2.powmod(committee.base, r, n)
    b = gmpy2.powmod(_base(statement), r, n)
    e = _challenge(statement, a, b)
    return ShareProof(e, r + e * witness.value)


def verify(statement: Statement, proof: ShareProof) -> None:
    """Raises VerificationError naming the member unless the proof holds."""
    committee, n, member = statement.committee, statement.committee.key.n, f"member {statement.index}"
    e, z = proof.challenge, proof.response
    if not 0 < statement.partial < n or gmpy2.gcd(statement.partial, n) != 1:
        raise VerificationError("partial decryption", f"{member}: not a unit modulo N")
    if not 0 <= e < 1 << CHALLENGE_BITS or not 0 <= z <= _response_limit(committee):
        raise VerificationError("partial decryption", f"{member}: challenge or response is out of range")
    a = gmpy2.powmod(committee.base, z, n) * gmpy2.powmod(committee.value(statement.index), -e, n) % n
    b = gmpy2.powmod(_base(statement), z, n) * gmpy2.powmod(statement.partial, -2 * e, n) % n
    if _challenge(statement, a, b) != e:
        raise VerificationError("partial decryption", f"{member}: not made with the share it was dealt")


def prove_partial(committee: Committee, share: KeyShare, c: Ciphertext) -> tuple[mpz, ShareProof]:
    """The member's partial decryption of c, and the proof that it is one. Raises ParameterError."""
    x_i = partial(committee, share, c)
    return x_i, prove(Statement(committee, share.index, c % committee.key.n, x_i), share)


def verify_partial(committee: Committee, index: int, c: Ciphertext, x_i: mpz, proof: ShareProof) -> None:
    """Raises VerificationError unless x_i is member `index`'s partial decryption of c, up to its sign.

    Raises ParameterError if the committee has no such member or no verification values.
    """
    verify(Statement(committee, index, c % committee.key.n, x_i), proof)


def _response_limit(committee: Committee) -> int:
    """The largest z: a mask and e s."""
    return (1 << (committee.share_bits + CHALLENGE_BITS + _HIDING_BITS + 1)) - 1


def _response_bytes(committee: Committee) -> int:
    return -(-_response_limit(committee).bit_length() // 8)


def _base(statement: Statement) -> mpz:
    """x~ = x^(4 Delta)."""
    return gmpy2.powmod(statement.residue, 4 * statement.committee.delta, statement.committee.key.n)


def _challenge(statement: Statement, a: mpz, b: mpz) -> int:
    committee = statement.committee
    transcript = Transcript(LABEL_SHARE_PROOF)
    transcript.absorb(b"modulus", committee.key.encode())
    for name, number in (
        (b"members", committee.members),
        (b"threshold", committee.threshold),
        (b"epoch", committee.epoch),
        (b"scale", committee.scale),
        (b"index", statement.index),
    ):
        transcript.absorb(name, number.to_bytes(4, "big"))
    for name, residue in (
        (b"base", committee.base),
        (b"value", committee.value(statement.index)),
        (b"residue", statement.residue),
        (b"partial", statement.partial),
        (b"a", a),
        (b"b", b),
    ):
        transcript.absorb(name, int(residue).to_bytes(committee.key.modulus_bytes, "big"))
    return transcript.challenge(b"e", CHALLENGE_BITS)

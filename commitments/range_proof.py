"""A committed value lies in [0, 2^n), n up to 64.

    PoK{ (v, r, b_*, r_b) :  C = vG + rH,  C_bits = sum b_i B_i + r_b H,
         every b_i is 0 or 1,  v = sum 2^i b_i }

Moves (public coin, Fiat-Shamir with TupleHash256; transcript order is this order):
  0. context, n, C, C_bits                            -> y (252 bits)
  1. S, S_bits, CT0, CT1                              -> e (128 bits)
  2. z_i = s_i + e b_i, blindings and tau, all mod r.
Checks:
  a. (sum 2^i z_i) G + zr H = S + e C;
  b. sum z_i B_i + zb H = S_bits + e C_bits;
  c. (sum y^i z_i (z_i - e)) G + tau H = CT0 + e CT1: its e^2 coefficient, which nothing on the right can
     carry, vanishes only if every b_i is a bit.
An integer, not a residue: 2^64 is far below r. Whoever proves a sum must see to it that the sum cannot wrap.
Special soundness with three transcripts of equal y; perfect zero knowledge. As in order_proof.py, after
Cramer, Damgard, Schoenmakers 1994; Bootle et al. 2016. Unaudited; proving is not constant-time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from commitments.encoding import Reader, Writer
from commitments.errors import ParameterError, VerificationError
from commitments.group import Point, Scalar, multiply_sum
from commitments.params import (
    CHALLENGE_BITS,
    GROUP_ORDER,
    LABEL_RANGE_PROOF,
    POINT_BYTES,
    POWERS_CHALLENGE_BITS,
    SCALAR_BYTES,
)
from commitments.pedersen import Opening, bit_generators, commit, generator_h, random_scalar
from commitments.transcript import Transcript

MAX_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Statement:
    """C commits to a value in [0, 2^bits); `context` is whatever the proof is to be bound to.

    Raises ParameterError unless 1 <= bits <= 64.
    """

    commitment: Point
    bits: int
    context: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise ParameterError(f"a range of {self.bits} bits; allowed are 1 to {MAX_BITS}")


@dataclass(frozen=True, slots=True)
class Proof:
    """Messages of all moves, in wire order; `bits` are the z_i, one per bit of the range."""

    c_bits: Point
    mask: Point  # S
    bits_mask: Point  # S_bits
    ct0: Point
    ct1: Point
    bits: tuple[Scalar, ...] = field(repr=False)
    blinding: Scalar = field(repr=False)  # zr
    bits_blinding: Scalar = field(repr=False)  # zb
    tau: Scalar = field(repr=False)

    def encode(self) -> bytes:
        """Canonical bytes: 240 and 32 (n + 3)."""
        writer = Writer()
        for point in (self.c_bits, self.mask, self.bits_mask, self.ct0, self.ct1):
            writer.fixed(point.encode(), POINT_BYTES)
        for z in (*self.bits, self.blinding, self.bits_blinding, self.tau):
            writer.uint(z, SCALAR_BYTES)
        return bytes(writer)

    @staticmethod
    def read(reader: Reader, bits: int) -> Proof:
        """The proof for a range of that many bits: canonical, reduced, in the subgroup. Raises DecodeError.

        Any point may be the identity: an honest one is with negligible probability, and it proves nothing
        amiss.
        """

        def point(name: str) -> Point:
            return Point.decode(reader.fixed(name, POINT_BYTES), name, identity_allowed=True)

        def scalar(name: str) -> Scalar:
            return reader.uint(name, SCALAR_BYTES, GROUP_ORDER - 1)

        return Proof(
            c_bits=point("range.c_bits"),
            mask=point("range.mask"),
            bits_mask=point("range.bits_mask"),
            ct0=point("range.ct0"),
            ct1=point("range.ct1"),
            bits=tuple(scalar(f"range.bits[{i}]") for i in range(bits)),
            blinding=scalar("range.blinding"),
            bits_blinding=scalar("range.bits_blinding"),
            tau=scalar("range.tau"),
        )


def prove(statement: Statement, witness: Opening) -> Proof:
    """A proof that the witness, the opening of C, is in range. Masks are fresh; two proofs share none.

    Raises ParameterError if it is not in range or opens another commitment.
    """
    n = statement.bits
    if not 0 <= witness.value < 1 << n or witness.commitment() != statement.commitment:
        raise ParameterError(f"the opening is not that of the commitment, or not below 2^{n}")
    bits = [(witness.value >> i) & 1 for i in range(n)]
    r_bits, s_r, s_bits, tau0, tau1 = (random_scalar() for _ in range(5))
    s = [random_scalar() for _ in range(n)]
    bases = (*bit_generators(n), generator_h())
    c_bits = multiply_sum(bases, (*bits, r_bits))

    transcript, y = _open(statement, c_bits)
    powers = [pow(y, i, GROUP_ORDER) for i in range(n)]
    mask, bits_mask = commit(_weigh(s), s_r), multiply_sum(bases, (*s, s_bits))
    ct0 = commit(sum(p * x * x for p, x in zip(powers, s, strict=True)), tau0)
    ct1 = commit(sum(p * x * (2 * b - 1) for p, x, b in zip(powers, s, bits, strict=True)), tau1)
    e = _challenge(transcript, mask, bits_mask, ct0, ct1)
    return Proof(
        c_bits, mask, bits_mask, ct0, ct1,
        bits=tuple((x + e * b) % GROUP_ORDER for x, b in zip(s, bits, strict=True)),
        blinding=(s_r + e * witness.blinding) % GROUP_ORDER,
        bits_blinding=(s_bits + e * r_bits) % GROUP_ORDER,
        tau=(tau0 + e * tau1) % GROUP_ORDER,
    )  # fmt: skip


def verify(statement: Statement, proof: Proof) -> None:
    """Raises VerificationError naming the equation unless the proof holds."""
    n, z = statement.bits, proof.bits
    if len(z) != n:
        raise VerificationError("length", f"{len(z)} bits where the range has {n}")
    transcript, y = _open(statement, proof.c_bits)
    e = _challenge(transcript, proof.mask, proof.bits_mask, proof.ct0, proof.ct1)
    # a.
    if commit(_weigh(z), proof.blinding) != proof.mask + statement.commitment * e:
        raise VerificationError("value", "the bits are not those of the committed value")
    # b.
    opened = multiply_sum((*bit_generators(n), generator_h()), (*z, proof.bits_blinding))
    if opened != proof.bits_mask + proof.c_bits * e:
        raise VerificationError("bits", "the responses are not those of the committed bits")
    # c.
    quadratic = sum(pow(y, i, GROUP_ORDER) * z_i * (z_i - e) for i, z_i in enumerate(z))
    if commit(quadratic, proof.tau) != proof.ct0 + proof.ct1 * e:
        raise VerificationError("quadratic", "a committed bit is not 0 or 1")


def _open(statement: Statement, c_bits: Point) -> tuple[Transcript, int]:
    """Move 0: the transcript so far and y."""
    transcript = Transcript(LABEL_RANGE_PROOF)
    transcript.absorb(b"context", statement.context)
    transcript.absorb(b"size", statement.bits.to_bytes(1, "big"))
    transcript.absorb(b"commitment", statement.commitment.encode())
    transcript.absorb(b"c_bits", c_bits.encode())
    return transcript, transcript.challenge(b"y", POWERS_CHALLENGE_BITS)


def _challenge(transcript: Transcript, mask: Point, bits_mask: Point, ct0: Point, ct1: Point) -> int:
    for name, point in ((b"mask", mask), (b"bits_mask", bits_mask), (b"ct0", ct0), (b"ct1", ct1)):
        transcript.absorb(name, point.encode())
    return transcript.challenge(b"e", CHALLENGE_BITS)


def _weigh(digits: Sequence[Scalar]) -> int:
    return sum(digit << i for i, digit in enumerate(digits))

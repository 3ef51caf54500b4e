"""Range proofs: values in range hold, everything else and everything altered is refused."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields, replace
from functools import cache

import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments import range_proof
from commitments.encoding import Reader
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.group import Point, multiply_sum, using_backend
from commitments.params import CHALLENGE_BITS, GROUP_ORDER, LABEL_RANGE_PROOF, POWERS_CHALLENGE_BITS
from commitments.pedersen import Opening, bit_generators, commit, generator_g, generator_h
from commitments.range_proof import MAX_BITS, Proof, Statement, prove, verify
from commitments.transcript import Transcript
from tests.commitments_support import corruptions
from tests.transcript_tape import everything_counts

VALUE, BITS = Opening(37, 1_234_567), 6
NAMES = [f.name for f in fields(Proof)]


def about(opening: Opening, bits: int = BITS, context: bytes = b"a test") -> Statement:
    return Statement(opening.commitment(), bits, context)


@cache
def honest() -> tuple[Statement, Proof]:
    statement = about(VALUE)
    return statement, prove(statement, VALUE)


def decode(data: bytes, bits: int = BITS) -> Proof:
    reader = Reader(data)
    proof = Proof.read(reader, bits)
    reader.end("proof")
    return proof


# --- honest proofs ----------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_value_in_range_is_accepted(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from([1, 2, 48, 63, 64]) | st.integers(1, MAX_BITS), "bits")
    top = (1 << bits) - 1
    value = data.draw(st.sampled_from([0, 1, top]) | st.integers(0, top), "value")
    opening = Opening(value, data.draw(st.integers(0, GROUP_ORDER - 1), "blinding"))
    statement = about(opening, bits)
    raw = prove(statement, opening).encode()
    assert len(raw) == 240 + 32 * (bits + 3)
    assert decode(raw, bits).encode() == raw
    verify(statement, decode(raw, bits))


def test_two_proofs_of_one_value_share_nothing() -> None:
    statement, first = honest()
    parts = [
        {p.c_bits, p.mask, p.bits_mask, p.ct0, p.ct1, *p.bits, p.blinding, p.bits_blinding, p.tau}
        for p in (first, prove(statement, VALUE))
    ]
    assert not parts[0] & parts[1]


@pytest.mark.parametrize("opening", [Opening(64, 5), Opening(-1, 5), Opening(GROUP_ORDER - 1, 5)])
def test_a_value_out_of_range_cannot_be_proven(opening: Opening) -> None:
    with pytest.raises(ParameterError, match="not below 2\\^6"):
        prove(about(opening), opening)


def test_another_opening_cannot_be_proven() -> None:
    with pytest.raises(ParameterError, match="not that of the commitment"):
        prove(about(VALUE), replace(VALUE, blinding=8))


@pytest.mark.parametrize("bits", [0, -1, MAX_BITS + 1])
def test_a_range_of_no_size_we_prove_is_refused(bits: int) -> None:
    with pytest.raises(ParameterError, match="a range of"):
        about(VALUE, bits)


def test_repr_shows_no_response() -> None:
    _, proof = honest()
    for z in (*proof.bits, proof.blinding, proof.bits_blinding, proof.tau):
        assert str(z) not in repr(proof)


# --- an independent reading ------------------------------------------------------------------------


def broken(statement: Statement, proof: Proof) -> set[str]:
    """The equations that do not hold, each written out from the docstring, with its own transcript."""
    transcript = Transcript(b"darkpool/v1/range-proof")
    transcript.absorb(b"context", statement.context)
    transcript.absorb(b"size", bytes([statement.bits]))
    transcript.absorb(b"commitment", statement.commitment.encode())
    transcript.absorb(b"c_bits", proof.c_bits.encode())
    y = transcript.challenge(b"y", 252)
    for name in ("mask", "bits_mask", "ct0", "ct1"):
        transcript.absorb(name.encode(), getattr(proof, name).encode())
    e = transcript.challenge(b"e", 128)
    g, h, z = generator_g(), generator_h(), proof.bits
    value = quadratic = Point.identity()
    bits = h * proof.bits_blinding
    for i, b in enumerate(bit_generators(statement.bits)):
        value += g * (z[i] << i)
        bits += b * z[i]
        quadratic += g * (pow(y, i, GROUP_ORDER) * z[i] * (z[i] - e))
    equations = {
        "value": (value + h * proof.blinding, proof.mask + statement.commitment * e),
        "bits": (bits, proof.bits_mask + proof.c_bits * e),
        "quadratic": (quadratic + h * proof.tau, proof.ct0 + proof.ct1 * e),
    }
    return {name for name, (left, right) in equations.items() if left != right}


def test_the_reference_backend_accepts_it_and_refuses_it_altered() -> None:
    statement, proof = honest()
    commitment, raw = statement.commitment.encode(), bytearray(proof.encode())
    with using_backend("reference"):
        again = Statement(Point.decode(commitment, "commitment"), BITS, statement.context)
        verify(again, decode(bytes(raw)))
        assert broken(again, decode(bytes(raw))) == set()
        raw[-1] ^= 1
        with pytest.raises(VerificationError, match=r"^quadratic"):
            verify(again, decode(bytes(raw)))
        assert broken(again, decode(bytes(raw))) == {"quadratic"}


# --- soundness: a prover that follows the protocol on a bad witness ----------------------------------


@dataclass(frozen=True)
class Lie:
    """Digits that are committed to, and mask of the value: what an honest prover derives from one value."""

    opening: Opening
    digits: tuple[int, ...]

    def tell(self, statement: Statement) -> Proof:
        n, digits = statement.bits, self.digits
        s = [secrets.randbits(250) for _ in range(n)]
        r_bits, s_r, s_bits, tau0, tau1 = (secrets.randbits(250) for _ in range(5))
        bases = (*bit_generators(n), generator_h())
        c_bits = multiply_sum(bases, (*digits, r_bits))
        transcript, y = range_proof._open(statement, c_bits)
        powers = [pow(y, i, GROUP_ORDER) for i in range(n)]
        mask = commit(sum(x << i for i, x in enumerate(s)), s_r)
        bits_mask = multiply_sum(bases, (*s, s_bits))
        ct0 = commit(sum(p * x * x for p, x in zip(powers, s, strict=True)), tau0)
        ct1 = commit(sum(p * x * (2 * d - 1) for p, x, d in zip(powers, s, digits, strict=True)), tau1)
        e = range_proof._challenge(transcript, mask, bits_mask, ct0, ct1)
        return Proof(
            *(c_bits, mask, bits_mask, ct0, ct1),
            bits=tuple((x + e * d) % GROUP_ORDER for x, d in zip(s, digits, strict=True)),
            blinding=(s_r + e * self.opening.blinding) % GROUP_ORDER,
            bits_blinding=(s_bits + e * r_bits) % GROUP_ORDER,
            tau=(tau0 + e * tau1) % GROUP_ORDER,
        )


def binary(value: int) -> tuple[int, ...]:
    return tuple(value >> i & 1 for i in range(BITS))


@pytest.mark.parametrize(
    "value, digits, equations",
    [
        (37, binary(37), set()),  # the liar's honest case: the rest of its protocol is right
        (64, binary(0), {"value"}),
        (101, binary(37), {"value"}),
        (-1, binary(63), {"value"}),
        (64, (0, 0, 0, 0, 0, 2), {"quadratic"}),
        (38, (2, 0, 1, 0, 0, 1), {"quadratic"}),
        (-1, (-1, 0, 0, 0, 0, 0), {"quadratic"}),
        (1 << 70, (1 << 70, 0, 0, 0, 0, 0), {"quadratic"}),
        (GROUP_ORDER // 2, (GROUP_ORDER // 2, 0, 0, 0, 0, 0), {"quadratic"}),
    ],
)
def test_a_value_out_of_range_breaks_its_equation(
    value: int, digits: tuple[int, ...], equations: set[str]
) -> None:
    opening = Opening(value, 99)
    statement = about(opening)
    proof = Lie(opening, digits).tell(statement)
    assert broken(statement, proof) == equations
    if equations:
        with pytest.raises(VerificationError, match="|".join(equations)):
            verify(statement, proof)
    else:
        verify(statement, proof)


def test_a_proof_is_of_its_own_commitment_only() -> None:
    _, proof = honest()
    for other in (Opening(36, VALUE.blinding), Opening(37, 5), Opening(37 + 64, VALUE.blinding)):
        with pytest.raises(VerificationError):
            verify(about(other), proof)


def test_a_proof_is_of_its_own_range_and_context_only() -> None:
    statement, proof = honest()
    with pytest.raises(VerificationError):
        verify(replace(statement, context=b"another"), proof)
    for bits in (BITS - 1, BITS + 1):
        with pytest.raises(VerificationError, match="length"):
            verify(replace(statement, bits=bits), proof)
    longer = replace(proof, bits=(*proof.bits, 0))  # a zero digit, as if the range were twice as large
    with pytest.raises(VerificationError):
        verify(replace(statement, bits=BITS + 1), longer)


# --- one field altered ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_corrupt_field_is_refused(name: str) -> None:
    statement, proof = honest()
    tried = 0
    for value in corruptions(getattr(proof, name), mpz(0)):
        with pytest.raises(VerificationError):
            verify(statement, replace(proof, **{name: value}))
        tried += 1
    assert tried >= 2


def test_everything_said_counts() -> None:
    statement, proof = honest()
    tape = everything_counts(range_proof, lambda: verify(statement, proof))
    labels = [label.decode() for label, _ in tape.absorbed]
    assert labels == ["context", "size", "commitment", "c_bits", "mask", "bits_mask", "ct0", "ct1"]
    assert tape.protocols == [LABEL_RANGE_PROOF]
    assert tape.sizes == {b"y": POWERS_CHALLENGE_BITS, b"e": CHALLENGE_BITS}
    assert tape.at_challenge == {b"y": 4, b"e": 8}
    said = b"".join(data for _, data in tape.absorbed[3:])
    assert proof.encode()[:240] == said


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_flipped_bit_is_refused(data: st.DataObject) -> None:
    statement, proof = honest()
    raw = bytearray(proof.encode())
    raw[data.draw(st.integers(0, len(raw) - 1), "byte")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    with pytest.raises((DecodeError, VerificationError)):
        verify(statement, decode(bytes(raw)))


@pytest.mark.parametrize("at", [240, 240 + 32 * BITS, -64, -32])
def test_scalars_are_reduced(at: int) -> None:
    raw = bytearray(honest()[1].encode())
    at %= len(raw)
    raw[at : at + 32] = GROUP_ORDER.to_bytes(32, "big")
    with pytest.raises(DecodeError, match="above the limit"):
        decode(bytes(raw))


def test_cut_or_prolonged_bytes_are_refused() -> None:
    raw = honest()[1].encode()
    for end in (0, 47, 240, len(raw) - 1):
        with pytest.raises(DecodeError, match="cut short"):
            decode(raw[:end])
    with pytest.raises(DecodeError, match="trailing"):
        decode(raw + b"\0")

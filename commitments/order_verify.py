"""Verification of sealed-order proofs, alone and in batches; relation and checks a-d are in order_proof.py.

Alone is a batch of one, so the two always agree. Group equations are added up under fresh secret 128-bit
weights into one multi-scalar multiplication; ciphertext equations under 80-bit weights into one
multi-exponentiation, up to sign. A false proof passes with probability at most 2^-80 (small-exponent test,
Bellare, Garay, Rabin 1998; the group has prime order, and an element of small order of Z*_{N^2} other than
-1 would factor N).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from commitments.errors import ParameterError, VerificationError
from commitments.group import Point, Scalar, multiply_sum
from commitments.multi_power import unit_power
from commitments.order_proof import BITS, BLINDINGS, Proof, linear_values, second_challenge, weigh
from commitments.order_statement import Commitments, Statement, open_transcript
from commitments.paillier import Ciphertext, Packing, PublicKey, equal_up_to_sign
from commitments.params import (
    CIPHERTEXT_WEIGHT_BITS,
    GROUP_ORDER,
    GROUP_WEIGHT_BITS,
    LABEL_ORDER_PROOF,
    POWERS_CHALLENGE_BITS,
    QUANTITY_BITS,
)
from commitments.pedersen import bit_generators, generator_g, generator_h, slot_generators


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement, what was sent and its proof, as decoded: encodings and ranges are already checked."""

    statement: Statement
    sent: Commitments
    proof: Proof


class _Sum:
    """The running random combination of all equations of a batch."""

    def __init__(self, key: PublicKey) -> None:
        self.key = key
        self.g = self.h = 0
        self.slots: list[int] = []
        self.bits = [0] * BITS
        self.points: list[Point] = []
        self.scalars: list[Scalar] = []
        self.ciphertexts: list[Ciphertext] = []
        self.exponents: list[int] = []
        self.message = self.randomness = 0
        self.count = 0

    def add(self, claim: Claim) -> None:
        """One claim's equations. Raises VerificationError for those that need no combination."""
        statement, sent, proof, key = claim.statement, claim.sent, claim.proof, self.key
        packing = Packing(statement.levels, key.bits)
        transcript = open_transcript(LABEL_ORDER_PROOF, key, statement, sent)
        y = transcript.challenge(b"y", POWERS_CHALLENGE_BITS)
        e = second_challenge(transcript, proof, key)
        z, zb = proof.slots, proof.bits
        values = linear_values(statement, z, zb)
        z_q = values[0]
        if weigh(zb[:QUANTITY_BITS]) != z_q % GROUP_ORDER:
            raise VerificationError("quantity bits", "the bits are not those of the quantity")
        self._add_group(statement, sent, proof, values, e, _quadratic(y, e, z, z_q, zb))
        self._add_ciphertexts(sent, proof, packing, e)
        self.count += 1

    def _add_group(
        self,
        statement: Statement,
        sent: Commitments,
        proof: Proof,
        values: tuple[int, int, int, int, int, int],
        e: int,
        quadratic: int,
    ) -> None:
        handles = 2 * len(statement.auditor_keys)
        weights = _weights(len(BLINDINGS) + 1 + handles, GROUP_WEIGHT_BITS)
        w = dict(zip(BLINDINGS, weights, strict=False))
        w_ct = weights[len(BLINDINGS)]
        v_q, v_base, v_quote, v_m, v_base_rest, v_quote_rest = values
        # Left sides: fixed bases, kept as integers until the end.
        self.g += w["q"] * v_q + w["base"] * v_base + w["quote"] * v_quote + w["m"] * v_m
        self.g += w["base_rest"] * v_base_rest + w["quote_rest"] * v_quote_rest + w_ct * quadratic
        self.h += sum(w[n] * z for n, z in zip(BLINDINGS, proof.blindings, strict=True)) + w_ct * proof.tau
        if len(self.slots) < len(proof.slots):
            self.slots += [0] * (len(proof.slots) - len(self.slots))
        for k, z in enumerate(proof.slots):
            self.slots[k] += w["h"] * z
        for i, z in enumerate(proof.bits):
            self.bits[i] += w["bits"] * z
        # Right sides, negated: S + e C, and S + e (F - C) for the remainders.
        self._subtract(proof.masks, [w[n] for n in BLINDINGS])
        self._subtract((proof.ct0, proof.ct1), (w_ct, w_ct * e))
        self._subtract(
            (sent.c_q, sent.c_h, sent.c_bits, sent.c_m), (w["q"] * e, w["h"] * e, w["bits"] * e, w["m"] * e)
        )
        self._subtract(
            (sent.c_base, sent.c_quote),
            ((w["base"] - w["base_rest"]) * e, (w["quote"] - w["quote_rest"]) * e),
        )
        self._subtract((statement.f_base, statement.f_quote), (w["base_rest"] * e, w["quote_rest"] * e))
        z_q, z_m = (proof.blindings[BLINDINGS.index(n)] for n in ("q", "m"))
        pairs = iter(weights[len(BLINDINGS) + 1 :])
        for auditor, handle, mask in zip(
            statement.auditor_keys, sent.handles, proof.handle_masks, strict=True
        ):
            w_q, w_m = next(pairs), next(pairs)
            self._subtract((auditor,), (-(w_q * z_q + w_m * z_m),))
            self._subtract((mask.q, mask.m, handle.q, handle.m), (w_q, w_m, w_q * e, w_m * e))

    def _subtract(self, points: Sequence[Point], scalars: Sequence[Scalar]) -> None:
        self.points += points
        self.scalars += scalars

    def _add_ciphertexts(self, sent: Commitments, proof: Proof, packing: Packing, e: int) -> None:
        weights = _weights(packing.ciphertexts, CIPHERTEXT_WEIGHT_BITS)
        for v, c, mask, plaintext, zs in zip(
            weights,
            sent.ciphertexts,
            proof.ciphertext_masks,
            packing.plaintexts(proof.slots),
            proof.randomness,
            strict=True,
        ):
            self.ciphertexts += (mask, c)
            self.exponents += (v, v * e)
            self.message += v * plaintext
            self.randomness += v * zs

    def check(self) -> None:
        """Raises VerificationError unless both combinations hold."""
        if not self.count:
            return
        # Per-order points keep their short positive scalars; the fixed bases are the ones negated.
        fixed = (generator_g(), generator_h(), *slot_generators(len(self.slots)), *bit_generators(BITS))
        scalars = (-x for x in chain((self.g, self.h), self.slots, self.bits))
        if not multiply_sum([*self.points, *fixed], [*self.scalars, *scalars]).is_identity():
            raise VerificationError("group equations", _culprits(self.count))
        left = unit_power(self.ciphertexts, self.exponents, self.key.n)
        right = self.key.encrypt(self.message % self.key.n, self.randomness)
        if not equal_up_to_sign(left, right, self.key.n2):
            raise VerificationError("ciphertext equations", _culprits(self.count))


def _culprits(count: int) -> str:
    return "the proof does not hold" if count == 1 else f"at least one of {count} proofs does not hold"


def _weights(count: int, bits: int) -> list[int]:
    width = bits // 8
    data = secrets.token_bytes(count * width)
    return [int.from_bytes(data[i * width : (i + 1) * width], "big") for i in range(count)]


def _quadratic(y: int, e: int, z: Sequence[int], z_q: int, zb: Sequence[int]) -> int:
    """sum_k y^k z_k (z_k - z_q) + sum_i y^(m+i) zb_i (zb_i - e) mod r, by Horner from the top."""
    total = 0
    for b in reversed(zb):
        total = (total * y + b * (b - e)) % GROUP_ORDER
    for z_k in reversed(z):
        total = (total * y + z_k * (z_k - z_q)) % GROUP_ORDER
    return total


def verify(key: PublicKey, claim: Claim) -> None:
    """Raises VerificationError unless the proof holds."""
    verify_batch(key, [claim])


def verify_batch(key: PublicKey, claims: Iterable[Claim]) -> None:
    """Raises VerificationError unless every proof under this committee key holds."""
    total = _Sum(key)
    for claim in claims:
        if claim.statement.key_id != key.key_id:
            raise ParameterError("a claim under another committee key is in the batch")
        total.add(claim)
    total.check()


def invalid_claims(key: PublicKey, claims: Sequence[Claim]) -> dict[int, VerificationError]:
    """The positions whose proofs do not hold, each with its error; empty if all hold.

    Bisects a failing batch.
    """
    try:
        verify_batch(key, claims)
    except VerificationError as error:
        if len(claims) == 1:
            return {0: error}
        half = len(claims) // 2
        right = invalid_claims(key, claims[half:])
        return invalid_claims(key, claims[:half]) | {half + i: e for i, e in right.items()}
    return {}

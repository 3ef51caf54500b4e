"""The equations of the sealed-order proof one by one, each written out naively from its docstring.

An independent reading of the relation for the tests: no random weights, no combination, no shared helper of
the verifier. It says which equation a forgery breaks, so that a test can show why it is refused.
"""

from __future__ import annotations

import gmpy2

from commitments.group import Point
from commitments.order_proof import BLINDINGS
from commitments.order_statement import Commitments, Statement
from commitments.order_verify import Claim
from commitments.paillier import PublicKey
from commitments.params import GROUP_ORDER, LABEL_ORDER_PROOF
from commitments.pedersen import bit_generators, generator_g, generator_h, slot_generators
from commitments.transcript import Transcript


def challenges(key: PublicKey, claim: Claim) -> tuple[int, int]:
    """y and e, from a transcript assembled here."""
    transcript = Transcript(LABEL_ORDER_PROOF)
    transcript.absorb(b"modulus", int(key.n).to_bytes(key.modulus_bytes, "big"))
    transcript.absorb(b"statement", claim.statement.encode())
    for name, data in claim.sent.elements(key):
        transcript.absorb(name, data)
    y = transcript.challenge(b"y", 252)
    for name, data in claim.proof.first_move(key):
        transcript.absorb(name, data)
    return y, transcript.challenge(b"e", 128)


def coefficient(slots_per_ciphertext: int, levels: int, k: int, j: int) -> int:
    """coef[k][j]: 2^(96 position) for each cumulative slot in ciphertext j that histogram slot k feeds."""
    tick, side = divmod(k, 2)
    # A buy at its tick counts in D_i for every i up to it, a sell in S_i for every i from it.
    fed = [2 * i for i in range(tick + 1)] if side == 0 else [2 * i + 1 for i in range(tick, levels)]
    places = (divmod(value, slots_per_ciphertext) for value in fed)
    return sum(1 << (96 * position) for ciphertext, position in places if ciphertext == j)


def broken(key: PublicKey, claim: Claim, given: tuple[int, int] | None = None) -> set[str]:
    """The names of the equations that do not hold; `given` replaces the challenges y and e."""
    y, e = given or challenges(key, claim)
    return (
        _group(claim.statement, claim.sent, claim, e)
        | _quadratic(claim, y, e)
        | _ciphertexts(key, claim, e)
        | _handles(claim, e)
    )


def _combination(points: tuple[Point, ...], scalars: tuple[int, ...]) -> Point:
    return sum((p * k for p, k in zip(points, scalars, strict=True)), start=Point.identity())


def _group(statement: Statement, sent: Commitments, claim: Claim, e: int) -> set[str]:
    z, zb = claim.proof.slots, claim.proof.bits
    slots = range(2 * statement.levels)
    value_of = {
        "q": sum(z),
        "base": sum(statement.lot * z[k] for k in slots if k % 2 == 1),
        "quote": sum(statement.price(k // 2) * z[k] for k in slots if k % 2 == 0),
        "m": sum(k * z[k] for k in slots),
        "base_rest": sum(zb[32 + i] << i for i in range(64)),
        "quote_rest": sum(zb[96 + i] << i for i in range(64)),
    }
    commitment_of = {
        "q": sent.c_q,
        "h": sent.c_h,
        "bits": sent.c_bits,
        "base": sent.c_base,
        "quote": sent.c_quote,
        "m": sent.c_m,
        "base_rest": statement.f_base - sent.c_base,
        "quote_rest": statement.f_quote - sent.c_quote,
    }
    wrong = set()
    for name, mask, zr in zip(BLINDINGS, claim.proof.masks, claim.proof.blindings, strict=True):
        if name == "h":
            value = _combination(slot_generators(len(z)), z)
        elif name == "bits":
            value = _combination(bit_generators(len(zb)), zb)
        else:
            value = generator_g() * value_of[name]
        if value + generator_h() * zr != mask + commitment_of[name] * e:
            wrong.add(name)
    if (sum(zb[i] << i for i in range(32)) - sum(z)) % GROUP_ORDER:
        wrong.add("quantity bits")
    return wrong


def _quadratic(claim: Claim, y: int, e: int) -> set[str]:
    proof = claim.proof
    z_q, m = sum(proof.slots), len(proof.slots)
    value = sum(pow(y, k, GROUP_ORDER) * z_k * (z_k - z_q) for k, z_k in enumerate(proof.slots))
    value += sum(pow(y, m + i, GROUP_ORDER) * z_i * (z_i - e) for i, z_i in enumerate(proof.bits))
    opened = generator_g() * value + generator_h() * proof.tau
    return set() if opened == proof.ct0 + proof.ct1 * e else {"quadratic"}


def _handles(claim: Claim, e: int) -> set[str]:
    proof, wrong = claim.proof, set()
    z_q, z_m = proof.blindings[0], proof.blindings[5]
    keys = claim.statement.auditor_keys
    for i, (a, sent, mask) in enumerate(zip(keys, claim.sent.handles, proof.handle_masks, strict=True)):
        if a * z_q != mask.q + sent.q * e:
            wrong.add(f"handle_q/{i}")
        if a * z_m != mask.m + sent.m * e:
            wrong.add(f"handle_m/{i}")
    return wrong


def _ciphertexts(key: PublicKey, claim: Claim, e: int) -> set[str]:
    n, n2, proof = key.n, key.n2, claim.proof
    per_ciphertext = (key.bits + 2) // 96
    wrong = set()
    for j, (c, a) in enumerate(zip(claim.sent.ciphertexts, proof.ciphertext_masks, strict=True)):
        plaintext = sum(
            coefficient(per_ciphertext, claim.statement.levels, k, j) * z_k
            for k, z_k in enumerate(proof.slots)
        )
        left = a * gmpy2.powmod(c, e, n2) % n2
        right = gmpy2.powmod(1 + n, plaintext, n2) * gmpy2.powmod(key.h, proof.randomness[j], n2) % n2
        if left not in (right, n2 - right):
            wrong.add(f"ciphertext/{j}")
    return wrong

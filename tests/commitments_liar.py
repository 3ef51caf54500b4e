"""A prover that follows the protocol on any witness, however bad, as far as the protocol can be followed.

`Lie` holds what an honest trader would derive from one slot and one quantity, each part free: a histogram,
digits of the bit commitments, values inside commitments, plaintexts. With nothing overridden it is an honest
prover, written a second time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from commitments.group import Point, multiply_sum
from commitments.order_proof import BITS, BLINDINGS, Proof, second_challenge
from commitments.order_statement import Commitments, Handle, Statement, open_transcript
from commitments.order_verify import Claim
from commitments.paillier import Packing, PublicKey
from commitments.params import GROUP_ORDER
from commitments.pedersen import bit_generators, commit, generator_g, generator_h, slot_generators
from tests.commitments_support import Sample


@dataclass(frozen=True, slots=True)
class Lie:
    """A bad witness. `values` overrides what C_q, C_base, C_quote or C_m commits to, by name."""

    honest: Sample
    histogram: tuple[int, ...]
    digits: tuple[int, ...] | None = None
    values: dict[str, int] = field(default_factory=dict)
    plaintext_offsets: dict[int, int] = field(default_factory=dict)
    slot_mask_bits: int = 240
    randomness_mask_bits: int = 528
    twist: Callable[[Commitments], Commitments] | None = None
    negate: frozenset[str] = frozenset()  # "c" or "A": send -c_0 or -A_0

    @property
    def statement(self) -> Statement:
        """The statement of the sample it starts from."""
        return self.honest.statement

    def true_values(self) -> dict[str, int]:
        """What the histogram says the commitments hold."""
        h, statement = self.histogram, self.statement
        return {
            "q": sum(h),
            "base": statement.lot * sum(h[1::2]),
            "quote": sum(statement.price(i) * x for i, x in enumerate(h[0::2])),
            "m": sum(k * x for k, x in enumerate(h)),
        }

    def committed(self) -> dict[str, int]:
        """What the commitments do hold."""
        return self.true_values() | self.values

    def bits(self) -> tuple[int, ...]:
        """The digits committed to: those given, or those of the values modulo their size."""
        if self.digits is not None:
            return self.digits
        held, witness = self.committed(), self.honest.witness
        return (
            *binary(sum(self.histogram), 32),
            *binary(witness.base.value - held["base"], 64),
            *binary(witness.quote.value - held["quote"], 64),
        )


def binary(value: int, width: int) -> tuple[int, ...]:
    """The low bits of a value, two's complement if negative."""
    return tuple((value >> i) & 1 for i in range(width))


def honest_lie(sample: Sample) -> Lie:
    """The sample's own witness."""
    histogram = [0] * (2 * sample.statement.levels)
    histogram[sample.witness.slot] = sample.witness.quantity
    return Lie(sample, tuple(histogram))


def tell(key: PublicKey, lie: Lie) -> Claim:
    """Commitments and proof of a bad witness."""
    statement, witness = lie.statement, lie.honest.witness
    r_q, r_h, r_bits, r_base, r_quote, r_m = witness.blindings
    held, bits = lie.committed(), lie.bits()
    packing = Packing(statement.levels, key.bits)
    plaintexts = [
        int(p) + lie.plaintext_offsets.get(j, 0) for j, p in enumerate(packing.plaintexts(lie.histogram))
    ]
    ciphertexts = [key.encrypt(p, s) for p, s in zip(plaintexts, witness.randomness, strict=True)]
    if "c" in lie.negate:
        ciphertexts[0] = key.n2 - ciphertexts[0]
    sent = Commitments(
        c_q=commit(held["q"], r_q),
        c_h=multiply_sum((*slot_generators(packing.slots), generator_h()), (*lie.histogram, r_h)),
        c_bits=multiply_sum((*bit_generators(BITS), generator_h()), (*bits, r_bits)),
        c_base=commit(held["base"], r_base),
        c_quote=commit(held["quote"], r_quote),
        c_m=commit(held["m"], r_m),
        handles=tuple(Handle(a * r_q, a * r_m) for a in statement.auditor_keys),
        ciphertexts=tuple(ciphertexts),
    )
    if lie.twist is not None:
        sent = lie.twist(sent)
    return Claim(statement, sent, _prove(key, lie, sent, packing))


def _prove(key: PublicKey, lie: Lie, sent: Commitments, packing: Packing) -> Proof:
    statement, witness, h, bits = lie.statement, lie.honest.witness, lie.histogram, lie.bits()
    transcript = open_transcript(b"darkpool/v1/sealed-order-proof", key, statement, sent)
    y = transcript.challenge(b"y", 252)
    t = [secrets.randbits(lie.slot_mask_bits) | 1 << (lie.slot_mask_bits - 1) for _ in h]
    s = [secrets.randbelow(GROUP_ORDER) for _ in range(BITS)]
    s[0] = sum(t) - sum(x << i for i, x in enumerate(s[:32]) if i)
    r = [secrets.randbelow(GROUP_ORDER) for _ in BLINDINGS]
    masked = replace(lie, histogram=tuple(t)).true_values()
    first_moves = {
        "q": generator_g() * masked["q"],
        "h": multiply_sum(slot_generators(len(h)), t),
        "bits": multiply_sum(bit_generators(BITS), s),
        "base": generator_g() * masked["base"],
        "quote": generator_g() * masked["quote"],
        "m": generator_g() * masked["m"],
        "base_rest": generator_g() * sum(x << i for i, x in enumerate(s[32:96])),
        "quote_rest": generator_g() * sum(x << i for i, x in enumerate(s[96:])),
    }
    (a0, a1), (tau0, tau1) = (
        _lower_coefficients(y, t, h, s, bits),
        (secrets.randbits(250), secrets.randbits(250)),
    )
    sigma = [
        secrets.randbits(lie.randomness_mask_bits) | 1 << (lie.randomness_mask_bits - 1)
        for _ in sent.ciphertexts
    ]
    masks = [key.encrypt(int(p), x) for p, x in zip(packing.plaintexts(t), sigma, strict=True)]
    if "A" in lie.negate:
        masks[0] = key.n2 - masks[0]
    first = Proof(
        masks=tuple(first_moves[n] + generator_h() * x for n, x in zip(BLINDINGS, r, strict=True)),
        handle_masks=tuple(Handle(a * r[0], a * r[5]) for a in statement.auditor_keys),
        ct0=commit(a0, tau0),
        ct1=commit(a1, tau1),
        ciphertext_masks=tuple(masks),
        slots=(),
        bits=(),
        blindings=(),
        tau=0,
        randomness=(),
    )
    e = second_challenge(transcript, first, key)
    secrets_of = (
        *witness.blindings,
        witness.base.blinding - witness.blindings[3],
        witness.quote.blinding - witness.blindings[4],
    )
    return replace(
        first,
        slots=tuple(x + e * v for x, v in zip(t, h, strict=True)),
        bits=tuple((x + e * b) % GROUP_ORDER for x, b in zip(s, bits, strict=True)),
        blindings=tuple((x + e * b) % GROUP_ORDER for x, b in zip(r, secrets_of, strict=True)),
        tau=(tau0 + e * tau1) % GROUP_ORDER,
        randomness=tuple(x + e * v for x, v in zip(sigma, witness.randomness, strict=True)),
    )


def _lower_coefficients(
    y: int, t: list[int], h: tuple[int, ...], s: list[int], bits: tuple[int, ...]
) -> tuple[int, int]:
    """Coefficients of 1 and e of check b; a bad witness leaves one of e^2, which has no place to go."""
    t_q, q, m = sum(t), sum(h), len(h)
    c0 = sum(pow(y, k, GROUP_ORDER) * t[k] * (t[k] - t_q) for k in range(m))
    c0 += sum(pow(y, m + i, GROUP_ORDER) * x * x for i, x in enumerate(s))
    c1 = sum(pow(y, k, GROUP_ORDER) * (t[k] * (h[k] - q) + h[k] * (t[k] - t_q)) for k in range(m))
    c1 += sum(pow(y, m + i, GROUP_ORDER) * x * (2 * bits[i] - 1) for i, x in enumerate(s))
    return c0 % GROUP_ORDER, c1 % GROUP_ORDER


def simulate(key: PublicKey, sample: Sample, sent: Commitments, y: int, e: int) -> Proof:
    """The zero-knowledge simulator: a proof that holds for challenges chosen beforehand, without witness."""
    statement = sample.statement
    packing = Packing(statement.levels, key.bits)
    z = [secrets.randbits(240) for _ in range(packing.slots)]
    zb = [secrets.randbelow(GROUP_ORDER) for _ in range(BITS)]
    zb[0] = (sum(z) - sum(x << i for i, x in enumerate(zb[:32]) if i)) % GROUP_ORDER
    zr = [secrets.randbelow(GROUP_ORDER) for _ in BLINDINGS]
    zs = [secrets.randbits(528) for _ in sent.ciphertexts]
    opened = replace(honest_lie(sample), histogram=tuple(z)).true_values()
    g, h = generator_g(), generator_h()
    values: tuple[Point, ...] = (
        g * opened["q"],
        multiply_sum(slot_generators(packing.slots), z),
        multiply_sum(bit_generators(BITS), zb),
        g * opened["base"],
        g * opened["quote"],
        g * opened["m"],
        g * sum(x << i for i, x in enumerate(zb[32:96])),
        g * sum(x << i for i, x in enumerate(zb[96:])),
    )
    commitments = (
        *(sent.c_q, sent.c_h, sent.c_bits, sent.c_base, sent.c_quote, sent.c_m),
        *(statement.f_base - sent.c_base, statement.f_quote - sent.c_quote),
    )
    quadratic = sum(pow(y, k, GROUP_ORDER) * x * (x - sum(z)) for k, x in enumerate(z))
    quadratic += sum(pow(y, len(z) + i, GROUP_ORDER) * x * (x - e) for i, x in enumerate(zb))
    ct1, tau = commit(secrets.randbits(250), secrets.randbits(250)), secrets.randbelow(GROUP_ORDER)
    return Proof(
        masks=tuple(v + h * x - c * e for v, x, c in zip(values, zr, commitments, strict=True)),
        handle_masks=tuple(
            Handle(a * zr[0] - handle.q * e, a * zr[5] - handle.m * e)
            for a, handle in zip(statement.auditor_keys, sent.handles, strict=True)
        ),
        ct0=commit(quadratic, tau) - ct1 * e,
        ct1=ct1,
        ciphertext_masks=tuple(
            key.encrypt(int(p), x) * pow(c, -e, key.n2) % key.n2
            for p, x, c in zip(packing.plaintexts(z), zs, sent.ciphertexts, strict=True)
        ),
        slots=tuple(z),
        bits=tuple(zb),
        blindings=tuple(zr),
        tau=tau,
        randomness=tuple(zs),
    )

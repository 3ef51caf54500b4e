"""The sealed-order proof: one order, well formed, funded, and the same in commitments and ciphertexts.

    PoK{ (h, r_*, s_*) :  C_q = qG + r_q H,  C_h = sum h_k G_k + r_h H,  C_m = (sum k h_k) G + r_m H,
         q = sum h_k,  every h_k is 0 or q  (so at most one slot is used),  0 <= q < 2^32,
         C_base = lot (sum over sells of h_k) G + r_base H,
         C_quote = (sum over buys of h_k p_i) G + r_quote H,
         F_base - C_base and F_quote - C_quote commit to values in [0, 2^64),
         per auditor key A:  handles r_q A and r_m A,
         c_j = +-Enc(sum_k coef[k][j] h_k; s_j)  for every ciphertext j }

Moves (public coin, Fiat-Shamir with TupleHash256; transcript order is this order):
  0. N, statement, commitments, handles, ciphertexts      -> y (252 bits)
  1. S_* for every commitment and remainder, S for handles, CT0, CT1, A_j   -> e (128 bits)
  2. z_k = t_k + e h_k over the integers; bit responses and blindings mod r; zs_j = sigma_j + e s_j.
Checks, with z_q = sum z_k:
  a. the group equations  z G + zr H = S + e C  of each commitment, remainder and handle;
  b. sum_k y^k z_k (z_k - z_q) + sum_i y^(m+i) zb_i (zb_i - e) opens CT0 + e CT1: its e^2 coefficient, which
     nothing on the right can carry, vanishes only if every h_k is 0 or q and every bit is a bit;
  c. sum 2^i zb_i = z_q over the bits of q;
  d. A_j c_j^e = +-(1+N)^(sum coef z) h^(zs_j) mod N^2. |z_k| < 2^241 < r and N has no factor below 2^128,
     so the plaintext is the committed vector over the integers, without ring-Pedersen parameters.
The sign is ignored, alone and in batches: it changes no plaintext. Special soundness with three transcripts
of equal y; statistical zero knowledge at 80 bits. After Cramer, Damgard, Schoenmakers 1994; Bootle et al.
2016 (quadratic); Damgard, Jurik, Nielsen 2010. Unaudited; proving is not constant-time.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from commitments.encoding import Reader, Writer
from commitments.errors import ParameterError
from commitments.group import Point, Scalar, multiply_sum
from commitments.order_statement import Commitments, Handle, Statement, open_transcript
from commitments.paillier import Ciphertext, Packing, PublicKey
from commitments.params import (
    CHALLENGE_BITS,
    COLLATERAL_BITS,
    GROUP_ORDER,
    LABEL_ORDER_PROOF,
    POINT_BYTES,
    POWERS_CHALLENGE_BITS,
    QUANTITY_BITS,
    RANDOMNESS_MASK_BITS,
    RANDOMNESS_RESPONSE_BITS,
    RANDOMNESS_RESPONSE_BYTES,
    SCALAR_BYTES,
    SLOT_MASK_BITS,
    SLOT_RESPONSE_BITS,
    SLOT_RESPONSE_BYTES,
)
from commitments.pedersen import (
    Opening,
    bit_generators,
    generator_g,
    generator_h,
    random_scalar,
    slot_generators,
)
from commitments.transcript import Transcript

BITS: Final = QUANTITY_BITS + 2 * COLLATERAL_BITS  # of q, of the base remainder, of the quote remainder
_BASE_AT: Final = QUANTITY_BITS
_QUOTE_AT: Final = QUANTITY_BITS + COLLATERAL_BITS
# Names of the blindings in the order in which masks, responses and wire fields follow each other.
BLINDINGS: Final = ("q", "h", "bits", "base", "quote", "m", "base_rest", "quote_rest")


@dataclass(frozen=True, slots=True)
class Witness:
    """What the trader knows. `slot` is 2i+s (any slot for a decoy of zero lots). Secret.

    base, quote: openings of F_base and F_quote; blindings: those of C_q, C_h, C_bits, C_base, C_quote, C_m;
    randomness: s_j, one per ciphertext, 320 bits.
    """

    slot: int = field(repr=False)
    quantity: int = field(repr=False)
    base: Opening = field(repr=False)
    quote: Opening = field(repr=False)
    blindings: tuple[Scalar, ...] = field(repr=False)
    randomness: tuple[int, ...] = field(repr=False)

    def locks(self, statement: Statement) -> tuple[int, int]:
        """(base quanta, quote quanta) the order locks: a sell its lots, a buy its worth at the limit."""
        level, side = divmod(self.slot, 2)
        if side:
            return self.quantity * statement.lot, 0
        return 0, self.quantity * statement.price(level)


@dataclass(frozen=True, slots=True)
class Proof:
    """Messages of moves 1 and 2, in wire order."""

    masks: tuple[Point, ...]  # S of BLINDINGS
    handle_masks: tuple[Handle, ...]
    ct0: Point
    ct1: Point
    ciphertext_masks: tuple[Ciphertext, ...] = field(repr=False)
    slots: tuple[int, ...] = field(repr=False)  # z_k
    bits: tuple[Scalar, ...] = field(repr=False)
    blindings: tuple[Scalar, ...] = field(repr=False)  # of BLINDINGS
    tau: Scalar = field(repr=False)
    randomness: tuple[int, ...] = field(repr=False)  # zs_j

    def first_move(self, key: PublicKey) -> list[tuple[bytes, bytes]]:
        """(label, encoding) of move 1, in transcript order."""
        items = [(b"mask/" + n.encode(), p.encode()) for n, p in zip(BLINDINGS, self.masks, strict=True)]
        for i, handle in enumerate(self.handle_masks):
            items += [
                (b"mask/handle_q/%d" % i, handle.q.encode()),
                (b"mask/handle_m/%d" % i, handle.m.encode()),
            ]
        items += [(b"ct0", self.ct0.encode()), (b"ct1", self.ct1.encode())]
        items += [
            (b"mask/ciphertext/%d" % j, key.encode_ciphertext(c)) for j, c in enumerate(self.ciphertext_masks)
        ]
        return items

    def encode(self, key: PublicKey) -> bytes:
        """Canonical bytes."""
        writer = Writer()
        for _, data in self.first_move(key):
            writer.fixed(data, len(data))
        for z in self.slots:
            writer.uint(z, SLOT_RESPONSE_BYTES)
        for z in (*self.bits, *self.blindings, self.tau):
            writer.uint(z, SCALAR_BYTES)
        for z in self.randomness:
            writer.uint(z, RANDOMNESS_RESPONSE_BYTES)
        return bytes(writer)

    @staticmethod
    def read(reader: Reader, statement: Statement, key: PublicKey) -> Proof:
        """The proof of such a statement: canonical, in range, in the subgroup. Raises DecodeError.

        Masks may be the identity: an honest one is with negligible probability, and it proves nothing amiss.
        """

        def point(name: str) -> Point:
            return Point.decode(reader.fixed(name, POINT_BYTES), name, identity_allowed=True)

        def ciphertext(name: str) -> Ciphertext:
            return key.decode_ciphertext(reader.fixed(name, key.ciphertext_bytes), name)

        count = Packing(statement.levels, key.bits).ciphertexts
        top = GROUP_ORDER - 1
        return Proof(
            masks=tuple(point(f"proof.masks.{n}") for n in BLINDINGS),
            handle_masks=tuple(
                Handle(point(f"proof.handle_masks[{i}].q"), point(f"proof.handle_masks[{i}].m"))
                for i in range(len(statement.auditor_keys))
            ),
            ct0=point("proof.ct0"),
            ct1=point("proof.ct1"),
            ciphertext_masks=tuple(ciphertext(f"proof.ciphertext_masks[{j}]") for j in range(count)),
            slots=reader.uints(
                "proof.slots", 2 * statement.levels, SLOT_RESPONSE_BYTES, (1 << SLOT_RESPONSE_BITS) - 1
            ),
            bits=reader.uints("proof.bits", BITS, SCALAR_BYTES, top),
            blindings=tuple(reader.uint(f"proof.blindings.{n}", SCALAR_BYTES, top) for n in BLINDINGS),
            tau=reader.uint("proof.tau", SCALAR_BYTES, top),
            randomness=reader.uints(
                "proof.randomness", count, RANDOMNESS_RESPONSE_BYTES, (1 << RANDOMNESS_RESPONSE_BITS) - 1
            ),
        )


def weigh(bits: Sequence[int]) -> int:
    """sum 2^i b_i mod r."""
    total = 0
    for b in reversed(bits):
        total = 2 * total + b
    return total % GROUP_ORDER


def linear_values(
    statement: Statement, slots: Sequence[int], bits: Sequence[int]
) -> tuple[int, int, int, int, int, int]:
    """What the histogram and bits say of C_q, C_base, C_quote, C_m and both remainders. Linear."""
    buys, sells = slots[0::2], slots[1::2]
    level_sum = sum(i * b for i, b in enumerate(buys))
    buy_sum, sell_sum = sum(buys), sum(sells)
    return (
        buy_sum + sell_sum,
        statement.lot * sell_sum,
        statement.p_0 * buy_sum + statement.tick * level_sum,
        2 * level_sum + sum((2 * i + 1) * s for i, s in enumerate(sells)),
        weigh(bits[_BASE_AT:_QUOTE_AT]),
        weigh(bits[_QUOTE_AT:]),
    )


def seal(key: PublicKey, statement: Statement, witness: Witness) -> Commitments:
    """The commitments, handles and ciphertexts of the witness. Raises ParameterError if it is not honest."""
    quantity, slot = witness.quantity, witness.slot
    if not 0 <= quantity < 1 << QUANTITY_BITS or not 0 <= slot < 2 * statement.levels:
        raise ParameterError(
            f"quantity below 2^{QUANTITY_BITS} lots and slot below {2 * statement.levels} are due"
        )
    lock_base, lock_quote = witness.locks(statement)
    g, h = generator_g(), generator_h()
    r_q, r_h, r_bits, r_base, r_quote, r_m = witness.blindings
    set_bits = [b for b, bit in zip(bit_generators(BITS), _bits(statement, witness), strict=True) if bit]
    packing = Packing(statement.levels, key.bits)
    return Commitments(
        c_q=multiply_sum((g, h), (quantity, r_q)),
        c_h=multiply_sum((slot_generators(packing.slots)[slot], h), (quantity, r_h)),
        c_bits=sum(set_bits, start=h * r_bits),
        c_base=multiply_sum((g, h), (lock_base, r_base)),
        c_quote=multiply_sum((g, h), (lock_quote, r_quote)),
        c_m=multiply_sum((g, h), (slot * quantity, r_m)),
        handles=tuple(Handle(a * r_q, a * r_m) for a in statement.auditor_keys),
        ciphertexts=tuple(
            key.encrypt(plaintext, s)
            for plaintext, s in zip(
                packing.plaintexts(_histogram(statement, witness)), witness.randomness, strict=True
            )
        ),
    )


def _histogram(statement: Statement, witness: Witness) -> list[int]:
    histogram = [0] * (2 * statement.levels)
    histogram[witness.slot] = witness.quantity
    return histogram


def _bits(statement: Statement, witness: Witness) -> list[int]:
    lock_base, lock_quote = witness.locks(statement)
    rests = witness.base.value - lock_base, witness.quote.value - lock_quote
    if not all(0 <= rest < 1 << COLLATERAL_BITS for rest in rests):
        raise ParameterError("the free collateral does not cover the order")
    return [
        (value >> i) & 1
        for value, width in zip(
            (witness.quantity, *rests), (QUANTITY_BITS, COLLATERAL_BITS, COLLATERAL_BITS), strict=True
        )
        for i in range(width)
    ]


def prove(key: PublicKey, statement: Statement, sent: Commitments, witness: Witness) -> Proof:
    """A proof for `seal`'s output. Masks come from the operating system; two proofs never share one.

    Raises ParameterError if the free collateral does not cover the order.
    """
    packing = Packing(statement.levels, key.bits)
    histogram, bits = _histogram(statement, witness), _bits(statement, witness)
    _, _, _, r_base, r_quote, _ = witness.blindings
    blindings = (
        *witness.blindings,
        (witness.base.blinding - r_base) % GROUP_ORDER,
        (witness.quote.blinding - r_quote) % GROUP_ORDER,
    )
    g, h = generator_g(), generator_h()

    transcript = open_transcript(LABEL_ORDER_PROOF, key, statement, sent)
    y = transcript.challenge(b"y", POWERS_CHALLENGE_BITS)

    t = [secrets.randbits(SLOT_MASK_BITS) for _ in range(packing.slots)]
    t_bits = [random_scalar() for _ in range(BITS)]
    # The first mask is fixed so that the bits of q and the slots carry the same mask (check c).
    t_bits[0] = (sum(t) - weigh([0, *t_bits[1:QUANTITY_BITS]])) % GROUP_ORDER
    t_blindings = [random_scalar() for _ in BLINDINGS]
    sigma = [secrets.randbits(RANDOMNESS_MASK_BITS) for _ in range(packing.ciphertexts)]
    t_q, t_base, t_quote, t_m, t_base_rest, t_quote_rest = linear_values(statement, t, t_bits)
    scalars = dict(zip(BLINDINGS, t_blindings, strict=True))
    masks = (
        multiply_sum((g, h), (t_q, scalars["q"])),
        multiply_sum((*slot_generators(packing.slots), h), (*t, scalars["h"])),
        multiply_sum((*bit_generators(BITS), h), (*t_bits, scalars["bits"])),
        multiply_sum((g, h), (t_base, scalars["base"])),
        multiply_sum((g, h), (t_quote, scalars["quote"])),
        multiply_sum((g, h), (t_m, scalars["m"])),
        multiply_sum((g, h), (t_base_rest, scalars["base_rest"])),
        multiply_sum((g, h), (t_quote_rest, scalars["quote_rest"])),
    )
    c0, c1 = _quadratic(y, t, t_q, histogram, witness.quantity, t_bits, bits)
    tau0, tau1 = random_scalar(), random_scalar()
    first = Proof(
        masks=masks,
        handle_masks=tuple(Handle(a * scalars["q"], a * scalars["m"]) for a in statement.auditor_keys),
        ct0=multiply_sum((g, h), (c0, tau0)),
        ct1=multiply_sum((g, h), (c1, tau1)),
        ciphertext_masks=tuple(key.encrypt(p, s) for p, s in zip(packing.plaintexts(t), sigma, strict=True)),
        slots=(), bits=(), blindings=(), tau=0, randomness=(),
    )  # fmt: skip
    e = second_challenge(transcript, first, key)
    return Proof(
        masks=first.masks,
        handle_masks=first.handle_masks,
        ct0=first.ct0,
        ct1=first.ct1,
        ciphertext_masks=first.ciphertext_masks,
        slots=tuple(mask + e * value for mask, value in zip(t, histogram, strict=True)),
        bits=tuple((mask + e * bit) % GROUP_ORDER for mask, bit in zip(t_bits, bits, strict=True)),
        blindings=tuple((mask + e * r) % GROUP_ORDER for mask, r in zip(t_blindings, blindings, strict=True)),
        tau=(tau0 + e * tau1) % GROUP_ORDER,
        randomness=tuple(mask + e * s for mask, s in zip(sigma, witness.randomness, strict=True)),
    )


def second_challenge(transcript: Transcript, first: Proof, key: PublicKey) -> int:
    """e, after move 1; it depends on all that y did."""
    for name, data in first.first_move(key):
        transcript.absorb(name, data)
    return transcript.challenge(b"e", CHALLENGE_BITS)


def _quadratic(
    y: int, t: Sequence[int], t_q: int, h: Sequence[int], q: int, t_bits: Sequence[int], bits: Sequence[int]
) -> tuple[int, int]:
    """Coefficients of 1 and e of the polynomial of check b; that of e^2 is zero for an honest order."""
    c0 = c1 = 0
    power = 1
    for t_k, h_k in zip(t, h, strict=True):
        c0 += power * (t_k * (t_k - t_q) % GROUP_ORDER)
        c1 += power * ((t_k * (h_k - q) + h_k * (t_k - t_q)) % GROUP_ORDER)
        power = power * y % GROUP_ORDER
    for s, b in zip(t_bits, bits, strict=True):
        c0 += power * (s * s % GROUP_ORDER)
        c1 += power * (s * (2 * b - 1) % GROUP_ORDER)
        power = power * y % GROUP_ORDER
    return c0 % GROUP_ORDER, c1 % GROUP_ORDER

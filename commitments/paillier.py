"""Packed Paillier encryption with short randomness.

A ciphertext of the vector v is (1+N)^M h^s mod N^2 with M = sum v_j 2^(96 j), h = (-x^2)^N mod N^2 for a
hashed x, and s of 320 bits (Damgard, Jurik, Nielsen 2010, section 4.2; that short exponents are as good as
long ones is an assumption, ADR 2). Multiplying ciphertexts adds the vectors slot by slot.

Key and ciphertext convert to `phe`'s types; the arithmetic is gmpy2's. `phe` itself never checks that
0 < c < N^2 and gcd(c, N) = 1: `decode_ciphertext` does. Not constant-time.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import TypeAlias

import gmpy2
from Crypto.Hash import SHAKE256
from gmpy2 import mpz
from phe import EncryptedNumber, PaillierPublicKey

from commitments.errors import DecodeError, ParameterError
from commitments.params import (
    LABEL_KEY_ID,
    LABEL_PAILLIER_BASE,
    RANDOMNESS_BITS,
    SLOT_BITS,
)

Ciphertext: TypeAlias = mpz

_TABLE_BITS = 640  # mask randomness, responses, and a weighted sum of responses
_WINDOW = 8
_SMALLEST_MODULUS = 512


class _FixedBase:
    """base^e mod n for many e: one table of base^(d * 2^(8 i)), one multiplication per byte of e."""

    __slots__ = ("_modulus", "_rows", "base")

    def __init__(self, base: mpz, modulus: mpz) -> None:
        self.base, self._modulus = base, modulus
        self._rows: list[list[mpz]] = []
        step = base
        for _ in range(-(-_TABLE_BITS // _WINDOW)):
            row = [mpz(1)]
            for _ in range((1 << _WINDOW) - 1):
                row.append(row[-1] * step % modulus)
            self._rows.append(row)
            step = row[-1] * step % modulus

    def power(self, exponent: int) -> mpz:
        """base^exponent for exponent >= 0; beyond the table by the library."""
        if exponent.bit_length() > _TABLE_BITS:
            return gmpy2.powmod(self.base, exponent, self._modulus)
        total = mpz(1)
        for row, digit in zip(self._rows, exponent.to_bytes(len(self._rows), "little"), strict=True):
            if digit:
                total = total * row[digit] % self._modulus
        return total


@dataclass(frozen=True)
class PublicKey:
    """A Paillier modulus N with its derived constants and tables.

    Raises ParameterError for a modulus that is even or under 512 bits. That N is the product of two safe
    primes is what the ceremony promises; it cannot be checked from outside.
    """

    n: mpz = field(repr=False)

    def __post_init__(self) -> None:
        if self.n.bit_length() < _SMALLEST_MODULUS or self.n % 2 == 0:
            raise ParameterError(f"a Paillier modulus is odd and has at least {_SMALLEST_MODULUS} bits")

    def __reduce__(self) -> tuple[object, ...]:
        # Another process rebuilds the tables; they are larger than what they save on the wire.
        return public_key, (int(self.n),)

    @property
    def bits(self) -> int:
        """Length of N."""
        return int(self.n.bit_length())

    @cached_property
    def n2(self) -> mpz:
        """N^2."""
        return self.n * self.n

    @property
    def ciphertext_bytes(self) -> int:
        """Width of an encoded ciphertext."""
        return -(-2 * self.bits // 8)

    @property
    def modulus_bytes(self) -> int:
        """Width of an encoded residue modulo N."""
        return -(-self.bits // 8)

    @cached_property
    def key_id(self) -> bytes:
        """32 bytes that name the key."""
        return sha256(LABEL_KEY_ID + self.encode()).digest()

    @cached_property
    def h(self) -> mpz:
        """(-x^2)^N mod N^2, x hashed from a label and N."""
        digest = SHAKE256.new(LABEL_PAILLIER_BASE + self.encode()).read(self.modulus_bytes + 16)
        x = mpz(int.from_bytes(digest, "big")) % self.n
        return gmpy2.powmod(-x * x % self.n, self.n, self.n2)

    @cached_property
    def _table(self) -> _FixedBase:
        return _FixedBase(self.h, self.n2)

    def h_power(self, exponent: int) -> mpz:
        """h^exponent mod N^2, exponent >= 0."""
        return self._table.power(exponent)

    def encrypt(self, message: int, randomness: int) -> Ciphertext:
        """(1+N)^message h^randomness mod N^2, 0 <= message < N."""
        return (1 + (message % self.n) * self.n) % self.n2 * self.h_power(randomness) % self.n2

    def product(self, ciphertexts: Iterable[Ciphertext]) -> Ciphertext:
        """The encryption of the sum; of nothing, the trivial encryption of zero (1)."""
        total, n2 = mpz(1), self.n2
        for c in ciphertexts:
            total = total * c % n2
        return total

    def check_ciphertext(self, value: mpz, field_name: str) -> None:
        """Raises DecodeError unless 0 < c < N^2 and gcd(c, N) = 1."""
        if not 0 < value < self.n2:
            raise DecodeError(field_name, "a ciphertext lies strictly between 0 and N^2")
        if gmpy2.gcd(value, self.n) != 1:
            raise DecodeError(field_name, "a ciphertext shares no factor with N")

    def decode_ciphertext(self, data: bytes, field_name: str) -> Ciphertext:
        """A ciphertext from its fixed-width encoding, checked. Raises DecodeError."""
        if len(data) != self.ciphertext_bytes:
            raise DecodeError(field_name, f"a ciphertext has {self.ciphertext_bytes} bytes, not {len(data)}")
        value = mpz(int.from_bytes(data, "big"))
        self.check_ciphertext(value, field_name)
        return value

    def encode_ciphertext(self, c: Ciphertext) -> bytes:
        """Fixed width, big-endian."""
        return int(c).to_bytes(self.ciphertext_bytes, "big")

    def encode(self) -> bytes:
        """N, big-endian, without leading zeros."""
        return int(self.n).to_bytes(self.modulus_bytes, "big")

    def to_phe(self, c: Ciphertext) -> EncryptedNumber:
        """The ciphertext as `phe` knows it."""
        return EncryptedNumber(PaillierPublicKey(int(self.n)), int(c))


@lru_cache(maxsize=8)
def public_key(n: int) -> PublicKey:
    """The key of modulus n; tables are built once a process."""
    return PublicKey(mpz(n))


def random_exponent(bits: int) -> int:
    """Uniform in [0, 2^bits), from the operating system."""
    return secrets.randbits(bits)


def equal_up_to_sign(a: mpz, b: mpz, modulus: mpz) -> bool:
    """Whether a = b or a = -b modulo the modulus.

    The sign is invisible to decryption: the N-th root of -c is minus that of c, so the plaintext is the same.
    """
    return a % modulus in (b % modulus, -b % modulus)


@dataclass(frozen=True, slots=True)
class Packing:
    """How the cumulative curves of a market with `levels` price levels lie in K ciphertexts.

    Value 2i is D_i (buys with tick >= i), value 2i+1 is S_i (sells with tick <= i). Value v lies in
    ciphertext v // per_ciphertext at bit 96 * (v % per_ciphertext).
    """

    levels: int
    modulus_bits: int

    @property
    def slots(self) -> int:
        """m = 2T: histogram slots, and as many cumulative values."""
        return 2 * self.levels

    @property
    def per_ciphertext(self) -> int:
        """Slots of a ciphertext: the top one, below 2^93 with all masks, still stays below N."""
        return (self.modulus_bits + 2) // SLOT_BITS

    @property
    def ciphertexts(self) -> int:
        """K."""
        return -(-self.slots // self.per_ciphertext)

    def place(self, value: int) -> tuple[int, int]:
        """(ciphertext, slot in it) of a cumulative value."""
        return divmod(value, self.per_ciphertext)

    def slots_of(self, ciphertext: int) -> int:
        """How many slots that ciphertext holds; the last may be partly empty."""
        return min(self.per_ciphertext, self.slots - ciphertext * self.per_ciphertext)

    def cumulate(self, histogram: Sequence[int]) -> list[int]:
        """The 2T cumulative values of a histogram; linear, so it serves responses and masks as well."""
        if len(histogram) != self.slots:
            raise ParameterError(f"a histogram of {len(histogram)} slots where {self.slots} are due")
        values = [0] * self.slots
        demand = supply = 0
        for i in range(self.levels):
            supply += histogram[2 * i + 1]
            values[2 * i + 1] = supply
        for i in reversed(range(self.levels)):
            demand += histogram[2 * i]
            values[2 * i] = demand
        return values

    def pack(self, values: Sequence[int]) -> list[int]:
        """The K plaintexts of 2T values of any size: sum v_j 2^(96 j) over the integers."""
        plaintexts = []
        for start in range(0, self.slots, self.per_ciphertext):
            total = mpz(0)
            for value in reversed(values[start : start + self.per_ciphertext]):
                total = (total << SLOT_BITS) + value
            plaintexts.append(total)
        return plaintexts

    def plaintexts(self, histogram: Sequence[int]) -> list[int]:
        """sum_k coef[k][j] h_k for each ciphertext j (protocol, section 5)."""
        return self.pack(self.cumulate(histogram))


def unpack(plaintext: int, count: int) -> list[int]:
    """`count` slots of 96 bits. Raises ParameterError if anything lies above them."""
    mask = (1 << SLOT_BITS) - 1
    slots = [(int(plaintext) >> (SLOT_BITS * i)) & mask for i in range(count)]
    if int(plaintext) >> (SLOT_BITS * count):
        raise ParameterError(f"a plaintext exceeds its {count} slots")
    return slots


def fresh_randomness() -> int:
    """s of a ciphertext: 320 bits."""
    return random_exponent(RANDOMNESS_BITS)

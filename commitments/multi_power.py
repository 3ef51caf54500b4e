"""Products of powers, the dear part of verifying ciphertext equations in batches.

Few bases: a table of small powers of each, and one chain of squarings for all (Straus 1964). Many bases: each
goes into a bucket by its digit, window by window (Pippenger 1976). Both cost a multiplication a digit; what
else they cost decides. The arithmetic is gmpy2's. Not constant-time: exponents are public.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import gmpy2
from gmpy2 import mpz

from commitments.errors import ParameterError, VerificationError

_LARGEST_WINDOW = 12
_LONG, _SHORT = 5, 3  # time of a multiplication modulo n^2, and of one by a number below n
_Plan = tuple[int, int, bool]  # time, window, whether by buckets


def multi_power(bases: Sequence[mpz], exponents: Sequence[int], modulus: mpz) -> mpz:
    """The product of b_i^e_i mod the modulus, e_i >= 0. Raises ParameterError on unequal lengths."""
    if len(bases) != len(exponents):
        raise ParameterError(f"{len(bases)} bases and {len(exponents)} exponents")
    short = all(2 * base.bit_length() <= modulus.bit_length() + 1 for base in bases)
    lengths = [e.bit_length() for e in exponents]
    longest = max(lengths, default=0)
    _, window, by_buckets = min(_plans(lengths, longest, _SHORT if short else _LONG))
    tables = [] if by_buckets else [_powers(base, window, modulus) for base in bases]
    mask = (1 << window) - 1
    total = mpz(1)
    for shift in range((-(-longest // window) - 1) * window, -1, -window):
        if total != 1:
            for _ in range(window):
                total = total * total % modulus
        digits = [(exponent >> shift) & mask for exponent in exponents]
        if by_buckets:
            total = total * _by_buckets(bases, digits, modulus) % modulus
            continue
        for table, digit in zip(tables, digits, strict=True):
            if digit:
                total = total * table[digit] % modulus
    return total


def unit_power(units: Sequence[mpz], exponents: Sequence[int], n: mpz) -> mpz:
    """The product of u_i^e_i mod n^2, e_i >= 0, in about two thirds of the time of `multi_power`.

    With u = a + b n and t = b / a mod n, u = a (1 + t n) mod n^2; the second factors only add up,
    (1 + t n)^e = 1 + e t n, and the first are multiplied at half the length. The inverses share one
    inversion. Raises VerificationError if some u_i shares a factor with n, ParameterError on unequal lengths.
    """
    if len(units) != len(exponents):
        raise ParameterError(f"{len(units)} units and {len(exponents)} exponents")
    parts = [gmpy2.f_divmod(u, n) for u in units]
    low = [a for _, a in parts]
    twist = sum(
        e * (b * inverse % n) for e, (b, _), inverse in zip(exponents, parts, _inverses(low, n), strict=True)
    )
    n2 = n * n
    return multi_power(low, exponents, n2) * (1 + twist % n * n) % n2


def _plans(lengths: Sequence[int], longest: int, by_base: int) -> list[_Plan]:
    plans: list[_Plan] = []
    for window in range(1, _LARGEST_WINDOW + 1):
        digits = sum(-(-length // window) for length in lengths)
        buckets = -(-longest // window) << (window + 1)
        plans.append((by_base * digits + _LONG * buckets, window, True))
        plans.append((_LONG * digits + by_base * (len(lengths) << window), window, False))
    return plans


def _powers(base: mpz, window: int, modulus: mpz) -> list[mpz]:
    powers = [mpz(1), base]
    for _ in range((1 << window) - 2):
        powers.append(powers[-1] * base % modulus)
    return powers


def _by_buckets(bases: Sequence[mpz], digits: Sequence[int], modulus: mpz) -> mpz:
    """The product of b_i^d_i for small d_i."""
    buckets: dict[int, mpz] = {}
    for base, digit in zip(bases, digits, strict=True):
        if digit:
            held = buckets.get(digit)
            buckets[digit] = base if held is None else held * base % modulus
    running, total = mpz(1), mpz(1)
    for digit in range(max(buckets, default=0), 0, -1):
        held = buckets.get(digit)
        if held is not None:
            running = running * held % modulus
        if running != 1:
            total = total * running % modulus
    return total


def _inverses(units: Sequence[mpz], n: mpz) -> list[mpz]:
    """1 / a_i mod n, by one inversion and three multiplications each (Montgomery 1987)."""
    before = list(accumulate(units, lambda x, a: x * a % n, initial=mpz(1)))
    try:
        left = gmpy2.invert(before.pop(), n)
    except ZeroDivisionError:
        raise VerificationError("ciphertexts", "one shares a factor with N") from None
    inverses = []
    for a, prefix in zip(reversed(units), reversed(before), strict=True):
        inverses.append(left * prefix % n)
        left = left * a % n
    return inverses[::-1]

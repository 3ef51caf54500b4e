"""Threshold Paillier after Shoup: a dealer's ceremony, partial decryption, self-checking combination.

Decryption needs the N-th root rho of c mod N. With N = pq, p = 2p'+1, q = 2q'+1 all prime, the dealer shares
d = N^-1 mod p'q' among n members (Shamir modulo p'q', threshold t). Member i answers x_i = x^(2 Delta s_i)
mod N for x = c mod N, Delta = n!. Any t+1 answers give w = prod x_i^(2 lambda_i) = x^(4 Delta^2 d), hence
w^N = x^(4 Delta^2), and Euclid on (4 Delta^2, N) gives rho. rho^N = x is checked at no extra cost: rho^N
mod N^2 is needed for the plaintext anyway. x -> x^N is a bijection of Z_N*, so a combination that passes
is the only plaintext, whoever computed it.

Shoup 2000, "Practical threshold signatures"; Damgard, Jurik, Nielsen 2010. Works for every c in Z*_{N^2}.
A member learns nothing from t shares; the dealer knows everything until it forgets (threat model).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import factorial, prod

import gmpy2
import numpy as np
from gmpy2 import mpz

from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.multi_power import multi_power
from commitments.paillier import Ciphertext, PublicKey, equal_up_to_sign, public_key
from commitments.params import CIPHERTEXT_WEIGHT_BITS

_SIEVE_WIDTH = 1 << 16
_SIEVE_PRIMES = 1 << 16
_MAX_MEMBERS = 16


@dataclass(frozen=True, slots=True)
class KeyShare:
    """Member `index`'s share of d, an integer below p'q'. Secret."""

    index: int
    value: int = field(repr=False)


@dataclass(frozen=True, slots=True)
class Committee:
    """The public side of a committee: its Paillier key, size n and threshold t. Raises ParameterError."""

    key: PublicKey
    members: int
    threshold: int

    def __post_init__(self) -> None:
        if self.threshold < 1 or not 2 * self.threshold < self.members <= _MAX_MEMBERS:
            raise ParameterError(
                f"n = {self.members}, t = {self.threshold}: t is at least 1 and n from 2t+1 to {_MAX_MEMBERS}"
            )

    @property
    def delta(self) -> int:
        """Delta = n!."""
        return factorial(self.members)

    @property
    def indices(self) -> range:
        """1 .. n."""
        return range(1, self.members + 1)


@dataclass(frozen=True, slots=True)
class Opening:
    """What a ciphertext opens to: plaintext below N and its N-th root, which lets anyone check it."""

    plaintext: mpz = field(repr=False)
    root: mpz = field(repr=False)


def _small_primes(limit: int) -> list[int]:
    sieve = np.ones(limit, dtype=bool)
    sieve[:2] = False
    for i in range(2, int(limit**0.5) + 1):
        if sieve[i]:
            sieve[i * i :: i] = False
    return [int(p) for p in np.flatnonzero(sieve)]


def safe_prime(bits: int, progress: Callable[[int], None] | None = None) -> int:
    """A random safe prime of exactly `bits` bits, its two top bits set.

    Random starts, a double sieve (q and 2q+1) over a window of each, Fermat to base 2, then the library's
    Baillie-PSW with 24 further rounds. `progress` is called with the number of candidates tested so far.
    """
    primes = _small_primes(_SIEVE_PRIMES)[2:]  # 2 and 3 are excluded by q = 5 (mod 6)
    tested = 0
    while True:
        start = secrets.randbits(bits - 1) | 3 << (bits - 3)
        start += (5 - start) % 6
        alive = np.ones(_SIEVE_WIDTH, dtype=bool)
        for prime in primes:
            if prime.bit_length() >= bits - 1:
                break
            sixth = pow(6, -1, prime)
            alive[-start * sixth % prime :: prime] = False
            alive[(-(2 * start + 1) * pow(12, -1, prime)) % prime :: prime] = False
        survivors = [int(i) for i in np.flatnonzero(alive)]
        secrets.SystemRandom().shuffle(survivors)
        for offset in survivors:
            q = mpz(start + 6 * offset)
            tested += 1
            if progress is not None and tested % 64 == 0:
                progress(tested)
            if gmpy2.powmod(2, q - 1, q) != 1 or gmpy2.powmod(2, 2 * q, 2 * q + 1) != 1:
                continue
            p = 2 * q + 1
            if p.bit_length() == bits and gmpy2.is_prime(q, 24) and gmpy2.is_prime(p, 24):
                return int(p)


def deal(p: int, q: int, members: int, threshold: int) -> tuple[Committee, list[KeyShare]]:
    """The dealer's step: from two safe primes to the public committee and one share per member.

    The dealer must forget p, q and the polynomial afterwards. Raises ParameterError for unusable primes.
    """
    half_p, half_q = (mpz(p) - 1) // 2, (mpz(q) - 1) // 2
    if p == q or not all(gmpy2.is_prime(x, 24) for x in (mpz(p), mpz(q), half_p, half_q)):
        raise ParameterError("the ceremony needs two different safe primes")
    n, order = mpz(p) * q, half_p * half_q
    if gmpy2.gcd(n, order) != 1:
        raise ParameterError("N shares a factor with p'q'; draw other primes")
    committee = Committee(public_key(int(n)), members, threshold)
    polynomial = [int(gmpy2.invert(n, order))] + [secrets.randbelow(int(order)) for _ in range(threshold)]
    shares = [
        KeyShare(i, int(sum(a * i**k for k, a in enumerate(polynomial)) % order)) for i in committee.indices
    ]
    return committee, shares


def partial(committee: Committee, share: KeyShare, c: Ciphertext) -> mpz:
    """x_i = (c mod N)^(2 Delta s_i) mod N."""
    n = committee.key.n
    return gmpy2.powmod(c % n, 2 * committee.delta * share.value, n)


def decode_residue(key: PublicKey, data: bytes, field_name: str) -> mpz:
    """A unit modulo N (a partial decryption or a root) from its fixed width. Raises DecodeError."""
    if len(data) != key.modulus_bytes:
        raise DecodeError(field_name, f"{len(data)} bytes where {key.modulus_bytes} are due")
    value = mpz(int.from_bytes(data, "big"))
    if not 0 < value < key.n or gmpy2.gcd(value, key.n) != 1:
        raise DecodeError(field_name, "not a unit modulo N")
    return value


def _lagrange_at_zero(delta: int, indices: Sequence[int], i: int) -> int:
    """lambda_i = Delta * prod_{j != i} j / (j - i), an integer."""
    numerator = delta * prod(j for j in indices if j != i)
    return numerator // prod(j - i for j in indices if j != i)


def combine(committee: Committee, c: Ciphertext, partials: Mapping[int, mpz]) -> Opening:
    """The opening of c from t+1 or more partial decryptions (the t+1 lowest indices are used).

    Raises ParameterError with too few, VerificationError if the result does not satisfy rho^N = c mod N:
    then at least one partial is wrong and nothing is opened.
    """
    key, needed = committee.key, committee.threshold + 1
    if len(partials) < needed:
        missing = [i for i in committee.indices if i not in partials]
        raise ParameterError(f"{len(partials)}/{needed} partial decryptions; missing: members {missing}")
    n, n2, x = key.n, key.n2, c % key.n
    chosen = sorted(partials)[:needed]
    w = mpz(1)
    for i in chosen:
        w = w * gmpy2.powmod(partials[i], 2 * _lagrange_at_zero(committee.delta, chosen, i), n) % n
    quarter = 4 * committee.delta**2
    a = gmpy2.invert(quarter, n)
    b = (1 - a * quarter) // n  # a * 4 Delta^2 + b * N = 1
    root = gmpy2.powmod(w, a, n) * gmpy2.powmod(x, b, n) % n
    lifted = gmpy2.powmod(root, n, n2)
    if lifted % n != x:
        raise VerificationError("partial decryptions", f"those of members {chosen} do not combine")
    return Opening(_plaintext(key, c, lifted), root)


def _plaintext(key: PublicKey, c: Ciphertext, lifted_root: mpz) -> mpz:
    return (c * gmpy2.invert(lifted_root, key.n2) % key.n2 - 1) // key.n


def verify_openings(key: PublicKey, openings: Sequence[tuple[Ciphertext, Opening]]) -> None:
    """Check somebody else's combinations: c = (1+N)^M rho^N mod N^2 for all of them, at once.

    One random combination with 80-bit weights, up to sign (which no plaintext depends on). An equation that
    fails by an element of larger order passes with probability 2^-80; an element of order two other than -1
    would factor N. Raises VerificationError.
    """
    for _, opening in openings:
        if not 0 <= opening.plaintext < key.n or not 0 < opening.root < key.n:
            raise VerificationError("opening", "plaintext or root is out of range")
    weights = [secrets.randbits(CIPHERTEXT_WEIGHT_BITS) for _ in openings]
    left = multi_power([c for c, _ in openings], weights, key.n2)
    root = multi_power([o.root for _, o in openings], weights, key.n)
    message = sum(w * o.plaintext for w, (_, o) in zip(weights, openings, strict=True)) % key.n
    right = (1 + message * key.n) * gmpy2.powmod(root, key.n, key.n2) % key.n2
    if not equal_up_to_sign(left, right, key.n2):
        raise VerificationError("openings", f"at least one of {len(openings)} is not that of its ciphertext")

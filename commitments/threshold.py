"""Threshold Paillier after Shoup: a dealer's ceremony, partial decryption, self-checking combination.

Decryption needs the N-th root rho of c mod N. With N = pq, p = 2p'+1, q = 2q'+1 all prime, the dealer shares
d = N^-1 mod p'q' among n members (threshold t). Member i answers x_i = x^(2 Delta s_i) mod N for x = c mod N,
Delta = n!. Any t+1 answers give w = prod x_i^(2 lambda_i) = x^(4 Delta^2 d), hence w^N = x^(4 Delta^2), and
Euclid on (4 Delta^2, N) gives rho. rho^N = x is checked at no extra cost: rho^N mod N^2 is needed for the
plaintext anyway. x -> x^N is a bijection of Z_N*, so a combination that passes is the only plaintext,
whoever computed it. Each replacement of members multiplies d by Delta (resharing.py): after `scale` of them,
Delta^2 reads Delta^(2 + scale).

**Shares are integers.** s_i = F(i) for a polynomial F of degree t over the integers, not modulo p'q', for
members who do not know p'q' must be able to share again (resharing.py). F(0) is the multiple of Delta^2 that
is d modulo p'q'. For any t points T, two such secrets a difference D apart are made up for by the polynomial
D prod_{j in T} (1 - x/j): it vanishes on T, and its coefficients are integers, even multiples of Delta, none
above (t+1) |D|. Those of F are uniform in a range at least 2^80 t (t+1) times as wide as D, so t shares are
within 2^-80 of independent of d (Rabin 1998, "A simplified approach to threshold and proactive RSA").

**Verification values.** V, a square hashed from N, generates QR_N, cyclic of order p'q', but with negligible
probability; V_i = V^(s_i) lets anyone check member i's work (share_proof.py).

Shoup 2000, "Practical threshold signatures"; Damgard, Jurik, Nielsen 2010. Works for every c in Z*_{N^2}.
The dealer knows everything until it forgets (threat model).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import factorial, prod

import gmpy2
import numpy as np
from Crypto.Hash import SHAKE256
from gmpy2 import mpz

from commitments.encoding import Writer
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.multi_power import multi_power
from commitments.paillier import Ciphertext, PublicKey, equal_up_to_sign, public_key
from commitments.params import CIPHERTEXT_WEIGHT_BITS, LABEL_SHARING, LABEL_VERIFICATION_BASE

_SIEVE_WIDTH = 1 << 16
_SIEVE_PRIMES = 1 << 16
_MAX_MEMBERS = 16
_HIDING_BITS = 80  # statistical distance of t shares from independence of the secret
MAX_EPOCH = (1 << 16) - 1
MAX_SCALE = 32


@dataclass(frozen=True, slots=True)
class KeyShare:
    """Member `index`'s share F(index), an integer of at most `Committee.share_bits` bits. Secret."""

    index: int
    value: int = field(repr=False)


@dataclass(frozen=True, slots=True)
class Committee:
    """The public side of a committee: its Paillier key, size n and threshold t. Raises ParameterError.

    `values` are V_1 .. V_n, or none if nobody is to be blamed. `epoch` counts changes of shares and key,
    `scale` the replacements of members under this key.
    """

    key: PublicKey
    members: int
    threshold: int
    values: tuple[mpz, ...] = field(default=(), repr=False)
    epoch: int = 0
    scale: int = 0

    def __post_init__(self) -> None:
        if self.threshold < 1 or not 2 * self.threshold < self.members <= _MAX_MEMBERS:
            raise ParameterError(
                f"n = {self.members}, t = {self.threshold}: t is at least 1 and n from 2t+1 to {_MAX_MEMBERS}"
            )
        if self.values and len(self.values) != self.members:
            raise ParameterError(f"{len(self.values)} verification values for {self.members} members")
        if not all(0 < v < self.key.n and gmpy2.gcd(v, self.key.n) == 1 for v in self.values):
            raise ParameterError("a verification value is not a unit modulo N")
        if not 0 <= self.scale <= min(self.epoch, MAX_SCALE) or self.epoch > MAX_EPOCH:
            raise ParameterError(
                f"epoch {self.epoch}, scale {self.scale}: after {MAX_EPOCH} changes of shares, "
                f"or {MAX_SCALE} of members, a new key is due"
            )

    @property
    def delta(self) -> int:
        """Delta = n!."""
        return factorial(self.members)

    @property
    def base(self) -> mpz:
        """V = x^2 mod N, x hashed from a label and N."""
        width = self.key.modulus_bytes + 16
        digest = SHAKE256.new(LABEL_VERIFICATION_BASE + self.key.encode()).read(width)
        return gmpy2.powmod(int.from_bytes(digest, "big"), 2, self.key.n)

    def value(self, index: int) -> mpz:
        """V_index. Raises ParameterError if there is none."""
        if index not in self.indices or not self.values:
            raise ParameterError(f"member {index} has no verification value in a committee of {self.members}")
        return self.values[index - 1]

    @property
    def digest(self) -> bytes:
        """32 bytes that name this sharing: N, n, t, epoch, scale, V_1 .. V_n."""
        width = self.key.modulus_bytes
        writer = Writer().var(LABEL_SHARING).var(self.key.encode()).uint(self.members, 1)
        writer.uint(self.threshold, 1).uint(self.epoch, 4).uint(self.scale, 4).uint(len(self.values), 1)
        for value in self.values:
            writer.uint(int(value), width)
        return sha256(bytes(writer)).digest()

    @property
    def coefficient_bits(self) -> int:
        """Length of the t coefficients that hide a secret of this scale to within 2^-80.

        F(0) < Delta^(2 + scale) 2^(|N| - 2). What a coefficient must make up for is t+1 times as much, in a
        refresh twice that, in a replacement up to n^(2t) times (resharing.py).
        """
        n, t = self.members, self.threshold
        secret = self.delta ** (2 + self.scale) << (self.key.bits - 2)
        return int((secret * n ** (2 * t) * 2 * t * (t + 1)).bit_length()) + _HIDING_BITS

    @property
    def dealing_bound(self) -> int:
        """Above every value at 1 .. n of a polynomial with coefficients of `coefficient_bits`."""
        return sum(int(self.members**k) for k in range(self.threshold + 1)) << self.coefficient_bits

    @property
    def largest_lambda(self) -> int:
        """No |lambda_i| of t+1 members is above Delta n^t."""
        return self.delta * int(self.members**self.threshold)

    @property
    def share_bound(self) -> int:
        """Above every share. A refresh adds n dealings; a replacement adds t+1, each above lambda_i s_i."""
        growth = (self.threshold + 1) * (self.members + 1) * self.largest_lambda
        return int(growth**self.scale) * (1 + self.members * self.epoch) * self.dealing_bound

    @property
    def share_bits(self) -> int:
        """Length of the longest share."""
        return self.share_bound.bit_length()

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


def deal(p: int, q: int, members: int, threshold: int, epoch: int = 0) -> tuple[Committee, list[KeyShare]]:
    """The dealer's step: from two safe primes to the public committee and one share per member.

    `epoch` goes on counting where a new key takes over from another. The dealer must forget p, q and the
    polynomial afterwards. Raises ParameterError for unusable primes.
    """
    half_p, half_q = (mpz(p) - 1) // 2, (mpz(q) - 1) // 2
    if p == q or not all(gmpy2.is_prime(x, 24) for x in (mpz(p), mpz(q), half_p, half_q)):
        raise ParameterError("the ceremony needs two different safe primes")
    n, order = mpz(p) * q, half_p * half_q
    if gmpy2.gcd(n, order) != 1:
        raise ParameterError("N shares a factor with p'q'; draw other primes")
    committee = Committee(public_key(int(n)), members, threshold, epoch=epoch)
    d, square = gmpy2.invert(n, order), committee.delta**2
    secret = d + order * (-d * gmpy2.invert(order, square) % square)  # d modulo p'q', 0 modulo Delta^2
    polynomial = [int(secret), *(secrets.randbits(committee.coefficient_bits) for _ in range(threshold))]
    shares = [KeyShare(i, sum(a * i**k for k, a in enumerate(polynomial))) for i in committee.indices]
    values = tuple(gmpy2.powmod(committee.base, s.value, n) for s in shares)
    return replace(committee, values=values), shares


def check_share(committee: Committee, share: KeyShare) -> None:
    """Raises VerificationError unless V^s_i = V_i and s_i is in its range; ParameterError without a V_i."""
    expected = committee.value(share.index)
    if not 0 < share.value < committee.share_bound:
        raise VerificationError("share", f"member {share.index}: outside 1 to {committee.share_bits} bits")
    if gmpy2.powmod(committee.base, share.value, committee.key.n) != expected:
        raise VerificationError("share", f"member {share.index}: not that of its verification value")


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


def lagrange_at_zero(delta: int, indices: Sequence[int], i: int) -> int:
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
        w = w * gmpy2.powmod(partials[i], 2 * lagrange_at_zero(committee.delta, chosen, i), n) % n
    power = 4 * committee.delta ** (2 + committee.scale)
    a = gmpy2.invert(power, n)
    b = (1 - a * power) // n  # a * 4 Delta^(2 + scale) + b * N = 1
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

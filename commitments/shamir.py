"""Shamir's secret sharing modulo a prime p, which is that of the clearing unless another is given.

Member i (1..n) holds f(i), f of degree <= t over GF(p), f(0) the secret. Any t shares say nothing; t+1 give
the secret; every further one is a check, so n >= 2t+1 shares expose up to t false ones.

Shamir 1979; McEliece and Sarwate 1981 (shares as a Reed-Solomon word: any two words differ in n-t places).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations
from typing import Final, Protocol

from commitments.errors import ParameterError, VerificationError
from commitments.params import FIELD_PRIME

SHARE_BYTES: Final = (FIELD_PRIME.bit_length() + 7) // 8
MAX_MEMBERS: Final = 64  # far above any committee; bounds the work of a reconstruction


class Randomness(Protocol):
    """What `share` draws from: the `secrets` module, or a seeded source in tests."""

    def randbelow(self, exclusive_upper_bound: int, /) -> int:
        """A uniform integer in [0, exclusive_upper_bound)."""


def checked_committee(n: int, t: int) -> None:
    """Raises ParameterError unless 0 <= t < n <= MAX_MEMBERS."""
    if not 0 <= t < n <= MAX_MEMBERS:
        raise ParameterError(f"n = {n}, t = {t}: need 0 <= t < n <= {MAX_MEMBERS}")


def share(secret: int, n: int, t: int, rng: Randomness = secrets, prime: int = FIELD_PRIME) -> dict[int, int]:
    """Fresh shares of `secret` (taken modulo p), by member index 1..n.

    Raises ParameterError unless 0 <= t < n.
    """
    checked_committee(n, t)
    coefficients = [secret % prime, *(rng.randbelow(prime) for _ in range(t))]
    shares = {}
    for i in range(1, n + 1):
        value = 0
        for c in reversed(coefficients):
            value = (value * i + c) % prime
        shares[i] = value
    return shares


@lru_cache(maxsize=1024)
def _lagrange(indices: tuple[int, ...], at: int, prime: int) -> tuple[int, ...]:
    coefficients = []
    for i in indices:
        above, below = 1, 1
        for j in indices:
            if j != i:
                above = above * (at - j) % prime
                below = below * (i - j) % prime
        coefficients.append(above * pow(below, -1, prime) % prime)
    return tuple(coefficients)


def lagrange(indices: tuple[int, ...], at: int = 0, prime: int = FIELD_PRIME) -> dict[int, int]:
    """Coefficients l_i with f(at) = sum l_i f(i) mod p, for every f of degree below len(indices).

    `indices` are distinct member indices. Raises ParameterError if they are not, or if there are none.
    """
    if not indices or len(set(indices)) != len(indices) or min(indices) < 1 or max(indices) > MAX_MEMBERS:
        raise ParameterError(f"{indices} are not distinct indices in 1..{MAX_MEMBERS}")
    return dict(zip(indices, _lagrange(indices, at, prime), strict=True))


def reconstruct(shares: Mapping[int, int], n: int, t: int) -> int:
    """The secret in [0, p) behind shares keyed by member index, all of them used.

    1. at least t+1 shares, of indices in 1..n, each in [0, p);
    2. every share beyond t+1 lies on the polynomial of degree <= t through the first t+1.

    Raises VerificationError naming the step that failed. Exactly t+1 shares leave nothing to check against:
    give 2t+1 to be sure of the result although t are false. It does not say whose share is false, only that
    they do not agree.
    """
    checked_committee(n, t)
    # 1.
    if len(shares) < t + 1:
        missing = ", ".join(str(i) for i in range(1, n + 1) if i not in shares)
        problem = f"{len(shares)}/{t + 1} shares; missing: member {missing}"
        raise VerificationError("number of shares", problem)
    for i, value in shares.items():
        if not 1 <= i <= n:
            raise VerificationError("index of share", f"{i} is not a member; members are 1 to {n}")
        if not 0 <= value < FIELD_PRIME:
            raise VerificationError("range of share", f"member {i}'s share is not reduced modulo p")
    # 2.
    indices = tuple(sorted(shares))
    base, rest = indices[: t + 1], indices[t + 1 :]
    for j in rest:
        if _at(shares, base, j) != shares[j]:
            through = ", ".join(map(str, base))
            raise VerificationError(
                "degree of sharing",
                f"member {j}'s share is off the degree-{t} polynomial through those of members {through}; "
                "at least one of them is false",
            )
    return _at(shares, base, 0)


def false_shares(shares: Mapping[int, int], t: int) -> tuple[int, ...]:
    """Whose shares, of m that do not all agree, are off the polynomial of all others.

    With at most (m - t - 1) // 2 false ones there is exactly one polynomial of degree <= t that all others
    lie on (unique decoding of a Reed-Solomon word); beyond that nobody can be named, and nobody is. m is that
    of a committee, so every set of t+1 is tried.
    """
    indices = tuple(sorted(shares))
    most = (len(indices) - t - 1) // 2
    for base in combinations(indices, t + 1) if most > 0 else ():
        off = tuple(j for j in indices if j not in base and _at(shares, base, j) != shares[j])
        if len(off) <= most:
            return off
    return ()


def centred(value: int) -> int:
    """The representative of `value` modulo p in (-p/2, p/2): signed quantities, such as nets."""
    reduced = value % FIELD_PRIME
    return reduced - FIELD_PRIME if reduced > FIELD_PRIME // 2 else reduced


def _at(shares: Mapping[int, int], base: tuple[int, ...], at: int) -> int:
    return sum(c * shares[i] for i, c in lagrange(base, at).items()) % FIELD_PRIME

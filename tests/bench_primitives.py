"""What the protocol is made of: by py_ecc or phe, as used here, and as the bare library call, the limit."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial as partial_of

import gmpy2
from gmpy2 import mpz
from phe import PaillierPublicKey
from py_arkworks_bls12381 import G1Point
from py_arkworks_bls12381 import Scalar as NativeScalar

from commitments.group import Point, multiply_sum, using_backend
from commitments.multi_power import multi_power, unit_power
from commitments.paillier import fresh_randomness
from commitments.params import CIPHERTEXT_WEIGHT_BITS, GROUP_ORDER
from commitments.pedersen import generator_g
from commitments.threshold import combine, partial
from darkpool.committee.seat import Seat
from tests.bench_scale import Scale
from tests.figures import Figure, Part, median_ms

POINTS = 64
BASES = 256

_Steps = Mapping[str, Callable[[], object]]


def primitives(scale: Scale, seats: Sequence[Seat]) -> Part:
    """Group, ciphertexts, threshold decryption."""
    figures = [*_group(scale.runs), *_paillier(scale.runs, seats)]
    return Part(figures, notes=["Ratios are what is used here over the bare library call on the same input."])


def _group(runs: int) -> list[Figure]:
    scalars = [secrets.randbelow(GROUP_ORDER) for _ in range(POINTS)]
    encoded = [(generator_g() * (k or 1)).encode() for k in scalars]
    found = {}
    for backend, times in (("reference", 1), ("native", 20)):
        with using_backend(backend):
            points = [Point.decode(data, "point") for data in encoded]
            found[backend] = _medians(runs, times, _ours(points, scalars, encoded[0]))
    raw = [G1Point.from_compressed_bytes(data) for data in encoded]
    factors = [NativeScalar.from_le_bytes(k.to_bytes(32, "little")) for k in scalars]
    bare = _medians(
        runs,
        20,
        {
            "a point times a scalar": lambda: raw[0] * factors[0],
            "a point decoded, subgroup checked": lambda: G1Point.from_compressed_bytes(encoded[0]),
            f"a sum of {POINTS} products": lambda: G1Point.multiexp_unchecked(raw, factors),
        },
    )
    return [
        figure
        for name, limit in bare.items()
        for figure in (
            Figure(f"{name}: py_ecc", found["reference"][name], "ms"),
            *_against(name, found["native"][name], limit),
        )
    ]


def _ours(points: Sequence[Point], scalars: Sequence[int], data: bytes) -> _Steps:
    return {
        "a point times a scalar": lambda: points[0] * scalars[0],
        "a point decoded, subgroup checked": lambda: Point.decode(data, "point"),
        f"a sum of {POINTS} products": lambda: multiply_sum(points, scalars),
    }


def _paillier(runs: int, seats: Sequence[Seat]) -> list[Figure]:
    committee, key = seats[0].committee, seats[0].committee.key
    n, n2 = key.n, key.n2
    message, s = secrets.randbelow(int(n)), fresh_randomness()
    c = key.encrypt(message, s)  # and builds the tables, which is not what is measured
    partials = {seat.index: partial(committee, seat.share, c) for seat in seats[: committee.threshold + 1]}
    root = combine(committee, c, partials).root
    exponent = 2 * committee.delta * seats[0].share.value
    units = [key.encrypt(secrets.randbelow(int(n)), fresh_randomness()) for _ in range(BASES)]
    weights = [secrets.randbits(CIPHERTEXT_WEIGHT_BITS) for _ in units]
    phe = PaillierPublicKey(int(n))
    ours = {
        "encryption": lambda: key.encrypt(message, s),
        "partial decryption": lambda: partial(committee, seats[0].share, c),
        "combination with its check": lambda: combine(committee, c, partials),
        f"{BASES} ciphertexts to powers of {CIPHERTEXT_WEIGHT_BITS} bits": lambda: unit_power(
            units, weights, n
        ),
    }
    bare = {
        "encryption": lambda: gmpy2.powmod(key.h, s, n2),
        "partial decryption": lambda: gmpy2.powmod(c % n, exponent, n),
        "combination with its check": lambda: gmpy2.powmod(root, n, n2),
        f"{BASES} ciphertexts to powers of {CIPHERTEXT_WEIGHT_BITS} bits": lambda: _separately(
            units, weights, n2
        ),
    }
    of_phe = median_ms(runs, lambda: phe.raw_encrypt(message))
    plain = median_ms(runs, lambda: multi_power(units, weights, n2))
    measured, limits = _medians(runs, 1, ours), _medians(runs, 1, bare)
    figures = [Figure("encryption: phe, randomness of full length", of_phe, "ms")]
    for name, limit in limits.items():
        figures += _against(name, measured[name], limit)
    figures.append(Figure("the same powers without the split of units", plain, "ms"))
    return figures


def _separately(units: Sequence[mpz], weights: Sequence[int], modulus: mpz) -> mpz:
    total = mpz(1)
    for unit, weight in zip(units, weights, strict=True):
        total = total * gmpy2.powmod(unit, weight, modulus) % modulus
    return total


def _medians(runs: int, times: int, steps: _Steps) -> dict[str, float]:
    """Milliseconds of each step, the median of runs of so many repetitions."""

    def repeated(step: Callable[[], object]) -> None:
        for _ in range(times):
            step()

    return {name: median_ms(runs, partial_of(repeated, step)) / times for name, step in steps.items()}


def _against(name: str, ours: float, limit: float) -> list[Figure]:
    return [
        Figure(f"{name}: here", ours, "ms"),
        Figure(f"{name}: bare call", limit, "ms"),
        Figure(f"{name}: ratio", ours / limit, "times"),
    ]

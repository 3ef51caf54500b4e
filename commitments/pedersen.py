"""Pedersen commitments and their generators.

G commits to values, H blinds, G_k commits to slot k of an order's histogram, B_i to its i-th bit. All are
hashed to the curve from printed labels (nothing up the sleeve), so no discrete logarithm between any two of
them is known. Pedersen 1991.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import cache

from commitments.errors import VerificationError
from commitments.group import Point, Scalar, backend_name, multiply_sum
from commitments.params import DST_GENERATOR, GROUP_ORDER, LABEL_GENERATOR


@cache
def _generator(_backend: str, name: bytes) -> Point:
    return Point.hash(LABEL_GENERATOR + name, DST_GENERATOR)


@cache
def _family(backend: str, letter: bytes, count: int) -> tuple[Point, ...]:
    return tuple(_generator(backend, letter + b"/" + str(i).encode()) for i in range(count))


def generator_g() -> Point:
    """G, the base of committed values."""
    return _generator(backend_name(), b"G")


def generator_h() -> Point:
    """H, the base of blindings."""
    return _generator(backend_name(), b"H")


def slot_generators(count: int) -> tuple[Point, ...]:
    """G_0 .. G_{count-1}, the bases of histogram slots."""
    return _family(backend_name(), b"slot", count)


def bit_generators(count: int) -> tuple[Point, ...]:
    """B_0 .. B_{count-1}, the bases of bits."""
    return _family(backend_name(), b"bit", count)


def random_scalar() -> Scalar:
    """Uniform modulo the group order, from the operating system."""
    return secrets.randbelow(GROUP_ORDER)


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a commitment: value and blinding. Secret: `repr` shows neither."""

    value: int = field(repr=False)
    blinding: Scalar = field(repr=False)

    def __add__(self, other: Opening) -> Opening:
        return Opening(self.value + other.value, (self.blinding + other.blinding) % GROUP_ORDER)

    def __sub__(self, other: Opening) -> Opening:
        return Opening(self.value - other.value, (self.blinding - other.blinding) % GROUP_ORDER)

    def commitment(self) -> Point:
        """value * G + blinding * H."""
        return commit(self.value, self.blinding)


def commit(value: int, blinding: Scalar) -> Point:
    """value * G + blinding * H."""
    return multiply_sum((generator_g(), generator_h()), (value, blinding))


def check_opening(commitment: Point, opening: Opening, what: str) -> None:
    """Raises VerificationError naming `what` unless the opening is the commitment's."""
    if opening.commitment() != commitment:
        raise VerificationError(what, "the opening is not that of the commitment")

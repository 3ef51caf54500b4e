"""Small discrete logarithms: q from qG for 0 <= q < 2^32, by baby-step giant-step.

Baby steps are the x coordinates of jG, 1 <= j <= B = 2^bits, and giant steps the points kSG of stride S = 2B:
x(P - kSG) = x(jG) says P = (kS + j)G or P = (kS - j)G, since a point and its negative share x. 2^32 / S + 1
giant steps cover the range; at 2^20 baby steps that is 2,048.

Affine additions share one field inversion per batch (Montgomery 1987, the simultaneous inversion), in gmpy2:
about 4 microseconds a step, where the group library needs 21 for a sum and its affine form. Every answer is
checked in the group before it is given. Not constant-time: the time says how large q is.

Shanks 1971; the negation map as in Galbraith, Mathematics of Public Key Cryptography, section 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Final, TypeAlias

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.group import Point
from commitments.params import BASE_FIELD_PRIME, LABEL_LOG_TABLE, POINT_BYTES, QUANTITY_BITS
from commitments.pedersen import generator_g

DEFAULT_BITS: Final = 20
MIN_BITS: Final = 14  # fewer baby steps would need more giant ones than fit memory well
MAX_BITS: Final = 24
_ENTRY_BYTES: Final = 12  # 64 bits of x and the 32-bit j
_LIMIT: Final = 1 << QUANTITY_BITS
_BATCH: Final = 1024
_P: Final = mpz(BASE_FIELD_PRIME)
_KEY_MASK: Final = (1 << 64) - 1

Affine: TypeAlias = tuple[mpz, mpz]


def _affine(point: Point) -> Affine:
    xy = point.encode_xy()
    return mpz(int.from_bytes(xy[:POINT_BYTES], "big")), mpz(int.from_bytes(xy[POINT_BYTES:], "big"))


def _inverses(values: Sequence[mpz]) -> list[mpz]:
    """1/v modulo p of each, none of them zero, with one inversion."""
    before, product = [], mpz(1)
    for v in values:
        before.append(product)
        product = product * v % _P
    inverse, result = gmpy2.invert(product, _P), [mpz(0)] * len(values)
    for i in range(len(values) - 1, -1, -1):
        result[i] = inverse * before[i] % _P
        inverse = inverse * values[i] % _P
    return result


def _multiples(base: Point, count: int) -> Iterator[list[Affine]]:
    """1, 2, ... count times `base`, in batches, none the identity.

    Each batch is the one before it plus a constant point, which it must not contain: hence two to begin with.
    """
    point, batches = Point.identity(), []
    for _ in range(2):
        batch = []
        for _ in range(_BATCH):
            point += base
            batch.append(_affine(point))
        batches.append(batch)
    yield batches[0][:count]
    done, batch = _BATCH, batches[1]
    x_s, y_s = batches[0][-1]
    while done < count:
        yield batch[: count - done]
        done += _BATCH
        following = []
        for (x, y), inverse in zip(batch, _inverses([x - x_s for x, _ in batch]), strict=True):
            slope = (y - y_s) * inverse % _P
            x_sum = (slope * slope - x - x_s) % _P
            following.append((x_sum, (slope * (x_s - x_sum) - y_s) % _P))
        batch = following


@cache
def _giant_steps(bits: int) -> tuple[tuple[Affine, ...], ...]:
    """kSG for k from 1, in batches, as far as the range of q goes."""
    stride = 2 << bits
    return tuple(map(tuple, _multiples(generator_g() * stride, _LIMIT // stride)))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The baby steps: `keys` the low 64 bits of x(jG), ascending, `steps` the j of each; 2^bits of both."""

    bits: int
    keys: npt.NDArray[np.uint64] = field(repr=False)
    steps: npt.NDArray[np.uint32] = field(repr=False)

    @staticmethod
    def build(bits: int = DEFAULT_BITS, progress: Callable[[int], None] | None = None) -> Table:
        """A table of 2^bits baby steps; `progress` is called with the number of steps done so far.

        Seconds of work and 12 bytes a step, once. Raises ParameterError unless 14 <= bits <= 24.
        """
        if not MIN_BITS <= bits <= MAX_BITS:
            raise ParameterError(f"2^{bits} baby steps; allowed are 2^{MIN_BITS} to 2^{MAX_BITS}")
        keys = np.empty(1 << bits, np.uint64)
        done = 0
        for batch in _multiples(generator_g(), 1 << bits):
            keys[done : done + len(batch)] = [int(x & _KEY_MASK) for x, _ in batch]
            done += len(batch)
            if progress is not None:
                progress(done)
        order = np.argsort(keys)
        return Table(bits, keys[order], (order + 1).astype(np.uint32))

    def encode(self) -> bytes:
        """label, bits, G, SHA-256 of the entries; then all keys and all steps, little-endian."""
        body = self.keys.astype("<u8").tobytes() + self.steps.astype("<u4").tobytes()
        return _head(self.bits) + sha256(body).digest() + body

    @staticmethod
    def decode(data: bytes) -> Table:
        """The table of `encode`. Raises DecodeError; then build it again.

        The hash finds accidents, not forgers: whoever can write the file can make a lookup fail, though never
        give a wrong answer.
        """
        reader = Reader(data)
        if reader.fixed("table.label", len(LABEL_LOG_TABLE)) != LABEL_LOG_TABLE:
            raise DecodeError("table.label", "not a table of discrete logarithms of this version")
        bits = reader.uint("table.bits", 1, MAX_BITS)
        if bits < MIN_BITS:
            raise DecodeError("table.bits", f"{bits} is below {MIN_BITS}")
        if reader.fixed("table.generator", POINT_BYTES) != generator_g().encode():
            raise DecodeError("table.generator", "a table for another generator")
        digest = reader.fixed("table.hash", 32)
        body = reader.fixed("table.entries", _ENTRY_BYTES << bits)
        reader.end("table")
        if sha256(body).digest() != digest:
            raise DecodeError("table.hash", "not that of the entries")
        keys = np.frombuffer(body, "<u8", 1 << bits).astype(np.uint64)
        steps = np.frombuffer(body, "<u4", 1 << bits, 8 << bits).astype(np.uint32)
        if (keys[:-1] > keys[1:]).any() or steps.min() < 1 or steps.max() > 1 << bits:
            raise DecodeError("table.entries", "not ascending, or a step is out of range")
        return Table(bits, keys, steps)

    def logarithm(self, point: Point) -> int:
        """q with point = qG, 0 <= q < 2^32. Raises VerificationError if there is none."""
        if point.is_identity():
            return 0
        for q in self._candidates(_affine(point)):
            if 0 < q < _LIMIT and generator_g() * q == point:
                return q
        raise VerificationError("discrete logarithm", f"not a multiple of G below 2^{QUANTITY_BITS}")

    def _candidates(self, point: Affine) -> Iterator[int]:
        x, y = point
        yield from self._near([0], [x])
        stride, centre = 2 << self.bits, 0
        for batch in _giant_steps(self.bits):
            centres = range(centre + stride, centre + stride * (len(batch) + 1), stride)
            centre = centres[-1]
            # At the point itself, or its negative, no chord exists; 1 keeps the shared inversion going.
            yield from (c for c, (x_s, _) in zip(centres, batch, strict=True) if x_s == x)
            inverses = _inverses([(x - x_s) or mpz(1) for x_s, _ in batch])
            differences = []
            for (x_s, y_s), inverse in zip(batch, inverses, strict=True):
                slope = (y + y_s) * inverse % _P
                differences.append((slope * slope - x - x_s) % _P)
            yield from self._near(centres, differences)

    def _near(self, centres: Sequence[int], coordinates: Sequence[mpz]) -> Iterator[int]:
        """centre - j and centre + j wherever the coordinate is that of a baby step."""
        wanted = np.array([int(x & _KEY_MASK) for x in coordinates], np.uint64)
        first, last = (np.searchsorted(self.keys, wanted, side) for side in ("left", "right"))
        for i in np.flatnonzero(first < last).tolist():
            for j in self.steps[first[i] : last[i]]:
                yield centres[i] - int(j)
                yield centres[i] + int(j)


def _head(bits: int) -> bytes:
    writer = Writer().fixed(LABEL_LOG_TABLE, len(LABEL_LOG_TABLE)).uint(bits, 1)
    return bytes(writer.fixed(generator_g().encode(), POINT_BYTES))

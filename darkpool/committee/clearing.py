"""The programs members evaluate on secret shares: the auction rule and two vectors of tests.

Each runs under MPyC (Shamir shares modulo p, passive security, degree t, n >= 2t+1) and returns the member's
own shares of the outputs, freshly reshared so that opening one says nothing but its value. Nothing is opened
on the way except values MPyC masks. Control flow and message sizes depend on public inputs alone.

MPyC reads the command line when imported, so nothing here imports it: the child hands over its runtime.
A vector of shares is a numpy array of integers modulo p; sums and public constants are local, every `await`
is communication.

The auction (docs/protocol.md section 7). Ticks 0..T-1; demand D does not increase, supply S does not
decrease, so X = D - S does not increase. With a = last i where X_i >= 0 and b = a + 1:

    V_i = S_i for i <= a and D_i for i >= b, so V = max(S_a, D_b), reached at a, at b or at both;
    |X_i| is least at a on its side, at b on the other, and stays so on the plateaus where X_i = X_a or X_b
    (equal X means equal D and equal S, as both are monotone).

The best ticks are the left plateau [lo, a], the right one [b, hi], or both if neither V nor |X| decides. Both
means a mixed surplus and target ref: then lo <= a < b <= hi, so the clamp of ref needs the left plateau if
ref <= a and the right one if not. One plateau is enough in every case. The right side mirrored (tick i to
T-1-i, demand and supply exchanged) looks like the left side, so one search finds lo and one finds u for both.
A neighbour missing at the grid's edge is a virtual tick of volume -1, which never wins.

A search counts the leading ticks where d_i >= 0, d not increasing: compare the ends of about sqrt(T) blocks,
select the block where the sign turns obliviously, compare inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from commitments.errors import ParameterError
from commitments.params import FIELD_PRIME, MAX_LEVELS, SUM_BITS
from darkpool.committee.evaluator_frames import MAX_VECTOR, Program

# Operands stay below 2^48 in absolute value, so differences of differences fit 50 signed bits.
DIFFERENCE_BITS: Final = SUM_BITS + 2

Shares = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What needs the other members: products and comparisons, on an MPyC runtime."""

    runtime: Any  # MPyC has no types

    def _secure(self) -> Any:  # noqa: ANN401
        return self.runtime.SecInt(DIFFERENCE_BITS, p=FIELD_PRIME).array

    async def reshared(self, values: Shares) -> Shares:
        """The same values on fresh polynomials of degree t, given ones of degree at most 2t."""
        field_array = self._secure().sectype.field.array
        fresh: Shares = (await self.runtime._reshare(field_array(values))).value  # noqa: SLF001
        return fresh

    async def non_negative(self, d: Shares) -> Shares:
        """[d >= 0], elementwise, for -2^49 <= d < 2^49."""
        secure = self._secure()
        negative = self.runtime.np_sgn(secure(secure.sectype.field.array(d)), l=DIFFERENCE_BITS, LT=True)
        bits: Shares = 1 - (await self.runtime.gather(negative)).value
        return bits

    async def leading(self, d: Shares) -> Shares:
        """[d_i >= 0] for every entry of each row of d (rows, T), rows not increasing: ones, then zeros."""
        rows, ticks = d.shape
        blocks = isqrt(ticks)
        if blocks == 1:
            return await self.non_negative(d)
        size = -(-ticks // blocks)
        padding = np.full((rows, blocks * size - ticks), -1, dtype=object)
        parts = np.hstack((d, padding)).reshape(rows, blocks, size)
        edge = np.ones((rows, 1), dtype=object)
        # [block k ends at or above zero]: ones, then zeros; how the last block ends need not be known.
        passed = np.hstack((await self.non_negative(parts[:, :-1, -1]), 0 * edge))
        turning = np.hstack((edge, passed[:, :-1])) - passed  # one-hot: the block where the sign turns
        block = await self.reshared(np.sum(turning[:, :, None] * parts, axis=1))
        inside = await self.non_negative(block)
        unary = passed[:, :, None] + await self.reshared(turning[:, :, None] * inside[:, None, :])
        padded: Shares = unary.reshape(rows, blocks * size)
        return padded[:, :ticks]


async def auction(arithmetic: Arithmetic, public: Sequence[int], shares: Sequence[int]) -> Shares:
    """Shares of (crosses, price tick P, volume V, buys long, u, u exact).

    `public` is (T, ref, L, V_min); `shares` are those of D_0..D_{T-1}, S_0..S_{T-1}, in lots below 2^48.
    Bits: crosses = [V >= V_min]; buys long = [D_P >= S_P], so 1 if balanced; u = the last tick with D_u >= V
    if buys are long, else the first with S_u >= V; u exact = [D_u = V], or [S_u = V].
    Raises ParameterError for public inputs out of range.
    """
    ticks, ref, pressure, minimum = _auction_inputs(public, shares)
    top = ticks - 1
    values: Shares = np.array(shares, dtype=object)
    D, S = values[:ticks], values[ticks:]
    X = D - S
    product = arithmetic.reshared

    # 1. a, b and the curves there.
    to_a = (await arithmetic.leading(X[None]))[0]  # [i <= a]
    at = np.hstack((1, to_a)) - np.hstack((to_a, 0))  # one-hot: b in 0..T, and a in -1..T-1
    D_a, S_a, D_b, S_b = await product(
        np.stack((np.hstack((0, D)), np.hstack((-1, S)), np.hstack((D, -1)), np.hstack((S, 0)))) @ at
    )
    X_a, X_b = D_a - S_a, D_b - S_b

    # 2. Which side wins, by V, then by |X|, then by where ref lies: w = 1 for the left.
    more_a, more_b, near_a, near_b, surplus, enough_a, enough_b = await arithmetic.non_negative(
        _vector(S_a - D_b, D_b - S_a, -X_b - X_a, X_a + X_b, X_a - 1, S_a - minimum, D_b - minimum)
    )
    tie, even, neither, gain = await product(
        _vector(more_a * more_b, near_a * near_b, (1 - enough_a) * (1 - enough_b), more_a * (S_a - D_b))
    )
    V = D_b + gain
    mixed, tie_near_a = await product(_vector(tie * even, tie * near_a))
    (mixed_a,) = await product(_vector(mixed * to_a[ref]))
    w = more_a - tie + tie_near_a - mixed + mixed_a

    # 3. The winning side as if it were the left: X, the long curve, [i < a], X_a, whether L applies.
    left = np.hstack((X, D, to_a[1:], 0, X_a, surplus))
    right = np.hstack((-X[::-1], S[::-1], 1 - to_a[-2::-1], 0, -X_b, 1))
    won = right + await product(w * (left - right))
    curve, long, before_a, (level, leaning) = np.split(won, (ticks, 2 * ticks, 3 * ticks))

    # 4. lo = |{i: X_i > X_a}| and u = last i where the long curve reaches V.
    before_lo, to_u = await arithmetic.leading(np.stack((curve - level - 1, long - V)))
    pressed, exact = await product(_vector((1 - mixed) * leaning, (1 - tie) * (1 - leaning)))
    (left_pressed,) = await product(_vector(w * pressed))

    # 5. P = max(lo, min(target, a)) = lo + |{i: lo <= i < min(a, target)}|, by side and pressure.
    targets = (min(ref + pressure, top), ref, top - max(ref - pressure, 0), top - ref)
    reach = [np.sum((before_a - before_lo)[:target]) for target in targets]
    cases = (left_pressed, w - left_pressed, pressed - left_pressed, 1 - w - pressed + left_pressed)
    (beyond_lo,) = await product(_vector(sum(c * r for c, r in zip(cases, reach, strict=True))))
    P, u = np.sum(before_lo) + beyond_lo, np.sum(to_u) - 1

    # 6. Back from the mirror, and onto fresh polynomials.
    unmirrored = _vector(top - P, top - u) + w * _vector(2 * P - top, 2 * u - top)
    return await product(np.hstack((1 - neither, unmirrored[0], V, w, unmirrored[1], tie + exact)))


async def at_least(arithmetic: Arithmetic, public: Sequence[int], shares: Sequence[int]) -> Shares:
    """Shares of [x_i >= y_i]. `public` is (length); `shares` are those of x, then of y, all below 2^48.

    Raises ParameterError if there are not twice as many shares as the length says.
    """
    (length,) = _counts(public, 1)
    _checked_length(shares, length, 2)
    values: Shares = np.array(shares, dtype=object)
    return await arithmetic.reshared(await arithmetic.non_negative(values[:length] - values[length:]))


async def nonzero(arithmetic: Arithmetic, public: Sequence[int], shares: Sequence[int]) -> Shares:
    """Shares of [x_i >= 1]. `public` is (length); `shares` are those of x, 0 <= x_i < 2^49.

    Raises ParameterError if there are not as many shares as the length says.
    """
    (length,) = _counts(public, 1)
    _checked_length(shares, length, 1)
    values: Shares = np.array(shares, dtype=object)
    return await arithmetic.reshared(await arithmetic.non_negative(values - 1))


PROGRAMS: Final = {Program.AUCTION: auction, Program.AT_LEAST: at_least, Program.NONZERO: nonzero}


def _vector(*values: Any) -> Shares:  # noqa: ANN401
    vector: Shares = np.array(values, dtype=object)
    return vector


def _counts(public: Sequence[int], due: int) -> Sequence[int]:
    if len(public) != due:
        raise ParameterError(f"{len(public)} public integers where {due} are due")
    return public


def _checked_length(shares: Sequence[int], length: int, vectors: int) -> None:
    if not 1 <= length <= MAX_VECTOR // vectors or len(shares) != vectors * length:
        raise ParameterError(f"{len(shares)} shares do not make {vectors} vectors of length {length}")


def _auction_inputs(public: Sequence[int], shares: Sequence[int]) -> tuple[int, int, int, int]:
    ticks, ref, pressure, minimum = _counts(public, 4)
    if not 1 <= ticks <= MAX_LEVELS:
        raise ParameterError(f"T = {ticks} is outside 1 to {MAX_LEVELS}")
    _checked_length(shares, ticks, 2)
    if not 0 <= ref < ticks:
        raise ParameterError(f"reference tick {ref} is outside 0 to {ticks - 1}")
    if not 0 <= pressure <= MAX_LEVELS:
        raise ParameterError(f"pressure {pressure} is outside 0 to {MAX_LEVELS} ticks")
    if not 1 <= minimum < 1 << SUM_BITS:
        raise ParameterError(f"minimum volume {minimum} is outside 1 to 2^{SUM_BITS} - 1")
    return ticks, ref, pressure, minimum

"""An upper bound of the gas that `settle` takes, so that no signed settlement is too large to land.

Each row counts as the first of its account or word, which is the dearest case: a slot that goes from zero
to something (EIP-2929, EIP-2200), its calldata, its part of the event. `tests/gas.py` measures the contract;
what stands here is about 10 % above that. The bounds are rules of the log: all parties must judge alike.
"""

from __future__ import annotations

from typing import Final

from darkpool.settlement import MAX_ROWS

BASE: Final = 220_000
"""Without rows, with the signatures of 16 members."""

PER_DELTA: Final = 25_500
PER_NULLIFIER: Final = 26_500

MAX_SETTLEMENT_GAS: Final = 15_000_000
"""Bound of one settlement, below the 2^24 that EIP-7825 allows a transaction."""


def estimate(deltas: int, nullifiers: int) -> int:
    """Most gas that a settlement with so many rows takes."""
    return BASE + PER_DELTA * deltas + PER_NULLIFIER * nullifiers


def fits(deltas: int, nullifiers: int) -> bool:
    """Whether so many rows make one settlement."""
    within = deltas <= MAX_ROWS and nullifiers <= MAX_ROWS
    return within and estimate(deltas, nullifiers) <= MAX_SETTLEMENT_GAS

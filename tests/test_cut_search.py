"""The search for the cut in the clear: right for every list and target, of one shape for every length."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments.errors import VerificationError
from darkpool.committee.evaluator import Evaluator
from darkpool.committee.opening import Session
from darkpool.committee.session import Clearing, _Long
from darkpool.market import Side
from darkpool.matcher import Product
from tests.venue_log import Venue
from tests.venue_support import buy, sell, some_terms

LONG = _Long(Side.BUY, 2, None)


class InTheClear:
    """Session, evaluator and matcher of a list whose orders have those lots at u; shares are the values."""

    def __init__(self, lots: Sequence[int], lies: Sequence[tuple[int, int]] = ()) -> None:
        self.orders, self.timeout, self.shape = lots, 1.0, list[tuple[str, int, int, int]]()
        self._sums = [0, *accumulate(lots)]
        self._lies = dict(lies)
        self._asked = 0

    def prefix(self, length: int, parts: Sequence[int]) -> list[Product]:
        assert 1 <= length <= len(self.orders)
        return [Product(b"", part, cast("Any", length)) for part in parts]

    async def open(
        self, step: str, products: Sequence[Product], slots: Mapping[int, int], padded: int
    ) -> list[list[int]]:
        self.shape.append((step, len(products), padded, 0))
        return [[self._sums[int(p.ciphertext)]] * slots[p.part] for p in products]

    async def evaluate(self, program: str, public: tuple[int], shares: list[int]) -> list[int]:
        (count,) = public
        self.shape.append((program, count, len(shares), 0))
        return [int(x >= y) for x, y in zip(shares[:count], shares[count:], strict=True)]

    async def reveal(self, step: str, shares: Sequence[int]) -> list[int]:
        self.shape.append((step, len(shares), 0, 0))
        opened = [self._lies.get(self._asked + i, share) for i, share in enumerate(shares)]
        self._asked += len(shares)
        return opened


@pytest.fixture(scope="module")
def clearing() -> Clearing:
    venue = Venue(terms=some_terms(), names=("ada", "ben"))
    venue.place("ada", buy(3, 5))
    venue.place("ben", sell(0, 5))
    unused: Any = None
    return Clearing(cast("Session", unused), cast("Evaluator", unused), venue.terms, venue.seal(), unused)


def search(clearing: Clearing, plain: InTheClear, target: int) -> tuple[int, int]:
    held: Any = clearing
    held._session = held._sealed = held._matcher = plain
    held._evaluate = plain.evaluate
    return asyncio.run(clearing._cut(LONG, target))


@given(lots=st.lists(st.integers(0, 5), min_size=1, max_size=70), target=st.integers(1, 400))
def test_it_is_the_first_order_that_reaches_the_target(
    clearing: Clearing, lots: list[int], target: int
) -> None:
    sums = [0, *accumulate(lots)]
    expected = next((k for k in range(len(lots)) if sums[k + 1] >= target), len(lots))
    assert search(clearing, InTheClear(lots), target) == (expected, sums[expected])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65])
def test_every_position_is_found_in_as_many_steps_of_one_shape(clearing: Clearing, n: int) -> None:
    shapes = set()
    for position in range(n + 1):
        plain = InTheClear([1] * n)
        assert search(clearing, plain, position + 1) == (position, position)
        shapes.add(tuple(plain.shape))
    (shape,) = shapes
    steps = -(-n.bit_length() // 2)
    assert len(shape) == 3 * steps
    assert 4**steps > n


@pytest.mark.parametrize("bits", [(1, 0, 1), (1, 0, 0), (0, 1, 0), (2, 1, 1), (0, 0, 7)])
def test_bits_that_no_list_has_are_refused(clearing: Clearing, bits: tuple[int, int, int]) -> None:
    with pytest.raises(VerificationError, match="cut"):
        search(clearing, InTheClear([1] * 40, list(enumerate(bits))), 20)


def test_a_lie_about_what_is_known_already_is_refused(clearing: Clearing) -> None:
    # The first step leaves the last order or none; in the second two of three prefixes are known.
    for at in range(3, 6):
        honest = InTheClear([1] * 5)
        assert search(clearing, honest, 6) == (5, 5)
        with pytest.raises(VerificationError, match="cut"):
            search(clearing, InTheClear([1] * 5, [(at, 1)]), 6)

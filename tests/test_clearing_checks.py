"""What a member checks of opened values: a biased evaluation must not move anybody past a limit."""

from __future__ import annotations

from typing import Any, cast

import pytest

from commitments.errors import VerificationError
from darkpool.committee.evaluator import Evaluator
from darkpool.committee.opening import Session
from darkpool.committee.session import Clearing
from darkpool.market import Side
from tests.venue_log import Venue
from tests.venue_support import buy, sell, some_terms


@pytest.fixture(scope="module")
def clearing() -> Clearing:
    venue = Venue(terms=some_terms(min_volume=3), names=("ada", "ben"))
    venue.place("ada", buy(3, 5))
    venue.place("ben", sell(0, 5))
    unused: Any = None
    return Clearing(cast("Session", unused), cast("Evaluator", unused), venue.terms, venue.seal(), unused)


@pytest.mark.parametrize("price,u", [(0, 0), (0, 3), (2, 2), (2, 3), (3, 3)])
def test_a_price_at_or_below_the_last_filled_bid_is_taken(clearing: Clearing, price: int, u: int) -> None:
    long = clearing._long(1, u, price)
    assert (long.side, long.u, long.better) == (Side.BUY, u, u + 1 if u < 3 else None)


@pytest.mark.parametrize("price,u", [(0, 0), (3, 0), (2, 2), (3, 2), (3, 3)])
def test_a_price_at_or_above_the_last_filled_offer_is_taken(clearing: Clearing, price: int, u: int) -> None:
    long = clearing._long(0, u, price)
    assert (long.side, long.u, long.better) == (Side.SELL, u, u - 1 if u else None)


@pytest.mark.parametrize(
    "buys_long,u,price",
    [(1, 0, 1), (1, 2, 3), (0, 1, 0), (0, 3, 2), (1, 4, 0), (0, 4, 3), (2, 1, 1), (2**127, 1, 1)],
)
def test_a_price_beyond_the_marginal_tick_is_refused(
    clearing: Clearing, buys_long: int, u: int, price: int
) -> None:
    """Adding to one's share of the price alone shifts it; u is opened too and bounds every filled limit."""
    with pytest.raises(VerificationError, match="beyond u"):
        clearing._long(buys_long, u, price)


@pytest.mark.parametrize("price,volume", [(4, 5), (2**100, 5), (2, 2), (2, 0), (2, 2**48)])
def test_price_and_volume_out_of_range_are_refused_before_more_is_opened(
    clearing: Clearing, price: int, volume: int
) -> None:
    with pytest.raises(VerificationError, match="out of range"):
        clearing._check_price(price, volume)

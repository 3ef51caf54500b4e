"""The venue as a fold of its log: what each entry needs and does, and what a refused one leaves alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from darkpool.book import End
from darkpool.market import Grid, RoundState
from darkpool.message import terms_message
from darkpool.types import Address, Quanta
from tests.venue_log import Venue, crossing, open_market, refused
from tests.venue_support import (
    BASE,
    NOW,
    QUOTE,
    buy,
    some_terms,
)

WINDOW = 600  # the terms' settle window, seconds


# --- any entry --------------------------------------------------------------------------------------


def test_time_never_goes_back_and_may_stand_still() -> None:
    venue = Venue(names=("ada",))
    fields = {"market": venue.terms.market.id.hex(), "round": 2, "reference": 2, "source": "given"}
    venue.now = NOW - 1
    assert "is before the log's latest" in refused(venue, lambda: venue.append("open", fields))
    venue.now = NOW
    venue.append("open", fields)
    venue.now = NOW + 1
    venue.append("open", {**fields, "round": 3})
    assert venue.state.time == NOW + 1


@pytest.mark.parametrize("time", [None, -1, 1.5, "5", True, 1 << 64])
def test_an_entry_needs_its_time(time: object) -> None:
    venue = Venue(names=("ada",))
    fields = {"market": venue.terms.market.id.hex(), "round": 2, "reference": 2, "source": "", "time": time}
    assert "time" in refused(venue, lambda: venue.append("open", fields))


@pytest.mark.parametrize("op", ["", "status", "withdraw", "Order", "x" * 1_000])
def test_another_operation_is_none_of_the_logs(op: str) -> None:
    venue = Venue(names=("ada",))
    assert "none of the log's" in refused(venue, lambda: venue.append(op))


@pytest.mark.parametrize("op", ["open", "cancel", "cancel_all", "seal", "result", "abort"])
@pytest.mark.parametrize("market", ["aa" * 32, "aa" * 31, None, 5])
def test_an_entry_names_a_market_of_the_venue(op: str, market: object) -> None:
    venue = Venue(names=("ada",))
    assert "market" in refused(venue, lambda: venue.append(op, {"market": market}))


# --- markets and rounds -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 1},
        {"contract": Address(b"\x77" * 20)},
        {"venue": bytes(32)},
        {"tokens": (BASE, QUOTE)},
        {"settle_window": WINDOW + 1},
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_all_markets_are_of_one_vault_and_venue(change: dict[str, Any], known: bool) -> None:
    venue = Venue(names=("ada",))
    market = venue.terms.market if known else replace(venue.terms.market, id=b"\x55" * 32)
    fields = terms_message(replace(venue.terms, market=market, **change), NOW).fields
    assert "another vault" in refused(venue, lambda: venue.append("market", fields))


@pytest.mark.parametrize("change", [{"levels": 1}, {"tick": 0}, {"lot": 0}, {"name": ""}, {"p_0": None}])
def test_terms_that_are_none_open_no_market(change: dict[str, Any]) -> None:
    venue = Venue(names=("ada",))
    fields = {**terms_message(some_terms(id=b"\x55" * 32), NOW).fields, **change}
    assert refused(venue, lambda: venue.append("market", fields))


def test_new_terms_release_every_order_and_keep_the_reference_price() -> None:
    venue = Venue(names=("ada",))
    order = venue.place("ada", buy(1, 1))
    venue.open(2, reference=2)  # 1,020
    grid = Grid(Quanta(1_010), Quanta(5), 8)
    terms = replace(venue.terms, market=replace(venue.terms.market, grid=grid))
    effects = venue.append("market", terms_message(terms, NOW).fields)
    assert [(e.order, e.end, e.reason) for e in effects.ended] == [
        (order, End.RELEASED, "the market has new terms")
    ]
    assert venue.book.terms == terms
    assert grid.price(venue.book.current_round.reference) == 1_020
    assert venue.book.current_round.market == terms.market
    venue.check()


@pytest.mark.parametrize("p_0, level", [(5_000, 0), (10, 3)])
def test_a_reference_that_is_off_the_new_grid_is_as_near_as_it_gets(p_0: int, level: int) -> None:
    venue = Venue(names=("ada",))
    grid = Grid(Quanta(p_0), Quanta(10), 4)
    terms = replace(venue.terms, market=replace(venue.terms.market, grid=grid))
    venue.append("market", terms_message(terms, NOW).fields)
    assert venue.book.current_round.reference == level


def test_no_terms_change_and_no_round_opens_while_one_is_sealed() -> None:
    venue = crossing()
    fields = terms_message(venue.terms, NOW).fields
    assert "still sealed" in refused(venue, lambda: venue.append("market", fields))
    assert "still sealed" in refused(venue, lambda: venue.open(2))


@pytest.mark.parametrize(
    "change",
    [
        {"round": 1},
        {"round": 3},
        {"round": 0},
        {"reference": 4},
        {"reference": -1},
        {"source": "x" * 201},
        {"source": None},
    ],
)
def test_rounds_open_in_order_on_the_grid_with_a_source(change: dict[str, Any]) -> None:
    venue = Venue(names=("ada",))
    fields = {"market": venue.terms.market.id.hex(), "round": 2, "reference": 3, "source": "x" * 200}
    assert next(iter(change)) in refused(venue, lambda: venue.append("open", {**fields, **change}))
    (opened,) = venue.append("open", fields).rounds
    assert (opened.id, opened.reference, opened.state) == (2, 3, RoundState.OPEN)


@pytest.mark.parametrize("change", [{"round": 2}, {"round": 0}, {"epoch": 0}, {"epoch": None}])
def test_the_open_round_is_sealed_for_an_epoch(change: dict[str, Any]) -> None:
    venue = Venue(names=("ada",))
    venue.place("ada", buy(1, 1))
    fields = {"market": venue.terms.market.id.hex(), "round": 1, "epoch": 7}
    assert refused(venue, lambda: venue.append("seal", {**fields, **change}))
    venue.append("seal", fields)
    assert venue.state.epoch == 7


def test_one_list_is_sealed_at_a_time_in_all_markets() -> None:
    """Members clear one at a time, and `max_unsettled_rounds` counts on it."""
    venue = crossing()
    other = open_market(venue)
    fields = {"market": other.market.id.hex(), "round": 1, "epoch": 1}
    assert "still sealed" in refused(venue, lambda: venue.append("seal", fields))

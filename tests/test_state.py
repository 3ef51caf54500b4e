"""The venue as a fold of its log: what each entry needs and does, and what a refused one leaves alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from darkpool.book import End
from darkpool.listing import ListedOrder
from darkpool.market import Grid, RoundState
from darkpool.message import terms_message
from darkpool.types import Address, Quanta
from tests.commitments_support import auditor_keys
from tests.venue_log import NO_AUDIT, Venue, crossing, open_market, portrait, refused
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
    fields = {"market": venue.terms.market.id.hex(), "round": 1, "epoch": 7, **NO_AUDIT}
    assert refused(venue, lambda: venue.append("seal", {**fields, **change}))
    venue.append("seal", fields)
    assert venue.state.epoch == 7


@pytest.mark.parametrize(
    "change",
    [
        {"audit_size": None},
        {"audit_size": 2},
        {"audit_root": "00"},
        {"audit_root": None},
        {"audit_root": "bb" * 32},
    ],
)
def test_the_audit_log_never_shrinks_or_changes(change: dict[str, Any]) -> None:
    venue = Venue(names=("ada",))
    fields = {"market": venue.terms.market.id.hex(), "epoch": 1, "audit_size": 3, "audit_root": "aa" * 32}
    venue.place("ada", buy(1, 1))
    venue.append("seal", {**fields, "round": 1})
    assert venue.sealed_list.audit_root == b"\xaa" * 32
    venue.finish(venue.sealed_list)
    venue.open(2)
    later = {**fields, "round": 2, **change}
    assert next(iter(change)) in refused(venue, lambda: venue.append("seal", later))
    venue.append("seal", {**fields, "round": 2})
    assert portrait(venue.folded()) == portrait(venue.state)


def test_a_new_policy_leaves_standing_orders_to_be_judged_one_by_one() -> None:
    venue = Venue()
    for name in ("ada", "ben", "cyd"):
        venue.place(name, buy(1, 1))
    ada, ben, _ = venue.book.standing
    venue.terms = replace(venue.terms, policy_hash=b"\x05" * 32, auditor_keys=auditor_keys(1))
    assert not venue.append("market", terms_message(venue.terms, venue.now).fields).ended
    named = [[o.account.hex(), o.nonce] for o in (ada, ben)]
    fields = {"market": venue.terms.market.id.hex(), "orders": named, "reason": "no credential"}
    change: dict[str, Any]
    for change in (
        {"orders": []},
        {"orders": "ada"},
        {"orders": [*named, named[0]]},
        {"orders": [[*named[0], 1]]},
        {"orders": [[ada.account.hex(), ada.nonce + 1]]},
        {"orders": [[ada.account.hex()[2:], ada.nonce]]},
        {"reason": ""},
        {"reason": "x" * 201},
        {"reason": None},
    ):
        bad = {**fields, **change}
        assert refused(venue, partial(venue.append, "release", bad))
    gone = venue.append("release", fields).ended
    assert [(e.order.hash, e.end, e.reason) for e in gone] == [
        (o.hash, End.RELEASED, "no credential") for o in (ada, ben)
    ]
    assert len(venue.seal().orders) == 1
    assert "no unsealed order" in refused(
        venue, lambda: venue.append("release", {**fields, "orders": [_name(venue.book.standing[0])]})
    )
    assert portrait(venue.folded()) == portrait(venue.state)
    venue.check()


def _name(order: ListedOrder) -> list[str | int]:
    return [order.account.hex(), order.nonce]


def test_one_list_is_sealed_at_a_time_in_all_markets() -> None:
    """Members clear one at a time, and `max_unsettled_rounds` counts on it."""
    venue = crossing()
    other = open_market(venue)
    fields = {"market": other.market.id.hex(), "round": 1, "epoch": 1, **NO_AUDIT}
    assert "still sealed" in refused(venue, lambda: venue.append("seal", fields))

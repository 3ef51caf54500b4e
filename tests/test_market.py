"""Grids, markets, and the state machine of rounds."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments.params import MAX_LEVELS
from darkpool.errors import ConfigError
from darkpool.market import (
    MAX_LOCKED,
    MAX_LOTS,
    MAX_VOLUME,
    TRANSITIONS,
    Grid,
    IllegalTransition,
    Market,
    Round,
    RoundState,
    Side,
)
from darkpool.types import Address, Lots, Quanta, RoundId, Tick

TOP_PRICE = MAX_LOCKED // MAX_LOTS


def grid(p_0: int = 9_680, tick: int = 10, levels: int = 64) -> Grid:
    return Grid(Quanta(p_0), Quanta(tick), levels)


def market(**changes: Any) -> Market:  # noqa: ANN401
    plain = Market(
        id=bytes(31) + b"\1",
        name="ETH-USDC",
        base=Address(b"\1" * 20),
        quote=Address(b"\2" * 20),
        lot=Quanta(1_000_000),
        grid=grid(),
    )
    return replace(plain, **changes)


# --- sides and grids --------------------------------------------------------------------------------


def test_a_side_is_its_place_in_a_slot() -> None:
    assert [(side.value, side.opposite) for side in Side] == [(0, Side.SELL), (1, Side.BUY)]


@pytest.mark.parametrize(
    "levels,below,above", [(64, 32, 31), (2, 1, 0), (3, 1, 1), (256, 128, 127), (5, 2, 2)]
)
def test_a_centred_grid_has_half_of_its_levels_below_the_reference(
    levels: int, below: int, above: int
) -> None:
    centred = Grid.centred(Quanta(23_610), Quanta(10), levels)
    reference = centred.level(Quanta(23_610))
    assert (reference, centred.last - reference) == (below, above)
    assert centred.price(Tick(0)) == 23_610 - 10 * below


prices = st.integers(1, 10**6).flatmap(
    lambda tick: st.tuples(st.integers(1, 10**6), st.just(tick), st.integers(2, MAX_LEVELS))
)


@given(prices)
def test_level_and_price_are_inverse(terms: tuple[int, int, int]) -> None:
    some = grid(*terms)
    levels = [Tick(i) for i in range(some.levels)]
    assert [some.level(some.price(i)) for i in levels] == levels
    assert {b - a for a, b in pairwise(some.price(i) for i in levels)} == {some.tick}
    assert some.price(some.last) * MAX_LOTS < 2**64


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_the_first_tick_counts_from_zero(ticks: int, tick: int) -> None:
    assert grid(ticks * tick, tick, 4).first_tick == ticks


def test_a_grid_off_its_tick_has_no_first_tick() -> None:
    with pytest.raises(ConfigError, match="p_0 25 is not a multiple of the tick 10"):
        _ = grid(25, 10).first_tick


@pytest.mark.parametrize(
    "p_0,tick,levels,named",
    [
        (10, 1, 1, "grid levels is 1, must be 2 to 256"),
        (10, 1, 257, "grid levels is 257"),
        (10, 1, -2, "grid levels"),
        (10, 0, 2, "grid tick is 0"),
        (10, -1, 2, "grid tick is -1"),
        (0, 1, 2, "lowest price p_0 is 0"),
        (-5, 1, 64, "lowest price p_0 is -5"),
        (TOP_PRICE, 1, 2, "highest price"),
        (1, TOP_PRICE, 2, "highest price"),
    ],
)
def test_impossible_grids_are_refused(p_0: int, tick: int, levels: int, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        grid(p_0, tick, levels)


def test_the_dearest_grid() -> None:
    top = grid(TOP_PRICE - 1, 1, 2)
    assert top.price(top.last) * MAX_LOTS < 2**64 <= (top.price(top.last) + 1) * MAX_LOTS


@pytest.mark.parametrize("reference,levels", [(320, 64), (310, 64), (10, 2)])
def test_a_grid_reaching_zero_is_refused(reference: int, levels: int) -> None:
    with pytest.raises(ConfigError, match="lowest price"):
        Grid.centred(Quanta(reference), Quanta(10), levels)


@pytest.mark.parametrize("price", [9_670, 9_685, 9_680 + 640, 0, -10])
def test_prices_off_the_grid_have_no_level(price: int) -> None:
    with pytest.raises(ConfigError, match="is not on the grid 9680 to 10310 by 10"):
        grid().level(Quanta(price))


@pytest.mark.parametrize("level", [-1, 64])
def test_levels_off_the_grid_have_no_price(level: int) -> None:
    with pytest.raises(ConfigError, match="must be 0 to 63"):
        grid().price(Tick(level))


# --- markets ----------------------------------------------------------------------------------------


def test_a_market_starts_nearest_the_reference_with_one_lot() -> None:
    assert (market().pressure_ticks, market().min_volume) == (0, 1)


@pytest.mark.parametrize(
    "changes,named",
    [
        ({"id": bytes(31)}, "market id, bytes is 31"),
        ({"id": bytes(33)}, "market id"),
        ({"name": ""}, "market name"),
        ({"name": "x" * 65}, "market name"),
        ({"name": "ETH\nUSDC"}, "printable ASCII"),
        ({"name": "\u202eETH"}, "printable ASCII"),
        ({"base": Address(b"\2" * 20)}, "the same"),
        ({"quote": Address(b"\2" * 19)}, "token address"),
        ({"lot": Quanta(0)}, "market lot is 0"),
        ({"lot": Quanta(TOP_PRICE + 1)}, "market lot"),
        ({"pressure_ticks": -1}, "pressure_ticks is -1"),
        ({"pressure_ticks": MAX_LEVELS + 1}, "pressure_ticks"),
        ({"min_volume": Lots(0)}, "min_volume is 0, must be 1"),
        ({"min_volume": Lots(MAX_VOLUME + 1)}, "min_volume"),
        ({"min_accounts": 0}, "min_accounts"),
        ({"min_orders": 0}, "min_orders"),
        ({"min_orders": 2**16 + 1}, "min_orders"),
    ],
)
def test_impossible_markets_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        market(**changes)


# --- rounds -----------------------------------------------------------------------------------------

# Section 6 of the protocol, written down a second time.
PATHS = (
    "open sealed clearing no_cross",
    "open sealed clearing aborted",
    "open sealed clearing cleared void",
    "open sealed clearing cleared settling settled",
    "open sealed clearing cleared settling void",
)
EDGES = {edge for path in PATHS for edge in pairwise(RoundState(word) for word in path.split())}
FINAL = {RoundState.NO_CROSS, RoundState.ABORTED, RoundState.SETTLED, RoundState.VOID}


def fresh(state: RoundState = RoundState.OPEN) -> Round:
    return Round(RoundId(7), market(), Tick(32), state)


def test_a_round_starts_open() -> None:
    assert Round(RoundId(1), market(), Tick(0)).state is RoundState.OPEN


@pytest.mark.parametrize("reference", [-1, 64])
def test_a_reference_off_the_grid_is_refused(reference: int) -> None:
    with pytest.raises(ConfigError, match="reference level"):
        Round(RoundId(1), market(), Tick(reference))


@pytest.mark.parametrize("before,after", list(product(RoundState, RoundState)))
def test_every_step_is_legal_or_raises(before: RoundState, after: RoundState) -> None:
    start = fresh(before)
    if (before, after) in EDGES:
        assert start.advance(after) == replace(start, state=after)
        return
    with pytest.raises(IllegalTransition, match=f"round 7: no step from {before} to {after}"):
        start.advance(after)
    assert start.state is before


def test_the_final_states() -> None:
    assert {state for state in RoundState if state.final} == FINAL
    with pytest.raises(IllegalTransition) as caught:
        fresh(RoundState.VOID).advance(RoundState.OPEN)
    assert caught.value.hint == "from void: nothing, it is final"
    assert set(TRANSITIONS) == set(RoundState)


@given(st.lists(st.sampled_from(RoundState), max_size=40))
def test_any_run_of_attempts_follows_one_path(attempts: list[RoundState]) -> None:
    current, visited = fresh(), [RoundState.OPEN]
    for state in attempts:
        try:
            current = current.advance(state)
        except IllegalTransition:
            continue
        visited.append(current.state)
    words = " ".join(visited)
    assert any(path.startswith(words) for path in PATHS)
    assert current.state.final is (words in PATHS)
    assert replace(current, state=RoundState.OPEN) == fresh()


@given(st.data())
def test_every_walk_ends_final_within_six_steps(data: st.DataObject) -> None:
    current = fresh()
    for _ in range(6):
        if current.state.final:
            break
        current = current.advance(data.draw(st.sampled_from(sorted(TRANSITIONS[current.state]))))
    assert current.state in FINAL


def test_an_illegal_transition_survives_pickling() -> None:
    with pytest.raises(IllegalTransition) as caught:
        fresh().advance(RoundState.SETTLED)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301

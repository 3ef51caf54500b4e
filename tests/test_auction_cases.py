"""Published auction cases through the full encrypted path: seal, prove, clear, settle, read back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from darkpool.market import Side
from darkpool.orderfile import OUTSIDE, place
from darkpool.plan import Batch, Options, Plan
from darkpool.report import as_json
from tests.encrypted import INSECURE_TEST, PRODUCTION, Committee, running, seats
from tests.shared_data import AuctionCase, auction_cases

AT_PRODUCTION_SIZE = 3


@pytest.fixture(scope="module")
def small() -> Iterator[Committee]:
    with running(seats(INSECURE_TEST)) as committee:
        yield committee


@pytest.fixture(scope="module")
def large() -> Iterator[Committee]:
    with running(seats(PRODUCTION)) as committee:
        yield committee


def _cases(names: set[str] | None = None) -> list[Any]:
    return [p for p in auction_cases() if names is None or p.id in names or p.id == "absent"]


def _check(committee: Committee, case: AuctionCase, levels: int) -> None:
    grid = case.grid(levels)
    placed = [(row, place(row, grid)) for row in case.rows]
    rows = tuple((row, level) for row, level in placed if level is not OUTSIDE)
    assert len(rows) == len(case.rows)
    prepared = Plan(case.tick, grid, (Batch(case.reference_level(levels), rows),), ())
    options = Options("0.01", INSECURE_TEST, levels=levels, pressure_ticks=case.pressure_ticks)
    report = committee.execute(prepared, options)
    (got,) = as_json(report)["rounds"]
    assert got["price"] == (None if case.price is None else case.tick.text(case.price))
    assert got["volume"] == case.volume
    assert got["crossed"] == (case.price is not None)
    assert [fill["filled"] for fill in got["fills"]] == list(case.filled)
    signed = {Side.BUY: 1, Side.SELL: -1}
    nets: dict[str, int] = {}
    for row, filled in zip(case.rows, case.filled, strict=True):
        nets[row.account] = nets.get(row.account, 0) + signed[row.side] * filled
    traded = {row.account for row, filled in zip(case.rows, case.filled, strict=True) if filled}
    assert {n["account"]: n["base"] for n in got["nets"]} == {a: nets[a] for a in traded}
    assert all(n["quote"] == -n["base"] * (case.price or 0) for n in got["nets"])


@pytest.mark.parametrize("case", _cases())
def test_published_price_volume_and_fills(small: Committee, case: AuctionCase) -> None:
    _check(small, case, 16)


@pytest.mark.production
@pytest.mark.parametrize(
    "case",
    _cases(
        {
            "euronext: most shares, several sell limits",
            "rule: price then time on the long side",
            "rule: nothing crosses",
        }
    ),
)
def test_published_cases_at_production_size(large: Committee, case: AuctionCase) -> None:
    _check(large, case, 64)

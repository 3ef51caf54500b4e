"""The benchmark's arithmetic and page: exponents, verdicts, parts measured anew, plots that do not vary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commitments.params import PRODUCTION
from tests import bench_page
from tests.bench import IN_TABLE, PARTS
from tests.bench_others import _under_mpc
from tests.bench_page import TITLES, merged, write
from tests.bench_rounds import book_of
from tests.bench_scale import FULL, QUICK, TABLE
from tests.figures import Series, shown


def part(**fields: object) -> dict[str, Any]:
    return {
        "machine": "a machine", "profile": "production", "commit": "abc1234", "seconds": 1.5,
        "figures": [], "series": [], "notes": [], **fields,
    }  # fmt: skip


def figure(value: float, target: float | None, unit: str = "ms") -> dict[str, Any]:
    return {"name": "a figure", "value": value, "unit": unit, "target": target}


def series(*points: tuple[float, float]) -> dict[str, Any]:
    return {"name": "growing", "size": "orders", "unit": "s", "points": list(points), "claim": "1: linear"}


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_a_power_law_has_its_exponent(exponent: float) -> None:
    points = tuple((x, 3.7 * x**exponent) for x in (10, 30, 100, 1_000))
    assert Series("law", "n", "s", points).exponent == pytest.approx(exponent)


@pytest.mark.parametrize(
    "points", [(), ((1, 1),), ((1, 1), (2, 4)), ((1, 1), (1, 2), (2, 4)), ((0, 1), (1, 1), (2, 2))]
)
def test_two_sizes_have_none(points: tuple[tuple[float, float], ...]) -> None:
    assert Series("few", "n", "s", points).exponent is None


@pytest.mark.parametrize(
    "value, text", [(0.03691, "0.0369"), (5.224, "5.22"), (999.4, "999"), (17_425.2, "17,425")]
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    "value, target, unit, verdict",
    [
        (4, 5, "ms", "met"),
        (5, 5, "ms", "met"),
        (6, 5, "ms", "1.20 of it"),
        (80, 60, "per s", "met"),
        (30, 60, "per s", "0.50 of it"),
        (1, None, "ms", ""),
    ],
)
def test_the_page_says_which_targets_are_met(
    value: float, target: float | None, unit: str, verdict: str, tmp_path: Path
) -> None:
    write({"orders": part(figures=[figure(value, target, unit)])}, tmp_path)
    (row,) = [x for x in (tmp_path / "benchmarks.md").read_text().splitlines() if x.startswith("| a figure")]
    assert row.endswith(f"| {verdict} |")


def test_a_part_measured_again_replaces_itself_alone(tmp_path: Path) -> None:
    merged({"rounds": part(seconds=1.0), "orders": part(seconds=2.0)}, tmp_path)
    held = merged({"rounds": part(seconds=3.0)}, tmp_path)
    assert [(name, p["seconds"]) for name, p in held.items()] == [("orders", 2.0), ("rounds", 3.0)]
    assert json.loads((tmp_path / "benchmarks.json").read_text()) == held
    assert merged({}, tmp_path) == held


def test_the_page_and_its_plots_are_the_same_every_time(tmp_path: Path) -> None:
    rows = [series((10, 1), (100, 5), (1_000, 60)), series((10, 2), (100, 9), (1_000, 70))]
    found = {"rounds": part(series=rows, notes=["a note"]), "orders": part(figures=[figure(1, 2)])}
    pages = []
    for name in ("one", "two"):
        (tmp_path / name / "plots").mkdir(parents=True)
        (tmp_path / name / "plots" / "gone-0.svg").write_text("of a part that is no more")
        write(found, tmp_path / name)
        pages.append({p.name: p.read_bytes() for p in (tmp_path / name).rglob("*.*")})
    assert pages[0] == pages[1]
    assert set(pages[0]) == {"benchmarks.md", "rounds-0.svg"}
    page = pages[0]["benchmarks.md"].decode()
    assert "![Rounds](plots/rounds-0.svg)" in page
    assert "| growing, by orders | 10, 100, 1,000 | 0.89 | 1: linear |" in page
    assert b"growing" in pages[0]["rounds-0.svg"]  # text stays text
    assert len(pages[0]["rounds-0.svg"]) < 40_000


def test_every_part_has_a_title_and_the_table_its_parts() -> None:
    assert list(PARTS) == list(TITLES)
    assert set(IN_TABLE) < set(PARTS)


def test_scales() -> None:
    assert {TABLE.profile, FULL.profile} == {PRODUCTION}
    assert QUICK.profile is not PRODUCTION
    for scale in (QUICK, TABLE, FULL):
        assert 1 in scale.batches
        assert scale.service % 128 == 0
        assert all(accounts <= orders for orders, accounts in scale.rounds)
    assert {(100, 10), (1_000, 100)} <= set(TABLE.rounds) & set(FULL.rounds)


def test_a_size_has_one_book() -> None:
    assert book_of(30, 7) == book_of(30, 7)
    assert len({order.account for order in book_of(30, 7)}) == 7
    assert book_of(60, 7)[:30] == book_of(30, 7)


@pytest.mark.slow
@pytest.mark.parametrize("size, accounts", [(9, 4), (25, 3)])
def test_the_auction_wholly_under_mpc_is_the_plain_one(size: int, accounts: int) -> None:
    assert _under_mpc(book_of(size, accounts)) > 0  # raises if price, volume or a net differs


def test_the_committed_page_is_that_of_the_committed_figures(tmp_path: Path) -> None:
    committed = bench_page.DOCS / bench_page.RESULTS
    if not committed.exists():
        pytest.skip("nothing was measured yet")
    write(json.loads(committed.read_text()), tmp_path)
    assert (tmp_path / bench_page.PAGE).read_text() == (bench_page.DOCS / bench_page.PAGE).read_text()

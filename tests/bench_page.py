"""docs/benchmarks.md and docs/plots/ from docs/benchmarks.json: what was measured, as tables and plots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tests.bench_published import PUBLISHED
from tests.figures import Series, shown

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
RESULTS: Final = "benchmarks.json"
PAGE: Final = "benchmarks.md"
PLOTS: Final = "plots"

TITLES: Final = {
    "primitives": "Primitives, and the limit",
    "orders": "Orders",
    "openings": "Openings",
    "auction": "The auction rule under MPC",
    "rounds": "Rounds",
    "committees": "Committees of three to five",
    "service": "Orders over HTTP",
    "scaling": "Workers side by side",
    "auditor": "Auditor's reports",
    "log": "The audit log",
    "start": "Start of the command line",
    "others": "The same books cleared in other ways",
}
_HEAD: Final = """# Benchmarks

Made by `python -m tests.bench --scale full --write` (`make bench-all`) from what it measured, which is in
[benchmarks.json](benchmarks.json); do not edit. `--only PART` measures one part again, `--page` draws the
page anew. Medians of wall time unless a line says otherwise, all parties on the one machine that a part
names. Fitted exponents are b of value = a size^b, by least squares on logarithms.
"""
_STYLE: Final[Any] = {"svg.fonttype": "none", "svg.hashsalt": "darkpool", "font.size": 8, "axes.grid": True}
_MANY: Final = 8  # more tables than lines help nobody


def merged(found: Mapping[str, Any], folder: Path = DOCS) -> dict[str, Any]:
    """What was measured before, with those parts replaced; written to the folder's JSON."""
    path = folder / RESULTS
    held: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    parts = held | dict(found)
    ordered = {name: parts[name] for name in TITLES if name in parts}
    path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")
    return ordered


def write(parts: Mapping[str, Any], folder: Path = DOCS) -> None:
    """The page and its plots; plots that no part has any more are removed."""
    plots = folder / PLOTS
    plots.mkdir(exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    lines = [_HEAD]
    for name, part in parts.items():
        lines += _section(name, part, plots)
    lines += _published()
    (folder / PAGE).write_text("\n".join(lines) + "\n")


def _section(name: str, part: Mapping[str, Any], plots: Path) -> Iterator[str]:
    yield f"## {TITLES[name]}\n"
    yield f"{part['machine']}; profile {part['profile']}; commit {part['commit']}; {part['seconds']:.0f} s.\n"
    yield from _table(part["figures"])
    series = [Series(**row | {"points": tuple(map(tuple, row["points"]))}) for row in part["series"]]
    if series:
        yield from _growth(series)
    for number, (_, group) in enumerate(groupby(series, key=lambda s: (s.size, s.unit))):
        file = f"{name}-{number}.svg"
        _plot(list(group), plots / file)
        yield f"![{TITLES[name]}]({PLOTS}/{file})\n"
    if part["notes"]:
        yield "\n".join(part["notes"]) + "\n"


def _table(figures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not figures:
        return
    yield "| What | Measured | Target | |"
    yield "|---|---:|---:|---|"
    for row in figures:
        target = row["target"]
        bound = "" if target is None else f"{target:g} {row['unit']}"
        yield f"| {row['name']} | {shown(row['value'])} {row['unit']} | {bound} | {_verdict(row)} |"
    yield ""


def _verdict(row: Mapping[str, Any]) -> str:
    if row["target"] is None:
        return ""
    at_least = row["unit"] == "per s"
    met = row["value"] >= row["target"] if at_least else row["value"] <= row["target"]
    return "met" if met else f"{row['value'] / row['target']:.2f} of it"


def _growth(series: Sequence[Series]) -> Iterator[str]:
    yield "| Growth | Sizes | Fitted exponent | Expected |"
    yield "|---|---|---:|---|"
    for each in series:
        sizes = ", ".join(f"{x:,g}" for x, _ in each.points[:_MANY])
        fitted = "" if each.exponent is None else f"{each.exponent:.2f}"
        yield f"| {each.name}, by {each.size} | {sizes} | {fitted} | {each.claim} |"
    yield ""


def _plot(series: Sequence[Series], path: Path) -> None:
    """Small and the same on every run: text stays text, nothing carries a date."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    with mpl.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 2.9), layout="constrained")
        for each in series:
            axes.plot(*zip(*each.points, strict=True), marker="o", markersize=3, linewidth=1, label=each.name)
        axes.set(xscale="log", yscale="log", xlabel=series[0].size, ylabel=series[0].unit)
        axes.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


def _published() -> Iterator[str]:
    if not PUBLISHED:
        return
    yield "## Published figures of other systems\n"
    yield "Not measured here: other machines, other books, other rules. As their authors state them.\n"
    yield "| System | What it does | Allocation | Hardware | Stated |"
    yield "|---|---|---|---|---|"
    for row in PUBLISHED:
        yield f"| {row.system} ({row.source}) | {row.purpose} | {row.rule} | {row.hardware} | {row.stated} |"

"""Measured figures, series of them, their growth and their table, for the benchmarks."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import log
from pathlib import Path
from statistics import linear_regression, median

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    unit: str
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Values in `unit` against a size; `claim` is what the protocol says of the growth, in words."""

    name: str
    size: str
    unit: str
    points: tuple[tuple[float, float], ...]
    claim: str = ""

    @property
    def exponent(self) -> float | None:
        """b of the fit value = a size^b, by least squares on logarithms; None below three points."""
        rows = [(log(x), log(y)) for x, y in self.points if x > 0 and y > 0]
        if len({x for x, _ in rows}) < 3:  # two points always fit
            return None
        return linear_regression(*zip(*rows, strict=True)).slope


@dataclass(frozen=True, slots=True)
class Part:
    """What one subject's benchmark found; `notes` are the lines below its tables."""

    figures: Sequence[Figure] = ()
    series: Sequence[Series] = ()
    notes: Sequence[str] = field(default=())


def median_ms(runs: int, step: Callable[[], object]) -> float:
    """Median wall time of a step, in milliseconds."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - started))
    return median(times)


def shown(value: float) -> str:
    """Three significant digits, or whole with separators."""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def figures_table(figures: Sequence[Figure], caption: str) -> Table:
    """The figures with the machine as title."""
    table = Table(title=machine(), caption=caption)
    table.add_column("what")
    for name in ("measured", "unit", "target"):
        table.add_column(name, justify="right")
    for figure in figures:
        target = "" if figure.target is None else f"{figure.target:g}"
        table.add_row(figure.name, shown(figure.value), figure.unit, target)
    return table


def machine() -> str:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {python}, {platform.system()}"

"""Measured figures and their table, for the benchmarks."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    unit: str
    target: float | None = None


def figures_table(figures: Sequence[Figure], caption: str) -> Table:
    """The figures with the machine as title."""
    table = Table(title=machine(), caption=caption)
    table.add_column("what")
    for name in ("measured", "unit", "target"):
        table.add_column(name, justify="right")
    for figure in figures:
        target = "" if figure.target is None else f"{figure.target:g}"
        value = f"{figure.value:,.0f}" if figure.value >= 1_000 else f"{figure.value:.3g}"
        table.add_row(figure.name, value, figure.unit, target)
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

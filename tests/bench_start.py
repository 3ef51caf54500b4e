"""How long the command line takes to start: help, and commands that need neither venue nor chain."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from commitments.params import PRODUCTION
from darkpool.committee.seat import Seat
from tests.bench_scale import Scale
from tests.figures import Figure, Part, median_ms

_POLICY = Path(__file__).resolve().parent.parent / "examples" / "policies" / "uk"
_COMMANDS = {
    "--help": ["--help"],
    "run --help": ["run", "--help"],
    "policy hash": ["policy", "hash", str(_POLICY)],
}


def start(scale: Scale, seats: Sequence[Seat]) -> Part:
    """Median wall time of processes from start to exit."""
    del seats
    figures = []
    with tempfile.TemporaryDirectory(prefix="dp-bench-") as folder:
        for name, arguments in _COMMANDS.items():
            seconds = median_ms(max(scale.runs, 3), partial(_ran, arguments, Path(folder))) / 1000
            target = 0.5 if scale.profile is PRODUCTION else None
            figures.append(Figure(f"darkpool {name}", seconds, "s", target))
    return Part(figures)


def _ran(arguments: Sequence[str], folder: Path) -> None:
    command = [str(Path(sys.executable).with_name("darkpool")), *arguments]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)

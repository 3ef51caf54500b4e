"""Speed and memory: `make bench` for the table, `make bench-all` for the page docs/benchmarks.md.

    python -m tests.bench --only rounds --scale full --write     one part of the page again
    python -m tests.bench --page                                 the page again, nothing measured

Every figure is of this machine; targets are shown beside what was measured and not enforced.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console

from darkpool.committee.seat import Seat, ceremony
from darkpool.run import MEMBERS, THRESHOLD
from tests import bench_page
from tests.bench_clearing import auction, openings
from tests.bench_committee import committees
from tests.bench_orders import orders
from tests.bench_others import others
from tests.bench_primitives import primitives
from tests.bench_rounds import rounds
from tests.bench_scale import SCALES, TABLE, Scale
from tests.bench_service import service
from tests.bench_start import start
from tests.figures import Figure, Part, Series, figures_table, machine


def over_http(scale: Scale, seats: Sequence[Seat]) -> Part:
    """Admission; enough orders for the venue's memory to show whether it grows."""
    return Part(service(seats, scale.service, profile=scale.profile.name))


def auditor(scale: Scale, seats: Sequence[Seat]) -> Part:
    """An account's report from an audit file, under the published key."""
    from tests.bench_audit import auditor_report

    del seats
    found = [auditor_report(orders) for orders in scale.reports]
    points = tuple((orders, first.value) for orders, (first, *_) in zip(scale.reports, found, strict=True))
    claim = "1: every list is checked and every order opened"
    return Part(found[-1], [Series("auditor's report", "orders", "s", points, claim)])


def log_of_audits(scale: Scale, seats: Sequence[Seat]) -> Part:
    """The audit log under load and at a million entries; of one size on every scale."""
    from tests.bench_compliance import audit_log

    del scale
    return Part(audit_log(seats))


def on_workers(scale: Scale, seats: Sequence[Seat]) -> Part:
    """Orders and openings on one and two workers, and a model of more."""
    from tests.bench_scaling import scaling

    return scaling(scale, seats)


PARTS: Final[dict[str, Callable[[Scale, Sequence[Seat]], Part]]] = {
    "primitives": primitives,
    "orders": orders,
    "openings": openings,
    "auction": auction,
    "rounds": rounds,
    "committees": committees,
    "service": over_http,
    "scaling": on_workers,
    "auditor": auditor,
    "log": log_of_audits,
    "start": start,
    "others": others,
}
IN_TABLE: Final = ("orders", "openings", "auction", "rounds", "service", "start")


def measure(names: Sequence[str], scale: Scale) -> dict[str, Any]:
    """Those parts, each with the machine and commit it was measured on, as they go into the JSON."""
    say(f"key ceremony, profile {scale.profile.name}")
    seats = ceremony(scale.profile, MEMBERS, THRESHOLD)
    found = {}
    for name in names:
        say(name)
        started = time.perf_counter()
        part = PARTS[name](scale, seats)
        found[name] = {
            "machine": machine(),
            "profile": scale.profile.name,
            "commit": _commit(),
            "seconds": time.perf_counter() - started,
            "figures": [asdict(figure) for figure in part.figures],
            "series": [asdict(series) for series in part.series],
            "notes": list(part.notes),
        }
    return found


def say(what: str) -> None:
    sys.stderr.write(f"{what} …\n")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=bench_page.DOCS, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--all", action="store_true", help="every part; default: those of the README's table")
    parser.add_argument("--scale", choices=list(SCALES), default="table", help="default: table")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--write", action="store_true", help="into docs/: JSON, page, plots")
    parser.add_argument("--page", action="store_true", help="draw the page anew and measure nothing")
    arguments = parser.parse_args()
    if arguments.page:
        bench_page.write(bench_page.merged({}))
        return
    scale = SCALES[arguments.scale]
    found = measure(arguments.only or (list(PARTS) if arguments.all else IN_TABLE), scale)
    if arguments.write:
        bench_page.write(bench_page.merged(found))
    if arguments.json:
        print(json.dumps(found))
        return
    figures = [Figure(**figure) for part in found.values() for figure in part["figures"]]
    caption = f"profile {scale.profile.name}, n = {MEMBERS}, t = {THRESHOLD}; medians"
    if scale is TABLE:
        caption += "; T = 64"
    Console().print(figures_table(figures, caption))


if __name__ == "__main__":
    main()

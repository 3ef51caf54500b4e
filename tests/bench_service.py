"""The service under load: sealed orders over HTTP on this machine, `python -m tests.bench_service`.

Orders are sealed beforehand by processes of their own, and sent by another. Admission needs no member, so it
is measured without them; then one member takes in the same log; then a venue with all members at once.
Every receipt is compared with the one the venue keeps and with the log, under the receipt's root.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles

import pytest
from rich.console import Console

from commitments.merkle import Frontier, leaf_hash
from commitments.params import PRODUCTION, PROFILES
from darkpool.committee.home import DATABASE
from darkpool.committee.seat import Seat, ceremony
from darkpool.deployment import operator_key
from darkpool.eip712 import address_of
from darkpool.message import Message
from darkpool.order import order_hash
from darkpool.receipt import Receipt
from darkpool.run import MEMBERS, THRESHOLD
from darkpool.store.database import Database, sqlite_url
from darkpool.store.log_store import LogStore
from tests.bench_load import STANDING, Answered, is_order, load
from tests.bench_venue import (
    ACCOUNTS,
    FIRST_ENTRIES,
    Bench,
    entries_of,
    members,
    prepared,
    say,
    serving,
    until,
)
from tests.databases import fresh_url
from tests.figures import Figure, figures_table, machine

RATE = 60  # orders a second: the target
P99_SECONDS = 1.5
ORDERS, FULL = 1_280, 5_120
TOGETHER = 320  # orders through venue and members at once
_MILESTONES = (1_000, 2_500, 5_000)
_CREATED = 201
_PAGE = 1_000
_SAMPLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory of the venue's process at so many entries of the log."""

    entries: int
    mebibytes: float


def _memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _sent(
    bench: Bench, pid: int, accounts: Sequence[Sequence[bytes]], rate: int | None, samples: list[Sample]
) -> tuple[float, list[Answered]]:
    """As `load`, in a process of its own, with the venue's memory sampled meanwhile."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        sending = pool.submit(load, bench.port, accounts, rate)
        while not sending.done():
            samples.append(Sample(entries_of(bench), _memory(pid)))
            time.sleep(_SAMPLE_SECONDS)
        seconds, answers = sending.result()
    refused = [a for a in answers if a.status != _CREATED]
    if refused:
        raise RuntimeError(f"{len(refused)} orders refused, the first: {refused[0].body[:500]!r}")
    return seconds, answers


def admission(bench: Bench, name: str, url: str) -> list[Figure]:
    """Half of the orders at the rate asked for, half as fast as they go; no member is up."""
    say(f"admission, {name}")
    half = len(bench.accounts[0]) // 2
    with serving(bench, url) as pid:
        samples = [Sample(0, _memory(pid))]
        _, paced = _sent(bench, pid, [raws[:half] for raws in bench.accounts], RATE, samples)
        seconds, most = _sent(bench, pid, [raws[half:] for raws in bench.accounts], None, samples)
        samples.append(Sample(entries_of(bench), _memory(pid)))
        wrong = _check_kept(bench, [*paced, *most])
    wrong += _check_log(bench, url, [*paced, *most])
    p50, p95, p99 = _percentiles(paced)
    return [
        Figure(f"{name}: median time to a receipt at {RATE} orders a second", p50, "s"),
        Figure(f"{name}: 95 % within", p95, "s"),
        Figure(f"{name}: 99 % within", p99, "s", P99_SECONDS),
        Figure(f"{name}: most orders accepted", len(most) / seconds, "per s", RATE),
        Figure(f"{name}: 99 % within, then", _percentiles(most)[2], "s"),
        Figure(
            f"{name}: orders lost, duplicated or with a wrong receipt", wrong, f"of {len(paced + most)}", 0
        ),
        *_memory_figures(name, samples),
    ]


def _percentiles(answers: Sequence[Answered]) -> tuple[float, float, float]:
    cuts = quantiles((a.seconds for a in answers), n=100)
    return cuts[49], cuts[94], cuts[98]


def _memory_figures(name: str, samples: Sequence[Sample]) -> list[Figure]:
    figures = [Figure(f"{name}: memory of the venue's process at the start", samples[0].mebibytes, "MiB")]
    for count in _MILESTONES:
        at = next((s for s in samples if s.entries >= count * (1 + 1 / STANDING)), None)
        if at is not None:
            figures.append(Figure(f"{name}: after {count:,} orders", at.mebibytes, "MiB"))
    last = samples[-1]
    early = next(s for s in samples if s.entries >= last.entries // 2)
    growth = 1024 * (last.mebibytes - early.mebibytes) / max(last.entries - early.entries, 1)
    return [*figures, Figure(f"{name}: growth an order, over the second half", growth, "KiB")]


def _check_kept(bench: Bench, answers: Sequence[Answered]) -> int:
    """How many receipts the venue does not keep as it gave them, or that are not the operator's."""
    terms, operator = bench.terms, address_of(operator_key(bench.folder))
    wrong = 0
    for answer in answers:
        receipt = Receipt.from_json(json.loads(answer.body))
        receipt.check(terms.domain, operator)
        kept = json.loads(bench.get(f"/v1/receipts/0x{receipt.subject.hex()}"))
        wrong += kept["receipt"] != json.loads(answer.body)
    return wrong


def _check_log(bench: Bench, url: str, answers: Sequence[Answered]) -> int:
    """How many receipts the log contradicts, and orders that it lacks or has twice."""
    receipts = {r.sequence: r for r in (Receipt.from_json(json.loads(a.body)) for a in answers)}
    wrong, seen, tree = len(answers) - len(receipts), list[bytes](), Frontier()
    with closing(Database.open(url)) as database:
        store = LogStore(database)
        while page := store.entries(tree.size, _PAGE):
            for data in page:
                tree.append(leaf_hash(data))
                entry = Message.decode(data)
                if entry.op == "order":
                    seen.append(order_hash(entry.blobs[0]))
                    receipt = receipts.get(tree.size - 1)
                    promised = (seen[-1], tree.size, tree.root())
                    wrong += receipt is None or (receipt.subject, receipt.size, receipt.root) != promised
    sent = {order_hash(body) for bodies in bench.accounts for body in bodies if is_order(body)}
    return wrong + len(sent ^ set(seen)) + len(seen) - len(set(seen))


def following(bench: Bench, url: str) -> list[Figure]:
    """One member takes in a log that is there: it verifies every order by itself."""
    say("a member follows")
    with closing(Database.open(url)) as database:
        entries = LogStore(database).size()
    with serving(bench, url), members(bench, bench.seats[:1]) as (home,):
        until(lambda: _size(home) > 0)
        first, started = _size(home), time.perf_counter()
        until(lambda: _size(home) == entries)
        seconds = time.perf_counter() - started
    return [Figure("a member's verification of the log, per order", 1000 * seconds / (entries - first), "ms")]


def _size(home: Path) -> int:
    """Entries of a member's log. Looked up in its database, which it may not have made yet."""
    if not (home / DATABASE).exists():
        return 0
    with closing(sqlite3.connect(f"file:{home / DATABASE}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT coalesce(max(sequence) + 1, 0) FROM entries").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def together(bench: Bench) -> list[Figure]:
    """Admission with every member following at once, all on this machine, as fast as it goes."""
    say("venue and members together")
    each = TOGETHER // ACCOUNTS
    url = sqlite_url(bench.folder / "together.db")
    with serving(bench, url) as pid, members(bench, bench.seats) as homes:
        until(lambda: min(map(_size, homes)) >= FIRST_ENTRIES)
        started = time.perf_counter()
        seconds, answers = _sent(bench, pid, [raws[:each] for raws in bench.accounts], None, [])
        until(lambda: min(map(_size, homes)) == len(answers) + FIRST_ENTRIES)
        until_all = time.perf_counter() - started
    return [
        Figure(f"with {len(homes)} members verifying too: orders accepted", len(answers) / seconds, "per s"),
        Figure("99 % within", _percentiles(answers)[2], "s"),
        Figure("accepted and verified by every member", len(answers) / until_all, "per s"),
    ]


@contextmanager
def databases(folder: Path, url: str | None) -> Iterator[dict[str, str]]:
    """By name: the one given; else SQLite, and PostgreSQL if there is a server."""
    if url is not None:
        yield {url.partition(":")[0]: url}
        return
    found = {"SQLite": sqlite_url(folder / "bench.db")}
    with ExitStack() as stack:
        try:
            found["PostgreSQL"] = stack.enter_context(fresh_url("postgresql", folder))
        except pytest.skip.Exception as reason:
            say(str(reason))
        yield found


def service(
    seats: Sequence[Seat], orders: int = ORDERS, url: str | None = None, profile: str = PRODUCTION.name
) -> list[Figure]:
    """All of it."""
    figures = []
    with prepared(seats, profile, orders) as bench, databases(bench.folder, url) as found:
        for name, at in found.items():
            figures += admission(bench, name, at)
        figures += following(bench, next(iter(found.values())))
        figures += together(bench)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench_service", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--orders", type=int, default=ORDERS, help=f"orders a database, a multiple of {2 * ACCOUNTS}"
    )
    parser.add_argument("--full", action="store_true", help=f"{FULL} orders")
    parser.add_argument("--database", help="URL of an empty database: measure this one only")
    parser.add_argument("--profile", default=PRODUCTION.name, choices=list(PROFILES))
    arguments = parser.parse_args()
    say("key ceremony")
    seats = ceremony(PROFILES[arguments.profile], MEMBERS, THRESHOLD)
    orders = FULL if arguments.full else arguments.orders
    figures = service(seats, orders, arguments.database, arguments.profile)
    if arguments.json:
        print(json.dumps({"machine": machine(), "figures": [asdict(f) for f in figures]}))
        return
    Console().print(
        figures_table(figures, f"profile {arguments.profile}, {orders} orders of {ACCOUNTS} accounts")
    )


if __name__ == "__main__":
    main()

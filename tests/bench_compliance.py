"""The audit log under load, and at a million entries: `python -m tests.bench_compliance`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from hashlib import sha256
from itertools import count
from pathlib import Path
from statistics import median

from rich.console import Console

from commitments.flat_tree import FlatTree
from compliance.audit_export import write_export
from compliance.audit_log import AuditLog
from compliance.audit_record import Kind, Record
from compliance.audit_verify import Asked, verify_export
from compliance.checkpoint import Checkpoint
from compliance.signed_note import NoteSigner
from darkpool.committee.seat import Seat
from darkpool.store.audit_store import AuditStore
from darkpool.store.database import Database, sqlite_url
from darkpool.store.records import AuditCheckpointRow, AuditRow
from darkpool.types import Address
from tests.bench_service import databases
from tests.figures import Figure, figures_table

MILLION = 1_000_000
BATCH, EXPORTED = 100, 20_000
_RUNS = 25
_SIGNER = NoteSigner("bench/audit", bytes(32))
# As long as the decision on an order is.
_BODY: dict[str, object] = {
    "allowed": True,
    "reasons": [{"rule": "institutions", "sentence": "Institutions of listed countries may trade."}],
    "policy": "0x" + "11" * 32,
    "lists": {"ofac-sdn": "0x" + "22" * 32, "embargoed": "0x" + "33" * 32},
    "segment": "us",
    "request": {"account": "0x" + "aa" * 20, "market": "WETH-USDC", "at": 1_900_000_000, "open_orders": 3},
}


def _records(number: int) -> list[Record]:
    account = Address(b"\xaa" * 20)
    return [
        Record(Kind.DECISION, 1_900_000_000, "operator", f"0x{i:064x}", account, body=_BODY)
        for i in range(number)
    ]


def _median_ms(runs: int, step: Callable[[], object]) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - started))
    return median(times)


def appending(name: str, url: str) -> list[Figure]:
    """Batches as a busy venue makes them, and single records."""
    with closing(Database.open(url)) as database:
        log, batch = AuditLog.open(AuditStore(database), _SIGNER), _records(BATCH)
        log.append(batch)
        together = _median_ms(_RUNS, lambda: log.append(batch)) / BATCH
        alone = _median_ms(_RUNS, lambda: log.append(batch[:1]))

        def signed() -> None:
            log.append(batch[:1])
            log.checkpoint()

        return [
            Figure(f"audit log, {name}: append, in batches of {BATCH}, per record", together, "ms", 1),
            Figure(f"audit log, {name}: append alone", alone, "ms"),
            Figure(f"audit log, {name}: checkpoint", _median_ms(_RUNS, signed) - alone, "ms"),
        ]


def proving(folder: Path) -> list[Figure]:
    """A log of a million entries: opened, then asked for proofs all over it."""
    with closing(Database.open(sqlite_url(folder / "million.db"))) as database:
        store = AuditStore(database)
        leaves = _fill(store)
        root = FlatTree(leaves).root()
        note = Checkpoint(_SIGNER.name, MILLION, root).signed(_SIGNER)
        store.save_checkpoint(AuditCheckpointRow(MILLION, note))
        started = time.perf_counter()
        log = AuditLog.open(store, _SIGNER)
        opened = time.perf_counter() - started
        steps = count(1, 997)
        return [
            Figure("audit log of 1,000,000 entries, SQLite: opened in", opened, "s"),
            Figure("inclusion proof in it", _median_ms(501, lambda: log.inclusion(next(steps))), "ms", 5),
            Figure("consistency proof in it", _median_ms(501, lambda: log.consistency(next(steps))), "ms", 5),
        ]


def _fill(store: AuditStore) -> list[bytes]:
    """Entries whose data nobody reads: opening looks at what follows the newest checkpoint only."""
    data, leaves = _records(1)[0].encode(), list[bytes]()
    for first in range(0, MILLION, 10_000):
        page = [sha256(i.to_bytes(8, "big")).digest() for i in range(first, first + 10_000)]
        store.append(
            [AuditRow(first + i, 0, "decision", b"\xaa" * 20, 0, leaf, data) for i, leaf in enumerate(page)]
        )
        leaves += page
    return leaves


def exporting(folder: Path) -> list[Figure]:
    """One file with everything, written and checked."""
    path = folder / "audit.jsonl"
    with closing(Database.open(sqlite_url(folder / "export.db"))) as database:
        store = AuditStore(database)
        log = AuditLog.open(store, _SIGNER)
        for _ in range(EXPORTED // 1_000):
            log.append(_records(1_000))
            log.checkpoint()

        def write() -> None:
            with path.open("wb") as out:
                write_export(store, _SIGNER.verifier.vkey, out)

        written = _median_ms(3, write) / EXPORTED
    checked = _median_ms(3, lambda: verify_export(path, None, Asked())) / EXPORTED
    return [
        Figure("export of the audit log, per entry", written, "ms"),
        Figure("check of an exported log, per entry", checked, "ms"),
        Figure("size of an exported entry", path.stat().st_size / EXPORTED, "bytes"),
    ]


def audit_log(_seats: Sequence[Seat] = ()) -> list[Figure]:
    """All of it."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="dp-bench-") as home:
        folder = Path(home)
        with databases(folder, None) as found:
            for name, url in found.items():
                figures += appending(name, url)
        figures += [*proving(folder), *exporting(folder)]
    return figures


if __name__ == "__main__":
    Console().print(figures_table(audit_log(), "medians"))

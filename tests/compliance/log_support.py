"""Audit logs for tests: records, stores on SQLite, a venue's folder with a log in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compliance.audit_key import audit_signer, origin_of
from compliance.audit_log import AuditLog
from compliance.audit_record import Kind, Record
from compliance.signed_note import NoteSigner
from darkpool.store.audit_store import AuditStore
from darkpool.store.database import Database, sqlite_url
from darkpool.types import Address

VENUE = b"\x05" * 32
SIGNER = NoteSigner(origin_of(VENUE), b"\x11" * 32)
OTHER = NoteSigner(origin_of(VENUE), b"\x22" * 32)
ALICE, BOB = Address(b"\xaa" * 20), Address(b"\xbb" * 20)
NOW = 1_900_000_000


def record(number: int, kind: Kind = Kind.DECISION, account: Address | None = ALICE) -> Record:
    return Record(kind, NOW + number, "operator", f"order {number}", account, body={"allowed": True})


def records(count: int) -> list[Record]:
    return [record(i) for i in range(count)]


@contextmanager
def store_of(url: str) -> Iterator[AuditStore]:
    database = Database.open(url)
    try:
        yield AuditStore(database)
    finally:
        database.close()


@contextmanager
def log_of(url: str, signer: NoteSigner = SIGNER) -> Iterator[AuditLog]:
    with store_of(url) as store:
        yield AuditLog.open(store, signer)


def venue_folder(folder: Path, sizes: tuple[int, ...]) -> NoteSigner:
    """A folder as a venue leaves it, with an audit log and checkpoints of those sizes; who signed them."""
    # Here, because a process that only appends starts without them.
    from commitments.paillier import public_key
    from darkpool.deployment import Deployment
    from darkpool.netting import Signers

    folder.mkdir(mode=0o700, exist_ok=True)
    member = Address(b"\x01" * 20)
    key = public_key((1 << 767) + 1)  # odd, of a size that is accepted: nothing is encrypted here
    Deployment(VENUE, 31337, BOB, (ALICE, BOB), key, Signers(1, {1: member}), 3600).save(folder)
    signer = audit_signer(folder, VENUE)
    with log_of(sqlite_url(folder / "venue.db"), signer) as log:
        for size in sizes:
            log.append([record(i) for i in range(log.size, size)])
            log.checkpoint()
    return signer

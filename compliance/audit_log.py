"""The operator's audit log: an append-only Merkle log (RFC 9162) of decisions, grants, queries and the rest.

    record -> canonical JSON -> leaf -> root -> signed checkpoint
                                             -> seal of a round: members and chain vouch for it too

Only sizes and roots become public; entries are about persons. What is appended is durable before `append`
returns, and stays provable: inclusion of an entry in any later size, consistency of any two sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from threading import Lock
from typing import Final

from commitments.errors import CommitmentsError, DecodeError, VerificationError
from commitments.flat_tree import FlatTree
from commitments.merkle import Path, leaf_hash
from compliance.audit_record import Record
from compliance.checkpoint import Checkpoint
from compliance.signed_note import Note, NoteSigner
from darkpool.errors import ConfigError
from darkpool.store.audit_store import AuditFilter, AuditStore
from darkpool.store.database import StoreError
from darkpool.store.records import AuditCheckpointRow, AuditRow
from darkpool.store.rows import MAX_PAGE
from darkpool.types import Address

_LEAVES: Final = 1 << 16  # of one query when opening
_EVERYTHING: Final = AuditFilter()
_CHANGED: Final = "somebody changed the database: restore it from a backup"


@dataclass(frozen=True, slots=True)
class Logged:
    """A record in its place, from 0, and its leaf hash."""

    sequence: int
    record: Record
    leaf: bytes


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and the note that carries it."""

    checkpoint: Checkpoint
    note: str


class AuditLog:
    """One writer: a second one on the same store is refused before it writes anything."""

    __slots__ = ("_lock", "_pending", "_signer", "_store", "_tree")

    def __init__(self, store: AuditStore, signer: NoteSigner, tree: FlatTree) -> None:
        self._store, self._signer, self._tree = store, signer, tree
        self._pending: list[bytes] = []  # leaves of an append that may or may not be durable
        self._lock: Final = Lock()

    @classmethod
    def open(cls, store: AuditStore, signer: NoteSigner) -> AuditLog:
        """The log of a store.

        1. its leaves are numbered without a gap; 2. every checkpoint kept is of the first leaves, and the
        newest signed by this signer; 3. every entry since then is the one its leaf says. Entries before it
        are compared with their leaves when they are read. Raises StoreError, ConfigError for what does not
        hold.
        """
        size = store.size()
        pages = (store.leaf_hashes(first, min(_LEAVES, size - first)) for first in range(0, size, _LEAVES))
        try:
            tree = FlatTree(chain.from_iterable(pages))
            if tree.size != size:
                raise VerificationError("entries", f"{size - tree.size} of the first {size} are missing")  # 1
            newest = _check_checkpoints(store, signer, tree)  # 2
            for row in _rows(store, newest):  # 3
                logged(row)
        except CommitmentsError as error:
            raise ConfigError(f"audit log: the database does not hold it: {error}", _CHANGED) from None
        return cls(store, signer, tree)

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """The tree hash over all entries, 32 bytes."""
        return self._tree.root()

    @property
    def head(self) -> Checkpoint:
        """Size and root of one moment, whoever appends meanwhile; not signed."""
        size = self._tree.size
        return Checkpoint(self._signer.name, size, self._tree.root(size))

    def append(self, records: Sequence[Record]) -> range:
        """Adds records in one transaction; they are durable on return. Their sequences.

        Raises DecodeError for a record that is out of bounds, StoreError; then none of them is added, or, if
        the connection broke at the very end, all may be.
        """
        data = [record.encode() for record in records]
        leaves = [leaf_hash(entry) for entry in data]
        with self._lock:
            self._settle()
            first = self._tree.size
            rows = [
                AuditRow(first + i, r.at, r.kind, r.account, r.visible_at, leaves[i], data[i])
                for i, r in enumerate(records)
            ]
            self._pending = leaves
            self._store.append(rows)
            self._settled(leaves)
        return range(first, first + len(leaves))

    def _settle(self) -> None:
        """Finds out what became of an append that failed: a connection may break after the commit."""
        if self._pending:
            found = self._store.leaf_hashes(self._tree.size, len(self._pending) + 1)
            if found not in ([], self._pending):
                raise StoreError("audit log: somebody else appended to it", "end the other process")
            self._settled(found)

    def _settled(self, leaves: Sequence[bytes]) -> None:
        for leaf in leaves:
            self._tree.append_hash(leaf)
        self._pending = []

    def checkpoint(self) -> SignedCheckpoint:
        """The present size and root, signed and kept; the one that is there, if nothing was added since.

        Raises StoreError.
        """
        with self._lock:
            found = self.head
            # Ed25519 gives one signature of a text, so the same again is the same note.
            note = found.signed(self._signer)
            self._store.save_checkpoint(AuditCheckpointRow(found.size, note))
        return SignedCheckpoint(found, note)

    def inclusion(self, sequence: int, size: int | None = None) -> Path:
        """That an entry is in the first `size` (default all), for `verify_inclusion`.

        Raises ParameterError.
        """
        return self._tree.inclusion(sequence, size)

    def consistency(self, old: int, new: int | None = None) -> Path:
        """That the first `new` (default all) begin with the first `old`, for `verify_consistency`.

        Raises ParameterError.
        """
        return self._tree.consistency(old, new)

    def records(self, asked: AuditFilter = _EVERYTHING, limit: int = MAX_PAGE) -> list[Logged]:
        """At most `limit` of the entries asked for, the newest first. Raises StoreError."""
        return [self._checked(row) for row in self._store.latest(asked, limit)]

    def visible_to(
        self, account: Address, now: int, *, below: int | None = None, limit: int = MAX_PAGE
    ) -> list[Logged]:
        """What an account may see at that time of what is about it, the newest first; `below`: sequences.

        Raises StoreError.
        """
        return self.records(AuditFilter(account=account, visible_at=now, below=below), limit)

    def _checked(self, row: AuditRow) -> Logged:
        """Raises StoreError unless the row is the entry that was appended, searchable as it was."""
        found = _intact(row)
        if row.sequence < self.size and found.leaf != self._tree.leaf(row.sequence):
            raise StoreError(f"audit log: entry {row.sequence}: not the one that was appended", _CHANGED)
        return found


def read_latest(store: AuditStore, asked: AuditFilter, limit: int) -> list[Logged]:
    """As `AuditLog.records`, beside a running venue: entries are compared with their leaves alone."""
    return [_intact(row) for row in store.latest(asked, limit)]


def logged(row: AuditRow) -> Logged:
    """The entry of a row. Raises VerificationError if its data, its leaf and its columns disagree."""
    what = f"entry {row.sequence}"
    if leaf_hash(row.data) != row.leaf:
        raise VerificationError(what, "its leaf is not the hash of its data")
    try:
        found = Record.decode(row.data)
    except DecodeError as error:
        raise VerificationError(what, str(error)) from None
    columns = replace(row, at=found.at, kind=found.kind, account=found.account, visible_at=found.visible_at)
    if columns != row:
        raise VerificationError(what, "it is filed under another time, kind or account")
    return Logged(row.sequence, found, row.leaf)


def _intact(row: AuditRow) -> Logged:
    try:
        return logged(row)
    except CommitmentsError as error:
        raise StoreError(f"audit log: {error}", _CHANGED) from None


def _check_checkpoints(store: AuditStore, signer: NoteSigner, tree: FlatTree) -> int:
    """The size of the newest one, 0 without any. Raises DecodeError, VerificationError, ConfigError."""
    size, note = -1, ""
    while page := store.checkpoints(size, MAX_PAGE):
        for row in page:
            found = Checkpoint.read(Note.read(row.note.encode()).text)
            if found.size != row.size or found.size > tree.size or found.root != tree.root(found.size):
                raise VerificationError(f"checkpoint of {row.size} entries", "they are others now")
            size, note = row.size, row.note
    if not note:
        return 0
    try:
        return Checkpoint.opened(note.encode(), signer.verifier).size
    except CommitmentsError as error:
        raise ConfigError(
            f"audit log: its newest checkpoint: {error}", "restore the key, or the database, from a backup"
        ) from None


def _rows(store: AuditStore, first: int) -> Iterator[AuditRow]:
    while page := store.rows(first, MAX_PAGE):
        yield from page
        first = page[-1].sequence + 1

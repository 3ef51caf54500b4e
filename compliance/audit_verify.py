"""Checks an exported audit log, without the operator and without its database.

    entries --hash--> leaves --tree--> roots == roots of the checkpoints, which the key signed
                                    -> proofs of consistency and inclusion, checked by RFC 9162 alone

A root from elsewhere, as a sealed round has it, shows that nothing is missing up to there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError, VerificationError
from commitments.flat_tree import FlatTree
from commitments.merkle import Path as Proof
from commitments.merkle import leaf_hash, verify_consistency, verify_inclusion
from compliance.audit_export import CheckpointLine, End, EntryLine, Header, Line, read_export
from compliance.audit_record import Record
from compliance.checkpoint import Checkpoint
from compliance.signed_note import NoteVerifier
from darkpool.errors import ConfigError, PeerFault
from darkpool.progress import Progress, silent

_HINT: Final = "ask the operator for the file again; if it fails once more, the log was changed"
_STEP: Final = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What to prove besides: two sizes, an entry, and a size and root from elsewhere (a round's seal)."""

    old: int | None = None
    new: int | None = None
    entry: int | None = None
    published: tuple[int, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Consistency:
    """That a later state of the log begins with an earlier one; `path` as RFC 9162 has it."""

    old: int
    new: int
    path: Proof
    old_root: bytes
    new_root: bytes


@dataclass(frozen=True, slots=True)
class Inclusion:
    """That an entry is in the newest checkpoint."""

    sequence: int
    size: int
    path: Proof
    leaf: bytes
    record: Record


@dataclass(frozen=True, slots=True)
class Verified:
    """A file all of whose statements hold, and the proofs that were made of it.

    pinned: whether the key was given from elsewhere, and not only by the file; unsigned: entries behind the
    newest checkpoint, for which nobody stands yet.
    """

    key: str
    pinned: bool
    entries: int
    root: bytes
    checkpoints: tuple[Checkpoint, ...]
    unsigned: int
    consistency: tuple[Consistency, ...] = field(repr=False)
    asked: Consistency | None
    inclusion: Inclusion | None
    published: tuple[int, bytes] | None


def verify_export(path: Path, key: str | None, asked: Asked, progress: Progress = silent) -> Verified:
    """Checks every statement of the file, in this order.

    1. each line is well formed and in its place (audit_export.py); 2. entries are numbered from 0 without a
    gap, and each leaf is the hash of its entry; 3. every checkpoint is signed by the key (`key`, or else the
    one the file names) and its root is that of its entries; 4. the counts and the root at the end; 5. each
    checkpoint is proven consistent with the one before; 6. what was asked for.

    Raises PeerFault naming what does not hold, ConfigError for a key or a question that cannot be meant.
    """
    try:
        verifier = None if key is None else NoteVerifier.read(key)
    except CommitmentsError as error:
        raise ConfigError(f"--key: {error}", "copy it as the operator published it") from None
    contents = _Contents(verifier, asked.entry)
    try:
        with path.open("rb") as file:
            for line in read_export(file):  # 1
                contents.take(line, progress)  # 2, 3, 4
        proofs = contents.between_checkpoints()  # 5
        published = contents.published(asked.published)  # 6
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", "check the path") from None
    except CommitmentsError as error:
        raise PeerFault(f"{path.name}: {error}", _HINT) from None
    newest = contents.checkpoints[-1]
    return Verified(
        key=contents.key,
        pinned=verifier is not None,
        entries=contents.tree.size,
        root=contents.tree.root(),
        checkpoints=tuple(contents.checkpoints),
        unsigned=contents.tree.size - newest.size,
        consistency=proofs,
        asked=contents.between(asked.old, asked.new),
        inclusion=contents.inclusion(asked.entry),
        published=published,
    )


class _Contents:
    """What was read so far; everything taken in holds. `kept`: the entry whose record is wanted."""

    def __init__(self, verifier: NoteVerifier | None, kept: int | None) -> None:
        self.verifier = verifier
        self.kept: Final = kept
        self.record: Record | None = None
        self.tree: Final = FlatTree()
        self.checkpoints: Final[list[Checkpoint]] = []

    @property
    def key(self) -> str:
        return "" if self.verifier is None else self.verifier.vkey

    def take(self, line: Line, progress: Progress) -> None:
        """Raises DecodeError, VerificationError naming what does not hold."""
        if isinstance(line, EntryLine):
            self._entry(line)
            if self.tree.size % _STEP == 0:
                progress("entries", self.tree.size, None)
        elif isinstance(line, CheckpointLine):
            self._checkpoint(line)
        elif isinstance(line, Header):
            self._header(line)
        else:
            self._end(line)

    def _header(self, line: Header) -> None:
        named = NoteVerifier.read(line.key)
        if self.verifier is None:
            self.verifier = named
        if named != self.verifier:
            raise VerificationError("key", f"the file is of {line.key}, not of {self.verifier.vkey}")

    def _entry(self, line: EntryLine) -> None:  # 2
        due = self.tree.size
        if line.sequence != due:
            raise VerificationError(
                f"entry {due}", f"missing or out of order: entry {line.sequence} is there"
            )
        if leaf_hash(line.data) != line.leaf:
            raise VerificationError(f"entry {due}", "leaf: not the hash of the entry")
        self.tree.append_hash(line.leaf)
        if due == self.kept:
            self.record = line.record

    def _checkpoint(self, line: CheckpointLine) -> None:  # 3
        what = f"checkpoint of {line.size} entries"
        try:
            if self.verifier is None:  # a header comes first
                raise VerificationError("key", "none")
            found = Checkpoint.opened(line.note, self.verifier)
        except CommitmentsError as error:
            raise VerificationError(what, str(error)) from None
        before = self.checkpoints[-1].size if self.checkpoints else -1
        if found.size != line.size:
            raise VerificationError(what, f"size: the note is of {found.size}")
        if found.size <= before:
            raise VerificationError(what, f"out of order: it follows one of {before}")
        if found.size > self.tree.size:
            raise VerificationError(what, f"size: the file has {self.tree.size} entries, some are missing")
        if found.root != self.tree.root(found.size):
            signed = max(before, 0)
            raise VerificationError(
                what, f"root: entries {signed} to {found.size - 1} are not those that were signed"
            )
        self.checkpoints.append(found)

    def _end(self, line: End) -> None:  # 4
        if line.entries != self.tree.size:
            raise VerificationError("end", f"entries: {line.entries}, but there are {self.tree.size}")
        if line.checkpoints != len(self.checkpoints):
            raise VerificationError(
                "end", f"checkpoints: {line.checkpoints}, but there are {len(self.checkpoints)}"
            )
        if line.root != self.tree.root():
            raise VerificationError("end", "root: not that of the entries")
        if not self.checkpoints:
            raise VerificationError("checkpoints", "there is none, so nobody stands for this log")

    def between_checkpoints(self) -> tuple[Consistency, ...]:  # 5
        """Of each checkpoint and the next; of an empty log there is nothing to prove."""
        sizes = [c.size for c in self.checkpoints if c.size]
        return tuple(self._consistency(old, new) for old, new in pairwise(sizes))

    def published(self, claim: tuple[int, bytes] | None) -> tuple[int, bytes] | None:
        """Raises VerificationError unless the log had that root when it had so many entries."""
        if claim is None:
            return None
        size, root = claim
        if size > self.tree.size:
            raise VerificationError("published", f"size: {size}, but the file has {self.tree.size} entries")
        if root != self.tree.root(size):
            raise VerificationError("published", f"root: not that of the first {size} entries")
        return claim

    def between(self, old: int | None, new: int | None) -> Consistency | None:
        """Raises ConfigError for sizes the file does not have."""
        if old is None and new is None:
            return None
        first = self.checkpoints[0].size if old is None else old
        last = self.checkpoints[-1].size if new is None else new
        if not 0 < first <= last <= self.tree.size:
            raise ConfigError(
                f"--old {first} --new {last}: sizes go from 1 to {self.tree.size}",
                "give the smaller one first",
            )
        return self._consistency(first, last)

    def inclusion(self, sequence: int | None) -> Inclusion | None:
        """Raises ConfigError for an entry the newest checkpoint does not have."""
        if sequence is None:
            return None
        newest = self.checkpoints[-1]
        if not 0 <= sequence < newest.size or self.record is None:
            raise ConfigError(f"--entry {sequence}: {newest.size} entries are signed", "they count from 0")
        leaf, path = self.tree.leaf(sequence), self.tree.inclusion(sequence, newest.size)
        verify_inclusion(leaf, sequence, newest.size, path, newest.root)
        return Inclusion(sequence, newest.size, path, leaf, self.record)

    def _consistency(self, old: int, new: int) -> Consistency:
        path, old_root, new_root = self.tree.consistency(old, new), self.tree.root(old), self.tree.root(new)
        verify_consistency(old, new, path, old_root, new_root)
        return Consistency(old, new, path, old_root, new_root)

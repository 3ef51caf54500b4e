"""An audit log in one file, to be checked by somebody who has nothing else (audit_verify.py).

JSON lines in ASCII; every line is canonical (keys sorted, no spaces), so each has one form:

    {"format":"darkpool-audit","key":"<vkey>","version":1}
    {"entry":{…},"leaf":"0x…","sequence":0}         entry: as audit_record.py has it; one line each, from 0
    {"checkpoint":"<note>","size":12}               one line each, by size
    {"checkpoints":1,"entries":12,"root":"0x…"}     the end; root: over all entries, signed or not
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from commitments.errors import DecodeError
from commitments.merkle import HASH_BYTES, Frontier
from compliance.audit_record import Record
from darkpool.errors import ConfigError
from darkpool.jsonfields import Fields, hex_text
from darkpool.jsontext import parsed
from darkpool.progress import Progress, silent
from darkpool.store.audit_store import AuditStore
from darkpool.store.rows import MAX_PAGE

FORMAT: Final = "darkpool-audit"
VERSION: Final = 1
MAX_ENTRIES: Final = 1 << 24
MAX_CHECKPOINTS: Final = MAX_ENTRIES + 1  # one of each size
MAX_LINE_BYTES: Final = 1 << 17
"""A record or a note of their greatest sizes, and what stands around it."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line; `key`: the vkey of who is said to have signed the checkpoints."""

    key: str


@dataclass(frozen=True, slots=True)
class EntryLine:
    """A record, its bytes, and the place and leaf hash it is said to have."""

    sequence: int
    leaf: bytes
    data: bytes
    record: Record


@dataclass(frozen=True, slots=True)
class CheckpointLine:
    """A note and the size it is said to be of."""

    size: int
    note: bytes


@dataclass(frozen=True, slots=True)
class End:
    """What the file says that it holds."""

    entries: int
    checkpoints: int
    root: bytes


Line = Header | EntryLine | CheckpointLine | End


# --- writing ----------------------------------------------------------------------------------------


def write_export(store: AuditStore, key: str, out: BinaryIO, progress: Progress = silent) -> End:
    """Writes the entries there are now, and the checkpoints of no more than those. `key`: the signer's.

    Reads page by page and never locks; what is appended meanwhile is left out. Nothing is checked, so that a
    damaged log can be shown to others. Raises ConfigError above MAX_ENTRIES, StoreError, OSError.
    """
    size = store.size()
    if size > MAX_ENTRIES:
        raise ConfigError(f"audit log: {size} entries, a file holds {MAX_ENTRIES}", "use a later release")
    out.write(_line({"format": FORMAT, "key": key, "version": VERSION}))
    frontier, first, notes = Frontier(), 0, 0
    while first < size and (page := store.rows(first, min(MAX_PAGE, size - first))):
        for row in page:
            out.write(_entry_line(row.data, row.leaf, row.sequence))
            frontier.append(row.leaf)
        first = page[-1].sequence + 1
        progress("entries", first, size)
    after = -1
    while after < size and (found := store.checkpoints(after, MAX_PAGE)):
        for kept in found:
            if kept.size <= size:
                out.write(_line({"checkpoint": kept.note, "size": kept.size}))
                notes += 1
        after = found[-1].size
    end = End(frontier.size, notes, frontier.root())
    out.write(_line({"checkpoints": notes, "entries": end.entries, "root": hex_text(end.root)}))
    return end


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _entry_line(data: bytes, leaf: bytes, sequence: int) -> bytes:
    """The line `_line` would make, around bytes that are canonical already."""
    return b'{"entry":%b,"leaf":"0x%b","sequence":%d}\n' % (data, leaf.hex().encode(), sequence)


# --- reading ----------------------------------------------------------------------------------------


def read_export(file: BinaryIO) -> Iterator[Line]:
    """The lines of such a file: a header, entries, checkpoints, the end, and nothing after it.

    Each is well formed when it is given; whether they are true is another question. Raises DecodeError
    naming line and field.
    """
    order: list[type[Line]] = [Header, EntryLine, CheckpointLine, End]
    number, rank = 0, -1
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        what = f"line {number}"
        if len(raw) > MAX_LINE_BYTES:
            raise DecodeError(what, f"longer than {MAX_LINE_BYTES} bytes")
        if not raw.endswith(b"\n"):
            raise DecodeError(what, "cut short")
        try:
            line = _read(raw)
        except DecodeError as error:
            raise DecodeError(what, str(error)) from None
        now = order.index(type(line))
        if (rank < 0) != (now == 0) or now < rank or rank == len(order) - 1:
            raise DecodeError(what, "out of order: a header, entries, checkpoints and one end are due")
        rank = now
        yield line
    if rank != len(order) - 1:
        raise DecodeError(f"line {number + 1}", "missing: the file is cut short before its end")


def _read(raw: bytes) -> Line:
    value = parsed(raw, "line")
    if isinstance(value, dict) and "entry" in value:
        return _read_entry(raw, value)
    line: Line
    if isinstance(value, dict) and "format" in value:
        fields = Fields(value, "header", ("format", "key", "version"))
        if (fields.text("format"), fields.uint("version")) != (FORMAT, VERSION):
            raise DecodeError("format", f"not {FORMAT} of version {VERSION}")
        line = Header(fields.text("key"))
    elif isinstance(value, dict) and "checkpoint" in value:
        fields = Fields(value, "checkpoint", ("checkpoint", "size"))
        line = CheckpointLine(fields.uint("size", MAX_ENTRIES), _utf8(fields.text("checkpoint")))
    else:
        fields = Fields(value, "end", ("checkpoints", "entries", "root"))
        line = End(
            fields.uint("entries", MAX_ENTRIES),
            fields.uint("checkpoints", MAX_CHECKPOINTS),
            fields.octets("root", HASH_BYTES),
        )
    if isinstance(value, dict) and _line(value) != raw:
        raise DecodeError("line", "not canonical JSON")
    return line


def _read_entry(raw: bytes, value: dict[str, object]) -> EntryLine:
    fields = Fields(value, "line", ("entry", "leaf", "sequence"))
    sequence, leaf = fields.uint("sequence", MAX_ENTRIES - 1), fields.octets("leaf", HASH_BYTES)
    try:
        record = Record.from_json(fields.member("entry"))
        data = record.encode()
    except DecodeError as error:
        raise DecodeError(f"entry {sequence}", str(error)) from None
    if _entry_line(data, leaf, sequence) != raw:
        raise DecodeError(f"entry {sequence}", "not canonical JSON")
    return EntryLine(sequence, leaf, data, record)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise DecodeError("checkpoint", "not valid Unicode text") from None

"""The audit log: records of one form, durable before they count, provable ever after."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from commitments.errors import DecodeError, ParameterError
from commitments.flat_tree import FlatTree
from commitments.merkle import EMPTY_ROOT, leaf_hash, verify_entry
from compliance import audit_record
from compliance.audit_key import FILE, audit_signer, present_signer
from compliance.audit_log import AuditLog
from compliance.audit_record import Kind, Record
from compliance.checkpoint import Checkpoint
from darkpool.errors import ConfigError
from darkpool.store.audit_store import AuditFilter, AuditStore
from darkpool.store.database import StoreError, sqlite_url
from darkpool.store.records import AuditCheckpointRow, AuditRow
from darkpool.store.rows import MAX_PAGE
from tests.compliance.log_support import (
    ALICE,
    BOB,
    NOW,
    OTHER,
    SIGNER,
    VENUE,
    log_of,
    record,
    records,
    store_of,
)
from tests.databases import KINDS, fresh_url

# Appends one to three records at a time and says so after each batch, until it is killed.
WRITER = """
import sys
from tests.compliance.log_support import log_of, record
with log_of(sys.argv[1]) as log:
    while True:
        log.append([record(n) for n in range(log.size, log.size + 1 + log.size % 3)])
        if log.size % 4 == 0:
            log.checkpoint()
        print(log.size, flush=True)
"""


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two databases to copy: making one takes longer than most tests."""
    folder = tmp_path_factory.mktemp("logs")
    with log_of(sqlite_url(folder / "empty.db")):
        pass
    with log_of(sqlite_url(folder / "filled.db")) as log:
        for count in (4, 3):
            log.append(records(count))
            log.checkpoint()
        log.append(records(2))
    return folder


@pytest.fixture
def lite(logs: Path, tmp_path: Path) -> str:
    """The URL of an empty log."""
    return sqlite_url(Path(shutil.copy(logs / "empty.db", tmp_path / "store.db")))


@pytest.fixture
def filled(logs: Path, tmp_path: Path) -> str:
    """That of one of 9 entries, with checkpoints of 4 and of 7."""
    return sqlite_url(Path(shutil.copy(logs / "filled.db", tmp_path / "store.db")))


def change(url: str, statement: str, **values: Any) -> None:  # noqa: ANN401
    with store_of(url) as store, store.database.writing("change behind the log's back") as connection:
        connection.execute(text(statement), values)


# --- records ----------------------------------------------------------------------------------------


WHOLE = Record(
    Kind.QUERY, NOW, "authority:ex", "grant 7", ALICE, NOW + 5, {"a": [1, None, {"b": "ü"}]}, bytes(16)
)


def test_a_record_has_one_text() -> None:
    data = WHOLE.encode()
    assert Record.decode(data) == WHOLE
    assert data == (
        b'{"account":"0x' + b"aa" * 20 + b'","actor":"authority:ex","at":1900000000,'
        b'"body":{"a":[1,null,{"b":"\\u00fc"}]},"kind":"query","salt":"0x' + b"00" * 16 + b'",'
        b'"subject":"grant 7","version":1,"visible_at":1900000005}'
    )


def test_equal_records_have_leaves_that_say_nothing() -> None:
    assert len({leaf_hash(record(1).encode()) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "field, value",
    [
        ("at", -1),
        ("at", audit_record.MAX_TIME + 1),
        ("visible_at", -1),
        ("visible_at", audit_record.MAX_TIME + 1),
        ("actor", ""),
        ("actor", "a" * 129),
        ("actor", "a\nb"),
        ("actor", "ü"),
        ("subject", "a" * 257),
        ("subject", "\x7f"),
        ("account", b"\xaa" * 19),
        ("salt", bytes(15)),
        ("body", {"a": 1.5}),
        ("body", {"a": 1 << 64}),
        ("body", {"a": -(1 << 64)}),
        ("body", {1: "a"}),
        ("body", {"a": b"bytes"}),
        ("body", {"a": "a" * (1 << 16)}),
        ("body", json.loads("[" * 14 + "]" * 14)),
    ],
)
def test_a_field_out_of_bounds_is_refused_by_name(field: str, value: object) -> None:
    if field == "body" and isinstance(value, list):
        value = {"a": value}
    with pytest.raises(DecodeError) as refused:
        replace(WHOLE, **{field: value}).encode()  # type: ignore[arg-type]
    assert refused.value.field == field


def test_a_delay_for_nobody_is_refused() -> None:
    with pytest.raises(DecodeError, match="visible_at"):
        replace(WHOLE, account=None).encode()


@pytest.mark.parametrize(
    "old, new, field",
    [
        ('"kind":"query"', '"kind":"quary"', "kind"),
        ('"kind":"query"', '"kind":1', "kind"),
        ('"at":1900000000', '"at":1900000000.0', "at"),
        ('"at":1900000000', '"at":"1900000000"', "at"),
        ('"at":1900000000', '"at":true', "at"),
        ('"at":1900000000', '"at":9007199254740992', "at"),
        ('"at":1900000000', '"at":1900000000,"at":1900000000', "record"),
        ('"at":1900000000', '"at": 1900000000', "record"),
        ('"version":1', '"version":2', "version"),
        ('"version":1,', "", "record"),
        ('"version":1', '"version":1,"x":1', "record"),
        ('"salt":"0x00', '"salt":"0x', "salt"),
        ('"salt":"0x00', '"salt":"0x0g', "salt"),
        ("0xaaaa", "0xAAaa", "account"),
        ("0xaaaa", "0xaa", "account"),
        ('"actor":"authority:ex"', '"actor":null', "actor"),
        ('"body":{"a"', '"body":{"\\u0061"', "record"),
        ('"body":{"a":[1,null,{"b":"\\u00fc"}]}', '"body":[]', "body"),
        ("[1,null", "[1.0,null", "body"),
        ("[1,null", "[NaN,null", "body"),
        ("[1,null", "[1e400,null", "body"),
        ("[1,null", "[" + "9" * 5_000 + ",null", "record"),
        ('[1,null,{"b":"\\u00fc"}]', "[" * 20 + "]" * 20, "record"),
        ("{", "[", "record"),
        ("}", "", "record"),
        ('"query"', '"query"' + " " * (1 << 16), "record"),
    ],
)
def test_a_changed_text_is_refused_by_the_field(old: str, new: str, field: str) -> None:
    whole = WHOLE.encode().decode()
    assert old in whole
    with pytest.raises(DecodeError) as refused:
        Record.decode(whole.replace(old, new, 1).encode())
    assert refused.value.field == field


@given(st.binary(max_size=200))
def test_hostile_bytes_are_no_record(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Record.decode(data)


# --- the log ----------------------------------------------------------------------------------------


def test_an_empty_log_is_signed_too(url: str) -> None:
    with log_of(url) as log:
        assert (log.size, log.root, log.records()) == (0, EMPTY_ROOT, [])
        assert log.append([]) == range(0)
        note = log.checkpoint().note
        assert Checkpoint.opened(note.encode(), SIGNER.verifier) == log.head
    with log_of(url) as log:
        assert log.append(records(1)) == range(1)


def test_what_was_appended_is_there_after_reopening(url: str) -> None:
    with log_of(url) as log:
        assert log.append(records(3)) == range(3)
        assert log.append([replace(WHOLE, kind=kind) for kind in Kind]) == range(3, 3 + len(Kind))
        found, root = log.records(), log.root
        signed = log.checkpoint()
        assert log.checkpoint() == signed
        log.append(records(2))
    with log_of(url) as log:
        assert log.records()[2:] == found
        assert [each.sequence for each in found] == [*range(len(found))][::-1]
        assert (signed.checkpoint.size, signed.checkpoint.root) == (len(found), root)
        for each in log.records():
            data = each.record.encode()
            verify_entry(data, each.sequence, log.size, log.inclusion(each.sequence), log.root)


def test_a_batch_with_one_bad_record_adds_nothing(url: str) -> None:
    with log_of(url) as log:
        with pytest.raises(DecodeError):
            log.append([record(0), replace(record(1), actor="")])
        assert (log.size, log.root) == (0, EMPTY_ROOT)
        assert log.append(records(1)) == range(1)


def test_filters(lite: str) -> None:
    with log_of(lite) as log:
        log.append(
            [
                record(0),
                record(1, Kind.GRANT, BOB),
                record(2, Kind.POLICY, None),
                replace(record(3, Kind.QUERY), visible_at=NOW + 100),
            ]
        )

        def asked(**values: Any) -> list[int]:  # noqa: ANN401
            return [each.sequence for each in log.records(AuditFilter(**values))]

        assert asked() == [3, 2, 1, 0]
        assert asked(kind="grant") == [1]
        assert asked(account=ALICE) == [3, 0]
        assert asked(since=NOW + 2) == [3, 2]
        assert asked(below=2) == [1, 0]
        assert asked(kind="grant", account=ALICE) == []
        assert [each.sequence for each in log.records(limit=2)] == [3, 2]
        with pytest.raises(ValueError, match="limit"):
            log.records(limit=MAX_PAGE + 1)


def test_an_account_sees_what_is_about_it_and_only_in_time(lite: str) -> None:
    with log_of(lite) as log:
        log.append([replace(record(i), visible_at=i) for i in range(3)] + [record(9, account=BOB)])

        def seen(now: int, account: bytes = ALICE, below: int | None = None) -> list[int]:
            found = log.visible_to(type(ALICE)(account), now, below=below)
            return [each.sequence for each in found]

        assert [seen(now) for now in (0, 1, 2, 1 << 60)] == [[0], [1, 0], [2, 1, 0], [2, 1, 0]]
        assert seen(2, below=2) == [1, 0]
        assert seen(0, BOB) == [3]
        assert seen(1 << 60, b"\xcc" * 20) == []


def test_proofs_of_what_is_not_there_are_refused(lite: str) -> None:
    with log_of(lite) as log:
        log.append(records(3))
        asked: list[Callable[[], object]] = [
            lambda: log.inclusion(3),
            lambda: log.inclusion(-1),
            lambda: log.inclusion(2, 2),
            lambda: log.inclusion(0, 4),
            lambda: log.consistency(0),
            lambda: log.consistency(3, 2),
            lambda: log.consistency(1, 4),
        ]
        for ask in asked:
            with pytest.raises(ParameterError):
                ask()


# --- RFC 9162 once more, from its text ---------------------------------------------------------------


def mth(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def subproof(m: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    n = len(leaves)
    if m == n:
        return [] if whole else [mth(leaves)]
    k = 1
    while 2 * k < n:
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], whole=whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], whole=False), mth(leaves[:k])]


def joins(old: int, new: int, path: list[bytes], first: bytes, second: bytes) -> bool:
    """Section 2.1.4.2."""
    if old == new:
        return not path and first == second
    if old & (old - 1) == 0:
        path = [first, *path]
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr = hashlib.sha256(b"\x01" + c + fr).digest()
            sr = hashlib.sha256(b"\x01" + c + sr).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = hashlib.sha256(b"\x01" + sr + c).digest()
        fn, sn = fn >> 1, sn >> 1
    return (fr, sr, sn) == (first, second, 0)


TREE = [hashlib.sha256(bytes([i])).digest() for i in range(200)]


@given(st.integers(1, len(TREE)), st.integers(1, len(TREE)), st.integers(0, 7))
@settings(max_examples=200)
def test_any_two_sizes_are_proven_consistent(one: int, other: int, at: int) -> None:
    old, new = sorted((one, other))
    log = AuditLog.__new__(AuditLog)
    log._tree = FlatTree(TREE)
    path, first, second = list(log.consistency(old, new)), mth(TREE[:old]), mth(TREE[:new])
    assert path == subproof(old, TREE[:new], whole=True)
    assert joins(old, new, path, first, second)
    if path:
        path[at % len(path)] = bytes(32)
        assert not joins(old, new, path, first, second)


# --- what somebody did to the store ------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement, named",
    [
        ("UPDATE audit_entries SET leaf = :b WHERE sequence = 1", "checkpoint of 4 entries"),
        ("UPDATE audit_entries SET leaf = :b WHERE sequence = 5", "checkpoint of 7 entries"),
        ("UPDATE audit_entries SET leaf = :b WHERE sequence = 8", "entry 8: its leaf"),
        ("UPDATE audit_entries SET leaf = :short WHERE sequence = 8", "a leaf hash of 1 bytes"),
        ("UPDATE audit_entries SET data = :b WHERE sequence = 8", "entry 8: its leaf"),
        ("UPDATE audit_entries SET kind = 'grant' WHERE sequence = 8", "entry 8: it is filed"),
        ("UPDATE audit_entries SET at = 1 WHERE sequence = 8", "entry 8: it is filed"),
        ("UPDATE audit_entries SET account = :b WHERE sequence = 8", "entry 8: it is filed"),
        ("UPDATE audit_entries SET visible_at = 1 WHERE sequence = 8", "entry 8: it is filed"),
        ("DELETE FROM audit_entries WHERE sequence = 2", "entries: 1 of the first 9 are missing"),
        ("DELETE FROM audit_entries WHERE sequence = 7", "entries: 1 of the first 9 are missing"),
        ("DELETE FROM audit_entries WHERE sequence > 5", "checkpoint of 7 entries"),
        ("UPDATE audit_checkpoints SET size = 6 WHERE size = 7", "checkpoint of 6 entries"),
        ("UPDATE audit_checkpoints SET note = 'x' WHERE size = 4", "note"),
    ],
)
def test_a_changed_store_is_not_opened(filled: str, statement: str, named: str) -> None:
    change(filled, statement, b=b"x" * 32, short=b"x")
    with pytest.raises(ConfigError, match=named) as refused, log_of(filled):
        pass
    assert refused.value.hint


def test_a_false_signature_is_not_built_upon(filled: str) -> None:
    with pytest.raises(ConfigError, match="signature: there is none by"), log_of(filled, OTHER):
        pass
    with store_of(filled) as store:
        note = store.checkpoints(4, 1)[0].note
    change(filled, "UPDATE audit_checkpoints SET note = :n WHERE size = 7", n=note[:-9] + "AAAA" + note[-5:])
    with pytest.raises(ConfigError, match="does not hold"), log_of(filled):
        pass


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET data = :b WHERE sequence = 1",
        "UPDATE audit_entries SET kind = 'grant' WHERE sequence = 1",
        "UPDATE audit_entries SET at = 5 WHERE sequence = 1",
        "UPDATE audit_entries SET visible_at = 5 WHERE sequence = 1",
    ],
)
def test_an_old_entry_that_was_changed_is_not_shown(filled: str, statement: str) -> None:
    """Opening reads no data from before the newest checkpoint; reading an entry does."""
    change(filled, statement, b=b"x")
    with log_of(filled) as log, pytest.raises(StoreError, match="audit log: entry 1: "):
        log.records()


def test_an_entry_exchanged_while_the_log_is_open_is_noticed(lite: str) -> None:
    with log_of(lite) as log:
        log.append(records(2))
        other = record(5)
        data = other.encode()
        change(
            lite,
            "UPDATE audit_entries SET data = :d, leaf = :l, at = :a WHERE sequence = 1",
            d=data,
            l=leaf_hash(data),
            a=other.at,
        )
        with pytest.raises(StoreError, match="entry 1: not the one that was appended"):
            log.records()


def test_a_second_writer_is_refused_and_nothing_is_lost(url: str) -> None:
    with log_of(url) as one, log_of(url) as two:
        one.append(records(2))
        for _ in range(2):
            with pytest.raises(StoreError) as refused:
                two.append(records(1))
            assert refused.value.hint
        assert two.size == 0
        assert one.append(records(1)) == range(2, 3)


@pytest.mark.parametrize("committed", [True, False])
def test_a_connection_that_breaks_at_the_commit(
    lite: str, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """Whoever appends is told of an error; the next append finds out which of the two it was."""
    whole: Callable[[AuditStore, list[AuditRow]], None] = AuditStore.append

    def broken(store: AuditStore, rows: list[AuditRow]) -> None:
        if committed:
            whole(store, rows)
        raise StoreError("database: cannot append")

    with log_of(lite) as log:
        log.append(records(1))
        with monkeypatch.context() as patched:
            patched.setattr(AuditStore, "append", broken)
            with pytest.raises(StoreError, match="cannot append"):
                log.append(records(2))
        first = 3 if committed else 1
        assert log.append(records(1)) == range(first, first + 1)
        root = log.root
    with log_of(lite) as log:
        assert (log.size, log.root) == (first + 1, root)


def test_a_killed_writer_loses_nothing_it_acknowledged(url: str) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    first = [writer.stdout.readline() for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    rest, errors = writer.communicate()
    assert errors == ""
    # The last line may be cut short; every whole one was acknowledged.
    acknowledged = int(("".join(first) + rest).rpartition("\n")[0].splitlines()[-1])
    with log_of(url) as log:
        assert log.size >= acknowledged
        found = [each.record.subject for each in log.records()]
        assert found == [f"order {n}" for n in range(log.size)][::-1][:MAX_PAGE]


def test_a_checkpoint_of_entries_that_are_not_there(lite: str) -> None:
    with store_of(lite) as store:
        for size in (-1, 1):
            with pytest.raises(StoreError, match=f"audit checkpoint: of {size} entries, the log has 0"):
                store.save_checkpoint(AuditCheckpointRow(size, "x"))


# --- the key ------------------------------------------------------------------------------------------


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    signer = audit_signer(tmp_path, VENUE)
    assert audit_signer(tmp_path, VENUE) == present_signer(tmp_path, VENUE) == signer
    assert signer.name == "darkpool/audit/" + VENUE.hex()
    path = tmp_path / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read it"):
        audit_signer(tmp_path, VENUE)


@pytest.mark.parametrize("content", ["", "00" * 31, "zz" * 32, "00" * 33])
def test_a_damaged_key_is_no_key(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(ConfigError, match=r"audit\.key"):
        audit_signer(tmp_path, VENUE)


def test_a_key_that_is_not_there_is_not_made_by_readers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not found"):
        present_signer(tmp_path, VENUE)
    assert not (tmp_path / FILE).exists()

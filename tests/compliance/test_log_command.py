"""`darkpool log`: what was exported is checked line by line, and whatever is wrong is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from commitments.merkle import leaf_hash, verify_consistency, verify_inclusion
from compliance import audit_export
from compliance.audit_key import FILE
from compliance.audit_log import AuditLog
from compliance.audit_record import Kind
from compliance.audit_verify import Asked, verify_export
from compliance.checkpoint import Checkpoint
from compliance.signed_note import NoteSigner
from darkpool.cli.app import app
from darkpool.errors import EXIT_PEER, EXIT_USAGE, DarkpoolError, PeerFault
from darkpool.store.audit_store import AuditStore
from darkpool.store.database import Database, sqlite_url
from tests.compliance.log_support import ALICE, BOB, NOW, OTHER, log_of, record, venue_folder

SIZES = (4, 7, 9)
ENTRIES = 11  # two of them behind the newest checkpoint
NOTHING = Asked()
Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NoteSigner]:
    """A venue's folder and the signer of its log."""
    folder = tmp_path_factory.mktemp("venue") / "data"
    signer = venue_folder(folder, SIZES)
    with log_of(sqlite_url(folder / "venue.db"), signer) as log:
        log.append([record(9, Kind.GRANT, BOB), record(10, Kind.POLICY, None)])
    return folder, signer


@pytest.fixture(scope="module")
def exported(venue: tuple[Path, NoteSigner], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "audit.jsonl"
    said("log", "export", path, "--data", venue[0])
    return path


def said(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def told(*arguments: str | Path) -> Any:  # noqa: ANN401  # JSON
    return json.loads(said(*arguments, "--json"))


def refused(*arguments: str | Path) -> DarkpoolError:
    error = CliRunner().invoke(app, [*map(str, arguments)]).exception
    assert isinstance(error, DarkpoolError), error
    assert error.hint
    return error


def changed(exported: Path, folder: Path, change: Callable[[Lines], object]) -> Path:
    """A copy of the file whose lines were changed as JSON, and written as the exporter writes them."""
    lines: Lines = [json.loads(line) for line in exported.read_text().splitlines()]
    change(lines)
    path = folder / "changed.jsonl"
    path.write_bytes(b"".join(map(audit_export._line, lines)))
    return path


# --- what holds -------------------------------------------------------------------------------------


def test_a_good_file(venue: tuple[Path, NoteSigner], exported: Path) -> None:
    key = venue[1].verifier.vkey
    found = told("log", "verify", exported, "--key", key)
    assert (found["entries"], found["unsigned"], found["consistency_proofs"]) == (ENTRIES, 2, 2)
    assert [c["size"] for c in found["checkpoints"]] == [*SIZES]
    assert (found["key"], found["key_given"]) == (key, True)
    assert told("log", "verify", exported)["key_given"] is False
    assert told("log", "key", "--data", venue[0]) == {"key": key}
    shown = said("log", "verify", exported)
    assert "every statement holds" in shown
    assert "as the file says: compare it" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
    assert exported.stat().st_mode & 0o777 == 0o600


def test_what_it_proves_others_can_check(venue: tuple[Path, NoteSigner], exported: Path) -> None:
    found = told("log", "verify", exported, "--old", "3", "--new", "10", "--entry", "5")
    proof, member = found["consistency"], found["inclusion"]

    def octets(text: str) -> bytes:
        return bytes.fromhex(text[2:])

    verify_consistency(
        3, 10, [*map(octets, proof["path"])], octets(proof["old_root"]), octets(proof["new_root"])
    )
    newest = found["checkpoints"][-1]
    path = [*map(octets, member["path"])]
    verify_inclusion(octets(member["leaf"]), 5, newest["size"], path, octets(newest["root"]))
    assert member["record"]["subject"] == "order 5"
    line = json.dumps(member["record"], sort_keys=True, separators=(",", ":"))
    assert leaf_hash(line.encode()) == octets(member["leaf"])
    assert line in said("log", "verify", exported, "--entry", "5")
    with log_of(sqlite_url(venue[0] / "venue.db"), venue[1]) as log:
        assert (log.size, log.root) == (ENTRIES, octets(found["root"]))


def test_the_check_by_hand_in_the_guide(exported: Path, tmp_path: Path) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "audit-log.md").read_text()
    code = guide.partition("```python\n")[2].partition("```")[0]

    def run(path: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-c", code, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    root = told("log", "verify", exported)["root"]
    assert run(exported).stdout == f"{ENTRIES} {root[2:]}\n"
    path = tmp_path / "changed.jsonl"
    path.write_bytes(exported.read_bytes().replace(b"order 3", b"order 4", 1))
    assert "AssertionError: 3" in run(path).stderr
    assert "AssertionError: 4" in run(changed(exported, tmp_path, lambda lines: lines.pop(2))).stderr


def test_a_root_from_elsewhere(exported: Path) -> None:
    found = told("log", "verify", exported, "--old", "5", "--new", "6")["consistency"]
    root = found["old_root"]
    assert told("log", "verify", exported, "--published", f"5:{root}")["published"] == 5
    for claim, named in ((f"6:{root}", "published: root"), (f"12:{root}", "published: size: 12, but")):
        error = refused("log", "verify", exported, "--published", claim)
        assert named in error.message
        assert error.exit_code == EXIT_PEER


def test_export_and_show_take_no_lock_and_migrate_nothing(
    venue: tuple[Path, NoteSigner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: object) -> None:
        raise AssertionError("a command that reads must leave the layout alone")

    database = Database.open(sqlite_url(venue[0] / "venue.db"))
    monkeypatch.setattr(Database, "_migrate", never)
    with database.writing("write meanwhile"):
        said("log", "export", tmp_path / "a.jsonl", "--data", venue[0])
        assert len(told("log", "show", "--data", venue[0])) == ENTRIES
    database.close()


def test_show_filters(venue: tuple[Path, NoteSigner]) -> None:
    def shown(*more: str) -> list[int]:
        return [each["sequence"] for each in told("log", "show", "--data", venue[0], *more)]

    assert shown() == [*range(ENTRIES)]
    assert shown("--limit", "2") == [9, 10]
    assert shown("--kind", "grant") == [9]
    assert shown("--account", "0x" + BOB.hex()) == [9]
    assert shown("--account", "0x" + ALICE.hex(), "--kind", "grant") == []
    assert shown("--since", "2030-03-17T17:46:48") == [8, 9, 10]  # NOW + 8
    assert shown("--since", "2030-03-17T18:46:48+01:00") == [8, 9, 10]
    assert shown("--since", "2030-03-18") == []
    table = said("log", "show", "--data", venue[0])
    assert max(map(len, table.splitlines())) <= 80
    assert "order 9" in table
    assert NOW == 1_900_000_000


def test_texts_of_others_are_shown_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    signer = venue_folder(folder, ())
    with log_of(sqlite_url(folder / "venue.db"), signer) as log:
        log.append([replace(record(0), subject="[/b][red]:bomb:", body={"a": "\x1b[2J\n"})])
        log.checkpoint()
    assert "[/b][red]:bomb:" in " ".join(said("log", "show", "--data", folder).split())
    said("log", "export", tmp_path / "a.jsonl", "--data", folder)
    shown = said("log", "verify", tmp_path / "a.jsonl", "--entry", "0")
    assert "\x1b" not in shown
    assert '"\\u001b[2J\\n"' in shown


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--kind", "nonsense"], "--kind: 'nonsense' is none"),
        (["--since", "yesterday"], "--since: 'yesterday' is no time"),
        (["--account", "0x12"], "address"),
    ],
)
def test_a_filter_that_cannot_be_meant(
    venue: tuple[Path, NoteSigner], arguments: list[str], named: str
) -> None:
    error = refused("log", "show", "--data", venue[0], *arguments)
    assert named in error.message
    assert error.exit_code == EXIT_USAGE


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--key", "nonsense"], "--key: verifier key"),
        (["--entry", "9"], "--entry 9: 9 entries are signed"),
        (["--old", "7", "--new", "4"], "--old 7 --new 4: sizes go from 1 to 11"),
        (["--new", "12"], "--old 4 --new 12"),
        (["--published", "5"], "--published: root"),
        (["--published", "x:0x00"], "--published: no size"),
        (["--published", "5:0x00"], "--published: root"),
    ],
)
def test_a_question_that_cannot_be_meant(exported: Path, arguments: list[str], named: str) -> None:
    error = refused("log", "verify", exported, *arguments)
    assert named in error.message
    assert error.exit_code == EXIT_USAGE


def test_folders_and_files_that_are_not_there(
    venue: tuple[Path, NoteSigner], exported: Path, tmp_path: Path
) -> None:
    assert "no venue lives here" in refused("log", "show", "--data", tmp_path).message
    assert "exists already" in refused("log", "export", exported, "--data", venue[0]).message
    missing = tmp_path / "missing" / "a.jsonl"
    assert "cannot be written" in refused("log", "export", missing, "--data", venue[0]).message
    assert "cannot be read" in refused("log", "verify", missing).message
    copy = shutil.copytree(venue[0], tmp_path / "copy")
    (copy / FILE).unlink()
    assert "audit.key: not found" in refused("log", "export", tmp_path / "a", "--data", copy).message
    assert not (tmp_path / "a").exists()


def test_an_export_that_fails_leaves_nothing(
    venue: tuple[Path, NoteSigner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_export, "MAX_ENTRIES", ENTRIES - 1)
    error = refused("log", "export", tmp_path / "a.jsonl", "--data", venue[0])
    assert "11 entries, a file holds 10" in error.message
    assert [*tmp_path.iterdir()] == []


# --- what does not hold -------------------------------------------------------------------------------


def fault(path: Path, key: str | None = None, asked: Asked = NOTHING) -> str:
    """As the command says it, without the time it takes to build the command line."""
    with pytest.raises(PeerFault) as refused:
        verify_export(path, key, asked)
    assert "\n" not in refused.value.message
    assert refused.value.hint
    return refused.value.message


def first_entry(lines: Lines) -> dict[str, Any]:
    found: dict[str, Any] = lines[1]["entry"]
    return found


@pytest.mark.parametrize("field", ["account", "actor", "at", "body", "kind", "salt", "subject", "visible_at"])
def test_every_changed_field_of_an_entry_is_found(exported: Path, tmp_path: Path, field: str) -> None:
    values: dict[str, Any] = {
        "account": "0x" + BOB.hex(),
        "actor": "operatos",
        "at": NOW + 1,
        "body": {"allowed": False},
        "kind": "query",
        "salt": "0x" + "00" * 16,
        "subject": "order 1",
        "visible_at": 1,
    }

    def change(lines: Lines) -> None:
        first_entry(lines)[field] = values[field]

    assert fault(changed(exported, tmp_path, change)).endswith("entry 0: leaf: not the hash of the entry")

    def with_its_leaf(lines: Lines) -> None:
        change(lines)
        data = json.dumps(first_entry(lines), sort_keys=True, separators=(",", ":")).encode()
        lines[1]["leaf"] = "0x" + leaf_hash(data).hex()

    message = fault(changed(exported, tmp_path, with_its_leaf))
    assert message.endswith("checkpoint of 4 entries: root: entries 0 to 3 are not those that were signed")


@pytest.mark.parametrize(
    "path, value, named",
    [
        ((0, "format"), "x", "line 1: format: not darkpool-audit"),
        ((0, "version"), 2, "line 1: format: not darkpool-audit of version 1"),
        ((0, "key"), "x", "verifier key"),
        ((0, "key"), OTHER.verifier.vkey, "checkpoint of 4 entries: signature"),
        ((0, "more"), 1, "line 1: header: has keys besides"),
        ((1, "sequence"), 1, "entry 0: missing or out of order: entry 1 is there"),
        ((1, "sequence"), -1, "line 2: sequence"),
        ((1, "sequence"), 1 << 24, "line 2: sequence"),
        ((1, "sequence"), "0", "line 2: sequence"),
        ((1, "leaf"), "0x" + "00" * 32, "entry 0: leaf: not the hash"),
        ((1, "leaf"), "0x" + "00" * 31, "line 2: leaf"),
        ((1, "leaf"), 1, "line 2: leaf"),
        ((1, "entry"), None, "line 2: entry 0: record: not a JSON object"),
        ((1, "entry", "kind"), "no such", "line 2: entry 0: kind"),
        ((1, "entry", "at"), -1, "line 2: entry 0: at"),
        ((1, "entry", "at"), 1.5, "line 2: entry 0: at"),
        ((1, "entry", "actor"), "", "line 2: entry 0: actor"),
        ((1, "entry", "body"), [], "line 2: entry 0: body"),
        ((1, "entry", "version"), 2, "line 2: entry 0: version"),
        ((1, "entry", "more"), 1, "line 2: entry 0: record"),
        ((1, "more"), 1, "line 2: line: has keys besides"),
        ((12, "size"), 5, "checkpoint of 5 entries: size: the note is of 4"),
        ((12, "size"), -1, "line 13: size"),
        ((12, "checkpoint"), "x", "checkpoint of 4 entries: note"),
        ((12, "checkpoint"), 1, "line 13: checkpoint"),
        ((12, "checkpoint"), "\ud800", "line 13: checkpoint"),
        ((12, "more"), 1, "line 13: checkpoint: has keys besides"),
        ((15, "entries"), 12, "end: entries: 12, but there are 11"),
        ((15, "checkpoints"), 2, "end: checkpoints: 2, but there are 3"),
        ((15, "root"), "0x" + "00" * 32, "end: root: not that of the entries"),
        ((15, "more"), 1, "line 16: end: has keys besides"),
    ],
)
def test_every_corrupted_field_is_named(
    exported: Path, tmp_path: Path, path: tuple[Any, ...], value: object, named: str
) -> None:
    def change(lines: Lines) -> None:
        *way, last = path
        target: Any = lines
        for step in way:
            target = target[step]
        target[last] = value

    assert named in fault(changed(exported, tmp_path, change))


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda lines: lines.pop(0), "line 1: out of order"),
        (lambda lines: lines.pop(3), "entry 2: missing or out of order: entry 3 is there"),
        (lambda lines: lines.insert(3, lines[3]), "entry 3: missing or out of order: entry 2 is there"),
        (lambda lines: lines.insert(3, lines.pop(4)), "entry 2: missing or out of order: entry 3"),
        (lambda lines: lines.insert(0, lines[0]), "line 2: out of order"),
        (lambda lines: lines.insert(3, lines[0]), "line 4: out of order"),
        (lambda lines: lines.insert(13, lines[1]), "line 14: out of order"),
        (lambda lines: lines.pop(11), "end: entries: 11, but there are 10"),
        (lambda lines: lines.pop(12), "end: checkpoints: 3, but there are 2"),
        (
            lambda lines: lines.insert(12, lines[12]),
            "checkpoint of 4 entries: out of order: it follows one of 4",
        ),
        (
            lambda lines: lines.insert(12, lines.pop(13)),
            "checkpoint of 4 entries: out of order: it follows one",
        ),
        (lambda lines: lines.pop(), "line 16: missing: the file is cut short before its end"),
        (lambda lines: lines.append(lines[-1]), "line 17: out of order"),
        (lambda lines: lines.append(lines[1]), "line 17: out of order"),
        (lambda lines: lines.clear(), "line 1: missing"),
    ],
)
def test_lines_missing_repeated_or_in_another_order(
    exported: Path, tmp_path: Path, change: Callable[[Lines], object], named: str
) -> None:
    assert named in fault(changed(exported, tmp_path, change))


def shortened(lines: Lines) -> None:
    """As a dishonest operator would do it: entries renumbered, leaves and end right."""
    lines.pop(6)
    for number, line in enumerate(lines[1:11]):
        line["sequence"] = number
    lines[-1]["entries"] = 10


def test_an_entry_left_out_with_all_numbers_right(exported: Path, tmp_path: Path) -> None:
    message = fault(changed(exported, tmp_path, shortened))
    assert message.endswith("checkpoint of 7 entries: root: entries 4 to 6 are not those that were signed")


def test_a_tail_left_out_is_found_by_the_newest_checkpoint_or_a_published_root(
    venue: tuple[Path, NoteSigner], exported: Path, tmp_path: Path
) -> None:
    lines: Lines = [json.loads(line) for line in exported.read_text().splitlines()]
    root = told("log", "verify", exported)["root"]
    with log_of(sqlite_url(venue[0] / "venue.db"), venue[1]) as log:
        shorter = "0x" + log._tree.root(8).hex()
    kept = [*lines[:9], *lines[12:15], {**lines[15], "entries": 8, "root": shorter}]
    path = tmp_path / "short.jsonl"
    path.write_bytes(b"".join(map(audit_export._line, kept)))
    assert "checkpoint of 9 entries: size: the file has 8 entries, some are missing" in fault(path)
    path.write_bytes(b"".join(map(audit_export._line, [*kept[:-2], {**kept[-1], "checkpoints": 2}])))
    assert told("log", "verify", path)["unsigned"] == 1  # nothing in the file can show it
    asked = Asked(published=(ENTRIES, bytes.fromhex(root[2:])))
    assert "published: size" in fault(path, asked=asked)


def test_a_file_without_checkpoints_is_worth_nothing(exported: Path, tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        del lines[12:15]
        lines[-1]["checkpoints"] = 0

    assert "nobody stands for this log" in fault(changed(exported, tmp_path, change))


def test_a_log_made_anew_under_another_key(
    venue: tuple[Path, NoteSigner], exported: Path, tmp_path: Path
) -> None:
    """Whoever rewrites everything needs another key, and the auditor has the right one."""
    forger = NoteSigner(venue[1].name, b"\x44" * 32)

    def change(lines: Lines) -> None:
        lines[0]["key"] = forger.verifier.vkey
        for line in lines[12:15]:
            note = Checkpoint.read(line["checkpoint"].partition("\n\n")[0] + "\n").signed(forger)
            line["checkpoint"] = note

    path = changed(exported, tmp_path, change)
    assert told("log", "verify", path)["key_given"] is False
    assert "key: the file is of" in fault(path, venue[1].verifier.vkey)


@pytest.mark.parametrize(
    "name, named", [("other/log", "origin: other/log, not darkpool/audit/"), (None, "signature: the one by")]
)
def test_a_checkpoint_of_another_log_or_forged(
    venue: tuple[Path, NoteSigner], exported: Path, tmp_path: Path, name: str | None, named: str
) -> None:
    def change(lines: Lines) -> None:
        note = lines[13]["checkpoint"]
        text, _, signature = note.partition("\n\n")
        good = Checkpoint.read(text + "\n")
        if name is not None:
            lines[13]["checkpoint"] = Checkpoint(name, good.size, good.root).signed(venue[1])
        else:
            forged = Checkpoint(good.origin, good.size, bytes(32))
            lines[13]["checkpoint"] = f"{forged.text}\n{signature}"

    assert f"checkpoint of 7 entries: {named}" in fault(changed(exported, tmp_path, change))


@pytest.mark.parametrize(
    "old, new, named",
    [
        (b'"sequence":0}', b'"sequence": 0}', "line 2: entry 0: not canonical JSON"),
        (b'"sequence":0}', b'"sequence":0,"sequence":0}', "line 2: entry 0: not canonical JSON"),
        (b'"subject":"order 0"', b'"subject":"\\u006frder 0"', "line 2: entry 0: not canonical JSON"),
        (b'"size":4}', b'"size":4.0}', "line 13: size"),
        (b'"size":4}', b'"size":4} ', "line 13: line: not canonical JSON"),
        (b'"version":1}\n', b'"version":1}\r\n', "line 1: line: not canonical JSON"),
        (b'"subject":"order 0"', b'"subject":"' + b"a" * (1 << 17) + b'"', "line 2: longer than 131072"),
        (b'{"entry"', b'{"antry"', "line 2: end: lacks"),
        (b'{"entry"', b'"entry"', "line 2: line: not JSON"),
        (b'{"entry"', b"[" * 20 + b'{"entry"', "line 2: line: nested deeper"),
        (b'{"entry"', b"\xff", "line 2: line: not JSON"),
        (b'{"entry"', b"\n", "line 2: line: not JSON"),
        (b'{"allowed":true}', b'{"allowed":1e3}', "line 2: entry 0: body"),
    ],
)
def test_other_spellings_are_refused(
    exported: Path, tmp_path: Path, old: bytes, new: bytes, named: str
) -> None:
    data = exported.read_bytes()
    assert old in data
    path = tmp_path / "changed.jsonl"
    path.write_bytes(data.replace(old, new, 1))
    assert named in fault(path)


def test_a_file_cut_anywhere_is_refused(exported: Path, tmp_path: Path) -> None:
    data = exported.read_bytes()
    path = tmp_path / "cut.jsonl"
    for length in (0, 1, 50, len(data) // 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        assert ": line " in fault(path)
    path.write_bytes(b"\x00" * 1_000_000)
    assert "line 1: longer than" in fault(path)


def test_an_empty_log_verifies(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    venue_folder(folder, (0, 1))
    said("log", "export", tmp_path / "a.jsonl", "--data", folder)
    found = told("log", "verify", tmp_path / "a.jsonl", "--entry", "0")
    assert [c["size"] for c in found["checkpoints"]] == [0, 1]
    assert found["inclusion"]["path"] == []


def test_a_damaged_row_is_not_shown(venue: tuple[Path, NoteSigner], tmp_path: Path) -> None:
    copy = shutil.copytree(venue[0], tmp_path / "copy")
    database = Database.open(sqlite_url(copy / "venue.db"))
    with database.writing("damage") as connection:
        connection.exec_driver_sql("UPDATE audit_entries SET data = x'00' WHERE sequence = 2")
    assert "entry 2: its leaf is not the hash" in refused("log", "show", "--data", copy).message
    with pytest.raises(DarkpoolError):
        AuditLog.open(AuditStore(database), OTHER)
    database.close()

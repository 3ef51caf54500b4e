"""The frozen vectors hold, their checks notice every change, and nothing overwrites them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commitments.errors import CommitmentsError
from darkpool.errors import DarkpoolError
from tests import vectors
from tests.vectors import Family, Row, VectorMismatchError, same
from tests.vectors.__main__ import FAMILIES, main


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.file)
def test_the_frozen_vectors_hold(family: Family) -> None:
    assert family.check_all() >= 1


def changed(row: Row) -> Iterator[tuple[str, Row]]:
    """The row with one entry altered, for every entry but its name."""
    for name in row:
        if name == "name":
            continue
        other = copy.deepcopy(row)
        other[name] = _altered(row[name])
        yield name, other


def _altered(value: Any) -> Any:  # noqa: ANN401 - JSON
    match value:
        case bool() | None:
            raise TypeError(value)
        case int():
            return value + 1
        case str():
            # A digit in the middle: of a long encoding, somewhere inside.
            at = len(value) // 2
            return value[:at] + ("1" if value[at] == "0" else "0") + value[at + 1 :]
        case list():
            return [_altered(value[0]), *value[1:]]
        case dict():
            first = next(iter(value))
            return value | {first: _altered(value[first])}
        case _:
            raise TypeError(value)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.file)
def test_a_check_notices_every_entry(family: Family) -> None:
    for _, other in changed(family.read()[0]):
        with pytest.raises((VectorMismatchError, CommitmentsError, DarkpoolError)):
            family.check(other)


def test_only_hex_and_small_integers_are_frozen() -> None:
    # A reader in any language must be able to read them without losing digits.
    def walk(value: object) -> None:
        match value:
            case dict():
                for key, entry in value.items():
                    if key != "name":
                        walk(entry)
            case list():
                for entry in value:
                    walk(entry)
            case int():
                assert 0 <= value < 1 << 53
            case str():
                assert set(value) <= set("0123456789abcdef")
            case _:
                raise AssertionError(value)

    for family in FAMILIES:
        walk(family.read())


def test_files_are_ascii_and_end_in_a_newline() -> None:
    for family in FAMILIES:
        data = family.path.read_bytes()
        assert data.isascii()
        assert data.endswith(b"}\n")
        assert "never regenerated" in json.loads(data)["source"]


def test_nothing_overwrites_a_frozen_file(capsys: pytest.CaptureFixture[str]) -> None:
    before = {family.file: family.path.read_bytes() for family in FAMILIES}
    assert main(["--write"]) == 1
    assert "never regenerated" in capsys.readouterr().err
    for family in FAMILIES:
        with pytest.raises(FileExistsError, match=family.file):
            family.write()
    assert before == {family.file: family.path.read_bytes() for family in FAMILIES}


def test_an_absent_file_is_frozen_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vectors, "DIRECTORY", tmp_path)
    assert main(["--check"]) == 1
    assert "generators-v1.json: absent" in capsys.readouterr().err
    assert main(["--write"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {family.file for family in FAMILIES}
    assert main(["--check"]) == 0
    assert main(["--write"]) == 1


@pytest.mark.parametrize("arguments", [[], ["--check", "--write"], ["--force"]], ids=str)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m tests.vectors" in capsys.readouterr().err


def test_what_is_not_the_same_is_named_and_cut_short() -> None:
    with pytest.raises(VectorMismatchError, match="proof: " + "0" * 40 + "… where 11 is frozen"):
        same({"proof": "11"}, {"proof": "0" * 99})

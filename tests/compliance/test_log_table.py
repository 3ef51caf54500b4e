"""The stored table: used if good, replaced if not, never half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from commitments.discrete_log import MIN_BITS, Table
from commitments.pedersen import generator_g
from compliance.log_table import load_table
from darkpool.errors import ConfigError


def load(path: Path, bits: int = MIN_BITS) -> tuple[Table, list[int]]:
    """The table and the progress of building it; none if it was read."""
    seen: list[int] = []
    return load_table(path, bits, seen.append), seen


def test_it_is_built_once(tmp_path: Path) -> None:
    path = tmp_path / "table"
    built, seen = load(path)
    assert seen[-1] == 1 << MIN_BITS
    read, again = load(path)
    assert again == []
    assert read.encode() == built.encode() == path.read_bytes()
    assert read.logarithm(generator_g() * 9_999) == 9_999
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", [b"", b"something else", None])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "table"
    good = load(path)[0].encode()
    path.write_bytes(good[:-1] + b"\xff" if damage is None else damage)
    assert load(path)[1] != []
    assert path.read_bytes() == good


def test_a_table_of_another_size_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "table"
    load(path)
    table, seen = load(path, MIN_BITS + 1)
    assert (table.bits, seen[-1]) == (MIN_BITS + 1, 2 << MIN_BITS)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "table"):
        with pytest.raises(ConfigError, match="table of logarithms"):
            load(path)
    assert list(tmp_path.iterdir()) == []

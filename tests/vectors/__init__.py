"""Frozen vectors of version 1: what every later version of this code, or another implementation, must meet.

`python -m tests.vectors --check` compares the files with the code; `--write` makes files that are absent and
never touches one that exists. A format that changes gets a new version and new files beside the old.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).parent

Row = dict[str, Any]  # JSON: integers below 2^53, lower-case hex for everything else


class VectorMismatchError(Exception):
    """The code does not give what a frozen file says."""


@dataclass(frozen=True, slots=True)
class Family:
    """One file: what it holds, how its rows came to be, and what must hold of them for ever."""

    file: str
    about: str
    build: Callable[[], list[Row]]
    check: Callable[[Row], None]

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return DIRECTORY / self.file

    def read(self) -> list[Row]:
        """The frozen rows."""
        rows: list[Row] = json.loads(self.path.read_text("ascii"))["vectors"]
        return rows

    def check_all(self) -> int:
        """The number of rows that hold. Raises VectorMismatchError naming file, row and entry."""
        if not self.path.is_file():
            raise VectorMismatchError(f"{self.file}: absent")
        rows = self.read()
        for row in rows:
            try:
                self.check(row)
            except VectorMismatchError as error:
                raise VectorMismatchError(f"{self.file}, {row['name']}: {error}") from None
        return len(rows)

    def write(self) -> None:
        """Freezes the file. Raises FileExistsError rather than touch one that is there."""
        if self.path.exists():
            raise FileExistsError(f"{self.file}: frozen vectors are never regenerated")
        source = f"this project, frozen with version 1: {self.about}; never regenerated"
        text = json.dumps({"source": source, "vectors": self.build()}, indent=1)
        with self.path.open("x", encoding="ascii") as file:
            file.write(text + "\n")


def same(row: Row, found: Mapping[str, Any]) -> None:
    """Every entry found equals that of the row. Raises VectorMismatchError naming the first that does not."""
    for name, value in found.items():
        if row[name] != value:
            raise VectorMismatchError(f"{name}: {_short(value)} where {_short(row[name])} is frozen")


def rebuilt(build: Callable[[], list[Row]]) -> Callable[[Row], None]:
    """The check of rows that follow from their inputs alone: made again, they are the same."""

    def check(row: Row) -> None:
        (again,) = (made for made in build() if made["name"] == row["name"])
        if row.keys() != again.keys():
            raise VectorMismatchError(f"entries {sorted(row.keys() ^ again.keys())} are in one only")
        same(row, again)

    return check


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:40] + "…"

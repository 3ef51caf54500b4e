"""Strict reading of a policy's TOML: every refusal names file, line, table, key and what is allowed.

`tomllib` tells lines only of what is no TOML at all, so the lines of tables and keys are found by a scan of
the text. A wrong line is the worst that scan can do: values come from `tomllib` alone.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from darkpool.errors import ConfigError

MAX_TEXT: Final = 400
"""Most characters of a sentence."""

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_-]+)\s*\]\]?\s*(?:#.*)?")
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")
_SYNTAX: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_SHOWN: Final = 60


class PolicyError(ConfigError):
    """A policy that cannot be meant; nothing of it is used. `file` and `line` say where, if known."""

    def __init__(self, file: str, line: int | None, problem: str, hint: str = "") -> None:
        self.file, self.line = file, line
        where = file if line is None else f"{file}, line {line}"
        super().__init__(f"{where}: {problem}", hint)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles by its texts."""
        return _rebuilt, (self.file, self.line, self.message, self.hint)


def _rebuilt(file: str, line: int | None, message: str, hint: str) -> PolicyError:
    error = PolicyError(file, line, "", hint)
    error.message, error.args = message, (message, hint)
    return error


def quoted(value: object) -> str:
    """A value from outside as one short line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


class Source:
    """A TOML text whose tables are flat: `[name]` once, `[[name]]` any number of times, nothing nested."""

    def __init__(self, file: str, data: bytes) -> None:
        self.file = file
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise PolicyError(file, line, f"byte {error.start} is not UTF-8", "save it as UTF-8") from None
        try:
            self.document: dict[str, Any] = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise _no_toml(file, text, str(error)) from None
        self._lines = _lines(text)

    def line(self, table: str, index: int, key: str | None = None) -> int | None:
        """The line of a key of the table's occurrence `index` (from 0), or of its header."""
        found = self._lines.get((table, index, key))
        return found if found is not None else self._lines.get((table, index, None))

    def refuse_others(self, known: Collection[str]) -> None:
        """Raises PolicyError for a table or key of the top that is not among the known."""
        for name in self.document:
            if name not in known:
                line = self._lines.get(("", 0, name)) or self.line(name, 0)
                raise PolicyError(
                    self.file, line, f"{quoted(name)} is unknown", f"known tables: {', '.join(known)}"
                )

    def one(self, name: str) -> Table:
        """The table `[name]`. Raises PolicyError if it is missing."""
        values = self.document.get(name)
        if not isinstance(values, dict):
            raise PolicyError(
                self.file, self.line(name, 0), f"the table [{name}] is missing", f"add [{name}]"
            )
        return Table(self, name, 0, values)

    def many(self, name: str, limit: int) -> list[Table]:
        """The tables `[[name]]`, at most `limit`, in order; none if there is none. Raises PolicyError."""
        values = self.document.get(name, [])
        if not isinstance(values, list) or not all(isinstance(v, dict) for v in values):
            raise PolicyError(
                self.file, self.line(name, 0), f"{name} is not a list of tables", f"write [[{name}]]"
            )
        if len(values) > limit:
            raise PolicyError(
                self.file, self.line(name, limit), f"more than {limit} tables [[{name}]]", "merge some"
            )
        return [Table(self, name, index, value) for index, value in enumerate(values)]


class Table:
    """One table; each key is read at most once, and `end` refuses what was not read.

    Every method raises PolicyError.
    """

    def __init__(self, source: Source, name: str, index: int, values: Mapping[str, object]) -> None:
        self._source, self._name, self._index = source, name, index
        self._values = dict(values)
        self._label = f"[{name}]" if isinstance(source.document[name], dict) else f"[[{name}]]"

    def refused(self, key: str | None, problem: str, hint: str = "") -> PolicyError:
        """The error for this table, or one of its keys, to be raised."""
        line = self._source.line(self._name, self._index, key)
        place = self._label if key is None else f"{self._label} {key}"
        return PolicyError(self._source.file, line, f"{place}: {problem}", hint)

    def text(self, key: str, allowed: str, fits: Callable[[str], object]) -> str:
        """A text that fits; `allowed` says what does."""
        value = self._take(key)
        try:
            good = isinstance(value, str) and fits(value)
        except (ConfigError, ValueError):
            good = False
        if not good or not isinstance(value, str):
            raise self.refused(key, f"got {quoted(value)}; allowed: {allowed}", "correct the value")
        return value

    def sentence(self, key: str) -> str:
        """One line of text for people."""
        allowed = f"1 to {MAX_TEXT} printable characters"
        return self.text(key, allowed, lambda t: t.isprintable() and 0 < len(t.strip()) <= MAX_TEXT)

    def whole(self, key: str, low: int, high: int) -> int:
        """A whole number within bounds."""
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            problem = f"got {quoted(value)}; allowed: a whole number, {low} to {high}"
            raise self.refused(key, problem, "correct the value")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        value = self._values.pop(key, default)
        if not isinstance(value, bool):
            raise self.refused(key, f"got {quoted(value)}; allowed: true or false", "correct the value")
        return value

    def has(self, key: str) -> bool:
        """Whether the key is there and not read yet."""
        return key in self._values

    def names(self, key: str, allowed: str, fits: Callable[[str], object], limit: int) -> tuple[str, ...]:
        """A list of 1 to `limit` different texts, each of which fits."""
        value = self._take(key)
        if not isinstance(value, list) or not 0 < len(value) <= limit:
            raise self.refused(key, f"not a list of 1 to {limit} texts", "correct the list")
        for item in value:
            if not isinstance(item, str) or not fits(item):
                raise self.refused(key, f"got {quoted(item)}; allowed: {allowed}", "correct the list")
            if value.count(item) > 1:
                raise self.refused(key, f"{quoted(item)} occurs twice", "name it once")
        return tuple(value)

    def end(self) -> None:
        """Nothing may be left."""
        for key in self._values:
            raise self.refused(key, "no such key", "check its spelling against docs/compliance-policy.md")

    def _take(self, key: str) -> object:
        if key not in self._values:
            raise self.refused(None, f"{key} is missing", f"add {key} = …")
        return self._values.pop(key)


def _no_toml(file: str, text: str, problem: str) -> PolicyError:
    found = _SYNTAX.fullmatch(problem)
    if found is None:
        return PolicyError(file, None, "not TOML", "correct the file")
    line = int(found[2]) if found[2] else text.count("\n") + 1
    return PolicyError(file, line, f"not TOML: {found[1][:_SHOWN]}", "correct the line")


def _lines(text: str) -> dict[tuple[str, int, str | None], int]:
    """Where tables and keys are: (table, occurrence, key or None for the header) -> line, from 1."""
    found: dict[tuple[str, int, str | None], int] = {}
    seen: Counter[str] = Counter()
    table, index = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.fullmatch(line.rstrip("\r")):
            table = header[2]
            index = seen[table] if header[1] == "[[" else 0
            seen[table] += 1
            found.setdefault((table, index, None), number)
        elif key := _KEY.match(line):
            found.setdefault((table, index, key[1]), number)
    return found

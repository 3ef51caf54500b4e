"""Tests of a policy, a table beside it: tests.csv, one case a line with the decision it must get.

    name         what the case shows
    account      0x and 40 digits; empty: an account on no list
    market       a name
    jurisdiction, class, issuer   what the credential states; all empty: no credential
    credential   empty: it counts; or the check it fails ("expired", "revoked", …)
    open_orders  other open orders; empty: 0
    at           unix seconds; empty: 2026-01-01 00:00 UTC
    expect       allow or deny
    rules        ids of the deciding rules, by spaces; empty: not looked at
    segment      its name, - for none; empty: not looked at
    auditors     names by spaces, - for none; empty: not looked at

UTF-8, comma-separated, with exactly this header, in the order above.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compliance.credential_check import Check
from compliance.credentials import Claim
from compliance.policy import Policy
from compliance.policy_decision import Decision, Request
from compliance.policy_toml import PolicyError, quoted
from darkpool.errors import ConfigError
from darkpool.types import Address, parse_address

FILE: Final = "tests.csv"
MAX_BYTES: Final = 1 << 20
MAX_CASES: Final = 10_000
COLUMNS: Final = (
    "name", "account", "market", "jurisdiction", "class", "issuer", "credential", "open_orders", "at",
    "expect", "rules", "segment", "auditors",
)  # fmt: skip
MIDNIGHT: Final = 1_767_225_600
"""2026-01-01 00:00 UTC."""

_NOBODY: Final = Address(bytes(19) + b"\x01")
_DAY: Final = 86_400
_NONE: Final = "-"
_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Case:
    """One line; empty expectations are None."""

    line: int
    name: str
    request: Request
    allowed: bool
    rules: frozenset[str] | None
    segment: str | None
    auditors: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case, its decision, and in what they differ."""

    case: Case
    decision: Decision
    failures: tuple[str, ...]


def run_cases(policy: Policy, cases: tuple[Case, ...]) -> tuple[Outcome, ...]:
    """Every case decided."""
    return tuple(_outcome(case, policy.decide(case.request)) for case in cases)


def _outcome(case: Case, decision: Decision) -> Outcome:
    words = {True: "allow", False: "deny"}
    compared: tuple[tuple[str, object, object], ...] = (
        ("decision", words[case.allowed], words[decision.allowed]),
        ("rules", case.rules, frozenset(decision.rules)),
        ("segment", case.segment, decision.segment or _NONE),
        ("auditors", case.auditors, frozenset(a.name for a in decision.auditors)),
    )
    failures = (
        f"{what}: expected {_words(expected)}, got {_words(got)}"
        for what, expected, got in compared
        if expected is not None and expected != got
    )
    return Outcome(case, decision, tuple(failures))


def _words(value: object) -> str:
    return " ".join(sorted(value)) or _NONE if isinstance(value, frozenset) else str(value)


def read_cases(policy: Policy, path: Path, data: bytes) -> tuple[Case, ...]:
    """The cases of a table. Raises PolicyError with line and column."""
    file = str(path)
    if len(data) > MAX_BYTES:
        raise PolicyError(file, None, f"over {MAX_BYTES} bytes", "split the table")
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PolicyError(file, line, "not UTF-8", "save it as UTF-8") from None
    rows = _rows(file, lines)
    if next(rows, (1, []))[1] != list(COLUMNS):
        raise PolicyError(file, 1, "not the header of a table of cases", f"write {','.join(COLUMNS)}")
    cases = tuple(_Row(policy, file, line, row).case() for line, row in rows)
    if not 0 < len(cases) <= MAX_CASES:
        raise PolicyError(file, None, f"{len(cases)} cases; allowed: 1 to {MAX_CASES}", "write some")
    return cases


def _rows(file: str, lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise PolicyError(file, reader.line_num, f"not CSV: {error}", "correct the line") from None
        if row is None:
            return
        if len(row) != len(COLUMNS):
            problem = f"{len(row)} columns, not {len(COLUMNS)}"
            raise PolicyError(file, reader.line_num, problem, "count the commas")
        yield reader.line_num, row


class _Row:
    """One line of the table. Raises PolicyError naming line and column."""

    def __init__(self, policy: Policy, file: str, line: int, row: list[str]) -> None:
        self._policy, self._file, self._line = policy, file, line
        self._cells = dict(zip(COLUMNS, row, strict=True))

    def case(self) -> Case:
        cells = self._cells
        rules, auditors = cells["rules"].split(), cells["auditors"].split()
        return Case(
            line=self._line,
            name=self._cell("name", "some text", lambda t: bool(t.strip()) and t.isprintable()),
            request=self._request(),
            allowed=self._cell("expect", "allow or deny", {"allow", "deny"}.__contains__) == "allow",
            rules=frozenset(rules) if rules else None,
            segment=cells["segment"] or None,
            auditors=frozenset(auditors) - {_NONE} if auditors else None,
        )

    def _request(self) -> Request:
        text = self._cells["account"]
        try:
            account = parse_address(text) if text else _NOBODY
        except ConfigError as error:
            raise self._refused("account", error.message) from None
        at, failed = self._whole("at", MIDNIGHT), self._cells["credential"]
        if failed:
            self._cell("credential", f"one of {', '.join(Check)}", set(Check).__contains__)
        return Request(
            account=account,
            market=self._cells["market"],
            at=at,
            open_orders=self._whole("open_orders", 0),
            claim=None if failed else self._claim(account, at),
            refused=Check(failed) if failed else None,
        )

    def _claim(self, account: Address, at: int) -> Claim | None:
        code, investor, name = (self._cells[c] for c in ("jurisdiction", "class", "issuer"))
        if not (code or investor or name):
            return None
        issuers = {issuer.name: issuer.address for issuer in self._policy.config.issuers}
        self._cell("issuer", f"one of {', '.join(issuers)}", issuers.__contains__)
        try:
            return Claim(account, code, investor, max(at - _DAY, 0), at + _DAY, 0, issuers[name])
        except ConfigError as error:
            raise self._refused("jurisdiction or class", error.message) from None

    def _whole(self, column: str, default: int) -> int:
        text = self._cell(column, "a whole number or nothing", lambda t: not t or _WHOLE.fullmatch(t))
        return int(text) if text else default

    def _cell(self, column: str, allowed: str, fits: Callable[[str], object]) -> str:
        text = self._cells[column]
        if not fits(text):
            raise self._refused(column, f"got {quoted(text)}; allowed: {allowed}")
        return text

    def _refused(self, column: str, problem: str) -> PolicyError:
        return PolicyError(self._file, self._line, f"column {column}: {problem}", "correct the line")

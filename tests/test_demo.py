"""The demo with a faulty member: the round completes without it, and who charged it is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from commitments.params import INSECURE_TEST
from darkpool.cli.app import app
from darkpool.cli.options import FaultName
from darkpool.committee import faulty
from darkpool.committee.faulty import VARIABLE, Fault
from darkpool.committee.home import KEYS
from darkpool.demo import demonstrate_fault
from darkpool.errors import EXIT_USAGE
from darkpool.progress import silent


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault, charged",
    [
        ("wrong-partial", "member 2 partial at curves/p"),
        ("silent", "member 2 silent at curves/partials, say 1, 3, 4"),
        ("dead", "member 2 gone at curves/partials"),
    ],
)
def test_the_round_completes_without_it_and_nothing_was_opened_to_it(fault: str, charged: str) -> None:
    console = Console(width=160, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(demonstrate_fault(silent, 2, fault, INSECURE_TEST))
    shown = console.export_text()
    assert charged in shown
    assert "1, 3, 4    │ completed: signed by members 1, 3, 4" in shown
    rows = [[cell.strip() for cell in line.split("│")] for line in shown.splitlines()]
    ends = [row for row in rows if len(row) == 5 and row[1].isdigit() and row[3] in {"yes", "no"}]
    opened = {index: (steps, signed) for _, index, steps, signed, _ in ends}
    assert opened["2"] == ("nothing", "no")
    assert all("nets" in opened[i][0] and opened[i][1] == "yes" for i in "134")
    assert "checked: price, volume, fills and nets against the plain auction" in shown
    assert VARIABLE not in os.environ


def test_the_names_of_faults_are_those_of_the_command_line() -> None:
    assert [fault.value for fault in Fault] == [name.value for name in FaultName]


@pytest.mark.parametrize("fault", [None, "", "wrong_partial", "WRONG-PARTIAL", "slow"])
def test_the_faulty_program_starts_for_the_demo_only(
    fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if fault is not None:
        monkeypatch.setenv(VARIABLE, fault)
    assert faulty.main([str(tmp_path), str(tmp_path)]) == EXIT_USAGE


def test_the_faulty_program_does_not_touch_a_members_own_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Fault.DEAD)
    (tmp_path / KEYS).write_text("{}")
    assert faulty.main([str(tmp_path), str(tmp_path)]) == EXIT_USAGE
    assert faulty.main([]) == EXIT_USAGE
    assert [path.name for path in tmp_path.iterdir()] == [KEYS]


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--fault", "dead"], "name the member too"),
        (["--faulty-member", "0"], "0 is outside 1 to 4"),
        (["--faulty-member", "5"], "5 is outside 1 to 4"),
        (["--faulty-member", "2", "--fault", "rude"], "rude"),
    ],
)
def test_what_the_command_refuses(arguments: list[str], reason: str) -> None:
    done = CliRunner().invoke(app, ["demo", *arguments])
    assert done.exit_code == EXIT_USAGE
    assert reason in done.output

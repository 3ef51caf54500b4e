"""The command as a user has it: arguments, exit codes, one-line errors, JSON, and real order flow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from darkpool.auction import PlainOrder, clear
from darkpool.cli import main
from darkpool.market import Grid
from darkpool.orderfile import OUTSIDE, TickSize, place, read_orders
from darkpool.types import Lots, Quanta
from tests.shared_data import BITSTAMP, shared_file

ROOT = Path(__file__).resolve().parents[1]
HEADER = "account,side,quantity,limit_price\n"


def darkpool(*arguments: str, timeout: int = 240) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from darkpool.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "TERM": "dumb"},
        check=False,
    )


def run_json(path: Path, *arguments: str) -> dict[str, Any]:
    done = darkpool("run", str(path), "--profile", "insecure-test", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


BAD = {
    "wrong header": ("account,side,quantity\nA,buy,1\n", "line 1"),
    "empty": ("", "orders.csv"),
    "binary": ("\0\1\2", "orders.csv"),
    "malformed": (HEADER + "A,buy,1\n", "line 2"),
    "negative": (HEADER + "A,buy,-1,10.00\n", "line 2, column quantity"),
    "fractional": (HEADER + "A,buy,1.5,10.00\n", "line 2, column quantity"),
    "too many lots": (HEADER + "A,buy,4294967296,10.00\n", "line 2, column quantity"),
    "off the tick": (HEADER + "A,buy,1,10.00\nA,buy,1,10.005\n", "line 3, column limit_price"),
    "unknown side": (HEADER + "A,short,1,10.00\n", "line 2, column side"),
    "a price that is no number": (HEADER + "A,buy,1,nan\n", "line 2, column limit_price"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_line_before_anything_is_sealed(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, place_ = BAD[case]
    path = tmp_path / "orders.csv"
    path.write_text(content)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["darkpool", "run", str(path), "--reference", "10.00"])
    with pytest.raises(SystemExit) as ended:  # in this process: there are many cases
        main()
    done = capsys.readouterr()
    assert ended.value.code == 1
    assert done.out == ""
    lines = [line for line in done.err.splitlines() if line.strip()]
    assert lines[0].startswith("error: ")
    assert place_ in lines[0]
    assert "allowed:" in lines[0]
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2
    assert "key ceremony" not in done.err


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--reference", "ten"], "reference"),
        (["--reference", "10.005"], "reference"),
        (["--reference", "10.00", "--tick", "0"], "tick"),
        (["--reference", "0.01", "--levels", "64"], "p_0"),
        (["--levels", "1"], "levels"),
        (["--per-round", "0"], "per-round"),
        (["--profile", "weak"], "profile"),
    ],
)
def test_a_bad_argument_is_a_usage_error(arguments: list[str], named: str, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(HEADER + "A,buy,1,10.00\n")
    done = darkpool("run", str(path), *arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert done.stdout == ""


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    done = darkpool("run", str(tmp_path / "none.csv"), "--reference", "10.00")
    assert done.returncode == 1
    assert "none.csv" in done.stderr


def test_help_is_quick_and_shows_an_example() -> None:
    done = darkpool("run", "--help")
    assert done.returncode == 0
    assert "Example: darkpool run" in done.stdout
    # No cryptography or chain is imported for a help text.
    code = (
        "import sys; from darkpool.cli import app; "
        "print(sorted({'web3', 'gmpy2', 'mpyc', 'eth_tester'} & set(sys.modules)))"
    )
    probe = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert probe.stdout.strip() == "[]"


@pytest.mark.slow
def test_rounds_roll_renew_and_report_as_specified(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "account,side,quantity,limit_price,order_id\n"
        "A,buy,10,10.01,first\n"
        "B,sell,4,10.00,second\n"
        "C,buy,5,9.50,far\n"  # beyond the passive edge of 16 levels: outside the band
        "D,sell,6,,market\n"
        "E,buy,3,99.00,edge\n"  # beyond the aggressive edge: counts as the edge
        "A,sell,0,10.00,decoy\n"
    )
    arguments = ("--reference", "10.00", "--levels", "16", "--per-round", "2")
    report = run_json(path, *arguments, "--renew")
    assert set(report) >= {"rounds", "settlements", "netting_ratio", "timings", "profile"}
    assert report["profile"] == "insecure-test"
    assert report["outside_band"] == ["far"]
    first, second, third = report["rounds"]
    assert (first["round"], first["orders"], first["accounts"], first["crossed"]) == (1, 2, 2, True)
    assert first["price"] == "10.00"
    assert first["volume"] == 4
    assert first["fills"] == [
        {"order_id": "first", "account": "A", "filled": 4},
        {"order_id": "second", "account": "B", "filled": 4},
    ]
    assert first["nets"] == [
        {"account": "A", "base": 4, "quote": -4000},
        {"account": "B", "base": -4, "quote": 4000},
    ]
    # A's six lots were renewed and meet D's market order, E's edge order has the better price.
    assert {f["order_id"]: f["filled"] for f in second["fills"]} == {"first": 3, "market": 6, "edge": 3}
    assert second["volume"] == 6
    assert third["crossed"] is False
    assert third["price"] is None
    assert [f["filled"] for f in third["fills"]] == [0] * third["orders"]
    assert len(report["settlements"]) == 2
    assert all(s["tx"].startswith("0x") and s["gas_used"] > 0 for s in report["settlements"])
    assert [s["nullifiers"] for s in report["settlements"]] == [2, 3]
    assert set(report["timings"]) == {
        "seal_ms_per_order",
        "verify_ms_per_order",
        "sum_ms_per_order",
        "clear_s",
        "settle_s",
    }
    together = run_json(path, *arguments, "--renew", "--window", "3")
    assert [r["fills"] for r in together["rounds"]] == [r["fills"] for r in report["rounds"]]
    (settled,) = together["settlements"]  # what the two crossing rounds come to, in one
    assert (settled["rounds"], settled["nullifiers"], settled["accounts"]) == ([1, 2], 5, 4)
    base, quote = settled["flows"]
    assert (base["token"], base["gross"], base["net"], base["netting_ratio"]) == ("base", 10, 10, 1.0)
    assert (quote["token"], quote["gross"]) == ("quote", 10_000)
    assert together["netting_ratio"] == 1.0
    without = run_json(path, *arguments)
    assert {f["order_id"]: f["filled"] for f in without["rounds"][1]["fills"]} == {"market": 3, "edge": 3}


def test_orders_without_an_id_are_numbered_and_tables_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(HEADER + "A,buy,7,10.00\nB,sell,5,10.00\n")
    done = darkpool("run", str(path), "--profile", "insecure-test")
    assert done.returncode == 0, done.stderr
    assert "Round 1: 2 orders from 2 accounts; 5 lots at 10.00" in " ".join(done.stdout.split())
    assert "settled in 0x" in done.stdout
    assert "key ceremony" in done.stderr


@pytest.fixture(scope="module")
def bitstamp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bitstamp") / "orders.csv"
    done = darkpool("convert", "bitstamp", str(shared_file(BITSTAMP)), str(out))
    assert done.returncode == 0, done.stderr
    assert "300 read, 300 written" in done.stdout
    return out


def _check_bitstamp(path: Path, report: dict[str, Any]) -> None:
    """Conservation, and agreement with an auction computed here from the file itself."""
    tick = TickSize.parse("0.10")
    grid = Grid.centred(Quanta(tick.ticks("236.00")), Quanta(1), 64)
    rows = read_orders(path, tick)
    assert len({row.account for row in rows}) == 20
    placed = [(row, level) for row in rows if (level := place(row, grid)) is not OUTSIDE]
    reference = grid.level(Quanta(tick.ticks("236.00")))
    outcome = clear(
        [PlainOrder(r.account, r.side, level, r.quantity) for r, level in placed],
        64,
        reference,
        0,
        Lots(1),
    )
    assert outcome is not None
    (only,) = report["rounds"]
    assert only["orders"] == len(placed)
    assert only["price"] == tick.text(grid.first_tick + outcome.price)
    assert only["volume"] == outcome.volume
    assert [f["filled"] for f in only["fills"]] == list(outcome.fills)
    assert sum(n["base"] for n in only["nets"]) == 0
    assert sum(n["quote"] for n in only["nets"]) == 0
    bought: Counter[str] = Counter()
    for fill, (row, _) in zip(only["fills"], placed, strict=True):
        bought[row.account] += fill["filled"] * (1 if row.side == 0 else -1)
    assert {n["account"]: n["base"] for n in only["nets"] if n["base"]} == {
        a: b for a, b in bought.items() if b
    }
    assert len(report["settlements"]) == 1
    assert len(report["outside_band"]) == len(rows) - len(placed)


@pytest.mark.timeout(600)
def test_three_hundred_bitstamp_orders_settle_and_agree_with_the_plain_auction(bitstamp: Path) -> None:
    _check_bitstamp(bitstamp, run_json(bitstamp, "--reference", "236.00", "--tick", "0.10"))


@pytest.mark.slow
@pytest.mark.production
@pytest.mark.timeout(600)
def test_the_same_at_production_size(bitstamp: Path) -> None:
    done = darkpool("run", str(bitstamp), "--reference", "236.00", "--tick", "0.10", "--json", timeout=500)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["profile"] == "production"
    _check_bitstamp(bitstamp, report)


@pytest.mark.slow
@pytest.mark.production
@pytest.mark.timeout(300)
def test_the_demo_shows_who_saw_what() -> None:
    done = darkpool("demo", timeout=280)
    assert done.returncode == 0, done.stderr
    for word in ("Who saw what", "operator", "each member", "trader", "chain", "nullifier"):
        assert word in done.stdout

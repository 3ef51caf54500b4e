"""What is typed wrong is refused before anything is opened, with the field, what it is, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from darkpool.cli.app import app
from darkpool.cli.trader import show
from tests.client.test_commands import darkpool, refused

COLUMNS = ("id", "market", "side", "quantity", "price", "state", "filled", "remaining", "reference")
ROW = {
    "id": "12345",
    "market": "WETH-USDC",
    "side": "sell",
    "quantity": "1234.56",
    "price": "2000.05",
    "state": "unanswered",
    "filled": "1000.25",
    "remaining": "234.31",
    "reference": "desk-7",
}
HUGE = {**ROW, "id": "18446744073709551615", "quantity": "123456789012.01", "price": "98765432109.05"}


@pytest.mark.parametrize(
    "arguments,message,hint",
    [
        (("order", "submit", "short", "1"), "side: 'short' is neither buy nor sell", "order submit buy"),
        (("order", "submit", "BUY", "1"), "side: 'BUY'", "order submit buy"),
        (("order", "submit", "buy", "1,5"), "quantity: '1,5' is no plain decimal", "like 236.10"),
        (("order", "submit", "buy", "-1"), "quantity: '-1'", "like 236.10"),
        (("order", "submit", "buy", ""), "quantity: ''", "like 236.10"),
        (("order", "submit", "buy", "1" * 99), "quantity: '" + "1" * 40 + "'", "like 236.10"),
        (("order", "submit", "buy", "1", "-2000"), "price: '-2000'", "like 236.10"),
        (("order", "submit", "buy", "1", "2e3"), "price: '2e3'", "like 236.10"),
        (("order", "replace", "k1", "buy", "1"), "order id: 'k1' is none", "order status"),
        (("order", "replace", "1", "buy", "one"), "quantity: 'one'", "like 236.10"),
        (("order", "cancel", "-1"), "order id: '-1' is none", "order status"),
        (("order", "cancel", "1" * 21), "order id: '" + "1" * 21 + "'", "order status"),
        (("order", "status", "٣"), "order id: '٣'", "order status"),
        (("receipt", "check", "k1"), "order id: 'k1' is none", "order status"),
        (("deposit", "-5", "USDC"), "amount: '-5'", "like 236.10"),
        (("withdraw", "USDC", "1e3"), "amount: '1e3'", "like 236.10"),
    ],
)
def test_a_wrong_argument_is_named_with_what_to_write(
    arguments: tuple[str, ...], message: str, hint: str, tmp_path: Path
) -> None:
    error = refused(*arguments, "--home", tmp_path / "home")
    assert error.exit_code == 2
    assert error.message.startswith(message)
    assert hint in error.hint
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("order", "submit", "--bogus=secret", "buy", "1"),
        ("order", "submit", "buy", "--bogus", "1"),
        ("order", "submit", "buy", "1", "--bogus"),
        ("order", "replace", "--bogus", "buy", "1"),
        ("order", "status", "--bogus"),
        ("order", "cancel", "--bogus"),
        ("receipt", "check", "--bogus"),
        ("deposit", "5", "--bogus"),
        ("withdraw", "--bogus"),
    ],
)
def test_an_option_there_is_none_of_is_refused_where_an_argument_may_be_negative(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    error = refused(*arguments, "--home", tmp_path / "home")
    assert (error.exit_code, error.message) == (2, "--bogus: no such option")
    assert "--help" in error.hint


@pytest.mark.parametrize(
    "arguments",
    [
        ("order", "submit", "buy", "1", "2000", "--bogus"),
        ("order", "cancel", "3", "--bogus"),
        ("order", "cancel-all", "--bogus"),
        ("deposit", "5", "USDC", "--bogus"),
        ("balance", "--bogus"),
    ],
)
def test_and_where_none_may(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "--bogus" in done.output


def test_without_a_terminal_the_passphrase_is_asked_for_by_the_names_it_may_come_by(tmp_path: Path) -> None:
    done = darkpool("keygen", "--home", tmp_path / "home", passphrase=None)
    assert done.returncode == 2
    assert done.stderr.startswith("error: passphrase: none is given")
    assert "hint: set DARKPOOL_PASSPHRASE" in done.stderr
    assert "--passphrase-file" in done.stderr


# --- tables ---------------------------------------------------------------------------------------------


def table(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *rows: dict[str, str],
    columns: int = 80,
) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    show("Orders", rows, as_json=False, columns=COLUMNS)
    return capsys.readouterr().out.splitlines()


def test_orders_of_two_markets_fit_a_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = table(capsys, monkeypatch, ROW, {**ROW, "market": "WBTC-USDC", "reference": "x" * 43})
    assert max(map(len, lines)) <= 80
    for value in ROW.values():
        assert value in lines[3].split()
    assert sum(line.count("x") for line in lines) == 43


@pytest.mark.parametrize("columns", [80, 40, 1])
def test_no_number_or_state_is_ever_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    lines = table(capsys, monkeypatch, ROW, HUGE, {**HUGE, "reference": "y" * 43}, columns=columns)
    for row, line in zip((ROW, HUGE), lines[3:], strict=False):
        assert line.split() == [value for name, value in row.items() if name != "market"]
    assert sum(line.count("y") for line in lines) == "quantity".count("y") + 43


def test_a_table_of_other_columns_has_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    balance = {"token": "USDC", "balance": "10000", "free": "9000"}
    show("Balance", [balance], as_json=False, columns=[*balance])
    assert capsys.readouterr().out.splitlines()[3].split() == [*balance.values()]


def test_what_says_nothing_has_no_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    header = table(capsys, monkeypatch, {**ROW, "reference": ""})[1]
    assert header.split() == ["id", "side", "quantity", "price", "state", "filled", "left"]

"""The trader's commands without a venue: keys, backups, refusals in one line with a hint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from darkpool.cli.app import app
from darkpool.errors import DarkpoolError
from darkpool.keystore import Keystore
from darkpool.types import address_hex

ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "correct horse"


def darkpool(*arguments: str | Path, passphrase: str | None = PASSPHRASE) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DARKPOOL_")}
    if passphrase is not None:
        environment["DARKPOOL_PASSPHRASE"] = passphrase
    return subprocess.run(
        [sys.executable, "-c", "from darkpool.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        env={**environment, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "TERM": "dumb"},
        check=False,
    )


def refused(*arguments: str | Path) -> DarkpoolError:
    """The error that `main` renders and exits with, without a process of its own."""
    done = CliRunner().invoke(app, [*map(str, arguments)], env={"DARKPOOL_PASSPHRASE": PASSPHRASE})
    assert isinstance(done.exception, DarkpoolError), done.output
    assert done.stdout == ""
    return done.exception


def test_keygen_makes_a_keystore_and_its_backup_makes_the_same_again(tmp_path: Path) -> None:
    home, backup, copy = tmp_path / "home", tmp_path / "paper", tmp_path / "copy"
    made = darkpool("keygen", "--home", home, "--backup", backup, "--json")
    assert made.returncode == 0, made.stderr
    address = json.loads(made.stdout)["address"]
    secrets = [(backup / name).read_text().strip() for name in ("seed.hex", "key.hex")]
    for path in (home / "keystore.json", backup / "seed.hex", backup / "key.hex", home / "trader.json"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not any(secret in made.stdout + made.stderr for secret in secrets)
    assert json.loads((home / "trader.json").read_text())["next_nonce"] == 0
    files = ("--seed-file", backup / "seed.hex", "--key-file", backup / "key.hex")
    again = darkpool("keygen", "--home", copy, *files, "--json")
    assert json.loads(again.stdout)["address"] == address
    assert not (copy / "trader.json").exists()  # what was signed for is not known
    keystore = Keystore.open(copy / "keystore.json", PASSPHRASE)
    assert address_hex(keystore.address) == address
    assert [keystore.seed.hex(), keystore.private_key.hex()] == secrets


def test_a_keystore_is_never_overwritten(tmp_path: Path) -> None:
    assert darkpool("keygen", "--home", tmp_path / "home").returncode == 0
    again = darkpool("keygen", "--home", tmp_path / "home")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert "hint: " in again.stderr


@pytest.mark.parametrize(
    "text", ["", "00", "zz" * 32, "00" * 32, "ff" * 32, "11" * 31, "11" * 33, "11" * 32 + "\n" + "22" * 5000]
)
def test_a_secret_that_is_none_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    (tmp_path / "seed").write_text("11" * 32)
    files = ("--seed-file", tmp_path / "seed", "--key-file", tmp_path / "key")
    error = refused("keygen", "--home", tmp_path / "home", *files)
    assert error.exit_code == 2
    assert "11" * 8 not in error.rendered()
    assert not (tmp_path / "home" / "keystore.json").exists()


def test_one_secret_without_the_other_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seed").write_text("11" * 32)
    error = refused("keygen", "--home", tmp_path / "home", "--seed-file", tmp_path / "seed")
    assert "without its key" in error.message


def test_the_passphrase_comes_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "pass").write_text("battery staple\n")
    file = ("--passphrase-file", tmp_path / "pass")
    made = darkpool("keygen", "--home", tmp_path / "home", *file, passphrase=None)
    assert made.returncode == 0, made.stderr
    Keystore.open(tmp_path / "home" / "keystore.json", "battery staple")
    wrong = darkpool("balance", "--home", tmp_path / "home")
    assert wrong.returncode == 2
    assert "does not open it" in wrong.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("balance",),
        ("fills",),
        ("watch",),
        ("gateway", "--port", "1"),
        ("recover",),
        ("order", "status"),
        ("order", "submit", "buy", "1"),
        ("order", "cancel", "0"),
        ("order", "cancel-all"),
        ("order", "replace", "0", "buy", "1"),
        ("receipt", "check", "0"),
        ("deposit", "1", "USDC"),
        ("withdraw", "USDC"),
    ],
)
def test_without_a_keystore_every_command_says_what_to_do(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    error = refused(*arguments, "--home", tmp_path / "home")
    assert error.exit_code == 2
    assert "darkpool keygen" in error.hint


def test_a_url_that_is_no_venues_is_refused_and_not_shown(tmp_path: Path) -> None:
    assert darkpool("keygen", "--home", tmp_path / "home").returncode == 0
    for url in ("http://user:hunter2@127.0.0.1:9/x?y", "ftp://127.0.0.1", "127.0.0.1:8480", "http://"):
        error = refused("balance", "--home", tmp_path / "home", "--venue", url)
        assert error.exit_code == 2
        assert "hunter2" not in error.rendered()


@pytest.mark.parametrize(
    "arguments",
    [
        ("order", "submit", "buy"),
        ("order", "submit", "buy", "1", "--time-in-force", "ever"),
        ("order", "submit", "buy", "1", "--valid-until", "0"),
        ("gateway", "--port", "0"),
        ("gateway", "--workers", "0"),
    ],
)
def test_arguments_that_cannot_be_are_usage_errors(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert done.stdout == ""


COMMANDS = (
    ("keygen",),
    ("recover",),
    ("deposit",),
    ("withdraw",),
    ("balance",),
    ("fills",),
    ("watch",),
    ("gateway",),
    ("order", "submit"),
    ("order", "status"),
    ("order", "cancel"),
    ("order", "cancel-all"),
    ("order", "replace"),
    ("receipt", "check"),
)


def test_every_command_has_an_example_and_help_is_quick() -> None:
    for command in COMMANDS:
        shown = CliRunner().invoke(app, [*command, "--help"])
        assert shown.exit_code == 0
        assert f"Example: darkpool {' '.join(command)}" in shown.output
    started = time.monotonic()
    assert darkpool("order", "--help").returncode == 0
    assert time.monotonic() - started < 5

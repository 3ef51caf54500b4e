"""What the trader's commands share: where the folder is, who the venue is, the passphrase, tables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from darkpool.client.trader import Trader
    from darkpool.client.trader_home import TraderHome
    from darkpool.keystore import Keystore

MAX_FILE = 4096
DEFAULT_HOME = Path("~/.darkpool")
DEFAULT_VENUE = "http://127.0.0.1:8480"
DEFAULT_RPC = "http://127.0.0.1:8545"

_HEADERS = {"remaining": "left", "reference": "ref"}
_FOLDED = {"reference", "hash", "finding", "transaction", "purpose"}
_FOLD_WIDTH = 8
_GAP = 2

HomeOption = Annotated[
    Path, typer.Option("--home", help="The trader's folder.", envvar="DARKPOOL_HOME", show_envvar=True)
]
VenueOption = Annotated[str, typer.Option("--venue", help="URL of the venue.", envvar="DARKPOOL_VENUE_URL")]
CheckOption = Annotated[
    str | None,
    typer.Option("--rpc-url", help="Own node: checks the venue by the chain.", envvar="DARKPOOL_RPC_URL"),
]
ChainOption = Annotated[str, typer.Option("--rpc-url", help="Node of the chain.", envvar="DARKPOOL_RPC_URL")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="Holds the passphrase; else DARKPOOL_PASSPHRASE, or a prompt."),
]


def passphrase(file: Path | None, *, new: bool = False) -> str:
    """From the file, the environment, or the keyboard. Raises ConfigError."""
    from darkpool.errors import ConfigError

    if file is not None:
        return secret_text(file)
    found = os.environ.get("DARKPOOL_PASSPHRASE")
    if found is not None:
        return found
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(
            "passphrase: none is given, and there is no terminal to ask at",
            "set DARKPOOL_PASSPHRASE, or name a file that holds it with --passphrase-file",
        )
    given: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True)
    return given


def secret_text(path: Path) -> str:
    """The first line of a small file. Raises ConfigError, which shows nothing of it."""
    from darkpool.client.files import read_file
    from darkpool.errors import ConfigError

    data = read_file(path, MAX_FILE)
    if data is None:
        raise ConfigError(f"{path}: not found", "check the path")
    try:
        return data.decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not text", "check the path") from None


def home_of(folder: Path) -> TraderHome:
    """The trader's folder."""
    from darkpool.client.trader_home import TraderHome

    return TraderHome(folder.expanduser())


def opened(home: TraderHome, file: Path | None) -> Keystore:
    """The folder's keystore. Raises ConfigError if there is none, KeystoreError."""
    from darkpool.errors import ConfigError
    from darkpool.keystore import Keystore

    if not home.keystore.exists():
        raise ConfigError(f"{home.keystore}: no keystore", "run `darkpool keygen` first, or give --home")
    return Keystore.open(home.keystore, passphrase(file))


@contextmanager
def trader(
    folder: Path,
    venue: str,
    file: Path | None,
    *,
    rpc_url: str | None = None,
    read_only: bool = False,
    send: bool = True,
) -> Iterator[Trader]:
    """The trader at its venue. Raises as `Trader.open`."""
    from darkpool.client.trader import Trader

    home = home_of(folder)
    keystore = opened(home, file)
    with Trader.open(venue, home, keystore, rpc_url=rpc_url, read_only=read_only, send=send) as found:
        tell_set_aside(found.set_aside)
        yield found


def tell_set_aside(roots: Sequence[int]) -> None:
    """Say on stderr what is not renewed, if there is any, as the folder was opened without its past."""
    from darkpool.client.views import set_aside_text

    if roots:
        typer.echo(set_aside_text(roots), err=True)


def show(title: str, rows: Sequence[Mapping[str, object]], *, as_json: bool, columns: Sequence[str]) -> None:
    """Rows as a table of some of their columns, or all of it as one JSON list.

    Numbers and states are never cut, if need be the table is wider than the screen: only texts are folded. A
    market that is the same in all rows, and a reference that no row has, is left out.
    """
    if as_json:
        typer.echo(json.dumps(list(rows)))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    values = {c: ["" if row[c] is None else str(row[c]) for row in rows] for c in columns}
    if len(set(values.get("market", ()))) == 1:
        del values["market"]
    if not any(values.get("reference", ())):
        values.pop("reference", None)
    console = Console()
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    least = -_GAP
    for column, cells in values.items():
        header, folded = _HEADERS.get(column, column.replace("_", " ")), column in _FOLDED
        table.add_column(header, no_wrap=not folded, overflow="fold")
        longest = max(map(len, (header, *cells)))
        least += (min(longest, _FOLD_WIDTH) if folded else longest) + _GAP
    console.width = max(console.width, least)  # where there is less room numbers are cut, and nothing says so
    for row_cells in zip(*values.values(), strict=True):
        table.add_row(*map(Text, row_cells))
    console.print(table)


def say(view: Mapping[str, object], text: str, *, as_json: bool) -> None:
    """One result: a sentence, or its JSON object."""
    typer.echo(json.dumps(dict(view)) if as_json else text)

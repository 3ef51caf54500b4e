"""What the trader's commands share: where the folder is, who the venue is, the passphrase, tables."""

from __future__ import annotations

import json
import os
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
    if file is not None:
        return secret_text(file)
    found = os.environ.get("DARKPOOL_PASSPHRASE")
    if found is not None:
        return found
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
    folder: Path, venue: str, file: Path | None, *, rpc_url: str | None = None, read_only: bool = False
) -> Iterator[Trader]:
    """The trader at its venue. Raises as `Trader.open`."""
    from darkpool.client.trader import Trader

    home = home_of(folder)
    keystore = opened(home, file)
    with Trader.open(venue, home, keystore, rpc_url=rpc_url, read_only=read_only) as found:
        yield found


def show(title: str, rows: Sequence[Mapping[str, object]], *, as_json: bool, columns: Sequence[str]) -> None:
    """Rows as a table of some of their columns, or all of it as one JSON list."""
    if as_json:
        typer.echo(json.dumps(list(rows)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title)
    for column in columns:
        table.add_column(column.replace("_", " "))
    for row in rows:
        table.add_row(*(Text("" if row[column] is None else str(row[column])) for column in columns))
    Console().print(table)


def say(view: Mapping[str, object], text: str, *, as_json: bool) -> None:
    """One result: a sentence, or its JSON object."""
    typer.echo(json.dumps(dict(view)) if as_json else text)

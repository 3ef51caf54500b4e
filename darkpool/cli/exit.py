"""`darkpool exit`: everything out of the vault, with nobody there but the chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from darkpool.cli.options import JsonOption
from darkpool.cli.trader import (
    DEFAULT_HOME,
    DEFAULT_RPC,
    ChainOption,
    HomeOption,
    PassphraseOption,
    home_of,
    opened,
    passphrase,
    show,
)

if TYPE_CHECKING:
    from rich.progress import Progress

    from darkpool.client.exit import Done, Target
    from darkpool.client.vault_position import Position
    from darkpool.keystore import Keystore


def leave(
    vault: Annotated[
        str | None, typer.Option(help="Address of the vault. Default: where this folder's trader trades.")
    ] = None,
    keystore: Annotated[
        Path | None, typer.Option(help="A keystore file, instead of a trader's folder.")
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Also burn the nonces of orders that may still stand.")
    ] = False,
    cancel_up_to: Annotated[
        int | None, typer.Option(help="As --cancel, for all nonces below this.", min=1, max=2**64)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and end.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait for the vault's delay, and collect.")] = True,
    max_fee_gwei: Annotated[int, typer.Option(help="Most to offer per gas.", min=1, max=1_000_000)] = 200,
    home: HomeOption = DEFAULT_HOME,
    rpc_url: ChainOption = DEFAULT_RPC,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Leave: ask the vault for every token, wait, collect. Needs a node and the keystore, and no venue.

    It may be ended at any time: the same command goes on from what the chain says. docs/exit.md tells how to
    do it without this program.
    """
    from darkpool.client.exit import Exit
    from darkpool.client.exit_view import done_text, plan_view

    goal, secrets = _known(home, keystore, vault, cancel_up_to, passphrase_file)
    burn = cancel or cancel_up_to is not None
    leaving = Exit.open(rpc_url, secrets, goal, cancel=burn, max_fee_gwei=max_fee_gwei)
    found = leaving.position()
    plan = plan_view(goal, leaving.chain_id, found, cancel=burn)
    if not as_json:
        _show_plan(plan, goal, found, cancel=burn)
    if dry_run:
        if as_json:
            typer.echo(json.dumps(plan))
        return
    made: list[Done] = []
    with _Bar() as bar:

        def tell(done: Done) -> None:
            bar.end()
            made.append(done)
            typer.echo(done_text(done, found), err=as_json)

        after = leaving.run(found, tell, bar.waiting, wait=wait)
    _report(plan, found, after, made, as_json=as_json)


def _known(
    home: Path, keystore: Path | None, vault: str | None, cancel_up_to: int | None, file: Path | None
) -> tuple[Target, Keystore]:
    """What to leave, and with which keys. Raises ConfigError, KeystoreError."""
    from dataclasses import replace

    from darkpool.client.exit import target
    from darkpool.keystore import Keystore
    from darkpool.types import parse_address

    address = None if vault is None else parse_address(vault)
    if keystore is not None:
        secrets, goal = Keystore.open(keystore, passphrase(file)), target(None, address)
    else:
        folder = home_of(home)
        secrets, goal = opened(folder, file), target(folder, address)
    return (goal if cancel_up_to is None else replace(goal, mark=cancel_up_to)), secrets


def _show_plan(plan: dict[str, Any], goal: Target, found: Position, *, cancel: bool) -> None:
    from darkpool.client.exit_view import remarks

    typer.echo(f"vault {plan['vault']} on chain {plan['chain_id']}\naccount {plan['account']}\n")
    columns = ("token", "in_vault", "in_wallet", "requested", "ready")
    show("Tokens", plan["tokens"], as_json=False, columns=columns)
    for line in remarks(goal, found, cancel=cancel):
        typer.echo(line)
    if not plan["steps"]:
        typer.echo("nothing to do: the vault holds nothing of this account")
        return
    show("Steps", plan["steps"], as_json=False, columns=("at", "call"))
    typer.echo(f"gas: up to {plan['gas_cost']} ether; the account has {plan['ether']}\n")


def _report(
    plan: dict[str, Any], found: Position, after: Position, made: list[Done], *, as_json: bool
) -> None:
    """What was done and is left. Exits with 1 if the contract refused anything."""
    from darkpool.client.exit_view import done_view, holding_view, left_text

    if as_json:
        transactions = [done_view(done, found) for done in made]
        left = [holding_view(h) for h in after.holdings if h.balance]
        typer.echo(json.dumps({**plan, "transactions": transactions, "left": left}))
    else:
        for line in left_text(after):
            typer.echo(line)
    if any(done.receipt is None for done in made):
        raise typer.Exit(1)


class _Bar:
    """A bar on stderr while time is waited for, and no longer: it would mix with the lines on stdout."""

    def __init__(self) -> None:
        self._shown: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def waiting(self, left: int) -> None:
        """So many seconds are left."""
        from datetime import timedelta

        if self._shown is None:
            self._shown = self._started(left)
        (task,) = self._shown.tasks
        self._shown.update(task.id, completed=(task.total or left) - left, left=str(timedelta(seconds=left)))

    @staticmethod
    def _started(total: int) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        typer.echo("waiting for the vault's delay; if ended, the same command goes on from here", err=True)
        columns = (TextColumn("waiting"), BarColumn(), TextColumn("{task.fields[left]} left"))
        bars = Progress(*columns, console=Console(stderr=True), redirect_stdout=False)
        bars.add_task("", total=total, left="")
        bars.start()
        return bars

    def end(self) -> None:
        """Nothing is waited for."""
        if self._shown is not None:
            self._shown.stop()
        self._shown = None

"""The change of a vault's committee and guardian. Said on chain, so it needs no venue."""

from __future__ import annotations

import typer

from darkpool.cli.options import DEFAULT_FOLDER, FolderOption, JsonOption
from darkpool.cli.settling import attached
from darkpool.cli.trader import say

committee = typer.Typer(help="The change of the vault's committee and guardian.", no_args_is_help=True)


@committee.callback()
def _group() -> None:
    """Keep `activate` a command of its own, though it is the only one."""


@committee.command(epilog="Example: darkpool operator committee activate --data ./data")
def activate(data: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """Put the proposed committee and guardian into office, once the vault's delay has passed."""
    from darkpool.deployment import operator_key
    from darkpool.jsonfields import hex_text

    chain = attached(data)
    receipt = chain.activate_committee(operator_key(data))
    epoch, transaction = chain.epoch(), hex_text(receipt.tx_hash)
    view = {"epoch": epoch, "transaction": transaction, "block": receipt.block}
    say(view, f"committee {epoch}: in office, block {receipt.block}, {transaction}", as_json=as_json)

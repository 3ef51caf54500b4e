"""The guardian's word to the vault: whether it takes settlements. Said on chain, so it needs no venue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darkpool.cli.options import DEFAULT_FOLDER, FolderOption, JsonOption
from darkpool.cli.settle import private_key
from darkpool.cli.trader import say

if TYPE_CHECKING:
    from darkpool.chain import Chain

settling = typer.Typer(
    help="Pause or resume settling on chain, as the vault's guardian.", no_args_is_help=True
)

KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file", help="Holds the guardian's key, 64 hexadecimal digits. Default: the operator's key."
    ),
]


@settling.command(epilog="Example: darkpool operator settling pause --data ./data")
def pause(
    data: FolderOption = DEFAULT_FOLDER, key_file: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Make the vault refuse settlements. Nothing else stops; what waits longer than its window is void."""
    _say(data, key_file, paused=True, as_json=as_json)


@settling.command(epilog="Example: darkpool operator settling resume --data ./data")
def resume(
    data: FolderOption = DEFAULT_FOLDER, key_file: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Let the vault take settlements again."""
    _say(data, key_file, paused=False, as_json=as_json)


def attached(data: Path) -> Chain:
    """The vault of a venue's folder, on its chain. Raises ConfigError, ChainError."""
    from darkpool import devnet
    from darkpool.chain import Chain
    from darkpool.config import Settings
    from darkpool.deployment import Deployment
    from darkpool.errors import ConfigError

    deployment, settings = Deployment.load(data), Settings.load(data)
    if deployment is None:
        raise ConfigError(f"{data}: no venue lives here", "give its folder with --data")
    url = settings.chain.rpc_url or devnet.url_of(devnet.port_of(data))
    chain = Chain.rpc(url, settings.chain.finality_blocks)
    if chain.chain_id != deployment.chain_id:
        raise ConfigError(
            f"chain: its id is {chain.chain_id}, the venue lives on {deployment.chain_id}",
            "give its own node",
        )
    chain.attach(deployment.vault)
    return chain


def _say(data: Path, key_file: Path | None, *, paused: bool, as_json: bool) -> None:
    from darkpool.deployment import operator_key
    from darkpool.eip712 import address_of
    from darkpool.errors import ConfigError
    from darkpool.jsonfields import hex_text
    from darkpool.types import address_hex

    chain = attached(data)
    key = private_key(key_file) if key_file else operator_key(data)
    if address_of(key) != chain.guardian():
        raise ConfigError(
            f"guardian: the vault's is {address_hex(chain.guardian())}, this key is of"
            f" {address_hex(address_of(key))}",
            "give the guardian's key with --key-file",
        )
    word = "paused" if paused else "resumed"
    if chain.paused() == paused:
        say({"paused": paused, "transaction": None}, f"settling: {word} already", as_json=as_json)
        return
    receipt = chain.pause_settling(key) if paused else chain.resume_settling(key)
    transaction = hex_text(receipt.tx_hash)
    view = {"paused": paused, "transaction": transaction, "block": receipt.block}
    say(view, f"settling: {word}, block {receipt.block}, transaction {transaction}", as_json=as_json)

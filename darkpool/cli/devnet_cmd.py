"""`darkpool devnet`: a chain to settle on, with the vault and test tokens of a venue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.options import (
    DEFAULT_FOLDER,
    FolderOption,
    JsonOption,
    ProfileName,
    shown_progress,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from darkpool.config import Settings
    from darkpool.devnet_up import Devnet

devnet = typer.Typer(help="A development chain with the venue's vault and test tokens.", no_args_is_help=True)

EXAMPLE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8=1000:USDC"


@devnet.command(epilog=f"Example: darkpool devnet up --data ./data --mint {EXAMPLE}")
def up(
    data: FolderOption = DEFAULT_FOLDER,
    profile: Annotated[
        ProfileName | None, typer.Option(help="Security profile; fixed once the committee is dealt.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the chain, fixed at the first start.", min=1, max=65_535)
    ] = None,
    mint: Annotated[
        list[str] | None, typer.Option(help="ADDRESS=AMOUNT:TOKEN, test tokens to make; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start the chain of a data folder: committee, tokens and vault are made at the first start, and stay.

    It runs until Ctrl-C. `darkpool up` with the same folder settles on it.
    """
    import asyncio
    import contextlib

    from darkpool.config import Settings
    from darkpool.deployment import remember_options
    from darkpool.devnet_up import Grant, devnet_up

    grants = [Grant.parse(text) for text in mint or ()]
    overrides: dict[str, dict[str, Any]] = {"venue": {"profile": profile.value}} if profile else {}
    settings = remember_options(data, Settings.load(data, overrides), overrides)

    async def serve() -> None:
        with shown_progress() as progress:
            stack = contextlib.AsyncExitStack()
            running = await stack.enter_async_context(devnet_up(data, settings, grants, progress, port))
        async with stack:
            _announce(running, settings, data, mint or (), as_json=as_json)
            await running.supervisor.wait()

    asyncio.run(serve())


@devnet.command("mint", epilog=f"Example: darkpool devnet mint {EXAMPLE}")
def mint_(
    grants: Annotated[list[str], typer.Argument(help="ADDRESS=AMOUNT:TOKEN, one or more.")],
    data: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Make test tokens for addresses, and give each an ether for gas."""
    from darkpool.cli.trader import say
    from darkpool.config import Settings
    from darkpool.devnet_up import Grant, mint

    url = mint(data, Settings.load(data), [Grant.parse(text) for text in grants])
    say({"chain": url, "minted": grants}, f"minted {', '.join(grants)}", as_json=as_json)


def _announce(
    running: Devnet, settings: Settings, data: Path, minted: Sequence[str], *, as_json: bool
) -> None:
    from rich.console import Console
    from rich.table import Table

    from darkpool.deployment import operator_key
    from darkpool.eip712 import address_of
    from darkpool.types import address_hex

    found = running.deployment
    facts: dict[str, Any] = {
        "chain": running.rpc_url,
        "chain id": found.chain_id,
        "vault": address_hex(found.vault),
        **{
            f"token {token.symbol}": address_hex(address)
            for token, address in zip(settings.token, found.tokens, strict=True)
        },
        **{f"member {i}": address_hex(address) for i, address in found.signers.addresses.items()},
        "operator": address_hex(address_of(operator_key(data))),
    }
    if as_json:
        typer.echo(json.dumps({**facts, "minted": list(minted), "processes": running.supervisor.pids}))
        return
    table = Table(title="The devnet is up", show_header=False)
    for name, value in facts.items():
        table.add_row(name, str(value))
    for text in minted:
        table.add_row("minted", text)
    console = Console()
    console.print(table)
    console.print(
        f"next, in another terminal: darkpool up --flow --data {data}     (Ctrl-C here ends the chain)",
        soft_wrap=True,
    )

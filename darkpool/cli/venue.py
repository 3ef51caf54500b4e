"""`darkpool up`: a whole venue on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.options import DEFAULT_FOLDER, FolderOption, JsonOption, ProfileName, shown_progress

if TYPE_CHECKING:
    from darkpool.config import Settings
    from darkpool.services import Running


def up(
    data: FolderOption = DEFAULT_FOLDER,
    profile: Annotated[
        ProfileName | None, typer.Option(help="Security profile; fixed once the committee is dealt.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API.", min=1, max=65_535)] = None,
    flow: Annotated[
        bool,
        typer.Option("--flow", help="With two desks that trade at random, to have someone to trade with."),
    ] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print a darkpool.toml with every default, and end.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a whole venue on this machine: chain, committee, API, rounds that run by themselves.

    Everything lies in the data folder, and goes on from there at the next start.
    """
    import asyncio
    import contextlib

    from darkpool.config import example
    from darkpool.services import up as start

    if print_config:
        typer.echo(example(), nl=False)
        return
    settings = _settings(data, profile, port)

    async def serve() -> None:
        with shown_progress() as progress:
            stack = contextlib.AsyncExitStack()
            running = await stack.enter_async_context(start(data, settings, progress, flow=flow))
        async with stack:
            _announce(running, data, as_json=as_json)
            await running.wait()

    asyncio.run(serve())


def _settings(data: Path, profile: ProfileName | None, port: int | None) -> Settings:
    """Of the folder, with the options written into its darkpool.toml if there is none yet."""
    from darkpool.config import Settings
    from darkpool.deployment import remember_options

    overrides: dict[str, dict[str, Any]] = {}
    if profile is not None:
        overrides["venue"] = {"profile": profile.value}
    if port is not None:
        overrides["api"] = {"port": port}
    return remember_options(data, Settings.load(data, overrides), overrides)


def _announce(running: Running, data: Path, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from darkpool.cli.trader import DEFAULT_RPC, DEFAULT_VENUE
    from darkpool.types import address_hex

    facts = {
        "api": running.api,
        "chain": running.rpc_url,
        "chain id": str(running.deployment.chain_id),
        "vault": address_hex(running.deployment.vault),
        "data": str(data.resolve()),
    }
    if as_json:
        typer.echo(json.dumps({**facts, "processes": running.pids}))
        return
    table = Table(title="The venue is up", show_header=False)
    for name, value in facts.items():
        table.add_row(name, value)
    for name, pid in running.pids.items():
        table.add_row(name, f"process {pid}")
    console = Console()
    console.print(table)
    given = {
        "DARKPOOL_VENUE_URL": (running.api, DEFAULT_VENUE),
        "DARKPOOL_RPC_URL": (running.rpc_url, DEFAULT_RPC),
    }
    for name, (url, default) in given.items():
        if url != default:
            console.print(f"traders need: export {name}={url}")
    console.print("next, in another terminal: darkpool keygen     (Ctrl-C here ends the venue)")

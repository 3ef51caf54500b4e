"""`darkpool verify`: a round recomputed by anybody, from what is public."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.options import JsonOption, shown_progress
from darkpool.cli.trader import DEFAULT_VENUE, CheckOption, VenueOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compliance.audit_outcome import Check
    from compliance.round_file import RoundFile


def verify(
    market: Annotated[str, typer.Argument(help="Name of the market; not with --file.")] = "",
    number: Annotated[int, typer.Argument(help="Number of the round.", min=0)] = 0,
    file: Annotated[Path | None, typer.Option(help="Verify this file, off-line.")] = None,
    save: Annotated[Path | None, typer.Option(help="Keep everything in this file, for anybody.")] = None,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: CheckOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a round from public data alone: list, orders, proofs, result, settlement, chain.

    Says what rests on trust in the committee. Exit code 0: all holds; 1: not everything can be verified yet;
    3: something does not hold, and whose fault it is.
    """
    from compliance.round_verify import exit_code, verify_round
    from darkpool.client.files import write_file

    found = _read(file) if file is not None else _gathered(market, number, venue)
    if rpc_url is not None:
        from compliance.round_client import on_chain

        found = on_chain(found, rpc_url)
    if save is not None:
        write_file(save, found.encode())
    with shown_progress() as progress:
        progress("verifying proofs", 0, len(found.orders))
        checks = verify_round(found)
    _show(found, checks, as_json=as_json)
    raise typer.Exit(exit_code(checks))


def _gathered(market: str, number: int, venue: str) -> RoundFile:
    from compliance.round_client import RoundClient
    from darkpool.client.shells import Blocking
    from darkpool.errors import ConfigError

    if not market or not number:
        raise ConfigError("verify: which round?", "darkpool verify WETH-USDC 5, or --file FILE")
    with shown_progress() as progress, Blocking(venue) as shell:
        client = RoundClient(lambda done, of: progress("orders", done, of))
        return shell.run(client.gather(market, number))


def _read(path: Path) -> RoundFile:
    """A file, without what its maker says of the chain: a node of one's own says that (`--rpc-url`).

    Raises ConfigError if there is none, PeerFault naming the field that is malformed.
    """
    from dataclasses import replace

    from commitments.errors import CommitmentsError
    from compliance.round_file import MAX_FILE, RoundFile
    from darkpool.client.files import read_file
    from darkpool.errors import ConfigError, PeerFault

    data = read_file(path, MAX_FILE)
    if data is None:
        raise ConfigError(f"{path}: not found", "check the path, or make it with `darkpool verify --save`")
    try:
        return replace(RoundFile.decode(data), chain="")
    except CommitmentsError as error:
        raise PeerFault(f"{path}: no file of a round: {error}", "take the original") from None


def _show(file: RoundFile, checks: Sequence[Check], *, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from compliance.audit_outcome import Outcome
    from compliance.round_verify import ON_TRUST, exit_code

    row = file.subject
    title = f"round {row.number} of {file.infos[row.market].name}" if row.market in file.infos else "round"
    if as_json:
        lines: list[dict[str, Any]] = [
            {"check": c.name, "what": c.what, "count": c.count, "result": c.outcome.value}
            | ({"problem": c.problem} if c.problem else {})
            | ({"by": c.by} if c.by else {})
            for c in checks
        ]
        view = {"round": row.number, "market": f"0x{row.market.hex()}", "checks": lines}
        typer.echo(json.dumps({**view, "on_trust": ON_TRUST, "exit_code": exit_code(checks)}))
        return
    table = Table(title=title)
    for column in ("check", "what", "count", "result"):
        table.add_column(column, overflow="fold")
    for check in checks:
        result = check.outcome.value + (f", by {check.by}" if check.by else "")
        if check.outcome is not Outcome.HOLDS and check.problem:
            result += f": {check.problem}"
        table.add_row(check.name, check.what, str(check.count), result)
    console = Console()
    console.print(table)
    console.print("on trust in 2t+1 members of the committee:")
    for text in ON_TRUST:
        console.print(f"  {text}")

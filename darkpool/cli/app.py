"""The commands. Each imports what it needs when it runs, so that `--help` stays quick."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from darkpool.cli import (
    audit,
    authority,
    compliance_cmd,
    credential,
    devnet_cmd,
    disclose,
    log,
    member,
    operator,
    policy,
    predicate,
    settle,
    trade,
    venue,
    verify,
)
from darkpool.cli.committee import committee
from darkpool.cli.contest import contest
from darkpool.cli.exit import leave
from darkpool.cli.options import FaultName, ProfileName, shown_progress
from darkpool.cli.refute import refute

app = typer.Typer(
    name="darkpool",
    help="A dark pool whose operator cannot look: hidden orders, a threshold committee, net settlement.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
convert = typer.Typer(help="Turn recorded order flow into order files.", no_args_is_help=True)
app.add_typer(convert, name="convert")
app.add_typer(audit.audit, name="audit")
app.add_typer(credential.credential, name="credential")
app.add_typer(disclose.disclose, name="disclose")
app.add_typer(log.log, name="log")
app.add_typer(member.member, name="member")
app.add_typer(operator.operator, name="operator")
app.add_typer(policy.policy, name="policy")
app.add_typer(settle.settle, name="settle")
app.add_typer(devnet_cmd.devnet, name="devnet")
committee.command(
    epilog="Example: darkpool operator committee deal alice.json bob.json carol.json dave.json --out ./dealt"
)(member.deal)
committee.command(
    epilog="Example: darkpool operator committee replace committee.json 3 erin.json --out next.json"
)(member.replace)
authority.register(audit.audit)
predicate.register(disclose.disclose, audit.audit)
trade.register(app)
app.command("verify", epilog="Example: darkpool verify WETH-USDC 5 --rpc-url http://127.0.0.1:8545")(
    verify.verify
)
compliance_cmd.register(app, policy.policy, operator.operator, credential.credential)
app.command(epilog="Example: darkpool contest 17 --dry-run")(contest)
app.command(epilog="Example: darkpool refute --watch")(refute)
app.command("exit", epilog="Example: darkpool exit --dry-run")(leave)
app.command(epilog="Example: darkpool up --data ./data --profile production")(venue.up)


@app.command(
    epilog="Example: darkpool run orders.csv --reference 236.10 --tick 0.10 --per-round 100 --renew --json"
)
def run(
    orders: Annotated[
        Path, typer.Argument(help="CSV with the header account,side,quantity,limit_price[,order_id].")
    ],
    reference: Annotated[
        str | None, typer.Option(help="Price the grid is centred on. Default: the median limit of the file.")
    ] = None,
    tick: Annotated[str, typer.Option(help="Price step.")] = "0.01",
    levels: Annotated[int, typer.Option(help="Price levels of the grid.", min=2, max=256)] = 64,
    pressure_ticks: Annotated[
        int, typer.Option(help="L of the auction rule; 0 stays nearest the reference.", min=0, max=256)
    ] = 0,
    per_round: Annotated[
        int | None, typer.Option(help="New orders per round. Default: all in one.", min=1)
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Re-submit what is left of orders of a crossing round.")
    ] = False,
    min_volume: Annotated[
        int, typer.Option(help="Least lots a round must cross to reveal anything else.", min=1)
    ] = 1,
    window: Annotated[
        int, typer.Option(help="Crossing rounds netted into one settlement.", min=1, max=8)
    ] = 1,
    profile: Annotated[ProfileName, typer.Option(help="Security profile.")] = ProfileName.PRODUCTION,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Seal, cross, clear and settle a file of orders, and check the result against a plain auction."""
    from rich.console import Console

    from commitments.params import PROFILES
    from darkpool import report
    from darkpool.plan import Options
    from darkpool.run import run_file

    options = Options(
        tick, PROFILES[profile.value], reference, levels, pressure_ticks, per_round, renew, min_volume, window
    )
    with shown_progress() as progress:
        done = run_file(orders, options, progress)
    if as_json:
        typer.echo(json.dumps(report.as_json(done)))
    else:
        Console().print(report.as_tables(done))


@app.command(epilog="Example: darkpool demo --faulty-member 2 --fault wrong-partial")
def demo(
    faulty_member: Annotated[
        int | None, typer.Option(help="Which of four members is faulty. Default: three, all honest.")
    ] = None,
    fault: Annotated[
        FaultName | None, typer.Option(help="What is wrong with it. Default: wrong-partial.")
    ] = None,
) -> None:
    """Sixty hidden orders of eight desks at production size: who saw what, side by side."""
    from rich.console import Console

    from darkpool.demo import FAULT_MEMBERS, demonstrate, demonstrate_fault

    if fault is not None and faulty_member is None:
        raise typer.BadParameter("name the member too, with --faulty-member", param_hint="--fault")
    if faulty_member is not None and not 1 <= faulty_member <= FAULT_MEMBERS:
        raise typer.BadParameter(
            f"{faulty_member} is outside 1 to {FAULT_MEMBERS}", param_hint="--faulty-member"
        )
    with shown_progress() as progress:
        if faulty_member is None:
            shown = demonstrate(progress)
        else:
            shown = demonstrate_fault(progress, faulty_member, (fault or FaultName.WRONG_PARTIAL).value)
    Console().print(shown)


@convert.command(
    epilog="Example: darkpool convert bitstamp recording.csv orders.csv --first 300 --accounts 20"
)
def bitstamp(
    recording: Annotated[
        Path, typer.Argument(help="CSV: order_id,timestamp_ms,side,price_usd,volume_satoshi.")
    ],
    out: Annotated[Path, typer.Argument(help="Order file to write.")],
    first: Annotated[int, typer.Option(help="Orders to read.", min=1)] = 300,
    accounts: Annotated[int, typer.Option(help="Accounts to deal them to.", min=1)] = 20,
    lot: Annotated[str, typer.Option(help="Coins per lot.")] = "0.01",
    tick: Annotated[str, typer.Option(help="Price step in USD.")] = "0.10",
) -> None:
    """Turn the first orders of a Bitstamp book recording into an order file."""
    from darkpool.orderfile import convert_bitstamp

    done = convert_bitstamp(recording, out, first, accounts, lot, tick)
    typer.echo(
        f"{done.read} read, {done.written} written to {out}; "
        f"left out: {done.under_one_lot} under one lot, {done.under_one_tick} under one tick"
    )

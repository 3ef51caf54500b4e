"""Jurisdiction policies from the command line: check, explain, test, diff, hash.

What is applied to a running venue is in compliance_cmd.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.options import JsonOption
from darkpool.cli.policy_explain import FolderArgument, explain

if TYPE_CHECKING:
    from compliance.policy import Policy

policy = typer.Typer(help="Who may trade what where: jurisdiction policies.", no_args_is_help=True)

_MAX_RECORDS_BYTES = 1 << 30

policy.command(
    epilog="Example: darkpool policy explain examples/policies/eu --account 0x… --market WETH-USDC "
    "--jurisdiction DE --class professional --issuer example-kyc"
)(explain)


@policy.command(epilog="Example: darkpool policy check examples/policies/eu")
def check(
    folder: FolderArgument,
    cedar: Annotated[bool, typer.Option("--cedar", help="Print schema and rules in Cedar.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Validate a policy: files, names, lists, rules, schema."""
    from compliance.cedar_rules import schema_text
    from compliance.policy import Policy

    found = Policy.load(folder)
    if as_json:
        text = {"schema": schema_text(found.config), "rules": found.engine.text} if cedar else {}
        typer.echo(json.dumps({**_summary(found), **text}))
    elif cedar:
        typer.echo(f"{schema_text(found.config)}\n\n{found.engine.text}", nl=False)
    else:
        summary = _summary(found)
        lists = ", ".join(f"{n} ({e['entries']})" for n, e in summary["lists"].items()) or "none"
        typer.echo(
            f"valid: policy {found.config.id} version {found.config.version}, {summary['hash']}\n"
            f"{len(found.config.markets)} markets, {len(found.config.jurisdictions)} jurisdictions, "
            f"{summary['rules']} rules, {len(found.config.auditors)} auditors; lists: {lists}"
        )


@policy.command("hash", epilog="Example: darkpool policy hash examples/policies/eu")
def hash_(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """The hash that orders are bound to, and the versions of the lists."""
    from compliance.policy import Policy

    summary = _summary(Policy.load(folder))
    typer.echo(json.dumps(summary) if as_json else summary["hash"])


@policy.command("test", epilog="Example: darkpool policy test examples/policies/eu")
def run_cases(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Decide the cases of tests.csv and compare with what they expect."""
    from compliance import policy_cases
    from compliance.policy import Policy
    from darkpool.client.files import read_file
    from darkpool.errors import ConfigError

    found, path = Policy.load(folder), folder / policy_cases.FILE
    data = read_file(path, policy_cases.MAX_BYTES)
    if data is None:
        raise ConfigError(f"{path}: not found", "write a table of cases beside the policy")
    outcomes = policy_cases.run_cases(found, policy_cases.read_cases(found, path, data))
    failed = [outcome for outcome in outcomes if outcome.failures]
    if as_json:
        rows = [{"line": o.case.line, "name": o.case.name, "failures": o.failures} for o in outcomes]
        typer.echo(json.dumps({"cases": rows, "passed": len(outcomes) - len(failed), "failed": len(failed)}))
    else:
        for outcome in failed:
            typer.echo(
                f"{path}, line {outcome.case.line}: {outcome.case.name}: {'; '.join(outcome.failures)}"
            )
        typer.echo(f"{len(outcomes) - len(failed)} passed, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)


@policy.command(epilog="Example: darkpool policy diff old new --decisions decisions.jsonl")
def diff(
    old: Annotated[Path, typer.Argument(help="Folder of the policy in force.", show_default=False)],
    new: Annotated[Path, typer.Argument(help="Folder of the one to come.", show_default=False)],
    decisions: Annotated[
        Path | None, typer.Option(help="Recorded decisions, one JSON object a line: decide them anew.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What a new version changes, in its text and for recorded decisions."""
    from compliance.policy import Policy
    from compliance.policy_diff import changes, effects, read_records
    from darkpool.client.files import read_file
    from darkpool.errors import ConfigError

    before, after = Policy.load(old), Policy.load(new)
    found, records = [*changes(before, after)], []
    if decisions is not None:
        data = read_file(decisions, _MAX_RECORDS_BYTES)
        if data is None:
            raise ConfigError(f"{decisions}: not found", "check the path")
        records = read_records(str(decisions), data)
    shifted = [*effects(before, after, records)]
    released = sum(effect.released for effect in shifted)
    if as_json:
        document = {
            "old": _summary(before),
            "new": _summary(after),
            "changes": [{"kind": c.kind, "name": c.name, "what": c.what, "detail": c.detail} for c in found],
            "decisions": len(records),
            "released": released,
            "effects": [
                {"line": e.line, "what": e.what, "old": e.old.as_json(), "new": e.new.as_json()}
                for e in shifted
            ],
        }
        typer.echo(json.dumps(document))
        return
    typer.echo("\n".join(map(str, found)) or "no change")
    for effect in shifted:
        who = effect.old.request.as_json()
        rules = f"{' '.join(effect.old.rules)} -> {' '.join(effect.new.rules)}"
        typer.echo(f"line {effect.line}: {who['account']} in {who['market']}: {effect.what} ({rules})")
    if decisions is not None:
        typer.echo(f"{len(records)} decisions, {len(shifted)} differ, {released} standing orders would go")


def _summary(found: Policy) -> dict[str, Any]:
    lists = {
        each.name: {"kind": each.kind, "entries": len(each.entries), "version": "0x" + each.version.hex()}
        for each in found.lists
    }
    return {
        "id": found.config.id,
        "version": found.config.version,
        "hash": "0x" + found.hash.hex(),
        "note": found.config.note,
        "rules": len(found.config.rules) + len(found.written),
        "lists": lists,
    }

"""Compliance at a running venue: policies applied, blocks, credentials presented, what an account may do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.operator import call
from darkpool.cli.options import DEFAULT_FOLDER, FolderOption, JsonOption
from darkpool.cli.policy_explain import FolderArgument
from darkpool.cli.trader import (
    DEFAULT_HOME,
    DEFAULT_VENUE,
    HomeOption,
    PassphraseOption,
    VenueOption,
    say,
    show,
    trader,
)

if TYPE_CHECKING:
    from compliance.policy import Policy

KindArgument = Annotated[str, typer.Argument(help="market, jurisdiction, account or issuer.")]
SubjectArgument = Annotated[str, typer.Argument(help="Name of the market, ISO 3166 code, or address.")]
ReasonArgument = Annotated[str, typer.Argument(help="Why; traders read it.")]

_DECISIONS = 1000


# --- policies ---------------------------------------------------------------------------------------


def apply(
    folder: FolderArgument,
    data: FolderOption = DEFAULT_FOLDER,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a policy in force at the running venue: say what it changes, ask, apply."""
    from binascii import b2a_base64

    from compliance.policy import Policy

    new = Policy.load(folder)
    _tell_changes(new, data)
    if not yes:
        _ask(f"Put policy {new.config.id} version {new.config.version} in force?")
    files = {name: b2a_base64(each, newline=False).decode() for name, each in new.files.items()}
    done = call(data, "POST", "/v1/operator/policies", {"files": files})
    summary = done["policy"]
    text = f"in force: policy {summary['id']} version {summary['version']}, {summary['hash']}\n"
    text += f"{done['released']} standing orders released"
    if done["waiting"]:
        text += f"; after their sealed round follow: {', '.join(done['waiting'])}"
    say(done, text, as_json=as_json)


def _tell_changes(new: Policy, data: Path) -> None:
    """On stderr: what is other than in the policy in force, and what that does to the latest decisions."""
    from compliance.policy_diff import changes, effects

    old = _in_force(data)
    if old is None:
        typer.echo("no policy is in force yet", err=True)
        return
    typer.echo("\n".join(map(str, changes(old, new))) or "no change", err=True)
    records = _decisions(data)
    shifted = list(effects(old, new, records))
    for effect in shifted[:10]:
        who = effect.old.request.as_json()
        typer.echo(f"{who['account']} in {who['market']}: {effect.what}", err=True)
    released = sum(effect.released for effect in shifted)
    typer.echo(
        f"of the last {len(records)} decisions {len(shifted)} would differ; {released} such orders would go",
        err=True,
    )


def _in_force(data: Path) -> Policy | None:
    from compliance.policy_files import policy_of
    from darkpool.errors import OrderRefused

    try:
        current = call(data, "GET", "/v1/policies/current")
    except OrderRefused as refused:
        if refused.code != "policy-unknown":
            raise
        return None
    return policy_of(call(data, "GET", f"/v1/policies/{current['hash']}")["files"])


def _decisions(data: Path) -> list[tuple[int, Any]]:
    """Requests of the latest decisions on record, with their places in the audit log."""
    from compliance.audit_log import logged
    from compliance.audit_record import Kind
    from compliance.policy_decision import Request
    from darkpool.config import Settings
    from darkpool.store.audit_store import AuditFilter, AuditStore
    from darkpool.store.database import Database

    database = Database.as_it_is(Settings.load(data).database_url(data))
    try:
        rows = AuditStore(database).latest(AuditFilter(kind=Kind.DECISION), _DECISIONS)
    finally:
        database.close()
    found = []
    for entry in map(logged, rows):
        decision = entry.record.body["decision"]
        if isinstance(decision, dict):
            found.append((entry.sequence, Request.from_json(decision["request"])))
    return found


def _ask(question: str) -> None:
    import sys

    from darkpool.errors import ConfigError

    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask at", "give --yes")
    typer.confirm(question, abort=True, err=True)


def status(data: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """The policy in force, and what is blocked."""
    current, blocks = call(data, "GET", "/v1/policies/current"), call(data, "GET", "/v1/operator/blocks")
    from datetime import UTC, datetime

    since = datetime.fromtimestamp(current["applied_at"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [
        f"policy {current['id']} version {current['version']}, {current['hash']}",
        f"in force since {since}: {current['note']}",
        f"markets {', '.join(current['markets'])}; segments {', '.join(current['segments']) or 'none'}",
        f"auditors {', '.join(a['name'] for a in current['auditors']) or 'none'}",
        f"issuers {', '.join(i['name'] for i in current['issuers']) or 'none'}",
        *(f"blocked: {b['kind']} {b['subject']}: {b['reason']}" for b in blocks),
    ]
    say({**current, "blocks": blocks}, "\n".join(lines), as_json=as_json)


def auditor(
    name: Annotated[str, typer.Argument(help="As the policy will call the auditor.")],
    keystore: Annotated[Path, typer.Option(help="The auditor's keystore.", show_default=False)],
    title: Annotated[str, typer.Option(help="For people.")] = "",
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """The auditor's table for the venue's policy.toml: its key there, and a proof that it holds it."""
    from commitments.auditor_key import KeyContext
    from compliance.auditor_keys import auditor_table, registered
    from darkpool.cli.trader import passphrase
    from darkpool.client.shells import Blocking
    from darkpool.client.venue_api import VenueApi
    from darkpool.keystore import Keystore

    found = Keystore.open(keystore, passphrase(passphrase_file))
    with Blocking(venue) as shell:
        api = VenueApi()
        terms = shell.run(api.market(shell.run(api.markets())[0].id)).terms
    context = KeyContext(terms.chain_id, terms.contract, terms.venue, name)
    done = registered(found.seed, context)
    table = auditor_table(name, title or name, found.address, done)
    view = {"name": name, "key": "0x" + done.key.encode().hex(), "proof": "0x" + done.encode().hex()}
    say(view, table, as_json=as_json)


# --- blocks -----------------------------------------------------------------------------------------


def block(
    kind: KindArgument,
    subject: SubjectArgument,
    reason: ReasonArgument,
    data: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Stop a market, jurisdiction, account or issuer: no new orders, and those that stand leave."""
    body = {"kind": kind, "subject": subject, "reason": reason}
    done = call(data, "POST", "/v1/operator/block", body)
    say(done, f"blocked: {kind} {subject}; {done['released']} orders released", as_json=as_json)


def unblock(
    kind: KindArgument,
    subject: SubjectArgument,
    reason: ReasonArgument,
    data: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Lift a block."""
    body = {"kind": kind, "subject": subject, "reason": reason}
    left = call(data, "POST", "/v1/operator/unblock", body)
    say({"blocks": left}, f"{kind} {subject} is free; {len(left)} blocks left", as_json=as_json)


def blocks(data: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """What is stopped, and why."""
    rows = call(data, "GET", "/v1/operator/blocks")
    show("Blocks", rows, as_json=as_json, columns=("kind", "subject", "reason"))


def mass_cancel(
    market: Annotated[str, typer.Argument(help="Name of the market, without a segment.")],
    reason: ReasonArgument,
    data: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Release every unsealed order of a market, in all its segments."""
    from urllib.parse import quote

    from darkpool.errors import ConfigError

    if "/" in market:
        raise ConfigError(
            "market: named with its segment", f"name {market.partition('/')[0]}: it is for all of them"
        )
    path = f"/v1/operator/markets/{quote(market, safe='')}/mass-cancel"
    done = call(data, "POST", path, {"reason": reason})
    say(done, f"{done['released']} orders released", as_json=as_json)


# --- accounts and issuers ---------------------------------------------------------------------------


def present(
    file: Annotated[Path, typer.Argument(help="The credential, as its issuer gave it.", show_default=False)],
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Present your own credential to the venue, in place of the one before."""
    from compliance.credentials import Credential
    from darkpool.cli.credential import read

    data = read(file)
    claim = Credential.from_bytes(data).claim
    with trader(home, venue, passphrase_file, read_only=True) as found:
        found.present(data)
    view = {"jurisdiction": claim.jurisdiction, "class": claim.investor_class, "expires": claim.expires}
    text = f"presented: {claim.jurisdiction}, {claim.investor_class}; `darkpool access` says what it allows"
    say(view, text, as_json=as_json)


def publish_revocations(
    file: Annotated[Path, typer.Argument(help="The issuer's revocation list.", show_default=False)],
    venue: VenueOption = DEFAULT_VENUE,
    as_json: JsonOption = False,
) -> None:
    """Hand an issuer's newest revocation list to a venue."""
    from darkpool.cli.credential import read, read_revocations
    from darkpool.client.shells import Blocking
    from darkpool.client.venue_api import VenueApi

    held = read_revocations(file)
    with Blocking(venue) as shell:
        shell.run(VenueApi().publish(read(file)))
    view = {"sequence": held.sequence, "serials": len(held.serials)}
    say(view, f"list {held.sequence} is taken, {len(held.serials)} revoked", as_json=as_json)


def access(
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """In which markets you may trade by the policy in force, and why or why not."""
    from darkpool.jsonfields import hex_text

    with trader(home, venue, passphrase_file, read_only=True) as found:
        rows = [
            {
                "market": each.market,
                "allowed": each.allowed,
                "segment": each.segment,
                "finding": " ".join(sentence for _, sentence in each.reasons),
                "rules": [rule for rule, _ in each.reasons],
                "auditor_keys": [hex_text(key.encode()) for key in each.auditor_keys],
                "policy_hash": hex_text(each.policy_hash),
            }
            for each in found.access()
        ]
    show("Access", rows, as_json=as_json, columns=("market", "allowed", "segment", "finding"))


def register(app: typer.Typer, policy: typer.Typer, operator: typer.Typer, credential: typer.Typer) -> None:
    """Make these commands part of the command line."""
    for group, name, command, example in (
        (policy, "apply", apply, "policy apply ./policy --data ./data"),
        (policy, "status", status, "policy status --data ./data"),
        (policy, "auditor", auditor, "policy auditor examiner --keystore auditor.json >> policy/policy.toml"),
        (operator, "block", block, 'operator block account 0x… "court order 7/2026"'),
        (operator, "unblock", unblock, 'operator unblock account 0x… "lifted"'),
        (operator, "blocks", blocks, "operator blocks"),
        (operator, "mass-cancel", mass_cancel, 'operator mass-cancel WETH-USDC "wrong reference"'),
        (credential, "present", present, "credential present credential.json"),
        (credential, "publish-revocations", publish_revocations, "credential publish-revocations list.json"),
        (app, "access", access, "access"),
    ):
        group.command(name, epilog=f"Example: darkpool {example}")(command)

"""`darkpool policy explain`: one decision, its deciding rules, and the facts they rest on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darkpool.cli.options import JsonOption

if TYPE_CHECKING:
    from compliance.policy import Policy
    from compliance.policy_decision import Decision, Request
    from darkpool.types import Address

FolderArgument = Annotated[Path, typer.Argument(help="Folder of the policy.", show_default=False)]


def explain(
    folder: FolderArgument,
    account: Annotated[str, typer.Option(help="Whose order.", show_default=False)],
    market: Annotated[str, typer.Option(help="In which market.", show_default=False)],
    credential: Annotated[Path | None, typer.Option(help="The account's credential.")] = None,
    revocations: Annotated[
        list[Path] | None, typer.Option(help="An issuer's revocation list; repeat it for several.")
    ] = None,
    chain_id: Annotated[int | None, typer.Option(help="Chain that the credential is for.", min=1)] = None,
    contract: Annotated[str, typer.Option(help="Vault that the credential is for.")] = "",
    jurisdiction: Annotated[str, typer.Option(help="What if a credential stated this?")] = "",
    investor_class: Annotated[str, typer.Option("--class", help="As --jurisdiction.")] = "",
    issuer: Annotated[str, typer.Option(help="As --jurisdiction: the issuer's name.")] = "",
    open_orders: Annotated[int, typer.Option(help="The account's other orders in the market.", min=0)] = 0,
    at: Annotated[str, typer.Option(help="When: 2026-03-01T12:00:00Z or unix seconds. Default: now.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Decide one order and say why: the deciding rules and the facts."""
    from compliance.policy import Policy
    from compliance.policy_decision import Request
    from compliance.policy_explain import near_misses
    from darkpool.errors import ConfigError
    from darkpool.types import parse_address

    found = Policy.load(folder)
    request = Request(parse_address(account), market, _time(at), open_orders)
    if credential is not None:
        if jurisdiction or investor_class or issuer:
            raise ConfigError("--credential and --jurisdiction, --class or --issuer", "give one or the other")
        request = _presented(found, request, credential, revocations or [], chain_id, contract)
    elif jurisdiction or investor_class or issuer:
        request = _supposed(found, request, jurisdiction, investor_class, issuer)
    decision = found.decide(request)
    misses = dict(near_misses(found, decision))
    if as_json:
        typer.echo(json.dumps({**decision.as_json(), "near_misses": misses}))
    else:
        typer.echo(_explained(found, decision, misses))


def _time(text: str) -> int:
    from darkpool.errors import ConfigError

    if not text:
        return int(datetime.now(UTC).timestamp())
    if re.fullmatch(r"[0-9]{1,15}", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min  # noqa: DTZ901  # has no zone, which is refused below
    if moment.tzinfo is None or moment.timestamp() < 0:
        raise ConfigError(f"--at {text[:40]!r}: no time", "write 2026-03-01T12:00:00Z, or unix seconds")
    return int(moment.timestamp())


def _presented(
    found: Policy, request: Request, path: Path, lists: list[Path], chain_id: int | None, contract: str
) -> Request:
    """The request with what the credential states, or with the check it fails."""
    from compliance.credential_check import CredentialRefused
    from compliance.credential_revocations import Revocations
    from compliance.credentials import Credential
    from darkpool.cli.credential import domain_of, read, read_revocations

    domain = domain_of(chain_id, contract)
    revocations = Revocations(domain, (read_revocations(each) for each in lists))
    try:
        credential = Credential.from_bytes(read(path))
        claim = credential.verify(domain, found.issuers, request.account, request.at, revocations)
    except CredentialRefused as refusal:
        typer.echo(f"{refusal.message}; {refusal.hint}", err=True)
        return replace(request, refused=refusal.check)
    return replace(request, claim=claim)


def _supposed(
    found: Policy, request: Request, jurisdiction: str, investor_class: str, issuer: str
) -> Request:
    from compliance.credentials import Claim
    from darkpool.errors import ConfigError

    issuers = {each.name: each.address for each in found.config.issuers}
    if issuer not in issuers:
        raise ConfigError(f"--issuer {issuer[:64]!r}: not one of {', '.join(issuers)}", "name one of these")
    at = request.at
    claim = Claim(request.account, jurisdiction, investor_class, at, at + 1, 0, issuers[issuer])
    return replace(request, claim=claim)


def _explained(found: Policy, decision: Decision, misses: dict[str, str]) -> str:
    request, claim = decision.request, decision.request.claim
    moment = datetime.fromtimestamp(request.at, UTC).isoformat().replace("+00:00", "Z")
    stated = "none" if request.refused is None else f"refused: {request.refused}"
    if claim is not None:
        stated = f"{claim.jurisdiction}, {claim.investor_class}, by {_issuer(found, claim.issuer)}"
    hits = {each.name: "LISTED" if each.name in decision.listed else "not listed" for each in found.lists}
    lists = (f"{each.name}: {hits[each.name]}, version {each.version.hex()}" for each in found.lists)
    rows = [
        *(("because", f"{reason.rule}: {reason.sentence}") for reason in decision.reasons),
        *(("but", f"{rule} does not fit: {parts}") for rule, parts in misses.items()),
        *(("error", error) for error in decision.errors),
        ("account", str(request.as_json()["account"])),
        ("market", f"{request.market}, {request.open_orders} other open orders"),
        ("at", moment),
        ("credential", stated),
        *(("list", text) for text in lists),
        ("policy", f"{found.config.id} version {found.config.version}, 0x{decision.policy.hex()}"),
    ]
    if decision.allowed:
        rows.append(("segment", str(decision.segment)))
    rows += [("duty", f"{duty.id}: {duty.reason}") for duty in decision.disclosures]
    rows += [("auditor", f"{a.name}: {a.title}, 0x{a.key.encode().hex()}") for a in decision.auditors]
    head = "allowed" if decision.allowed else "denied"
    return "\n".join([head, *(f"  {name:11}{text}" for name, text in rows)])


def _issuer(found: Policy, address: Address) -> str:
    issuer = found.issuers.get(address)
    return issuer.name if issuer is not None else f"0x{address.hex()}, not registered"

"""`darkpool audit policy-query`: an auditor that a policy names asks for an account's orders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.audit import DEFAULT_AUDITOR, AuditorOption
from darkpool.cli.options import JsonOption
from darkpool.cli.times import day_of
from darkpool.cli.trader import (
    DEFAULT_VENUE,
    CheckOption,
    PassphraseOption,
    VenueOption,
    home_of,
    opened,
    say,
)

if TYPE_CHECKING:
    from compliance.audit_outcome import Audit

AuthorityOption = Annotated[
    Path, typer.Option("--authority", help="The public file of the ceremony.", show_default=False)
]


def policy_query(
    public: AuthorityOption,
    reference: Annotated[str, typer.Option(help="The file or warrant it rests on.", show_default=False)],
    account: Annotated[str, typer.Option(help="Whose orders.", show_default=False)],
    first: Annotated[str, typer.Option("--from", help="First day, UTC: 2026-11-01.", show_default=False)],
    last: Annotated[str, typer.Option("--to-day", help="Last day, UTC.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The request to the authorities.", show_default=False)],
    market: Annotated[str, typer.Option(help="Name of the market; needed if there are several.")] = "",
    save: Annotated[
        Path | None, typer.Option(help="Keep the audit file too, for `authority combine --audit`.")
    ] = None,
    home: AuditorOption = DEFAULT_AUDITOR,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: CheckOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask by policy: the venue records it, the lists say which orders, a request to the authorities is made.

    The account sees the query once the policy's delay has passed. Exit code 1: some list is still missing, or
    an order has no handle; 3: something does not hold, and whose fault it is.
    """
    from compliance.audit_check import audit
    from compliance.auditor_client import AuditorClient
    from compliance.authority import Authority
    from compliance.disclosure_query import Basis, Query
    from compliance.handles import request_context
    from compliance.opening_pool import OpeningPool
    from compliance.policy_query import request_of, scope_of
    from darkpool.client.files import write_file
    from darkpool.client.shells import Blocking
    from darkpool.errors import ConfigError
    from darkpool.types import parse_address

    found, folder = Authority.load(public), home_of(home)
    keystore = opened(folder, passphrase_file)
    days, whose = (day_of(first, "--from"), day_of(last, "--to-day")), parse_address(account)
    client = AuditorClient(keystore, folder, rpc_url)
    if client.auditor != found.auditor:
        raise ConfigError(
            f"{public}: its authorities answer another auditor", "give the --home of that auditor"
        )
    request_context([], found.sharing.key, reference)  # refuses what authorities would
    with folder.lock(), Blocking(venue) as shell:
        shell.run(client.connection.refresh())
        named = client.connection.listed(market).terms.market.id
        query = Query(
            Basis.POLICY,
            named,
            *days,
            authority=found.name,
            legal_reference=reference,
            account=whose,
        )
        typer.echo("fetching", err=True)
        file = shell.run(client.gather(query))
    if save is not None:
        write_file(save, file.encode())
    with OpeningPool() as pool:
        done = audit(file, keystore.address, None, opener=pool)
    request = request_of(done, found, client.auditor, keystore.private_key)
    write_file(out, request.encode())
    problems = _open_points(done)
    scope = {**scope_of(request), "file": str(out), "open": problems}
    say(scope, "\n".join([scope_text(scope), *problems, f"request {out}"]), as_json=as_json)
    raise typer.Exit(1 if problems or request.without else 0)


def _open_points(done: Audit) -> list[str]:
    """What keeps the lists from being complete."""
    return [
        f"{check.name}: {check.problem}" for check in done.checks if check.name == "lists" and check.problem
    ]


def scope_text(scope: dict[str, Any]) -> str:
    """What is asked, for people."""
    days = f"{scope['first_day']} to {scope['last_day']}"
    lines = [
        f"by order of: {scope['legal_reference']}",
        f"account {scope['account']}, market {scope['market']}, {days}",
        f"{scope['orders']} orders to open, for auditor {scope['authority']} ({scope['auditor']})",
        f"query {scope['query']} at the venue, on record since {scope['asked_at']}",
    ]
    if scope["without_handle"]:
        lines.append(f"{scope['without_handle']} orders carry no handle for this auditor: not asked for")
    return "\n".join(lines)

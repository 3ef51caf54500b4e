"""`darkpool audit`: an auditor's key, the grants it was given, queries, their verification and the report."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.disclose import one_of
from darkpool.cli.options import JsonOption
from darkpool.cli.times import day_of, day_text, time_text
from darkpool.cli.trader import (
    DEFAULT_VENUE,
    CheckOption,
    PassphraseOption,
    VenueOption,
    home_of,
    opened,
    passphrase,
    say,
    show,
)

if TYPE_CHECKING:
    from compliance.audit_file import AuditFile
    from compliance.audit_outcome import Audit
    from compliance.auditor_client import AuditorClient, GrantFinding
    from compliance.disclosure_query import Query
    from darkpool.client.shells import Blocking
    from darkpool.keystore import Keystore

audit = typer.Typer(
    help="Verify what accounts disclose: complete, true, and as the chain has it.", no_args_is_help=True
)

DEFAULT_AUDITOR = Path("~/.darkpool-auditor")
_GRANT_COLUMNS = ("id", "market", "days", "account", "check", "expires", "purpose")
_CHECK_COLUMNS = ("check", "count", "result", "by")
_ORDER_COLUMNS = ("day", "nonce", "side", "quantity", "limit", "filled", "price", "round")
_NET_COLUMNS = ("settlement", "token", "rounds", "chain", "block")
_SHORT = 10


class BackendName(StrEnum):
    """Libraries of the group."""

    NATIVE = "native"
    REFERENCE = "reference"


class FormatName(StrEnum):
    """Forms of the report."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"


class LayoutName(StrEnum):
    """Columns of the CSV."""

    ATS = "ats"
    RTS24 = "rts24"


AuditorOption = Annotated[
    Path,
    typer.Option("--home", help="The auditor's folder.", envvar="DARKPOOL_AUDITOR_HOME", show_envvar=True),
]
BackendOption = Annotated[
    BackendName,
    typer.Option(help="Library of the group; reference is py_ecc, about 1 s an order."),
]
FileArgument = Annotated[Path, typer.Argument(help="An audit file, as `audit query --save` writes it.")]


@audit.command(epilog="Example: darkpool audit keygen")
def keygen(
    home: AuditorOption = DEFAULT_AUDITOR,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the auditor's keystore, and print the text to give to accounts."""
    from compliance.auditor_client import auditor_of
    from darkpool.errors import ConfigError
    from darkpool.keystore import Keystore
    from darkpool.types import address_hex

    folder = home_of(home)
    if folder.keystore.exists():
        raise ConfigError(f"{folder.keystore}: exists already", "give another --home, or move it away")
    keystore = Keystore.create(folder.keystore, passphrase(passphrase_file, new=True))
    text = auditor_of(keystore).export()
    view = {"auditor": text, "account": address_hex(keystore.address), "keystore": str(folder.keystore)}
    say(view, f"{text}\naccount {view['account']}\nkeystore {view['keystore']}", as_json=as_json)


@audit.command("show", epilog="Example: darkpool audit show")
def show_(
    home: AuditorOption = DEFAULT_AUDITOR,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the auditor's text again."""
    from compliance.auditor_client import auditor_of

    text = auditor_of(opened(home_of(home), passphrase_file)).export()
    say({"auditor": text}, text, as_json=as_json)


@audit.command(epilog="Example: darkpool audit grants")
def grants(
    home: AuditorOption = DEFAULT_AUDITOR,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """The grants to this auditor, and the first check that each fails; `good` if all hold."""
    with _client(home, venue, passphrase_file, None) as (client, shell):
        found = shell.run(client.grants())
        rows = [_grant_row(client, one, short=not as_json) for one in found]
    show("Grants", rows, as_json=as_json, columns=_GRANT_COLUMNS)


@audit.command(epilog="Example: darkpool audit query --grant 0x3f9a --save november.audit")
def query(
    grant: Annotated[str, typer.Option(help="Id of the grant, or how it begins: see `audit grants`.")] = "",
    first: Annotated[str, typer.Option("--from", help="First day. Default: that of the grant.")] = "",
    last: Annotated[str, typer.Option("--to-day", help="Last day. Default: that of the grant.")] = "",
    policy: Annotated[str, typer.Option(help="By policy: the auditor's name in it.")] = "",
    legal_reference: Annotated[str, typer.Option(help="By policy: the file or warrant it rests on.")] = "",
    account: Annotated[str, typer.Option(help="By policy: whose orders.")] = "",
    market: Annotated[str, typer.Option(help="By policy: name of the market.")] = "",
    save: Annotated[
        Path | None, typer.Option(help="Keep everything in this file, to verify off-line.")
    ] = None,
    backend: BackendOption = BackendName.NATIVE,
    home: AuditorOption = DEFAULT_AUDITOR,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: CheckOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask, fetch, open and verify: lists, signatures, completeness, orders, fills, nets and the chain.

    The query is on record at the venue, and the account sees it. Exit code 0: all verified and complete; 1:
    refused, or something is missing; 3: something does not hold, and whose fault it is.
    """
    from compliance.auditor_client import AuditorClient
    from darkpool.client.files import write_file

    folder = home_of(home)
    keystore = opened(folder, passphrase_file)
    from darkpool.client.shells import Blocking

    client = AuditorClient(keystore, folder, rpc_url)
    with folder.lock(), Blocking(venue) as shell:
        asked = _asked(client, shell, grant, (first, last), (policy, legal_reference, account, market))
        typer.echo("fetching", err=True)
        file = shell.run(client.gather(asked))
    if save is not None:
        write_file(save, file.encode())
    finish(_verified(file, keystore, backend), as_json=as_json)


def _asked(
    client: AuditorClient,
    shell: Blocking,
    grant: str,
    days: tuple[str, str],
    by_policy: tuple[str, str, str, str],
) -> Query:
    """The query of the options. Raises ConfigError, OrderRefused."""
    from compliance.disclosure_query import Basis, Query
    from darkpool.errors import ConfigError
    from darkpool.types import parse_address

    shell.run(client.connection.refresh())
    name, reference, account, market = by_policy
    if bool(grant) == any(by_policy):
        raise ConfigError("query: by a grant, or by policy", "give --grant, or --policy with all its options")
    if grant:
        ids = [held.grant.header.id for held in shell.run(client.api.grants("auditor"))]
        header = shell.run(client.held(one_of(grant, ids, "audit grants"))).grant.header
        first = day_of(days[0], "--from") if days[0] else header.first_day
        last = day_of(days[1], "--to-day") if days[1] else header.last_day
        return Query(Basis.GRANT, header.market, first, last, grant=header.id)
    if not all((name, reference, account, *days)):
        raise ConfigError(
            "query: by policy it needs --policy, --legal-reference, --account, --from and --to-day",
            "give all",
        )
    return Query(
        Basis.POLICY,
        client.connection.listed(market).terms.market.id,
        day_of(days[0], "--from"),
        day_of(days[1], "--to-day"),
        authority=name,
        legal_reference=reference,
        account=parse_address(account),
    )


@audit.command(epilog="Example: darkpool audit verify november.audit --backend reference")
def verify(
    file: FileArgument,
    backend: BackendOption = BackendName.NATIVE,
    home: AuditorOption = DEFAULT_AUDITOR,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify an audit file again, off-line, from it and the auditor's key alone. Exit codes as `query`."""
    finish(_verified(read_audit(file), opened(home_of(home), passphrase_file), backend), as_json=as_json)


@audit.command(epilog="Example: darkpool audit report november.audit --format html > november.html")
def report(
    file: FileArgument,
    form: Annotated[FormatName, typer.Option("--format", help="Form of the report.")] = FormatName.TABLE,
    layout: Annotated[LayoutName, typer.Option(help="Columns of the CSV.")] = LayoutName.ATS,
    home: AuditorOption = DEFAULT_AUDITOR,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what an audit file shows: orders, fills, refusals, nets. Exit codes as `query`."""
    done = _verified(read_audit(file), opened(home_of(home), passphrase_file), BackendName.NATIVE)
    if form is FormatName.CSV and not as_json:
        from compliance.report_csv import Layout, order_records

        sys.stdout.write(order_records(done, Layout(layout.value)))
        raise typer.Exit(done.exit_code)
    if form is FormatName.HTML and not as_json:
        from compliance.report_html import page

        sys.stdout.write(page(done))
        raise typer.Exit(done.exit_code)
    finish(done, as_json=as_json or form is FormatName.JSON, whole=True)


# --- what they share ----------------------------------------------------------------------------------


@contextmanager
def _client(
    home: Path, venue: str, file: Path | None, rpc_url: str | None
) -> Iterator[tuple[AuditorClient, Blocking]]:
    """The auditor at the venue it was first at."""
    from compliance.auditor_client import AuditorClient
    from darkpool.client.shells import Blocking

    folder = home_of(home)
    client = AuditorClient(opened(folder, file), folder, rpc_url)
    with folder.lock(), Blocking(venue) as shell:
        yield client, shell


def read_audit(path: Path) -> AuditFile:
    """An audit file. Raises ConfigError if there is none, PeerFault naming the field that is malformed."""
    from commitments.errors import CommitmentsError
    from compliance.audit_file import MAX_FILE, AuditFile
    from darkpool.client.files import read_file
    from darkpool.errors import ConfigError, PeerFault

    data = read_file(path, MAX_FILE)
    if data is None:
        raise ConfigError(
            f"{path}: not found", "check the path, or make it with `darkpool audit query --save`"
        )
    try:
        return AuditFile.decode(data)
    except CommitmentsError as error:
        raise PeerFault(
            f"{path}: no audit file as `audit query` writes it: {error}", "take the original"
        ) from None


def _verified(file: AuditFile, keystore: Keystore, backend: BackendName) -> Audit:
    from compliance.audit_check import audit as verified
    from compliance.auditor import box_key
    from compliance.opening_pool import OpeningPool
    from darkpool.errors import ConfigError
    from darkpool.types import address_hex

    asked_by = file.answer.receipt.auditor
    if asked_by != keystore.address:
        raise ConfigError(
            f"audit file: it is of auditor {address_hex(asked_by)}, and this keystore is another's",
            "give that auditor's --home",
        )
    with OpeningPool() as pool:
        return verified(file, keystore.address, box_key(keystore.seed), backend=backend.value, opener=pool)


def finish(done: Audit, *, as_json: bool, whole: bool = False) -> None:
    """Print it and exit with its code."""
    from compliance.report_view import audit_view

    view = audit_view(done)
    if as_json:
        typer.echo(json.dumps(view))
        raise typer.Exit(done.exit_code)
    _print(view, whole=whole)
    raise typer.Exit(done.exit_code)


def _print(view: dict[str, Any], *, whole: bool) -> None:
    scope = view["scope"]
    days = _days(scope["first_day"], scope["last_day"])
    typer.echo(f"account {scope['account']}, market {scope['market']}, {days}")
    show("Verification", view["checks"], as_json=False, columns=_CHECK_COLUMNS)
    for check in view["checks"]:
        if check["problem"]:
            typer.echo(f"{check['check']}: {check['problem']}")
    if whole:
        show("Orders", view["orders"], as_json=False, columns=_ORDER_COLUMNS)
    if view["nets"]:
        show("Nets", view["nets"], as_json=False, columns=_NET_COLUMNS)
    totals = view["totals"]
    typer.echo(f"{totals['orders']} orders opened, fills of {totals['rounds']} rounds; {view['verdict']}")


def _days(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def _grant_row(client: AuditorClient, one: GrantFinding, *, short: bool) -> dict[str, Any]:
    from darkpool.types import address_hex

    header = one.held.grant.header
    info = client.connection.markets.get(header.market)
    row = {
        "id": "0x" + header.id.hex(),
        "market": "0x" + header.market.hex() if info is None else info.name,
        "first_day": day_text(header.first_day),
        "last_day": day_text(header.last_day),
        "account": address_hex(header.account),
        "purpose": header.purpose,
        "expires": header.expires,
        "check": "good" if one.failed is None else one.failed.value,
        "problem": one.problem,
    }
    if short:
        row |= {
            "id": str(row["id"])[:_SHORT],
            "account": str(row["account"])[:_SHORT],
            "days": _days(str(row["first_day"]), str(row["last_day"])),
            "expires": time_text(header.expires)[:10],
        }
    return row

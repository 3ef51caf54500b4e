"""`darkpool disclose prove` and `darkpool audit check`: totals of an account's orders, none opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.audit import DEFAULT_AUDITOR, AuditorOption
from darkpool.cli.disclose import MarketOption
from darkpool.cli.options import JsonOption
from darkpool.cli.times import day_of
from darkpool.cli.trader import (
    DEFAULT_HOME,
    DEFAULT_VENUE,
    CheckOption,
    HomeOption,
    PassphraseOption,
    VenueOption,
    home_of,
    opened,
    say,
)

if TYPE_CHECKING:
    from compliance.predicate_file import PredicateFile


def prove(
    first: Annotated[str, typer.Option("--from", help="First day, UTC: 2026-11-01.", show_default=False)],
    last: Annotated[str, typer.Option("--to-day", help="Last day, UTC.", show_default=False)],
    purpose: Annotated[str, typer.Option(help="For whom and why.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The proof, to hand out.", show_default=False)],
    max_buy: Annotated[str, typer.Option(help="They were to buy at most so much of the base token.")] = "",
    max_sell: Annotated[str, typer.Option(help="They were to sell at most so much.")] = "",
    net_low: Annotated[
        str, typer.Option(help="To buy less to sell is at least so much; may be below 0.")
    ] = "",
    net_high: Annotated[str, typer.Option(help="It is at most so much.")] = "",
    market: MarketOption = "",
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove bounds on all your orders of a market and some days, without opening any of them.

    Exit code 1: it is not so, or a list of these days may still follow, so that the proof may not hold then.
    """
    from compliance.day_orders import day_orders
    from compliance.disclosure_api import DisclosureApi
    from compliance.predicate_file import proven, view
    from darkpool.client.connection import Connection
    from darkpool.client.files import write_file
    from darkpool.client.shells import Blocking
    from darkpool.client.venue_api import VenueApi

    days, folder = (day_of(first, "--from"), day_of(last, "--to-day")), home_of(home)
    keystore = opened(folder, passphrase_file)
    given = {"max_buy": max_buy, "max_sell": max_sell, "net_low": net_low, "net_high": net_high}
    api = DisclosureApi(VenueApi(keystore.private_key), keystore.address)
    connection = Connection(api.api, folder, None)
    with Blocking(venue) as shell:
        shell.run(connection.refresh())
        info = connection.listed(market)
        found = shell.run(day_orders(api, info, keystore.address, days))
    made = proven(found, info, keystore.address, keystore.seed, purpose, given)
    write_file(out, made.encode())
    _tell({**view(made, info, found.open_points), "file": str(out)}, f"proof {out}", as_json=as_json)


def check(
    file: Annotated[Path, typer.Argument(help="A proof, as `disclose prove` writes it.", show_default=False)],
    home: AuditorOption = DEFAULT_AUDITOR,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: CheckOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a proof of bounds against the sealed lists, and say what it proves and what it does not.

    All orders of the account on the days are taken from the lists that the committee signed, none from the
    file. Whether account, days, bounds and purpose are those you asked for is for you to see. Exit code 1:
    it does not hold, or a list is missing; 3: the venue's lists do not hold.
    """
    from compliance.day_orders import day_orders
    from compliance.disclosure_api import DisclosureApi
    from compliance.predicate_file import view
    from compliance.predicates import verify
    from darkpool.client.connection import Connection
    from darkpool.client.shells import Blocking
    from darkpool.client.venue_api import VenueApi

    given, folder = _read(file), home_of(home)
    predicate = given.predicate
    api = DisclosureApi(VenueApi(), predicate.account)
    connection = Connection(api.api, folder, rpc_url)
    with folder.lock(), Blocking(venue) as shell:
        shell.run(connection.refresh())
        info = connection.info(predicate.market)
        found = shell.run(day_orders(api, info, predicate.account, (given.first_day, given.last_day)))
    verify(given.proof, found.orders, *info.tenures.keys)
    _tell(view(given, info, found.open_points), "the proof holds", as_json=as_json)


def _tell(view: dict[str, Any], verdict: str, *, as_json: bool) -> None:
    """Print it; exit with 1 if there may be further orders."""
    lines = [
        f"account {view['account']}, market {view['market']}, {view['first_day']} to {view['last_day']}",
        f"for: {view['purpose']}",
        "Proven:",
        *(f"  {line}" for line in view["proven"]),
        "Not proven:",
        *(f"  {line}" for line in view["not_proven"]),
        verdict,
    ]
    say(view, "\n".join(lines), as_json=as_json)
    raise typer.Exit(0 if view["complete"] else 1)


def _read(path: Path) -> PredicateFile:
    from compliance.predicate_file import MAX_FILE, PredicateFile
    from darkpool.client.files import read_file
    from darkpool.errors import ConfigError

    data = read_file(path, MAX_FILE)
    if data is None:
        raise ConfigError(f"{path}: not found", "check the path, or make it with `darkpool disclose prove`")
    return PredicateFile.decode(data)


def register(disclose: typer.Typer, audit: typer.Typer) -> None:
    """Make these commands part of the account's and of the auditor's."""
    example = (
        "darkpool disclose prove --market WETH-USDC --from 2026-11-01 --to-day 2026-11-03 --max-buy 100 "
        '--purpose "position limit" --out limit.proof'
    )
    disclose.command(epilog=f"Example: {example}")(prove)
    audit.command(epilog="Example: darkpool audit check limit.proof")(check)

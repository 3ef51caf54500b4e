"""`darkpool disclose`: what an account lets auditors see, what it takes back, and who asked about it."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from darkpool.cli.options import JsonOption
from darkpool.cli.times import day_of, day_text, expiry_of, time_text
from darkpool.cli.trader import (
    DEFAULT_HOME,
    DEFAULT_VENUE,
    HomeOption,
    PassphraseOption,
    VenueOption,
    home_of,
    opened,
    say,
    show,
)

if TYPE_CHECKING:
    from compliance.disclosure_api import Access
    from compliance.grantor import Grantor, OwnGrant
    from compliance.grants import Grant, Header
    from darkpool.client.answers import MarketInfo

T = TypeVar("T")

disclose = typer.Typer(help="Let auditors see, take it back, and see who asked.", no_args_is_help=True)

_GRANT_COLUMNS = ("id", "market", "days", "auditor", "state", "expires")
_ACCESS_COLUMNS = ("at", "basis", "market", "days", "outcome", "who")
_SHORT = 10

MarketOption = Annotated[str, typer.Option(help="Name of the market; needed if there are several.")]
AheadOption = Annotated[
    bool, typer.Option("--ahead", help="Hand over keys of days to come too: revoking cannot take them back.")
]
IdArgument = Annotated[str, typer.Argument(help="Id of the grant, or how it begins; see `disclose list`.")]


@contextmanager
def _grantor(home: Path, venue: str, file: Path | None) -> Iterator[_Session]:
    """The account at its venue."""
    from compliance.grantor import Grantor
    from darkpool.client.prover import Prover
    from darkpool.client.shells import Blocking
    from darkpool.client.trading import Trading

    folder = home_of(home)
    keystore = opened(folder, file)
    trading = Trading(keystore, folder, Prover())
    with Blocking(venue) as shell:
        shell.run(trading.connect(read_only=True))
        yield _Session(Grantor(trading, keystore), shell.run, trading.connection.markets)


class _Session:
    """A grantor and who runs its coroutines."""

    def __init__(self, grantor: Grantor, run: Any, markets: Mapping[bytes, MarketInfo]) -> None:  # noqa: ANN401
        self.grantor, self._run, self.markets = grantor, run, markets

    def run(self, steps: Coroutine[Any, Any, T]) -> T:
        found: T = self._run(steps)
        return found

    def name(self, market: bytes) -> str:
        """Of a market, or its id if the venue has it no more."""
        info = self.markets.get(market)
        return "0x" + market.hex() if info is None else info.name

    def id_of(self, text: str) -> bytes:
        """The one grant whose id begins so. Raises ConfigError, OrderRefused."""
        return one_of(text, [own.header.id for own in self.run(self.grantor.own())], "disclose list")


def one_of(text: str, ids: list[bytes], where: str) -> bytes:
    """The one id that begins with that text. Raises ConfigError, OrderRefused."""
    from darkpool.errors import ConfigError, OrderRefused

    digits = text.lower().removeprefix("0x")
    if len(digits) < 4 or set(digits) - set("0123456789abcdef"):  # noqa: PLR2004
        raise ConfigError(f"grant: {text[:80]!r} is no id", f"`darkpool {where}` shows them")
    found = {found for found in ids if found.hex().startswith(digits)}
    if len(found) != 1:
        several = "begin so" if found else "is yours of that id"
        raise OrderRefused(f"grant: {len(found) or 'none'} {several}", f"see `darkpool {where}`")
    return found.pop()


@disclose.command(
    epilog="Example: darkpool disclose grant --to dpaudit1… --market WETH-USDC --from 2026-11-01 "
    '--to-day 2026-11-03 --purpose "annual audit"'
)
def grant(
    to: Annotated[str, typer.Option(help="The auditor's text, dpaudit1…", show_default=False)],
    first: Annotated[str, typer.Option("--from", help="First day, UTC: 2026-11-01.", show_default=False)],
    last: Annotated[str, typer.Option("--to-day", help="Last day, UTC.", show_default=False)],
    purpose: Annotated[str, typer.Option(help="Why, for the record.", show_default=False)],
    market: MarketOption = "",
    expires: Annotated[str, typer.Option(help="Until the end of that day, UTC. Default: 90 days.")] = "",
    ahead: AheadOption = False,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let an auditor see the account's orders of a market of some days, and nothing else.

    Of days to come it holds nothing: when they have begun, `disclose extend` grants them.
    """
    from compliance.auditor import Auditor
    from compliance.grantor import Ahead

    auditor, days = Auditor.parse(to), (day_of(first, "--from"), day_of(last, "--to-day"))
    with _grantor(home, venue, passphrase_file) as session:
        made = session.run(
            session.grantor.grant(
                auditor,
                market,
                days,
                purpose,
                expires=expiry_of(expires),
                ahead=Ahead.YES if ahead else Ahead.NO,
            )
        )
        _say_granted(session, made, days[1], as_json=as_json)


@disclose.command(epilog="Example: darkpool disclose extend 0x3f9a")
def extend(
    which: IdArgument,
    last: Annotated[str, typer.Option("--to-day", help="Last day, UTC. Default: today.")] = "",
    ahead: AheadOption = False,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Grant the days that have begun since, to the same auditor, for the same purpose."""
    from compliance.grantor import Ahead

    with _grantor(home, venue, passphrase_file) as session:
        until = day_of(last, "--to-day") if last else None
        made = session.run(
            session.grantor.extend(session.id_of(which), until, ahead=Ahead.YES if ahead else Ahead.NO)
        )
        _say_granted(session, made, made.header.last_day if until is None else until, as_json=as_json)


@disclose.command("list", epilog="Example: darkpool disclose list")
def list_(
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """The account's grants, and what each is good for now."""
    with _grantor(home, venue, passphrase_file) as session:
        rows = [_grant_row(session, own, short=not as_json) for own in session.run(session.grantor.own())]
    show("Grants", rows, as_json=as_json, columns=_GRANT_COLUMNS)


@disclose.command(epilog="Example: darkpool disclose revoke 0x3f9a")
def revoke(
    which: IdArgument,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a grant back: from now on it is refused for today and later days. What was seen stays seen."""
    with _grantor(home, venue, passphrase_file) as session:
        done = session.run(session.grantor.revoke(session.id_of(which)))
    view = {"grant": "0x" + done.grant.hex(), "at": done.at}
    text = f"grant 0x{done.grant.hex()} is revoked from {time_text(done.at)} on"
    say(view, f"{text}\nWhat was seen, and keys that were handed over, it cannot take back.", as_json=as_json)


@disclose.command(epilog="Example: darkpool disclose key --market WETH-USDC --day 2026-11-01")
def key(
    market: Annotated[str, typer.Option(help="One market; left out: the whole account.")] = "",
    day: Annotated[str, typer.Option(help="One day of it, UTC.")] = "",
    nonce: Annotated[int | None, typer.Option(help="One order of that day, by its nonce.", min=0)] = None,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a view key: whoever has it reads what it opens, for ever, without a grant or a record of it."""
    from darkpool.errors import ConfigError

    if (day and not market) or (nonce is not None and not day):
        raise ConfigError("view key: a level is left out", "give --market with --day, and --day with --nonce")
    number = day_of(day, "--day") if day else None
    with _grantor(home, venue, passphrase_file) as session:
        found = session.grantor.key(market, number, nonce)
    level = found.scope.level.name.lower()
    typer.echo(
        f"warning: whoever reads this {level} key reads the orders below it, past and to come; it cannot be "
        "revoked, and nobody will see it used. A grant can be, and is on record.",
        err=True,
    )
    say({"level": level, "key": found.export()}, found.export(), as_json=as_json)


@disclose.command(epilog="Example: darkpool disclose accesses")
def accesses(
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who asked about the account, when, on what basis, and whether it was answered."""
    with _grantor(home, venue, passphrase_file) as session:
        rows = [
            _access_row(session, one, short=not as_json) for one in session.run(session.grantor.accesses())
        ]
    show("Accesses", rows, as_json=as_json, columns=_ACCESS_COLUMNS)


# --- what they print ----------------------------------------------------------------------------------


def _say_granted(session: _Session, made: Grant, wanted: int, *, as_json: bool) -> None:
    header = made.header
    text = f"grant 0x{header.id.hex()}\n{_scope_text(session, header)}"
    if wanted > header.last_day:
        text += "\nLater days have not begun: `darkpool disclose extend` grants them when they have."
    view = {"id": "0x" + header.id.hex(), **_scope(session, header), "granted_to": header.last_day}
    say(view, text, as_json=as_json)


def _scope_text(session: _Session, header: Header) -> str:
    days = day_text(header.first_day)
    if header.last_day != header.first_day:
        days += f" to {day_text(header.last_day)}"
    return (
        f"{_auditor_text(header)} may see this account's orders in {session.name(header.market)} of {days}, "
        f"until {time_text(header.expires)}: {header.purpose}"
    )


def _auditor_text(header: Header) -> str:
    from darkpool.types import address_hex

    return f"auditor {address_hex(header.auditor.account)}"


def _scope(session: _Session, header: Header) -> dict[str, Any]:
    from darkpool.types import address_hex

    return {
        "market": session.name(header.market),
        "first_day": day_text(header.first_day),
        "last_day": day_text(header.last_day),
        "auditor": address_hex(header.auditor.account),
        "auditor_text": header.auditor.export(),
        "purpose": header.purpose,
        "issued_at": header.issued_at,
        "expires": header.expires,
    }


def _grant_row(session: _Session, own: OwnGrant, *, short: bool) -> dict[str, Any]:
    header = own.header
    row = {"id": "0x" + header.id.hex(), **_scope(session, header)}
    row |= {"state": own.state.value, "revoked_at": own.revoked_at}
    if short:
        row |= {
            "id": row["id"][:_SHORT],
            "days": _days_text(header.first_day, header.last_day),
            "auditor": row["auditor"][:_SHORT],
            "expires": time_text(header.expires)[:10],
        }
    return row


def _days_text(first: int, last: int) -> str:
    return day_text(first) if first == last else f"{day_text(first)} to {day_text(last)}"


def _access_row(session: _Session, one: Access, *, short: bool) -> dict[str, Any]:
    from darkpool.types import address_hex

    account = address_hex(one.auditor)
    row = {
        "number": one.number,
        "at": one.at,
        "auditor": account,
        "basis": one.basis.value,
        "grant": "0x" + one.grant.hex() if one.grant else None,
        "authority": one.authority,
        "legal_reference": one.legal_reference,
        "market": session.name(one.market),
        "first_day": day_text(one.first_day),
        "last_day": day_text(one.last_day),
        "outcome": one.outcome,
    }
    if short:
        who = f"{one.authority} ({one.legal_reference})" if one.authority else account[:_SHORT]
        row |= {"at": time_text(one.at)[:16], "days": _days_text(one.first_day, one.last_day), "who": who}
    return row

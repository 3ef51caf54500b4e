"""`darkpool audit authority`: an auditor's key is shared, its holders answer, and answers open orders."""

from __future__ import annotations

import csv
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.audit import DEFAULT_AUDITOR, AuditorOption, finish, read_audit
from darkpool.cli.options import JsonOption
from darkpool.cli.policy_query import AuthorityOption, policy_query, scope_text
from darkpool.cli.trader import (
    DEFAULT_VENUE,
    PassphraseOption,
    VenueOption,
    home_of,
    opened,
    passphrase,
    say,
    show,
)

if TYPE_CHECKING:
    from commitments.auditor_key import KeyContext, SecretKey
    from commitments.discrete_log import Table
    from compliance.authority_answer import SealedAnswer
    from compliance.authority_request import Request
    from compliance.policy_query import Reading
    from darkpool.types import Address

authority = typer.Typer(
    help="Share an auditor's key, answer requests, and put answers together.", no_args_is_help=True
)

PUBLIC = "public.json"
_SHOWN = 10
_ROW = ("order", "day", "nonce", "side", "quantity", "limit", "state")

RequestArgument = Annotated[
    Path, typer.Argument(help="The request, as `audit policy-query` writes it.", show_default=False)
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


class FormName(StrEnum):
    """Forms of what was opened."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


# --- the ceremony -------------------------------------------------------------------------------------


@authority.command(
    epilog="Example: darkpool audit authority deal --name examiner --auditor dpaudit1… --members 3 "
    "--threshold 1 --out ./ceremony >> policy.toml"
)
def deal(
    name: Annotated[str, typer.Option(help="As the policy calls the auditor.", show_default=False)],
    auditor: Annotated[str, typer.Option(help="Who asks: its text, dpaudit1…", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the files; made if missing.", show_default=False)],
    members: Annotated[int, typer.Option(help="Authorities.", min=1, max=16)] = 1,
    threshold: Annotated[int, typer.Option(help="So many together read nothing.", min=0, max=15)] = 0,
    title: Annotated[str, typer.Option(help="For people.")] = "",
    keystore: Annotated[
        Path | None, typer.Option(help="Share the key that `policy auditor` made of this keystore.")
    ] = None,
    keystore_passphrase: Annotated[
        Path | None, typer.Option("--keystore-passphrase-file", help="Holds the keystore's passphrase.")
    ] = None,
    passphrase_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--passphrase-file", help="A member's passphrase, in the members' order; else a prompt."
        ),
    ] = None,
    venue: VenueOption = DEFAULT_VENUE,
    as_json: JsonOption = False,
) -> None:
    """Deal an auditor's key to authorities, any threshold + 1 of which read together; print its policy table.

    A share file a member, under its own passphrase, and a public file for all. The dealer knows the key while
    it deals, and keeps nothing.
    """
    from compliance.auditor import Auditor
    from compliance.auditor_keys import auditor_table
    from compliance.authority import dealt
    from darkpool.client.files import make_folder, write_file
    from darkpool.errors import ConfigError
    from darkpool.jsonfields import hex_text
    from darkpool.types import address_hex

    files, asks = passphrase_file or [], Auditor.parse(auditor)
    if threshold >= members:
        raise ConfigError(f"threshold: {threshold} of {members} members", "it is below their number")
    if files and len(files) != members:
        raise ConfigError(f"passphrases: {len(files)} for {members} members", "name a file a member")
    make_folder(out)
    paths = [out / f"member-{i}.share" for i in range(1, members + 1)]
    for path in (out / PUBLIC, *paths):
        if path.exists():
            raise ConfigError(f"{path}: exists already", "choose another folder")
    context, operator = _context(venue, name)
    secret = _secret(keystore, keystore_passphrase, context)
    made, shares = dealt(secret, context, asks, operator, title or name, members, threshold)
    texts = []
    for i, (member, path) in enumerate(zip(shares, paths, strict=True)):
        typer.echo(f"member {i + 1} of {members}: {path}", err=True)
        texts.append(member.encode(passphrase(files[i] if files else None, new=True)))
    for path, text in zip(paths, texts, strict=True):  # only once all are there
        write_file(path, text)
    write_file(out / PUBLIC, made.encode())
    table = auditor_table(name, made.title, asks.account, made.registration)
    view = {
        "name": name,
        "title": made.title,
        "account": address_hex(asks.account),
        "key": hex_text(made.sharing.key.encode()),
        "proof": hex_text(made.registration.encode()),
        "public": str(out / PUBLIC),
        "shares": [str(path) for path in paths],
    }
    say(view, table, as_json=as_json)


def _context(venue: str, name: str) -> tuple[KeyContext, Address]:
    """Where the key is for, and who is the operator there."""
    from commitments.auditor_key import KeyContext
    from darkpool.client.shells import Blocking
    from darkpool.client.venue_api import VenueApi
    from darkpool.errors import PeerFault

    with Blocking(venue) as shell:
        api = VenueApi()
        listed = shell.run(api.markets())
        if not listed:
            raise PeerFault("it has no markets yet", "try again in a moment", "venue")
        info = shell.run(api.market(listed[0].id))
    terms = info.terms
    return KeyContext(terms.chain_id, terms.contract, terms.venue, name), info.operator


def _secret(keystore: Path | None, file: Path | None, context: KeyContext) -> SecretKey:
    """A fresh key, or the one of a keystore there. Raises KeystoreError."""
    from commitments.auditor_key import SecretKey
    from compliance.auditor_keys import secret_key
    from darkpool.keystore import Keystore

    if keystore is None:
        return SecretKey.generate()
    return secret_key(Keystore.open(keystore, passphrase(file)).seed, context)


@authority.command("show", epilog="Example: darkpool audit authority show ceremony/public.json")
def show_(
    file: Annotated[Path, typer.Argument(help="A public file, or a member's share.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """What is public of a ceremony's file; no passphrase is needed."""
    from compliance.authority import shown
    from darkpool.types import address_hex

    found, index = shown(file)
    context, sharing = found.registration.context, found.sharing
    view: dict[str, Any] = {
        "name": found.name,
        "title": found.title,
        "member": index,
        "members": len(sharing.verification_keys),
        "needed": sharing.threshold + 1,
        "key": "0x" + sharing.key.encode().hex(),
        "auditor": found.auditor.export(),
        "account": address_hex(found.auditor.account),
        "chain_id": context.chain_id,
        "vault": address_hex(found.domain.contract),
        "venue": "0x" + context.venue.hex(),
        "operator": address_hex(found.operator),
    }
    held = "public file" if index is None else f"share of member {index}"
    lines = [
        f"{found.name}: {found.title}; {held}",
        f"{view['needed']} of {view['members']} authorities read together",
        *(f"{label} {view[label]}" for label in ("key", "auditor", "account", "vault", "operator")),
    ]
    say(view, "\n".join(lines), as_json=as_json)


# --- an authority answers -----------------------------------------------------------------------------


@authority.command(
    epilog="Example: darkpool audit authority answer case7.request --share member-1.share --out case7.1"
)
def answer(
    request: RequestArgument,
    share: Annotated[Path, typer.Option(help="Your share file.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The answer, sealed to the auditor.", show_default=False)],
    to: Annotated[str, typer.Option(help="Another auditor than the ceremony's: its text, dpaudit1…")] = "",
    yes: YesOption = False,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a request, after it was checked and you agreed: with threshold others, the auditor reads it."""
    from compliance.auditor import Auditor
    from compliance.authority import Member
    from compliance.authority_answer import answer as answered
    from compliance.policy_query import scope_of
    from darkpool.client.files import write_file

    asked = _request(request)
    held, index = Member.shown(share)
    asked.check(held, Auditor.parse(to) if to else None)
    scope = scope_of(asked)
    typer.echo(scope_text(scope), err=True)
    if not yes:
        _agree(f"Answer as member {index} of {held.name}?")
    member = Member.load(share, passphrase(passphrase_file))
    write_file(out, answered(member, asked).encode())
    text = f"answer {out}: {scope['orders']} orders, for the auditor alone"
    say({**scope, "member": index, "file": str(out)}, text, as_json=as_json)


def _agree(question: str) -> None:
    from darkpool.errors import ConfigError

    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask at", "read the request, and give --yes")
    typer.confirm(question, abort=True, err=True)


# --- the auditor reads --------------------------------------------------------------------------------


@authority.command(
    epilog="Example: darkpool audit authority combine case7.request case7.1 case7.3 "
    "--authority ceremony/public.json"
)
def combine(
    request: RequestArgument,
    answers: Annotated[list[Path], typer.Argument(help="The authorities' answers.", show_default=False)],
    public: AuthorityOption,
    audit_file: Annotated[
        Path | None,
        typer.Option("--audit", help="The audit file of the query: check fills, nets and chain too."),
    ] = None,
    form: Annotated[FormName, typer.Option("--format", help="Form of what is printed.")] = FormName.TABLE,
    home: AuditorOption = DEFAULT_AUDITOR,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the answers, and open the orders: quantity, side and limit.

    Exit code 1: too few answers, or an order without a handle; 3: an authority's answer is false, and whose.
    The first use makes a table of logarithms in the cache folder.
    """
    from compliance.auditor import box_key
    from compliance.authority import Authority
    from compliance.policy_audit import audit_of
    from compliance.policy_query import named, read_orders, scope_of
    from compliance.report_view import audit_view
    from darkpool.errors import EXIT_PEER

    asked, found = _request(request), Authority.load(public)
    keystore = opened(home_of(home), passphrase_file)
    given = [_answer(path) for path in answers]
    reading = read_orders(asked, found, given, box_key(keystore.seed), _table)
    if reading.false:
        typer.echo(f"error: {named(reading.false)}: the answer does not hold, and was not used", err=True)
    whole = None if audit_file is None else audit_of(read_audit(audit_file), reading)
    form = FormName.JSON if as_json else form
    _print(scope_of(asked), reading, form, None if whole is None else audit_view(whole))
    code = whole.exit_code if whole is not None else int(bool(asked.without))
    if whole is not None and form is FormName.TABLE:
        with suppress(typer.Exit):  # ends with the same code, unless an authority lied
            finish(whole, as_json=False, whole=True)
    raise typer.Exit(EXIT_PEER if reading.false else code)


def _table() -> Table:
    """The table of logarithms of the cache folder, with a bar while it is made."""
    from commitments.discrete_log import DEFAULT_BITS
    from compliance.log_table import cached_table
    from darkpool.cli.options import shown_progress

    with shown_progress() as tell:
        return cached_table(lambda done: tell("table of logarithms", done, 1 << DEFAULT_BITS))


def _print(scope: dict[str, Any], reading: Reading, form: FormName, whole: dict[str, Any] | None) -> None:
    rows = reading.rows()
    if form is FormName.JSON:
        view = {**scope, "false": list(reading.false), "opened": rows, "audit": whole}
        say(view, "", as_json=True)
    elif form is FormName.CSV:
        writer = csv.DictWriter(sys.stdout, _ROW, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        typer.echo(scope_text(scope))
        short = [{**row, "order": row["order"][:_SHOWN]} for row in rows]
        show("Orders", short, as_json=False, columns=_ROW)


# --- files --------------------------------------------------------------------------------------------


def _request(path: Path) -> Request:
    """Raises ConfigError if there is none, OrderRefused naming what is malformed."""
    from compliance.authority_request import MAX_FILE, read_request

    return read_request(_bytes(path, MAX_FILE))


def _answer(path: Path) -> SealedAnswer:
    from commitments.errors import DecodeError
    from compliance.authority_answer import MAX_FILE, SealedAnswer
    from darkpool.errors import OrderRefused

    try:
        return SealedAnswer.decode(_bytes(path, MAX_FILE))
    except DecodeError as error:
        raise OrderRefused(
            f"{path}: answer, {error}", "ask the authority for its answer again", "answer-refused"
        ) from None


def _bytes(path: Path, limit: int) -> bytes:
    from darkpool.client.files import read_file
    from darkpool.errors import ConfigError

    data = read_file(path, limit)
    if data is None:
        raise ConfigError(f"{path}: not found", "check the path")
    return data


def register(audit: typer.Typer) -> None:
    """Make these commands part of the auditor's."""
    audit.add_typer(authority, name="authority")
    example = (
        'darkpool audit policy-query --authority public.json --reference "file 7/2026" --account 0x… '
        "--from 2026-11-01 --to-day 2026-11-03 --out case7.request"
    )
    audit.command("policy-query", epilog=f"Example: {example}")(policy_query)

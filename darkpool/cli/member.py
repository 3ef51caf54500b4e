"""`darkpool member`: a committee member as a service of its own; and the dealer's ceremony for such."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.options import DEFAULT_FOLDER, FolderOption, JsonOption, ProfileName, shown_progress
from darkpool.cli.trader import PassphraseOption, passphrase, say

if TYPE_CHECKING:
    from darkpool.committee.directory import Directory

member = typer.Typer(help="A committee member as a service of its own.", no_args_is_help=True)

HomeArgument = Annotated[Path, typer.Argument(help="The member's home folder.")]
FirstArgument = Annotated[Path, typer.Argument(help="first-committee.json: whom the venue began with.")]
UrlOption = Annotated[
    str | None,
    typer.Option("--rpc-url", help="The member's own node of the chain.", envvar="DARKPOOL_RPC_URL"),
]


@member.command(epilog="Example: darkpool member init ./alice --host 10.0.0.2 --port 9400")
def init(
    home: HomeArgument,
    host: Annotated[str, typer.Option(help="Address at which the others reach it; it listens there.")],
    port: Annotated[int, typer.Option(help="TCP port of that.", min=1, max=65_535)],
    orders_port: Annotated[
        int,
        typer.Option(
            help="TCP port, at the same address, for orders by hand; 0 for none.", min=0, max=65_535
        ),
    ] = 0,
    rpc_url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a member's home and keys, and introduction.json for the dealer."""
    from commitments.errors import DecodeError
    from darkpool.committee import joining
    from darkpool.committee.home import Home
    from darkpool.committee.introduction import check_place
    from darkpool.errors import ConfigError
    from darkpool.types import address_hex

    try:
        check_place(host, port)
    except DecodeError as error:
        raise ConfigError(f"--{error}", "give an address of this machine") from None
    made = joining.init(home, host, port, Home(None, rpc_url=rpc_url or "", port=orders_port, host=host))
    fingerprint = made.certificate.fingerprint.hex()
    file = home / joining.INTRODUCTION
    view = {"introduction": str(file), "fingerprint": fingerprint, "signer": address_hex(made.signer)}
    say(
        view,
        f"send {file} to the dealer, and tell it by another way:\n"
        f"certificate {fingerprint}\nsigner      {view['signer']}",
        as_json=as_json,
    )


@member.command(epilog="Example: darkpool member join ./alice seat-2.sealed committee.json")
def join(
    home: HomeArgument,
    sealed: Annotated[Path, typer.Argument(help="The seat that the dealer sealed to this member.")],
    committee: Annotated[Path, typer.Argument(help="The committee.json that came with it.")],
    first: Annotated[
        Path | None, typer.Option(help="For a newcomer under a later key: the venue's first-committee.json.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check and take the seat that was dealt; prints the code that all members compare.

    Under a new key the seat waits until the log has that key in office; to join is to agree to it.
    """
    from darkpool.committee import joining
    from darkpool.committee.directory import COMMITTEE, MAX_DIRECTORY, Directory
    from darkpool.committee.home import SEAT
    from darkpool.files import bounded
    from darkpool.tenure_file import MAX_FILE

    box, data = bounded(sealed, joining.MAX_SEALED), bounded(committee, MAX_DIRECTORY)
    wanted = joining.read_directory(data)
    seated = (home / SEAT).exists() and Directory.load(home / COMMITTEE).committee.key != wanted.committee.key
    began = None if first is None else bounded(first, MAX_FILE)
    directory = joining.join_next(home, box, data) if seated else joining.join(home, box, data, began)
    _say_code(joining.own_index(home, directory), directory, as_json=as_json)


@member.command(epilog="Example: darkpool member follow ./alice --vault 0x… --rpc-url http://127.0.0.1:8545")
def follow(
    home: HomeArgument,
    vault: Annotated[str, typer.Option(help="The venue's vault, as the operator names it.")],
    rpc_url: UrlOption = None,
    finality: Annotated[
        int, typer.Option(help="Blocks above one that make it final.", min=0, max=10_000)
    ] = 2,
    as_json: JsonOption = False,
) -> None:
    """Have the member check the venue's chain at a node of its own; the vault must be this committee's."""
    from dataclasses import replace

    from darkpool.committee.directory import COMMITTEE, Directory
    from darkpool.committee.home import Home
    from darkpool.errors import ConfigError
    from darkpool.types import address_hex, parse_address

    settings = Home.load(home)
    if settings.signers is None:
        raise ConfigError(f"{home}: it has not joined a committee", "run darkpool member join")
    changed = replace(
        settings, vault=parse_address(vault), rpc_url=rpc_url or settings.rpc_url, finality=finality
    )
    chain = changed.chain()
    if chain is None:
        raise ConfigError("rpc-url: the member has no node", "give one with --rpc-url")
    # Of a successor it has the committee before; which one is in office when, the log says, and is checked.
    known = set(Directory.load(home / COMMITTEE).signers.addresses.values())
    if len(known & set(chain.members())) <= settings.signers.threshold:
        raise ConfigError(
            f"vault: {vault} has another committee",
            "compare committee.json and the address with the operator",
        )
    changed.save_settings(home)
    view = {"vault": address_hex(chain.vault), "chain_id": chain.chain_id}
    say(view, f"follows {view['vault']} on chain {chain.chain_id}", as_json=as_json)


@member.command(epilog="Example: darkpool member serve ./alice")
def serve(home: HomeArgument) -> None:
    """Run the member until SIGTERM or Ctrl-C. Its log is member.log in the home."""
    import asyncio

    from darkpool.committee import node, status
    from darkpool.committee.directory import COMMITTEE, Directory
    from darkpool.committee.home import SEAT
    from darkpool.committee.joining import own_introduction
    from darkpool.errors import ConfigError

    directory, me = Directory.load(home / COMMITTEE), own_introduction(home)
    if asyncio.run(status.running(home)):
        raise ConfigError(f"{home}: its member runs already", "end it first, or use darkpool member status")
    index = directory.members.index(me) + 1
    waits = "" if (home / SEAT).exists() else "waits for its share; "
    place = f"member {index} at {me.host}:{me.port}"
    typer.echo(f"{place}, committee {directory.code}; {waits}log: {home / 'member.log'}")
    node.run(home, watched=False)


@member.command("status", epilog="Example: darkpool member status ./alice --json")
def show_status(home: HomeArgument, as_json: JsonOption = False) -> None:
    """How the running member is: log, links, evaluator, refusals, orders handed to it, traffic."""
    import asyncio

    from rich.console import Console
    from rich.table import Table

    from darkpool.committee import status

    found = asyncio.run(status.ask(home))
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table(title=f"member {found.pop('member', '')}", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), _text(value))
    Console(markup=False, emoji=False).print(table)  # some of it others have said


def _text(value: Any) -> str:  # noqa: ANN401 - whatever the member says
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_text(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        apart = "\n" if any(isinstance(item, list | dict) for item in value) else ", "
        return apart.join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


@member.command(epilog="Example: darkpool member agree ./alice committee.json next-committee.json")
def agree(
    home: HomeArgument,
    committee: Annotated[Path, typer.Argument(help="committee.json in which a member is replaced.")],
    plan: Annotated[Path, typer.Argument(help="next-committee.json, the operator's plan for it.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Also to another venue's certificate, or another guardian.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Agree that a member is replaced; prints who, and the code that all compare. Then restart the member."""
    from darkpool.committee import agreeing
    from darkpool.committee.directory import MAX_DIRECTORY
    from darkpool.errors import ConfigError
    from darkpool.files import bounded
    from darkpool.tenure_file import MAX_FILE
    from darkpool.types import address_hex

    wanted = agreeing.read_plan(bounded(plan, MAX_FILE))
    agreed = agreeing.agreement(home, bounded(committee, MAX_DIRECTORY), wanted)
    guardian = "" if wanted.guardian is None else address_hex(wanted.guardian)
    asked = ["another venue's certificate leads the committee"] if agreed.other_venue else []
    asked += [f"the vault's guardian becomes {guardian}"] if guardian else []
    if asked and not yes:
        raise ConfigError("; ".join(asked), "if that is what you want, add --yes")
    agreeing.agree(home, agreed)
    code, epoch = agreed.directory.code, wanted.tenure.key_epoch
    lines = [
        f"member {i}: {address_hex(after.signer)} at {after.host}:{after.port}, certificate "
        f"{after.certificate.fingerprint.hex()}, for {address_hex(before.signer)}"
        for i, (before, after) in agreed.replaced.items()
    ]
    lines += [*asked, f"key epoch {epoch}; compare with the others the code {code}, and restart the member"]
    view = {"code": code, "key_epoch": epoch, "replaced": list(agreed.replaced), "guardian": guardian}
    say(view, "\n".join(lines), as_json=as_json)


@member.command(epilog="Example: darkpool member succeed ./erin committee.json first-committee.json")
def succeed(
    home: HomeArgument,
    committee: Annotated[Path, typer.Argument(help="committee.json in which this member is the new one.")],
    first: FirstArgument,
    as_json: JsonOption = False,
) -> None:
    """Take the place of another member. Then serve: the others deal it its share, with which it goes on."""
    from darkpool.committee import joining
    from darkpool.committee.directory import MAX_DIRECTORY
    from darkpool.files import bounded
    from darkpool.tenure_file import MAX_FILE

    directory = joining.succeed(home, bounded(committee, MAX_DIRECTORY), bounded(first, MAX_FILE))
    _say_code(joining.own_index(home, directory), directory, as_json=as_json)


@member.command(epilog="Example: darkpool member backup ./alice alice-epoch-0.backup")
def backup(
    home: HomeArgument,
    file: Annotated[Path, typer.Argument(help="New file to write.")],
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the member's secrets into a file under a passphrase. It is of one key epoch: make one of each."""
    from darkpool.committee import backup as backups

    made = backups.backup(home, file, passphrase(passphrase_file, new=True))
    say(made.fields(), f"{file}: member {made.member}, key epoch {made.epoch}", as_json=as_json)


@member.command(epilog="Example: darkpool member restore alice-epoch-0.backup ./alice --epoch 0")
def restore(
    file: Annotated[Path, typer.Argument(help="What `backup` wrote.")],
    home: HomeArgument,
    epoch: Annotated[
        int, typer.Option(help="Key epoch that the other members report; an older backup is refused.", min=0)
    ] = 0,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a member's home of a backup. The home that was lost must never run again."""
    from darkpool.committee import backup as backups

    found = backups.restore(file, home, passphrase(passphrase_file), epoch=epoch)
    say(found.fields(), f"{home}: member {found.member}, key epoch {found.epoch}", as_json=as_json)


def _say_code(index: int, directory: Directory, *, as_json: bool) -> None:
    n, code = directory.committee.members, directory.code
    text = f"member {index} of {n}; compare with the others the code {code}"
    say({"member": index, "members": n, "code": code}, text, as_json=as_json)


def deal(
    introductions: Annotated[
        list[Path], typer.Argument(help="introduction.json of every member, in the order of their indices.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for committee.json and the sealed seats.")],
    data: FolderOption = DEFAULT_FOLDER,
    threshold: Annotated[
        int, typer.Option(help="Members that may collude and still learn nothing.", min=1, max=7)
    ] = 1,
    profile: Annotated[ProfileName, typer.Option(help="Security profile.")] = ProfileName.PRODUCTION,
    epoch: Annotated[
        int, typer.Option(help="Key epoch: 0 for a venue's first key, else one above the present.", min=0)
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Deal the committee's key to members that have introduced themselves, and forget it.

    Whoever runs this could keep the key. The data folder is the venue's, whose certificate members then know.
    """
    from commitments.params import PROFILES
    from darkpool.committee import joining
    from darkpool.convening import dealt_apart
    from darkpool.deployment import operator_key

    read = [joining.read_introduction(path) for path in introductions]
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with shown_progress() as progress:
        directory = dealt_apart(
            data,
            out,
            read,
            threshold,
            PROFILES[profile.value],
            operator_key(data),
            lambda tested: progress("key ceremony", tested, None),
            epoch,
        )
    files = {str(i): str(out / f"seat-{i}.sealed") for i in directory.committee.indices}
    view = {"committee": str(out / "committee.json"), "code": directory.code, "seats": files}
    lines = [f"{files[str(i)]}  to member {i}: {m}" for i, m in enumerate(directory.members, 1)]
    say(
        view,
        "\n".join([f"{view['committee']}  to everybody; its code is {directory.code}", *lines]),
        as_json=as_json,
    )


def replace(
    committee: Annotated[Path, typer.Argument(help="The present committee.json.")],
    index: Annotated[int, typer.Argument(help="Index of the member that goes.", min=1)],
    introduction: Annotated[Path, typer.Argument(help="introduction.json of the member that comes.")],
    out: Annotated[Path, typer.Option(help="New committee.json to write.")],
    as_json: JsonOption = False,
) -> None:
    """Write the committee.json with another member at an index, for all members to adopt."""
    from commitments.errors import VerificationError
    from darkpool.committee import joining
    from darkpool.committee.directory import Directory
    from darkpool.errors import ConfigError, PeerFault

    if out.exists():
        raise ConfigError(f"{out}: there is a file already", "give a new one with --out")
    try:
        made = Directory.load(committee).replaced(index, joining.read_introduction(introduction))
    except VerificationError as error:
        raise PeerFault(f"{introduction}: {error}", "have the successor make a home of its own") from None
    joining.write_public(out, made.encode())
    place = made.member(index)
    text = (
        f"{out}  to everybody, its code is {made.code}: the members agree to it, member {index} at "
        f"{place.host}:{place.port} succeeds; then restart the venue with it as its committee.json"
    )
    say({"committee": str(out), "code": made.code}, text, as_json=as_json)

"""`darkpool member`: a committee member as a service of its own; and the dealer's ceremony for such."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from darkpool.cli.options import DEFAULT_FOLDER, FolderOption, JsonOption, ProfileName, shown_progress
from darkpool.cli.trader import say

member = typer.Typer(help="A committee member as a service of its own.", no_args_is_help=True)

HomeArgument = Annotated[Path, typer.Argument(help="The member's home folder.")]
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
    as_json: JsonOption = False,
) -> None:
    """Check and take the seat that was dealt; prints the code that all members compare."""
    from darkpool.committee import joining
    from darkpool.committee.directory import MAX_DIRECTORY
    from darkpool.committee.home import SEAT
    from darkpool.committee.seat import Seat

    directory = joining.join(
        home, joining.bounded(sealed, joining.MAX_SEALED), joining.bounded(committee, MAX_DIRECTORY)
    )
    index = Seat.load(home / SEAT).index
    say(
        {"member": index, "members": directory.committee.members, "code": directory.code},
        f"member {index} of {directory.committee.members}; compare with the others the code {directory.code}",
        as_json=as_json,
    )


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
    if set(chain.members()) != set(settings.signers.addresses.values()):
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
    from darkpool.committee.joining import own_introduction
    from darkpool.errors import ConfigError

    directory, me = Directory.load(home / COMMITTEE), own_introduction(home)
    if asyncio.run(status.running(home)):
        raise ConfigError(f"{home}: its member runs already", "end it first, or use darkpool member status")
    index = directory.members.index(me) + 1
    typer.echo(
        f"member {index} at {me.host}:{me.port}, committee {directory.code}; log: {home / 'member.log'}"
    )
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
    Console().print(table)


def _text(value: Any) -> str:  # noqa: ANN401 - whatever the member says
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_text(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        apart = "\n" if any(isinstance(item, list | dict) for item in value) else ", "
        return apart.join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


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
        )
    files = {str(i): str(out / f"seat-{i}.sealed") for i in directory.committee.indices}
    view = {"committee": str(out / "committee.json"), "code": directory.code, "seats": files}
    lines = [f"{files[str(i)]}  to member {i}: {m}" for i, m in enumerate(directory.members, 1)]
    say(
        view,
        "\n".join([f"{view['committee']}  to everybody; its code is {directory.code}", *lines]),
        as_json=as_json,
    )

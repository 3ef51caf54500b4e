"""The change of the committee and of the vault's guardian: in the vault, and in the venue's log.

refresh   other shares of the same key for the same members: nothing else is needed
replace   committee.json with a successor in it -> plan -> (every member agrees, the successor takes its
          place, venue and members restart) -> propose -> (the vault's delay) -> activate -> change
deal      a new key, that the members join -> plan -> change -> (the venue restarts with it)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.options import DEFAULT_FOLDER, FolderOption, JsonOption
from darkpool.cli.settling import attached
from darkpool.cli.trader import say

if TYPE_CHECKING:
    from darkpool.tenure import Tenures
    from darkpool.tenure_file import Planned

committee = typer.Typer(help="The change of the venue's committee.", no_args_is_help=True)

CHANGE_SECONDS = 600  # a round may have to end first

FileArgument = Annotated[Path, typer.Argument(help="The next committee, as `plan` writes it.")]


@committee.command(epilog="Example: darkpool operator committee plan next-committee.json")
def plan(
    file: Annotated[Path, typer.Argument(help="File to write, for every member.")],
    directory: Annotated[
        Path | None,
        typer.Option("--committee", help="The next committee.json. Default: the same members and key."),
    ] = None,
    guardian: Annotated[
        str | None, typer.Option(help="The vault's next guardian. Default: the present one.")
    ] = None,
    data: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Write down who comes next. Each member agrees by putting the file into its own folder."""
    from dataclasses import replace

    from darkpool.client.files import write_file
    from darkpool.committee.directory import Directory
    from darkpool.tenure_file import Planned
    from darkpool.types import parse_address

    present = _tenures(data).current
    following = replace(present.plan, key_epoch=present.key_epoch + 1)
    if directory is not None:
        found = Directory.load(directory)
        following = replace(following, signers=found.signers, key=found.committee.key)
    wanted = Planned(following, None if guardian is None else parse_address(guardian))
    write_file(file, wanted.encode().encode())
    steps = "change" if following.signers == present.signers else "propose, activate, change"
    said = f"0x{following.hash.hex()}"  # what members compare
    view = {"key_epoch": following.key_epoch, "hash": said, "file": str(file), "next": steps}
    text = f"committee of key epoch {following.key_epoch}, {said}, is in {file}; next: {steps}"
    say(view, text, as_json=as_json)


@committee.command(epilog="Example: darkpool operator committee propose next-committee.json --data ./data")
def propose(file: FileArgument, data: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """Have the members in office sign the next committee, and announce it to the vault."""
    from darkpool.deployment import operator_key
    from darkpool.jsonfields import hex_text, read_hex
    from darkpool.types import Signature, address_hex, parse_address

    found = _asked(data, "/v1/operator/committee/propose", _read(file))
    chain = attached(data)
    receipt = chain.propose_committee(
        operator_key(data),
        [parse_address(member) for member in found["members"]],
        int(found["threshold"]),
        parse_address(found["guardian"]),
        [Signature(read_hex(text, "signatures", 65)) for text in found["signatures"]],
    )
    proposal, transaction = chain.proposal(), hex_text(receipt.tx_hash)
    view = {
        "epoch": proposal.epoch,
        "ready_at": proposal.ready_at,
        "guardian": address_hex(parse_address(found["guardian"])),
        "transaction": transaction,
    }
    text = f"committee {proposal.epoch}: may take office at {proposal.ready_at} (unix seconds), {transaction}"
    say(view, text, as_json=as_json)


@committee.command(epilog="Example: darkpool operator committee activate --data ./data")
def activate(data: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """Put the proposed committee and guardian into office in the vault, once its delay has passed."""
    from darkpool.deployment import operator_key
    from darkpool.jsonfields import hex_text

    chain = attached(data)
    receipt = chain.activate_committee(operator_key(data))
    epoch, transaction = chain.epoch(), hex_text(receipt.tx_hash)
    view = {"epoch": epoch, "transaction": transaction, "block": receipt.block}
    say(view, f"committee {epoch}: in office, block {receipt.block}, {transaction}", as_json=as_json)


@committee.command(epilog="Example: darkpool operator committee change next-committee.json --data ./data")
def change(file: FileArgument, data: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """Put the next committee into office in the log. Under a new key, all standing orders are released."""
    wanted, before = _read(file), _tenures(data).current
    done = _asked(data, "/v1/operator/committee", wanted)
    hint = "" if wanted.tenure.key == before.key else "; now restart the venue with the new committee.json"
    say(done, _in_office(done) + hint, as_json=as_json)


@committee.command(epilog="Example: darkpool operator committee refresh --data ./data")
def refresh(data: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """Have the members make other shares of the same key among themselves. All must be here; orders stand."""
    from dataclasses import replace

    from darkpool.tenure_file import Planned

    present = _tenures(data).current
    wanted = Planned(replace(present.plan, key_epoch=present.key_epoch + 1))
    done = _asked(data, "/v1/operator/committee", wanted)
    say(done, _in_office(done), as_json=as_json)


@committee.command(epilog="Example: darkpool operator committee first first-committee.json --data ./data")
def first(
    file: Annotated[Path, typer.Argument(help="File to write, for whoever succeeds a member.")],
    data: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Write down whom the venue began with: where a new member begins to read its log."""
    from darkpool.client.files import write_file
    from darkpool.tenure_file import Planned

    began = _tenures(data).first
    write_file(file, Planned(began).encode().encode())
    said = f"0x{began.hash.hex()}"
    say({"hash": said, "file": str(file)}, f"the first committee, {said}, is in {file}", as_json=as_json)


def _in_office(done: Mapping[str, Any]) -> str:
    text = f"key epoch {done['key_epoch']}: in office from log entry {done['sequence']}"
    return f"{text}; {done['released']} orders released"


def _tenures(data: Path) -> Tenures:
    """The committees the venue has had, as it says. Raises PeerFault too."""
    from commitments.errors import DecodeError
    from darkpool.cli.operator import call
    from darkpool.client.answers import MarketInfo
    from darkpool.errors import PeerFault

    for market in call(data, "GET", "/v1/markets"):
        try:
            info = MarketInfo.of(call(data, "GET", f"/v1/markets/{market['id']}"))
        except DecodeError as error:
            raise PeerFault(str(error), peer="venue") from None
        return info.tenures
    raise PeerFault("it has no markets yet", "try again in a moment", "venue")


def _read(file: Path) -> Planned:
    """Raises ConfigError."""
    from darkpool.errors import ConfigError
    from darkpool.tenure_file import Planned

    wanted = Planned.load(file)
    if wanted is None:
        raise ConfigError(f"{file}: not found", "write it with `darkpool operator committee plan`")
    return wanted


def _asked(data: Path, path: str, wanted: Planned) -> Any:  # noqa: ANN401 - as `call`
    """The venue's answer to a committee. Raises as `call`."""
    from darkpool.cli.operator import call

    return call(data, "POST", path, json.loads(wanted.encode()), seconds=CHANGE_SECONDS)

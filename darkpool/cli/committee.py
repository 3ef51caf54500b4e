"""The change of the committee and of the vault's guardian: in the vault, and in the venue's log.

    plan -> (every member gets the file) -> propose -> (the vault's delay) -> activate -> change

A refresh of the shares keeps the signers: it is planned and changed, and nothing is said on chain.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.options import DEFAULT_FOLDER, FolderOption, JsonOption
from darkpool.cli.settling import attached
from darkpool.cli.trader import say

if TYPE_CHECKING:
    from darkpool.tenure_file import Planned

committee = typer.Typer(help="The change of the venue's committee.", no_args_is_help=True)

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

    present = _present(data)
    following = replace(present.tenure, key_epoch=present.tenure.key_epoch + 1, since=0)
    if directory is not None:
        found = Directory.load(directory)
        following = replace(following, signers=found.signers, key=found.committee.key)
    wanted = Planned(following, None if guardian is None else parse_address(guardian))
    write_file(file, wanted.encode().encode())
    steps = "change" if following.signers == present.tenure.signers else "propose, activate, change"
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

    found = _said(data, "/v1/operator/committee/propose", file)
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
    done = _said(data, "/v1/operator/committee", file)
    text = f"key epoch {done['key_epoch']}: in office from log entry {done['sequence']}"
    say(done, f"{text}; {done['released']} orders released", as_json=as_json)


def _present(data: Path) -> Planned:
    """The committee in office, as the venue says. Raises PeerFault too."""
    from commitments.errors import DecodeError
    from darkpool.cli.operator import call
    from darkpool.client.answers import MarketInfo
    from darkpool.errors import PeerFault
    from darkpool.tenure_file import Planned

    for market in call(data, "GET", "/v1/markets"):
        try:
            info = MarketInfo.of(call(data, "GET", f"/v1/markets/{market['id']}"))
        except DecodeError as error:
            raise PeerFault(str(error), peer="venue") from None
        return Planned(info.tenures.current)
    raise PeerFault("it has no markets yet", "try again in a moment", "venue")


def _said(data: Path, path: str, file: Path) -> Any:  # noqa: ANN401 - as `call`
    """The venue's answer to the committee in a file. Raises ConfigError too."""
    from darkpool.cli.operator import call
    from darkpool.errors import ConfigError
    from darkpool.tenure_file import Planned

    wanted = Planned.load(file)
    if wanted is None:
        raise ConfigError(f"{file}: not found", "write it with `darkpool operator committee plan`")
    return call(data, "POST", path, json.loads(wanted.encode()))

"""`darkpool settle`: settlements as files, and anybody's way to bring one to the vault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.options import JsonOption
from darkpool.cli.trader import (
    DEFAULT_HOME,
    DEFAULT_VENUE,
    HomeOption,
    PassphraseOption,
    VenueOption,
    home_of,
    opened,
    say,
    secret_text,
    show,
)

if TYPE_CHECKING:
    from darkpool.client.settlements import ListedSettlement
    from darkpool.delivery import Finding
    from darkpool.signed_settlement import SignedSettlement
    from darkpool.submitter import Standing
    from darkpool.types import PrivateKey

settle = typer.Typer(help="Signed settlements: list, save, look into and submit them.", no_args_is_help=True)

SECRET_BYTES = 32
LISTED = 20
_LISTED = ("id", "state", "rounds", "rows", "netting", "block", "gas", "transaction")

FileArgument = Annotated[Path, typer.Argument(help="A settlement as `settle save` writes it.")]
RpcOption = Annotated[
    str | None, typer.Option("--rpc", help="Node of the vault's chain.", envvar="DARKPOOL_RPC_URL")
]


@settle.command("list", epilog="Example: darkpool settle list --limit 5")
def list_(
    venue: VenueOption = DEFAULT_VENUE,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=100)] = LISTED,
    as_json: JsonOption = False,
) -> None:
    """The venue's latest settlements: what each does, and where it is; --json has digests too.

    Netting: quanta traded for each that moves, by token; `all` if none has to.
    """
    from darkpool.client.settlements import listed

    rows = [_row(item) for item in listed(venue, limit)]
    show("Settlements", rows, as_json=as_json, columns=_LISTED)


@settle.command(epilog="Example: darkpool settle save 7 seven.settlement")
def save(
    which: Annotated[str, typer.Argument(help="Digest, or id: of a repeated id the latest.")],
    file: Annotated[Path, typer.Argument(help="File to write.")],
    venue: VenueOption = DEFAULT_VENUE,
    as_json: JsonOption = False,
) -> None:
    """Write a signed settlement into a file, which is all that `submit` needs."""
    from darkpool.client.files import read_file, write_file
    from darkpool.client.settlements import found
    from darkpool.errors import ConfigError, OrderRefused
    from darkpool.signed_settlement import MAX_BYTES

    signed = found(venue, which).signed
    if not signed.signatures:
        raise OrderRefused(f"settlement {signed.settlement.id}: not signed yet", "try again in a moment")
    if read_file(file, MAX_BYTES) not in {None, signed.encode()}:
        raise ConfigError(f"{file}: exists already, with something else in it", "give another name")
    write_file(file, signed.encode())
    view = {**_facts(signed), "file": str(file)}
    say(view, f"settlement {signed.settlement.id} with its signatures is in {file}", as_json=as_json)


@settle.command("show", epilog="Example: darkpool settle show seven.settlement --rpc http://127.0.0.1:8545")
def show_(file: FileArgument, rpc: RpcOption = None, as_json: JsonOption = False) -> None:
    """What a file holds, who signed it, and with --rpc what the vault says of it now."""
    from rich.console import Console
    from rich.table import Table

    from darkpool.delivery import finding, vault_of
    from darkpool.types import address_hex

    signed = _read(file)
    signers = _signers(file, signed)
    facts: dict[str, Any] = {**_facts(signed), "signers": [address_hex(s) for s in signers]}
    found = None
    if rpc is not None:
        found = finding(signed, vault_of(signed, rpc))
        facts |= {"verdict": found.verdict.value, "reason": found.text}
    if as_json:
        typer.echo(json.dumps(facts))
        return
    table = Table(title=str(file), show_header=False)
    for name, value in facts.items():
        if name != "reason":
            table.add_row(name.replace("_", " "), "\n".join(value) if isinstance(value, list) else str(value))
    console = Console()
    console.print(table)
    if found is not None:
        console.print(_sentence(found))


@settle.command(
    epilog="Example: darkpool settle submit seven.settlement --rpc http://127.0.0.1:8545 --key-file key.hex"
)
def submit(
    file: FileArgument,
    rpc: Annotated[str, typer.Option("--rpc", help="Node of its chain.", envvar="DARKPOOL_RPC_URL")],
    key_file: Annotated[
        Path | None,
        typer.Option(help="Holds the key that pays, 64 hexadecimal digits. Default: the keystore of --home."),
    ] = None,
    max_fee_gwei: Annotated[int, typer.Option(help="Most to pay per gas.", min=1, max=1_000_000)] = 200,
    bump_seconds: Annotated[int, typer.Option(help="Offer more after so long.", min=1, max=3600)] = 45,
    timeout: Annotated[int, typer.Option(help="Seconds to wait for a block.", min=1, max=86_400)] = 300,
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a signed settlement to its vault: anybody may, and it happens once whoever else does.

    It may be ended at any time; the same command goes on from what the chain says.
    """
    from darkpool.delivery import Verdict, deliver, finding, vault_of
    from darkpool.errors import SettlementRefused
    from darkpool.jsonfields import hex_text
    from darkpool.submitter import GWEI, FeeLimits

    signed = _read(file)
    chain = vault_of(signed, rpc)
    found = finding(signed, chain)
    if found.verdict not in {Verdict.READY, Verdict.SETTLED}:  # before a passphrase is asked for
        raise SettlementRefused(f"settlement {signed.settlement.id}: {found.text}", found.hint)
    number, done = signed.settlement.id, "settled already"
    if found.verdict is Verdict.SETTLED:
        landed = chain.landed(number)
        receipt = None if landed is None else chain.evm.mined(landed.place.tx_hash)
    else:
        key, limits = _key(key_file, home, passphrase_file), FeeLimits(max_fee_gwei * GWEI, bump_seconds)
        receipt, done = deliver(signed, chain, key, limits, timeout, _tell).receipt, "settled"
    view: dict[str, Any] = {"id": number, "digest": hex_text(signed.digest), "already": done != "settled"}
    if receipt is not None:
        view |= {
            "transaction": hex_text(receipt.tx_hash),
            "block": receipt.block,
            "gas_used": receipt.gas_used,
            "gas_price_wei": receipt.price,
        }
        done += f", block {receipt.block}, {receipt.gas_used} gas, transaction {view['transaction']}"
    say(view, f"settlement {number}: {done}", as_json=as_json)


def _tell(standing: Standing) -> None:
    if standing.tx_hash is not None:
        typer.echo(
            f"sent 0x{standing.tx_hash.hex()}, at most {standing.fee / 10**9:.3g} gwei per gas", err=True
        )
    if standing.trouble:
        typer.echo(standing.trouble, err=True)


def _key(file: Path | None, home: Path, passphrase_file: Path | None) -> PrivateKey:
    return private_key(file) if file else opened(home_of(home), passphrase_file).private_key


def private_key(file: Path) -> PrivateKey:
    """The key in a file, 64 hexadecimal digits. Raises ConfigError."""
    from darkpool.errors import ConfigError
    from darkpool.types import PrivateKey

    try:
        secret = bytes.fromhex(secret_text(file).strip().removeprefix("0x"))
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise ConfigError(f"{file}: not 64 hexadecimal digits", "give the file of a private key")
    return PrivateKey(secret)


def _read(file: Path) -> SignedSettlement:
    from commitments.errors import CommitmentsError
    from darkpool.client.files import read_file
    from darkpool.errors import ConfigError, SettlementRefused
    from darkpool.signed_settlement import MAX_BYTES, SignedSettlement

    data = read_file(file, MAX_BYTES)
    if data is None:
        raise ConfigError(f"{file}: not found", "check the path, or write it with `darkpool settle save`")
    try:
        return SignedSettlement.decode(data)
    except (CommitmentsError, ConfigError, SettlementRefused) as error:
        raise ConfigError(
            f"{file}: no settlement as `darkpool settle save` writes it ({error})", "save it again"
        ) from None


def _signers(file: Path, signed: SignedSettlement) -> list[Any]:
    from darkpool.errors import ConfigError, SettlementRefused
    from darkpool.settlement import recover

    try:
        return [recover(signed.settlement, signed.domain, signature) for signature in signed.signatures]
    except SettlementRefused as error:
        raise ConfigError(f"{file}: {error.message}", "save the settlement again") from None


def _facts(signed: SignedSettlement) -> dict[str, Any]:
    from darkpool.jsonfields import hex_text
    from darkpool.types import address_hex

    s = signed.settlement
    credited: dict[int, int] = {}
    for delta in s.deltas:
        credited[delta.token] = credited.get(delta.token, 0) + max(delta.amount, 0)
    return {
        "id": s.id,
        "digest": hex_text(signed.digest),
        "chain_id": signed.domain.chain_id,
        "vault": address_hex(signed.domain.contract),
        "epoch": s.epoch,
        "sealed_at": s.sealed_at,
        "accounts": len({delta.account for delta in s.deltas}),
        "deltas": len(s.deltas),
        "nullifiers": sum(row.mask.bit_count() for row in s.nullifiers),
        "credited": [f"token {token}: {quanta} quanta" for token, quanta in credited.items()],
        "signatures": len(signed.signatures),
    }


def _sentence(found: Finding) -> str:
    return f"{found.text}: {found.hint}" if found.hint else found.text


def _row(item: ListedSettlement) -> dict[str, Any]:
    from darkpool.jsonfields import hex_text

    s = item.signed.settlement
    ratios = " ".join(f"{gross / net:.2f}" if net else "all" for gross, net in item.flows)
    return {
        "id": s.id,
        "digest": hex_text(item.signed.digest),
        "state": item.state.value,
        "rounds": item.rounds,
        "rows": len(s.deltas) + len(s.nullifiers),
        "netting": ratios,
        "signed": bool(item.signed.signatures),
        "transaction": None if item.tx_hash is None else hex_text(item.tx_hash),
        "block": item.block,
        "gas": item.gas,
    }

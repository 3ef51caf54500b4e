"""The trader's keys and money: keygen, recover, deposit, withdraw, balance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darkpool.cli.arguments import TokenArgument, decimal
from darkpool.cli.options import JsonOption
from darkpool.cli.trader import (
    DEFAULT_HOME,
    DEFAULT_RPC,
    DEFAULT_VENUE,
    ChainOption,
    CheckOption,
    HomeOption,
    PassphraseOption,
    VenueOption,
    home_of,
    passphrase,
    say,
    secret_text,
    show,
    trader,
)

if TYPE_CHECKING:
    from darkpool.chain import Receipt
    from darkpool.client.trader_home import TraderHome
    from darkpool.keystore import Keystore

SECRET_BYTES = 32

SeedFile = Annotated[
    Path | None, typer.Option("--seed-file", help="Restore: file with the seed, 64 hexadecimal digits.")
]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", help="Restore: file with the private key, 64 hexadecimal digits.")
]


def keygen(
    home: HomeOption = DEFAULT_HOME,
    seed_file: SeedFile = None,
    key_file: KeyFile = None,
    backup: Annotated[
        Path | None,
        typer.Option(help="Also write seed.hex and key.hex into this folder: they restore everything."),
    ] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the trader's keystore: an account on chain, and the seed everything else follows from."""
    from darkpool.client.files import make_folder, write_file
    from darkpool.types import address_hex

    folder = home_of(home)
    with folder.lock():
        keystore = _created(folder, seed_file, key_file, passphrase_file)
    if backup is not None:
        make_folder(backup)
        write_file(backup / "seed.hex", f"{keystore.seed.hex()}\n".encode())
        write_file(backup / "key.hex", f"{keystore.private_key.hex()}\n".encode())
    address = address_hex(keystore.address)
    view = {"address": address, "keystore": str(folder.keystore)}
    say(view, f"account {address}\nkeystore {folder.keystore}", as_json=as_json)


def _created(
    folder: TraderHome, seed_file: Path | None, key_file: Path | None, passphrase_file: Path | None
) -> Keystore:
    """A new keystore, of the secrets in the files if they are given."""
    from darkpool.errors import ConfigError
    from darkpool.keystore import Keystore

    if (seed_file is None) != (key_file is None):
        raise ConfigError("restore: a seed without its key, or the reverse", "give both files, or neither")
    if folder.keystore.exists():
        raise ConfigError(f"{folder.keystore}: exists already", "give another --home, or move it away")
    seed = None if seed_file is None else _secret(seed_file)
    key = None if key_file is None else _secret(key_file)
    keystore = Keystore.create(
        folder.keystore, passphrase(passphrase_file, new=True), private_key=key, seed=seed
    )
    if seed is None:
        folder.fresh()
    return keystore


def _secret(path: Path) -> bytes:
    """32 bytes from a file of 64 hexadecimal digits. Raises ConfigError, which shows nothing of it."""
    from darkpool.errors import ConfigError

    try:
        secret = bytes.fromhex(secret_text(path).strip().removeprefix("0x"))
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise ConfigError(f"{path}: not 64 hexadecimal digits", "give the file that keygen --backup wrote")
    return secret


def recover(
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    seed_file: SeedFile = None,
    key_file: KeyFile = None,
    rpc_url: CheckOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore everything from the keystore, or from seed and key, and the venue's data."""
    from darkpool.client.views import balance_view

    folder = home_of(home)
    if seed_file is not None or key_file is not None:
        with folder.lock():
            _created(folder, seed_file, key_file, passphrase_file)
    with trader(home, venue, passphrase_file, rpc_url=rpc_url) as found:
        done = found.recover()
    view = {
        "orders": len(done.families),
        "rounds": len(done.fills),
        "receipts": done.receipts,
        "not_renewed": [str(root) for root in done.set_aside],
        "balances": [balance_view(b) for b in done.balances],
    }
    text = f"{len(done.families)} orders, {done.receipts} receipts, fills of {len(done.fills)} rounds"
    say(view, f"recovered {text}", as_json=as_json)


def deposit(
    amount: Annotated[str, typer.Argument(help="Decimal of tokens.", parser=decimal("amount"))],
    token: TokenArgument,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: ChainOption = DEFAULT_RPC,
    faucet: Annotated[
        bool, typer.Option("--faucet", help="Create the tokens first, on a test chain.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Return when the venue counts it.")] = True,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put tokens into the vault; from the first final deposit on the account may trade."""
    with trader(home, venue, passphrase_file, rpc_url=rpc_url, read_only=True) as found:
        if wait:
            typer.echo("waiting for finality", err=True)
        receipt = found.deposit(token, amount, faucet=faucet, wait=wait)
    _say_transaction(f"deposited {amount} {token}", receipt, as_json=as_json)


def withdraw(
    token: TokenArgument,
    amount: Annotated[
        str | None,
        typer.Argument(
            help="Decimal of tokens to ask for; left out: collect what was asked for.",
            parser=decimal("amount"),
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: ChainOption = DEFAULT_RPC,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the vault for tokens, and after its delay collect them. Asking releases the account's orders."""
    with trader(home, venue, passphrase_file, rpc_url=rpc_url, read_only=True) as found:
        if amount is None:
            receipt, what = found.collect(token), f"collected {token}"
        else:
            receipt, what = found.request_withdrawal(token, amount), f"asked for {amount} {token}"
    _say_transaction(what, receipt, as_json=as_json)


def _say_transaction(what: str, receipt: Receipt, *, as_json: bool) -> None:
    view = {
        "transaction": "0x" + receipt.tx_hash.hex(),
        "block": receipt.block,
        "gas_used": receipt.gas_used,
    }
    say(view, f"{what}, block {receipt.block}, transaction {view['transaction']}", as_json=as_json)


def balance(
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: CheckOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the vault holds for the account, and what of it is free; checked against the orders."""
    from darkpool.client.views import balance_view

    with trader(home, venue, passphrase_file, rpc_url=rpc_url, read_only=True) as found:
        rows = [balance_view(b) for b in found.balances()]
    columns = ("token", "balance", "free", "pending_debit", "pending_credit")
    show("Balance", rows, as_json=as_json, columns=columns)

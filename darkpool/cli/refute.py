"""`darkpool refute`: false denials answered, and the accuser's bond earned."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.options import JsonOption
from darkpool.cli.trader import (
    DEFAULT_HOME,
    DEFAULT_RPC,
    DEFAULT_VENUE,
    ChainOption,
    HomeOption,
    PassphraseOption,
    VenueOption,
    home_of,
    opened,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from darkpool.arbiter import Contested
    from darkpool.chain import Chain
    from darkpool.client.refuting import Refutation
    from darkpool.client.trader_home import TraderHome
    from darkpool.contest import SettledRecord
    from darkpool.keystore import Keystore
    from darkpool.types import PrivateKey

    Refute = Callable[[Contested, SettledRecord], Refutation | None]
    Look = Callable[[bool], list[dict[str, Any]]]

POLL_SECONDS = 60.0

MemberOption = Annotated[
    Path | None,
    typer.Option("--member", help="A member's home: answer by its own log, without the venue."),
]


def refute(
    watch: Annotated[bool, typer.Option("--watch", help="Go on looking, until Ctrl-C.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent.")] = False,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    member: MemberOption = None,
    rpc_url: ChainOption = DEFAULT_RPC,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer contests of honest settlements that deny an order or a round, by what the venue publishes.

    With --member by what a member's copy of the log holds: then the venue may be away.

    The account of the folder pays the gas and gets the accuser's bond. If nobody answers, an honest
    settlement is undone (docs/dispute.md).
    """
    from darkpool.errors import DarkpoolError

    folder = home_of(home)
    keystore = opened(folder, passphrase_file)
    with ExitStack() as stack:
        if member is None:
            look = _at_venue(venue, folder, keystore, rpc_url)
        else:
            look = _at_member(stack, member.expanduser(), keystore.private_key, rpc_url)
        while True:
            try:
                for row in look(dry_run):
                    typer.echo(json.dumps(row) if as_json else _text(row))
            except DarkpoolError as error:
                if not watch:
                    raise
                typer.echo(f"{error.message}; trying again", err=True)
            if not watch:
                return
            time.sleep(POLL_SECONDS)


def _at_venue(venue: str, folder: TraderHome, keystore: Keystore, rpc_url: str) -> Look:
    from darkpool.client.contesting import chain_of
    from darkpool.client.trader import Trader

    chain = chain_of(folder, rpc_url)

    def look(dry_run: bool) -> list[dict[str, Any]]:
        with Trader.open(venue, folder, keystore, read_only=True) as trader:
            return _answered(chain, trader.refutation, keystore.private_key, dry_run=dry_run)

    return look


def _at_member(stack: ExitStack, home: Path, key: PrivateKey, rpc_url: str) -> Look:
    from darkpool.chain import Chain
    from darkpool.client.logged import LoggedRounds, finished
    from darkpool.client.refuting import refutation

    source = stack.enter_context(LoggedRounds.of_member(home))
    chain = Chain.rpc(rpc_url, finality=0)

    def look(dry_run: bool) -> list[dict[str, Any]]:
        source.follow()
        chain.attach(source.vault)
        return _answered(chain, lambda *of: finished(refutation(source, *of)), key, dry_run=dry_run)

    return look


def _answered(chain: Chain, refutation: Refute, key: PrivateKey, *, dry_run: bool) -> list[dict[str, Any]]:
    """Every open contest, the earliest to end first, and what was done about it. None hinders another."""
    from darkpool import arbiter
    from darkpool.errors import DarkpoolError
    from darkpool.types import address_hex

    records = {record.id: record for record in arbiter.settled_of_late(chain)}
    rows = []
    for found in sorted(arbiter.contested(chain), key=lambda found: found.ends_at):
        standing = arbiter.standing(chain, found.id, found.account)
        open_until = 0 if standing.closed else standing.ends_at
        if open_until <= chain.now() or found.ends_at != open_until or found.id not in records:
            continue
        row: dict[str, Any] = {
            "settlement": found.id,
            "account": address_hex(found.account),
            "shown": None,
        }
        try:
            shown = refutation(found, records[found.id])
            row["shown"] = None if shown is None else shown.text
            if shown is not None and not dry_run:
                receipt = arbiter.refute(chain, key, shown.function, shown.arguments)
                row["transaction"] = "0x" + receipt.tx_hash.hex()
        except DarkpoolError as error:
            row["failed"] = error.message
        rows.append(row)
    return rows


def _text(row: dict[str, Any]) -> str:
    what = f"settlement {row['settlement']}, contested by {row['account']}"
    if "failed" in row:
        return f"{what}: not refuted: {row['failed']}"
    if row["shown"] is None:
        return f"{what}: nothing that is published refutes it"
    return f"{what}: {'refuted' if 'transaction' in row else 'could be refuted'} by {row['shown']}"

"""Somebody to trade with: two desks at random on a test chain, for `darkpool up --flow`.

`python -m darkpool.flow FOLDER VENUE_URL`; the node's URL is DARKPOOL_CHAIN__RPC_URL, as the venue has it.
The desks are ordinary traders with keystores of their own: they make test tokens and send a sealed order
each, of either side and near the reference, whenever a round is open. It ends when its standard input does.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Final

import httpx

from darkpool.client.intent import Wanted
from darkpool.client.trader import Trader
from darkpool.client.trader_home import TraderHome
from darkpool.errors import DarkpoolError
from darkpool.files import write_whole
from darkpool.keystore import Keystore
from darkpool.market import Side
from darkpool.order import TimeInForce
from darkpool.types import Lots, Quanta, Tick

DESKS: Final = 2
DEPOSIT_LOTS: Final = 100_000  # of each token, at the reference
MAX_LOTS: Final = 200
SPREAD_TICKS: Final = 6
PAUSE_SECONDS: Final = 2.0
_PASSPHRASE: Final = "passphrase"

log = logging.getLogger("darkpool.flow")


def keystore_of(home: TraderHome, passphrase: str) -> Keystore:
    """The desk's keystore, made at the first call. Raises KeystoreError."""
    if home.keystore.exists():
        return Keystore.open(home.keystore, passphrase)
    return Keystore.create(home.keystore, passphrase)


def passphrase_of(folder: Path) -> str:
    """One for all desks, in a file of mode 0600: what they hold are test tokens."""
    path = folder / _PASSPHRASE
    if not path.exists():
        write_whole(path, secrets.token_hex(16), 0o600)
    return path.read_text("ascii")


def fund(desk: Trader) -> None:
    """Test tokens of every market, once. Raises ChainError, PeerFault."""
    held = {b.units.symbol for b in desk.balances() if b.balance}
    for info in desk.markets.values():
        market, instrument = info.terms.market, info.instrument
        worth = market.grid.price(info.terms.market.grid.last) * DEPOSIT_LOTS
        for units, quanta in ((instrument.base, market.lot * DEPOSIT_LOTS), (instrument.quote, worth)):
            if units.symbol not in held:
                desk.deposit(units.symbol, units.text(Quanta(quanta)), faucet=True)
                held.add(units.symbol)


def order(desk: Trader, references: dict[str, str], rng: random.Random) -> None:
    """One order in every market, for its open round. Raises what `submit` raises."""
    for info in desk.markets.values():
        reference = references.get(info.name)
        if reference is None:
            continue
        instrument, grid = info.instrument, info.terms.market.grid
        side = Side(rng.randrange(2))
        lean = rng.randrange(-SPREAD_TICKS // 2, SPREAD_TICKS + 1) * (1 if side is Side.BUY else -1)
        level = min(max(grid.level(instrument.price(reference)) + lean, 0), grid.last)
        wanted = Wanted(
            side,
            instrument.quantity_text(Lots(rng.randrange(1, MAX_LOTS))),
            instrument.price_text(grid.price(Tick(level))),
            info.name,
            TimeInForce.ROUND,
        )
        desk.submit(wanted)


def references_of(venue: str) -> dict[str, str]:
    """By market, the reference of its open round. Raises httpx.HTTPError, ValueError."""
    markets = httpx.get(f"{venue}/v1/markets", trust_env=False, timeout=10).raise_for_status().json()
    return {m["name"]: m["round"]["reference_price"] for m in markets if m["round"]["state"] == "open"}


def trade(folder: Path, venue: str, rpc_url: str, rng: random.Random) -> None:
    """Trade until killed; a venue that is away, or refuses, is tried again."""
    while True:
        try:
            with ExitStack() as stack:
                desks = []
                for number in range(1, DESKS + 1):
                    home = TraderHome(folder / f"desk-{number}")
                    keystore = keystore_of(home, passphrase_of(folder))
                    desks.append(stack.enter_context(Trader.open(venue, home, keystore, rpc_url=rpc_url)))
                for desk in desks:
                    fund(desk)
                while True:
                    references = references_of(venue)
                    for desk in desks:
                        order(desk, references, rng)
                    time.sleep(PAUSE_SECONDS + rng.random() * PAUSE_SECONDS)
        except (DarkpoolError, httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            log.info("%s: %s", type(error).__name__, error)
            time.sleep(PAUSE_SECONDS)


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)  # what was signed is in the desks' folders


def main(arguments: list[str]) -> int:
    """Exit code 2 for wrong arguments."""
    rpc_url = os.environ.get("DARKPOOL_CHAIN__RPC_URL", "")
    if len(arguments) != 2 or not rpc_url:  # noqa: PLR2004
        sys.stderr.write("usage: DARKPOOL_CHAIN__RPC_URL=URL python -m darkpool.flow FOLDER VENUE_URL\n")
        return 2
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every request
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    Thread(target=_end_with_parent, daemon=True).start()
    trade(folder, arguments[1], rpc_url, random.Random())  # noqa: S311 - what to trade is no secret
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

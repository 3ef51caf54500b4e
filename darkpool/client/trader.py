"""The client: `Trader` blocks, `AsyncTrader` does not; both are shells around the same `Trading`.

home = TraderHome(Path("~/.darkpool").expanduser())
keystore = Keystore.open(home.keystore, passphrase)
with Trader.open("http://127.0.0.1:8480", home, keystore) as trader:
    placed = trader.submit(Wanted(Side.BUY, "0.50", "1999.95"))
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Final, TypeVar

import httpx

from darkpool.arbiter import Contested
from darkpool.chain import Receipt as ChainReceipt
from darkpool.client.access import Access
from darkpool.client.answers import MarketInfo
from darkpool.client.event_stream import Event
from darkpool.client.family import Family
from darkpool.client.intent import Wanted
from darkpool.client.own_order import OwnOrder
from darkpool.client.prover import Prover
from darkpool.client.refuting import AtVenue, Refutation, refutation
from darkpool.client.round_fills import RoundFills
from darkpool.client.shells import Blocking, Concurrent
from darkpool.client.steps import Steps, Unreachable
from darkpool.client.submission import Outcome, Placed
from darkpool.client.trader_home import TraderHome
from darkpool.client.trading import Balance, Recovered, Trading
from darkpool.client.venue_api import VenueRefused
from darkpool.contest import Case, Evidence, SettledRecord
from darkpool.errors import DarkpoolError, OrderRefused
from darkpool.keystore import Keystore
from darkpool.receipt import Receipt
from darkpool.types import Address, Quanta

T = TypeVar("T")

RENEW_DELAY: Final = (1.0, 10.0)
"""Seconds between which a remainder waits: long enough that nobody can tell it from a new order."""

_RECONNECT: Final = 2.0

log = logging.getLogger("darkpool.client")


class _Shell:
    """What both shells show of their `Trading`."""

    def __init__(self, trading: Trading, keystore: Keystore) -> None:
        self._trading = trading
        self.address: Final[Address] = keystore.address

    @property
    def ended(self) -> frozenset[int]:
        """Families of which nothing is to be renewed."""
        return self._trading.ended

    @property
    def set_aside(self) -> tuple[int, ...]:
        """Families with something left that are not renewed, as the folder was opened without its past."""
        return self._trading.set_aside

    def unanswered(self) -> list[OwnOrder]:
        """Orders signed here that have no answer yet."""
        return self._trading.unanswered()

    @property
    def markets(self) -> Mapping[bytes, MarketInfo]:
        """Markets by id, as they last were."""
        return self._trading.connection.markets


class Trader(_Shell):
    """One account at one venue, for one thread. Every method raises as the one of `Trading`."""

    def __init__(self, trading: Trading, keystore: Keystore, shell: Blocking) -> None:
        super().__init__(trading, keystore)
        self._shell = shell

    @classmethod
    @contextmanager
    def open(
        cls,
        venue: str,
        home: TraderHome,
        keystore: Keystore,
        *,
        rpc_url: str | None = None,
        read_only: bool = False,
        send: bool = True,
        workers: int = 0,
    ) -> Iterator[Trader]:
        """Connect; with `send`, unless `read_only`, what has no answer yet is sent first.

        rpc_url: of the trader's own node, for deposits and to check the venue by; workers: processes that
        prove. Raises ConfigError (the folder is in use, the venue another), Unreachable, PeerFault.
        """
        prover = Prover(workers)
        try:
            with nullcontext() if read_only else home.lock(), Blocking(venue) as shell:
                trader = cls(Trading(keystore, home, prover, rpc_url), keystore, shell)
                trader._run(trader._trading.connect(read_only=read_only, send=send))
                yield trader
        finally:
            prover.close()

    def _run(self, steps: Steps[T]) -> T:
        return self._shell.run(steps)

    def submit(self, wanted: Wanted) -> Placed:
        """Place one order."""
        (outcome,) = self.submit_many([wanted])
        return _placed(outcome)

    def submit_many(self, wanted: Sequence[Wanted]) -> list[Outcome]:
        """Place orders one behind the other, proven ahead; one outcome each."""
        return self._run(self._trading.submit(wanted))

    def replace(self, root: int, wanted: Wanted) -> Placed:
        """Put another order in the place of one that stands."""
        return self._run(self._trading.replace(root, wanted))

    def cancel(self, root: int) -> Receipt | None:
        """Take an order out."""
        return self._run(self._trading.cancel(root))

    def cancel_all(self, market: str = "") -> list[Receipt]:
        """Take every unsealed order out."""
        return self._run(self._trading.cancel_all(market))

    def renew(self) -> list[Placed]:
        """Re-submit what is due, without delay; what cannot be is left."""
        done = [self._renewed(root) for root in self._run(self._trading.due())]
        return [placed for placed in done if placed is not None]

    def _renewed(self, root: int) -> Placed | None:
        try:
            return self._run(self._trading.renew(root))
        except OrderRefused:
            return None

    def orders(self) -> dict[int, Family]:
        """All orders ever accepted, by root."""
        return self._run(self._trading.families())

    def fills(self) -> list[RoundFills]:
        """The account's part in every crossing round."""
        return self._run(self._trading.fills())

    def balances(self) -> list[Balance]:
        """Every token."""
        return self._run(self._trading.balances())

    def access(self) -> list[Access]:
        """What the account may do in each market."""
        return self._run(self._trading.access())

    def present(self, credential: bytes) -> None:
        """Present a credential about this account."""
        self._run(self._trading.present(credential))

    def recover(self) -> Recovered:
        """Everything again, from the keystore and the venue's data."""
        return self._run(self._trading.recover())

    def receipt(self, order: bytes) -> Receipt:
        """The receipt of an own order."""
        return self._run(self._trading.receipt(order))

    def check_inclusion(self, order: bytes) -> str:
        """What became of an own order, proven."""
        return self._run(self._trading.check_inclusion(order))

    def case(self, record: SettledRecord) -> Case:
        """The account's case of a settlement, kept in its folder."""
        return self._run(self._trading.disputes.case(record))

    def refutation(self, found: Contested, record: SettledRecord) -> Refutation | None:
        """What refutes somebody's contest of a settlement, of what the venue publishes."""
        return self._run(
            refutation(AtVenue(self._trading.connection, self._trading.disputes.home), found, record)
        )

    def deposit(self, token: str, amount: str, *, faucet: bool = False, wait: bool = True) -> ChainReceipt:
        """Deposit on chain; with `wait` return when the venue counts it."""
        address, _, _ = self._trading.funds.token(token)
        before = self._run(self._trading.funds.balance(address)) if wait else Quanta(0)
        receipt = self._run(self._trading.funds.deposit(token, amount, faucet=faucet))
        if wait:
            self._run(self._trading.funds.counted(token, before))
        return receipt

    def request_withdrawal(self, token: str, amount: str) -> ChainReceipt:
        """Ask the vault for tokens back."""
        return self._run(self._trading.funds.request_withdrawal(token, amount))

    def collect(self, token: str) -> ChainReceipt:
        """Take what was asked for."""
        return self._run(self._trading.funds.collect(token))

    def watch(self, last: int | None = None) -> Iterator[Event]:
        """Own and public events as they happen, from the one after `last`; it reconnects by itself."""
        while True:
            try:
                for event in self._shell.events(self._trading.api.events(last)):
                    last = event.id
                    yield event
            except (Unreachable, VenueRefused) as error:
                _check_passing(error)
            time.sleep(_RECONNECT)


class AsyncTrader(_Shell):
    """One account at one venue, for one event loop. Every method raises as the one of `Trading`."""

    def __init__(self, trading: Trading, keystore: Keystore, shell: Concurrent) -> None:
        super().__init__(trading, keystore)
        self._shell = shell
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        venue: str,
        home: TraderHome,
        keystore: Keystore,
        *,
        rpc_url: str | None = None,
        read_only: bool = False,
        send: bool = True,
        workers: int = 0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> AsyncIterator[AsyncTrader]:
        """As `Trader.open`; `transport` carries the requests, if it is not the network."""
        prover = Prover(workers)
        try:
            with nullcontext() if read_only else home.lock():
                async with Concurrent(venue, transport) as shell:
                    trader = cls(Trading(keystore, home, prover, rpc_url), keystore, shell)
                    await trader._run(trader._trading.connect(read_only=read_only, send=send))
                    yield trader
        finally:
            prover.close()

    async def _run(self, steps: Steps[T]) -> T:
        try:
            async with self._turn:  # one thing at a time: what each predicts is of the one before
                return await self._shell.run(steps)
        finally:
            steps.close()  # if it was cancelled before it began

    async def submit(self, wanted: Wanted) -> Placed:
        """Place one order."""
        (outcome,) = await self.submit_many([wanted])
        return _placed(outcome)

    async def submit_many(self, wanted: Sequence[Wanted]) -> list[Outcome]:
        """Place orders one behind the other, proven ahead; one outcome each."""
        return await self._run(self._trading.submit(wanted))

    async def replace(self, root: int, wanted: Wanted) -> Placed:
        """Put another order in the place of one that stands."""
        return await self._run(self._trading.replace(root, wanted))

    async def cancel(self, root: int) -> Receipt | None:
        """Take an order out."""
        return await self._run(self._trading.cancel(root))

    async def cancel_all(self, market: str = "") -> list[Receipt]:
        """Take every unsealed order out."""
        return await self._run(self._trading.cancel_all(market))

    async def renew(self, delay: tuple[float, float] = RENEW_DELAY) -> list[Placed]:
        """Re-submit what is due, each after a random delay; what is refused is left for the next time."""
        done = []
        for root in await self._run(self._trading.due()):
            await asyncio.sleep(delay[0] + (delay[1] - delay[0]) * secrets.randbelow(1 << 16) / (1 << 16))
            try:
                placed = await self._run(self._trading.renew(root))
            except OrderRefused as refused:
                log.warning("order %d is not renewed: %s", root, refused.code)
                continue
            if placed is not None:
                done.append(placed)
        return done

    async def orders(self) -> dict[int, Family]:
        """All orders ever accepted, by root."""
        return await self._run(self._trading.families())

    async def fills(self) -> list[RoundFills]:
        """The account's part in every crossing round."""
        return await self._run(self._trading.fills())

    async def balances(self) -> list[Balance]:
        """Every token."""
        return await self._run(self._trading.balances())

    async def access(self) -> list[Access]:
        """What the account may do in each market."""
        return await self._run(self._trading.access())

    async def present(self, credential: bytes) -> None:
        """Present a credential about this account."""
        await self._run(self._trading.present(credential))

    async def recover(self) -> Recovered:
        """Everything again, from the keystore and the venue's data."""
        return await self._run(self._trading.recover())

    async def receipt(self, order: bytes) -> Receipt:
        """The receipt of an own order."""
        return await self._run(self._trading.receipt(order))

    async def check_inclusion(self, order: bytes) -> str:
        """What became of an own order, proven."""
        return await self._run(self._trading.check_inclusion(order))

    async def look(self, market: bytes, number: int) -> tuple[SettledRecord, Evidence | None]:
        """The settlement of a round, and what shows that it wronged the account."""
        return await self._run(self._trading.disputes.look(market, number))

    async def refresh(self) -> None:
        """Look at the markets again."""
        await self._run(self._trading.connection.refresh())

    async def watch(self, last: int | None = None) -> AsyncIterator[Event]:
        """Own and public events as they happen, from the one after `last`; it reconnects by itself."""
        while True:
            try:
                async for event in self._shell.events(self._trading.api.events(last)):
                    last = event.id
                    yield event
            except (Unreachable, VenueRefused) as error:
                _check_passing(error)
            await asyncio.sleep(_RECONNECT)


def _placed(outcome: Outcome) -> Placed:
    if isinstance(outcome, DarkpoolError):
        raise outcome
    return outcome


def _check_passing(error: DarkpoolError) -> None:
    """Raises it, unless a later attempt may do."""
    if isinstance(error, VenueRefused) and error.status < 429:  # noqa: PLR2004
        raise error

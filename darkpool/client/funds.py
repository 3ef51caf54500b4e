"""Money to the vault and back, on the chain itself: the venue has no part in it but to notice."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from darkpool.chain import Chain, Receipt
from darkpool.client.answers import MarketInfo
from darkpool.client.connection import Connection
from darkpool.client.steps import Sleep
from darkpool.eip712 import sign_digest
from darkpool.errors import ConfigError, PeerFault
from darkpool.instrument import TokenUnits
from darkpool.keystore import Keystore
from darkpool.request import register_digest
from darkpool.types import Address, Quanta, TokenIndex

DEPOSIT_SECONDS: Final = 180
_PAUSE: Final = 1.0


class Funds:
    """Deposits and withdrawals of one account. Coroutines are of steps.py, and need an RPC URL."""

    def __init__(self, connection: Connection, keystore: Keystore) -> None:
        self._connection, self._keystore = connection, keystore

    def token(self, symbol: str) -> tuple[Address, TokenIndex, TokenUnits]:
        """A token that some market trades: address, place in the vault, units. Raises ConfigError."""
        units = tokens_of(self._connection.markets.values())
        for address, found in units.items():
            if found.symbol == symbol:
                return address, TokenIndex(self._connection.any.terms.tokens.index(address)), found
        raise ConfigError(
            f"token: {symbol[:32]!r} is not traded here",
            f"one of {', '.join(found.symbol for found in units.values())}",
        )

    async def deposit(self, symbol: str, amount: str, *, faucet: bool = False) -> Receipt:
        """Deposit a decimal of tokens, and register. `faucet`: create them first, on a test chain.

        Raises ConfigError, ChainRefused with the contract's reason, ChainError.
        """
        _, index, units = self.token(symbol)
        quanta, key, account = units.quanta(amount), self._keystore.private_key, self._keystore.address
        if not quanta:
            raise ConfigError("amount: nothing to deposit", f"at least {units.text(Quanta(1))}")

        def work(chain: Chain) -> Receipt:
            if faucet:
                chain.fund(account)
                chain.mint(key, index, account, quanta)
            return chain.deposit(key, index, quanta)

        receipt = await self._connection.on_chain(work)
        terms = self._connection.any.terms
        digest = register_digest(terms.domain, terms.venue, account)
        await self._connection.api.register(sign_digest(digest, key))
        return receipt

    async def counted(self, symbol: str, before: Quanta, seconds: float = DEPOSIT_SECONDS) -> None:
        """Wait until the venue's balance of the token is above what it was. Raises PeerFault in the end."""
        address, _, _ = self.token(symbol)
        ends = time.monotonic() + seconds
        while await self.balance(address) <= before:
            if time.monotonic() > ends:
                raise PeerFault(
                    f"the deposit did not count within {seconds:.0f} s",
                    "it will once the chain has it final; look at `darkpool balance`",
                    "venue",
                )
            await Sleep(_PAUSE)

    async def balance(self, token: Address) -> Quanta:
        """The account's final balance as the venue has it."""
        answer = await self._connection.api.collateral()
        return next((row.balance for row in answer.tokens if row.token == token), Quanta(0))

    async def request_withdrawal(self, symbol: str, amount: str) -> Receipt:
        """Ask the vault for a decimal of tokens; the account's orders are released. Raises as `deposit`."""
        _, index, units = self.token(symbol)
        quanta, key = units.quanta(amount), self._keystore.private_key
        return await self._connection.on_chain(lambda chain: chain.request_withdrawal(key, index, quanta))

    async def collect(self, symbol: str) -> Receipt:
        """Take what was asked for, once the vault's delay is over. Raises as `deposit`."""
        _, index, _ = self.token(symbol)
        key = self._keystore.private_key
        return await self._connection.on_chain(lambda chain: chain.withdraw(key, index))


def tokens_of(markets: Iterable[MarketInfo]) -> dict[Address, TokenUnits]:
    """The units of every token that is traded."""
    found: dict[Address, TokenUnits] = {}
    for info in markets:
        market = info.terms.market
        found |= {market.base: info.instrument.base, market.quote: info.instrument.quote}
    return found

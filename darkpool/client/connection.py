"""The venue's markets as they stand, from the venue this folder has always traded at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

import httpx

from darkpool.chain import Chain
from darkpool.client.access import Access
from darkpool.client.account_state import check_committee
from darkpool.client.answers import MarketInfo
from darkpool.client.steps import Work
from darkpool.client.trader_home import TraderHome
from darkpool.client.venue_api import VenueApi
from darkpool.client.venue_identity import VenueIdentity
from darkpool.errors import ChainError, ConfigError, PeerFault

T = TypeVar("T")

CHAIN_SECONDS: Final = 5.0
"""Within which a node must answer its first question; those that follow may take longer."""

NO_POLICY: Final = bytes(32)
"""The hash in the terms of a market without a policy."""

_SHOWN: Final = 64


class Connection:
    """Market data, pinned; and the chain, if `rpc_url` is given. Coroutines are of steps.py."""

    def __init__(self, api: VenueApi, home: TraderHome, rpc_url: str | None) -> None:
        self.api: Final = api
        self._home, self._rpc_url = home, rpc_url
        self._chain: Chain | None = None
        self.markets: dict[bytes, MarketInfo] = {}
        self.access: dict[str, Access] = {}
        """By plain name of a market, as last asked; none while no policy is in force."""

    @property
    def has_chain(self) -> bool:
        """Whether a chain can be asked."""
        return self._rpc_url is not None

    async def refresh(self) -> None:
        """Take in rounds and terms. Raises ConfigError if it is another venue, PeerFault by the chain."""
        found = {}
        for item in await self.api.markets():
            known = self.markets.get(item.id)
            shown = None if known is None else (known.terms.hash, known.tenures.current.key_epoch)
            if known is None or shown != (item.terms_hash, item.key_epoch):
                known = await self._market(item.id)
            found[item.id] = replace(
                known,
                round=item.round,
                round_state=item.round_state,
                next_seal_at=item.next_seal_at,
                live=item.live,
            )
        if not found:
            raise PeerFault("it has no markets yet", "try again in a moment", "venue")
        self.markets = found

    async def _market(self, market: bytes) -> MarketInfo:
        info = await self.api.market(market)
        if info.terms.market.id != market:
            raise PeerFault("it answers with another market", peer="venue")
        self._home.pin(VenueIdentity.of(info))
        self._home.keep_terms(info.terms)
        self.api.domain = info.terms.domain
        if self.has_chain:
            await self.on_chain(lambda chain: check_committee(chain, info.terms, info.signers), info)
        return info

    async def ask_access(self) -> None:
        """Ask what the account may do, if a policy is in force."""
        found: list[Access] = []
        if any(info.live and info.terms.policy_hash != NO_POLICY for info in self.markets.values()):
            found = await self.api.access()
        self.access = {access.market: access for access in found}

    def named(self, name: str) -> list[MarketInfo]:
        """The markets of that name or plain name, or all if none is given; closed ones too."""
        return [i for i in self.markets.values() if name in {i.name, i.terms.market.instrument, ""}]

    def _own(self, info: MarketInfo) -> bool:
        access = self.access.get(info.terms.market.instrument)
        return access is None or access.market_id in {None, info.terms.market.id}

    def market(self, name: str) -> MarketInfo:
        """The account's market of that name, or the only one if none is given. Raises ConfigError.

        Raises OrderRefused if the account has none of that name.
        """
        live = [info for info in self.named(name) if info.live]
        named = [info for info in live if self._own(info)]
        if len(named) != 1:
            asked = [self.access.get(info.terms.market.instrument) for info in live]
            for info, access in zip(live, asked, strict=True):
                if access is not None and (not access.allowed or not named):
                    access.owed(info)  # says why there is none
            raise ConfigError(
                f"market: {name[:_SHOWN]!r} is none of this venue" if name else "market: there are several",
                f"one of {', '.join(sorted({i.terms.market.instrument for i in self.markets.values()}))}",
            )
        return named[0]

    def listed(self, name: str) -> MarketInfo:
        """The market of exactly that name, a closed one too, or the account's if none is given.

        Raises as `market`.
        """
        found = [info for info in self.markets.values() if info.name == name]
        if not name or (not found and self.named(name)):
            return self.market(name)
        if not found:
            names = ", ".join(sorted(info.name for info in self.markets.values()))
            raise ConfigError(f"market: {name[:_SHOWN]!r} is none of this venue", f"one of {names}")
        return found[0]

    def info(self, market: bytes) -> MarketInfo:
        """The market of that id. Raises PeerFault for one that the venue does not list."""
        found = self.markets.get(market)
        if found is None:
            raise PeerFault(f"it names a market {market.hex()} that it does not list", peer="venue")
        return found

    @property
    def any(self) -> MarketInfo:
        """Any of the markets: what they have in common."""
        return next(iter(self.markets.values()))

    async def on_chain(self, work: Callable[[Chain], T], info: MarketInfo | None = None) -> T:
        """Do something on the chain. Raises ConfigError without an RPC URL, ChainError."""
        url, vault = self._rpc_url, (info or self.any).terms.contract
        if url is None:
            raise ConfigError("chain: no RPC URL", "give --rpc-url, or set DARKPOOL_RPC_URL")

        def done() -> T:
            _check_answers(url)
            if self._chain is None:
                chain = Chain.rpc(url, finality=0)  # every block counts: check_balances undoes the latest
                chain.attach(vault)
                self._chain = chain
            return work(self._chain)

        return await Work(done)


def _check_answers(url: str) -> None:
    """Raises ChainError, which shows nothing of the URL, if no node answers there soon."""
    question = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    try:
        with httpx.stream("POST", url, json=question, timeout=CHAIN_SECONDS):
            return  # somebody is there; `Chain.rpc` judges what they say
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        return  # it says too what a URL must be like
    except httpx.HTTPError as error:
        raise ChainError(
            f"chain: the node does not answer ({type(error).__name__}, {CHAIN_SECONDS:.0f} s at most)",
            "check DARKPOOL_RPC_URL or --rpc-url, and that the node runs",
        ) from None

"""`darkpool devnet up`: a venue's chain alone; committee, tokens and vault as `darkpool up` makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from darkpool import devnet
from darkpool.chain import Chain
from darkpool.config import Settings
from darkpool.convening import convened
from darkpool.deployment import Deployment, deploy, operator_key
from darkpool.errors import ConfigError
from darkpool.progress import Progress
from darkpool.services import connected, free_port
from darkpool.supervise import Supervisor
from darkpool.types import Address, PrivateKey, Quanta, TokenIndex, parse_address


@dataclass(frozen=True, slots=True)
class Grant:
    """Test tokens for an address; `amount` is a decimal of tokens."""

    account: Address
    amount: str
    symbol: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of ADDRESS=AMOUNT:TOKEN. Raises ConfigError."""
        address, equals, rest = text.partition("=")
        amount, colon, symbol = rest.partition(":")
        if not equals or not colon:
            raise ConfigError(
                f"mint: {text[:80]!r} is not ADDRESS=AMOUNT:TOKEN", "for example 0x12…ab=1000:USDC"
            )
        return cls(parse_address(address), amount, symbol)

    def of(self, settings: Settings) -> tuple[TokenIndex, Quanta]:
        """Token and quanta. Raises ConfigError for what is no amount of a test token of the venue."""
        symbols = [token.symbol for token in settings.token]
        if self.symbol not in symbols:
            raise ConfigError(f"mint: no token {self.symbol[:32]!r} here", f"one of {', '.join(symbols)}")
        index = symbols.index(self.symbol)
        if settings.token[index].address:
            raise ConfigError(
                f"mint: {self.symbol} is no test token of this venue", "nobody but its issuer can"
            )
        quanta = settings.units(self.symbol).quanta(self.amount)
        if not quanta:
            raise ConfigError(f"mint: no {self.symbol} to mint", "give an amount above zero")
        return TokenIndex(index), quanta


@dataclass(frozen=True, slots=True)
class Devnet:
    """A chain that is up. `supervisor.wait()` raises when it is given up."""

    deployment: Deployment
    rpc_url: str
    supervisor: Supervisor


@asynccontextmanager
async def devnet_up(
    folder: Path, settings: Settings, grants: Sequence[Grant], progress: Progress, port: int | None = None
) -> AsyncIterator[Devnet]:
    """The chain of a folder that is there, set up if it is new, for the length of the block.

    Raises ConfigError, also if it runs already or its port is taken, and ChainError.
    """
    if settings.chain.rpc_url:
        raise ConfigError("devnet: chain.rpc_url names another chain", "take it out of the settings")
    wanted = [(grant.account, *grant.of(settings)) for grant in grants]  # refused before anything is made
    async with AsyncExitStack() as stack:
        if not stack.enter_context(devnet.keeping(folder)):
            raise ConfigError(
                f"{folder}: its chain runs already at {devnet.url_of(devnet.port_of(folder))}",
                "use it, or end the `darkpool up` or `darkpool devnet up` that keeps it",
            )
        hint = "end what listens there, or use another folder with --port"
        await free_port("127.0.0.1", devnet.port_of(folder, port), hint, progress)
        program, url = devnet.program(folder, settings.chain.block_seconds)
        supervisor = await stack.enter_async_context(Supervisor([program]))
        chain = await connected(url, settings.chain.finality_blocks, progress)
        key = operator_key(folder)
        found = await asyncio.to_thread(
            convened, folder, settings, key, lambda tested: progress("key ceremony", tested, None)
        )
        deployment = await asyncio.to_thread(
            deploy, folder, settings, chain, found.committee.key, found.signers, key
        )
        await asyncio.to_thread(_mint, chain, key, wanted)
        yield Devnet(deployment, url, supervisor)


def mint(folder: Path, settings: Settings, grants: Sequence[Grant]) -> str:
    """Make test tokens on the chain of a folder, which must run; its URL. Raises ConfigError, ChainError."""
    deployment = Deployment.load(folder)
    if deployment is None:
        raise ConfigError(f"{folder}: no venue lives here", "run `darkpool devnet up` first, or give --data")
    wanted = [(grant.account, *grant.of(settings)) for grant in grants]
    url = settings.chain.rpc_url or devnet.url_of(devnet.port_of(folder))
    chain = Chain.rpc(url)
    chain.attach(deployment.vault)
    _mint(chain, operator_key(folder), wanted)
    return url


def _mint(chain: Chain, key: PrivateKey, wanted: Sequence[tuple[Address, TokenIndex, Quanta]]) -> None:
    """The tokens, and an ether for the gas of each deposit."""
    for account, token, quanta in wanted:
        chain.fund(account)
        chain.mint(key, token, account, quanta)

"""A whole venue on this machine for the length of a block: a chain, members as processes, the engine.

For `darkpool run`, the demo, benchmarks and tests. `darkpool up` keeps the same parts running as services.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from darkpool.chain import Chain, Token, VaultTerms
from darkpool.committee.coordinator import CLEAR_SECONDS, Coordinator
from darkpool.committee.home import Home
from darkpool.committee.meeting import Group, Sockets
from darkpool.committee.members import Members
from darkpool.committee.seat import Seat
from darkpool.committee.transport import Tap
from darkpool.eip712 import address_of, fresh_key
from darkpool.engine import Engine
from darkpool.log import Log
from darkpool.netting import Signers
from darkpool.store.database import Database, sqlite_url
from darkpool.store.log_store import LogStore
from darkpool.submitter import FeeLimits, Submitter
from darkpool.threads import Threads
from darkpool.types import Address, PrivateKey

_ETHER: Final = 10**20


@dataclass(frozen=True, slots=True)
class House:
    """The parts. `venue` is 32 bytes that name it; tokens: base and quote of whatever is traded here."""

    engine: Engine
    chain: Chain
    members: Members
    signers: Signers
    operator: PrivateKey = field(repr=False)
    venue: bytes
    tokens: tuple[Address, Address]


def signers_of(seats: Sequence[Seat]) -> Signers:
    """The committee as everybody knows it."""
    return Signers(seats[0].committee.threshold, {seat.index: seat.signer for seat in seats})


@asynccontextmanager
async def open_house(
    seats: Sequence[Seat],
    folder: Path,
    *,
    chain: Chain | None = None,
    modules: Sequence[str] | None = None,
    tap: Tap | None = None,
    clear_timeout: int = CLEAR_SECONDS,
) -> AsyncIterator[House]:
    """Everything is set up in `folder` and ends with the block. Raises PeerFault, ChainError, ConfigError.

    `modules` names each member's program, which tests replace by faulty ones.
    """
    signers = signers_of(seats)
    homes = []
    for seat in seats:
        homes.append(folder / f"member-{seat.index}")
        Home(signers).save(homes[-1], seat)
    async with AsyncExitStack() as stack:
        # Socket paths are short by law of the system, hence not below `folder`; mode 0700.
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dp-")))
        meeting = Sockets(sockets, Group.of(seats[0].committee), tap)
        meeting.check()
        members = await stack.enter_async_context(Members(homes, [str(sockets)], modules, restart=False))
        chain, operator = chain or Chain.embedded(), fresh_key()
        tokens = deploy(chain, signers, operator)
        database = Database.open(sqlite_url(folder / "venue.db"))
        stack.callback(database.close)
        log = Log.open(LogStore(database), seats[0].committee.key, signers)
        threads = Threads()
        stack.callback(threads.close)

        async def read_log(first: int, limit: int) -> Sequence[bytes]:
            return await threads.store(log.store.entries, first, limit)

        committee = Coordinator(signers, meeting, read_log, log.size, clear_timeout)
        stack.push_async_callback(committee.close)
        submitter = Submitter(chain, operator, FeeLimits())
        engine = Engine(log, chain, committee, submitter, threads, lambda _done: True)
        yield House(engine, chain, members, signers, operator, secrets.token_bytes(32), tokens)


def deploy(chain: Chain, signers: Signers, operator: PrivateKey) -> tuple[Address, Address]:
    """Two test tokens and a vault of them for that committee. Raises ChainError."""
    chain.fund(address_of(operator), _ETHER)
    base, quote = (chain.deploy_token(operator, name, name[:4].upper(), 18) for name in ("Base", "Quote"))
    members = tuple(sorted(signers.addresses.values()))
    chain.deploy_vault(operator, VaultTerms(members, signers.threshold, (Token(base, 1), Token(quote, 1))))
    return base, quote

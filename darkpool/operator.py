"""Opens a venue from its data folder: the log is folded again, what was under way goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from darkpool.chain import Chain
from darkpool.committee.coordinator import Coordinator
from darkpool.committee.meeting import Meeting
from darkpool.config import ChainSettings, MarketSettings, Settings
from darkpool.deployment import Deployment, operator_key
from darkpool.effects import Effects
from darkpool.engine import Committed, Engine
from darkpool.errors import ChainError, ConfigError
from darkpool.events import PAGE, Events
from darkpool.log import Log, Watch
from darkpool.market import Grid, Market
from darkpool.message import Message
from darkpool.order import Terms
from darkpool.projection import Projector
from darkpool.scheduler import Scheduler
from darkpool.screening import PolicyTerms
from darkpool.segments import Segments
from darkpool.state import VenueState
from darkpool.store.database import Database, StoreError
from darkpool.store.records import EventRow
from darkpool.store.sole import Sole
from darkpool.store.venue_store import VenueStore
from darkpool.submitter import GWEI, FeeLimits, Submitter
from darkpool.tasks import guarded
from darkpool.threads import Threads
from darkpool.types import Address, Tick
from darkpool.venue import Venue

CHECK_SECONDS: Final = 3.0

log = logging.getLogger("darkpool.operator")

Screened: TypeAlias = Callable[[AsyncExitStack, Venue, Deployment], Awaitable[None]]


@asynccontextmanager
async def open_venue(
    folder: Path, settings: Settings, meeting: Meeting, screened: Screened | None = None
) -> AsyncIterator[Venue]:
    """The venue of a folder, running, for the length of the block; its members are met at `meeting`.

    screened: gives the venue its screening, before its markets are opened.

    Raises ConfigError, also if another venue works with its database, and StoreError; ChainError if the node
    does not answer at the start.
    """
    deployment = Deployment.load(folder)
    if deployment is None:
        raise ConfigError(f"{folder}: no venue lives here yet", "run darkpool up")
    key = operator_key(folder)
    async with AsyncExitStack() as stack:
        threads = Threads()
        stack.callback(threads.close)
        chain = await threads.chain(_attached, settings.chain, deployment)
        sole = await threads.store(Sole.take, settings.database_url(folder))
        stack.callback(sole.release)
        database = await threads.store(Database.open, settings.database_url(folder))
        stack.callback(database.close)
        store = VenueStore(database)
        projectors: list[Projector] = []

        async def read_events(after: int, account: Address | None) -> Sequence[EventRow]:
            return await threads.store(lambda: store.events(after=after, account=account, limit=PAGE))

        events = Events(read_events, settings.api.stream_queue)
        stack.callback(events.close)

        def fold(watch: Watch) -> Log:
            return Log.open(store, deployment.key, deployment.signers, watch)

        def projector(state: VenueState) -> Projector:
            if not projectors:
                text = partial(price_text, settings)
                projectors.append(Projector(store, state, key, events.publish, text, fold))
            return projectors[0]

        def watch(state: VenueState, sequence: int, root: bytes, entry: Message, effects: Effects) -> None:
            projector(state).take(Committed(sequence, root, entry, effects))

        venue_log = await threads.store(fold, watch)
        await threads.store(projector(venue_log.state).flush)
        log.info("the log has %d entries, root %s", venue_log.size, venue_log.root.hex())

        async def read_log(first: int, limit: int) -> Sequence[bytes]:
            return await threads.store(store.entries, first, limit)

        committee = Coordinator(
            venue_log.state.signers,
            meeting,
            read_log,
            venue_log.size,
            clear_timeout=settings.rounds.clear_timeout,
        )
        stack.push_async_callback(committee.close)
        limits = FeeLimits(settings.chain.max_fee_gwei * GWEI, settings.chain.bump_seconds)
        engine = Engine(
            venue_log,
            chain,
            committee,
            Submitter(chain, key, limits),
            threads,
            projector(venue_log.state),
            settings.rounds.max_unsettled_rounds,
        )
        staying = guarded(_stay(sole, threads), "the only venue of its database")
        stack.callback(staying.cancel)
        venue = Venue(settings, folder, engine, threads, store, projector(venue_log.state), events, key)
        if screened is not None:
            await screened(stack, venue, deployment)

        def terms(market: MarketSettings, name: str, policy: PolicyTerms, grid: Grid | None) -> Terms:
            under = replace(deployment, key=venue_log.state.key)  # which may be another than the first
            return under.terms(settings, market, name, policy, grid)

        venue.segments = Segments(venue, terms)
        await venue.segments.open()
        await venue.settling.resume()
        await stack.enter_async_context(venue.intake)
        await stack.enter_async_context(Scheduler(venue))
        yield venue


async def _stay(sole: Sole, threads: Threads) -> None:
    """Raises ConfigError, which ends the process, once another venue has the database."""
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        with suppress(StoreError):  # others say so, and the right is asked for again
            await threads.store(sole.check)


def _attached(settings: ChainSettings, deployment: Deployment) -> Chain:
    chain = Chain.rpc(settings.rpc_url, settings.finality_blocks)
    if chain.chain_id != deployment.chain_id:
        raise ChainError(f"chain: its id is {chain.chain_id}, the venue lives on {deployment.chain_id}")
    chain.attach(deployment.vault)
    return chain


def price_text(settings: Settings, market: Market, level: Tick) -> str:
    """The decimal price of a level in the terms of that market, which the settings may have left behind.

    In quanta per lot if the settings no longer have the market. Raises ConfigError for a level it has not.
    """
    price = market.grid.price(level)
    for chosen in settings.market:
        if chosen.name == market.instrument:
            own = replace(settings.instrument(chosen), lot=market.lot, tick=market.grid.tick)
            return own.price_text(price)
    return str(int(price))

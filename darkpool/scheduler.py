"""What a venue does by itself: open rounds, seal them, follow the chain, settle, take orders from members.

Each task goes on whatever fails: what is away is tried again, and status says so.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Self

from darkpool.config import MarketSettings
from darkpool.engine import Closed
from darkpool.errors import ChainError, DarkpoolError, OrderRefused
from darkpool.market import Grid, RoundState
from darkpool.reference import Reference, reference
from darkpool.store.database import StoreError
from darkpool.store.venue_store import VenueStore
from darkpool.tasks import guarded
from darkpool.types import Quanta, Tick
from darkpool.venue import MarketView, Venue

POLL_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 3.0
HANDED_SECONDS: Final = 5.0
_SECONDS_PER_DAY: Final = 86_400
_RECENTRE: Final = 4  # a grid is drawn anew when the reference has left its middle 2/4

log = logging.getLogger("darkpool.scheduler")


class Scheduler:
    """The clock of a venue. Use as an async context manager."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._cleared: dict[bytes, Quanta] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._rounds_of: dict[bytes, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        jobs: list[tuple[str, float, Callable[[], Awaitable[None]]]] = [
            ("chain", POLL_SECONDS, self._chain),
            ("settlement", POLL_SECONDS, self._venue.settling.step),
            ("handed", HANDED_SECONDS, self._venue.take_handed),
            ("database", RETRY_SECONDS, self._database),
            ("markets", POLL_SECONDS, self._markets),
        ]
        self._tasks = [guarded(self._repeat(*job), job[0]) for job in jobs]
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._tasks, *self._rounds_of.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _repeat(self, name: str, seconds: float, job: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await job()
            except DarkpoolError as error:
                log.info("%s: %s", name, error)
            await asyncio.sleep(seconds)

    async def _chain(self) -> None:
        """Follow the chain, and say if it is about to change hands."""
        venue = self._venue
        try:
            await venue.engine.follow_chain()
            venue.chain_trouble = await venue.engine.handover()
            venue.chain_answered = time.monotonic()
        except ChainError as error:
            venue.chain_trouble = error.message
            raise

    async def _database(self) -> None:
        venue = self._venue
        try:
            await venue.read(VenueStore.size)
            await venue.catch_up()
            venue.database_trouble = ""
        except StoreError as error:
            venue.database_trouble = error.message
            raise

    async def _markets(self) -> None:
        """Follow the policy where that had to wait; let every market have its rounds."""
        venue = self._venue
        settings = {market.name: market for market in venue.settings.market}
        try:
            if venue.segments is not None and not venue.segments.settled:
                await venue.segments.follow()
        finally:
            for market, view in venue.markets.items():
                running, name = self._rounds_of.get(market), view.terms.market.instrument
                due = view.live or venue.engine.state.books[market].sealed is not None
                if due and name in settings and (running is None or running.done()):
                    self._rounds_of[market] = guarded(self._rounds(view, settings[name]), name)

    # --- rounds -------------------------------------------------------------------------------------

    async def _rounds(self, view: MarketView, settings: MarketSettings) -> None:
        """One market's rounds, one after the other, for as long as it has a place."""
        book = self._venue.engine.state.books[view.terms.market.id]
        while view.live or book.sealed is not None:
            try:
                await self._round(view, settings)
            except DarkpoolError as error:
                log.warning("market %s: %s", view.terms.market.name, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _round(self, view: MarketView, settings: MarketSettings) -> None:
        engine, market = self._venue.engine, view.terms.market.id
        book = engine.state.books[market]
        if book.sealed is not None:
            closed = await engine.recover()
            if closed is not None and closed.certificate is None:
                await asyncio.sleep(RETRY_SECONDS)
            return
        if book.round is None or book.round.state is not RoundState.OPEN:
            if self._venue.status().halted:
                await asyncio.sleep(RETRY_SECONDS)
                return
            await self._open(view, settings)
        await self._wait(view)
        if not view.live:
            return
        if self._venue.status().halted:
            await asyncio.sleep(RETRY_SECONDS)
            return
        closed = await self._closed(market)
        if closed is None:
            return
        view.round = book.current_round
        result = closed.certificate.result if closed.certificate is not None else None
        why = f", {closed.reason}" if closed.reason else ""
        name = view.terms.market.name
        log.info("market %s round %d: %s%s", name, closed.round.id, closed.round.state, why)
        if result is not None and result.crossed:
            self._cleared[market] = view.terms.market.grid.price(result.price)

    async def _closed(self, market: bytes) -> Closed | None:
        """How the round ended; None if too few orders keep it open for another interval."""
        while True:
            try:
                return await self._venue.engine.close(market)
            except OrderRefused as refusal:
                if refusal.code == "minima-not-met":
                    return None
                if refusal.code != "round-sealed":
                    raise
            await asyncio.sleep(RETRY_SECONDS)  # until another market's round is over

    async def _open(self, view: MarketView, settings: MarketSettings) -> None:
        engine, market = self._venue.engine, view.terms.market.id
        book = engine.state.books[market]
        grid = view.terms.market.grid
        last = None if book.round is None else grid.price(book.round.reference)
        cleared = self._cleared.get(market) or await self._remembered(view)
        found = await reference(settings.reference, view.instrument, grid, last, cleared)
        grid = await self._recentred(view, found)
        view.round = await engine.open(market, grid.level(found.price), f"{found.source}: {found.text}"[:200])

    async def _remembered(self, view: MarketView) -> Quanta | None:
        """The last clearing price on the present grid, of before a restart."""
        market = view.terms.market
        rows = await self._venue.read(lambda store: store.rounds(market.id, limit=50))
        for row in rows:
            if row.price is not None and row.terms_hash == view.terms.hash:
                return market.grid.price(Tick(row.price))
        return None

    async def _recentred(self, view: MarketView, found: Reference) -> Grid:
        """A new UTC day is a new session: its grid is drawn anew if the reference is far from the centre.

        That releases all standing orders, so it is not done without need.
        """
        engine, terms = self._venue.engine, view.terms
        grid = terms.market.grid
        drift = abs(grid.level(found.price) - grid.levels // 2)
        since = engine.state.books[terms.market.id].terms_at
        new_day = since // _SECONDS_PER_DAY < int(time.time()) // _SECONDS_PER_DAY
        if not new_day or drift <= grid.levels // _RECENTRE:
            return grid
        grid = Grid.centred(found.price, grid.tick, grid.levels)
        await self._venue.change_terms(view, grid)
        return grid

    async def _wait(self, view: MarketView) -> None:
        """The round's time: an interval, and a part nobody can foresee; or the operator's word."""
        rounds = self._venue.settings.rounds
        seconds = rounds.interval_seconds + secrets.randbelow(1000 * rounds.random_seconds + 1) / 1000
        view.next_seal_at = int(time.time() + seconds)
        view.seal_now.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await view.seal_now.wait()
        view.next_seal_at = None

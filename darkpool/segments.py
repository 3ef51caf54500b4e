"""The venue's markets as its settings and the policy in force want them: one for each instrument and segment.

A segment of an instrument is a market of its own in the log ("WETH-USDC/us"), with its own book and rounds.
One whose segment is gone stays listed, for what was traded there, and gets no new rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from darkpool.book import Book, same_but_policy
from darkpool.config import MarketSettings
from darkpool.errors import ConfigError, OrderRefused
from darkpool.market import WHOLE, Grid
from darkpool.order import Terms
from darkpool.screening import PolicyTerms
from darkpool.sweep import sweep
from darkpool.venue_views import MarketView

if TYPE_CHECKING:
    from darkpool.venue import Venue

TermsOf: TypeAlias = Callable[[MarketSettings, str, PolicyTerms, Grid | None], Terms]
"""(market of the settings, name in the log, what the policy adds, grid or that of the settings) -> terms."""

MAX_MARKETS: Final = 96
"""Most markets of a venue, closed ones included: a client reads so many at once."""


def market_name(instrument: str, segment: str) -> str:
    """The name in the log of a segment's market."""
    return instrument if segment == WHOLE else f"{instrument}/{segment}"


class Segments:
    """Keeps `venue.markets` in step with the policy in force."""

    def __init__(self, venue: Venue, terms_of: TermsOf) -> None:
        self._venue, self._terms_of = venue, terms_of
        self._turn = asyncio.Lock()

    def wanted(self) -> dict[bytes, tuple[MarketSettings, Terms]]:
        """The markets there should be, by id."""
        venue, found = self._venue, {}
        for settings in venue.settings.market:
            for segment, policy in venue.engine.screening.segments(settings.name).items():
                terms = self._terms(settings, market_name(settings.name, segment), policy)
                found[terms.market.id] = settings, terms
        return found

    def _terms(self, settings: MarketSettings, name: str, policy: PolicyTerms) -> Terms:
        """On the grid of its session, or of another segment's, as far as the settings are still the same."""
        terms = self._terms_of(settings, name, policy, None)
        books = self._venue.engine.state.books
        own = books.get(terms.market.id)
        beside = (b for b in books.values() if b.terms.market.instrument == settings.name)
        for book in [own] if own is not None else beside:
            now, meant = book.terms.market, terms.market
            if (now.lot, now.grid.tick, now.grid.levels) == (meant.lot, meant.grid.tick, meant.grid.levels):
                return self._terms_of(settings, name, policy, now.grid)
        return terms

    async def open(self) -> None:
        """All markets, after a start. Raises ConfigError if settings changed while a round is sealed."""
        for _, terms in self.wanted().values():
            book = self._venue.engine.state.books.get(terms.market.id)
            if book is not None and book.sealed is not None and not same_but_policy(book.terms, terms):
                number = book.sealed.round
                raise ConfigError(
                    f"market {terms.market.name}: its settings changed while round {number} is sealed",
                    "start once with the old settings, until the round has ended",
                )
        await self.follow()
        if not self._venue.markets:
            raise ConfigError(
                "the policy in force names none of the venue's markets", "add one of its to the settings"
            )

    async def follow(self) -> tuple[str, ...]:
        """Terms as they should be, markets that are gone closed, orders without a place released.

        The names of markets that still wait for the end of a round. Raises Unavailable, StoreError, and
        OrderRefused of code not-screened.
        """
        async with self._turn:  # or two callers would write the same terms
            waiting = await self._follow()
        await self.sweep()
        return waiting

    async def _follow(self) -> tuple[str, ...]:
        venue, wanted = self._venue, self.wanted()
        waiting = []
        for market, (settings, terms) in wanted.items():
            book = venue.engine.state.books.get(market)
            if book is None or book.terms != terms:
                try:
                    await venue.engine.add_market(terms)
                except OrderRefused as refusal:
                    if refusal.code != "round-sealed":
                        raise
                    waiting.append(terms.market.name)
            book = venue.engine.state.books[market]
            view = venue.markets.setdefault(market, self._view(settings, book))
            view.terms, view.live = book.terms, True
        by_name = {settings.name: settings for settings in venue.settings.market}
        for market, book in list(venue.engine.state.books.items()):
            if market not in wanted and book.terms.market.instrument in by_name:
                settings = by_name[book.terms.market.instrument]
                view = venue.markets.setdefault(market, self._view(settings, book))
                view.live = False
                view.seal_now.set()  # its clock stops
        return tuple(waiting)

    def _view(self, settings: MarketSettings, book: Book) -> MarketView:
        instrument, market = self._venue.settings.instrument(settings), book.terms.market
        if (instrument.lot, instrument.tick) != (market.lot, market.grid.tick):  # a closed one's may be old
            instrument = replace(instrument, lot=market.lot, tick=market.grid.tick)
        return MarketView(book.terms, instrument, book.round)

    @property
    def settled(self) -> bool:
        """Whether nothing waits: terms are as they should be, and closed is what should be."""
        wanted, venue = self.wanted(), self._venue
        current = all(
            market in venue.engine.state.books and venue.engine.state.books[market].terms == terms
            for market, (_, terms) in wanted.items()
        )
        return current and all(view.live == (market in wanted) for market, view in venue.markets.items())

    async def sweep(self) -> int:
        """Release what the screening no longer wants, in every book; how many orders. Raises as `follow`."""
        return sum([await sweep(self._venue.engine, book) for book in self._venue.books])

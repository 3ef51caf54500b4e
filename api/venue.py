"""How routes come by the venue they serve."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from darkpool import eip712
from darkpool.errors import OrderRefused
from darkpool.jsonfields import hex_text
from darkpool.types import Address
from darkpool.venue import MarketView, Venue


async def venue_of(request: Request) -> Venue:
    """The venue the app was made for."""  # async: FastAPI would call it in a thread
    venue: Venue = request.app.state.venue
    return venue


VenueOf: TypeAlias = Annotated[Venue, Depends(venue_of)]


def market_of(venue: Venue, market: bytes) -> MarketView:
    """Raises OrderRefused of code market-unknown."""
    found = venue.markets.get(market)
    if found is None:
        raise OrderRefused(
            f"market: {hex_text(market)} is none of this venue", "list the markets", "market-unknown"
        )
    return found


def symbols_of(venue: Venue) -> dict[Address, str]:
    """Symbols of the tokens that the markets trade, by contract."""
    found = {}
    for view in venue.markets.values():
        found[view.terms.market.base] = view.instrument.base.symbol
        found[view.terms.market.quote] = view.instrument.quote.symbol
    return found


def domain_of(venue: Venue) -> eip712.Domain:
    """The EIP-712 domain of the venue's vault, the same in every market."""
    return next(iter(venue.markets.values())).terms.domain

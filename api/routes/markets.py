"""Markets: what is traded, under which terms and keys."""

from __future__ import annotations

from fastapi import APIRouter

from api.market_views import MarketDetail, MarketItem
from api.parameters import MarketPath
from api.problems import refusals
from api.venue import VenueOf, market_of

router = APIRouter(prefix="/markets", tags=["markets"])


@router.get("", responses=refusals(parameters=False))
async def list_markets(venue: VenueOf) -> list[MarketItem]:
    """Every market with its latest round."""
    return [MarketItem.of(view, venue.tenures) for view in venue.markets.values()]


@router.get("/{market}", responses=refusals("market-unknown"))
async def show_market(market: MarketPath, venue: VenueOf) -> MarketDetail:
    """One market: grid, units, terms, keys."""
    return MarketDetail.of(market_of(venue, market), venue.tenures, venue.operator)

"""Settlements: what the committee signed for the chain, and where it is."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter

from api.parameters import DEFAULT_PAGE, BeforeQuery, HashPath, LimitQuery, Uint
from api.problems import refusals
from api.venue import VenueOf, symbols_of
from api.views import SettlementView
from darkpool.errors import OrderRefused
from darkpool.jsonfields import hex_text

router = APIRouter(prefix="/settlements", tags=["settlements"])


@dataclass(frozen=True, slots=True)
class SettlementPage:
    """Settlements, newest first; `next`: ask for those before it, null at the end."""

    items: list[SettlementView]
    next: Uint | None


@router.get("", responses=refusals("database-away"))
async def list_settlements(
    venue: VenueOf, before: BeforeQuery = None, limit: LimitQuery = DEFAULT_PAGE
) -> SettlementPage:
    """All settlements, newest first."""
    rows = await venue.read(lambda store: store.settlements(before=before, limit=limit))
    return SettlementPage(
        [SettlementView.of(row, symbols_of(venue)) for row in rows],
        rows[-1].sequence if len(rows) == limit else None,
    )


@router.get("/{digest}", responses=refusals("settlement-unknown", "database-away"))
async def show_settlement(digest: HashPath, venue: VenueOf) -> SettlementView:
    """One settlement by its digest; ids are used again after a void."""
    row = await venue.read(lambda store: store.settlement(digest))
    if row is None:
        raise OrderRefused(
            f"settlement: {hex_text(digest)} is unknown", "list the settlements", "settlement-unknown"
        )
    return SettlementView.of(row, symbols_of(venue))

"""Rounds: state, result, and the sealed list with its orders."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Response

from api.body import ORDER_TYPE
from api.parameters import (
    DEFAULT_PAGE,
    BeforeQuery,
    HashPath,
    HashText,
    HexText,
    LimitQuery,
    MarketPath,
    NumberPath,
    Uint,
)
from api.problems import refusals
from api.venue import VenueOf, market_of
from api.views import RoundView
from darkpool.errors import OrderRefused
from darkpool.jsonfields import hex_text

router = APIRouter(prefix="/rounds", tags=["rounds"])

_SEALED = refusals("market-unknown", "round-unknown", "database-away")


@dataclass(frozen=True, slots=True)
class RoundPage:
    """Rounds, newest first; `next`: ask for those before it, null at the end."""

    items: list[RoundView]
    next: Uint | None


@router.get("/{market}", responses=refusals("market-unknown", "database-away"))
async def list_rounds(
    market: MarketPath, venue: VenueOf, before: BeforeQuery = None, limit: LimitQuery = DEFAULT_PAGE
) -> RoundPage:
    """A market's rounds, newest first."""
    market_of(venue, market)
    rows = await venue.read(lambda store: store.rounds(market, before=before, limit=limit))
    return RoundPage([RoundView.of(row) for row in rows], rows[-1].number if len(rows) == limit else None)


@router.get("/{market}/{number}", responses=_SEALED)
async def show_round(market: MarketPath, number: NumberPath, venue: VenueOf) -> RoundView:
    """One round: its state, and its result once there is one."""
    market_of(venue, market)
    row = await venue.read(lambda store: store.round(market, number))
    if row is None:
        raise _unknown(number)
    return RoundView.of(row)


@dataclass(frozen=True, slots=True)
class SealedListBody:
    """darkpool/sealed_view.py, with exactly its keys."""

    market: HashText
    round: Uint
    reference: Uint
    sealed_at: Uint
    root: HashText
    terms_hash: HashText
    audit_root: HashText
    leaves: list[HexText]
    sequences: list[Uint]
    signatures: dict[str, HexText]


@router.get("/{market}/{number}/sealed", responses=_SEALED)
async def show_sealed(market: MarketPath, number: NumberPath, venue: VenueOf) -> SealedListBody:
    """The sealed list: what every member signed, leaf by leaf."""
    market_of(venue, market)
    row = await venue.read(lambda store: store.round(market, number))
    if row is None or row.root is None:
        raise _unknown(number)
    sealed = await venue.sealed_list(market, number)
    return SealedListBody(**sealed.as_json())


@dataclass(frozen=True, slots=True)
class ResultBody:
    """A result with the members' signatures of it; payload: canonical bytes (darkpool/results.py)."""

    payload: HexText


@router.get("/{market}/{number}/result", responses=_SEALED)
async def show_result(market: MarketPath, number: NumberPath, venue: VenueOf) -> ResultBody:
    """The certified result: price, volume, every account's net, and who signed for them."""
    market_of(venue, market)
    return ResultBody(hex_text(await venue.certified_result(market, number)))


@router.get(
    "/{market}/{number}/orders/{order}",
    response_class=Response,
    responses={
        200: {"content": {ORDER_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
        **refusals("market-unknown", "order-unknown", "database-away"),
    },
)
async def show_sealed_order(
    market: MarketPath, number: NumberPath, order: HashPath, venue: VenueOf
) -> Response:
    """An order of a sealed list, as its account signed it."""
    market_of(venue, market)
    listed = await venue.read(lambda store: store.sealed_orders(market, number))
    raw = await venue.raw_order(order) if order in {leaf[-32:] for _, leaf in listed} else None
    if raw is None:
        raise OrderRefused(
            f"order: {hex_text(order)} is not in sealed round {number}", "read the list", "order-unknown"
        )
    return Response(raw, media_type=ORDER_TYPE)


def _unknown(number: int) -> OrderRefused:
    return OrderRefused(f"round: {number} is unknown, or not sealed", "list the rounds", "round-unknown")

"""What only the operator may ask, signed with its key."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends, Request, status

from api.body import BODY_CODES, JSON_TYPE, Body, content_type, json_fields, parsing, request_body
from api.callers import PRIVATE_CODES, SIGNED, operator
from api.parameters import MarketPath
from api.problems import refusals
from api.venue import VenueOf, market_of
from commitments.errors import DecodeError

MAX_REASON: Final = 200

router = APIRouter(prefix="/operator", tags=["operator"], dependencies=[Depends(operator)])
_OPERATOR = (*PRIVATE_CODES, "not-the-operator")


@router.post(
    "/markets/{market}/seal",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=refusals(
        *_OPERATOR,
        "market-unknown",
        "round-closed",
        "round-sealed",
        "minima-not-met",
        "unsettled-bound",
        "settlement-expired",
        "venue-halted",
        "chain-away",
        "committee-away",
    ),
    openapi_extra=SIGNED,
)
async def seal_now(market: MarketPath, venue: VenueOf) -> None:
    """Seal the market's open round without waiting for its time."""
    market_of(venue, market)
    await venue.seal_now(market)


@router.post(
    "/settle",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=refusals(
        *_OPERATOR,
        "nothing-unsettled",
        "settlement-expired",
        "venue-halted",
        "chain-away",
        parameters=False,
    ),
    openapi_extra=SIGNED,
)
async def settle_now(venue: VenueOf) -> None:
    """Net the unsettled rounds into a settlement without waiting for more of them."""
    await venue.settling.close_now()


@router.post(
    "/halt",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=refusals(*_OPERATOR, *BODY_CODES, parameters=False),
    openapi_extra={
        **SIGNED,
        **request_body({"reason": {"type": "string", "minLength": 1, "maxLength": MAX_REASON}}),
    },
)
async def halt(request: Request, venue: VenueOf, body: Body) -> None:
    """Take no orders and seal no rounds until `resume`; what is sealed is finished."""
    content_type(request, JSON_TYPE)
    with parsing():
        reason = json_fields(body, "reason").text("reason")
        if not 1 <= len(reason) <= MAX_REASON or not reason.isprintable():
            raise DecodeError("reason", f"not 1 to {MAX_REASON} printable characters")
    await venue.halt(reason)


@router.post(
    "/resume",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=refusals(*_OPERATOR, "committee-away", "chain-away", parameters=False),
    openapi_extra=SIGNED,
)
async def resume(venue: VenueOf) -> None:
    """Go on after a halt."""
    await venue.resume()

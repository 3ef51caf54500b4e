"""What only the operator may ask, signed with its key."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends, Request, status

from api.body import BODY_CODES, JSON_TYPE, Body, content_type, json_fields, parsing, request_body
from api.callers import PRIVATE_CODES, SIGNED, operator
from api.office import AnyOffice
from api.parameters import MarketPath
from api.problems import refusals
from api.venue import VenueOf, market_of
from commitments.errors import DecodeError
from compliance.office import Office
from darkpool.jsonfields import Fields, hex_text
from darkpool.venue import Venue

MAX_REASON: Final = 200
REASON_SCHEMA: Final = {"type": "string", "minLength": 1, "maxLength": MAX_REASON}

router = APIRouter(prefix="/operator", tags=["operator"], dependencies=[Depends(operator)])
_OPERATOR = (*PRIVATE_CODES, "not-the-operator")


async def _noted(venue: Venue, office: Office | None, what: str, **body: str) -> None:
    """On record before it is done, if the venue keeps an audit log. Raises StoreError."""
    if office is not None:
        await office.operator(what, venue.operator, body)


def reason_of(fields: Fields) -> str:
    """Why the operator does something. Raises DecodeError."""
    reason = fields.text("reason")
    if not 1 <= len(reason) <= MAX_REASON or not reason.isprintable():
        raise DecodeError("reason", f"not 1 to {MAX_REASON} printable characters")
    return reason


@router.post(
    "/markets/{market}/seal",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=refusals(
        *_OPERATOR,
        "market-unknown",
        "market-closed",
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
async def seal_now(market: MarketPath, venue: VenueOf, office: AnyOffice) -> None:
    """Seal the market's open round without waiting for its time."""
    market_of(venue, market)
    await _noted(venue, office, "seal", market=hex_text(market))
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
async def settle_now(venue: VenueOf, office: AnyOffice) -> None:
    """Net the unsettled rounds into a settlement without waiting for more of them."""
    await _noted(venue, office, "settle")
    await venue.settling.close_now()


@router.post(
    "/halt",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=refusals(*_OPERATOR, *BODY_CODES, parameters=False),
    openapi_extra={
        **SIGNED,
        **request_body({"reason": REASON_SCHEMA}),
    },
)
async def halt(request: Request, venue: VenueOf, body: Body, office: AnyOffice) -> None:
    """Take no orders and seal no rounds until `resume`; what is sealed is finished."""
    content_type(request, JSON_TYPE)
    with parsing():
        reason = reason_of(json_fields(body, "reason"))
    await venue.halt(reason)  # at once, whatever the database does
    await _noted(venue, office, "halt", reason=reason)


@router.post(
    "/resume",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=refusals(*_OPERATOR, "committee-away", "chain-away", parameters=False),
    openapi_extra=SIGNED,
)
async def resume(venue: VenueOf, office: AnyOffice) -> None:
    """Go on after a halt."""
    await _noted(venue, office, "resume")
    await venue.resume()

"""What the operator alone may ask of the compliance desk: policies, blocks, mass cancellations."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, Depends, Request

from api.body import BODY_CODES, JSON_TYPE, Body, content_type, json_fields, parsing, request_body
from api.callers import PRIVATE_CODES, SIGNED, operator
from api.office import OfficeOf
from api.policy_views import AppliedView, BlockView, PolicyView, ReleasedView
from api.problems import refusals
from api.routes.operator import REASON_SCHEMA, reason_of
from api.venue import VenueOf
from compliance.blocks import BlockKind
from compliance.policy_files import policy_of
from compliance.policy_toml import PolicyError
from darkpool.errors import OrderRefused
from darkpool.types import address_hex

router = APIRouter(prefix="/operator", tags=["operator"], dependencies=[Depends(operator)])

_OPERATOR: Final = (*PRIVATE_CODES, "not-the-operator", "compliance-away")
_CHANGES: Final = (*_OPERATOR, *BODY_CODES, "venue-halted", "not-screened")
_SUBJECT: Final = {
    "kind": {"type": "string", "enum": list(BlockKind)},
    "subject": {"type": "string", "minLength": 1, "maxLength": 64},
    "reason": REASON_SCHEMA,
}
_FILES: Final = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": "string", "contentEncoding": "base64"},
}


@router.post(
    "/policies",
    responses=refusals(*_CHANGES, "policy-invalid", parameters=False),
    openapi_extra={**SIGNED, **request_body({"files": _FILES})},
)
async def apply(request: Request, venue: VenueOf, body: Body, office: OfficeOf) -> AppliedView:
    """Put a policy in force: its files in base64, by name. An invalid one changes nothing."""
    content_type(request, JSON_TYPE)
    try:
        with parsing():
            files = json_fields(body, "files").member("files")
            policy = await asyncio.to_thread(policy_of, files)
        done = await office.apply(policy, address_hex(venue.operator))
    except PolicyError as error:
        facts: dict[str, str | int] = {"file": error.file}
        if error.line is not None:
            facts["line"] = error.line
        raise OrderRefused(error.message, error.hint, "policy-invalid", facts) from None
    return AppliedView(PolicyView.of(office.current), list(done.waiting), done.released)


@router.get("/blocks", responses=refusals(*_OPERATOR, parameters=False), openapi_extra=SIGNED)
async def list_blocks(office: OfficeOf) -> list[BlockView]:
    """What is stopped."""
    return [BlockView.of(block) for block in office.blocks()]


@router.post(
    "/block",
    responses=refusals(*_CHANGES, "bad-block", parameters=False),
    openapi_extra={**SIGNED, **request_body(_SUBJECT)},
)
async def block(request: Request, venue: VenueOf, body: Body, office: OfficeOf) -> ReleasedView:
    """Stop a market, jurisdiction, account or issuer: no new orders, and those that stand leave."""
    kind, subject, reason = _subject(request, body)
    return ReleasedView(await office.block(kind, subject, reason, address_hex(venue.operator)))


@router.post(
    "/unblock",
    responses=refusals(*_CHANGES, "bad-block", "block-unknown", parameters=False),
    openapi_extra={**SIGNED, **request_body(_SUBJECT)},
)
async def unblock(request: Request, venue: VenueOf, body: Body, office: OfficeOf) -> list[BlockView]:
    """Lift a block; the blocks that are left."""
    kind, subject, reason = _subject(request, body)
    await office.unblock(kind, subject, reason, address_hex(venue.operator))
    return [BlockView.of(each) for each in office.blocks()]


def _subject(request: Request, body: bytes) -> tuple[str, str, str]:
    content_type(request, JSON_TYPE)
    with parsing():
        fields = json_fields(body, "kind", "subject", "reason")
        return fields.text("kind"), fields.text("subject"), reason_of(fields)


@router.post(
    "/markets/{market}/mass-cancel",
    responses=refusals(*_CHANGES, "market-unknown"),
    openapi_extra={**SIGNED, **request_body({"reason": REASON_SCHEMA})},
)
async def mass_cancel(
    market: str, request: Request, venue: VenueOf, body: Body, office: OfficeOf
) -> ReleasedView:
    """Release every unsealed order of a market, of that plain name, in all its segments."""
    content_type(request, JSON_TYPE)
    with parsing():
        reason = reason_of(json_fields(body, "reason"))
    if market not in office.markets:
        raise OrderRefused("market: no such name", "list the markets", "market-unknown")
    return ReleasedView(await office.mass_cancel(market, reason, address_hex(venue.operator)))

"""Orders: submit, replace, cancel, and what became of one. Each acceptance is answered with a receipt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Depends, Request, Response, status

from api.body import (
    ADDRESS_SCHEMA,
    BODY_CODES,
    HASH_SCHEMA,
    JSON_TYPE,
    NONCE_SCHEMA,
    ORDER_SCHEMA,
    ORDER_TYPE,
    SIGNATURE_SCHEMA,
    Body,
    content_type,
    json_fields,
    parsing,
    request_body,
)
from api.callers import PRIVATE_CODES, SIGNED, CallerOf
from api.parameters import HashPath, NumberPath
from api.problems import refusals
from api.receipt_views import EvidenceView, ReceiptView
from api.venue import VenueOf
from api.views import OrderView
from darkpool.eip712 import SIGNATURE_BYTES
from darkpool.errors import OrderRefused
from darkpool.inclusion import Evidence
from darkpool.jsonfields import hex_text
from darkpool.receipt import Receipt
from darkpool.store.records import OrderRow, ReceiptRow
from darkpool.store.venue_store import VenueStore
from darkpool.types import Address

router = APIRouter(prefix="/orders", tags=["orders"])

_ADMISSION = (
    *BODY_CODES,
    "order-malformed",
    "order-times",
    "order-unproven",
    "bad-signature",
    "account-unknown",
    "account-halted",
    "market-unknown",
    "terms-mismatch",
    "collateral-decreased",
    "nonce-used",
    "nonce-beyond-window",
    "round-closed",
    "quota-exceeded",
    "book-full",
    "queue-full",
    "policy-denied",
    "operator-block",
    "wrong-segment",
    "handle-missing",
    "not-screened",
    "venue-halted",
    "database-away",
    "chain-away",
    "committee-away",
)
_CANCELLATION = (
    *BODY_CODES,
    "bad-signature",
    "market-unknown",
    "venue-halted",
    "database-away",
    "committee-away",
)
_PRIVATE = refusals(*PRIVATE_CODES, "order-unknown")


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=refusals(*_ADMISSION, parameters=False),
    openapi_extra=request_body({"order": ORDER_SCHEMA}, order=True),
)
async def submit(request: Request, response: Response, venue: VenueOf, body: Body) -> ReceiptView:
    """Submit a sealed order, in binary or in base64. Sending it again has the same answer."""
    raw = body
    if content_type(request, ORDER_TYPE, JSON_TYPE) == JSON_TYPE:
        with parsing():
            raw = json_fields(body, "order").base64("order")
    receipt = await venue.submit(raw)
    response.headers["Location"] = f"/v1/orders/{hex_text(receipt.subject)}"
    return ReceiptView.of(receipt)


@router.post(
    "/cancellations",
    responses=refusals(*_CANCELLATION, "order-not-standing", "order-sealed", parameters=False),
    openapi_extra=request_body(
        {
            "market": HASH_SCHEMA,
            "account": ADDRESS_SCHEMA,
            "nonce": NONCE_SCHEMA,
            "signature": SIGNATURE_SCHEMA,
        }
    ),
)
async def cancel(request: Request, venue: VenueOf, body: Body) -> ReceiptView:
    """Take an unsealed order out of the book at its account's signed wish."""
    content_type(request, JSON_TYPE)
    wish = _wish(body, "nonce")
    return ReceiptView.of(await venue.cancel(*wish))


@router.post(
    "/mass-cancellations",
    responses=refusals(*_CANCELLATION, parameters=False),
    openapi_extra=request_body(
        {
            "market": HASH_SCHEMA,
            "account": ADDRESS_SCHEMA,
            "below": NONCE_SCHEMA,
            "signature": SIGNATURE_SCHEMA,
        }
    ),
)
async def cancel_all(request: Request, venue: VenueOf, body: Body) -> ReceiptView:
    """Take all unsealed orders of an account with nonces below one out of a market's book."""
    content_type(request, JSON_TYPE)
    wish = _wish(body, "below")
    return ReceiptView.of(await venue.cancel_all(*wish))


def _wish(body: bytes, number: str) -> tuple[bytes, Address, int, bytes]:
    """Market, account, the nonce so called, signature. Raises OrderRefused of code body-malformed."""
    with parsing():
        fields = json_fields(body, "market", "account", number, "signature")
        return (
            fields.octets("market", 32),
            fields.address("account"),
            fields.uint(number),
            fields.octets("signature", SIGNATURE_BYTES),
        )


@router.put(
    "/{nonce}/replacement",
    responses=refusals(*_ADMISSION, "order-not-standing", "order-sealed", "replace-mismatch"),
    openapi_extra=request_body({"order": ORDER_SCHEMA, "signature": SIGNATURE_SCHEMA}),
)
async def replace(nonce: NumberPath, request: Request, venue: VenueOf, body: Body) -> ReceiptView:
    """Put a sealed order in the place of the account's order of that nonce; `signature` cancels the old one.

    The new order is proven against the free collateral with the old order's lock returned.
    """
    content_type(request, JSON_TYPE)
    with parsing():
        fields = json_fields(body, "order", "signature")
        raw, signature = fields.base64("order"), fields.octets("signature", SIGNATURE_BYTES)
    return ReceiptView.of(await venue.replace(raw, nonce, signature))


async def own_order(order: HashPath, venue: VenueOf, signed: CallerOf) -> OrderRow:
    """The order of the path. Raises OrderRefused of code order-unknown, also if it is somebody else's."""
    row = await venue.read(lambda store: store.order(order))
    if row is None or row.account != signed.account:
        raise OrderRefused(f"order: {hex_text(order)} is none of yours", "list your orders", "order-unknown")
    return row


OwnOrderOf: TypeAlias = Annotated[OrderRow, Depends(own_order)]


@router.get("/{order}", responses=_PRIVATE, openapi_extra=SIGNED)
async def show_order(order: OwnOrderOf) -> OrderView:
    """What became of an own order."""
    return OrderView.of(order)


@router.get("/{order}/evidence", responses=_PRIVATE, openapi_extra=SIGNED)
async def show_evidence(order: OwnOrderOf, venue: VenueOf) -> EvidenceView:
    """The log entries that took an own order in and out, with their places: for `darkpool receipt check`."""

    def read(store: VenueStore) -> tuple[bytes, bytes, ReceiptRow | None]:
        ending = b"" if order.ended_sequence is None else store.entry(order.ended_sequence)
        return store.entry(order.sequence), ending, store.receipt(order.hash)

    entry, ending, kept = await venue.read(read)
    size = venue.status().log_size
    path, root = await venue.inclusion(order.sequence, size)
    promised_size = size if kept is None else Receipt.from_json(json.loads(kept.payload)).size
    promised, _ = await venue.inclusion(order.sequence, promised_size)
    ending_path: Sequence[bytes] = ()
    if order.ended_sequence is not None:
        ending_path, _ = await venue.inclusion(order.ended_sequence, size)
    evidence = Evidence(
        size=size,
        root=root,
        entry=entry,
        promised=tuple(promised),
        path=tuple(path),
        ending=ending,
        ending_sequence=order.ended_sequence or 0,
        ending_path=tuple(ending_path),
    )
    return EvidenceView(**evidence.as_json())

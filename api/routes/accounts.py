"""Accounts: registration, and what each alone may read of itself."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, status

from api.body import (
    ADDRESS_SCHEMA,
    BODY_CODES,
    JSON_TYPE,
    SIGNATURE_SCHEMA,
    Body,
    content_type,
    json_fields,
    parsing,
    request_body,
)
from api.callers import PRIVATE_CODES, SIGNED, OwnerOf
from api.parameters import (
    DEFAULT_PAGE,
    AddressText,
    AfterQuery,
    HexText,
    LimitQuery,
    MarketQuery,
    StateQuery,
    Uint,
)
from api.problems import refusals
from api.venue import VenueOf
from api.views import FillView, OrderView
from darkpool.eip712 import SIGNATURE_BYTES
from darkpool.jsonfields import hex_text
from darkpool.store.records import FillRow
from darkpool.store.venue_store import VenueStore
from darkpool.types import address_hex

router = APIRouter(prefix="/accounts", tags=["accounts"])
_OWN = refusals(*PRIVATE_CODES, "not-the-account")


@router.post(
    "",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=refusals(
        *BODY_CODES, "bad-signature", "policy-denied", "not-screened", "database-away", parameters=False
    ),
    openapi_extra=request_body({"account": ADDRESS_SCHEMA, "signature": SIGNATURE_SCHEMA}),
)
async def register(request: Request, venue: VenueOf, body: Body) -> None:
    """Register an account with its signature; doing so again changes nothing."""
    content_type(request, JSON_TYPE)
    with parsing():
        fields = json_fields(body, "account", "signature")
        account, signature = fields.address("account"), fields.octets("signature", SIGNATURE_BYTES)
    await venue.register(account, signature)


@dataclass(frozen=True, slots=True)
class TokenCollateral:
    """Free collateral of a token as a commitment (48 bytes) with its version; public amounts in quanta.

    pending_debit, pending_credit: of settlements that are not final.
    """

    token: AddressText
    commitment: HexText
    version: Uint
    balance: Uint
    pending_debit: Uint
    pending_credit: Uint


@dataclass(frozen=True, slots=True)
class Collateral:
    """What an account's next order is proven against; `known`: it has had a final deposit."""

    account: AddressText
    known: bool
    halted: bool
    reasons: list[str]
    lowest_unused: Uint
    used_above: list[Uint]
    tokens: list[TokenCollateral]


@router.get("/{account}/collateral", responses=_OWN, openapi_extra=SIGNED)
async def show_collateral(account: OwnerOf, venue: VenueOf) -> Collateral:
    """The account's commitments, balances and nonces."""
    found = await venue.collateral(account)
    tokens = [
        TokenCollateral(
            token=address_hex(t.token),
            commitment=hex_text(t.commitment),
            version=t.version,
            balance=t.balance,
            pending_debit=t.pending_debit,
            pending_credit=t.pending_credit,
        )
        for t in found.tokens
    ]
    return Collateral(
        account=address_hex(account),
        known=found.known,
        halted=found.halted,
        reasons=list(found.reasons),
        lowest_unused=found.lowest_unused,
        used_above=sorted(found.used_above),
        tokens=tokens,
    )


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Orders by sequence; `next`: ask for those after it, null at the end."""

    items: list[OrderView]
    next: Uint | None


@router.get("/{account}/orders", responses=_OWN, openapi_extra=SIGNED)
async def list_orders(
    account: OwnerOf,
    venue: VenueOf,
    market: MarketQuery = None,
    state: StateQuery = None,
    after: AfterQuery = None,
    limit: LimitQuery = DEFAULT_PAGE,
) -> OrderPage:
    """The account's orders, oldest first."""
    rows = await venue.read(
        lambda store: store.orders(
            account, market=market, states=state, after=-1 if after is None else after, limit=limit
        )
    )
    return OrderPage([OrderView.of(row) for row in rows], rows[-1].sequence if len(rows) == limit else None)


@dataclass(frozen=True, slots=True)
class FillPage:
    """Fills by sequence; `next`: ask for those after it, null at the end."""

    items: list[FillView]
    next: Uint | None


@router.get("/{account}/fills", responses=_OWN, openapi_extra=SIGNED)
async def list_fills(
    account: OwnerOf, venue: VenueOf, after: AfterQuery = None, limit: LimitQuery = DEFAULT_PAGE
) -> FillPage:
    """The account's fills with the totals the members sealed to it, oldest first."""

    def read(store: VenueStore) -> tuple[list[FillRow], list[FillView]]:
        rows = store.fills(account, after=-1 if after is None else after, limit=limit)
        return rows, [FillView.of(row, store.boxes(row.market, row.round, account)) for row in rows]

    rows, views = await venue.read(read)
    return FillPage(views, rows[-1].sequence if len(rows) == limit else None)

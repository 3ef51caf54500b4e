"""Disclosure: accounts grant and revoke, auditors ask where to look, accounts see who did.

A grant's signature is its authorisation; queries and reads are signed requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any, Final, TypeAlias

from fastapi import APIRouter, Depends, Query, Request, status

from api.body import (
    ADDRESS_SCHEMA,
    BODY_CODES,
    HASH_SCHEMA,
    JSON_TYPE,
    SIGNATURE_SCHEMA,
    Body,
    content_type,
    parsing,
)
from api.callers import PRIVATE_CODES, SIGNED, CallerOf, Limits, OwnerOf
from api.disclosure_views import (
    AccessPage,
    AccessView,
    AnswerView,
    GrantPage,
    GrantState,
    KeptGrantView,
    RevocationState,
)
from api.parameters import DEFAULT_PAGE, AfterQuery, HashPath, LimitQuery
from api.problems import refusals
from compliance import grant_revocations, grants
from compliance.disclosure import Disclosure
from compliance.disclosure_query import Query as Asked
from compliance.grant_revocations import Revocation
from compliance.grants import Grant, GrantRefused
from darkpool import jsontext
from darkpool.errors import OrderRefused
from darkpool.jsonfields import hex_text
from darkpool.types import Address

GRANT_TYPE: Final = "application/vnd.darkpool.grant"
REVOCATION_TYPE: Final = "application/vnd.darkpool.grant-revocation"

router = APIRouter(tags=["disclosure"])
_DAY_SCHEMA: Final = {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1}
_TIME_SCHEMA: Final = {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1}
_TEXT_SCHEMA: Final = {"type": "string", "minLength": 1, "maxLength": 256}
_COMMON: Final = ("database-away", "disclosure-away")


async def disclosure_of(request: Request) -> Disclosure:
    """The app's. Raises OrderRefused of code disclosure-away if it has none."""
    found: Disclosure | None = request.app.state.disclosure
    if found is None:
        raise OrderRefused("disclosure: this venue records none", "ask the operator", "disclosure-away")
    return found


DisclosureOf: TypeAlias = Annotated[Disclosure, Depends(disclosure_of)]


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _body(binary: str | None, *schemas: dict[str, Any]) -> dict[str, Any]:
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": list(schemas)}
    content: dict[str, Any] = {JSON_TYPE: {"schema": schema}}
    if binary is not None:
        content = {binary: {"schema": {"type": "string", "format": "binary"}}, **content}
    return {"requestBody": {"required": True, "content": content}}


_VAULT: Final = {
    "chain_id": {"type": "integer", "minimum": 1, "maximum": (1 << 64) - 1},
    "contract": ADDRESS_SCHEMA,
}
_GRANT_SCHEMA: Final = _object(
    {
        "format": {"const": grants.FORMAT},
        "version": {"const": grants.VERSION},
        **_VAULT,
        "id": HASH_SCHEMA,
        "account": ADDRESS_SCHEMA,
        "market": HASH_SCHEMA,
        "first_day": _DAY_SCHEMA,
        "last_day": _DAY_SCHEMA,
        "auditor": {"type": "string", "pattern": "^dpaudit1", "maxLength": 200},
        "purpose": _TEXT_SCHEMA,
        "issued_at": _TIME_SCHEMA,
        "expires": _TIME_SCHEMA,
        "position": _TIME_SCHEMA,
        "box": {"type": "string", "contentEncoding": "base64"},
        "signature": SIGNATURE_SCHEMA,
    }
)
_REVOCATION_SCHEMA: Final = _object(
    {
        "format": {"const": grant_revocations.FORMAT},
        "version": {"const": grants.VERSION},
        **_VAULT,
        "grant": HASH_SCHEMA,
        "account": ADDRESS_SCHEMA,
        "at": _TIME_SCHEMA,
        "signature": SIGNATURE_SCHEMA,
    }
)
_SCOPE_SCHEMA: Final = {"market": HASH_SCHEMA, "first_day": _DAY_SCHEMA, "last_day": _DAY_SCHEMA}
_QUERY_SCHEMAS: Final = (
    _object({"basis": {"const": "grant"}, "grant": HASH_SCHEMA, **_SCOPE_SCHEMA}),
    _object(
        {
            "basis": {"const": "policy"},
            "auditor": {"type": "string", "minLength": 1, "maxLength": 64},
            "legal_reference": _TEXT_SCHEMA,
            "account": ADDRESS_SCHEMA,
            **_SCOPE_SCHEMA,
        }
    ),
)


@router.post(
    "/grants",
    status_code=status.HTTP_201_CREATED,
    responses=refusals(
        *BODY_CODES,
        "grant-refused",
        "market-unknown",
        "account-unknown",
        "grants-exceeded",
        *_COMMON,
        parameters=False,
    ),
    openapi_extra=_body(GRANT_TYPE, _GRANT_SCHEMA),
)
async def keep_grant(request: Request, service: DisclosureOf, body: Body) -> GrantState:
    """Grant an auditor a view, in binary or JSON, signed by the account. Sending it again changes nothing."""
    kind = content_type(request, GRANT_TYPE, JSON_TYPE)
    with parsing(), _well_formed():
        grant = Grant.decode(body) if kind == GRANT_TYPE else Grant.from_json(jsontext.parsed(body, "body"))
    _limit(request, grant.header.account)
    return GrantState(hex_text(grant.header.id), await service.grant(grant))


@router.post(
    "/grants/{grant}/revocation",
    responses=refusals(*BODY_CODES, "grant-refused", "grant-unknown", *_COMMON),
    openapi_extra=_body(REVOCATION_TYPE, _REVOCATION_SCHEMA),
)
async def keep_revocation(
    grant: HashPath, request: Request, service: DisclosureOf, body: Body
) -> RevocationState:
    """Take a grant back from a time on, signed by its account. Of several the earliest counts."""
    kind = content_type(request, REVOCATION_TYPE, JSON_TYPE)
    with parsing(), _well_formed():
        found = (
            Revocation.decode(body)
            if kind == REVOCATION_TYPE
            else Revocation.from_json(jsontext.parsed(body, "body"))
        )
    _limit(request, found.account)
    return RevocationState(hex_text(grant), await service.revoke(grant, found))


class Side(StrEnum):
    """Which grants an account asks for."""

    GRANTOR = "grantor"
    AUDITOR = "auditor"


_OWN = refusals(*PRIVATE_CODES, "not-the-account", "disclosure-away")
SideQuery: TypeAlias = Annotated[
    Side, Query(alias="as", description="grantor: those it gave; auditor: those given to it")
]


@router.get("/accounts/{account}/grants", responses=_OWN, openapi_extra=SIGNED)
async def list_grants(
    account: OwnerOf,
    service: DisclosureOf,
    side: SideQuery = Side.GRANTOR,
    after: AfterQuery = None,
    limit: LimitQuery = DEFAULT_PAGE,
) -> GrantPage:
    """The grants that the account gave, or that were given to it as an auditor, oldest first."""
    read = service.grants_of if side is Side.GRANTOR else service.grants_to
    found = await read(account, after or 0, limit)
    return GrantPage(
        [KeptGrantView.of(kept) for kept in found], found[-1].position if len(found) == limit else None
    )


@router.post(
    "/audit/queries",
    response_model=AnswerView,
    responses=refusals(
        *PRIVATE_CODES, *BODY_CODES, "query-refused", "grant-unknown", "disclosure-away", parameters=False
    ),
    openapi_extra={**SIGNED, **_body(None, *_QUERY_SCHEMAS)},
)
async def query(request: Request, service: DisclosureOf, signed: CallerOf, body: Body) -> dict[str, Any]:
    """Ask where to look, as an auditor; the query is on record before it is answered."""
    content_type(request, JSON_TYPE)
    with parsing():
        asked = Asked.from_json(jsontext.parsed(body, "body"))
    return (await service.query(signed.account, asked)).as_json()


@router.get("/accounts/{account}/disclosures", responses=_OWN, openapi_extra=SIGNED)
async def list_disclosures(
    account: OwnerOf, service: DisclosureOf, after: AfterQuery = None, limit: LimitQuery = DEFAULT_PAGE
) -> AccessPage:
    """Who asked about the account, when, on what basis and for what; by a policy once it may be seen."""
    rows = await service.accesses(account, after or 0, limit)
    return AccessPage([AccessView.of(row) for row in rows], rows[-1].number if len(rows) == limit else None)


def _limit(request: Request, account: Address) -> None:
    limits: Limits = request.app.state.limits
    limits.accounts.take(account, "account")


@contextmanager
def _well_formed() -> Iterator[None]:
    """Turns GrantRefused (malformed) into the refusal of the body, which names the field."""
    try:
        yield
    except GrantRefused as error:
        raise OrderRefused(
            error.message, "send the fields that the API describes", "body-malformed", {"check": error.check}
        ) from None

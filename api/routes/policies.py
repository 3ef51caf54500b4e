"""Policies for everybody, and what accounts and issuers present to them."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request

from api.body import ADDRESS_SCHEMA, BODY_CODES, JSON_TYPE, SIGNATURE_SCHEMA, Body, content_type, request_body
from api.callers import PRIVATE_CODES, SIGNED, OwnerOf
from api.office import OfficeOf
from api.parameters import HashPath
from api.policy_views import AccessView, CredentialView, PolicyDetail, PolicyView, RevocationsView
from api.problems import CREDENTIAL_CODES, refusals
from darkpool.types import address_hex

router = APIRouter(tags=["compliance"])

_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1}
_VAULT: Final = {
    "format": _TEXT,
    "version": {"type": "integer"},
    "chain_id": {"type": "integer", "minimum": 1, "maximum": (1 << 64) - 1},
    "contract": ADDRESS_SCHEMA,
}
_CREDENTIAL: Final = request_body(
    {
        **_VAULT,
        "subject": ADDRESS_SCHEMA,
        "jurisdiction": _TEXT,
        "investor_class": _TEXT,
        "issued": _TIME,
        "expires": _TIME,
        "serial": _TIME,
        "issuer": ADDRESS_SCHEMA,
        "signature": SIGNATURE_SCHEMA,
    }
)
_REVOCATIONS: Final = request_body(
    {
        **_VAULT,
        "issuer": ADDRESS_SCHEMA,
        "sequence": _TIME,
        "issued": _TIME,
        "serials": {"type": "array", "items": _TIME},
        "signature": SIGNATURE_SCHEMA,
    }
)


@router.get("/policies/current", responses=refusals("policy-unknown", "compliance-away", parameters=False))
async def show_current(office: OfficeOf) -> PolicyView:
    """The policy in force."""
    return PolicyView.of(office.current)


@router.get("/policies/{hash}", responses=refusals("policy-unknown", "compliance-away", "database-away"))
async def show_policy(hash: HashPath, office: OfficeOf) -> PolicyDetail:  # noqa: A002 - the path's word
    """A policy that is or was in force, with its files."""
    return PolicyDetail.of(await office.policy(hash))


@router.get(
    "/accounts/{account}/access",
    responses=refusals(*PRIVATE_CODES, "not-the-account", "compliance-away"),
    openapi_extra=SIGNED,
)
async def show_access(account: OwnerOf, office: OfficeOf) -> list[AccessView]:
    """In which markets the account may trade now, why or why not, and how its orders must be sealed."""
    return [AccessView.of(found) for found in office.access(account)]


@router.put(
    "/accounts/{account}/credential",
    responses=refusals(
        *PRIVATE_CODES, *BODY_CODES, *CREDENTIAL_CODES, "not-the-account", "policy-unknown", "compliance-away"
    ),
    openapi_extra={**SIGNED, **_CREDENTIAL},
)
async def present(account: OwnerOf, request: Request, body: Body, office: OfficeOf) -> CredentialView:
    """Present the account's own credential, in place of the one before."""
    content_type(request, JSON_TYPE)
    claim = (await office.present(account, body)).claim
    return CredentialView(claim.jurisdiction, claim.investor_class, claim.expires)


@router.post(
    "/revocation-lists",
    responses=refusals(
        *BODY_CODES,
        "refused",
        "issuer-unknown",
        "policy-unknown",
        "venue-halted",
        "not-screened",
        "compliance-away",
        "database-away",
        parameters=False,
    ),
    openapi_extra=_REVOCATIONS,
)
async def publish(request: Request, body: Body, office: OfficeOf) -> RevocationsView:
    """Take a registered issuer's newest revocation list, which its own signature authorises."""
    content_type(request, JSON_TYPE)
    held = await office.publish(body)
    return RevocationsView(address_hex(held.issuer), held.sequence, held.issued)

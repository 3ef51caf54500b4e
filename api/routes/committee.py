"""The change of the venue's committee, signed with the operator's key; members have the last word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Depends, Request

from api.body import ADDRESS_SCHEMA, BODY_CODES, JSON_TYPE, Body, content_type, parsing, request_body
from api.callers import PRIVATE_CODES, SIGNED, operator
from api.office import AnyOffice
from api.parameters import AddressText, HexText, Uint
from api.problems import refusals
from api.venue import VenueOf
from commitments.errors import DecodeError
from compliance.office import Office
from darkpool import jsontext
from darkpool.errors import ConfigError, PeerFault, Unavailable
from darkpool.jsonfields import hex_text
from darkpool.tenure_file import Planned, planned
from darkpool.types import address_hex
from darkpool.venue import Venue

_CODES: Final = (*PRIVATE_CODES, *BODY_CODES, "not-the-operator", "committee-away", "chain-away")
_DUE: Final = {
    "key_epoch": {"type": "integer", "minimum": 1, "maximum": (1 << 64) - 1},
    "threshold": {"type": "integer", "minimum": 1, "maximum": 7},
    "members": {"type": "object", "additionalProperties": ADDRESS_SCHEMA},
    "modulus": {"type": "string", "pattern": "^[0-9a-f]+$"},
}
_OPENAPI: Final[dict[str, Any]] = {**SIGNED, **request_body(_DUE, {"guardian": ADDRESS_SCHEMA})}

router = APIRouter(prefix="/operator/committee", tags=["operator"], dependencies=[Depends(operator)])


@dataclass(frozen=True, slots=True)
class Proposal:
    """Arguments of the vault's `propose_committee`; members and signatures ascend by address."""

    epoch: Uint
    members: list[AddressText]
    threshold: Uint
    guardian: AddressText
    signatures: list[HexText]


@dataclass(frozen=True, slots=True)
class InOffice:
    """The entry of the log that put a committee into office."""

    key_epoch: Uint
    sequence: Uint
    released: Uint


def _planned(request: Request, body: bytes) -> Planned:
    content_type(request, JSON_TYPE)
    with parsing():
        try:
            return planned(jsontext.parsed(body, "body"))
        except ConfigError as error:
            raise DecodeError("committee", error.message) from None


async def _noted(venue: Venue, office: Office | None, what: str, wanted: Planned) -> None:
    """On record before it is done, if the venue keeps an audit log. Raises StoreError."""
    if office is not None:
        await office.operator(what, venue.operator, {"committee": hex_text(wanted.tenure.hash)})


@contextmanager
def _shown() -> Iterator[None]:
    """The operator may know which member refuses, and why."""
    try:
        yield
    except PeerFault as error:
        raise Unavailable(error.message, "committee", error.hint or "look at that member") from None


@router.post(
    "/propose",
    responses=refusals(*_CODES, "refused", parameters=False),
    openapi_extra=_OPENAPI,
)
async def propose(request: Request, venue: VenueOf, body: Body, office: AnyOffice) -> Proposal:
    """Have 2t+1 members in office sign the next committee for the vault. Nothing has changed yet."""
    wanted = _planned(request, body)
    await _noted(venue, office, "propose-committee", wanted)
    with _shown():
        found = await venue.propose_committee(wanted)
    return Proposal(
        found.epoch,
        [address_hex(member) for member in found.members],
        found.threshold,
        address_hex(found.guardian),
        [hex_text(signature) for signature in found.signatures],
    )


@router.post(
    "",
    responses=refusals(
        *_CODES,
        "refused",
        "round-sealed",
        "unsettled-bound",
        "venue-halted",
        "market-unknown",
        parameters=False,
    ),
    openapi_extra=_OPENAPI,
)
async def change(request: Request, venue: VenueOf, body: Body, office: AnyOffice) -> InOffice:
    """Put the next committee into office in the log; under a new key, standing orders are released."""
    wanted = _planned(request, body)
    await _noted(venue, office, "change-committee", wanted)
    with _shown():
        done = await venue.change_committee(wanted)
    return InOffice(wanted.tenure.key_epoch, done.sequence, len(done.effects.ended))

"""Bodies: read up to a bound, whatever the length announced, and only of the content types due."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final, TypeAlias

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from api.parameters import hex_schema
from api.venue import VenueOf
from commitments.errors import DecodeError
from darkpool import jsontext
from darkpool.errors import OrderRefused
from darkpool.jsonfields import Fields

ORDER_TYPE: Final = "application/vnd.darkpool.order"
JSON_TYPE: Final = "application/json"
_MAX_LENGTH_DIGITS: Final = 18
LARGE: Final = frozenset({"/v1/operator/policies", "/v1/revocation-lists"})
"""Paths whose bodies have a bound of their own."""

BODY_CODES: Final = ("content-type", "body-too-large", "body-malformed")


async def read_body(request: Request, venue: VenueOf) -> bytes:
    """The body. Raises OrderRefused of code body-too-large, before reading it if the length is announced."""
    settings = venue.settings
    large = request.url.path in LARGE
    limit = settings.compliance.max_policy_bytes if large else settings.api.max_body_bytes
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or len(announced) > _MAX_LENGTH_DIGITS or int(announced) > limit:
        raise _too_large(limit)
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
    except ClientDisconnect:
        raise OrderRefused("body: cut short", "send all of it", "body-malformed") from None
    return b"".join(parts)


def _too_large(limit: int) -> OrderRefused:
    return OrderRefused(f"body: above {limit} bytes", "send less at once", "body-too-large", {"limit": limit})


Body: TypeAlias = Annotated[bytes, Depends(read_body)]


def content_type(request: Request, *allowed: str) -> str:
    """The body's media type, one of the allowed. Raises OrderRefused of code content-type."""
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in allowed:
        raise OrderRefused(
            f"content type: {found[:64]!r}" if found else "content type: missing",
            f"send {' or '.join(allowed)}",
            "content-type",
        )
    return found


def json_fields(body: bytes, *names: str) -> Fields:
    """A JSON object of exactly these keys. Raises DecodeError."""
    return Fields(jsontext.parsed(body, "body"), "body", names)


@contextmanager
def parsing() -> Iterator[None]:
    """Turns the DecodeError of a body's field into its refusal, of code body-malformed."""
    try:
        yield
    except DecodeError as error:
        raise OrderRefused(str(error), "send the fields that the API describes", "body-malformed") from None


def request_body(
    properties: Mapping[str, Any], optional: Mapping[str, Any] | None = None, *, order: bool = False
) -> dict[str, Any]:
    """What a route documents of its body: a JSON object of these members, or an order in binary."""
    schema = {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }
    content: dict[str, Any] = {JSON_TYPE: {"schema": schema}}
    if order:
        content = {ORDER_TYPE: {"schema": {"type": "string", "format": "binary"}}, **content}
    return {"requestBody": {"required": True, "content": content}}


SIGNATURE_SCHEMA: Final = hex_schema(65)
HASH_SCHEMA: Final = hex_schema(32)
ADDRESS_SCHEMA: Final = {"type": "string", "pattern": "^0x[0-9a-f]{40}$"}
NONCE_SCHEMA: Final = {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1}
ORDER_SCHEMA: Final = {"type": "string", "contentEncoding": "base64"}

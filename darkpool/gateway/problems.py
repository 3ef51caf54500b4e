"""Refusals of the gateway as problem+json (RFC 9457), in the form the venue's API has."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import Response

from darkpool.client.steps import Unreachable
from darkpool.client.venue_api import VenueRefused
from darkpool.errors import ChainError, ConfigError, DarkpoolError, OrderRefused, PeerFault

MEDIA_TYPE: Final = "application/problem+json"
_PREFIX: Final = "urn:darkpool:problem:"

log = logging.getLogger("darkpool.gateway")

# Refusals made here; those of the venue come with its status. Others are 400.
_STATUS: Final[Mapping[str, int]] = {
    "order-unknown": HTTPStatus.NOT_FOUND,
    "account-unknown": HTTPStatus.FORBIDDEN,
    "order-not-standing": HTTPStatus.CONFLICT,
    "reference-used": HTTPStatus.CONFLICT,
    "collateral-short": HTTPStatus.CONFLICT,
    "round-closed": HTTPStatus.CONFLICT,
    "terms-mismatch": HTTPStatus.CONFLICT,
    "nonce-beyond-window": HTTPStatus.TOO_MANY_REQUESTS,
}


def problem(code: str, status: int, detail: str, hint: str = "") -> Response:
    """The response of a problem."""
    body = {
        "type": _PREFIX + code,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "hint": hint,
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return Response(json.dumps(body), status, headers, MEDIA_TYPE)


def problem_of(error: Exception) -> Response:
    """The problem an error is."""
    if isinstance(error, VenueRefused):
        # The venue's 401 is about its own signed requests, not about the token here.
        status = HTTPStatus.BAD_GATEWAY if error.status == HTTPStatus.UNAUTHORIZED else error.status
        return problem(error.code, status, error.message, error.hint)
    if isinstance(error, OrderRefused):
        return problem(error.code, _STATUS.get(error.code, HTTPStatus.BAD_REQUEST), error.message, error.hint)
    if isinstance(error, ConfigError):
        return problem("bad-parameter", HTTPStatus.BAD_REQUEST, error.message, error.hint)
    if isinstance(error, Unreachable):
        return problem("venue-away", HTTPStatus.SERVICE_UNAVAILABLE, error.message, error.hint)
    if isinstance(error, PeerFault | ChainError):
        code = "peer-fault" if isinstance(error, PeerFault) else "chain-away"
        return problem(code, HTTPStatus.BAD_GATEWAY, error.message, error.hint)
    log.error("request failed", exc_info=error)
    detail = error.message if isinstance(error, DarkpoolError) else "the gateway failed; its log says why"
    return problem("internal", HTTPStatus.INTERNAL_SERVER_ERROR, detail)

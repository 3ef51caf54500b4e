"""Refusals as HTTP: problem+json (RFC 9457), one table from code to status and title.

A problem's `type` is "urn:darkpool:problem:<code>"; `detail` says what was wrong, `hint` what to do; the
facts of a refusal are further members.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import Response

from compliance.credential_check import Check
from darkpool.errors import Busy, ChainError, DarkpoolError, OrderRefused, PeerFault, Unavailable
from darkpool.store.database import StoreError

MEDIA_TYPE: Final = "application/problem+json"
PREFIX: Final = "urn:darkpool:problem:"
RETRY_SECONDS: Final = 5

log = logging.getLogger("darkpool.api")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a code is in HTTP. Kinds of status 429 and 503 may be tried again after `RETRY_SECONDS`."""

    status: int
    title: str


CREDENTIAL_CODES: Final = tuple(f"credential-{check}" for check in Check)

KINDS: Final[Mapping[str, Kind]] = {
    # the request
    "bad-parameter": Kind(400, "A parameter of the path, the query or a header is malformed"),
    "body-malformed": Kind(400, "The body is not of the form due"),
    "bad-authorization": Kind(401, "The request is not signed, or its Authorization header is malformed"),
    "request-expired": Kind(401, "The signed request has expired, or would live too long"),
    "request-replayed": Kind(401, "The signed request was used before"),
    "bad-signature": Kind(401, "A signature is not the account's"),
    "not-the-account": Kind(403, "This belongs to another account"),
    "not-the-operator": Kind(403, "Only the operator may do this"),
    "not-found": Kind(404, "There is no such path"),
    "market-unknown": Kind(404, "There is no such market"),
    "round-unknown": Kind(404, "There is no such round, or it is not sealed yet"),
    "order-unknown": Kind(404, "There is no such order here"),
    "settlement-unknown": Kind(404, "There is no such settlement"),
    "receipt-unknown": Kind(404, "There is no receipt for this"),
    "entry-unknown": Kind(404, "The log has no such entry"),
    "grant-unknown": Kind(404, "There is no such grant"),
    "method-not-allowed": Kind(405, "The path does not take this method"),
    "body-too-large": Kind(413, "The body is above the limit"),
    "content-type": Kind(415, "The content type is not one this takes"),
    "rate-limited": Kind(429, "Too many requests"),
    "busy": Kind(429, "Too much is going on"),
    "queue-full": Kind(429, "Too many orders wait to be verified"),
    # the order
    "refused": Kind(400, "Refused"),
    "order-malformed": Kind(400, "The order is malformed"),
    "order-times": Kind(400, "The times of the order do not fit"),
    "account-unknown": Kind(403, "The account has no final deposit"),
    "order-not-standing": Kind(404, "No such order stands"),
    "terms-mismatch": Kind(409, "The order is not under the market's terms"),
    "collateral-decreased": Kind(409, "The free collateral has decreased since"),
    "nonce-used": Kind(409, "The nonce is used"),
    "nonce-beyond-window": Kind(409, "The nonce is too far ahead"),
    "account-halted": Kind(409, "The account is halted"),
    "round-closed": Kind(409, "The round takes no such order"),
    "round-sealed": Kind(409, "The round is sealed"),
    "order-sealed": Kind(409, "The order is in a sealed round"),
    "replace-mismatch": Kind(409, "The two orders are not of one account and market"),
    "minima-not-met": Kind(409, "The round lacks orders or accounts"),
    "unsettled-bound": Kind(409, "Too many rounds are not settled"),
    "nothing-unsettled": Kind(409, "No round is unsettled"),
    "settlement-expired": Kind(409, "A settlement has expired and is not void yet"),
    "order-unproven": Kind(422, "The order's proof does not hold"),
    "quota-exceeded": Kind(429, "The account has too many open orders"),
    "book-full": Kind(429, "The book is full"),
    # disclosure
    "query-refused": Kind(403, "The query is refused; `check` names what failed"),
    "grant-refused": Kind(409, "The grant or revocation is refused; `check` names what failed"),
    "grants-exceeded": Kind(429, "The account has too many grants"),
    "disclosure-away": Kind(404, "This venue takes no grants and no queries"),
    # compliance
    "policy-denied": Kind(403, "The policy does not allow it; `rule` names what decided"),
    "operator-block": Kind(403, "The operator has stopped this"),
    "issuer-unknown": Kind(403, "The policy does not register this issuer"),
    **{code: Kind(403, "The credential does not count") for code in CREDENTIAL_CODES},
    "policy-unknown": Kind(404, "There is no such policy"),
    "block-unknown": Kind(404, "There is no such block"),
    "bad-block": Kind(400, "There is nothing of that name to block"),
    "policy-invalid": Kind(422, "The policy is not valid; `file` and `line` say where"),
    "wrong-segment": Kind(409, "The account trades in another segment"),
    "handle-missing": Kind(409, "The order does not carry exactly the handles it owes"),
    "market-closed": Kind(409, "The market gets no new rounds"),
    "not-screened": Kind(409, "It could not be screened, so it is not taken"),
    "compliance-away": Kind(404, "This venue has no compliance desk"),
    # the venue
    "internal": Kind(500, "Internal error"),
    "venue-halted": Kind(503, "The venue is halted"),
    "database-away": Kind(503, "The database cannot be reached"),
    "chain-away": Kind(503, "The chain cannot be reached"),
    "committee-away": Kind(503, "The committee cannot be reached"),
}

_PARTS: Final = {
    "venue": "venue-halted",
    "database": "database-away",
    "chain": "chain-away",
    "committee": "committee-away",
}
_FAILURES: Final[Mapping[str, type[DarkpoolError]]] = {
    "database": StoreError,
    "chain": ChainError,
    "committee": PeerFault,
}
_PARAMETERS: Final = ("bad-parameter", "rate-limited", "internal")


def problem(
    code: str,
    detail: str,
    hint: str = "",
    facts: Mapping[str, str | int] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response of a problem."""
    kind = KINDS[code]
    body = {
        **(facts or {}),
        "type": PREFIX + code,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "hint": hint,
    }
    sent = dict(headers or {})
    if kind.status == HTTPStatus.UNAUTHORIZED:
        sent["WWW-Authenticate"] = "Darkpool"
    if kind.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        sent.setdefault("Retry-After", str(RETRY_SECONDS))
    return Response(json.dumps(body), kind.status, sent, MEDIA_TYPE)


def problem_of(error: DarkpoolError) -> Response:
    """The problem an error is; what is nobody else's fault stays inside."""
    if isinstance(error, OrderRefused):
        headers = {"Retry-After": str(error.retry_after)} if isinstance(error, Busy) else None
        code = error.code if error.code in KINDS else "refused"
        return problem(code, error.message, error.hint, error.facts, headers)
    if isinstance(error, Unavailable):
        return problem(_PARTS[error.part], error.message, error.hint)
    for part, kind in _FAILURES.items():
        if isinstance(error, kind):
            log.error("%s away: %s", part, error)
            return problem(_PARTS[part], f"the {part} did not answer", "send it again later")
    return internal(error)


def internal(error: Exception) -> Response:
    """A failure of ours: the caller gets an id, the log the cause under it."""
    number = secrets.token_hex(8)
    log.error("request failed, id %s", number, exc_info=error)
    return problem("internal", f"the venue failed; id {number}", "report the id to the operator")


def refusals(*codes: str, parameters: bool = True) -> dict[int | str, dict[str, Any]]:
    """What a route documents: the problems it can answer, by status."""
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in dict.fromkeys((*codes, *(_PARAMETERS if parameters else _PARAMETERS[1:]))):
        by_status[KINDS[code].status].append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {KINDS[code].title}" for code in found),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, found in sorted(by_status.items())
    }


SCHEMA: Final[Mapping[str, Any]] = {
    "title": "Problem",
    "description": "RFC 9457; further members carry the facts of the refusal.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": [PREFIX + code for code in KINDS]},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "hint"],
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
}

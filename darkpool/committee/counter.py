"""Where a member takes orders by hand: HTTP on a port of its own, two routes.

POST /v1/orders          a sealed order (application/vnd.darkpool.order)  ->  the member's acknowledgement
GET  /v1/orders/{hash}   what became of one: waiting, logged, or refused with the operator's reason
"""

from __future__ import annotations

import re
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from darkpool.buckets import TokenBuckets
from darkpool.committee.handed import Handed
from darkpool.errors import Busy, DarkpoolError, OrderRefused
from darkpool.order import MAX_ORDER_BYTES

ORDER_TYPE: Final = "application/vnd.darkpool.order"
RATE: Final = 5  # orders a second of one client address
BURST: Final = 50
MAX_CONNECTIONS: Final = 64
_HASH: Final = re.compile(r"0x[0-9a-f]{64}")
_STATUSES: Final = {
    "order-malformed": 400,
    "content-type": 415,
    "body-too-large": 413,
    "bad-signature": 401,
    "account-unknown": 403,
}
_PROBLEM: Final = "application/problem+json"


class Counter:
    """The routes over a member's handed orders."""

    def __init__(self, handed: Handed) -> None:
        self._handed = handed
        self._rates = TokenBuckets(RATE, BURST)

    def app(self) -> Starlette:
        """The ASGI app."""
        routes = [
            Route("/v1/orders", self.hand, methods=["POST"]),
            Route("/v1/orders/{order}", self.show, methods=["GET"]),
        ]
        return Starlette(routes=routes)

    async def hand(self, request: Request) -> JSONResponse:
        """Take an order."""
        try:
            self._rates.take(request.client.host if request.client else "", "client")
            taken = self._handed.take(await _body(request))
        except Busy as busy:
            answer = _problem(429, busy.code, str(busy), busy.hint)
            answer.headers["Retry-After"] = str(busy.retry_after)
            return answer
        except OrderRefused as refusal:
            return _problem(_STATUSES.get(refusal.code, 422), refusal.code, str(refusal), refusal.hint)
        except DarkpoolError:
            return _problem(503, "database-away", "the member's database did not answer", "try later")
        fields = {
            "order": "0x" + taken.order.hex(),
            "time": taken.time,
            "member": self._handed.index,
            "signature": "0x" + taken.signature.hex(),
        }
        return JSONResponse(fields, status_code=202)

    async def show(self, request: Request) -> JSONResponse:
        """What became of one."""
        text = request.path_params["order"]
        if not _HASH.fullmatch(text):
            return _problem(400, "bad-parameter", "order: 0x and 64 lower-case hexadecimal digits", "")
        try:
            row = await run_in_threadpool(self._handed.row, bytes.fromhex(text[2:]))
        except DarkpoolError:
            return _problem(503, "database-away", "the member's database did not answer", "try later")
        if row is None:
            return _problem(404, "order-unknown", "order: it was not handed to this member", "hand it")
        return JSONResponse({"state": row.state, "reason": row.reason, "received_at": row.received_at})


async def _body(request: Request) -> bytes:
    """Raises OrderRefused for another content type, or too much."""
    if request.headers.get("content-type") != ORDER_TYPE:
        raise OrderRefused("content type: not an order's", f"send {ORDER_TYPE}", "content-type")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_ORDER_BYTES:
            raise OrderRefused(f"body: over {MAX_ORDER_BYTES} bytes", "send one order", "body-too-large")
    return bytes(body)


def _problem(status: int, code: str, detail: str, hint: str) -> JSONResponse:
    title = code.replace("-", " ").capitalize()
    kind = f"urn:darkpool:problem:{code}"
    body = {"type": kind, "title": title, "status": status, "detail": detail, "hint": hint}
    return JSONResponse(body, status_code=status, media_type=_PROBLEM)


async def serve(handed: Handed, port: int, host: str) -> None:
    """Serve there until cancelled."""
    config = uvicorn.Config(
        Counter(handed).app(),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        lifespan="off",
    )
    await uvicorn.Server(config).serve()

"""The REST service of a venue: routes, limits, problems, figures and the description of it all in OpenAPI."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any, Final, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.callers import Limits, limit_client
from api.gone import Gone
from api.head import Head
from api.metrics import Measured, Metrics
from api.problems import KINDS, SCHEMA, internal, problem, problem_of
from api.routes import (
    accounts,
    committee,
    desk,
    disclosure,
    events,
    log,
    markets,
    operations,
    operator,
    orders,
    policies,
    rounds,
    settlements,
)
from api.unread import CloseUnread
from compliance.disclosure import Disclosure
from compliance.office import Office
from darkpool.errors import DarkpoolError
from darkpool.venue import Venue

Lifespan: TypeAlias = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_DESCRIPTION: Final = (
    "Sealed orders in, receipts out. Private requests are signed under EIP-712 and expire: "
    "`Authorization: Darkpool account=0x…,nonce=0x…,expires=…,signature=0x…`. "
    "Errors are problem+json with a stable `type`."
)
_SIGNED: Final = {
    "type": "http",
    "scheme": "Darkpool",
    "description": "EIP-712 Request(account,method,target,body,nonce,expires)",
}
_HTTP_CODES: Final = {404: "not-found", 405: "method-not-allowed"}


def create_app(
    venue: Venue,
    lifespan: Lifespan | None = None,
    serving: Disclosure | None = None,
    office: Office | None = None,
) -> FastAPI:
    """The app of a venue; `lifespan` runs around it.

    Without `serving` it takes no grants and no queries, without `office` it has no policy.
    """
    app = FastAPI(
        title="darkpool",
        version=version("darkpool"),
        description=_DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # its pages would fetch scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    settings = venue.settings.api
    app.state.venue = venue
    app.state.disclosure = serving
    app.state.office = office
    app.state.limits = Limits(settings.requests_per_second, settings.request_burst)
    app.state.metrics = Metrics()
    app.state.streams = 0
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(limit_client)])
    for module in (
        markets,
        accounts,
        orders,
        rounds,
        settlements,
        log,
        events,
        operator,
        committee,
        disclosure,
        policies,
        desk,
    ):
        v1.include_router(module.router)
    v1.include_router(operations.health_router)
    app.include_router(v1)
    app.include_router(operations.metrics_router, dependencies=[Depends(limit_client)])
    app.add_middleware(Gone)
    app.add_middleware(Measured, metrics=app.state.metrics)
    app.add_middleware(CloseUnread)
    app.add_middleware(Head)
    app.add_exception_handler(DarkpoolError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    describe = app.openapi
    app.openapi = lambda: _described(describe())  # type: ignore[method-assign]
    return app


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's description with our problems in place of its own."""
    components = schema.setdefault("components", {})
    components["securitySchemes"] = {"signed": _SIGNED}
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = SCHEMA
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for path in schema["paths"].values():
        for operation in path.values():
            unprocessable = operation["responses"].get("422", {}).get("content", {})
            if "application/json" in unprocessable:
                del operation["responses"]["422"]
    return schema


async def _refused(_: Request, error: Exception) -> Response:
    return problem_of(error) if isinstance(error, DarkpoolError) else internal(error)


async def _invalid(_: Request, error: Exception) -> Response:
    """The first parameter refused, by name; what was sent is not repeated."""
    if not isinstance(error, RequestValidationError):
        return internal(error)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][:3])
    message = str(first["msg"]).removeprefix("Value error, ")
    return problem("bad-parameter", f"{place}: {message}", "see the API's description", {"parameter": place})


async def _http(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException) or error.status_code not in _HTTP_CODES:
        return internal(error)
    code = _HTTP_CODES[error.status_code]
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"
    return problem(code, KINDS[code].title, "see /v1/openapi.json", headers=headers)


async def _failed(_: Request, error: Exception) -> Response:
    return internal(error)

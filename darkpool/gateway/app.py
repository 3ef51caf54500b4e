"""The gateway as an app: token first, then the routes, and every refusal as a problem."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from darkpool.client.trader import AsyncTrader
from darkpool.errors import DarkpoolError
from darkpool.gateway.guard import Guard
from darkpool.gateway.hub import Hub
from darkpool.gateway.problems import problem, problem_of
from darkpool.gateway.routes import router


def create_app(trader: AsyncTrader, hub: Hub, token: str) -> FastAPI:
    """The gateway of a trader whose `hub` is running."""
    app = FastAPI(title="darkpool gateway", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.trader, app.state.hub = trader, hub
    app.include_router(router)
    app.add_middleware(Guard, token=token)
    app.add_exception_handler(DarkpoolError, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    return app


async def _failed(_: Request, error: Exception) -> Response:
    return problem_of(error)


async def _invalid(_: Request, error: Exception) -> Response:
    """The first field refused, by name; what was sent is not repeated."""
    first: Mapping[str, Any] = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    place = ".".join(str(part)[:32] for part in first.get("loc", ())[:3])
    detail = f"{place}: {first.get('msg', 'malformed')}"
    return problem("bad-parameter", HTTPStatus.BAD_REQUEST, detail, "GET /openapi.json describes the fields")


async def _http(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    codes = {HTTPStatus.NOT_FOUND: "not-found", HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed"}
    code = codes.get(HTTPStatus(status), "bad-request")
    return problem(code, status, HTTPStatus(status).phrase, "GET /openapi.json describes the paths")

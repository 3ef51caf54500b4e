"""A client in process, signed requests, and what every problem must look like."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from api.app import create_app
from api.problems import KINDS, MEDIA_TYPE, PREFIX
from darkpool.request import sign_request
from darkpool.types import PrivateKey
from tests.api.stand_in import StandIn, terms


@asynccontextmanager
async def serving(venue: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(venue)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://venue") as client:
        yield client


def authorization(key: PrivateKey, method: str, target: str, body: bytes = b"", life: int = 30) -> str:
    return sign_request(key, terms().domain, method, target, body, int(time.time()) + life)


async def signed(
    client: httpx.AsyncClient,
    key: PrivateKey,
    method: str,
    target: str,
    body: bytes = b"",
    **headers: str,
) -> httpx.Response:
    headers["Authorization"] = authorization(key, method, target, body)
    return await client.request(method, target, content=body, headers=headers)


def is_problem(response: httpx.Response, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert body["type"] == PREFIX + code, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    assert response.status_code == body["status"] == KINDS[code].status
    assert body["title"]
    assert body["detail"]
    assert body["hint"]
    if response.status_code == 401:
        assert response.headers["www-authenticate"] == "Darkpool"
    if response.status_code in {429, 503}:
        assert int(response.headers["retry-after"]) > 0
    return body

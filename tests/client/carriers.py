"""Transports between a client and the real venue: they lose, delay, alter or make up what passes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx


def answer(body: bytes, status: int = 200, **headers: str) -> httpx.Response:
    """A response that may be streamed."""
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


class Killed(BaseException):
    """The process is gone at this moment: nothing of ours may catch it."""


class Carrier(httpx.AsyncBaseTransport):
    """Passes requests on to `inner`; subclasses interfere."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.seen: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.method, request.url.path))
        return await self.carry(request)

    async def carry(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)


class Breaking(Carrier):
    """Raises `error` at a request that `when` picks: before it is sent, or once it is answered."""

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        when: Callable[[httpx.Request], bool],
        error: BaseException,
        *,
        sent: bool,
    ) -> None:
        super().__init__(inner)
        self._when, self._error, self._sent = when, error, sent

    async def carry(self, request: httpx.Request) -> httpx.Response:
        if not self._when(request):
            return await super().carry(request)
        if self._sent:
            await (await super().carry(request)).aread()
        raise self._error


class Lying(Carrier):
    """Alters the JSON of answers to paths in which the pattern `path` is found."""

    def __init__(
        self, inner: httpx.AsyncBaseTransport, path: str, alter: Callable[[Any], Any], method: str = "GET"
    ) -> None:
        super().__init__(inner)
        self._path, self._alter, self._method = path, alter, method

    async def carry(self, request: httpx.Request) -> httpx.Response:
        response = await super().carry(request)
        if request.method != self._method or not re.search(self._path, request.url.path):
            return response
        body = self._alter(json.loads(await response.aread()))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return answer(content, response.status_code)


def submits(request: httpx.Request) -> bool:
    return request.method == "POST" and request.url.path == "/v1/orders"


def replaces(request: httpx.Request) -> bool:
    return request.method == "PUT"

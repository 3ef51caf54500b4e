"""The two shells that do what the client's coroutines await: in the calling thread, or in an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http import HTTPStatus
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from darkpool.client.event_stream import Event, EventReader
from darkpool.client.steps import Answer, Send, Sleep, Steps, Unreachable, Work
from darkpool.client.venue_api import refusal
from darkpool.errors import ConfigError, PeerFault

T = TypeVar("T")

MAX_ANSWER: Final = 1 << 26
"""Bytes of the largest answer: a sealed list of 65,536 orders in JSON."""

_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_STREAM: Final = httpx.Timeout(60.0, connect=5.0)  # the venue says something every 15 s
_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "darkpool"}  # a bound counts bytes as sent


def base_url(text: str) -> str:
    """The venue's URL without its last slash. Raises ConfigError, which shows nothing of the URL."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(
            "venue: not the URL of a venue", "write it like http://127.0.0.1:8480, or set DARKPOOL_VENUE_URL"
        )
    return text.rstrip("/")


class _Body:
    """A body as it comes in. Raises PeerFault beyond the bound."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._left = MAX_ANSWER

    def add(self, part: bytes) -> None:
        self._left -= len(part)
        if self._left < 0:
            raise PeerFault(f"an answer of over {MAX_ANSWER} bytes", peer="venue")
        self._parts.append(part)

    def answer(self, response: httpx.Response) -> Answer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, b"".join(self._parts))


def _away(error: httpx.HTTPError) -> Unreachable:
    return Unreachable(f"no answer: {type(error).__name__}")


class Blocking:
    """Runs coroutines in the calling thread."""

    def __init__(self, url: str) -> None:
        self.http: Final = httpx.Client(
            base_url=base_url(url), timeout=_TIMEOUT, headers=_HEADERS, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def run(self, steps: Steps[T]) -> T:
        """What the coroutine returns or raises."""
        move: Callable[[], Any] = lambda: steps.send(None)  # noqa: E731
        while True:
            try:
                step = move()
            except StopIteration as end:
                result: T = end.value
                return result
            move = self._done(step, steps)

    def events(self, request: Send) -> Iterator[Event]:
        """The events of a stream, until it ends. Raises Unreachable, PeerFault, VenueRefused."""
        reader, body = EventReader(), _Body()
        try:
            with self.http.stream(
                request.method, request.target, headers=dict(request.headers), timeout=_STREAM
            ) as response:
                for part in response.iter_raw():
                    if response.status_code == HTTPStatus.OK:
                        yield from reader.feed(part)
                    else:
                        body.add(part)
        except httpx.HTTPError as error:
            raise _away(error) from None
        if response.status_code != HTTPStatus.OK:
            raise refusal(body.answer(response))

    def _done(self, step: Send | Sleep | Work[Any], steps: Steps[Any]) -> Callable[[], Any]:
        try:
            result = self._do(step)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is raised where it was asked for
            raised = error
            return lambda: steps.throw(raised)
        return lambda: steps.send(result)

    def _do(self, step: Send | Sleep | Work[Any]) -> object:
        if isinstance(step, Sleep):
            time.sleep(step.seconds)
            return None
        if isinstance(step, Work):
            return step.function()
        body = _Body()
        try:
            with self.http.stream(
                step.method, step.target, headers=dict(step.headers), content=step.body
            ) as response:
                for part in response.iter_raw():
                    body.add(part)
        except httpx.HTTPError as error:
            raise _away(error) from None
        return body.answer(response)


class Concurrent:
    """Runs coroutines in an event loop; `Work` in threads."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.http: Final = httpx.AsyncClient(
            base_url=base_url(url), timeout=_TIMEOUT, headers=_HEADERS, trust_env=False, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def run(self, steps: Steps[T]) -> T:
        """What the coroutine returns or raises."""
        move: Callable[[], Any] = lambda: steps.send(None)  # noqa: E731
        while True:
            try:
                step = move()
            except StopIteration as end:
                result: T = end.value
                return result
            move = await self._done(step, steps)

    async def events(self, request: Send) -> AsyncIterator[Event]:
        """The events of a stream, until it ends. Raises Unreachable, PeerFault, VenueRefused."""
        reader, body = EventReader(), _Body()
        try:
            async with self.http.stream(
                request.method, request.target, headers=dict(request.headers), timeout=_STREAM
            ) as response:
                async for part in response.aiter_raw():
                    if response.status_code == HTTPStatus.OK:
                        for event in reader.feed(part):
                            yield event
                    else:
                        body.add(part)
        except httpx.HTTPError as error:
            raise _away(error) from None
        if response.status_code != HTTPStatus.OK:
            raise refusal(body.answer(response))

    async def _done(self, step: Send | Sleep | Work[Any], steps: Steps[Any]) -> Callable[[], Any]:
        try:
            result = await self._do(step)
        except BaseException as error:  # noqa: BLE001  # as above; a cancellation too
            raised = error
            return lambda: steps.throw(raised)
        return lambda: steps.send(result)

    async def _do(self, step: Send | Sleep | Work[Any]) -> object:
        if isinstance(step, Sleep):
            await asyncio.sleep(step.seconds)
            return None
        if isinstance(step, Work):
            return await asyncio.to_thread(step.function)
        body = _Body()
        try:
            async with self.http.stream(
                step.method, step.target, headers=dict(step.headers), content=step.body
            ) as response:
                async for part in response.aiter_raw():
                    body.add(part)
        except httpx.HTTPError as error:
            raise _away(error) from None
        return body.answer(response)

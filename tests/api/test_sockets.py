"""Over real sockets: live event streams, clients that leave, bodies without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import httpx
import pytest

from api.body import ORDER_TYPE
from darkpool.errors import OrderRefused
from darkpool.events import Events
from darkpool.store.records import EventRow
from darkpool.types import Address
from tests.api.http import is_problem
from tests.api.serving import uvicorn_of
from tests.api.stand_in import StandIn

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]
HEAD = f"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: {ORDER_TYPE}\r\n".encode()


def row(number: int) -> EventRow:
    return EventRow(number, None, "round", f'{{"round": {number}}}', number)


@pytest.fixture
async def live(venue: StandIn) -> Events:
    async def none(_after: int, _account: Address | None) -> Sequence[EventRow]:
        return []

    venue.events = events = Events(none, 4)  # type: ignore[assignment]
    return events


async def until(what: Callable[[], object], wanted: object) -> None:
    async with asyncio.timeout(10):
        while what() != wanted:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)


async def test_a_stream_is_live_and_ends_with_its_client(venue: StandIn, live: Events) -> None:
    async with uvicorn_of(venue) as (url, server), httpx.AsyncClient(base_url=url) as client:
        state = server.config.app.state  # type: ignore[union-attr]
        async with client.stream("GET", "/v1/events") as response:
            await until(lambda: len(live._readers), 1)
            live.publish([row(1), row(2)])
            lines = response.aiter_lines()
            seen = [await anext(lines) for _ in range(4)]
            assert seen == ["event: round", 'data: {"at": 1, "round": 1}', "id: 1", ""]
            assert state.streams == 1
        await until(lambda: (state.streams, len(live._readers)), (0, 0))


async def test_readers_who_leave_in_the_middle_leave_no_trace(
    venue: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody could fill the log with tracebacks otherwise, without a signature."""
    many = [row(number) for number in range(1, 2_000)]

    async def stored(after: int, _account: Address | None) -> Sequence[EventRow]:
        return many[after : after + 200]

    venue.events = events = Events(stored, 4)  # type: ignore[assignment]
    async with uvicorn_of(venue) as (url, server):
        port = int(url.rpartition(":")[2])
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 0\r\n\r\n")
            assert await reader.read(100)
            writer.transport.abort()
        state = server.config.app.state  # type: ignore[union-attr]
        await until(lambda: (state.streams, len(events._readers)), (0, 0))
    assert [r for r in caplog.records if r.exc_info or r.levelname in {"ERROR", "CRITICAL"}] == []


async def test_the_venue_ends_its_streams_when_it_closes(venue: StandIn, live: Events) -> None:
    async with (
        uvicorn_of(venue) as (url, _),
        httpx.AsyncClient(base_url=url) as client,
        client.stream("GET", "/v1/events") as response,
    ):
        await until(lambda: len(live._readers), 1)
        live.publish([row(1)])
        lines = response.aiter_lines()
        assert await anext(lines) == "event: round"
        live.close()
        assert [line async for line in lines] == ['data: {"at": 1, "round": 1}', "id: 1", ""]


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/markets", "/v1/nothing"])
async def test_a_body_without_end_is_cut_off(venue: StandIn, path: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield bytes(65_536)

    async with uvicorn_of(venue) as (url, _), httpx.AsyncClient(base_url=url) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(path, content=endless(), headers={"Content-Type": ORDER_TYPE})
        assert sent < 1000
        assert (await client.get("/v1/health")).status_code == 200


async def test_an_oversize_length_is_refused_before_the_body_is_sent(venue: StandIn) -> None:
    async with uvicorn_of(venue) as (url, _):
        port = int(url.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 99999999\r\n\r\n")
        async with asyncio.timeout(10):
            assert b" 413 " in await reader.readline()
        writer.close()


async def test_a_body_cut_short_is_nobodys_failure(venue: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    async with uvicorn_of(venue) as (url, server):
        port = int(url.rsplit(":", 1)[1])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 9999\r\n\r\nabc")
        await writer.drain()
        await until(lambda: len(server.server_state.connections), 1)
        writer.close()
        await until(lambda: len(server.server_state.connections), 0)
        await until(lambda: len(server.server_state.tasks), 0)
    assert not caplog.records
    assert venue.tree.size == 0


async def test_a_refusal_keeps_the_connection_usable(venue: StandIn) -> None:
    venue.answer = OrderRefused("order: cut short", "send it all", "order-malformed")
    async with uvicorn_of(venue) as (url, _), httpx.AsyncClient(base_url=url) as client:
        for _ in range(3):
            headers = {"Content-Type": ORDER_TYPE}
            is_problem(
                await client.post("/v1/orders", content=bytes(20_000), headers=headers), "order-malformed"
            )


async def test_more_connections_than_it_serves_are_refused_in_our_words(venue: StandIn) -> None:
    async with uvicorn_of(venue, most=2) as (url, server):
        port = int(url.rsplit(":", 1)[1])
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await until(lambda: len(server.server_state.connections), 2)
        async with httpx.AsyncClient(base_url=url) as client:
            response = await client.get("/v1/health")
            assert is_problem(response, "busy")
            assert response.headers["Connection"] == "close"
            assert int(response.headers["Retry-After"]) > 0
            for _, writer in idle:
                writer.close()
            await until(lambda: len(server.server_state.connections), 0)
            assert (await client.get("/v1/health")).status_code == 200

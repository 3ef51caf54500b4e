"""Reference prices: every source, its faults, and the bounds on what it gives."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkpool.config import ReferenceSettings, Settings
from darkpool.errors import ConfigError
from darkpool.reference import MAX_BODY_BYTES, Reference, reference
from darkpool.types import Quanta, Tick

SETTINGS = Settings()
MARKET = SETTINGS.instrument(SETTINGS.market[0])
GRID = SETTINGS.grid(SETTINGS.market[0])
LAST = Quanta(20_001_000)  # 2000.10

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ask(settings: ReferenceSettings, last: Quanta | None = LAST, cleared: Quanta | None = None) -> Reference:
    return asyncio.run(reference(settings, MARKET, GRID, last, cleared))


def ask_http(handler: Handler, field: str = "price", userinfo: str = "") -> Reference:
    """From a server on loopback that treats every connection as the handler does."""

    async def asked() -> Reference:
        served: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            served.add(asyncio.create_task(serve(reader, writer)))

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"http://{userinfo}127.0.0.1:{port}/price?key=hush"
            settings = ReferenceSettings(source="http", url=url, field=field, timeout_seconds=1)
            got = await reference(settings, MARKET, GRID, LAST)
            assert served
            for task in served:
                task.cancel()
            await asyncio.gather(*served, return_exceptions=True)
            return got

    return asyncio.run(asyncio.wait_for(asked(), 20))


def answering(body: bytes, status: str = "200 OK", *headers: str) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await writer.drain()

    return handler


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never silent for long, never done: only a limit over all ends it."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1\r\n \r\n")
        await asyncio.sleep(0.02)


async def flooding(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Does not end before its reader does."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1000\r\n" + b" " * 0x1000 + b"\r\n")
        await writer.drain()


async def hanging_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


# --- from the venue itself ------------------------------------------------------------------------------


def test_the_first_round_starts_where_the_operator_says() -> None:
    assert ask(ReferenceSettings(), None) == Reference(Quanta(20_000_000), "start", "2000.00")


def test_the_last_clearing_price_then_the_last_reference() -> None:
    assert ask(ReferenceSettings(), LAST, Quanta(20_003_000)) == Reference(
        Quanta(20_003_000), "last", "2000.30"
    )
    assert ask(ReferenceSettings(), LAST) == Reference(LAST, "last", "2000.10")


def test_a_start_beside_the_tick() -> None:
    with pytest.raises(ConfigError, match=r"reference.start: got .*multiples of the tick 0.05"):
        ask(ReferenceSettings(start="2000.03"), None)


# --- bounds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written, text",
    [
        ("2000.15", "2000.15"),
        ("2000.1500", "2000.15"),
        ("2000.17", "2000.15 (from 2000.17: rounded to the tick)"),
        ("2000.175", "2000.20 (from 2000.175: rounded to the tick)"),
        ("2000.95", "2000.90 (from 2000.95: moved 16 ticks at most)"),
        ("1.0", "1999.30 (from 1.0: moved 16 ticks at most)"),
        ("2101.111", "2000.90 (from 2101.111: rounded to the tick, moved 16 ticks at most)"),
    ],
)
def test_what_is_done_to_a_given_price(tmp_path: Path, written: str, text: str) -> None:
    path = tmp_path / "price"
    path.write_text(f"{written}\n")
    got = ask(ReferenceSettings(source="file", path=str(path)))
    assert (got.source, got.text) == ("file", text)
    assert MARKET.price_text(got.price) == text.partition(" ")[0]


def test_the_grid_ends_every_move(tmp_path: Path) -> None:
    path = tmp_path / "price"
    for written, end in (("3000", GRID.last), ("1", Tick(0))):
        path.write_text(written)
        got = ask(ReferenceSettings(source="file", path=str(path), max_move_ticks=256))
        assert got.price == GRID.price(end)
        assert "kept on the grid" in got.text


@given(st.integers(0, GRID.last), st.integers(1, 10**9), st.integers(0, 256))
def test_every_reference_is_on_the_grid_and_near_the_last(
    tmp_path_factory: pytest.TempPathFactory, level: int, cents: int, most: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "price"
    path.write_text(f"{cents // 100}.{cents % 100:02d}")
    settings = ReferenceSettings(source="file", path=str(path), max_move_ticks=most)
    got = ask(settings, GRID.price(Tick(level)))
    assert abs(GRID.level(got.price) - level) <= most


# --- from a file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, why",
    [
        (b"", "not a plain decimal"),
        (b"-2000.00", "not a plain decimal"),
        (b"2e3", "not a plain decimal"),
        (b"NaN", "not a plain decimal"),
        (b"2000.00\n\n", "not a plain decimal"),
        (b" 2000.00", "not a plain decimal"),
        (b"2000.00 USDC", "not a plain decimal"),
        (b"0.00", "a price of zero"),
        (b"\xef\xbb\xbf2000.00", "not ASCII"),
        (b"2" * 65, "more than 64 bytes"),
    ],
)
def test_a_file_that_holds_no_price(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "price"
    path.write_bytes(data)
    got = ask(ReferenceSettings(source="file", path=str(path)))
    assert got == Reference(LAST, f"last (file failed: {why})", "2000.10")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = ReferenceSettings(source="file", path=str(tmp_path / "missing"))
    assert ask(missing).source == "last (file failed: No such file or directory)"
    assert ask(missing, None).source == "start (file failed: No such file or directory)"
    assert ask(missing, LAST, Quanta(20_003_000)).price == 20_003_000
    assert "failed" in ask(ReferenceSettings(source="file", path=str(tmp_path))).source
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in ask(ReferenceSettings(source="file", path=str(tmp_path / "pipe"))).source


@pytest.mark.parametrize("shift", [-301, 310])
def test_a_stale_file(tmp_path: Path, shift: int) -> None:
    path = tmp_path / "price"
    path.write_text("2000.20")
    written = path.stat().st_mtime + shift
    os.utime(path, (written, written))
    got = ask(ReferenceSettings(source="file", path=str(path), max_age_seconds=300))
    assert got.source == "last (file failed: not written within 300 s)"


# --- from a web service ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document, field",
    [
        ('{"price": 2000.15}', "price"),
        ('{"price": "2000.15"}', "price"),
        ('{"data": [{"p": 1}, {"p": 2000.150}]}', "data.1.p"),
        ('{"0": {"a-b": 2000.15}}', "0.a-b"),
    ],
)
def test_a_price_in_json(document: str, field: str) -> None:
    assert ask_http(answering(document.encode()), field) == Reference(Quanta(20_001_500), "http", "2000.15")


def test_a_number_is_read_as_it_is_written() -> None:
    digits = "2000.049999999999999999"  # as a float it would be 2000.05
    got = ask_http(answering(f'{{"price": {digits}}}'.encode()))
    assert got.text == f"2000.05 (from {digits}: rounded to the tick)"


@pytest.mark.parametrize(
    "body, why",
    [
        (b"", "reference: not JSON"),
        (b"2000.15", "no field price"),
        (b"<html>", "reference: not JSON"),
        (b'{"price": 2000.15', "reference: not JSON"),
        (b'{"price": "\xff"}', "reference: not JSON"),
        (b"{}", "no field price"),
        (b"[2000.15]", "no field price"),
        (b'{"price": null}', "field price is no number"),
        (b'{"price": true}', "field price is no number"),
        (b'{"price": [2000.15]}', "field price is no number"),
        (b'{"price": {"price": 2000.15}}', "field price is no number"),
        (b'{"price": -2000.15}', "not a plain decimal"),
        (b'{"price": NaN}', "not a plain decimal"),
        (b'{"price": Infinity}', "not a plain decimal"),
        (b'{"price": 2e3}', "not a plain decimal"),
        (b'{"price": 2000.15E0}', "not a plain decimal"),
        (b'{"price": " 2000.15"}', "not a plain decimal"),
        (b'{"price": "\\ud800"}', "not a plain decimal"),
        (b'{"price": ' + b"9" * 19 + b"}", "not a plain decimal"),
        (b'{"price": 0}', "a price of zero"),
        (b'{"price": 0.0}', "a price of zero"),
        (b'{"price": ' + b"[" * 17 + b"]" * 17 + b"}", "reference: nested deeper than 16"),
        (b'{"price": ' + b"[" * 60_000, "reference: nested deeper than 16"),
        (b'{"price": "' + b" " * MAX_BODY_BYTES + b'"}', "more than 65536 bytes"),
    ],
)
def test_an_answer_that_holds_no_price(body: bytes, why: str) -> None:
    assert ask_http(answering(body)) == Reference(LAST, f"last (http failed: {why})", "2000.10")


GOOD = json.dumps({"price": "2000.15"}).encode()


@pytest.mark.parametrize(
    "handler, why",
    [
        (dripping, "timeout"),
        (flooding, "more than 65536 bytes"),
        (hanging_up, "no HTTP answer"),
        (answering(GOOD, "302 Found", "Location: http://127.0.0.1:1/"), "status 302"),
        (answering(GOOD, "404 Not Found"), "status 404"),
        (answering(GOOD, "500 Internal Server Error"), "status 500"),
        (answering(GOOD, "200 OK", "Content-Encoding: gzip"), "a compressed answer"),
        (answering(GOOD, "20"), "no HTTP answer"),
    ],
)
def test_a_service_that_misbehaves(handler: Handler, why: str) -> None:
    assert ask_http(handler) == Reference(LAST, f"last (http failed: {why})", "2000.10")


def test_nobody_listens() -> None:
    async def free_port() -> int:
        async with await asyncio.start_server(hanging_up, "127.0.0.1", 0) as server:
            return int(server.sockets[0].getsockname()[1])

    url = f"http://127.0.0.1:{asyncio.run(free_port())}/"
    assert ask(ReferenceSettings(source="http", url=url)).source == "last (http failed: no HTTP answer)"


def test_what_is_secret_in_the_url_stays_there(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for handler in (answering(GOOD), answering(b"{}"), hanging_up):
        got = ask_http(handler, userinfo="user:hush@")
        assert "hush" not in repr(got)
    assert "hush" not in caplog.text
    assert "hush" not in repr(ReferenceSettings(source="http", url="http://user:hush@127.0.0.1/"))

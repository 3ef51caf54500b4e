"""The reference price of a round: from its source, then held to the tick, to a bounded move, to the grid.

A source that fails costs a round nothing but freshness: the last price stands in, and `source` says why.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import time
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Final

import httpx

from commitments.errors import DecodeError
from darkpool import jsontext
from darkpool.config import ReferenceSettings
from darkpool.errors import ConfigError
from darkpool.instrument import Instrument
from darkpool.market import Grid
from darkpool.types import Quanta, Tick

MAX_BODY_BYTES: Final = 1 << 16
MAX_FILE_BYTES: Final = 64
"""A decimal with 18 digits on either side of its point and a line end, with room."""

# At lower levels they log URLs, which may hold a password or a key.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference of a round: `price` in quote quanta per lot, on the grid.

    source: "start", "last", "file" or "http", or like "last (http failed: timeout)". text: the price as a
    decimal and, if it is not just what the source gave, what that was and what was done to it.
    """

    price: Quanta
    source: str
    text: str


class _SourceFailed(Exception):  # noqa: N818  # named like the errors of `darkpool.errors`
    """Why a source gave no price: a few words, nothing of its URL, path or answer."""


async def reference(
    settings: ReferenceSettings,
    instrument: Instrument,
    grid: Grid,
    last: Quanta | None,
    cleared: Quanta | None = None,
) -> Reference:
    """The reference of the next round; a fault of the source raises nothing.

    last: the reference of the round before, from which the move is bounded; without one, `start` is.
    cleared: the last clearing price, if there is one. Both in quote quanta per lot, on the tick. The source
    "last", and what stands in for a failed one, is the first of cleared, last, start that there is.
    Raises ConfigError if `start`, `last` or `cleared` is not on the tick.
    """
    before = instrument.price(settings.start, "reference.start") if last is None else last
    own = before if cleared is None else cleared
    source = "start" if last is None and cleared is None else "last"
    given, exact = instrument.price_text(own), Fraction(own)
    if settings.source != "last":
        try:
            given, exact = await _asked(settings, instrument)
            source = settings.source
        except _SourceFailed as error:
            source += f" ({settings.source} failed: {error})"
    level, notes = _held(exact, before, settings.max_move_ticks, grid)
    price = grid.price(level)
    text = instrument.price_text(price)
    return Reference(price, source, f"{text} (from {given}: {', '.join(notes)})" if notes else text)


def _held(exact: Fraction, before: Quanta, most: int, grid: Grid) -> tuple[Tick, list[str]]:
    """The level nearest to a price (the higher of two) within `most` levels of `before`; what was done."""
    notes = []
    place = (exact - grid.p_0) / grid.tick
    level = floor(place + Fraction(1, 2))
    if level != place:
        notes.append("rounded to the tick")
    middle = (before - grid.p_0) // grid.tick
    moved = min(max(level, middle - most), middle + most)
    if moved != level:
        notes.append(f"moved {most} ticks at most")
    kept = min(max(moved, 0), grid.last)
    if kept != moved:
        notes.append("kept on the grid")
    return Tick(kept), notes


async def _asked(settings: ReferenceSettings, instrument: Instrument) -> tuple[str, Fraction]:
    text = _from_file(settings) if settings.source == "file" else await _from_http(settings)
    try:
        price = instrument.exact_price(text)
    except ConfigError:
        raise _SourceFailed("not a plain decimal") from None
    if not price:
        raise _SourceFailed("a price of zero")
    return text, price


def _from_file(settings: ReferenceSettings) -> str:
    try:
        # Not blocking, so that a pipe without a writer cannot hold up the round.
        descriptor = os.open(settings.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:  # noqa: PTH123  # a descriptor has no path
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _SourceFailed("not a regular file")
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _SourceFailed(error.strerror or "not readable") from None
    if abs(time.time() - status.st_mtime) > settings.max_age_seconds:
        raise _SourceFailed(f"not written within {settings.max_age_seconds} s")
    if len(data) > MAX_FILE_BYTES:
        raise _SourceFailed(f"more than {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("ascii").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _SourceFailed("not ASCII") from None


async def _from_http(settings: ReferenceSettings) -> str:
    try:
        async with asyncio.timeout(settings.timeout_seconds):
            body = await _fetched(settings.url)
    except (TimeoutError, httpx.TimeoutException):
        raise _SourceFailed("timeout") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        raise _SourceFailed("no HTTP answer") from None
    return _number(body, settings.field)


async def _fetched(url: str) -> bytes:
    """The body of a GET, of bounded size. No proxy and no credentials but those in the URL."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=None) as client,  # noqa: S113  # the caller's is over all
        client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise _SourceFailed(f"status {response.status_code}")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise _SourceFailed("a compressed answer")
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise _SourceFailed(f"more than {MAX_BODY_BYTES} bytes")
        return bytes(body)


def _number(body: bytes, field: str) -> str:
    """The number, or text, at a dotted place in JSON, as it is written there."""
    try:
        jsontext.parsed(body, "reference")
    except DecodeError as error:
        raise _SourceFailed(str(error)) from None
    # Again, now that its depth is known: a number must not become a float on the way.
    value: object = json.loads(body.decode(), parse_float=str, parse_int=str, parse_constant=str)
    for part in field.split("."):
        entries: object = {str(n): v for n, v in enumerate(value)} if isinstance(value, list) else value
        if not isinstance(entries, dict) or part not in entries:
            raise _SourceFailed(f"no field {field}")
        value = entries[part]
    if not isinstance(value, str):
        raise _SourceFailed(f"field {field} is no number")
    return value

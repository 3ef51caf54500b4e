"""How a member's owner asks it how it is: a Unix socket in its home, where only the owner may enter.

Whoever connects is told, as one JSON object, and hung up on.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from commitments.errors import DecodeError
from darkpool.errors import ConfigError, PeerFault
from darkpool.jsontext import parsed

SOCKET: Final = "status.sock"
ANSWER_SECONDS: Final = 10.0
MAX_ANSWER: Final = 1 << 20

Answer = Callable[[], Awaitable[Mapping[str, Any]]]


async def serve(home: Path, answer: Answer) -> None:
    """Tell whoever asks, until cancelled. A socket that a predecessor left behind is replaced."""

    async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(json.dumps(await answer()).encode())
            with suppress(ConnectionError):
                await writer.drain()
        finally:
            writer.close()

    with _short(home) as path:
        server = await asyncio.start_unix_server(tell, path)
    try:
        await asyncio.Event().wait()
    finally:
        server.close()


async def ask(home: Path) -> dict[str, Any]:
    """What the running member says. Raises ConfigError if none runs, PeerFault if it does not answer."""
    try:
        with _short(home) as path:
            reader, writer = await asyncio.open_unix_connection(path)
    except OSError:
        raise ConfigError(f"{home}: no member runs here", "start it with darkpool member serve") from None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            data = bytearray()
            while len(data) <= MAX_ANSWER and (chunk := await reader.read(MAX_ANSWER)):
                data += chunk
        if len(data) > MAX_ANSWER:
            raise PeerFault(f"status: over {MAX_ANSWER} bytes", "read its member.log", "member")
        answer = parsed(bytes(data), "status")
    except (TimeoutError, OSError, DecodeError):
        raise PeerFault(
            f"no answer in {ANSWER_SECONDS:g} s", "it may be busy; read its member.log", "member"
        ) from None
    finally:
        writer.close()
    if not isinstance(answer, dict):
        raise PeerFault("status: not an object", "", "member")
    return answer


async def running(home: Path) -> bool:
    """Whether a member runs in that home."""
    try:
        with _short(home) as path:
            _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


@contextmanager
def _short(home: Path) -> Iterator[str]:
    """The socket by a path that is short wherever the home is: the system allows 107 bytes."""
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)

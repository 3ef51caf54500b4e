"""Nothing is read of a request without the token, and no body beyond a bound."""

from __future__ import annotations

import hmac
import secrets
from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from darkpool.client.files import read_file, write_file
from darkpool.errors import ConfigError
from darkpool.gateway.problems import problem

MAX_BODY: Final = 1 << 14
_TOKEN_BYTES: Final = 32


def token_of(path: Path) -> str:
    """The token in the file, made at the first call. Raises ConfigError if others can read it."""
    data = read_file(path, 256)
    if data is None:
        data = secrets.token_hex(_TOKEN_BYTES).encode() + b"\n"
        write_file(path, data)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others can read it", "delete it, and start the gateway again")
    token = data.decode("ascii", "replace").strip()
    if len(token) < 2 * _TOKEN_BYTES:
        raise ConfigError(f"{path}: not a token of this program", "delete it, and start the gateway again")
    return token


class Guard:
    """Lets requests with the bearer token through, their bodies read up to MAX_BODY bytes."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._expected = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, self._expected):
            refused = problem(
                "bad-token",
                HTTPStatus.UNAUTHORIZED,
                "authorization: not the gateway's token",
                "send Authorization: Bearer and what is in gateway.token in the trader's folder",
            )
            await refused(scope, receive, send)
            return
        body, complete = b"", False
        while not complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            complete = not message.get("more_body", False)
            if len(body) > MAX_BODY:
                refused = problem(
                    "body-too-large",
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"body: above {MAX_BODY} bytes",
                    "send one order a request",
                )
                await refused(scope, receive, send)
                return
        read = False

        async def replay() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

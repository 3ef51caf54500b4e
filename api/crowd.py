"""More connections than the venue serves at once are told so, and closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import problem

_CLOSE: Final = {"Connection": "close"}


class Crowd:
    """Refuses requests while more than `most` connections are open; `count` says how many.

    uvicorn's own limit answers in plain text, which no client of ours could read.
    """

    def __init__(self, app: ASGIApp, most: int, count: Callable[[], int]) -> None:
        self._app, self._most, self._count = app, most, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if self._count() <= self._most:
            await self._app(scope, receive, send)
            return
        refusal = problem(
            "busy", f"the venue serves {self._most} connections at once", "come again", headers=_CLOSE
        )
        await refusal(scope, receive, send)

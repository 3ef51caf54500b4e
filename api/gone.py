"""Readers of event streams that leave are no failure of ours: nothing is logged, nothing answered."""

from __future__ import annotations

from anyio import BrokenResourceError, ClosedResourceError
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Gone:
    """Ends a response that has begun quietly, if all that went wrong is that its reader has left."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except BaseExceptionGroup as group:
            if not begun or group.split((BrokenResourceError, ClosedResourceError))[1] is not None:
                raise

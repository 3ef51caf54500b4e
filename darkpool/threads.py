"""The threads of a venue that may wait for others, while its event loop does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """One thread for the database and one for the chain, so that neither is used by two at once."""

    def __init__(self) -> None:
        self._store = ThreadPoolExecutor(1, "store")
        self._chain = ThreadPoolExecutor(1, "chain")

    async def store(self, call: Callable[..., T], *arguments: object) -> T:
        """A call of the store, in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._store, lambda: call(*arguments))

    async def chain(self, call: Callable[..., T], *arguments: object) -> T:
        """A call of the chain, in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._chain, lambda: call(*arguments))

    def close(self) -> None:
        """End both after what they are doing."""
        self._store.shutdown()
        self._chain.shutdown()

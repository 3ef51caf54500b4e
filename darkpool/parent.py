"""The life of a child process is bound to its parent's: a child's standard input ends when the parent does.

The parent (supervise.py) holds the other end of that pipe, and the system closes it even after kill -9.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from threading import Thread
from typing import Any, Final

_STDIN: Final = 0
_READ_BYTES: Final = 4096


async def gone() -> None:
    """Wait until standard input ends; what it says until then is ignored."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def wait() -> None:
        # A thread, because /dev/null and files cannot be polled; a daemon, because nothing ends its read.
        with suppress(OSError):
            while os.read(_STDIN, _READ_BYTES):
                pass
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(ended.set)

    Thread(target=wait, name="parent", daemon=True).start()
    await ended.wait()


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def while_it_lives(work: Coroutine[Any, Any, None], *, watched: bool = True) -> None:
    """Do this work until it is done, the parent is gone or SIGTERM comes; then it is cancelled and awaited.

    `watched`: whether there is a parent whose end counts. Raises what the work raises.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(gone() if watched else _for_ever())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, watching.cancel)
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        watching.cancel()
        working.cancel()
        await asyncio.wait((working, watching))
    if not working.cancelled():
        working.result()

"""Background tasks that must not die unseen: what nobody expected ends the process, to be restarted."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from typing import Any, Final

EXIT_DEFECT: Final = 70  # EX_SOFTWARE of sysexits.h
_FATAL: Final = "fatal"

log = logging.getLogger("darkpool.tasks")


def guarded(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """A task whose unexpected end is a defect, told to the loop's handler as fatal."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        fatal(f"{task.get_name()} ended", error)


def fatal(what: str, error: BaseException) -> None:
    """Nothing good can follow in this process."""
    asyncio.get_running_loop().call_exception_handler({"message": what, "exception": error, _FATAL: True})


def end_process_on_defects() -> None:
    """From now on a fatal defect ends this process with exit code 70: the log has all that counts."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not context.get(_FATAL):
            loop.default_exception_handler(context)
            return
        log.critical("%s", context["message"], exc_info=context["exception"])
        logging.shutdown()
        os._exit(EXIT_DEFECT)

    asyncio.get_running_loop().set_exception_handler(handle)

"""Modular powers over all cores: gmpy2 lets other threads run while it computes, if it is told to.

So a member's openings take as many cores as there are, and its event loop goes on answering meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import gmpy2

T = TypeVar("T")
R = TypeVar("R")


async def spread(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` of every item, in order. Raises what one of them raises, once all have ended."""
    loop = asyncio.get_running_loop()
    started = [loop.run_in_executor(_threads(), _released, work, item) for item in items]
    results = await asyncio.gather(*started, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "powers")


def _released(work: Callable[[T], R], item: T) -> R:
    with gmpy2.context(gmpy2.get_context(), allow_release_gil=True):
        return work(item)

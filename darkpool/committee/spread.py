"""Modular powers over all cores, or over the workers of this process if it has any (workers.py).

gmpy2 lets other threads run while it computes, if it is told to. So a member's openings take as many cores as
there are, and its event loop goes on answering meanwhile. Only `Combination` is ever done by workers: what
else is spread, such as a partial decryption with the member's share, stays in this process.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias, TypeVar, cast

import gmpy2
from gmpy2 import mpz

from commitments.errors import CommitmentsError, VerificationError
from commitments.paillier import Ciphertext
from commitments.threshold import Committee, Opening, combine, verify_openings
from darkpool.errors import Unavailable
from darkpool.work import combine_request, read_opening
from darkpool.workers import PRESENT, Workers

T = TypeVar("T")
R = TypeVar("R")

Masked: TypeAlias = tuple[Ciphertext, Mapping[int, mpz]]
"""A masked product, and partial decryptions of it by member."""

log = logging.getLogger("darkpool.workers")


@dataclass(frozen=True, slots=True)
class Combination:
    """`combine` as work to be spread: what it takes is masked, and told to other members anyway."""

    committee: Committee

    def __call__(self, item: Masked) -> Opening | None:
        """The opening; None if the partials do not combine. Raises ParameterError with too few."""
        try:
            return combine(self.committee, *item)
        except VerificationError:
            return None


async def spread(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` of every item, in order. Raises what one of them raises, once all have ended."""
    workers = PRESENT.get()
    if workers is not None and isinstance(work, Combination):
        return cast("list[R]", await _combined(workers, work, cast("Sequence[Masked]", items)))
    return await _in_threads(work, items)


async def _combined(workers: Workers, work: Combination, items: Sequence[Masked]) -> list[Opening | None]:
    """By the workers, and checked here, which takes a small part of the time; the rest is done here."""
    key = work.committee.key

    async def asked(item: Masked) -> Opening | None:
        try:
            return read_opening(await workers.ask(combine_request(work.committee, *item)), key)
        except (CommitmentsError, Unavailable):
            return None

    found = list(await asyncio.gather(*map(asked, items)))
    pairs = [(c, opening) for (c, _), opening in zip(items, found, strict=True) if opening is not None]
    try:
        await _in_threads(partial(verify_openings, key), [pairs] if pairs else [])
    except VerificationError as error:
        log.warning("workers: %s; combined in this process", error)
        found = [None] * len(items)
    missing = [i for i, opening in enumerate(found) if opening is None]
    for i, opening in zip(missing, await _in_threads(work, [items[i] for i in missing]), strict=True):
        found[i] = opening
    return found


async def _in_threads(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
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


def _released(work: Callable[[T], Any], item: T) -> Any:  # noqa: ANN401
    with gmpy2.context(gmpy2.get_context(), allow_release_gil=True):
        return work(item)

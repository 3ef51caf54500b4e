"""Sealing, proving and signing drafts: here, or in worker processes that keep their tables."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Final

from darkpool.draft import Draft
from darkpool.order import Terms
from darkpool.types import PrivateKey


@dataclass(frozen=True, slots=True)
class Job:
    """A draft under the terms of its market, and the account's key. Secret."""

    draft: Draft = field(repr=False)
    terms: Terms
    key: PrivateKey = field(repr=False)

    def finish(self) -> bytes:
        """The sealed order's bytes."""
        return self.draft.finish(self.terms.key, self.terms.chain_id, self.terms.contract, self.key).raw


class Prover:
    """Finishes drafts; with `workers` in that many processes, which are for programs that may be imported."""

    def __init__(self, workers: int = 0) -> None:
        self._pool: Final = ProcessPoolExecutor(workers, get_context("spawn")) if workers else None

    def __call__(self, jobs: Sequence[Job]) -> list[bytes]:
        """The orders' bytes, in order."""
        if self._pool is None:
            return [job.finish() for job in jobs]
        return list(self._pool.map(Job.finish, jobs))

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

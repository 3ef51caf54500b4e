"""Opening many orders at once, in worker processes that keep their tables."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Final, Self

from compliance.completeness import Listed, open_listed
from compliance.opening import Opened, Refusal
from compliance.view_keys import ViewKey
from darkpool.order import Terms

CHUNK: Final = 16
FEW: Final = 256
"""So many are opened in this process: to start others takes longer. Of the slow backend, 1."""


class OpeningPool:
    """An `Opener` (compliance/completeness.py). workers: processes, 0 for one a processor."""

    def __init__(self, workers: int = 0) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __call__(
        self, listed: Sequence[Listed], terms: Terms, keys: Collection[ViewKey], backend: str
    ) -> list[Opened | Refusal]:
        """As `open_listed`, in order."""
        native = backend == "native"
        if len(listed) <= (FEW if native else 1) or self._workers == 1:
            return open_listed(listed, terms, keys, backend)
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._workers, get_context("spawn"))
        size = CHUNK if native else 1
        chunks = [listed[start : start + size] for start in range(0, len(listed), size)]
        work = partial(open_listed, terms=terms, keys=tuple(keys), backend=backend)
        return [outcome for chunk in self._pool.map(work, chunks) for outcome in chunk]

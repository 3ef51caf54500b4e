"""Rate limits: token buckets by key, in memory of bounded size."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from darkpool.errors import Busy

MAX_KEYS: Final = 1 << 16


class TokenBuckets:
    """A bucket of `burst` tokens for each key, refilled at `rate` a second.

    The generic cell rate algorithm: of each key only the time at which its bucket will be full is kept.
    Beyond `capacity` keys the one used longest ago is forgotten, which is as if its bucket were full.
    """

    def __init__(
        self,
        rate: int,
        burst: int,
        capacity: int = MAX_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = 1 / rate
        self._room = burst / rate
        self._capacity = capacity
        self._clock = clock
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, what: str) -> None:
        """One token. Raises Busy, of code rate-limited and about `what`, if none is left."""
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now) + self._interval
        wait = full_at - now - self._room
        if wait > self._interval * 1e-6:  # sums of intervals are not exact
            raise Busy(f"{what}: too many at once", math.ceil(wait), "rate-limited")
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)

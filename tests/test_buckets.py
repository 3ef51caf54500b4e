"""Token buckets under an injected clock: rate, burst, refill, the bound of the table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkpool.buckets import TokenBuckets
from darkpool.errors import Busy


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def granted(buckets: TokenBuckets, key: str, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            buckets.take(key, "test")
        except Busy:
            continue
        count += 1
    return count


def test_a_full_bucket_gives_its_burst_and_refills_at_its_rate() -> None:
    clock = Clock()
    buckets = TokenBuckets(10, 5, clock=clock)
    assert granted(buckets, "a", 20) == 5
    clock.now += 0.2
    assert granted(buckets, "a", 20) == 2
    clock.now += 1000
    assert granted(buckets, "a", 20) == 5


def test_the_refusal_says_when_to_come_back_and_that_is_true() -> None:
    clock = Clock()
    buckets = TokenBuckets(1, 3, clock=clock)
    assert granted(buckets, "a", 3) == 3
    with pytest.raises(Busy, match="orders: too many") as refused:
        buckets.take("a", "orders")
    assert (refused.value.retry_after, refused.value.code) == (1, "rate-limited")
    clock.now += refused.value.retry_after
    buckets.take("a", "orders")


def test_a_refusal_costs_nothing() -> None:
    clock = Clock()
    buckets = TokenBuckets(1, 1, clock=clock)
    assert granted(buckets, "a", 100) == 1
    clock.now += 1
    assert granted(buckets, "a", 1) == 1


def test_keys_have_buckets_of_their_own() -> None:
    buckets = TokenBuckets(1, 2, clock=Clock())
    assert [granted(buckets, key, 9) for key in "abc"] == [2, 2, 2]


def test_the_table_is_bounded_and_forgets_the_one_used_longest_ago() -> None:
    buckets = TokenBuckets(1, 1, capacity=3, clock=Clock())
    assert [granted(buckets, key, 1) for key in "abcd"] == [1, 1, 1, 1]
    assert len(buckets) == 3
    assert granted(buckets, "d", 1) == 0
    assert granted(buckets, "a", 1) == 1


@given(st.integers(1, 50), st.integers(1, 50), st.lists(st.floats(0, 2), max_size=60))
def test_never_more_than_burst_and_rate_allow(rate: int, burst: int, pauses: list[float]) -> None:
    clock = Clock()
    buckets = TokenBuckets(rate, burst, clock=clock)
    count = granted(buckets, "a", 1)
    for pause in pauses:
        clock.now += pause
        count += granted(buckets, "a", 1)
    assert count <= burst + rate * sum(pauses) + 1e-6 * (1 + len(pauses))

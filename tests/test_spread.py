"""Powers in threads: the same as in turn, errors as they are, and an event loop that goes on meanwhile."""

from __future__ import annotations

import asyncio

import gmpy2
import pytest
from gmpy2 import mpz

from commitments.errors import VerificationError
from darkpool.committee.spread import spread
from tests.commitments_support import published_key

N = published_key("production").n


def test_results_come_in_order() -> None:
    items = [mpz(i) for i in range(40)]
    expected = [gmpy2.powmod(x, N, N) for x in items]
    assert asyncio.run(spread(lambda x: gmpy2.powmod(x, N, N), items)) == expected
    assert asyncio.run(spread(str, [])) == []


def test_the_first_error_is_raised_when_all_have_ended() -> None:
    ended = []

    def work(number: int) -> int:
        if number in {2, 5}:
            raise VerificationError("opening", f"number {number}")
        ended.append(number)
        return number

    with pytest.raises(VerificationError, match="number 2"):
        asyncio.run(spread(work, range(8)))
    assert sorted(ended) == [0, 1, 3, 4, 6, 7]


def test_the_loop_goes_on_while_a_power_is_computed() -> None:
    modulus = (mpz(1) << 24_001) - 1  # one power takes long, and cannot be interrupted

    async def both() -> int:
        turns = 0
        computing = asyncio.ensure_future(
            spread(lambda x: gmpy2.powmod(x, modulus >> 21_000, modulus), [mpz(3)])
        )
        while not computing.done():
            turns += 1
            await asyncio.sleep(0)
        assert await computing == [gmpy2.powmod(3, modulus >> 21_000, modulus)]
        return turns

    assert asyncio.run(both()) > 100

"""The evaluator, real children, real MPC: the rule, the traffic, and what happens when things break."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commitments.errors import ParameterError, VerificationError
from commitments.params import FIELD_PRIME, STATISTICAL_BITS
from commitments.shamir import SHARE_BYTES, reconstruct, share
from darkpool.auction import clear, curves
from darkpool.committee.clearing import DIFFERENCE_BITS, Arithmetic, Shares, auction
from darkpool.committee.evaluator import MAX_MESSAGE_BYTES, Evaluator, EvaluatorFailed
from darkpool.committee.evaluator_link import FieldCodec, statistical_parameter
from darkpool.market import Side
from tests.evaluator_trio import (
    BOOKS,
    EVALUATION_SECONDS,
    START_SECONDS,
    TOP,
    Cleared,
    Trio,
    plain_rule,
)
from tests.strategies import RandomBook, books

REUSED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def trio() -> Iterator[Trio]:
    """Three children kept alive through the module."""
    members = Trio()
    try:
        members.run(members.restart())
        yield members
    finally:
        members.end()


# --- the rule ---------------------------------------------------------------------------------------


class Clear(Arithmetic):
    """A sharing of degree zero: the programs' algebra without members, and the ranges they promise."""

    async def reshared(self, values: Shares) -> Shares:
        return values

    async def non_negative(self, d: Shares) -> Shares:
        limit = 1 << (DIFFERENCE_BITS - 1)
        assert all(-limit <= v < limit for v in d.ravel())
        return np.array([int(v >= 0) for v in d.ravel()], dtype=object).reshape(d.shape)


def in_clear(demand: Sequence[int], supply: Sequence[int], ref: int, pressure: int, minimum: int) -> Cleared:
    program = auction(Clear(None), (len(demand), ref, pressure, minimum), (*demand, *supply))
    return Cleared(*(int(v) for v in asyncio.run(program)))


@pytest.mark.parametrize("ticks", [1, 2, 3, 4])
def test_the_program_is_the_rule_on_every_small_book(ticks: int) -> None:
    with asyncio.Runner() as runner:
        for rising, supply in product(
            combinations_with_replacement(range(4 if ticks < 4 else 3), ticks), repeat=2
        ):
            demand = rising[::-1]
            for ref, pressure in product(range(ticks), (0, 1, ticks)):
                program = auction(Clear(None), (ticks, ref, pressure, 2), (*demand, *supply))
                outputs = Cleared(*(int(v) for v in runner.run(program)))
                assert outputs == plain_rule(demand, supply, ref, pressure, 2), (
                    demand,
                    supply,
                    ref,
                    pressure,
                )


@settings(max_examples=60)
@given(demand=st.lists(st.integers(0, TOP), min_size=2, max_size=30), data=st.data())
def test_the_program_keeps_its_ranges_up_to_the_largest_sums(demand: list[int], data: st.DataObject) -> None:
    demand.sort(reverse=True)
    values = st.one_of(st.integers(0, TOP), st.sampled_from(demand), st.just(TOP))
    supply = sorted(data.draw(st.lists(values, min_size=len(demand), max_size=len(demand))))
    ref, pressure = data.draw(st.integers(0, len(demand) - 1)), data.draw(st.integers(0, 3))
    expected = plain_rule(demand, supply, ref, pressure, TOP)
    assert in_clear(demand, supply, ref, pressure, TOP) == expected


@pytest.mark.parametrize("demand, supply, pressure", BOOKS.values(), ids=BOOKS)
def test_shared_evaluation_gives_the_rule(
    trio: Trio, demand: list[int], supply: list[int], pressure: int
) -> None:
    ref = 4
    outputs = trio.evaluate("auction", (8, ref, pressure, 5), (*demand, *supply))
    assert Cleared(*outputs) == plain_rule(demand, supply, ref, pressure, 5)


def compare(trio: Trio, book: RandomBook) -> None:
    """The shared evaluation against both plain readings of the rule."""
    demand, supply = curves(book.orders, book.levels)
    public = (book.levels, book.reference, book.pressure_ticks, book.min_volume)
    outputs = Cleared(*trio.evaluate("auction", public, (*demand, *supply)))
    assert outputs == plain_rule(demand, supply, *public[1:])
    outcome = clear(book.orders, *public)
    assert bool(outputs.crosses) == (outcome is not None)
    if outcome is not None:
        assert (outputs.price, outputs.volume) == (outcome.price, outcome.volume)
        assert bool(outputs.buys_long) == (outcome.long_side is Side.BUY)
        assert (outputs.marginal, bool(outputs.exact)) == (outcome.marginal, outcome.exact)


any_book = st.integers(2, 24).flatmap(lambda levels: books(levels=levels))


@settings(REUSED, max_examples=25)
@given(book=any_book)
def test_random_books_clear_on_shares_as_in_the_clear(trio: Trio, book: RandomBook) -> None:
    compare(trio, book)


@settings(REUSED, max_examples=8)
@given(book=books(levels=64, max_orders=40))
def test_random_books_of_64_levels_clear_on_shares_as_in_the_clear(trio: Trio, book: RandomBook) -> None:
    compare(trio, book)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(REUSED, max_examples=600)
@given(book=st.one_of(any_book, books(levels=64, max_orders=60)))
def test_many_random_books_clear_on_shares_as_in_the_clear(trio: Trio, book: RandomBook) -> None:
    compare(trio, book)


def test_at_least_compares_elementwise(trio: Trio) -> None:
    x, y = [0, 0, 5, TOP, 0, TOP, 7], [0, 1, 5, 0, TOP, TOP, 6]
    assert trio.evaluate("at_least", [7], [*x, *y]) == [1, 0, 1, 1, 0, 1, 1]


def test_nonzero_tells_zero_from_the_rest(trio: Trio) -> None:
    assert trio.evaluate("nonzero", [5], [0, 1, 2, 0, 2 * TOP]) == [0, 1, 1, 0, 1]


# --- shares -----------------------------------------------------------------------------------------


def test_outputs_are_fresh_sharings_of_degree_t(trio: Trio) -> None:
    shares = [share(v, 3, 1) for v in (3, 4, 4, 3)]
    first = trio.run(trio.on_shares("at_least", [2], shares))
    second = trio.run(trio.on_shares("at_least", [2], shares))
    for output, again, bit in zip(first, second, (0, 1), strict=True):
        assert reconstruct(output, 3, 1) == reconstruct(again, 3, 1) == bit
        assert output != again
        assert len(set(output.values())) == 3  # not a constant polynomial


def test_a_share_changed_after_the_evaluation_is_noticed(trio: Trio) -> None:
    outputs = trio.run(trio.on_shares("nonzero", [1], [share(3, 3, 1)]))
    outputs[0][2] = (outputs[0][2] + 1) % FIELD_PRIME
    with pytest.raises(VerificationError, match="degree of sharing"):
        reconstruct(outputs[0], 3, 1)


# --- privacy of the traffic -------------------------------------------------------------------------


@pytest.mark.parametrize("ticks", [8, 23])
def test_traffic_does_not_depend_on_the_input(trio: Trio, ticks: int) -> None:
    demand = sorted(range(ticks), reverse=True)
    inputs = [
        [*demand, *range(ticks)],
        [0] * (2 * ticks),
        [TOP] * (2 * ticks),
        [1] * ticks + [0] * ticks,
        [0] * ticks + [2**40] * ticks,
    ]
    seen = []
    for values in inputs:
        trio.traffic.clear()
        trio.evaluate("auction", (ticks, 1, 1, 1), values)
        seen.append(dict(trio.traffic))
    assert all(traffic == seen[0] for traffic in seen)
    assert set(seen[0]) >= {(i, j, 12 + 16 * 6) for i in (1, 2, 3) for j in (1, 2, 3) if i != j}


def test_an_opened_zero_test_is_no_product_of_two_sharings(trio: Trio) -> None:
    """Else it has two linear factors, and the one through a member's own share tells the compared value."""
    count = 40
    trio.heard = []
    trio.evaluate("nonzero", [count], range(1, count + 1))
    messages, trio.heard = trio.heard, None
    # What each sends alike to both others, in one message of an element a value, is opened with degree 2t.
    said: defaultdict[bytes, dict[int, set[bytes]]] = defaultdict(lambda: defaultdict(set))
    for sender, _, data in messages:
        if len(data) == 12 + SHARE_BYTES * count:
            said[data[:12]][sender].add(data[12:])
    openings = [by for by in said.values() if set(map(len, by.values())) == {1} and len(by) == 3]
    opening = {i: FieldCodec.loads(next(iter(data))) for i, data in openings[-1].items()}
    splits = 0
    for one, two, three in zip(opening[1], opening[2], opening[3], strict=True):
        a = (one - 2 * two + three) * pow(2, -1, FIELD_PRIME)
        b = two - one - 3 * a
        discriminant = b * b - 4 * a * (one - a - b)
        splits += pow(discriminant, (FIELD_PRIME - 1) // 2, FIELD_PRIME) == 1
    assert 0 < splits < count


def test_masks_keep_their_bits_for_every_committee() -> None:
    for n, t in ((3, 1), (4, 1), (5, 1), (5, 2), (7, 2), (16, 1)):
        keys = len(list(combinations_with_replacement(range(n - t + 1), t)))  # C(n, t)
        k = statistical_parameter(n, t)
        per_key = ((1 << k) // keys).bit_length() - 1  # as mpyc.runtime._np_randoms rounds it
        assert per_key >= STATISTICAL_BITS
        assert FIELD_PRIME.bit_length() > DIFFERENCE_BITS + k + 2


# --- breaking ---------------------------------------------------------------------------------------


def test_a_dead_child_fails_everyone_in_time_and_replacements_work(trio: Trio) -> None:
    async def kill_one() -> list[BaseException | list[int]]:
        os.kill(trio.evaluators[2]._transport.get_pid(), signal.SIGKILL)  # type: ignore[union-attr]
        return await asyncio.gather(
            *(e.evaluate("nonzero", [1], [1], 1.0) for e in trio.evaluators.values()), return_exceptions=True
        )

    survivor, dead, other = trio.run(kill_one())
    assert isinstance(survivor, EvaluatorFailed)
    assert isinstance(dead, EvaluatorFailed)
    assert isinstance(other, EvaluatorFailed)
    assert "no result of nonzero within 1.0 s" in str(survivor)
    assert "exited with code -9" in str(dead)
    assert not any(e.alive for e in trio.evaluators.values())
    with pytest.raises(EvaluatorFailed, match=r"within 1\.0 s"):
        trio.run(trio.evaluators[1].evaluate("nonzero", [1], [1], EVALUATION_SECONDS))

    trio.run(trio.restart())
    assert trio.evaluate("nonzero", [2], [0, 4]) == [0, 1]


def test_a_cancelled_evaluation_kills_the_child(trio: Trio) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(trio.evaluators[1].evaluate("nonzero", [1], [1], EVALUATION_SECONDS))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not trio.evaluators[1].alive
        await trio.evaluators[1]._exited.wait()

    trio.run(cancel())
    trio.run(trio.restart())


def test_evaluations_queue_in_order(trio: Trio) -> None:
    async def three_at_once() -> list[list[int]]:
        return await asyncio.gather(
            *(
                e.evaluate("nonzero", [1], [value], EVALUATION_SECONDS)
                for value in (0, 1, 0)
                for e in trio.evaluators.values()
            )
        )

    results = trio.run(three_at_once())
    bits = [reconstruct({i: results[3 * k + i - 1][0] for i in (1, 2, 3)}, 3, 1) for k in range(3)]
    assert bits == [0, 1, 0]
    assert trio.evaluators[1].peak_memory_bytes > 1 << 20


def test_a_start_without_peers_times_out_and_leaves_no_child() -> None:
    async def start() -> None:
        evaluator = Evaluator(index=1, n=3, t=1, send=lambda _peer, _data: None)
        with pytest.raises(EvaluatorFailed, match=r"not ready within 0\.2 s"):
            await evaluator.start(0.2)
        await evaluator.close()
        with pytest.raises(EvaluatorFailed):
            await evaluator.start(0.2)
        with pytest.raises(EvaluatorFailed):
            await evaluator.evaluate("nonzero", [1], [1], 0.2)

    asyncio.run(start())


@pytest.mark.parametrize(
    "program, public, shares",
    [
        ("clear", [1], [1]),
        ("nonzero", [1], [FIELD_PRIME]),
        ("nonzero", [1], [-1]),
        ("nonzero", [1], [1] * 4097),
        ("nonzero", [-1], [1]),
    ],
)
def test_impossible_requests_are_refused_before_anything_is_sent(
    trio: Trio, program: str, public: list[int], shares: list[int]
) -> None:
    with pytest.raises(ParameterError):
        trio.run(trio.evaluators[1].evaluate(program, public, shares, EVALUATION_SECONDS))
    assert trio.evaluators[1].alive


@pytest.mark.parametrize(
    "program, public, values",
    [("auction", (8, 8, 0, 1), [0] * 16), ("auction", (8, 0, 0, 0), [0] * 16), ("nonzero", (2,), [0])],
)
def test_public_inputs_out_of_range_are_refused(
    trio: Trio, program: str, public: tuple[int, ...], values: list[int]
) -> None:
    with pytest.raises(EvaluatorFailed, match="gave up: ParameterError"):
        trio.evaluate(program, public, values)
    trio.run(trio.restart())


def test_feed_refuses_strangers_and_oversized_messages() -> None:
    async def feed() -> None:
        evaluator = Evaluator(index=1, n=3, t=1, send=lambda _peer, _data: None)
        for stranger in (0, 1, 4):
            with pytest.raises(ParameterError):
                evaluator.feed(stranger, b"x")
        evaluator.feed(2, bytes(MAX_MESSAGE_BYTES + 1))
        with pytest.raises(EvaluatorFailed, match="member 2 sent") as refusal:
            await evaluator.start(START_SECONDS)
        assert refusal.value.peer == 2

    asyncio.run(feed())


def test_a_peer_that_sends_rubbish_ends_the_child_not_the_parent(trio: Trio) -> None:
    async def rubbish() -> None:
        waiting = asyncio.create_task(trio.evaluators[1].evaluate("nonzero", [1], [1], EVALUATION_SECONDS))
        await asyncio.sleep(0)
        # A message for a label nobody knows is kept; one that is longer than any message is not.
        trio.evaluators[1].feed(2, (0).to_bytes(8, "little") + (2**32 - 1).to_bytes(4, "little"))
        for _ in range(2):
            trio.evaluators[1].feed(2, bytes(MAX_MESSAGE_BYTES))
        with pytest.raises(EvaluatorFailed, match="gave up: DecodeError") as refusal:
            await waiting
        assert refusal.value.peer == trio.evaluators[1].failed_by == 2

    trio.run(rubbish())
    trio.run(trio.restart())

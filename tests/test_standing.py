"""What one lying member says of itself decides nothing for the others."""

from __future__ import annotations

from typing import Any

import pytest

from darkpool.committee.standing import MAX_LEAD, Standing, apart, next_generation
from darkpool.message import Message

STATUS = {"generation": 3, "evaluator": True, "players": [1, 2, 4], "peers": [2, 4]}
LAST = (1 << 31) - 1


def test_a_status() -> None:
    standing = Standing.read(Message("status", STATUS))
    assert standing == Standing(3, (1, 2, 4), frozenset({2, 4}))


@pytest.mark.parametrize("evaluator", [False, None, 1, "true"])
def test_players_without_an_evaluator_are_none(evaluator: object) -> None:
    standing = Standing.read(Message("status", {**STATUS, "evaluator": evaluator}))
    assert standing is not None
    assert standing.evaluating == ()


@pytest.mark.parametrize("field", ["generation", "players", "peers"])
@pytest.mark.parametrize("value", [None, "1", -1, 1.5, True, [True], ["1"], [[1]], {"1": 1}])
def test_nonsense_is_no_standing(field: str, value: Any) -> None:  # noqa: ANN401 - whatever a liar sends
    assert Standing.read(Message("status", {**STATUS, field: value})) is None


def test_a_missing_field_is_no_standing() -> None:
    for field in ("generation", "players", "peers"):
        assert Standing.read(Message("status", {k: v for k, v in STATUS.items() if k != field})) is None


@pytest.mark.parametrize(
    "told, threshold, expected",
    [
        ([0, 0, 0], 1, 1),
        ([4, 7, 7], 1, 8),
        ([0, 9, 7], 1, 10),  # one that was started with others than these
        ([5, 5, LAST], 1, 6),
        ([LAST, LAST, 5, 5, 5], 2, 6),
        ([5, 5, 5 + MAX_LEAD], 1, 6 + MAX_LEAD),
        ([5, 5, 6 + MAX_LEAD], 1, 6),
    ],
)
def test_generations_go_up_and_a_liar_cannot_use_them_up(
    told: list[int], threshold: int, expected: int
) -> None:
    assert next_generation(told, threshold) == expected


@pytest.mark.parametrize(
    "seen, pairs",
    [
        ({1: {1, 2, 3}, 2: {1, 2, 3}, 3: {1, 2, 3}}, set()),
        ({1: {1, 2, 3, 4}, 2: {2}, 3: {1, 2, 3, 4}, 4: {1, 2, 3, 4}}, {(1, 2), (2, 3), (2, 4)}),
        ({1: {1, 3}, 2: {1, 2, 3}, 3: {1, 2, 3}}, {(1, 2)}),
        ({2: {1, 2, 3}, 1: {1, 3}, 3: {1, 2, 3}}, {(1, 2)}),
        ({1: {1}, 2: {2}}, {(1, 2)}),
        ({1: {1, 9}}, set()),
        ({}, set()),
    ],
)
def test_one_that_does_not_see_another_parts_the_two_and_nobody_else(
    seen: dict[int, set[int]], pairs: set[tuple[int, int]]
) -> None:
    assert apart(seen) == pairs

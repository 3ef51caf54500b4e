"""Some of the members evaluate: every share stays at its member's point; other players are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import combinations

import pytest

from commitments.errors import ParameterError, VerificationError
from commitments.shamir import reconstruct, share
from darkpool.committee.evaluator import MAX_MESSAGE_BYTES, Evaluator, EvaluatorFailed
from tests.evaluator_trio import BOOKS, START_SECONDS, TOP, Cleared, Trio, plain_rule


def every_program(members: Trio, books: Iterable[tuple[list[int], list[int], int]]) -> None:
    """All programs on a committee of its own; `reconstruct` checks the degree at the members' own points."""
    try:
        members.run(members.restart())
        for demand, supply, pressure in books:
            outputs = members.evaluate("auction", (8, 4, pressure, 5), (*demand, *supply))
            assert Cleared(*outputs) == plain_rule(demand, supply, 4, pressure, 5)
        assert members.evaluate("at_least", [4], [0, 5, TOP, 6, 1, 5, 0, 7]) == [0, 1, 1, 0]
        assert members.evaluate("nonzero", [3], [0, 1, 2 * TOP]) == [0, 1, 1]
    finally:
        members.end()


@pytest.mark.parametrize("n, t, players", [(4, 1, (1, 3, 4)), (6, 2, (1, 2, 4, 5, 6))])
def test_some_of_the_members_evaluate(n: int, t: int, players: tuple[int, ...]) -> None:
    every_program(Trio(n, t, players), (BOOKS["mixed surplus"], BOOKS["tie in volume, left nearer"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "n, t, players",
    [(n, 1, players) for n in (4, 5) for m in range(3, n + 1) for players in combinations(range(1, n + 1), m)]
    + [(5, 2, (1, 2, 3, 4, 5)), (16, 1, (2, 9, 16))],
)
def test_larger_committees_and_all_their_subsets(n: int, t: int, players: tuple[int, ...]) -> None:
    every_program(Trio(n, t, players), BOOKS.values())


def test_a_member_that_does_not_play_neither_disturbs_nor_is_needed() -> None:
    members = Trio(4, 1, (1, 3, 4))
    try:
        members.run(members.restart())
        ours = members.evaluators[1]
        ours.feed(2, b"rubbish")
        ours.feed(2, bytes(MAX_MESSAGE_BYTES + 1))
        ours.lost(2)
        with pytest.raises(ParameterError):
            ours.feed(5, b"x")
        shares = [share(v, 4, 1) for v in (3, 0)]
        first = members.run(members.on_shares("nonzero", [2], shares))
        second = members.run(members.on_shares("nonzero", [2], shares))
        for output, again, bit in zip(first, second, (1, 0), strict=True):
            assert set(output) == {1, 3, 4}
            assert reconstruct(output, 4, 1) == reconstruct(again, 4, 1) == bit
            assert output != again
        # Shares at MPyC's own points would be those of members 1, 2 and 3.
        with pytest.raises(VerificationError, match="degree of sharing"):
            reconstruct(dict(zip((1, 2, 3), first[0].values(), strict=True)), 4, 1)
        ours.lost(3)
        assert not ours.alive
    finally:
        members.end()


@pytest.mark.parametrize("index, players", [(1, (2, 3, 4)), (1, (1, 2)), (1, (1, 3, 3)), (1, (3, 2, 1))])
def test_players_that_cannot_evaluate_are_refused(index: int, players: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError):
        Evaluator(index=index, n=4, t=1, send=lambda _peer, _data: None, members=players)


@pytest.mark.parametrize(
    "n, t, players",
    [(6, 2, (1, 2, 3, 4, 5)), (7, 1, (1, 2, 3, 4, 5)), (6, 1, (1, 2, 3, 4)), (6, 1, (1, 2, 3, 4, 6))],
    ids=["threshold", "members", "fewer players", "another player"],
)
def test_a_peer_with_other_settings_is_refused(n: int, t: int, players: tuple[int, ...]) -> None:
    members = Trio(6, 1, (1, 2, 3, 4, 5))
    try:

        async def start() -> tuple[BaseException | None, BaseException | None]:
            ours, theirs = members.build(1), members.build(2, n, t, players)
            return await asyncio.gather(
                ours.start(START_SECONDS), theirs.start(START_SECONDS), return_exceptions=True
            )

        for peer, refusal in zip((2, 1), members.run(start()), strict=True):
            assert isinstance(refusal, EvaluatorFailed)
            assert refusal.peer == peer
            assert "gave up: VerificationError" in str(refusal)
    finally:
        members.end()

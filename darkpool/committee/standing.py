"""What members say of themselves in their status, as far as it decides who plays. Any may be lying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, Self, TypeGuard

from commitments.errors import DecodeError
from darkpool.message import Message

MAX_LEAD: Final = 100
"""Generations of evaluators that an honest member may be ahead of others."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One member's. `evaluating`: the players its evaluator is among; nobody if it has none."""

    generation: int
    evaluating: tuple[int, ...]
    peers: frozenset[int]

    @classmethod
    def read(cls, status: Message) -> Self | None:
        """None if it is none: whatever else such a member says, it is left out."""
        peers, players = status.fields.get("peers"), status.fields.get("players")
        if not _indices(peers) or not _indices(players):
            return None
        try:
            generation = status.integer("generation")
        except DecodeError:
            return None
        evaluating = players if status.fields.get("evaluator") is True else []
        return cls(generation, tuple(evaluating), frozenset(peers))


def standings_of(statuses: Mapping[int, Message]) -> dict[int, Standing]:
    """By member, of those whose status is one."""
    read = {i: Standing.read(status) for i, status in statuses.items()}
    return {i: standing for i, standing in read.items() if standing is not None}


def _indices(value: Any) -> TypeGuard[list[int]]:  # noqa: ANN401 - a field of a message
    return isinstance(value, list) and all(type(i) is int for i in value)


def next_generation(told: Sequence[int], threshold: int) -> int:
    """One above all that members told; but one of them alone cannot use up the numbers there are.

    Of t+1 numbers one is an honest member's, and no other honest one is far ahead of it.
    """
    honest = sorted(told, reverse=True)[threshold]
    return 1 + max(number for number in told if number <= honest + MAX_LEAD)


def apart(seen: Mapping[int, set[int]]) -> set[tuple[int, int]]:
    """Pairs of members one of whom says that it does not see the other; either of the two may be at fault."""
    return {(a, b) for a, b in combinations(sorted(seen), 2) if b not in seen[a] or a not in seen[b]}

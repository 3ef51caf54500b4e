"""Evaluators with their real children, wired to each other inside one process; and the plain rule."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from commitments.params import SUM_BITS
from commitments.shamir import reconstruct, share
from darkpool.committee.evaluator import Evaluator

T_ = TypeVar("T_")
START_SECONDS = 60.0  # generous: a busy machine imports numpy slowly
EVALUATION_SECONDS = 60.0
TOP = 2**SUM_BITS - 1
# Demand, supply and pressure of eight ticks.
BOOKS: dict[str, tuple[list[int], list[int], int]] = {
    "one-sided buys": ([9] * 8, [0] * 8, 0),
    "one-sided sells": ([0] * 8, [9] * 8, 0),
    "empty": ([0] * 8, [0] * 8, 3),
    "no a: supply above demand": ([3, 3, 2, 2, 1, 1, 1, 0], [5, 5, 6, 7, 7, 8, 9, 9], 0),
    "no b: demand above supply": ([9, 9, 9, 8, 8, 8, 8, 7], [0, 0, 1, 1, 2, 3, 3, 3], 0),
    "balanced everywhere": ([5] * 8, [5] * 8, 0),
    "buys long everywhere, pressure up": ([7] * 8, [5] * 8, 2),
    "sells long everywhere, pressure down": ([5] * 8, [7] * 8, 2),
    "mixed surplus": ([6, 6, 6, 4, 4, 4, 2, 2], [4, 4, 4, 6, 6, 6, 6, 6], 3),
    "tie in volume, right nearer": ([6, 6, 6, 4, 4, 4, 4, 0], [1, 4, 4, 5, 5, 5, 6, 6], 3),
    "tie in volume, left nearer": ([5, 5, 5, 4, 4, 4, 4, 0], [1, 4, 4, 6, 6, 6, 6, 6], 3),
    "largest sums": ([TOP] * 8, [TOP] * 8, 9),
    "largest surplus on both sides": ([TOP] * 4 + [1] * 4, [1] * 4 + [TOP] * 4, 0),
}


class Trio:
    """The evaluators of the players among n members, all of them (and three) unless told otherwise."""

    def __init__(self, n: int = 3, t: int = 1, players: tuple[int, ...] | None = None) -> None:
        self.n, self.t = n, t
        self.players = tuple(range(1, n + 1)) if players is None else players
        self.runner = asyncio.Runner()
        self.traffic: Counter[tuple[int, int, int]] = Counter()  # (from, to, bytes)
        self.heard: list[tuple[int, int, bytes]] | None = None  # (from, to, message), if a list is put here
        self.evaluators: dict[int, Evaluator] = {}

    def run(self, coroutine: Coroutine[Any, Any, T_]) -> T_:
        return self.runner.run(coroutine)

    def _send(self, sender: int) -> Callable[[int, bytes], None]:
        def send(peer: int, data: bytes) -> None:
            self.traffic[sender, peer, len(data)] += 1
            if self.heard is not None:
                self.heard.append((sender, peer, data))
            if peer in self.evaluators:
                self.evaluators[peer].feed(sender, data)

        return send

    def build(
        self, index: int, n: int | None = None, t: int | None = None, players: tuple[int, ...] | None = None
    ) -> Evaluator:
        evaluator = Evaluator(
            index=index,
            n=self.n if n is None else n,
            t=self.t if t is None else t,
            send=self._send(index),
            members=self.players if players is None else players,
        )
        self.evaluators[index] = evaluator
        return evaluator

    async def restart(self) -> None:
        """Replace all evaluators, as members do after a failure."""
        await self.close()
        for i in self.players:
            self.build(i)
        await asyncio.gather(*(e.start(START_SECONDS) for e in self.evaluators.values()))

    async def close(self) -> None:
        await asyncio.gather(*(e.close() for e in self.evaluators.values()))
        self.evaluators.clear()

    async def on_shares(
        self, program: str, public: Sequence[int], shares: Sequence[dict[int, int]]
    ) -> list[dict[int, int]]:
        """Every output's shares by member index."""
        results = await asyncio.gather(
            *(
                e.evaluate(program, public, [s[i] for s in shares], EVALUATION_SECONDS)
                for i, e in self.evaluators.items()
            )
        )
        return [dict(zip(self.evaluators, column, strict=True)) for column in zip(*results, strict=True)]

    def evaluate(self, program: str, public: Sequence[int], values: Sequence[int]) -> list[int]:
        """Share the values among all members, evaluate, reconstruct from all players' shares."""
        shares = [share(v, self.n, self.t) for v in values]
        outputs = self.run(self.on_shares(program, public, shares))
        return [reconstruct(output, self.n, self.t) for output in outputs]

    def end(self) -> None:
        self.run(self.close())
        self.runner.close()


class Cleared(NamedTuple):
    """The auction program's outputs."""

    crosses: int
    price: int
    volume: int
    buys_long: int
    marginal: int
    exact: int


def plain_rule(
    demand: Sequence[int], supply: Sequence[int], ref: int, pressure: int, minimum: int
) -> Cleared:
    """The rule read off section 7 of the protocol, tick by tick; knows nothing of a and b."""
    ticks = range(len(demand))
    volume = max(min(demand[i], supply[i]) for i in ticks)
    best = [i for i in ticks if min(demand[i], supply[i]) == volume]
    least = min(abs(demand[i] - supply[i]) for i in best)
    best = [i for i in best if abs(demand[i] - supply[i]) == least]
    signs = {(demand[i] > supply[i]) - (demand[i] < supply[i]) for i in best}
    target = ref + pressure if signs == {1} else ref - pressure if signs == {-1} else ref
    price = sorted((best[0], target, best[-1]))[1]
    if demand[price] >= supply[price]:
        marginal = max(i for i in ticks if demand[i] >= volume)
        return Cleared(int(volume >= minimum), price, volume, 1, marginal, int(demand[marginal] == volume))
    marginal = min(i for i in ticks if supply[i] >= volume)
    return Cleared(int(volume >= minimum), price, volume, 0, marginal, int(supply[marginal] == volume))

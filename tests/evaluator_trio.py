"""Three evaluators with their real children, wired to each other inside one process; and the plain rule."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from commitments.shamir import reconstruct, share
from darkpool.committee.evaluator import Evaluator

T_ = TypeVar("T_")
START_SECONDS = 60.0  # generous: a busy machine imports numpy slowly
EVALUATION_SECONDS = 60.0


class Trio:
    """n evaluators (three unless told otherwise) on an event loop of their own."""

    def __init__(self, n: int = 3, t: int = 1) -> None:
        self.n, self.t = n, t
        self.runner = asyncio.Runner()
        self.traffic: Counter[tuple[int, int, int]] = Counter()  # (from, to, bytes)
        self.evaluators: dict[int, Evaluator] = {}

    def run(self, coroutine: Coroutine[Any, Any, T_]) -> T_:
        return self.runner.run(coroutine)

    def _send(self, sender: int) -> Callable[[int, bytes], None]:
        def send(peer: int, data: bytes) -> None:
            self.traffic[sender, peer, len(data)] += 1
            if peer in self.evaluators:
                self.evaluators[peer].feed(sender, data)

        return send

    def build(self, index: int, n: int | None = None, t: int | None = None) -> Evaluator:
        evaluator = Evaluator(
            index=index, n=self.n if n is None else n, t=self.t if t is None else t, send=self._send(index)
        )
        self.evaluators[index] = evaluator
        return evaluator

    async def restart(self) -> None:
        """Replace all evaluators, as members do after a failure."""
        await self.close()
        for i in range(1, self.n + 1):
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
        """Share the values, evaluate, reconstruct from all shares."""
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

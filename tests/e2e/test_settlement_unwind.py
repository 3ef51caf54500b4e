"""A venue whose settlement is reorganised away on a real anvil: it lands again, or is void, by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from commitments.params import INSECURE_TEST
from darkpool.auction import PlainOrder
from darkpool.chain import Chain
from darkpool.committee.seat import Seat
from darkpool.market import Side
from darkpool.plan import Options
from darkpool.run import Run
from darkpool.submitter import Standing
from darkpool.types import Lots, Tick
from darkpool.windows import Pending
from tests.anvil import running_anvil
from tests.encrypted import Committee, assert_ledger_is_the_chain, opened, plan_of, running, seats

ORDERS = (
    PlainOrder("A", Side.BUY, Tick(2), Lots(30)),
    PlainOrder("B", Side.SELL, Tick(1), Lots(20)),
    PlainOrder("C", Side.BUY, Tick(0), Lots(7)),
)
OPTIONS = Options("0.01", INSECURE_TEST, levels=4)


@pytest.fixture(scope="module")
def dealt() -> list[Seat]:
    return seats(INSECURE_TEST)


@dataclass
class Story:
    """A venue with one settlement in a block of its own chain."""

    url: str
    committee: Committee
    run: Run
    pending: Pending

    def rpc(self, method: str, *parameters: Any) -> None:  # noqa: ANN401 - as the method takes them
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        assert "error" not in httpx.post(self.url, json=question, trust_env=False).json()

    def settle(self) -> Standing:
        ((pending, standing),) = self.committee.run(self.committee.house.engine.settle())
        assert pending == self.pending
        return standing


@pytest.fixture
def story(dealt: list[Seat]) -> Iterator[Story]:
    with running_anvil() as url, running(dealt, chain=Chain.rpc(url, finality=0)) as committee:
        engine = committee.house.engine
        run, market = committee.run(opened(committee.house, plan_of(4, [(Tick(2), ORDERS)]), OPTIONS))
        committee.run(engine.close(market))
        (pending,) = committee.run(engine.close_window())
        committee.run(engine.sign_pending())
        made = Story(url, committee, run, pending)
        assert made.settle().landed
        yield made


def test_reorganised_away_twice_it_lands_again_and_is_settled_once(story: Story) -> None:
    house = story.committee.house
    for _ in range(2):
        story.rpc("anvil_reorg", 1, [])
        house.chain.advance(60)  # the chain that took its place has a clock of its own
        assert house.chain.next_id() == 1
        assert house.engine.state.pending == [story.pending]
        assert story.settle().landed
    (effects,) = story.committee.run(house.engine.follow_chain())
    assert (effects.settled, effects.void) == ([story.pending], [])
    assert house.engine.state.not_final == []
    assert_ledger_is_the_chain(house, story.run, locked="C")


def test_reorganised_away_until_its_window_has_passed_it_is_void(story: Story) -> None:
    house = story.committee.house
    story.rpc("anvil_reorg", 1, [])
    house.chain.advance(story.pending.ends + 1 - house.chain.now())
    assert "window has closed" in story.settle().trouble
    (effects,) = story.committee.run(house.engine.follow_chain())
    assert (effects.settled, effects.void) == ([], [story.pending])
    assert effects.busted == list(story.pending.rounds)
    assert story.committee.run(house.engine.settle()) == []
    assert house.chain.next_id() == 1
    assert_ledger_is_the_chain(house, story.run, locked="C")

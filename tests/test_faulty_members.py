"""One member lies, dies or stays silent: detected, nothing wrong settled, every order comes free again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from commitments.params import INSECURE_TEST
from darkpool.auction import PlainOrder
from darkpool.engine import Closed
from darkpool.errors import PeerFault, Unavailable
from darkpool.house import House
from darkpool.market import RoundState, Side
from darkpool.plan import Options
from darkpool.run import Run
from darkpool.settlement import recover
from darkpool.types import Lots, Tick
from tests.encrypted import (
    Committee,
    assert_ledger_is_the_chain,
    opened,
    plan_of,
    running,
    seats,
    settled,
)
from tests.faulty_member import FAULT, set_fault

HONEST = "darkpool.committee.node"
FAULTY = "tests.faulty_member"
ORDERS = (
    PlainOrder("A", Side.BUY, Tick(2), Lots(30)),
    PlainOrder("B", Side.BUY, Tick(3), Lots(20)),
    PlainOrder("C", Side.SELL, Tick(1), Lots(40)),
    PlainOrder("D", Side.BUY, Tick(0), Lots(7)),
)
OPTIONS = Options("0.01", INSECURE_TEST, levels=4)

slow = pytest.mark.slow


def seldom(*cases: str) -> list[object]:
    """Cases for the slow tests."""
    return [pytest.param(case, marks=slow) for case in cases]


@dataclass(frozen=True, slots=True)
class Liar:
    """A committee whose member 2 has the fault of the hour."""

    committee: Committee
    file: Path

    def close(self, fault: str, step: str = "") -> Story:
        """A round with that fault."""
        house = self.committee.house
        set_fault(self.file)
        run, market = self.committee.run(opened(house, plan_of(4, [(Tick(2), ORDERS)]), OPTIONS))
        set_fault(self.file, fault, step)
        closed = self.committee.run(house.engine.close(market))
        set_fault(self.file)
        return Story(house, run, closed)


@dataclass(frozen=True, slots=True)
class Story:
    """How a round with a faulty member went."""

    house: House
    run: Run
    closed: Closed

    @property
    def state(self) -> RoundState:
        return self.house.engine.state.books[self.closed.sealed.market].current_round.state


@contextmanager
def lying(folder: Path, members: int = 3) -> Iterator[Liar]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FAULT, str(folder / "fault"))
        set_fault(folder / "fault")
        modules = [HONEST, FAULTY, *[HONEST] * (members - 2)]
        with running(seats(INSECURE_TEST, members), modules, timeout=10) as committee:
            yield Liar(committee, folder / "fault")


@pytest.fixture(scope="module")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Liar]:
    with lying(tmp_path_factory.mktemp("fault")) as started:
        yield started


@pytest.fixture(scope="module")
def one_of_four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Liar]:
    with lying(tmp_path_factory.mktemp("fault"), 4) as started:
        yield started


def assert_released(story: Story) -> None:
    """Nothing settled, the book empty, every lock returned: each F again commits to the deposits alone."""
    engine, closed = story.house.engine, story.closed
    assert closed.cleared is None
    assert engine.state.books[closed.sealed.market].standing == ()
    assert engine.state.sealed is None
    assert engine.state.not_final == []
    assert story.house.chain.next_id() == 1
    assert_ledger_is_the_chain(story.house, story.run)


def assert_aborted(story: Story) -> None:
    """As `assert_released`, by a certificate, and the venue goes on."""
    assert_released(story)
    certificate = story.closed.certificate
    assert certificate is not None
    assert certificate.result is None
    assert len(certificate.signatures) >= 2
    assert len(story.closed.effects.ended) == len(ORDERS)
    assert story.closed.round.state is RoundState.ABORTED
    assert story.house.engine.halted == ""


@pytest.mark.parametrize(
    "fault, step, reason",
    [
        ("wrong_partial", "", "member 2 partial at curves/partials"),
        ("wrong_mask", "", "of a mask key disagree"),
        ("wrong_message", "crosses", "degree of sharing"),
        pytest.param("wrong_message", "price", "degree of sharing", marks=slow),
        pytest.param("wrong_message", "long", "degree of sharing", marks=slow),
        pytest.param("wrong_message", "cut/0/bits", "degree of sharing", marks=slow),
        ("wrong_message", "conservation", "degree of sharing"),
        pytest.param("short_message", "curves/masks", "bytes where", marks=slow),
        pytest.param("short_message", "accounts/partials", "bytes where", marks=slow),
        ("wrong_message", "accounts/openings", "openings|root|plaintext"),
        ("short_message", "accounts/openings", "bytes where"),
    ],
)
def test_a_lie_is_detected_and_all_orders_are_released(
    liar: Liar, fault: str, step: str, reason: str
) -> None:
    story = liar.close(fault, step)
    assert_aborted(story)
    assert any(part in story.closed.reason for part in reason.split("|"))


@pytest.mark.parametrize("fault", ["wrong_message", "short_message"])
def test_a_lie_in_the_last_step_may_leave_the_liar_with_a_result_that_is_never_settled(
    liar: Liar, fault: str
) -> None:
    """Whether or not the liar signed before it heard of the abort, the others promise never to."""
    assert_aborted(liar.close(fault, "nets"))


@pytest.mark.parametrize("step", ["nets", *seldom("curves/partials", "crosses")])
def test_a_dead_member_ends_the_round_once_it_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr("darkpool.committee.coordinator.RETURN_SECONDS", 1.0)
    with lying(tmp_path) as liar:
        committee = liar.committee.house.engine.committee
        liar.committee.run(committee.ready(0, 1))
        for link in committee._links.values():
            link._patience = 1.0
        story = liar.close("dead", step)
        assert_aborted(story)
        assert "members [2] left" in story.closed.reason
        # With three members of three needed there is no further round until it is back.
        with pytest.raises(PeerFault, match="member 2"):
            liar.committee.run(committee.caught_up(story.house.engine.log.size, 1.0))


def test_a_silent_member_ends_the_round_when_time_is_up(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    # The silent member itself does not answer the operator in time: the round ends on the others' reports.
    monkeypatch.setattr("darkpool.committee.coordinator.CLEAR_REPLY_SECONDS", 4.0)
    monkeypatch.setattr(liar.committee.house.engine.committee, "_timeout", 1)
    story = liar.close("silent", "crosses")
    assert_aborted(story)
    assert "member" in story.closed.reason


@pytest.mark.parametrize("fault", ["wrong_root", "wrong_root_signature"])
def test_a_root_that_is_not_the_operators_is_not_cleared(liar: Liar, fault: str) -> None:
    """What a member says of its root is its signature: that of another list is as good as none."""
    story = liar.close(fault)
    assert_aborted(story)
    assert "over the root" in story.closed.reason


def test_a_false_promise_not_to_sign_does_not_halt(liar: Liar) -> None:
    story = liar.close("wrong_abandon_signature")
    assert_aborted(story)
    assert story.closed.certificate is not None
    assert len(story.closed.certificate.signatures) == 2


@pytest.mark.parametrize("fault", ["wrong_result", *seldom("odd_result", "wrong_result_signature")])
def test_of_four_members_one_may_lie_about_the_result(one_of_four: Liar, fault: str) -> None:
    story = one_of_four.close(fault)
    certificate = story.closed.certificate
    assert certificate is not None
    assert certificate.result is not None
    assert len(certificate.signatures) == 3
    assert all(sorted(boxes) == [1, 3, 4] for boxes in certificate.boxes.values())
    assert story.state is RoundState.CLEARED
    assert story.house.engine.halted == ""


def test_of_four_members_one_may_sign_another_settlement(one_of_four: Liar) -> None:
    """What the other three signed is enough, and it lands."""
    committee, engine = one_of_four.committee, one_of_four.committee.house.engine
    story = one_of_four.close("")
    (pending,) = committee.run(engine.close_window())
    set_fault(one_of_four.file, "wrong_settlement_signature")
    committee.run(engine.sign_pending())
    set_fault(one_of_four.file)
    (signatures,) = engine.signatures.values()
    signed = {recover(pending.settlement, engine.state.domain, s) for s in signatures}
    others = {address for i, address in engine.committee.signers.addresses.items() if i != 2}
    assert signed == others
    committee.run(engine.settle())
    assert [p for e in committee.run(engine.follow_chain()) for p in e.settled] == [pending]
    assert_ledger_is_the_chain(story.house, story.run, locked="D")


def test_with_too_few_honest_signatures_a_settlement_waits(tmp_path: Path) -> None:
    with lying(tmp_path) as liar:
        committee, engine = liar.committee, liar.committee.house.engine
        liar.close("")
        (pending,) = committee.run(engine.close_window())
        set_fault(liar.file, "wrong_settlement_signature")
        with pytest.raises(Unavailable, match="2/3 members signed: member 2: signed another settlement"):
            committee.run(engine.sign_pending())
        assert (engine.signatures, committee.run(engine.settle())) == ({}, [])
        set_fault(liar.file)
        assert committee.run(settled(engine)) == [pending]


@pytest.mark.parametrize("fault", ["wrong_result", *seldom("odd_result", "wrong_result_signature")])
def test_a_result_that_is_not_agreed_is_not_settled_and_released_when_its_window_has_passed(
    liar: Liar, fault: str
) -> None:
    """Two honest members signed and will not abandon: their orders wait, and the venue is not halted."""
    story = liar.close(fault)
    assert story.closed.certificate is None
    assert "no end yet" in story.closed.reason
    assert story.closed.round.state is RoundState.SEALED
    story.house.chain.advance(story.house.chain.settle_window() + 60)
    liar.committee.run(story.house.engine.follow_chain())
    assert story.state is RoundState.ABORTED
    assert story.house.engine.halted == ""
    assert_released(story)

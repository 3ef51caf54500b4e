"""One member of three lies, dies or stays silent: detected, nothing settled, every order released."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from commitments.params import INSECURE_TEST
from darkpool.auction import PlainOrder
from darkpool.committee.coordinator import Coordinator
from darkpool.committee.member import Member
from darkpool.committee.seat import Seat
from darkpool.engine import RoundReport, Venue
from darkpool.errors import ConfigError, RoundAborted
from darkpool.market import RoundState, Side
from darkpool.plan import Options
from darkpool.run import Run
from darkpool.types import Lots, Tick
from tests.encrypted import plan_of, seats
from tests.faulty_member import FAULT, STEP

HONEST = "darkpool.committee.node"
FAULTY = "tests.faulty_member"
ORDERS = (
    PlainOrder("A", Side.BUY, Tick(2), Lots(30)),
    PlainOrder("B", Side.BUY, Tick(3), Lots(20)),
    PlainOrder("C", Side.SELL, Tick(1), Lots(40)),
    PlainOrder("D", Side.BUY, Tick(0), Lots(7)),
)
OPTIONS = Options("0.01", INSECURE_TEST, levels=4)


@pytest.fixture(scope="module")
def dealt() -> list[Seat]:
    return seats(INSECURE_TEST)


def run_with_fault(
    dealt: list[Seat], monkeypatch: pytest.MonkeyPatch, fault: str, step: str, timeout: int = 60
) -> tuple[Venue, RoundReport, str]:
    """A run in which member 2 has a fault: the venue as it ended, the round's report, the error's message."""
    monkeypatch.setenv(FAULT, fault)
    monkeypatch.setenv(STEP, step)
    seen: list[tuple[Venue, RoundReport]] = []
    honest_close = Venue.close

    async def close(self: Venue) -> RoundReport:
        report = await honest_close(self)
        seen.append((self, report))
        return report

    monkeypatch.setattr(Venue, "close", close)

    async def run(home: Path) -> str:
        async with Coordinator(dealt, home, [HONEST, FAULTY, HONEST], None, timeout) as committee:
            with pytest.raises(RoundAborted) as caught:
                await Run(plan_of(4, [(Tick(2), ORDERS)]), OPTIONS).execute(committee)
            return str(caught.value)

    with tempfile.TemporaryDirectory(prefix="dp-fault-") as folder:
        message = asyncio.run(run(Path(folder)))
    ((venue, report),) = seen
    return venue, report, message


def assert_released(venue: Venue, report: RoundReport) -> None:
    """Nothing settled, the book empty, every lock returned: each F again commits to the deposits alone."""
    assert report.round.state is RoundState.ABORTED
    assert report.receipt is None
    assert report.settlement is None
    assert len(report.released) == len(ORDERS)
    assert venue.book.standing == ()
    assert venue.chain.next_id() == 1
    market = venue.terms.market
    for deposit in venue.chain.deposits():
        token = venue.terms.tokens[deposit.token]
        fresh = type(venue.book.ledger)()
        fresh.deposit(deposit.account, token, deposit.quanta)
        assert (
            venue.book.ledger.of(deposit.account, token).current == fresh.of(deposit.account, token).current
        )
    assert market.base != market.quote


@pytest.mark.parametrize(
    "fault, step, reason",
    [
        ("wrong_partial", "", "partial decryptions"),
        ("wrong_mask", "", "masks: holders"),
        ("wrong_message", "crosses", "degree of sharing"),
        ("wrong_message", "price", "degree of sharing"),
        ("wrong_message", "long", "degree of sharing"),
        ("wrong_message", "cut/0/bit", "degree of sharing"),
        ("wrong_message", "conservation", "degree of sharing"),
        ("short_message", "curves/masks", "bytes where"),
        ("short_message", "accounts/partials", "bytes where"),
        ("wrong_message", "accounts/openings", "openings|root|plaintext"),
        ("short_message", "accounts/openings", "bytes where"),
    ],
)
def test_a_lie_is_detected_and_all_orders_are_released(
    dealt: list[Seat], monkeypatch: pytest.MonkeyPatch, fault: str, step: str, reason: str
) -> None:
    venue, report, message = run_with_fault(dealt, monkeypatch, fault, step)
    assert_released(venue, report)
    assert any(part in message for part in reason.split("|"))
    # Members agree that the round is over, so the venue could go on.
    assert venue.halted == ""


@pytest.mark.parametrize("fault", ["wrong_message", "short_message"])
def test_a_lie_in_the_last_step_may_leave_the_liar_with_a_result_and_then_halts(
    dealt: list[Seat], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    venue, report, _ = run_with_fault(dealt, monkeypatch, fault, "nets")
    assert_released(venue, report)
    # The liar may hear of the abort before it has finished; if not, its signature keeps the orders locked.
    assert (
        not venue.halted or "member 2: finish: round 1: this member has signed a settlement" in venue.halted
    )


@pytest.mark.parametrize("step", ["curves/partials", "crosses", "nets"])
def test_a_dead_member_ends_the_round_at_once(
    dealt: list[Seat], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    venue, report, message = run_with_fault(dealt, monkeypatch, "dead", step)
    assert_released(venue, report)
    assert "member 2" in message
    assert venue.halted  # with three members of three needed there is no further round


def test_a_silent_member_ends_the_round_when_time_is_up(
    dealt: list[Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The silent member itself never answers the operator: the round ends on the others' reports.
    monkeypatch.setattr("darkpool.committee.coordinator.REPLY_SECONDS", 5.0)
    venue, report, message = run_with_fault(dealt, monkeypatch, "silent", "crosses", timeout=2)
    assert_released(venue, report)
    assert "member" in message


@pytest.mark.parametrize(
    "fault, reason",
    [
        ("wrong_root", "answers differently"),
        ("wrong_root_signature", "over the root"),
    ],
)
def test_a_root_that_is_not_the_operators_is_not_cleared(
    dealt: list[Seat], monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    venue, report, message = run_with_fault(dealt, monkeypatch, fault, "")
    assert_released(venue, report)
    assert reason in message


@pytest.mark.parametrize(
    "fault, reason",
    [
        ("wrong_result", "reports another result"),
        ("wrong_settlement_signature", "signature"),
    ],
)
def test_a_result_that_is_not_agreed_is_not_settled_and_halts_the_venue(
    dealt: list[Seat], monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    venue, report, message = run_with_fault(dealt, monkeypatch, fault, "")
    assert_released(venue, report)
    assert reason in message
    # Honest members signed a settlement and will not release its orders while it could be submitted.
    assert "has signed a settlement" in venue.halted


def test_a_member_that_has_signed_before_does_not_start_again(dealt: list[Seat], tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="has signed before"):
        Member(dealt[0], tmp_path)

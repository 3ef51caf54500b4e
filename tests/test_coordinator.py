"""A sealed round comes to one end whoever dies when: certified or abandoned, and books and chain agree.

Real member processes, one of which is killed at a chosen moment and started again by its supervisor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from commitments.params import INSECURE_TEST
from darkpool.auction import PlainOrder
from darkpool.committee import coordinator
from darkpool.committee.coordinator import Coordinator
from darkpool.committee.meeting import Group, Sockets
from darkpool.committee.outcome import Certificate
from darkpool.engine import Closed, Draft
from darkpool.errors import PeerFault, Unavailable
from darkpool.house import House
from darkpool.market import RoundState, Side
from darkpool.plan import Options
from darkpool.run import Run
from darkpool.settlement import Settlement
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
from tests.venue_log import NO_AUDIT
from tests.venue_support import signers, some_terms

HONEST, FAULTY = "darkpool.committee.node", "tests.faulty_member"
ORDERS = (
    PlainOrder("A", Side.BUY, Tick(2), Lots(30)),
    PlainOrder("B", Side.SELL, Tick(1), Lots(20)),
    PlainOrder("C", Side.BUY, Tick(0), Lots(7)),
)
APART = ORDERS[1:]  # nothing crosses
OPTIONS = Options("0.01", INSECURE_TEST, levels=4)


class Mortal:
    """A house whose members are started again, and whose member 2 dies on command."""

    def __init__(self, committee: Committee, file: Path) -> None:
        self.committee, self.house, self._file = committee, committee.house, file
        self.house.members._restart = True

    def open(self, orders: tuple[PlainOrder, ...] = ORDERS) -> tuple[Run, bytes]:
        run, market = self.committee.run(opened(self.house, plan_of(4, [(Tick(2), orders)]), OPTIONS))
        epoch = self.house.chain.epoch()
        self.committee.run(self.house.engine.committee.ready(self.house.engine.log.size, epoch))
        return run, market

    def fault(self, fault: str, step: str) -> None:
        set_fault(self._file, fault, step)

    @property
    def died(self) -> bool:
        """Whether it did what it was told, which takes the fault away."""
        return self._file.read_text() == "\n"

    def kill(self, index: int) -> None:
        os.kill(self.house.members.pids[f"member-{index}"], signal.SIGKILL)

    def check(self, run: Run, closed: Closed) -> None:
        """All members hold our log, F is what the chain says, and the next round could be sealed."""
        engine = self.house.engine
        assert engine.halted == ""
        self.committee.run(settled(engine))
        assert engine.state.not_final == []
        consumed = closed.certificate is not None and closed.certificate.result is not None
        crossed = consumed and closed.cleared is not None
        standing = [o.account for o in engine.state.books[closed.sealed.market].standing]
        names = "".join(sorted(desk.name for desk in run._desks.values() if desk.wallet.address in standing))
        assert names == ("C" if crossed else "BC" if consumed else "")
        assert_ledger_is_the_chain(self.house, run, locked=names)
        self.committee.run(engine.committee.ready(engine.log.size, self.house.chain.epoch()))
        for status in self.committee.run(engine.committee.status()).values():
            assert (status.fields["size"], status.fields["root"]) == (engine.log.size, engine.log.root.hex())


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    file = tmp_path_factory.mktemp("fault") / "fault"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FAULT, str(file))
        patch.setattr("darkpool.supervise.LAST_PAUSE", 0.2)  # it dies often here
        set_fault(file)
        with running(seats(INSECURE_TEST), [HONEST, FAULTY, HONEST], timeout=20) as committee:
            yield Mortal(committee, file)


def assert_certified(closed: Closed) -> None:
    """By all three, with everybody's sealed totals."""
    certificate = closed.certificate
    assert certificate is not None
    assert certificate.result is not None
    assert len(certificate.signatures) == 3
    assert all(sorted(boxes) == [1, 2, 3] for boxes in certificate.boxes.values())
    assert closed.round.state is RoundState.CLEARED


def assert_abandoned(closed: Closed) -> None:
    certificate = closed.certificate
    assert certificate is not None
    assert certificate.result is None
    assert len(certificate.signatures) >= 2
    assert closed.round.state is RoundState.ABORTED


slow = pytest.mark.slow


@pytest.mark.parametrize(
    "fault, step",
    [("dies_after", "clear"), ("dead_after", "nets")],
)
def test_a_member_whose_part_was_done_is_waited_for(mortal: Mortal, fault: str, step: str) -> None:
    """It had sent all that the others needed: the result is found, and signed by all."""
    run, market = mortal.open()
    mortal.fault(fault, step)
    closed = mortal.committee.run(mortal.house.engine.close(market))
    assert mortal.died
    assert_certified(closed)
    mortal.check(run, closed)


@pytest.mark.parametrize(
    "fault, step",
    [pytest.param("dies_before", "sign", marks=slow), ("dies_after", "sign")],
)
def test_a_member_that_died_when_asked_to_sign_abandons_with_the_others(
    mortal: Mortal, fault: str, step: str
) -> None:
    """Of three all must sign the list, at the time it names."""
    run, market = mortal.open()
    mortal.fault(fault, step)
    closed = mortal.committee.run(mortal.house.engine.close(market))
    assert mortal.died
    assert_abandoned(closed)
    mortal.check(run, closed)


@pytest.mark.parametrize(
    "fault, step",
    [
        pytest.param("dies_before", "append", marks=slow),  # the next entry is the seal
        pytest.param("dies_after", "append", marks=slow),
        pytest.param("dies_before", "clear", marks=slow),
        pytest.param("dead", "curves/partials", marks=slow),
        pytest.param("dead", "crosses", marks=slow),
        pytest.param("dead_after", "conservation", marks=slow),
        ("dead", "nets"),
    ],
)
def test_a_member_that_died_in_the_middle_plays_again_once_it_is_back(
    mortal: Mortal, fault: str, step: str
) -> None:
    """The second attempt reveals the same as the first, or members would end it."""
    run, market = mortal.open()
    mortal.fault(fault, step)
    closed = mortal.committee.run(mortal.house.engine.close(market))
    assert mortal.died
    assert_certified(closed)
    mortal.check(run, closed)


@pytest.mark.slow
def test_it_may_die_again_while_it_is_asked(mortal: Mortal) -> None:
    """Every question can be repeated: before the end is in the log nobody forgets it."""
    run, market = mortal.open()
    mortal.fault("dead_after", "nets")
    closed = mortal.committee.run(mortal.house.engine.close(market))
    assert_certified(closed)
    mortal.check(run, closed)
    run, market = mortal.open()
    mortal.fault("dies_after", "abandon")
    seal(mortal, market)
    closed_ = mortal.committee.run(mortal.house.engine.recover())
    assert closed_ is not None
    assert_abandoned(closed_)
    mortal.check(run, closed_)


def test_that_nothing_crosses_is_certified_too(mortal: Mortal) -> None:
    run, market = mortal.open(APART)
    mortal.fault("dies_after", "clear")
    closed = mortal.committee.run(mortal.house.engine.close(market))
    assert closed.certificate is not None
    assert closed.certificate.result is not None
    assert not closed.certificate.result.crossed
    assert closed.round.state is RoundState.NO_CROSS
    mortal.check(run, closed)


# --- the operator dies ------------------------------------------------------------------------------


def seal(mortal: Mortal, market: bytes) -> House:
    """The entry, and nothing more."""
    engine = mortal.house.engine
    fields = {"market": market.hex(), "round": 1, "epoch": mortal.house.chain.epoch(), **NO_AUDIT}
    mortal.committee.run(engine.commit_one(Draft("seal", fields)))
    return mortal.house


@pytest.mark.parametrize("asked", [(), ("sign",)])
def test_a_list_that_nobody_cleared_is_abandoned(mortal: Mortal, asked: tuple[str, ...]) -> None:
    run, market = mortal.open()
    engine = seal(mortal, market).engine
    book = engine.state.books[market]
    assert book.sealed is not None
    if asked:
        mortal.committee.run(engine.committee.caught_up(engine.log.size))
        mortal.committee.run(engine.committee.sign(book.terms, book.sealed))
    closed = mortal.committee.run(engine.recover())
    assert closed is not None
    assert_abandoned(closed)
    assert closed.reason == "the venue was interrupted"
    mortal.check(run, closed)
    assert mortal.committee.run(engine.recover()) is None


def cleared(mortal: Mortal, market: bytes) -> Certificate:
    """The end of a sealed list, that does not get into the log."""
    engine = seal(mortal, market).engine
    book = engine.state.books[market]

    async def clear() -> Certificate:
        assert book.sealed is not None
        await engine.committee.caught_up(engine.log.size)
        await engine.committee.sign(book.terms, book.sealed)
        return await engine.committee.clear(book.terms, book.sealed, engine._digest_of(book))

    return mortal.committee.run(clear())


def assert_found_again(mortal: Mortal, run: Run, certificate: Certificate) -> None:
    closed = mortal.committee.run(mortal.house.engine.recover())
    for _ in range(3):  # a link that breaks in the middle of a question leaves it to be asked again
        if closed is None or closed.certificate is not None:
            break
        closed = mortal.committee.run(mortal.house.engine.recover())
    assert closed is not None
    assert_certified(closed)
    assert closed.certificate is not None
    assert closed.certificate.result == certificate.result
    assert closed.certificate.boxes == certificate.boxes
    mortal.check(run, closed)


@pytest.mark.parametrize("killed", [(), (1, 2, 3)])
def test_a_result_nobody_logged_is_found_again(mortal: Mortal, killed: tuple[int, ...]) -> None:
    """Also when every member was killed since: they keep what they signed."""
    run, market = mortal.open()
    certificate = cleared(mortal, market)
    for index in killed:
        mortal.kill(index)
    assert_found_again(mortal, run, certificate)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["dies_before", "dies_after"])
def test_a_member_that_dies_when_asked_how_it_ended_is_asked_again(mortal: Mortal, fault: str) -> None:
    run, market = mortal.open()
    certificate = cleared(mortal, market)
    mortal.fault(fault, "outcome")
    assert_found_again(mortal, run, certificate)
    assert mortal.died


# --- before anything is sealed ----------------------------------------------------------------------


def test_a_round_stays_open_while_a_member_is_away(mortal: Mortal) -> None:
    run, market = mortal.open()
    engine = mortal.house.engine
    pid = mortal.house.members.pids["member-3"]
    os.kill(pid, signal.SIGSTOP)
    try:
        mortal.committee.run(engine.open(market, Tick(2)))
        with pytest.raises(PeerFault, match="member 3"):
            mortal.committee.run(engine.committee.caught_up(engine.log.size, 0.5))
        assert engine.committee.lag()[3] > 0
        assert engine.state.sealed is None
    finally:
        os.kill(pid, signal.SIGCONT)
    mortal.committee.run(engine.committee.caught_up(engine.log.size))
    assert engine.committee.lag() == {1: 0, 2: 0, 3: 0}
    closed = mortal.committee.run(engine.close(market))
    assert_certified(closed)
    mortal.check(run, closed)


def test_members_that_do_not_answer_keep_a_settlement_no_longer_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinator, "SHORT_SECONDS", 0.2)
    settlement = Settlement(1, 1, 1, bytes(32), bytes(32), (), ())

    async def read(*_: int) -> list[bytes]:
        return []

    async def go() -> None:
        asked = Coordinator(signers(), Sockets(tmp_path, Group(bytes(32), 3, 1)), read, 0)
        started = time.monotonic()
        with pytest.raises(Unavailable, match=r"0/3 members signed: no answer within 0.2 s"):
            await asked.settle(settlement, some_terms().domain, 0)
        assert time.monotonic() - started < 2  # a link alone waits for 10 s
        await asked.close()

    asyncio.run(go())

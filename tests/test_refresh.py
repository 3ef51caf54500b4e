"""Shares made anew between rounds of a living venue: no order is lost, and old shares open nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from commitments.errors import VerificationError
from commitments.params import INSECURE_TEST
from commitments.threshold import combine, partial
from darkpool.auction import PlainOrder
from darkpool.committee.home import SEAT
from darkpool.committee.seat import Seat
from darkpool.committee.staging import NEXT
from darkpool.errors import OrderRefused, PeerFault, Unavailable
from darkpool.market import Side
from darkpool.plan import Options
from darkpool.succeeding import change
from darkpool.tenure_file import Planned
from darkpool.types import Lots, Tick
from tests.encrypted import Committee, assert_ledger_is_the_chain, opened, plan_of, running, seats, settled

ORDERS = (
    PlainOrder("A", Side.BUY, Tick(2), Lots(30)),
    PlainOrder("B", Side.SELL, Tick(1), Lots(20)),
    PlainOrder("C", Side.BUY, Tick(0), Lots(7)),
)
OPTIONS = Options("0.01", INSECURE_TEST, levels=4)


@pytest.fixture
def committee() -> Iterator[Committee]:
    with running(seats(INSECURE_TEST, 4), timeout=20) as started:
        yield started


def homes(committee: Committee) -> list[Path]:
    return [Path(p.argv[3]) for p in committee.house.members._programs]


def loaded(committee: Committee) -> list[Seat]:
    return [Seat.load(home / SEAT) for home in homes(committee)]


def refresh(committee: Committee) -> None:
    engine = committee.house.engine
    current = engine.state.tenures.current
    planned = Planned(replace(current, key_epoch=current.key_epoch + 1))
    committee.run(change(engine, planned))
    committee.run(engine.committee.ready(engine.log.size, committee.house.chain.epoch()))


def test_standing_orders_trade_under_refreshed_shares(committee: Committee) -> None:
    house = committee.house
    old = loaded(committee)
    run, market = committee.run(opened(house, plan_of(4, [(Tick(2), ORDERS)]), OPTIONS))
    refresh(committee)
    refresh(committee)
    new = loaded(committee)
    assert [s.committee.epoch for s in new] == [2] * 4
    assert len(house.engine.state.books[market].standing) == len(ORDERS)
    # Old shares, mixed with new ones or among new verification values, open nothing.
    c = house.engine.state.key.encrypt(5, 7)
    public = new[0].committee
    fresh = {s.index: partial(public, s.share, c) for s in new}
    stale = {s.index: partial(public, s.share, c) for s in old}
    assert combine(public, c, {1: fresh[1], 2: fresh[2]}).plaintext == 5
    with pytest.raises(VerificationError):
        combine(public, c, {1: fresh[1], 2: stale[2]})
    for home in homes(committee):
        assert {p.name for p in home.glob("seat*")} == {SEAT}
    closed = committee.run(house.engine.close(market))
    assert closed.certificate is not None
    assert closed.certificate.result is not None
    assert closed.certificate.result.crossed
    committee.run(settled(house.engine))
    assert_ledger_is_the_chain(house, run, locked="C")


def test_a_refresh_that_one_member_misses_changes_nothing(committee: Committee) -> None:
    house = committee.house
    _, market = committee.run(opened(house, plan_of(4, [(Tick(2), ORDERS)]), OPTIONS))
    before = loaded(committee)
    os.kill(house.members.pids["member-3"], signal.SIGKILL)
    with pytest.raises((PeerFault, Unavailable), match="member 3"):
        refresh(committee)
    assert loaded(committee) == before
    assert not any(path for home in homes(committee) for path in home.glob(f"*{NEXT}"))
    closed = committee.run(house.engine.close(market))
    assert closed.certificate is not None
    assert closed.certificate.result is not None


def test_what_is_staged_is_erased_when_the_log_does_not_take_it(
    committee: Committee, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = committee.house
    _, market = committee.run(opened(house, plan_of(4, [(Tick(2), ORDERS)]), OPTIONS))
    before = loaded(committee)

    async def refused(*_: object) -> NoReturn:
        assert all(any(home.glob(f"*{NEXT}")) for home in homes(committee))
        raise OrderRefused("committee: not now")

    with monkeypatch.context() as patch:
        patch.setattr("darkpool.succeeding.succeed", refused)
        with pytest.raises(OrderRefused, match="not now"):
            refresh(committee)
    assert loaded(committee) == before
    assert not any(path for home in homes(committee) for path in home.glob(f"*{NEXT}"))
    refresh(committee)
    assert [s.committee.epoch for s in loaded(committee)] == [1] * 4
    assert committee.run(house.engine.close(market)).certificate is not None

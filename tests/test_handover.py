"""A change of committee or guardian: nothing is sealed that it could void, and the venue goes on after it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from commitments.params import INSECURE_TEST
from darkpool.auction import PlainOrder
from darkpool.chain import Chain, Token, VaultTerms
from darkpool.committee.seat import Seat
from darkpool.eip712 import address_of, fresh_key
from darkpool.errors import Unavailable
from darkpool.market import RoundState, Side
from darkpool.plan import Options
from darkpool.timing import CLOCK_SLACK_SECONDS, handover
from darkpool.types import Address, Lots, Tick
from darkpool.vault import DEFAULT_COMMITTEE_DELAY, Proposal
from tests.anvil import running_anvil
from tests.encrypted import Committee, assert_ledger_is_the_chain, opened, plan_of, running, settled
from tests.encrypted import seats as fresh_seats
from tests.handover import propose
from tests.member_host import Host, refusal
from tests.venue_log import Venue
from tests.venue_support import buy, seats, sell, signers

ORDERS = (
    PlainOrder("A", Side.BUY, Tick(2), Lots(30)),
    PlainOrder("B", Side.SELL, Tick(1), Lots(20)),
)
OPTIONS = Options("0.01", INSECURE_TEST, levels=4)
GUARDIAN = Address(b"\x77" * 20)


@pytest.fixture(scope="module")
def dealt() -> list[Seat]:
    return fresh_seats(INSECURE_TEST)


def a_round(committee: Committee) -> bytes:
    """The market of an open round with its orders."""
    _, market = committee.run(opened(committee.house, plan_of(4, [(Tick(2), ORDERS)]), OPTIONS))
    return market


def test_rounds_go_on_until_their_window_would_reach_the_change(
    dealt: list[Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(dealt) as committee:
        house, engine = committee.house, committee.house.engine
        ready_at = propose(house.chain, dealt, house.operator, GUARDIAN)
        committee.run(engine.close(a_round(committee)))
        (landed,) = committee.run(settled(engine))
        assert landed.settlement.epoch == 1
        market, size = a_round(committee), engine.log.size
        last = ready_at - house.chain.settle_window() - CLOCK_SLACK_SECONDS
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda: last - 1)
            assert committee.run(engine.handover()) == ""
            patched.setattr(time, "time", lambda: last)
            with pytest.raises(Unavailable, match=f"committee 2 may take office at {ready_at}"):
                committee.run(engine.close(market))
        assert engine.log.size == size
        assert engine.state.books[market].current_round.state is RoundState.OPEN


@pytest.mark.slow  # it needs the machine for itself: its clock runs against the chain's
def test_after_a_change_of_guardian_rounds_settle_in_the_new_epoch(dealt: list[Seat]) -> None:
    past = int(time.time()) - DEFAULT_COMMITTEE_DELAY
    with (
        running_anvil("--timestamp", str(past)) as url,
        running(dealt, chain=Chain.rpc(url, finality=0)) as committee,
    ):
        house, engine, chain = committee.house, committee.house.engine, committee.house.chain
        run, market = committee.run(opened(house, plan_of(4, [(Tick(2), ORDERS)]), OPTIONS))
        ready_at = propose(chain, dealt, house.operator, GUARDIAN)
        chain.advance(ready_at - chain.now())
        with pytest.raises(Unavailable, match="activate it first"):
            committee.run(engine.close(market))
        chain.activate_committee(house.operator)
        assert (chain.epoch(), chain.guardian(), chain.proposal()) == (2, GUARDIAN, Proposal(0, 0))
        assert committee.run(engine.close(market)).round.state is RoundState.CLEARED
        (landed,) = committee.run(settled(engine))
        assert landed.settlement.epoch == 2
        assert chain.next_id() == 2
        assert_ledger_is_the_chain(house, run)


# --- a member with a node of its own ----------------------------------------------------------------


def with_a_proposal() -> Chain:
    """A vault whose committee may change."""
    chain, operator = Chain.embedded(), fresh_key()
    chain.fund(address_of(operator), 10**20)
    token = Token(chain.deploy_token(operator, "Base", "BASE", 18), 1)
    members = tuple(sorted(signers().addresses.values()))
    chain.deploy_vault(operator, VaultTerms(members, 1, (token,)))
    propose(chain, seats(), operator, GUARDIAN)
    return chain


def test_a_member_is_not_ready_to_sign_what_a_change_could_void(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = with_a_proposal()
    host = Host(tmp_path, chain)
    last = chain.proposal().ready_at - chain.settle_window()
    monkeypatch.setattr(time, "time", lambda: last)
    assert "committee 2 may take office" in refusal(host.ask("ready", epoch=1), retry=True)
    host.close()


def test_nothing_is_sealed_for_a_vault_that_another_committee_holds(tmp_path: Path) -> None:
    chain = with_a_proposal()
    strangers = [Address(bytes([i]) * 20) for i in (1, 2, 3)]
    assert handover(chain, chain.now(), chain.members()) == ""
    for others in (strangers, chain.members()[1:], [*chain.members(), strangers[0]]):
        assert "another one than this venue's" in handover(chain, chain.now(), others)
    operator = fresh_key()
    chain.fund(address_of(operator), 10**20)
    token = Token(chain.deploy_token(operator, "Base", "BASE", 18), 1)
    chain.deploy_vault(operator, VaultTerms(tuple(strangers), 1, (token,)))
    host = Host(tmp_path, chain)
    assert "another one than this venue's" in refusal(host.ask("ready", epoch=1), retry=True)
    host.close()


@pytest.mark.parametrize("early", [0, 1])
def test_a_member_signs_a_list_that_is_late_before_the_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: int
) -> None:
    chain, host = with_a_proposal(), Host(tmp_path)
    sealed_at = chain.proposal().ready_at - chain.settle_window() - early
    monkeypatch.setattr(time, "time", lambda: sealed_at)
    venue = Venue(now=sealed_at, names=("ada", "ben"))
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    sealed = venue.seal()
    assert sealed.sealed_at == sealed_at
    host.follow(venue)
    host.chain = chain
    host.restart()
    reply = host.ask("sign", market=sealed.market.hex(), round=sealed.round)
    if early:
        assert reply.op == "signed"
    else:
        assert "committee 2 may take office" in refusal(reply, retry=True)
    host.close()

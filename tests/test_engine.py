"""The engine around a settlement that does not simply succeed, and a chain or database that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from commitments.params import INSECURE_TEST
from darkpool.auction import PlainOrder
from darkpool.chain import Chain
from darkpool.committee.seat import Seat
from darkpool.eip712 import sign_digest
from darkpool.engine import Committed, Draft, Engine, order_draft
from darkpool.errors import ChainError, ChainRefused, OrderRefused, Unavailable
from darkpool.house import House
from darkpool.listing import ListedOrder
from darkpool.market import RoundState, Side
from darkpool.message import Message
from darkpool.plan import Options
from darkpool.run import Run
from darkpool.settlement import Settlement, ordered_signatures
from darkpool.settlement import digest as settlement_digest
from darkpool.store.database import StoreError
from darkpool.store.log_store import LogStore
from darkpool.submitter import Standing, Submitter
from darkpool.types import Lots, Quanta, Signature, Tick, TokenIndex
from darkpool.windows import estimated_gas
from tests.encrypted import (
    Committee,
    assert_ledger_is_the_chain,
    opened,
    plan_of,
    running,
    seats,
    settled,
)

ORDERS = (
    PlainOrder("A", Side.BUY, Tick(2), Lots(30)),
    PlainOrder("B", Side.SELL, Tick(1), Lots(20)),
    PlainOrder("C", Side.BUY, Tick(0), Lots(7)),
)
OPTIONS = Options("0.01", INSECURE_TEST, levels=4)
BASE, QUOTE = TokenIndex(0), TokenIndex(1)

Sent = list[tuple[Settlement, Sequence[Signature]]]


@pytest.fixture(scope="module")
def dealt() -> list[Seat]:
    return seats(INSECURE_TEST)


@pytest.fixture(scope="module")
def committee(dealt: list[Seat]) -> Iterator[Committee]:
    """For tests that leave the engine able to go on."""
    with running(dealt) as started:
        yield started


@pytest.fixture
def fresh(dealt: list[Seat]) -> Iterator[Committee]:
    """For tests that halt it, or move the chain's clock."""
    with running(dealt) as started:
        yield started


def a_run(rounds: int = 1) -> Run:
    return Run(plan_of(4, [(Tick(2), ORDERS)] * rounds), OPTIONS)


async def sealable(house: House) -> tuple[Run, bytes]:
    """A run that got as far as an open round with all its orders; its market."""
    return await opened(house, plan_of(4, [(Tick(2), ORDERS)]), OPTIONS)


def lose_answers(monkeypatch: pytest.MonkeyPatch, *, send: bool) -> Sent:
    """The node takes the settlement, or never sees it; either way nothing comes back."""
    step, sent = Submitter.step, Sent()

    def lossy(self: Submitter, settlement: Settlement, signatures: Sequence[Signature]) -> Standing:
        sent.append((settlement, signatures))
        if send:
            step(self, settlement, signatures)
        raise ChainError("no answer from the node")

    monkeypatch.setattr(Submitter, "step", lossy)
    return sent


# --- settlements ------------------------------------------------------------------------------------


def test_a_settlement_without_a_receipt_is_pending_and_found_later(
    committee: Committee, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, run = committee.house, a_run()
    number = house.chain.next_id()
    with monkeypatch.context() as patched:
        lose_answers(patched, send=True)
        with pytest.raises(ChainError, match="no answer"):
            committee.run(run.execute(house))
    (pending,) = house.engine.state.pending
    assert pending.settlement.id == number
    # The chain has it: it is submitted no more, and credits count from when it is seen.
    ((_, standing),) = committee.run(house.engine.settle())
    assert (standing.landed, standing.attempts) == (True, 0)
    (effects,) = committee.run(house.engine.follow_chain())
    assert effects.settled == [pending]
    assert house.engine.state.pending == []
    assert house.chain.next_id() == number + 1
    assert_ledger_is_the_chain(house, run, locked="C")


@pytest.mark.slow
def test_settlements_may_wait_for_one_another_and_land_in_order(
    committee: Committee, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a settlement is signed the next round need not wait for it, up to MAX_UNSETTLED."""
    house, first = committee.house, a_run()
    with monkeypatch.context() as patched:
        lose_answers(patched, send=False)
        with pytest.raises(ChainError):
            committee.run(first.execute(house))
        _, market = committee.run(sealable(house))
        closed = committee.run(house.engine.close(market))
    (two,) = committee.run(house.engine.close_window())
    assert two.rounds == (closed.cleared,)
    (one, _) = house.engine.state.pending
    assert two.settlement.id == one.settlement.id + 1
    assert [p for p, _ in committee.run(house.engine.settle())] == [one]  # it is not signed yet
    committee.run(house.engine.sign_pending())
    assert [p for p, s in committee.run(house.engine.settle()) if s.landed] == [one, two]
    assert [p for e in committee.run(house.engine.follow_chain()) for p in e.settled] == [one, two]
    assert_ledger_is_the_chain(house, first, locked="C")


def test_rounds_of_two_markets_land_in_one_settlement(committee: Committee) -> None:
    """Members that never met the operator's netting each come to the same bytes."""
    house, number = committee.house, committee.house.chain.next_id()
    runs, closed = [], []
    for _ in range(2):  # each run has a market of its own
        run, market = committee.run(sealable(house))
        runs.append(run)
        closed.append(committee.run(house.engine.close(market)))
    (pending,) = committee.run(settled(house.engine))
    assert pending.rounds == tuple(c.cleared for c in closed)
    assert len({cleared.market for cleared in pending.rounds}) == 2
    assert house.chain.next_id() == number + 1
    for run in runs:
        assert_ledger_is_the_chain(house, run, locked="C")


@pytest.mark.slow
def test_a_window_is_cut_at_the_gas_bound_and_every_part_lands(
    committee: Committee, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, number = committee.house, committee.house.chain.next_id()
    run, market = committee.run(sealable(house))
    one = committee.run(house.engine.close(market)).cleared
    two = committee.run(house.engine.close(committee.run(sealable(house))[1])).cleared
    assert one is not None
    monkeypatch.setattr("darkpool.windows.MAX_SETTLEMENT_GAS", estimated_gas([one]))
    landed = committee.run(settled(house.engine))
    assert [p.rounds for p in landed] == [(one,), (two,)]
    assert house.chain.next_id() == number + 2
    assert_ledger_is_the_chain(house, run, locked="C")


def test_a_settlement_that_never_lands_is_void_only_when_its_window_has_passed_on_chain(
    fresh: Committee, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, run = fresh.house, a_run()
    window = house.chain.settle_window()
    sent = lose_answers(monkeypatch, send=False)
    with pytest.raises(ChainError):
        fresh.run(run.execute(house))
    (pending,) = house.engine.state.pending
    house.chain.advance(pending.ends - house.chain.now())
    assert fresh.run(house.engine.follow_chain()) == []
    house.chain.advance(2)
    (effects,) = fresh.run(house.engine.follow_chain())
    assert effects.void == [pending]
    assert pending.ends == pending.settlement.sealed_at + window
    assert_ledger_is_the_chain(house, run, locked="C")
    assert house.chain.next_id() == 1
    monkeypatch.undo()
    with pytest.raises(ChainRefused, match="settle"):
        house.chain.settle(*sent[0], house.operator)
    fresh.run(house.engine.open(run.report.terms.market.id, Tick(2)))


def test_a_settlement_that_is_not_in_the_log_halts(dealt: list[Seat], fresh: Committee) -> None:
    house = fresh.house
    foreign = Settlement(1, 1, house.chain.now(), bytes(32), bytes(32), (), ())
    domain = house.chain.domain()
    signed = [sign_digest(settlement_digest(foreign, domain), seat.signing_key) for seat in dealt]
    house.chain.settle(foreign, ordered_signatures(foreign, domain, signed), house.operator)
    with pytest.raises(Unavailable, match="landed that this log does not know"):
        fresh.run(house.engine.follow_chain())
    assert "landed" in house.engine.halted
    with pytest.raises(Unavailable, match="halted"):
        fresh.run(house.engine.follow_chain())


# --- the chain --------------------------------------------------------------------------------------


def test_requests_on_chain_halt_their_accounts_and_drop_their_orders(committee: Committee) -> None:
    house, run = committee.house, a_run()
    committee.run(run.execute(house))
    book, desk = house.engine.state.books[run.report.terms.market.id], run._desks["C"]
    assert [o.account for o in book.standing] == [desk.wallet.address]
    house.chain.request_withdrawal(desk.wallet.private_key, QUOTE, Quanta(1))
    (effects,) = committee.run(house.engine.follow_chain())
    assert effects.halted == [desk.wallet.address]
    assert book.standing == ()
    assert desk.wallet.address in house.engine.state.ledger.halted
    assert_ledger_is_the_chain(house, run)


@pytest.mark.parametrize("call", ["final_block", "epoch"])
def test_a_chain_that_is_away_leaves_the_round_open(
    committee: Committee, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    house = committee.house
    _, market = committee.run(sealable(house))
    book = house.engine.state.books[market]

    def away(_: Chain) -> int:
        raise ChainError("node: no answer")

    with monkeypatch.context() as patched:
        patched.setattr(Chain, call, away)
        with pytest.raises(ChainError, match="no answer"):
            committee.run(house.engine.close(market))
    assert book.current_round.state is RoundState.OPEN
    assert len(book.standing) == len(ORDERS)
    assert not house.engine.halted
    assert committee.run(house.engine.close(market)).round.state is RoundState.CLEARED


def test_a_final_block_that_changes_halts(fresh: Committee) -> None:
    house = fresh.house
    fresh.run(a_run().execute(house))
    house.engine.state.block_hash = bytes(32)
    with pytest.raises(ChainError, match="was final and is another now"):
        fresh.run(house.engine.follow_chain())
    with pytest.raises(Unavailable, match="is another now"):
        fresh.run(sealable(house))


def test_two_that_follow_the_chain_at_once_write_one_entry(committee: Committee) -> None:
    house = committee.house
    run, _ = committee.run(sealable(house))
    desk = run._desks["C"]
    house.chain.request_cancel(desk.wallet.private_key, 0, 1 << 200)
    size = house.engine.log.size

    async def both() -> list[int]:
        done = await asyncio.gather(house.engine.follow_chain(), house.engine.follow_chain())
        return [len(effects) for effects in done]

    assert sorted(committee.run(both())) == [0, 1]
    assert house.engine.log.size == size + 1
    assert not house.engine.halted


# --- the log ----------------------------------------------------------------------------------------


def test_a_database_that_is_away_changes_nothing(
    committee: Committee, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = committee.house
    _, market = committee.run(sealable(house))
    size, root = house.engine.log.size, house.engine.log.root

    def away(_self: LogStore, _first: int, _entries: Sequence[bytes]) -> None:
        raise StoreError("database: away")

    with monkeypatch.context() as patched:
        patched.setattr(LogStore, "append", away)
        with pytest.raises(StoreError, match="away"):
            committee.run(house.engine.close(market))
    assert (house.engine.log.size, house.engine.log.root) == (size, root)
    assert house.engine.state.books[market].current_round.state is RoundState.OPEN
    assert committee.run(house.engine.close(market)).round.state is RoundState.CLEARED


def test_whoever_asks_and_goes_away_leaves_a_commit_that_ends(committee: Committee) -> None:
    """A cancelled request must not leave an entry durable and its change not made."""
    house = committee.house
    run, market = committee.run(sealable(house))
    book = house.engine.state.books[market]
    number = book.current_round.id + 1
    fields = {"market": market.hex(), "round": number, "reference": 1, "source": "given"}

    async def leave() -> None:
        asking = asyncio.ensure_future(house.engine.commit_one(Draft("open", fields)))
        for _ in range(3):  # until it waits for the database
            await asyncio.sleep(0)
        assert house.engine._turn.locked()
        asking.cancel()
        await asyncio.wait((asking,))
        assert asking.cancelled()
        async with house.engine._turn:
            pass

    size = house.engine.log.size
    committee.run(leave())
    assert house.engine.log.size == house.engine.log.store.size() == size + 1
    assert book.current_round.id == number
    assert run.report.terms.market.id == market


def test_a_batch_answers_each_order_and_only_orders_share_one(committee: Committee) -> None:
    house = committee.house
    run, market = committee.run(sealable(house))
    state = house.engine.state
    entry = house.engine.log.store.entry(state.books[market].standing[0].sequence)
    raw = Message.decode(entry).blobs[0]
    order = ListedOrder.read(raw, state.key)
    again = order_draft(raw, order)
    bad = order_draft(raw, order, {"market": 7})
    answers = committee.run(house.engine.commit([again, bad]))
    assert [type(a) for a in answers] == [OrderRefused, OrderRefused]
    assert "nonce: 0 is used" in str(answers[0])
    assert "market" in str(answers[1])
    with pytest.raises(AssertionError, match="only orders"):
        committee.run(house.engine.commit([again, Draft("seal", {})]))
    assert not [a for a in answers if isinstance(a, Committed)]
    assert run.report.sealed == len(ORDERS)


# --- rounds -----------------------------------------------------------------------------------------


def test_a_round_below_its_minima_stays_open(committee: Committee) -> None:
    house = committee.house
    run, market = committee.run(sealable(house))
    committee.run(house.engine.close(market))
    committee.run(settled(house.engine))
    committee.run(house.engine.open(market, Tick(2)))
    desk = run._desks["C"]
    house.chain.request_withdrawal(desk.wallet.private_key, QUOTE, Quanta(1))
    with pytest.raises(OrderRefused) as caught:
        committee.run(house.engine.close(market))
    assert caught.value.code == "minima-not-met"
    assert house.engine.state.books[market].current_round.state is RoundState.OPEN


def test_nothing_sealed_is_nothing_to_recover(committee: Committee) -> None:
    assert committee.run(committee.house.engine.recover()) is None


def test_a_sealed_list_whose_window_passed_is_released_and_its_end_found_too_late_is_no_fault(
    fresh: Committee, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = fresh.house
    run, market = fresh.run(sealable(house))
    certify = Engine._certify

    async def late(self: Engine, *arguments: object) -> object:
        house.chain.advance(house.chain.settle_window() + 60)
        await self.follow_chain()
        return await certify(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "_certify", late)
    closed = fresh.run(house.engine.close(market))
    assert closed.certificate is None
    assert closed.round.state is RoundState.ABORTED
    assert not house.engine.halted
    assert house.engine.state.not_final == []
    assert_ledger_is_the_chain(house, run)

"""The venue around a settlement that does not simply succeed, and around what it sees on chain."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from commitments.params import INSECURE_TEST
from commitments.pedersen import generator_g
from darkpool import run as run_module
from darkpool.auction import PlainOrder
from darkpool.chain import Chain, Receipt, VaultTerms
from darkpool.committee.coordinator import Coordinator
from darkpool.committee.seat import Seat
from darkpool.engine import Venue
from darkpool.errors import ChainError, ChainRefused, ConfigError, OrderRefused, PeerFault, RoundAborted
from darkpool.market import RoundState, Side
from darkpool.plan import Options
from darkpool.run import Run
from darkpool.settlement import Settlement
from darkpool.types import Lots, PrivateKey, Quanta, Signature, Tick, TokenIndex
from tests.encrypted import plan_of, seats

ORDERS = (
    PlainOrder("A", Side.BUY, Tick(2), Lots(30)),
    PlainOrder("B", Side.SELL, Tick(1), Lots(20)),
    PlainOrder("C", Side.BUY, Tick(0), Lots(7)),
)
OPTIONS = Options("0.01", INSECURE_TEST, levels=4)
BASE, QUOTE = TokenIndex(0), TokenIndex(1)

Sent = list[tuple[Settlement, Sequence[Signature], PrivateKey]]


@pytest.fixture(scope="module")
def dealt() -> list[Seat]:
    return seats(INSECURE_TEST)


@pytest.fixture
def venues(monkeypatch: pytest.MonkeyPatch) -> list[Venue]:
    """The venues that start during a test."""
    started: list[Venue] = []
    start = Venue.start

    async def remember(self: Venue) -> None:
        started.append(self)
        await start(self)

    monkeypatch.setattr(Venue, "start", remember)
    return started


def with_committee(dealt: list[Seat], body: Callable[[Coordinator], Awaitable[None]]) -> None:
    async def go(home: Path) -> None:
        async with Coordinator(dealt, home) as committee:
            await body(committee)

    with tempfile.TemporaryDirectory(prefix="dp-engine-") as folder:
        asyncio.run(go(Path(folder)))


def a_run() -> Run:
    return Run(plan_of(4, [(Tick(2), ORDERS)]), OPTIONS)


def lose_receipts(monkeypatch: pytest.MonkeyPatch, *, send: bool) -> Sent:
    """The node takes the settlement, or never sees it; either way no receipt comes back."""
    settle, sent = Chain.settle, Sent()

    def lossy(
        self: Chain, settlement: Settlement, signatures: Sequence[Signature], sender_key: PrivateKey
    ) -> Receipt:
        sent.append((settlement, signatures, sender_key))
        if send:
            settle(self, settlement, signatures, sender_key)
        raise ChainError("not mined within 60 s")

    monkeypatch.setattr(Chain, "settle", lossy)
    return sent


def assert_ledger_is_the_chain(venue: Venue, *, locked: str) -> None:
    """Each F commits to what the chain holds, for every account without standing orders."""
    standing = {order.account for order in venue.book.standing}
    assert len(standing) == len(locked)
    for deposit in venue.chain.deposits():
        if deposit.account not in standing:
            free = venue.book.ledger.of(deposit.account, venue.terms.tokens[deposit.token])
            # Blindings of locks returned in full cancel, so what is left is the public value alone.
            assert free.current == generator_g() * venue.chain.balance(deposit.token, deposit.account)


def test_a_settlement_without_a_receipt_is_pending_and_found_later(
    dealt: list[Seat], venues: list[Venue], monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_receipts(monkeypatch, send=True)

    async def body(committee: Coordinator) -> None:
        with pytest.raises(RoundAborted, match="was not settled: not mined"):
            await a_run().execute(committee)
        (venue,) = venues
        # The chain has it: the next round opens only after that was seen, and credits count then.
        await venue.open(Tick(2))
        assert_ledger_is_the_chain(venue, locked="C")
        assert venue.chain.next_id() == 2
        with pytest.raises(OrderRefused, match="none is pending"):
            await venue.resolve()

    with_committee(dealt, body)


def test_a_settlement_that_never_lands_is_void_only_after_its_window(
    dealt: list[Seat], venues: list[Venue], monkeypatch: pytest.MonkeyPatch
) -> None:
    window = 4
    monkeypatch.setattr(run_module, "VaultTerms", partial(VaultTerms, settle_window=window))
    sent = lose_receipts(monkeypatch, send=False)

    async def body(committee: Coordinator) -> None:
        with pytest.raises(RoundAborted, match="was not settled"):
            await a_run().execute(committee)
        (venue,) = venues
        assert (await venue.resolve()).round.state is RoundState.SUBMITTED
        with pytest.raises(OrderRefused, match="settlement is pending"):
            await venue.open(Tick(2))
        venue.chain.advance(10 * window)
        # The members' own clocks must agree that it is over; only then are debits returned.
        report = await venue.resolve()
        for _ in range(4 * window):
            if report.round.state is not RoundState.SUBMITTED:
                break
            await asyncio.sleep(0.5)
            report = await venue.resolve()
        assert report.round.state is RoundState.VOID
        assert_ledger_is_the_chain(venue, locked="C")
        assert venue.chain.next_id() == 1
        monkeypatch.undo()
        with pytest.raises(ChainRefused, match="settle"):
            venue.chain.settle(*sent[0])
        await venue.open(Tick(2))

    with_committee(dealt, body)


def test_requests_on_chain_halt_their_accounts_and_drop_their_orders(
    dealt: list[Seat], venues: list[Venue]
) -> None:
    async def body(committee: Coordinator) -> None:
        run = a_run()
        await run.execute(committee)
        (venue,) = venues
        desk = run._desks["C"]
        assert [o.account for o in venue.book.standing] == [desk.wallet.address]
        venue.chain.request_withdrawal(desk.wallet.private_key, QUOTE, Quanta(1))
        await venue.follow_chain()
        assert venue.book.standing == ()
        assert desk.wallet.address in venue.book.ledger.halted

    with_committee(dealt, body)


def test_a_chain_that_is_away_leaves_the_round_open(
    dealt: list[Seat], venues: list[Venue], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(committee: Coordinator) -> None:
        def away(_: Chain) -> int:
            raise ChainError("node: no answer")

        with monkeypatch.context() as patched:
            patched.setattr(Chain, "next_id", away)
            patched.setattr(Venue, "start", _started_without_a_look)
            with pytest.raises(ChainError, match="no answer"):
                await a_run().execute(committee)
        (venue,) = venues
        assert venue.book.current_round.state is RoundState.OPEN
        assert len(venue.book.standing) == len(ORDERS)
        assert not venue.halted
        assert (await venue.close()).round.state is RoundState.SETTLED

    async def _started_without_a_look(self: Venue) -> None:
        venues.append(self)
        await self.committee.open_market(self.terms)
        await self.follow_chain()

    with_committee(dealt, body)


@pytest.mark.parametrize("call", ["open_round", "finish", "settled", "chain_event"])
def test_a_member_that_misses_a_step_halts_the_venue(
    dealt: list[Seat], venues: list[Venue], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The step was taken by some; whoever missed it holds another book, so no further round opens."""

    async def body(committee: Coordinator) -> None:
        honest = getattr(Coordinator, call)

        async def lost(self: Coordinator, *arguments: object, **options: object) -> None:
            await honest(self, *arguments, **options)
            raise PeerFault("closed the connection", peer="member 2")

        monkeypatch.setattr(Coordinator, call, lost)
        with pytest.raises(PeerFault, match="member 2"):
            await a_run().execute(committee)
        monkeypatch.setattr(Coordinator, call, honest)
        (venue,) = venues
        assert "member 2" in venue.halted
        with pytest.raises(OrderRefused, match="halted: member 2"):
            await venue.open(Tick(2))

    with_committee(dealt, body)


def test_a_vault_with_a_past_is_refused(dealt: list[Seat], venues: list[Venue]) -> None:
    async def body(committee: Coordinator) -> None:
        await a_run().execute(committee)
        (venue,) = venues
        again = Venue(venue.terms, venue.chain, committee, PrivateKey(b"\x01" * 32))
        with pytest.raises(ConfigError, match="settled or paid out before"):
            await again.start()

    with_committee(dealt, body)

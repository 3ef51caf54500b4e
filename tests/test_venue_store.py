"""The operator's read model, and what only the operator keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from darkpool.market import RoundState
from darkpool.store.database import Database, StoreError
from darkpool.store.records import AccountRow, FillState, OrderState, ReceiptRow, SettlementState
from darkpool.store.rows import MAX_PAGE
from darkpool.store.venue_reads import Counts
from darkpool.store.venue_store import Changes, VenueStore
from tests.databases import KINDS, fresh_url
from tests.store_rows import (
    ALICE,
    BOB,
    MARKET,
    OTHER_MARKET,
    box,
    digest,
    event,
    fill,
    market_round,
    order,
    sealed,
    settlement,
)

HUGE = (1 << 64) - 1


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def store(url: str) -> Iterator[VenueStore]:
    """With a log of ten entries."""
    database = Database.open(url)
    store = VenueStore(database)
    store.append(0, [b"entry %d" % n for n in range(10)])
    yield store
    database.close()


def test_an_empty_read_model_knows_nothing(store: VenueStore) -> None:
    assert store.projected() == 0
    assert store.order(digest("x")) is None
    assert store.order_by_nonce(ALICE, 0) is None
    assert store.orders_by_hash([digest("x")]) == {}
    assert store.orders(ALICE) == []
    assert store.round(MARKET, 1) is None
    assert store.rounds(MARKET) == []
    assert store.sealed_orders(MARKET, 1) == []
    assert store.settlement(digest("x")) is None
    assert store.settlements() == []
    assert store.fills(ALICE) == store.round_fills(MARKET, 1) == []
    assert store.boxes(MARKET, 1, ALICE) == []
    assert store.events() == []
    assert store.last_event() == 0
    assert store.receipt(digest("x")) is None
    assert store.account(ALICE) is None
    assert store.counts() == Counts({}, {}, {})


class TestProjection:
    def test_rows_come_back_as_they_were_written(self, url: str, store: VenueStore) -> None:
        mine = replace(order(3), valid_until=HUGE, nonce=HUGE, first_round=HUGE)
        changes = Changes(
            orders=[mine, order(4, BOB)],
            rounds=[market_round(1)],
            sealed=[sealed(1), sealed(0)],
            settlements=[settlement(1)],
            fills=[fill(1), fill(1, BOB, 5)],
            boxes=[box(3), box(1), box(2), box(1, BOB)],
            events=[event("round")],
        )
        stored = store.project(7, changes)
        store.database.close()
        again = VenueStore(Database.open(url))
        assert again.projected() == 7
        assert again.order(mine.hash) == again.order_by_nonce(ALICE, HUGE) == mine
        assert again.orders_by_hash([digest("x"), mine.hash]) == {mine.hash: mine}
        assert again.round(MARKET, 1) == market_round(1)
        assert again.sealed_orders(MARKET, 1) == [(100, sealed(0).leaf), (99, sealed(1).leaf)]
        assert again.settlement(settlement(1).digest) == settlement(1)
        assert again.fills(ALICE) == [fill(1)]
        assert again.round_fills(MARKET, 1) == [fill(1), fill(1, BOB, 5)]
        assert again.boxes(MARKET, 1, ALICE) == [box(1), box(2), box(3)]
        assert again.events() == stored == [replace(event("round"), id=1)]
        again.database.close()

    def test_later_rows_replace_those_of_their_key(self, store: VenueStore) -> None:
        store.project(1, Changes(orders=[order(1)], rounds=[market_round(1)], fills=[fill(1)]))
        ended = replace(order(1), state=OrderState.CONSUMED, reason="filled", ended_round=1, ended_sequence=8)
        done = replace(
            market_round(1),
            state=RoundState.SETTLED,
            root=digest("r"),
            price=31,
            volume=7,
            settlement=digest("s"),
        )
        busted = replace(fill(1), state=FillState.BUSTED)
        store.project(2, Changes(orders=[order(1), ended], rounds=[done], fills=[busted]))
        assert store.orders(ALICE) == [ended]
        assert store.rounds(MARKET) == [done]
        assert store.fills(ALICE) == [busted]

    def test_nothing_is_taken_in_twice_or_before_it_is_logged(self, store: VenueStore) -> None:
        store.project(4, Changes())
        for up_to in (-1, 0, 3, 4, 11, 1 << 64):
            with pytest.raises(StoreError, match=f"cannot go from 4 to {up_to} of 10 entries"):
                store.project(up_to, Changes(orders=[order(1)], events=[event("round")]))
        assert store.projected() == 4
        assert store.orders(ALICE) == []
        assert store.events() == []

    @pytest.mark.parametrize(
        "bad",
        [
            Changes(orders=[replace(order(2), nonce=1)]),
            Changes(orders=[replace(order(2), sequence=1)]),
            Changes(orders=[replace(order(2), state="lost")]),  # type: ignore[arg-type]
            Changes(orders=[replace(order(2), accepted_at=1 << 64)]),
            Changes(fills=[fill(1, net=-(1 << 63) - 1)]),
            Changes(rounds=[replace(market_round(1), source=None)]),  # type: ignore[arg-type]
        ],
        ids=["nonce used", "sequence used", "no such state", "too large", "too small", "nothing"],
    )
    def test_one_bad_row_keeps_all_out(self, store: VenueStore, bad: Changes) -> None:
        store.project(1, Changes(orders=[order(1)]))
        rounds = [*bad.rounds, market_round(2)]
        with pytest.raises(StoreError, match="cannot write the read model"):
            store.project(2, replace(bad, rounds=rounds, events=[event("round")]))
        assert store.projected() == 1
        assert store.orders(ALICE) == [order(1)]
        assert store.rounds(MARKET) == []
        assert store.fills(ALICE) == []
        assert store.events() == []


class TestPages:
    def test_five_thousand_orders(self, store: VenueStore) -> None:
        mine = [order(n) for n in range(5000)]
        store.project(1, Changes(orders=[*mine, *(order(n, BOB) for n in range(5000, 5010))]))
        found = store.orders(ALICE)
        while page := store.orders(ALICE, after=found[-1].sequence):
            found += page
        assert found == mine
        assert store.orders_by_hash([o.hash for o in mine]) == {o.hash: o for o in mine}

    def test_orders_by_market_and_state(self, store: VenueStore) -> None:
        gone = replace(order(2), state=OrderState.EXPIRED)
        elsewhere = order(3, market=OTHER_MARKET)
        store.project(1, Changes(orders=[order(1), gone, elsewhere, order(4, BOB)]))
        assert store.orders(ALICE, market=OTHER_MARKET) == [elsewhere]
        assert store.orders(ALICE, states={OrderState.STANDING}) == [order(1), elsewhere]
        assert store.orders(ALICE, market=MARKET, states=list(OrderState)) == [order(1), gone]
        assert store.orders(ALICE, states=set()) == []
        assert store.orders(ALICE, limit=1) == [order(1)]
        assert store.orders(ALICE, after=HUGE) == []
        assert store.orders(ALICE, after=-HUGE) == [order(1), gone, elsewhere]

    def test_rounds_from_the_newest(self, store: VenueStore) -> None:
        store.project(1, Changes(rounds=[market_round(n) for n in (1, 2, 3)]))
        store.project(2, Changes(rounds=[market_round(9, OTHER_MARKET)]))
        assert [r.number for r in store.rounds(MARKET)] == [3, 2, 1]
        assert [r.number for r in store.rounds(MARKET, before=3, limit=1)] == [2]
        assert [r.number for r in store.rounds(MARKET, before=HUGE)] == [3, 2, 1]
        assert store.round(MARKET, HUGE) is None

    def test_settlements_from_the_newest(self, store: VenueStore) -> None:
        rows = [settlement(n) for n in (1, 2, 3)]
        rows[1] = replace(rows[1], state=SettlementState.VOID)
        store.project(1, Changes(settlements=rows))
        newest = sorted(rows, key=lambda row: -row.sequence)
        assert store.settlements() == newest
        assert store.settlements(before=newest[0].sequence, limit=1) == newest[1:2]
        assert store.settlements(states={SettlementState.VOID}) == [rows[1]]

    def test_a_settlement_id_is_used_again_after_a_void(self, store: VenueStore) -> None:
        store.project(1, Changes(settlements=[settlement(1), settlement(1, "second")]))
        assert {row.id for row in store.settlements()} == {1}
        assert len(store.settlements()) == 2

    def test_fills_go_on_after_a_sequence(self, store: VenueStore) -> None:
        store.project(1, Changes(fills=[fill(2), fill(1), fill(3)]))
        assert store.fills(ALICE) == [fill(1), fill(2), fill(3)]
        assert store.fills(ALICE, after=10, limit=1) == [fill(2)]

    def test_limits(self, store: VenueStore) -> None:
        lists: tuple[Callable[..., object], ...] = (
            partial(store.orders, ALICE),
            partial(store.rounds, MARKET),
            store.settlements,
            partial(store.fills, ALICE),
            store.events,
        )
        for rows, limit in product(lists, (-1, 0, MAX_PAGE + 1)):
            with pytest.raises(ValueError, match=f"limit is {limit}, must be 1 to {MAX_PAGE}"):
                rows(limit=limit)


class TestEvents:
    def test_an_account_sees_public_ones_and_its_own(self, store: VenueStore) -> None:
        rows = [event("round"), event("fill", ALICE), event("fill", BOB), event("settled")]
        stored = store.project(1, Changes(events=rows))
        assert [row.id for row in stored] == [1, 2, 3, 4]
        assert store.events() == [stored[0], stored[3]]
        assert store.events(account=ALICE) == [stored[0], stored[1], stored[3]]
        assert store.events(after=1, account=BOB, limit=1) == [stored[2]]
        assert store.events(after=HUGE) == []
        assert store.last_event() == 4

    def test_one_more_goes_behind_the_others(self, store: VenueStore) -> None:
        store.project(1, Changes(events=[event("round")]))
        added = store.append_event(replace(event("halt"), id=1))
        assert added == replace(event("halt"), id=2)
        assert store.events() == [replace(event("round"), id=1), added]


class TestOperatorsOwn:
    def test_the_first_registration_stays(self, store: VenueStore) -> None:
        first = AccountRow(ALICE, 1_700_000_000, b"s" * 65)
        store.register(first)
        store.register(AccountRow(ALICE, 1_800_000_000, b"t" * 65))
        assert store.account(ALICE) == first

    def test_the_first_receipt_of_a_subject_stays(self, store: VenueStore) -> None:
        first, second = (ReceiptRow(digest(n), n, f'{{"n": {n}}}') for n in (1, 2))
        store.save_receipts([])
        store.save_receipts([first])
        store.save_receipts([replace(first, payload="{}"), second])
        assert store.receipt(first.subject) == first
        assert store.receipt(second.subject) == second

    def test_a_request_is_remembered_until_it_has_expired(self, url: str, store: VenueStore) -> None:
        nonce, now = digest("nonce"), 1_700_000_000
        assert store.remember_request(ALICE, nonce, now + 60, now)
        assert not store.remember_request(ALICE, nonce, now + 60, now)
        assert not store.remember_request(ALICE, nonce, now + 90, now + 60)
        assert store.remember_request(BOB, nonce, now + 60, now)
        assert store.remember_request(ALICE, digest("another"), now + 60, now)
        store.database.close()
        again = VenueStore(Database.open(url))
        assert not again.remember_request(ALICE, nonce, now + 60, now + 60)
        assert again.remember_request(ALICE, nonce, now + 120, now + 61)
        again.database.close()

    def test_counts(self, store: VenueStore) -> None:
        gone = replace(order(3), state=OrderState.CANCELLED)
        store.project(
            1,
            Changes(
                orders=[order(1), order(2), gone],
                rounds=[market_round(1)],
                settlements=[settlement(1)],
            ),
        )
        assert store.counts() == Counts(
            {OrderState.STANDING: 2, OrderState.CANCELLED: 1},
            {RoundState.OPEN: 1},
            {SettlementState.PENDING: 1},
        )


class TestSettlements:
    def test_what_became_of_one(self, store: VenueStore) -> None:
        row = settlement(1)
        store.project(1, Changes(settlements=[row]))
        sent = store.update_settlement(
            row.digest, state=SettlementState.SUBMITTED, payload=b"s", tx_hash=digest("tx")
        )
        assert sent == replace(row, state=SettlementState.SUBMITTED, payload=b"s", tx_hash=digest("tx"))
        again = store.update_settlement(row.digest, state=SettlementState.SUBMITTED, tx_hash=digest("2"))
        done = store.update_settlement(row.digest, state=SettlementState.SETTLED, block=9, gas=123)
        assert done == replace(again, state=SettlementState.SETTLED, block=9, gas=123)
        assert store.settlement(row.digest) == done

    def test_one_that_is_reorganised_away_is_in_no_block(self, store: VenueStore) -> None:
        row = settlement(1)
        store.project(1, Changes(settlements=[row]))
        store.update_settlement(
            row.digest, state=SettlementState.SUBMITTED, tx_hash=digest("tx"), block=9, gas=123
        )
        assert store.update_settlement(row.digest, state=SettlementState.PENDING) == row

    def test_no_step_back(self, store: VenueStore) -> None:
        final = (SettlementState.SETTLED, SettlementState.VOID)
        steps = [(old, new) for old in final for new in SettlementState if new != old]
        for number, (old, new) in enumerate(steps, 1):
            row = replace(settlement(number), state=old)
            store.project(number, Changes(settlements=[row]))
            with pytest.raises(StoreError, match=f"settlement {number}: no step from {old} to {new}"):
                store.update_settlement(row.digest, state=new, block=9)
            assert store.settlement(row.digest) == row

    def test_an_unknown_one(self, store: VenueStore) -> None:
        with pytest.raises(StoreError, match="there is none of digest"):
            store.update_settlement(digest("x"), state=SettlementState.SETTLED)

"""What of the vault's events the log takes in, against the real contract: nobody may stop it by asking."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from commitments.errors import DecodeError
from darkpool import chain_events, engine
from darkpool.account import FreeCollateral
from darkpool.chain import Chain
from darkpool.chain_events import (
    ChainEvent,
    chain_message,
    events_between,
    merged,
    next_block,
    read_events,
    same_events,
)
from darkpool.eip712 import address_of
from darkpool.message import MAX_HEAD, Message
from darkpool.types import Address, Quanta
from tests.client.plain_venue import plain_venue
from tests.test_chain import ALICE, BASE, BOB, QUOTE, A, B, deployed, enter
from tests.venue_log import Venue, portrait
from tests.venue_support import key_of, some_terms

GREATEST = Quanta(2**256 - 1)


@pytest.fixture
def chain() -> Chain:
    made = deployed(Chain.embedded())
    enter(made, ALICE, BASE, 100)
    return made


def kinds(chain: Chain, first: int = 0) -> list[str]:
    return [e.kind for e in events_between(chain, first, chain.head())]


def test_a_request_for_any_amount_at_all_is_an_entry_like_any_other(chain: Chain) -> None:
    """Its amount is unbounded in the contract and used for nothing: "all" is what wallets send."""
    chain.request_withdrawal(BOB, BASE, GREATEST)  # by somebody without a deposit, too
    chain.request_withdrawal(ALICE, BASE, GREATEST)
    entry = Message.decode(chain_message(chain, -1, chain.head(), 0).encode())
    events = read_events(entry, 2)
    assert [(e.kind, e.account, e.number) for e in events] == [
        ("deposit", A, BASE),
        ("withdrawal_requested", B, BASE),
        ("withdrawal_requested", A, BASE),
    ]


def test_asking_again_and_again_makes_the_log_no_longer(chain: Chain) -> None:
    start = chain.head() + 1
    for _ in range(5):
        chain.request_withdrawal(ALICE, BASE, Quanta(1))
        chain.request_cancel(ALICE, 0, 1)
    assert kinds(chain, start) == ["withdrawal_requested", "cancel_requested"]


def test_asking_anew_after_the_answer_counts_in_the_same_entry(chain: Chain) -> None:
    """Else an account would trade with a request open, and leave with what it lost."""
    start = chain.head() + 1
    for _ in range(2):
        chain.request_withdrawal(ALICE, BASE, Quanta(1))
        chain.request_cancel(ALICE, 3, 1)
        chain.advance(3 * 3600)
        chain.withdraw(ALICE, BASE)
        chain.finalize_cancel(ALICE, 3)
    chain.request_withdrawal(ALICE, BASE, Quanta(1))
    asked, answered = ["withdrawal_requested", "cancel_requested"], ["withdrawn", "cancelled"]
    assert kinds(chain, start) == [*asked, *answered, *asked, *answered, "withdrawal_requested"]


def test_no_range_to_search_is_longer_for_the_members_than_for_the_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They search from the last entry on, also what the operator has seen to be empty."""
    for module in (chain_events, engine):
        monkeypatch.setattr(module, "MAX_BLOCKS", 4)

    async def scenario() -> None:
        async with plain_venue(tmp_path) as v:
            blocks = [v.engine.state.block]
            for _ in range(4):
                for _ in range(3):
                    v.chain.advance(1)
                await v.engine.follow_chain()
                blocks.append(v.engine.state.block)
            assert blocks[-1] > blocks[0]
            assert all(later - earlier <= 4 for earlier, later in pairwise(blocks))

    asyncio.run(scenario())


# --- merging ----------------------------------------------------------------------------------------


def test_a_flood_of_small_deposits_is_one_event(chain: Chain) -> None:
    for quanta in (1, 2, 3):
        enter(chain, ALICE, BASE, quanta)
        enter(chain, BOB, QUOTE, 1)
    found = events_between(chain, 0, chain.head())
    assert [(e.account, e.number, e.quanta) for e in found] == [(A, BASE, 106), (B, QUOTE, 3)]
    flood = [ChainEvent("deposit", A, BASE, Quanta(1))] * 200_000
    assert merged(flood) == [ChainEvent("deposit", A, BASE, Quanta(200_000))]


def test_what_can_lower_a_balance_ends_a_sum_which_stays_in_its_field() -> None:
    most = ChainEvent("deposit", A, BASE, Quanta(2**64 - 1))
    for event in (ChainEvent("withdrawn", A, BASE, most.quanta), ChainEvent("settled", number=1)):
        assert merged([most, event, most]) == [most, event, most]
    for event in (
        ChainEvent("withdrawn", A, QUOTE),
        ChainEvent("withdrawn", B, BASE),
        ChainEvent("cancelled", A, BASE, mask=1),
        ChainEvent("cancel_requested", A, BASE),
        ChainEvent("withdrawal_requested", A, BASE),
    ):
        half = ChainEvent("deposit", A, BASE, Quanta(5))
        assert merged([half, event, half]) == [ChainEvent("deposit", A, BASE, Quanta(10)), event]


@pytest.mark.parametrize("seed", range(8))
def test_merging_changes_nothing_of_what_follows(seed: int) -> None:
    chosen = random.Random(seed)
    raw, less = (Venue(terms=some_terms(), names=("ada", "ben"), rich=Quanta(0)) for _ in range(2))
    kinds = ("deposit", "deposit", "withdrawal_requested", "withdrawn", "cancel_requested", "cancelled")
    events = [
        raw.event(chosen.choice(kinds), chosen.choice(raw.names), chosen.choice((1, 2)), chosen.randrange(9))
        for _ in range(60)
    ]
    raw.chain(*events)
    less.chain(*merged(events))
    states = portrait(raw.state), portrait(less.state)
    for state in states:  # which earlier values of F a proof may be against is the log's to say
        state["free"] = {
            k: (f.current, f.version) for k, f in cast("dict[object, FreeCollateral]", state["free"]).items()
        }
    assert states[0] == states[1]


def test_as_many_accounts_as_an_entry_holds_are_taken_in_within_seconds() -> None:
    venue, started = Venue(terms=some_terms(), names=(), rich=Quanta(0)), time.monotonic()
    asked = [
        ChainEvent("withdrawal_requested", Address(i.to_bytes(20)), 1) for i in range(chain_events.MAX_EVENTS)
    ]
    assert len(venue.chain(*merged(asked)).halted) == chain_events.MAX_EVENTS
    assert time.monotonic() - started < 20


# --- entries ----------------------------------------------------------------------------------------


def test_the_state_drops_an_account_that_asked_again_after_the_answer() -> None:
    venue = Venue(terms=some_terms())
    ask, answer = (venue.event(kind, "ada", 1, 5) for kind in ("withdrawal_requested", "withdrawn"))
    venue.chain(ask, answer, ask)
    assert venue.state.ledger.halted == {address_of(key_of("ada")): {("withdraw", 1)}}


def test_entries_are_cut_between_blocks_and_cover_bounded_ranges(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word in range(4):
        chain.request_cancel(ALICE, word, 1)
    whole = events_between(chain, 0, chain.head())
    monkeypatch.setattr(chain_events, "MAX_EVENTS", 2)
    monkeypatch.setattr(chain_events, "MAX_BLOCKS", 6)
    found, block = [], -1
    while (last := next_block(chain, block, block)) is not None:
        assert last - block <= 6
        entry = chain_message(chain, block, last, 0)
        rows = read_events(entry, 2)
        assert len(rows) <= 2
        found += rows
        block = entry.integer("block")
    assert found == whole


def test_the_most_events_fit_an_entry() -> None:
    row = ["cancel_requested", "ff" * 20, "ff" * 32, "ff" * 32]
    fields = {"events": [row] * chain_events.MAX_EVENTS, "hash": "ff" * 32, "block": 1, "at": 1, "time": 1}
    data = Message("chain", fields).encode()
    assert len(data) <= MAX_HEAD
    assert len(read_events(Message.decode(data), 2)) == chain_events.MAX_EVENTS


@pytest.mark.parametrize(
    "row",
    [
        [],
        "deposit",
        ["deposit", "ff" * 20, 0],
        ["deposit", "ff" * 19, 0, 1],
        ["deposit", "ff" * 20, 2, 1],
        ["deposit", "ff" * 20, -1, 1],
        ["deposit", "ff" * 20, 0, 2**64],
        ["deposit", "ff" * 20, 0, True],
        ["cancelled", "ff" * 20, "ff" * 32, 1],
        ["cancelled", "ff" * 20, "ff" * 31, "ff" * 32],
        ["settled", 0, "ff" * 32, "ff" * 32],
        ["settled", 1, "ff" * 32, "FF" * 32],
        ["minted", "ff" * 20, 0, 1],
        [1, "ff" * 20, 0, 1],
    ],
)
def test_a_row_that_is_no_event_is_refused(row: object) -> None:
    with pytest.raises(DecodeError):
        read_events(Message("chain", {"events": [row]}), 2)


def test_too_many_rows_are_refused_before_they_are_read() -> None:
    with pytest.raises(DecodeError, match="at most"):
        read_events(Message("chain", {"events": [0] * (chain_events.MAX_EVENTS + 1)}), 2)


def test_two_nodes_agree_on_all_but_the_time_of_writing(chain: Chain) -> None:
    ours, theirs = (chain_message(chain, -1, chain.head(), at) for at in (1, 2))
    assert same_events(ours, theirs)
    for name in ("block", "at", "hash", "events"):
        assert not same_events(ours, Message("chain", {**theirs.fields, name: "other"}))

"""What a committee withholds, or forges beside the truth, keeps nobody from contesting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from darkpool.contest import BOND, Case, Evidence, claim
from darkpool.market import Side
from darkpool.settlement import Settlement, delta_rows, row_hashes
from darkpool.types import Address, TokenIndex
from tests.contracts.contest_ground import (
    BASE,
    HELD,
    LOT,
    PRICE,
    QUOTE,
    Ground,
    Made,
    a_round,
    order,
    trade,
    with_holdings,
)
from tests.contracts.world import ALICE, BOB, CAROL, DELAY, NOBODY, World, address_of, addresses

MAX_ROWS = 512
TRANSACTION_GAS = 1 << 24


@pytest.fixture(scope="module", autouse=True)
def endowed(deployed: World) -> Iterator[None]:
    with with_holdings(deployed):
        yield


@pytest.fixture
def ground(world: World) -> Ground:
    return Ground(world)


def place(ground: Ground, case: Case) -> list[Any]:
    """The arguments of `uphold`."""
    return [ground.world.vault.address, case.record.id, addresses([ALICE])[0]]


def frozen(ground: Ground) -> bool:
    return bool(ground.world.vault.functions.frozen().call())


def robbed(ground: Ground) -> tuple[Case, Made]:
    """All of Alice's quote goes to Carol, though she bid for one lot."""
    bid = order(ALICE, 7, Side.BUY, 4, 1)
    rounds = [a_round([bid, order(BOB, 1, Side.SELL, 0, 5)], 3), a_round([], 3, number=2)]
    nets = {(QUOTE, ALICE): -HELD, (QUOTE, CAROL): HELD}
    return ground.settled(rounds, nets, [(ALICE, 7), (BOB, 1)]), bid


def unlisted(case: Case) -> Case:
    """With no lists."""
    return replace(case, listed=())


# Rounds


def test_rounds_that_were_withheld_are_shown_all_and_then_held_against_the_committee(ground: Ground) -> None:
    case, bid = robbed(ground)
    ground.contest(ALICE, ground.found(Case(case.record), ALICE, [bid]))
    ground.world.wait(DELAY // 4 - 5)
    ground.done(BOB, "refute_round", *ground.rounds_of(case, ALICE))
    assert ground.reason(BOB, "uphold", *place(ground, case)).startswith("contests: none is open")
    ground.world.wait(DELAY // 2)  # what denies nothing has the whole delay
    ground.contest(ALICE, ground.found(case, ALICE, [bid]))
    assert frozen(ground)


@pytest.mark.parametrize("late", [False, True])
def test_rounds_shown_without_their_lists_do_not_help_either(ground: Ground, late: bool) -> None:
    case, bid = robbed(ground)
    ground.contest(ALICE, ground.found(Case(case.record), ALICE, [bid]))
    ground.world.wait(DELAY // 4 - 5)
    ground.done(BOB, "refute_round", *ground.rounds_of(case, ALICE))
    ground.world.wait(DELAY * 5 // 8 - DELAY // 4 + (10 if late else -10))
    second = ground.found(unlisted(case), ALICE, [bid])
    assert (second.claimed, second.denied) == ([7], ())
    if late:
        said = ground.reason(ALICE, "contest", *ground.arguments(second), wei=BOND)
        assert said.startswith("contest: too late to deny anything")
        return
    ground.contest(ALICE, second)
    said_of = [claim(bid.leaf, case.rounds[0])]
    refutation = ground.refutation(case, 0, bid, 0, [7], said_of)
    assert ground.reason(BOB, "refute_order", *refutation) == "refute: the order was shown"
    ground.world.wait(DELAY // 4)
    ground.done(NOBODY, "uphold", *place(ground, case))
    assert frozen(ground)


def test_nobody_contests_a_third_time(ground: Ground) -> None:
    bid = order(ALICE, 7, Side.BUY, 3, 5)
    case = ground.settled([a_round([bid], 3)], trade(5), [(ALICE, 7)])
    ground.contest(ALICE, ground.found(Case(case.record), ALICE, []))
    ground.done(BOB, "refute_round", *ground.rounds_of(case, ALICE))
    second = ground.found(unlisted(case), ALICE, [])
    ground.contest(ALICE, second)
    ground.done(BOB, "refute_order", *ground.refutation(case, 0, bid, 0))
    said = ground.reason(ALICE, "contest", *ground.arguments(second), wei=BOND)
    assert said.startswith("contest: the account has contested this settlement before")


def test_who_ordered_nothing_need_not_know_the_rounds(ground: Ground) -> None:
    nets = {(QUOTE, ALICE): -HELD, (QUOTE, CAROL): HELD}
    case = ground.settled([a_round([], 3)], nets, [(BOB, 1)])
    evidence = ground.found(Case(case.record), ALICE, [])
    assert evidence.complete
    ground.contest(ALICE, evidence)
    assert frozen(ground)


# Lists


def test_an_order_is_opened_without_its_place_and_its_own_bytes_do_not_refute_it(ground: Ground) -> None:
    case, bid = robbed(ground)
    evidence = ground.found(unlisted(case), ALICE, [bid])
    assert (evidence.complete, evidence.claimed, evidence.denied) == (False, [7], ())
    ground.contest(ALICE, evidence)
    assert not frozen(ground)
    said = [claim(bid.leaf, case.rounds[0])]
    refutation = ground.refutation(case, 0, bid, 0, [7], said)
    assert ground.reason(BOB, "refute_order", *refutation) == "refute: the order was shown"
    ground.world.wait(DELAY // 4)
    ground.done(NOBODY, "uphold", *place(ground, case))
    assert frozen(ground)


@pytest.mark.parametrize(
    "lie",
    [{"quantity": 0}, {"slot": 6 + 1}, {"blindings": (1, 2)}, {"market": bytes(32)}, {"length": 901}],
)
def test_who_opens_another_order_than_is_listed_loses_the_bond(ground: Ground, lie: dict[str, Any]) -> None:
    """Of an honest trade; the false opening narrows what it may have brought."""
    true = order(ALICE, 7, Side.BUY, 3, 5)
    false = replace(true, **lie)
    other = a_round([], 3, number=2)
    other = replace(other, words=replace(other.words, words=(0, *other.words.words[1:])))
    case = ground.settled([a_round([true], 3), other], trade(5), [(ALICE, 7)])
    at = replace(case.listed[0], index=2**256 - 1, path=(), round=int("market" in lie))
    ground.contest(ALICE, Evidence(case, ((false.opened, at),), (), (0, -1, *[0] * 6)))
    if ground.reason(BOB, "uphold", *place(ground, case)).startswith("contests: none"):
        return  # the lie narrows nothing, and the bond is lost at once
    said = [claim(false.leaf, case.rounds[at.round])]
    ground.done(BOB, "refute_order", *ground.refutation(case, 0, true, 0, [7], said))
    assert ground.bond() == 0


# Tokens


def swapped(ground: Ground, *, with_true: bool) -> tuple[Case, Made]:
    """She bids for base; a round says that she bought quote with base."""
    bid = order(ALICE, 7, Side.BUY, 3, 900)
    bad = a_round([] if with_true else [bid], 3, tokens=(QUOTE, BASE), number=2)
    paid, got = 900 * PRICE, 900 * LOT
    nets = {(BASE, ALICE): -paid, (BASE, CAROL): paid, (QUOTE, ALICE): got, (QUOTE, BOB): -got}
    return ground.settled([a_round([bid], 3)] * with_true + [bad], nets, [(ALICE, 7)]), bid


def test_a_round_of_other_tokens_beside_the_true_one_widens_nothing(ground: Ground) -> None:
    case, bid = swapped(ground, with_true=True)
    evidence = ground.found(case, ALICE, [bid])
    assert evidence.complete
    ground.contest(ALICE, evidence)
    assert frozen(ground)


def test_an_order_in_a_round_of_other_tokens_than_it_was_signed_for_refutes_nothing(ground: Ground) -> None:
    case, bid = swapped(ground, with_true=False)
    evidence = ground.found(case, ALICE, [bid])
    assert (evidence.denied, evidence.claimed) == ((7,), [])
    ground.contest(ALICE, evidence)
    refutation = ground.refutation(case, 0, bid, 0)
    assert ground.reason(BOB, "refute_order", *refutation) == "evidence: the round's base is not the order's"
    ground.world.wait(DELAY // 4)
    ground.done(NOBODY, "uphold", *place(ground, case))
    assert frozen(ground)


# Leaving


def test_what_a_request_set_aside_is_told_and_does_not_come_back_by_an_undoing(ground: Ground) -> None:
    """So whoever leaves asks again."""
    world = ground.world

    def set_aside() -> int:
        return world.number(world.vault, "set_aside_of", QUOTE, addresses([ALICE])[0])

    world.done(ALICE, "request_withdrawal", QUOTE, HELD)
    assert set_aside() == HELD
    case, bid = robbed(ground)
    assert set_aside() == 0
    ground.contest(ALICE, ground.found(case, ALICE, [bid]))
    ground.unwind(case)
    assert (set_aside(), world.balance(ALICE, QUOTE)) == (0, HELD)
    world.done(ALICE, "request_withdrawal", QUOTE, HELD)
    assert set_aside() == HELD


# Size


@pytest.mark.slow
def test_whatever_lands_can_be_unwound_within_a_transaction(ground: Ground) -> None:
    """The dearest to unwind: every account but one falls to zero, so that its storage is written anew."""
    world, token, carol = ground.world, TokenIndex(BASE), address_of(CAROL)
    world.hold(CAROL, BASE, MAX_ROWS)
    dust = [Address((10**30 + i * 10**20).to_bytes(20)) for i in range(MAX_ROWS - 1)]
    world.done(None, "settle", *world.signed(of(world, dust, carol, 1)))
    case, bid = ground.robbery()
    last, at = of(world, dust, carol, -1), world.now()
    world.done(None, "settle", *world.signed(last))
    ground.contest(ALICE, ground.found(case, ALICE, [bid]))
    _, nullifiers = row_hashes(last.deltas, last.nullifiers)
    packed = [row.packed() for row in last.deltas]
    assert len(packed) == MAX_ROWS
    done = world.done(None, "unwind", last.id, at, last.root, last.transcript, packed, nullifiers)
    assert done.gas < TRANSACTION_GAS
    assert world.balance(CAROL, token) == 1


def of(world: World, dust: list[Address], carol: Address, amount: int) -> Settlement:
    nets = {(TokenIndex(BASE), account): amount for account in dust}
    nets[TokenIndex(BASE), carol] = -amount * len(dust)
    return replace(world.settlement(), deltas=delta_rows(nets))

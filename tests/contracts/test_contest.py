"""False settlements contested: what is shown to the arbiter, and what the vault does about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkpool.contest import BOND, Case, Evidence, claim
from darkpool.entitlement import Stake, brought
from darkpool.market import Side
from darkpool.types import PrivateKey
from tests.contracts.contest_ground import (
    BASE,
    LOT,
    P_0,
    PRICE,
    QUOTE,
    TICK,
    Ground,
    Made,
    a_round,
    order,
    trade,
    with_holdings,
)
from tests.contracts.world import (
    ALICE,
    BOB,
    CAROL,
    COMMITTEE_DELAY,
    DELAY,
    NEXT_MEMBERS,
    NOBODY,
    World,
    address_of,
    addresses,
)

SLOW = partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def endowed(deployed: World) -> Iterator[None]:
    with with_holdings(deployed):
        yield


@pytest.fixture
def ground(world: World) -> Ground:
    return Ground(world)


def balances(world: World) -> list[tuple[int, int]]:
    return [(world.balance(a, BASE), world.balance(a, QUOTE)) for a in (ALICE, BOB, CAROL)]


def ether(world: World, owner: PrivateKey) -> int:
    place: Any = addresses([owner])[0]
    return int(world.web3.eth.get_balance(place))


def test_a_robbery_is_shown_frozen_and_unwound_without_anybodys_help(ground: Ground, world: World) -> None:
    before = balances(world)
    case, bid = ground.robbery()
    assert balances(world) != before
    evidence = ground.found(case, ALICE, [bid])
    assert evidence.complete
    ground.contest(ALICE, evidence)
    assert ground.bond() == 0  # it came back
    assert world.vault.functions.frozen().call()
    world.refused(
        "settle: the committee is frozen", None, "settle", *world.signed(world.settlement(spent=[(BOB, 9)]))
    )
    ground.unwind(case)
    assert balances(world) == before
    assert world.bits(ALICE, 0) == 1 << 7  # what was spent stays spent


def test_who_has_no_order_in_it_needs_to_show_none(ground: Ground, world: World) -> None:
    before = balances(world)
    made = a_round([order(BOB, 1, Side.SELL, 0, 5)], 3)
    case = ground.settled([made], {(BASE, ALICE): -3, (BASE, CAROL): 3}, [(BOB, 1)])
    ground.contest(ALICE, ground.found(case, ALICE, []))
    ground.unwind(case)
    assert balances(world) == before


@pytest.mark.parametrize("lots", [5, SLOW(0), SLOW(1)])
def test_an_honest_settlement_stands_and_its_accuser_loses_the_bond(
    ground: Ground, world: World, lots: int
) -> None:
    bid, offer = order(ALICE, 7, Side.BUY, 3, 5), order(BOB, 1, Side.SELL, 3, 5)
    nets = {k: v for k, v in trade(lots).items() if v}
    case = ground.settled([a_round([bid, offer], 3)], nets, [(ALICE, 7), (BOB, 1)])
    assert ground.evidence(case, ALICE, [bid]) is None
    assert ground.evidence(case, BOB, [offer]) is None
    (at,) = (at for at in case.listed if at.nonce == 7)
    valuations = ((1, 0), (-1, 0), (0, 1), (0, -1), (PRICE, LOT), (-PRICE, -LOT))
    claims = [Evidence(case, ((bid.opened, at),), (), (*v, *[0] * 6)) for v in valuations]
    for false in claims:
        call = world.arbiter.functions.contest(*ground.arguments(false))
        assert call.call({"from": addresses([ALICE])[0], "value": BOND, "gas": 30_000_000}) == 0
    ground.contest(ALICE, claims[0])
    assert ground.bond() == BOND  # nobody's
    assert not world.vault.functions.frozen().call()
    assert ground.reason(ALICE, "contest", *ground.arguments(claims[0]), wei=BOND).startswith(
        "contest: the account has contested this settlement before"
    )


@pytest.mark.parametrize(
    "nets",
    [
        {(BASE, ALICE): 6 * LOT, (QUOTE, ALICE): -6 * PRICE},  # more than was bid for
        SLOW({(BASE, ALICE): -LOT, (QUOTE, ALICE): PRICE}),  # sold, and only bid
        {(BASE, ALICE): 5 * LOT, (QUOTE, ALICE): -5 * PRICE - 1},  # at another price
        SLOW({(BASE, ALICE): 4 * LOT - 1, (QUOTE, ALICE): -4 * PRICE}),
        {(QUOTE, ALICE): -1},  # paid for nothing
        SLOW({(BASE, ALICE): 5 * LOT}),  # got it for nothing
    ],
)
def test_every_delta_beyond_the_bounds_is_shown(
    ground: Ground, nets: dict[tuple[int, PrivateKey], int]
) -> None:
    bid = order(ALICE, 7, Side.BUY, 3, 5)
    opposite = {(token, BOB): -amount for (token, _), amount in nets.items()}
    case = ground.settled([a_round([bid], 3)], {**nets, **opposite}, [(ALICE, 7)])
    ground.contest(ALICE, ground.found(case, ALICE, [bid]))
    assert ground.world.vault.functions.frozen().call()


def test_an_order_beyond_its_limit_gives_nothing(ground: Ground, world: World) -> None:
    bid = order(ALICE, 7, Side.BUY, 2, 5)
    case = ground.settled([a_round([bid], 3)], trade(1), [(ALICE, 7)])
    ground.contest(ALICE, ground.found(case, ALICE, [bid]))
    assert world.vault.functions.frozen().call()


def test_all_settlements_since_are_unwound_newest_first(ground: Ground, world: World) -> None:
    """Also what was credited, moved on, and asked for; deposits and what was asked for before stay."""
    world.done(BOB, "request_withdrawal", BASE, 400)
    world.wait(DELAY // 2)
    before = balances(world)
    first, bid = ground.robbery()
    world.done(CAROL, "request_withdrawal", QUOTE, 20_000)  # the loot
    second = ground.settled([], {(QUOTE, CAROL): -45_000, (QUOTE, BOB): 45_000}, [(CAROL, 1)])
    world.hold(CAROL, BASE, 11)
    world.wait(DELAY // 2)
    world.done(BOB, "withdraw", BASE)
    ground.contest(ALICE, ground.found(first, ALICE, [bid]))
    world.wait(DELAY // 2)
    world.refused("withdraw: settlements since a false one are being unwound", CAROL, "withdraw", QUOTE)
    number, *_ = first.record.words
    assert world.number(world.vault, "unwind_last") == number
    assert world.number(world.vault, "unwind_next") == number + 1
    ground.unwind(second)
    ground.unwind(first)
    (a, b, c) = before
    assert balances(world) == [a, (b[0] - 400, b[1]), (c[0] + 11, c[1])]
    for token in (BASE, QUOTE):
        total = sum(world.balance(owner, token) for owner in (ALICE, BOB, CAROL))
        assert world.number(world.vault, "total_quanta", token) == total
    world.done(CAROL, "withdraw", QUOTE)  # pays nothing: it is gone
    assert world.balance(CAROL, QUOTE) == 0


def test_loot_cannot_leave_before_it_can_be_contested(ground: Ground, world: World) -> None:
    """A request made ahead, for all there will ever be, pays what was there when it was made."""
    world.done(CAROL, "request_withdrawal", QUOTE, 2**64)
    world.wait(DELAY)
    ground.robbery()
    world.done(CAROL, "withdraw", QUOTE)
    assert world.balance(CAROL, QUOTE) == 50_000
    world.done(CAROL, "request_withdrawal", QUOTE, 2**64)
    world.wait(DELAY - 3)
    world.refused("withdraw: the delay has not passed", CAROL, "withdraw", QUOTE)


def test_what_waits_for_an_unwinding_waits_no_longer_than_the_delay(ground: Ground, world: World) -> None:
    case, bid = ground.robbery()
    world.done(CAROL, "request_withdrawal", QUOTE, 1)
    world.wait(DELAY - 10)
    ground.contest(ALICE, ground.found(case, ALICE, [bid]))
    world.wait(DELAY - 10)
    world.refused("withdraw: settlements since a false one are being unwound", CAROL, "withdraw", QUOTE)
    world.wait(20)
    world.done(CAROL, "withdraw", QUOTE)


def test_a_second_victim_of_an_older_settlement_has_that_unwound_too(ground: Ground, world: World) -> None:
    before = balances(world)
    older = ground.settled([a_round([], 3)], {(BASE, BOB): -9, (BASE, CAROL): 9})
    newer, bid = ground.robbery()
    ground.contest(ALICE, ground.found(newer, ALICE, [bid]))
    ground.unwind(newer)
    ground.contest(BOB, ground.found(older, BOB, []))
    ground.unwind(older)
    assert balances(world) == before


def test_only_the_next_committee_thaws_and_not_before_the_delay(ground: Ground, world: World) -> None:
    world.done(None, "propose_committee", *world.proposal())
    world.wait(COMMITTEE_DELAY)
    case, bid = ground.robbery()
    frozen_at = world.now()
    ground.contest(ALICE, ground.found(case, ALICE, [bid]))
    world.refused("activate_committee: the delay has not passed", NOBODY, "activate_committee")
    ground.unwind(case)
    world.wait(frozen_at + COMMITTEE_DELAY - world.now())
    world.done(NOBODY, "activate_committee")
    assert not world.vault.functions.frozen().call()
    later = ground.world.settlement(spent=[(BOB, 9)])
    world.done(None, "settle", *world.signed(later, NEXT_MEMBERS))


# Denials


def phantom(ground: Ground) -> Case:
    """A nonce of hers is spent that Alice never signed for, and a list that has her true order."""
    bid = order(ALICE, 7, Side.BUY, 4, 5)
    nets = {(QUOTE, ALICE): -50_000, (QUOTE, CAROL): 50_000}
    return ground.settled([a_round([bid], 3)], nets, [(ALICE, 7), (ALICE, 8)])


def test_a_nonce_she_never_signed_for_is_denied_and_upheld_if_nobody_shows_it(
    ground: Ground, world: World
) -> None:
    before = balances(world)
    case = phantom(ground)
    evidence = ground.found(case, ALICE, [])
    assert (evidence.complete, list(evidence.denied)) == (False, [7, 8])
    ground.contest(ALICE, evidence)
    assert not world.vault.functions.frozen().call()
    arguments = (world.vault.address, case.record.id, addresses([ALICE])[0])
    assert ground.reason(NOBODY, "uphold", *arguments).startswith("uphold: it may still be refuted")
    world.wait(DELAY // 4)
    paid = ether(world, ALICE)
    ground.done(NOBODY, "uphold", *arguments)
    assert ether(world, ALICE) == paid + BOND
    ground.unwind(case)
    assert balances(world) == before


def denied(ground: Ground, *, transcripts: bool = True) -> tuple[Case, Made, Made]:
    """An honest trade, of which Alice denies one order or the whole transcript."""
    bids = order(ALICE, 7, Side.BUY, 3, 5), order(ALICE, 8, Side.BUY, 3, 2)
    case = ground.settled(
        [a_round(bids, 3)],
        trade(7),
        [(ALICE, 7), (ALICE, 8)],
    )
    said = case if transcripts else Case(case.record)
    ground.contest(ALICE, ground.found(said, ALICE, [bids[0]]))
    return case, *bids


def test_whoever_shows_the_denied_order_gets_the_bond(ground: Ground, world: World) -> None:
    case, _, second = denied(ground)
    paid = ether(world, BOB)
    ground.done(BOB, "refute_order", *ground.refutation(case, 0, second, 1, [7]))
    assert ether(world, BOB) > paid + BOND // 2
    world.wait(DELAY // 4)
    arguments = (world.vault.address, case.record.id, addresses([ALICE])[0])
    assert ground.reason(NOBODY, "uphold", *arguments).startswith("contests: none is open")


def test_whoever_shows_the_denied_round_gets_the_bond(ground: Ground, world: World) -> None:
    case, *_ = denied(ground, transcripts=False)
    paid = ether(world, BOB)
    ground.done(BOB, "refute_round", *ground.rounds_of(case, ALICE))
    assert ether(world, BOB) > paid + BOND // 2


def test_a_leaf_that_is_not_what_she_signed_refutes_nothing(ground: Ground) -> None:
    """Her order's hash and signature under commitments of somebody else's choice."""
    true = order(ALICE, 7, Side.BUY, 3, 5)
    forged = replace(true, quantity=1_000)
    object.__setattr__(forged, "hash", true.hash)
    object.__setattr__(forged, "body", true.body)
    case = ground.settled([a_round([forged], 3)], trade(6), [(ALICE, 7)])
    evidence = ground.found(case, ALICE, [true])
    assert (evidence.claimed, evidence.complete) == ([7], False)
    ground.contest(ALICE, evidence)
    said = [claim(true.leaf, case.rounds[0])]
    reason = ground.reason(BOB, "refute_order", *ground.refutation(case, 0, forged, 0, [7], said))
    assert reason == "evidence: C_q is not the order's"


@pytest.mark.parametrize("field", ["p_0", "tick", "lot"])
def test_a_round_of_another_grid_than_she_signed_for_refutes_nothing(ground: Ground, field: str) -> None:
    """It would make another limit of her order."""
    true = order(ALICE, 7, Side.BUY, 3, 5)
    changed = {field: 5 * getattr(true, field)}
    price = 50 * PRICE
    made = a_round([true], 3, **changed, price=price)
    nets = trade(5, price)
    case = ground.settled([made], nets, [(ALICE, 7)])
    evidence = ground.found(case, ALICE, [true])
    assert list(evidence.denied) == [7]
    ground.contest(ALICE, evidence)
    reason = ground.reason(BOB, "refute_order", *ground.refutation(case, 0, true, 0))
    assert reason == f"evidence: the round's {field} is not the order's"


def test_an_order_that_rolled_through_a_round_counts_in_the_one_it_may_have_traded_in(
    ground: Ground, world: World
) -> None:
    """An accuser shows it in the list in which it was too dear."""
    bid = order(ALICE, 7, Side.BUY, 3, 5)
    rounds = [a_round([bid], 6), a_round([bid], 2, number=2)]
    case = ground.settled(rounds, trade(5, P_0 + 2 * TICK), [(ALICE, 7)])
    assert ground.evidence(case, ALICE, [bid]) is None
    at = next(at for at in case.listed if at.round == 0)
    for valuation in ((1, 0), (0, -1)):
        false = Evidence(case, ((bid.opened, at),), (), (*valuation, *[0] * 6))
        call = world.arbiter.functions.contest(*ground.arguments(false))
        assert call.call({"from": addresses([ALICE])[0], "value": BOND, "gas": 30_000_000}) == 0


def test_a_made_up_round_of_a_wilder_grid_does_not_widen_the_bounds(ground: Ground, world: World) -> None:
    bid = order(ALICE, 7, Side.BUY, 3, 5)
    wild = a_round([], 3, number=2, p_0=10 * P_0, price=10 * P_0)
    nets = trade(5, 10 * P_0)
    case = ground.settled([a_round([bid], 3), wild], nets, [(ALICE, 7)])
    ground.contest(ALICE, ground.found(case, ALICE, [bid]))
    assert world.vault.functions.frozen().call()


def test_rounds_out_of_range_are_shown_and_give_nothing(ground: Ground, world: World) -> None:
    bid = order(ALICE, 7, Side.BUY, 3, 5)
    odd: list[dict[str, Any]] = [
        {"price": 2**200},
        {"p_0": 2**64},
        {"tick": 2**255, "price": PRICE},
        {"lot": 2**64},
    ]
    for strange in odd:
        case = ground.settled(
            [a_round([bid], 3), a_round([], 3, number=2, **strange)],
            {(QUOTE, ALICE): -1, (QUOTE, BOB): 1},
            [(ALICE, bid.nonce)],
        )
        evidence = ground.found(case, ALICE, [bid])
        assert evidence.complete
        call = world.arbiter.functions.contest(*ground.arguments(evidence))
        assert call.call({"from": addresses([ALICE])[0], "value": BOND, "gas": 30_000_000}) == 1
        bid = order(ALICE, bid.nonce + 1, Side.BUY, 3, 5)


def test_an_order_of_another_market_in_the_same_settlement_is_shown_beside(
    ground: Ground, world: World
) -> None:
    """Two markets, tokens the other way round; the sum of both is judged."""
    other: dict[str, Any] = {"market": b"\x04" * 32}
    bid = order(ALICE, 7, Side.BUY, 3, 5)
    offer = order(ALICE, 300, Side.SELL, 3, 2, **other, places=(QUOTE, BASE))
    rounds = [a_round([bid], 3), a_round([offer], 3, tokens=(QUOTE, BASE))]
    nets = trade(5)
    for place, amount in {(QUOTE, ALICE): -2 * LOT, (BASE, ALICE): 2 * PRICE}.items():
        nets[place] += amount
        nets[place[0], BOB] -= amount
    case = ground.settled(rounds, nets, [(ALICE, 7), (ALICE, 300)])
    assert ground.evidence(case, ALICE, [bid, offer]) is None
    assert address_of(ALICE) == bid.account
    evidence = ground.found(case, ALICE, [bid])
    assert list(evidence.denied) == [300]
    assert not world.vault.functions.frozen().call()


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_contract_and_library_judge_alike(ground: Ground, data: st.DataObject) -> None:
    """Any orders, rounds, deltas and valuation, true or false."""
    world = ground.world
    snapshot, logs = world.tester.take_snapshot(), list(world.logs)
    try:
        judged_alike(ground, data)
    finally:
        world.tester.revert_to_snapshot(snapshot)
        world.logs = logs


def judged_alike(ground: Ground, data: st.DataObject) -> None:
    small = st.integers(0, 5)
    orders = [
        order(ALICE, nonce, data.draw(st.sampled_from(Side)), data.draw(small), data.draw(small))
        for nonce in range(data.draw(st.integers(0, 3)))
    ]
    rounds = [a_round(orders, data.draw(small), number=n) for n in range(data.draw(st.integers(1, 2)))]
    lots, paid = data.draw(st.integers(-8, 8)), data.draw(st.integers(-9, 9))
    nets = {(BASE, ALICE): lots * LOT, (QUOTE, ALICE): -lots * PRICE + paid}
    nets |= {(token, BOB): -amount for (token, _), amount in nets.items()}
    worths = st.integers(-3 * PRICE, 3 * PRICE)
    named = st.sampled_from([(1, 0), (0, 1), *((r.words.price, LOT) for r in rounds)])
    sign = data.draw(st.sampled_from([1, -1]))
    valuation = tuple(sign * value for value in (*data.draw(named | st.tuples(worths, worths)), *[0] * 6))

    case = ground.settled(rounds, nets, [(made.owner, made.nonce) for made in orders])
    shown = tuple((made.opened, next(at for at in case.listed if at.nonce == made.nonce)) for made in orders)
    words = [r.words for r in rounds]
    stakes = [Stake(own.slot, own.quantity, words[at.round]) for own, at in shown]
    deltas = case.record.deltas_of(address_of(ALICE))
    proven = brought(valuation, deltas) > sum(stake.most(valuation, words) for stake in stakes)
    call = ground.world.arbiter.functions.contest(*ground.arguments(Evidence(case, shown, (), valuation)))
    said = call.call({"from": addresses([ALICE])[0], "value": BOND, "gas": 30_000_000})
    assert said == int(proven)

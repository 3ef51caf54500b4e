"""Every reason of the arbiter, each provoked by one thing that is wrong, and then nothing has happened."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pytest
from eth.vm.forks.cancun import CancunVM

import contracts
from darkpool.contest import BOND, Case
from darkpool.market import Side
from darkpool.types import PrivateKey
from tests.contracts.contest_ground import (
    BASE,
    HELD,
    QUOTE,
    Ground,
    Made,
    a_round,
    order,
    trade,
    with_holdings,
)
from tests.contracts.test_refusals import REASON
from tests.contracts.world import ALICE, BOB, CAROL, DELAY, NOBODY, World, addresses

Call = tuple[PrivateKey, str, list[Any], int]
CASES: Final[dict[str, Callable[[Ground], Call]]] = {}
SETTLED, TRANSCRIPTS, ROUNDS, ORDERS, VALUATION = range(1, 6)
NONCE, ROUND, SLOT, QUANTITY, BLINDING_Q, BLINDING_M, HASH, INDEX, PATH = range(9)


@pytest.fixture(scope="module", autouse=True)
def endowed(deployed: World) -> Iterator[None]:
    with with_holdings(deployed):
        yield


@pytest.fixture
def ground(world: World) -> Ground:
    return Ground(world)


def refuses(reason: str) -> Callable[[Callable[[Ground], Call]], Callable[[Ground], Call]]:
    """Register what returns a refused call."""

    def register(case: Callable[[Ground], Call]) -> Callable[[Ground], Call]:
        assert reason not in CASES
        CASES[reason] = case
        return case

    return register


def put(value: Any, place: Sequence[int], new: Any) -> Any:  # noqa: ANN401 - nested lists and tuples
    """The value with something else at a place within."""
    if not place:
        return new
    parts = list(value)
    parts[place[0]] = put(parts[place[0]], place[1:], new)
    return tuple(parts) if isinstance(value, tuple) else parts


def robbed(ground: Ground, *place: int, to: object = None, sender: PrivateKey = ALICE) -> Call:
    """The evidence of a robbery, but for one place in it."""
    case, bid = ground.robbery()
    arguments = ground.arguments(ground.found(case, ALICE, [bid]))
    return sender, "contest", put(arguments, place, to) if place else arguments, BOND


# Bond, settlement, time


@refuses("contest: send exactly BOND with it")
def _(ground: Ground) -> Call:
    return (*robbed(ground)[:3], BOND - 1)


@refuses("contest: the account has contested this settlement before")
def _(ground: Ground) -> Call:
    case, bid = ground.robbery()
    evidence = ground.found(case, ALICE, [bid])
    ground.contest(ALICE, evidence)
    return ALICE, "contest", ground.arguments(evidence), BOND


@refuses("record: no such settlement is in force in the vault")
def _(ground: Ground) -> Call:
    return robbed(ground, SETTLED, 1, to=1)


@refuses("contest: too late, what was settled may have left")
def _(ground: Ground) -> Call:
    call = robbed(ground)
    ground.world.wait(DELAY)
    return call


# Rounds


@refuses("transcripts: not those of the settlement")
def _(ground: Ground) -> Call:
    return robbed(ground, TRANSCRIPTS, 0, to=bytes(32))


@refuses("contest: a round's place is not one of the transcripts")
def _(ground: Ground) -> Call:
    return robbed(ground, ROUNDS, 0, 0, to=1)


@refuses("contest: rounds do not ascend by place")
def _(ground: Ground) -> Call:
    sender, function, arguments, wei = robbed(ground)
    return sender, function, put(arguments, [ROUNDS], 2 * arguments[ROUNDS]), wei


@refuses("contest: a round is not the one of its transcript")
def _(ground: Ground) -> Call:
    return robbed(ground, ROUNDS, 0, 1, 5, to=1)


# Orders


@refuses("contest: an order's nonce was not consumed, or is shown twice")
def _(ground: Ground) -> Call:
    return robbed(ground, ORDERS, 0, NONCE, to=8)


@refuses("contest: orders do not ascend by nonce, or one was not consumed")
def _(ground: Ground) -> Call:
    return robbed(ground, sender=CAROL)  # of another account


@refuses("contest: an order names a round that is not shown")
def _(ground: Ground) -> Call:
    return robbed(ground, ORDERS, 0, ROUND, to=1)


@refuses("evidence: slot is 512 or more")
def _(ground: Ground) -> Call:
    return robbed(ground, ORDERS, 0, SLOT, to=512)


@refuses("evidence: quantity is 2**32 lots or more")
def _(ground: Ground) -> Call:
    return robbed(ground, ORDERS, 0, QUANTITY, to=2**32)


@refuses("evidence: the round's list has no such order there")
def _(ground: Ground) -> Call:
    return robbed(ground, ORDERS, 0, QUANTITY, to=6)


@refuses("evidence: nonce is 2**64 or more")
def _(ground: Ground) -> Call:
    bid = order(ALICE, 7, Side.BUY, 4, 5)
    nets = {(QUOTE, ALICE): -9, (QUOTE, CAROL): 9}
    case = ground.settled([a_round([bid], 3)], nets, [(ALICE, 7), (ALICE, 2**64)])
    arguments = ground.arguments(ground.found(case, ALICE, [bid]))
    second = put(arguments[ORDERS][0], [NONCE], 2**64)
    return ALICE, "contest", put(arguments, [ORDERS], [*arguments[ORDERS], second]), BOND


@refuses("contest: a valuation is beyond 2**64")
def _(ground: Ground) -> Call:
    return robbed(ground, VALUATION, 7, to=-(2**64) - 1)


# Denials


def denied(ground: Ground) -> tuple[Case, Made, Made]:
    """An honest trade of which Alice denied the second order."""
    bids = order(ALICE, 7, Side.BUY, 3, 5), order(ALICE, 8, Side.BUY, 3, 2)
    case = ground.settled([a_round(bids, 3)], trade(7), [(ALICE, 7), (ALICE, 8)])
    ground.contest(ALICE, ground.found(case, ALICE, [bids[0]]))
    return case, *bids


@refuses("contest: too late to deny anything, there must be time to refute it")
def _(ground: Ground) -> Call:
    case, _ = ground.robbery()
    arguments = ground.arguments(ground.found(case, ALICE, []))
    ground.world.wait(DELAY // 2)
    return ALICE, "contest", arguments, BOND


def uphold(ground: Ground, case: Case, account: PrivateKey = ALICE) -> Call:
    return NOBODY, "uphold", [ground.world.vault.address, case.record.id, addresses([account])[0]], 0


@refuses("contests: none is open of this account and settlement")
def _(ground: Ground) -> Call:
    return uphold(ground, denied(ground)[0], BOB)


@refuses("uphold: it may still be refuted")
def _(ground: Ground) -> Call:
    return uphold(ground, denied(ground)[0])


@refuses("uphold: too late, what was settled may have left")
def _(ground: Ground) -> Call:
    case, *_ = denied(ground)
    ground.world.wait(DELAY)
    return uphold(ground, case)


# Refutations

VAULT, ACCOUNT, RECORD, NULLIFIERS, ITS_TRANSCRIPTS, ITS_ROUND, SHOWN, CLAIMS, SIGNED, TERMS = range(10)
ITS_NONCE, BODY, SIGNATURE, C_Q, C_M, ITS_INDEX, ITS_PATH = range(7)


def refuted(ground: Ground, *place: int, to: object = None) -> Call:
    """A refutation that holds, but for one place in it."""
    case, _, second = denied(ground)
    arguments = ground.refutation(case, 0, second, 1, [7])
    return BOB, "refute_order", put(arguments, place, to) if place else arguments, 0


def refuted_round(ground: Ground, *place: int, to: object = None) -> Call:
    """The refutation of somebody who denied the round, but for one place in it."""
    bid = order(ALICE, 7, Side.BUY, 3, 5)
    case = ground.settled([a_round([bid], 3)], trade(5), [(ALICE, 7)])
    ground.contest(ALICE, ground.found(Case(case.record), ALICE, []))
    arguments = ground.rounds_of(case, ALICE)
    return BOB, "refute_round", put(arguments, place, to) if place else arguments, 0


@refuses("refute: too late")
def _(ground: Ground) -> Call:
    call = refuted(ground)
    ground.world.wait(DELAY // 4)
    return call


@refuses("refute: the round's place is not one of the transcripts")
def _(ground: Ground) -> Call:
    return refuted(ground, ITS_ROUND, 0, to=1)


@refuses("refute: the round is not the one of its transcript")
def _(ground: Ground) -> Call:
    return refuted(ground, ITS_ROUND, 1, 5, to=1)


@refuses("refute: the round was shown")
def _(ground: Ground) -> Call:
    return BOB, "refute_round", ground.rounds_of(denied(ground)[0], ALICE), 0


@refuses("refute: show the rounds")
def _(ground: Ground) -> Call:
    return refuted_round(ground, 4, to=[])


def two_rounds(ground: Ground) -> tuple[Case, Made]:
    bid = order(ALICE, 7, Side.BUY, 3, 5)
    case = ground.settled([a_round([bid], 3), a_round([], 3, number=2)], trade(5), [(ALICE, 7)])
    ground.contest(ALICE, ground.found(Case(case.record), ALICE, []))
    return case, bid


@refuses("refute: show all rounds that were denied")
def _(ground: Ground) -> Call:
    arguments = ground.rounds_of(two_rounds(ground)[0], ALICE)
    return BOB, "refute_round", put(arguments, [4], arguments[4][1:]), 0


@refuses("refute: the contest denies rounds")
def _(ground: Ground) -> Call:
    case, bid = two_rounds(ground)
    return BOB, "refute_order", ground.refutation(case, 0, bid, 0), 0


@refuses("contest: the rounds were shown")
def _(ground: Ground) -> Call:
    case, _ = two_rounds(ground)
    ground.done(BOB, "refute_round", *ground.rounds_of(case, ALICE))
    return ALICE, "contest", ground.arguments(ground.found(Case(case.record), ALICE, [])), BOND


@refuses("refute: the nullifiers are not those of the record")
def _(ground: Ground) -> Call:
    return refuted(ground, NULLIFIERS, 0, 1, to=1)


@refuses("refute: other orders were shown")
def _(ground: Ground) -> Call:
    return refuted(ground, SHOWN, to=[])


@refuses("refute: the order was shown")
def _(ground: Ground) -> Call:
    bids = order(ALICE, 7, Side.BUY, 3, 5), order(ALICE, 8, Side.BUY, 3, 2)
    case = ground.settled([a_round(bids, 3)], trade(7), [(ALICE, 7), (ALICE, 8)])
    ground.contest(ALICE, ground.found(case, ALICE, [bids[0]]))
    return BOB, "refute_order", ground.refutation(case, 0, bids[0], 0, [7]), 0


@refuses("refute: the order was not consumed")
def _(ground: Ground) -> Call:
    return refuted(ground, SIGNED, ITS_NONCE, to=9)


@refuses("evidence: the signature has not 65 bytes")
def _(ground: Ground) -> Call:
    return refuted(ground, SIGNED, SIGNATURE, to=bytes(64))


@refuses("evidence: the account did not sign the order")
def _(ground: Ground) -> Call:
    return refuted(ground, SIGNED, BODY, to=bytes(900))


def signed_for(ground: Ground, **other: Any) -> Call:  # noqa: ANN401 - fields of a round
    """An order that was signed for something else than the round it is in."""
    bid = order(ALICE, 7, Side.BUY, 3, 5)
    case = ground.settled([a_round([bid], 3, **other)], trade(5), [(ALICE, 7)])
    ground.contest(ALICE, ground.found(case, ALICE, [bid]))
    return BOB, "refute_order", ground.refutation(case, 0, bid, 0), 0


@refuses("evidence: the round's p_0 is not the order's")
def _(ground: Ground) -> Call:
    return signed_for(ground, p_0=2_000)


@refuses("evidence: the round's tick is not the order's")
def _(ground: Ground) -> Call:
    return signed_for(ground, tick=11)


@refuses("evidence: the round's lot is not the order's")
def _(ground: Ground) -> Call:
    return signed_for(ground, lot=8)


@refuses("evidence: the terms are not the order's")
def _(ground: Ground) -> Call:
    return refuted(ground, TERMS, to=bytes(400))


@refuses("evidence: the round's base is not the order's")
def _(ground: Ground) -> Call:
    return signed_for(ground, tokens=(QUOTE, BASE))


@refuses("evidence: the round's quote is not the order's")
def _(ground: Ground) -> Call:
    return signed_for(ground, tokens=(BASE, BASE))


@refuses("evidence: C_q is not the order's")
def _(ground: Ground) -> Call:
    return refuted(ground, SIGNED, C_Q, to=bytes(96))


@refuses("evidence: C_m is not the order's")
def _(ground: Ground) -> Call:
    return refuted(ground, SIGNED, C_M, to=bytes(95))


@refuses("evidence: the round's list has not this order there")
def _(ground: Ground) -> Call:
    return refuted(ground, SIGNED, ITS_INDEX, to=0)


@pytest.mark.parametrize("reason", CASES)
def test_refused_with_its_reason(ground: Ground, reason: str) -> None:
    sender, function, arguments, wei = CASES[reason](ground)
    said = ground.reason(sender, function, *arguments, wei=wei)
    assert reason in {said, said.split("; ")[0]}


def test_every_reason_of_the_source_is_provoked() -> None:
    text = b"".join(contracts.sources("Arbiter").values()).decode()
    reasons = [reason.split("; ")[0] for reason in re.findall(REASON, text, re.MULTILINE)]
    assert len(reasons) == text.count("assert ")  # no check without a reason
    assert set(reasons) == {*CASES, "evidence: this chain has no EIP-2537"}


def test_each_part_of_a_shown_order_counts(ground: Ground) -> None:
    sender, function, arguments, wei = robbed(ground)
    new = {SLOT: 9, BLINDING_Q: 9, BLINDING_M: 9, HASH: bytes(32), PATH: [bytes(32)] * 2, INDEX: 1}
    for field, value in new.items():
        changed = put(arguments, [ORDERS, 0, field], value)
        reason = ground.reason(sender, function, *changed, wei=wei)
        assert reason == "evidence: the round's list has no such order there"


def test_each_part_of_the_record_counts(ground: Ground) -> None:
    sender, function, arguments, wei = robbed(ground)
    for place, value in (([0], 99), ([2], bytes(32)), ([3], bytes(32)), ([4, 0], 99), ([5, 0, 1], 99)):
        changed = put(arguments, [SETTLED, *place], value)
        reason = ground.reason(sender, function, *changed, wei=wei)
        assert reason == "record: no such settlement is in force in the vault"


def test_evidence_for_one_vault_does_not_hold_at_another(ground: Ground) -> None:
    sender, function, arguments, wei = robbed(ground)
    other = ground.world.deploy_artifact("Vault", *ground.world.terms())
    reason = ground.reason(sender, function, *put(arguments, [0], other.address), wei=wei)
    assert reason == "record: no such settlement is in force in the vault"


def test_the_round_that_was_denied_is_judged_as_strictly(ground: Ground) -> None:
    for place, new, reason in (
        ([3, 0], bytes(32), "transcripts: not those of the settlement"),
        ([4, 0, 0], 1, "refute: the round's place is not one of the transcripts"),
        ([4, 0, 1, 3], 1, "refute: the round is not the one of its transcript"),
    ):
        snapshot = ground.world.tester.take_snapshot()
        sender, function, arguments, _ = refuted_round(ground, *place, to=new)
        assert ground.reason(sender, function, *arguments) == reason
        ground.world.tester.revert_to_snapshot(snapshot)


def test_a_point_off_the_curve_or_of_the_other_sign_is_not_the_orders(ground: Ground) -> None:
    """Its compressed form has x and the sign of y; a leaf with another y could not be opened."""
    case, _, second = denied(ground)
    x, y = second.points[0][:48], int.from_bytes(second.points[0][48:])
    prime = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
    arguments = ground.refutation(case, 0, second, 1, [7])
    for other in (y ^ 1, prime - y):
        changed = put(arguments, [SIGNED, C_Q], x + other.to_bytes(48))
        assert ground.reason(BOB, "refute_order", *changed) == "evidence: C_q is not the order's"
    assert ground.reason(BOB, "refute_order", *arguments) == ""


def test_without_the_precompiles_nothing_is_judged() -> None:
    ground = Ground(World(CancunVM))
    for token in (BASE, QUOTE):
        ground.world.hold(ALICE, token, HELD)
    sender, function, arguments, wei = robbed(ground)
    assert ground.reason(sender, function, *arguments, wei=wei) == "evidence: this chain has no EIP-2537"

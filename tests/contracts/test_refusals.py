"""Every reason of the vault, each provoked; and what is refused changes no storage."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from vyper.compiler import compile_code

import contracts
from darkpool.contest import Case
from darkpool.eip712 import address_of
from darkpool.settlement import Delta, Settlement, sign
from darkpool.types import PrivateKey, address_hex
from tests.contracts.contest_ground import Ground, a_round
from tests.contracts.test_creation import CREATIONS
from tests.contracts.test_machine import PUPPET
from tests.contracts.world import (
    ALICE,
    BOB,
    CAROL,
    COMMITTEE_DELAY,
    DELAY,
    GUARDIAN,
    MEMBERS,
    NEXT_MEMBERS,
    NOBODY,
    QUANTA,
    ROOT,
    TRANSCRIPT,
    WINDOW,
    World,
    addresses,
    row,
    unchecked,
)

Call = tuple[Any, ...]
CASES: Final[dict[str, Callable[[World], Call]]] = {}

HONEST, REFUSING, SHRINKING = range(3)
"""Moods of the hostile token."""

REASON: Final = r', "([^"]+)"(?:  # \d)?$'
"""At the end of an assertion's line, or before the number of a step."""

ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def refuses(reason: str) -> Callable[[Callable[[World], Call]], Callable[[World], Call]]:
    """Register what prepares the world and returns sender, function and arguments of a refused call."""

    def register(case: Callable[[World], Call]) -> Callable[[World], Call]:
        assert reason not in CASES
        CASES[reason] = case
        return case

    return register


# Deposits and withdrawals


@refuses("deposit: token is not registered")
def _(_: World) -> Call:
    return ALICE, "deposit", len(QUANTA), 1


@refuses("deposit: zero quanta")
def _(_: World) -> Call:
    return ALICE, "deposit", 0, 0


@refuses("deposit: total would reach 2**64 quanta")
def _(world: World) -> Call:
    world.hold(BOB, 0, 2**64 - 2)
    world.send(None, world.tokens[0], "mint", *addresses([ALICE]), 2 * QUANTA[0])
    world.send(ALICE, world.tokens[0], "approve", world.vault.address, 2 * QUANTA[0])
    return ALICE, "deposit", 0, 2


def hostile(world: World, mood: int) -> None:
    """A vault whose only token is hostile, with 100 quanta of Alice in it."""
    token = world.use_token("HostileToken", 1)
    world.send(None, token, "mint", *addresses([ALICE]), 1_000)
    world.done(ALICE, "deposit", 0, 100)
    world.send(None, token, "set_mood", 1 << mood)


@refuses("deposit: token refused the transfer")
def _(world: World) -> Call:
    hostile(world, REFUSING)
    return ALICE, "deposit", 0, 10


@refuses("deposit: token balance fell")
def _(world: World) -> Call:
    hostile(world, SHRINKING)
    return ALICE, "deposit", 0, 10


@refuses("deposit: the vault holds less of this token than it owes")
def _(world: World) -> Call:
    hostile(world, HONEST)
    world.send(None, world.tokens[0], "burn", world.vault.address, 1)
    return ALICE, "deposit", 0, 10


@refuses("deposit: less than a quantum arrived")
def _(world: World) -> Call:
    token = world.use_token("SilentToken", 100)
    world.send(None, token, "mint", *addresses([ALICE]), 100)
    world.send(ALICE, token, "approve", world.vault.address, 100)
    world.send(None, token, "set_fee", 100)
    return ALICE, "deposit", 0, 1


@refuses("request_withdrawal: token is not registered")
def _(_: World) -> Call:
    return ALICE, "request_withdrawal", len(QUANTA), 1


@refuses("request_withdrawal: zero quanta")
def _(_: World) -> Call:
    return ALICE, "request_withdrawal", 0, 0


@refuses("withdraw: token is not registered")
def _(_: World) -> Call:
    return ALICE, "withdraw", len(QUANTA)


@refuses("withdraw: nothing was requested")
def _(world: World) -> Call:
    world.hold(ALICE, 0, 5)
    return ALICE, "withdraw", 0


@refuses("withdraw: the delay has not passed")
def _(world: World) -> Call:
    world.hold(ALICE, 0, 5)
    asked = world.now()
    world.done(ALICE, "request_withdrawal", 0, 5)
    world.wait(asked + DELAY - 1 - world.now())
    return ALICE, "withdraw", 0


@refuses("withdraw: token refused the transfer")
def _(world: World) -> Call:
    hostile(world, HONEST)
    world.done(ALICE, "request_withdrawal", 0, 5)
    world.send(None, world.tokens[0], "set_mood", 1 << REFUSING)
    world.wait(DELAY)
    return ALICE, "withdraw", 0


# Cancellation


@refuses("request_cancel: word is 2**96 or more")
def _(_: World) -> Call:
    return ALICE, "request_cancel", 2**96, 1


@refuses("request_cancel: mask is zero")
def _(_: World) -> Call:
    return ALICE, "request_cancel", 0, 0


@refuses("finalize_cancel: nothing was requested")
def _(world: World) -> Call:
    world.done(ALICE, "request_cancel", 0, 1)
    world.wait(DELAY)
    return ALICE, "finalize_cancel", 1


@refuses("finalize_cancel: the delay has not passed")
def _(world: World) -> Call:
    asked = world.now()
    world.done(ALICE, "request_cancel", 0, 1)
    world.wait(asked + DELAY - 1 - world.now())
    return ALICE, "finalize_cancel", 0


# Settlement


def settle(world: World, settlement: Settlement) -> Call:
    return (None, "settle", *world.signed(settlement))


def loose(world: World, **changes: object) -> Settlement:
    """The next settlement with rows that the library would refuse."""
    fields = {name: getattr(world.settlement(), name) for name in Settlement.__slots__}
    return unchecked(Settlement, **(fields | changes))


def delta(token: int, account: PrivateKey, amount: int) -> Delta:
    return unchecked(Delta, token=token, account=address_of(account), amount=amount)


@refuses("settle: settling is paused")
def _(world: World) -> Call:
    world.done(GUARDIAN, "pause_settling")
    return settle(world, world.settlement())


@refuses("settle: id is not the next one")
def _(world: World) -> Call:
    return settle(world, world.settlement(id=2))


@refuses("settle: epoch is not the present one")
def _(world: World) -> Call:
    return settle(world, world.settlement(epoch=2))


@refuses("settle: sealed in the future")
def _(world: World) -> Call:
    return settle(world, world.settlement(sealed_at=world.now() + 1))


@refuses("settle: the window has closed")
def _(world: World) -> Call:
    return settle(world, world.settlement(sealed_at=world.now() - WINDOW - 1))


@refuses("settle: nullifier rows are not strictly ascending")
def _(world: World) -> Call:
    return settle(world, loose(world, nullifiers=(row(ALICE, 1, 1), row(ALICE, 1, 2))))


@refuses("settle: nullifier mask is zero")
def _(world: World) -> Call:
    return settle(world, loose(world, nullifiers=(row(ALICE, 1, 0),)))


@refuses("settle: nullifier is already used")
def _(world: World) -> Call:
    world.done(None, "settle", *world.signed(world.settlement(spent=[(ALICE, 7), (BOB, 7)])))
    return settle(world, world.settlement(spent=[(ALICE, 7), (ALICE, 8)]))


@refuses("settle: delta rows are not strictly ascending")
def _(world: World) -> Call:
    world.hold(ALICE, 0, 10)
    return settle(world, loose(world, deltas=(delta(0, ALICE, -1), delta(0, ALICE, 1))))


@refuses("settle: deltas of a token do not sum to zero")
def _(world: World) -> Call:
    world.hold(ALICE, 0, 10)
    world.hold(ALICE, 1, 10)
    first, second = sorted((ALICE, BOB), key=address_of)
    amounts = {ALICE: -4, BOB: 5}
    rows = [delta(0, ALICE, -1), *(delta(1, owner, amounts[owner]) for owner in (first, second))]
    return settle(world, loose(world, deltas=tuple(rows)))


@refuses("settle: delta is zero")
def _(world: World) -> Call:
    return settle(world, loose(world, deltas=(delta(0, ALICE, 0),)))


@refuses("settle: a balance would reach 2**64 quanta")
def _(world: World) -> Call:
    return settle(world, loose(world, deltas=(delta(0, ALICE, 2**64),)))


@refuses("settle: a balance would be negative")
def _(world: World) -> Call:
    world.hold(ALICE, 0, 10)
    world.hold(CAROL, 0, 10)
    return settle(world, world.settlement({(0, ALICE): -11, (0, BOB): 11}))


@refuses("settle: token is not registered")
def _(world: World) -> Call:
    return settle(world, loose(world, deltas=(delta(2, ALICE, 1),)))


# Contests


def convicted(world: World) -> tuple[Ground, Case]:
    """Carol got 5 quanta of Alice for nothing, and Alice has shown it."""
    ground = Ground(world)
    world.hold(ALICE, 1, 10)
    case = ground.settled([a_round([], 3)], {(1, ALICE): -5, (1, CAROL): 5})
    ground.contest(ALICE, ground.found(case, ALICE, []))
    return ground, case


def unwind(case: Case, **changes: object) -> Call:
    number, settled_at, root, transcript, _, nullifiers = case.record.words
    fields = {
        "id": number,
        "settled_at": settled_at,
        "root": root,
        "transcript": transcript,
        "deltas": [row.packed() for row in case.record.deltas],
        "nullifiers": nullifiers,
    }
    assert changes.keys() <= fields.keys()
    return (None, "unwind", *(fields | changes).values())


@refuses("settle: the committee is frozen")
def _(world: World) -> Call:
    convicted(world)
    return settle(world, world.settlement())


@refuses("settle: settlements of a frozen committee are being unwound")
def _(world: World) -> Call:
    """The delays rule it out, if the arbiter does not convict what is older than one of them."""
    puppet = compile_code(PUPPET, output_formats=["abi", "bytecode"])
    arbiter = world.deploy(puppet["abi"], puppet["bytecode"])
    world.use(world.deploy_artifact("Vault", *world.terms(arbiter=arbiter.address)))
    for _ in range(2):
        world.done(None, "settle", *world.signed(world.settlement()))
    world.done(None, "propose_committee", *world.proposal())
    assert world.send(NOBODY, arbiter, "convict", world.vault.address, 2, world.now()).status == 1
    ready_at = world.vault.functions.proposal().call()[3]
    world.wait(ready_at - world.now() - 20)
    assert world.send(NOBODY, arbiter, "convict", world.vault.address, 1, world.now()).status == 1
    world.wait(ready_at - world.now())
    world.done(None, "activate_committee")
    return (None, "settle", *world.signed(world.settlement(), NEXT_MEMBERS))


@refuses("withdraw: settlements since a false one are being unwound")
def _(world: World) -> Call:
    world.hold(CAROL, 1, 5)
    ground = Ground(world)
    world.hold(ALICE, 1, 10)
    case = ground.settled([a_round([], 3)], {(1, ALICE): -5, (1, CAROL): 5})
    world.done(CAROL, "request_withdrawal", 1, 10)
    world.wait(DELAY - 10)
    ground.contest(ALICE, ground.found(case, ALICE, []))
    world.wait(DELAY - 10)
    return CAROL, "withdraw", 1


@refuses("convict: the caller is not the arbiter")
def _(world: World) -> Call:
    return MEMBERS[0], "convict", 1, world.now()


@refuses("unwind: nothing is to be unwound, or not any more")
def _(world: World) -> Call:
    _, case = convicted(world)
    world.wait(DELAY)
    return unwind(case)


@refuses("unwind: the settlement is not the next one")
def _(world: World) -> Call:
    return unwind(convicted(world)[1], id=2)


@refuses("unwind: the settlement was another")
def _(world: World) -> Call:
    return unwind(convicted(world)[1], deltas=[])


# Signatures


def with_signatures(world: World, signatures: list[bytes]) -> Call:
    return None, "settle", world.settlement().packed(), signatures


def three(world: World) -> list[bytes]:
    return [bytes(signature) for signature in world.signed(world.settlement())[1]]


@refuses("signatures: fewer than 2t + 1")
def _(world: World) -> Call:
    return with_signatures(world, three(world)[:2])


@refuses("signatures: not 65 bytes")
def _(world: World) -> Call:
    first, *others = three(world)
    return with_signatures(world, [first[:64], *others])


@refuses("signatures: s is above half the group order")
def _(world: World) -> Call:
    first, *others = three(world)
    s = ORDER - int.from_bytes(first[32:64])
    return with_signatures(world, [first[:32] + s.to_bytes(32) + bytes([55 - first[64]]), *others])


@refuses("signatures: v is neither 27 nor 28")
def _(world: World) -> Call:
    first, *others = three(world)
    return with_signatures(world, [first[:64] + bytes([first[64] - 27]), *others])


@refuses("signatures: no signer recovers")
def _(world: World) -> Call:
    first, *others = three(world)
    return with_signatures(world, [bytes(32) + first[32:], *others])


@refuses("signatures: signers are not strictly ascending")
def _(world: World) -> Call:
    first, second, _ = three(world)
    return with_signatures(world, [first, second, second])


@refuses("signatures: signer is not a member")
def _(world: World) -> Call:
    return (None, "settle", *world.signed(world.settlement(), [*MEMBERS[:2], NOBODY]))


# Committee


@refuses("committee: threshold is zero")
def _(world: World) -> Call:
    return (None, "propose_committee", *world.proposal(threshold=0))


@refuses("committee: fewer than 2t + 1 members")
def _(world: World) -> Call:
    return (None, "propose_committee", *world.proposal(threshold=3))


@refuses("committee: guardian is zero")
def _(world: World) -> Call:
    members, threshold, _, signatures = world.proposal()
    return None, "propose_committee", members, threshold, "0x" + "0" * 40, signatures


@refuses("committee: members are not strictly ascending")
def _(world: World) -> Call:
    return (None, "propose_committee", *world.proposal(members=[*MEMBERS[:2], *MEMBERS[1:]]))


@refuses("activate_committee: nothing was proposed")
def _(_: World) -> Call:
    return None, "activate_committee"


@refuses("activate_committee: the delay has not passed")
def _(world: World) -> Call:
    asked = world.now()
    world.done(None, "propose_committee", *world.proposal())
    world.wait(asked + COMMITTEE_DELAY - 1 - world.now())
    return None, "activate_committee"


@refuses("pause_settling: the caller is not the guardian")
def _(_: World) -> Call:
    return NOBODY, "pause_settling"


@refuses("pause_settling: settling is paused already")
def _(world: World) -> Call:
    world.done(GUARDIAN, "pause_settling")
    return GUARDIAN, "pause_settling"


@refuses("resume_settling: the caller is not the guardian")
def _(world: World) -> Call:
    world.done(GUARDIAN, "pause_settling")
    return NOBODY, "resume_settling"


@refuses("resume_settling: settling is not paused")
def _(_: World) -> Call:
    return GUARDIAN, "resume_settling"


# Views


@refuses("balance_of: token is not registered")
def _(_: World) -> Call:
    return ALICE, "balance_of", len(QUANTA), address_hex(address_of(ALICE))


@refuses("nullifiers: word is 2**96 or more")
def _(_: World) -> Call:
    return ALICE, "nullifiers", address_hex(address_of(ALICE)), 2**96


@pytest.mark.parametrize("reason", CASES)
def test_refused_with_its_reason_and_without_effect(world: World, reason: str) -> None:
    world.refused(reason, *CASES[reason](world))


def test_every_reason_of_the_source_is_provoked_and_means_one_thing() -> None:
    text = b"".join(contracts.sources("Vault").values()).decode()
    reasons = [reason.split("; ")[0] for reason in re.findall(REASON, text, re.MULTILINE)]
    assert len(reasons) == text.count("assert ")  # no check without a reason
    assert set(reasons) == {*CASES, *CREATIONS}
    twice = {reason for reason in reasons if reasons.count(reason) > 1}
    assert twice == {
        "deposit: total would reach 2**64 quanta",
        "settle: deltas of a token do not sum to zero",
    }


def test_a_signature_for_another_settlement_does_not_count(world: World) -> None:
    settlement, other = world.settlement(), world.settlement(root=TRANSCRIPT, transcript=ROOT)
    signatures = [
        sign(other if member == MEMBERS[0] else settlement, world.domain, member) for member in MEMBERS[:3]
    ]
    assert world.reason(None, "settle", settlement.packed(), signatures).startswith("signatures: signer")

"""A committee is replaced by its own quorum, after a delay, and in no other way."""

from __future__ import annotations

import pytest

import contracts
from darkpool.types import PrivateKey
from tests.contracts.world import (
    ALICE,
    BOB,
    COMMITTEE_DELAY,
    DELAY,
    GUARDIAN,
    MEMBERS,
    NEXT_GUARDIAN,
    NEXT_MEMBERS,
    NOBODY,
    WINDOW,
    World,
    addresses,
)


def test_the_quorum_hands_over_after_the_delay_to_the_second(world: World) -> None:
    asked = world.now()
    world.done(NOBODY, "propose_committee", *world.proposal())
    assert world.vault.functions.proposal().call()[0] == 2
    world.done(None, "settle", *world.signed(world.settlement(spent=[(ALICE, 0)])))
    world.wait(asked + COMMITTEE_DELAY - 1 - world.now())
    world.refused("activate_committee: the delay has not passed", NOBODY, "activate_committee")
    world.done(NOBODY, "activate_committee")
    assert world.vault.functions.epoch().call() == 2
    assert world.vault.functions.threshold().call() == 2
    assert world.vault.functions.members().call() == addresses(NEXT_MEMBERS)
    assert world.vault.functions.guardian().call() == addresses([NEXT_GUARDIAN])[0]
    assert world.vault.functions.proposal().call() == (0, 0, "0x" + "0" * 40, 0, [])
    world.refused("activate_committee: nothing was proposed", NOBODY, "activate_committee")

    old = world.signed(world.settlement(spent=[(ALICE, 1)]), MEMBERS)
    world.refused("signatures: fewer than 2t + 1", None, "settle", *old)
    mixed = world.signed(world.settlement(), [*NEXT_MEMBERS[:4], MEMBERS[0]])
    world.refused("signatures: signer is not a member", None, "settle", *mixed)
    world.refused(
        "settle: epoch is not the present one", None, "settle", *world.signed(world.settlement(epoch=1))
    )
    world.done(None, "settle", *world.signed(world.settlement(spent=[(ALICE, 1)]), NEXT_MEMBERS))


def test_a_proposal_needs_a_quorum_of_the_present_committee(world: World) -> None:
    refused = {
        "signatures: fewer than 2t + 1": MEMBERS[:2],
        "signatures: signer is not a member": [*MEMBERS[:2], NOBODY],
        "signatures: signers are not strictly ascending": [MEMBERS[0], MEMBERS[0], MEMBERS[1]],
    }
    for reason, signers in refused.items():
        world.refused(reason, None, "propose_committee", *world.proposal(signers=signers))


def test_a_replaced_proposal_cannot_be_sent_again(world: World) -> None:
    first = world.proposal()
    world.done(None, "propose_committee", *first)
    world.wait(COMMITTEE_DELAY // 2)
    second = world.proposal(members=NEXT_MEMBERS[:3], threshold=1)
    world.done(None, "propose_committee", *second)
    for stale in (first, second):
        reason = world.reason(NOBODY, "propose_committee", *stale)
        assert reason.split("; ")[0] in {
            "signatures: signer is not a member",
            "signatures: signers are not strictly ascending",
        }
    world.wait(COMMITTEE_DELAY // 2)
    world.refused("activate_committee: the delay has not passed", None, "activate_committee")
    world.wait(COMMITTEE_DELAY)
    world.done(None, "activate_committee")
    assert world.vault.functions.members().call() == addresses(NEXT_MEMBERS[:3])
    assert world.vault.functions.epoch().call() == 3


def test_a_member_who_returns_is_a_member_again(world: World) -> None:
    changes = (NEXT_MEMBERS, 2, MEMBERS[:3]), (MEMBERS, 1, NEXT_MEMBERS)
    for members, threshold, signers in changes:
        world.done(None, "propose_committee", *world.proposal(members, threshold, signers))
        world.wait(COMMITTEE_DELAY)
        world.done(None, "activate_committee")
    world.done(None, "settle", *world.signed(world.settlement(spent=[(ALICE, 0)])))


def test_a_quorum_cannot_be_told_another_guardian(world: World) -> None:
    members, threshold, _, signatures = world.proposal()
    mallory = addresses([NOBODY])[0]
    reason = world.reason(None, "propose_committee", members, threshold, mallory, signatures)
    assert reason.startswith("signatures: signer")


def test_a_paused_vault_settles_nothing_and_does_everything_else(world: World) -> None:
    world.hold(ALICE, 0, 10)
    sealed = world.settlement({(0, ALICE): -4, (0, BOB): 4}, [(ALICE, 0)])
    world.done(GUARDIAN, "pause_settling")
    world.refused("settle: settling is paused", None, "settle", *world.signed(sealed))
    world.hold(BOB, 0, 1)
    world.done(ALICE, "request_withdrawal", 0, 10)
    world.done(ALICE, "request_cancel", 0, 1)
    world.done(None, "propose_committee", *world.proposal())
    world.wait(DELAY)
    world.done(ALICE, "withdraw", 0)
    world.done(ALICE, "finalize_cancel", 0)
    assert (world.balance(ALICE, 0), world.balance(BOB, 0), world.bits(ALICE, 0)) == (0, 1, 1)


def test_a_resumed_vault_takes_what_waited_within_its_window(world: World) -> None:
    first, second = world.settlement(spent=[(ALICE, 0)]), world.settlement(spent=[(ALICE, 1)], id=2)
    world.done(GUARDIAN, "pause_settling")
    world.wait(WINDOW // 2)
    world.done(GUARDIAN, "resume_settling")
    world.done(None, "settle", *world.signed(first))
    world.done(GUARDIAN, "pause_settling")
    world.wait(WINDOW)
    world.done(GUARDIAN, "resume_settling")
    world.refused("settle: the window has closed", None, "settle", *world.signed(second))
    assert world.bits(ALICE, 0) == 1


@pytest.mark.parametrize(
    "caller",
    [NOBODY, MEMBERS[0], NEXT_GUARDIAN, ALICE, None],
    ids=["nobody", "member", "next guardian", "account", "deployer"],
)
def test_nobody_but_the_guardian_pauses_or_resumes(world: World, caller: PrivateKey | None) -> None:
    world.refused("pause_settling: the caller is not the guardian", caller, "pause_settling")
    world.done(GUARDIAN, "pause_settling")
    world.refused("resume_settling: the caller is not the guardian", caller, "resume_settling")


def test_a_committee_that_replaces_a_guardian_who_paused_goes_on(world: World) -> None:
    world.done(GUARDIAN, "pause_settling")
    world.done(None, "propose_committee", *world.proposal())
    world.wait(COMMITTEE_DELAY)
    world.done(None, "activate_committee")
    sealed = world.signed(world.settlement(spent=[(ALICE, 0)]), NEXT_MEMBERS)
    world.refused("settle: settling is paused", None, "settle", *sealed)
    world.refused("resume_settling: the caller is not the guardian", GUARDIAN, "resume_settling")
    world.done(NEXT_GUARDIAN, "resume_settling")
    world.done(None, "settle", *sealed)


def test_the_guardian_can_call_nothing_that_others_cannot(world: World) -> None:
    """All it may change is one flag: the storage after pausing and resuming is the one before."""
    before = world.storage()
    world.done(GUARDIAN, "pause_settling")
    assert world.storage() != before
    world.done(GUARDIAN, "resume_settling")
    assert world.storage() == before


def test_no_function_beside_these_changes_state() -> None:
    """No owner, no upgrade, no change of delays: a new mutating function has to be added here knowingly."""
    mutating = {
        entry["name"]
        for entry in contracts.load("Vault").abi
        if entry["type"] == "function" and entry["stateMutability"] not in {"view", "pure"}
    }
    assert mutating == {
        "deposit",
        "request_withdrawal",
        "withdraw",
        "request_cancel",
        "finalize_cancel",
        "settle",
        "propose_committee",
        "activate_committee",
        "pause_settling",
        "resume_settling",
        "convict",
        "unwind",
    }

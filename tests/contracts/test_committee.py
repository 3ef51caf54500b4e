"""A committee is replaced by its own quorum, after a delay, and in no other way."""

from __future__ import annotations

import contracts
from tests.contracts.world import ALICE, COMMITTEE_DELAY, MEMBERS, NEXT_MEMBERS, NOBODY, World, addresses


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
    assert world.vault.functions.proposal().call() == (0, 0, 0, [])
    world.refused("activate_committee: nothing was proposed", NOBODY, "activate_committee")

    old = world.signed(world.settlement(spent=[(ALICE, 1)]), MEMBERS)
    assert world.reason(None, "settle", *old) == "signatures: fewer than 2t + 1"
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
        assert reason in {
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
    for members, threshold, signers in ((NEXT_MEMBERS, 2, MEMBERS[:3]), (MEMBERS, 1, NEXT_MEMBERS)):
        world.done(None, "propose_committee", *world.proposal(members, threshold, signers))
        world.wait(COMMITTEE_DELAY)
        world.done(None, "activate_committee")
    world.done(None, "settle", *world.signed(world.settlement(spent=[(ALICE, 0)])))


def test_no_function_beside_these_changes_state() -> None:
    """No owner, no pause, no upgrade: a new mutating function has to be added here knowingly."""
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
    }

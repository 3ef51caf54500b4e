"""The events suffice: balances, bits, requests, committee, guardian and pause, rebuilt from the log alone."""

from __future__ import annotations

from tests.contracts.rebuilt import Rebuilt
from tests.contracts.world import (
    ACCOUNTS,
    ALICE,
    BOB,
    CAROL,
    COMMITTEE_DELAY,
    GUARDIAN,
    NEXT_GUARDIAN,
    NEXT_MEMBERS,
    QUANTA,
    World,
    addresses,
)

A, B, C = addresses(ACCOUNTS)


def equals_the_contract(world: World) -> Rebuilt:
    """What the views say and what the log says is the same."""
    found, view = Rebuilt(world.vault, world.logs), world.vault.functions
    for account in addresses(ACCOUNTS):
        for token in range(len(QUANTA)):
            assert view.balance_of(token, account).call() == found.balances[token, account]
            request = view.withdrawal_requests(account, token).call()
            assert tuple(request) == found.withdrawals.get((account, token), (0, 0))
        for word in (0, 1):
            assert view.nullifiers(account, word).call() == found.bits[account, word]
            assert tuple(view.cancel_requests(account, word).call()) == found.cancels.get(
                (account, word), (0, 0)
            )
    for token in range(len(QUANTA)):
        owed = sum(quanta for (number, _), quanta in found.balances.items() if number == token)
        assert view.total_quanta(token).call() == owed
    assert view.next_id().call() == found.settled + 1
    assert view.paused().call() == found.paused
    assert found.committee == tuple(
        getter().call() for getter in (view.epoch, view.members, view.threshold, view.guardian)
    )
    epoch, threshold, guardian, ready_at, members = view.proposal().call()
    assert found.proposal == ((epoch, members, threshold, guardian, ready_at) if epoch else ())
    return found


def test_the_log_rebuilds_everything(world: World) -> None:
    world.hold(ALICE, 0, 100)
    world.hold(BOB, 1, 50)
    nets = {(0, ALICE): -30, (0, CAROL): 30, (1, BOB): -5, (1, ALICE): 5}
    world.done(None, "settle", *world.signed(world.settlement(nets, [(ALICE, 0), (BOB, 300)])))
    world.done(ALICE, "request_withdrawal", 0, 1_000)
    world.done(CAROL, "request_withdrawal", 0, 3)
    world.done(ALICE, "request_cancel", 0, 0b110)
    world.done(ALICE, "request_cancel", 0, 0b1000)
    world.done(BOB, "request_cancel", 1, 1)
    world.done(GUARDIAN, "pause_settling")
    world.done(None, "propose_committee", *world.proposal())
    found = equals_the_contract(world)
    assert found.paused
    assert found.proposal[0] == 2
    assert found.cancels[A, 0][0] == 0b1110

    world.wait(COMMITTEE_DELAY)
    world.done(ALICE, "withdraw", 0)
    world.done(ALICE, "finalize_cancel", 0)
    world.done(None, "activate_committee")
    world.done(NEXT_GUARDIAN, "resume_settling")
    world.done(None, "settle", *world.signed(world.settlement({(0, CAROL): -1, (0, BOB): 1}), NEXT_MEMBERS))
    world.done(
        None, "propose_committee", *world.proposal(NEXT_MEMBERS[:3], 1, NEXT_MEMBERS, guardian=GUARDIAN)
    )
    found = equals_the_contract(world)
    assert not found.paused
    assert (found.balances[0, A], found.balances[0, B], found.balances[0, C]) == (0, 1, 29)
    assert found.bits[A, 0] == 0b1111
    assert set(found.withdrawals) == {(C, 0)}

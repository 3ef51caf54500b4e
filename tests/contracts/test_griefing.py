"""Whoever sees a bad fill coming, or merely wants to annoy: the sealed settlement stands all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from vyper.compiler import compile_code

from darkpool.chain_events import MAX_EVENTS
from darkpool.settlement import Settlement
from darkpool.types import PrivateKey
from tests.contracts.world import (
    ALICE,
    BOB,
    CAROL,
    COMMITTEE_DELAY,
    DELAY,
    FINALITY,
    MEMBERS,
    NOBODY,
    QUANTA,
    WINDOW,
    World,
    addresses,
)

FULL: Final = 2**64 - 1


@pytest.fixture
def sealed(world: World) -> Settlement:
    """Alice gives all she has of token 0 to Bob, and loses by it."""
    world.hold(ALICE, 0, 1_000)
    world.hold(BOB, 1, 1_000)
    nets = {(0, ALICE): -1_000, (0, BOB): 1_000, (1, ALICE): 1, (1, BOB): -1}
    return world.settlement(nets, [(ALICE, 0), (ALICE, 255), (BOB, 7)])


def stands(world: World, settlement: Settlement, sender: PrivateKey | None = None) -> None:
    world.done(sender, "settle", *world.signed(settlement))
    assert (world.balance(ALICE, 0), world.balance(ALICE, 1)) == (0, 1)
    assert world.balance(BOB, 0) >= 1_000
    assert world.bits(ALICE, 0) & (1 | 1 << 255) == 1 | 1 << 255


@pytest.mark.parametrize("early", [0, FINALITY])
def test_a_cancellation_after_seeing_a_bad_fill_comes_too_late(
    world: World, sealed: Settlement, early: int
) -> None:
    """Also one made up to FINALITY before the sealing, which the venue could not have seen."""
    world.done(ALICE, "request_cancel", 0, 2**256 - 1)
    late = world.settlement(deltas=sealed.deltas, nullifiers=sealed.nullifiers, sealed_at=world.now() + early)
    world.wait(early + WINDOW - 1)
    world.refused("finalize_cancel: the delay has not passed", ALICE, "finalize_cancel", 0)
    stands(world, late)


@pytest.mark.parametrize("early", [0, FINALITY])
def test_a_withdrawal_after_seeing_a_bad_fill_comes_too_late(
    world: World, sealed: Settlement, early: int
) -> None:
    world.done(ALICE, "request_withdrawal", 0, 1_000)
    late = world.settlement(deltas=sealed.deltas, nullifiers=sealed.nullifiers, sealed_at=world.now() + early)
    world.wait(early + WINDOW - 1)
    world.refused("withdraw: the delay has not passed", ALICE, "withdraw", 0)
    stands(world, late)
    world.wait(DELAY)
    world.done(ALICE, "withdraw", 0)  # pays what is left: nothing


@pytest.mark.parametrize("early", [-1, 1], ids=["too late", "in time"])
def test_an_activation_ends_what_the_committee_before_signed(
    world: World, sealed: Settlement, early: int
) -> None:
    """Anyone may activate, so a venue seals nothing that is not late by then (darkpool/timing.py)."""
    ready_at = world.now() + COMMITTEE_DELAY
    world.done(None, "propose_committee", *world.proposal())
    last = world.settlement(
        deltas=sealed.deltas, nullifiers=sealed.nullifiers, sealed_at=ready_at - WINDOW - early
    )
    if early > 0:
        world.wait(ready_at - 2 - world.now())
        world.refused("activate_committee: the delay has not passed", NOBODY, "activate_committee")
        stands(world, last)  # in the last second of its window
    else:
        world.wait(ready_at - world.now())
        world.done(NOBODY, "activate_committee")
        world.refused("settle: epoch is not the present one", None, "settle", *world.signed(last))


def test_dust_deposits_change_nothing(world: World, sealed: Settlement) -> None:
    for owner in (ALICE, BOB, CAROL):
        world.hold(owner, 1, 1)
    world.send(None, world.tokens[0], "mint", world.vault.address, 1)  # not even a quantum, and nobody's
    world.done(None, "settle", *world.signed(sealed))
    assert [world.balance(a, 1) for a in (ALICE, BOB, CAROL)] == [2, 1_000, 1]


def test_jumping_nonces_change_nothing(world: World, sealed: Settlement) -> None:
    """Requests for words far away, for the next one, and a bit of a settlement that uses the last word."""
    for word in (1, 2**32, 2**96 - 1):
        world.done(ALICE, "request_cancel", word, 2**256 - 1)
    world.wait(WINDOW - 60)
    stands(world, sealed)
    jumped = world.settlement(spent=[(ALICE, 2**104 - 1)])
    world.done(None, "settle", *world.signed(jumped))
    assert world.bits(ALICE, 2**96 - 1) == 1 << 255


@pytest.mark.parametrize("depositor", [ALICE, BOB, CAROL])
def test_a_deposit_in_front_cannot_make_a_balance_overflow(
    world: World, sealed: Settlement, depositor: PrivateKey
) -> None:
    """All that fits the token's total fits any one balance, whoever holds it."""
    room = FULL - world.number(world.vault, "total_quanta", 0)
    world.send(None, world.tokens[0], "mint", *addresses([depositor]), FULL * QUANTA[0])
    world.send(depositor, world.tokens[0], "approve", world.vault.address, FULL * QUANTA[0])
    world.done(depositor, "deposit", 0, room)
    world.refused("deposit: total would reach 2**64 quanta", depositor, "deposit", 0, 1)
    world.done(None, "settle", *world.signed(sealed))
    assert sum(world.balance(a, 0) for a in (ALICE, BOB, CAROL)) == FULL


FLOOD: Final = """
interface Vault:
    def request_cancel(word: uint256, mask: uint256): nonpayable
    def request_withdrawal(token: uint256, quanta: uint256): nonpayable

@external
def cancels(vault: address, words: uint256):
    for word: uint256 in range(words, bound=256):
        extcall Vault(vault).request_cancel(word, 1)

@external
def withdrawals(vault: address, tokens: uint256):
    for token: uint256 in range(tokens, bound=8):
        extcall Vault(vault).request_withdrawal(token, 1)
"""


@pytest.mark.parametrize("function, few, many", [("cancels", 100, 200), ("withdrawals", 1, 2)])
def test_no_block_of_300_million_gas_holds_more_events_than_an_entry_of_the_log(
    world: World, function: str, few: int, many: int
) -> None:
    """The cheapest that merge with no other: requests renewed in a loop, each of another word or token."""
    output = compile_code(FLOOD, output_formats=["abi", "bytecode"])
    flood, vault = world.deploy(output["abi"], output["bytecode"]), world.vault.address
    used = {}
    for count in (many, few, many):  # the first time is dearer, and may have been in an earlier block
        world.wait(60)
        used[count] = world.send(NOBODY, flood, function, vault, count).gas
    each = (used[many] - used[few]) / (many - few)
    assert 9_000 < each < 14_500  # a request for withdrawal also looks at balances
    assert MAX_EVENTS * each > 350_000_000


def other_quorum(world: World, settlement: Settlement) -> tuple[object, ...]:
    return world.signed(settlement, MEMBERS[1:])


def all_members(world: World, settlement: Settlement) -> tuple[object, ...]:
    return world.signed(settlement, MEMBERS)


@pytest.mark.parametrize("sent", [other_quorum, all_members])
def test_a_front_runner_with_other_signatures_settles_the_same(
    world: World, sealed: Settlement, sent: Callable[[World, Settlement], tuple[object, ...]]
) -> None:
    world.done(NOBODY, "settle", *sent(world, sealed))
    assert (world.balance(ALICE, 0), world.balance(BOB, 0)) == (0, 1_000)
    world.refused("settle: id is not the next one", None, "settle", *world.signed(sealed))


def test_a_front_runner_with_too_few_signatures_or_other_rows_changes_nothing(
    world: World, sealed: Settlement
) -> None:
    packed, signatures = world.signed(sealed)
    assert world.send(NOBODY, world.vault, "settle", packed, signatures[:2]).status == 0
    other = (*packed[:5], [], packed[6])
    assert world.send(NOBODY, world.vault, "settle", other, signatures).status == 0
    stands(world, sealed, NOBODY)

"""Tokens that do not do what one expects: each harms its own holders at most, and all of them alike."""

from __future__ import annotations

import random

import pytest

from darkpool.types import PrivateKey, address_hex
from tests.contracts.world import ACCOUNTS, ALICE, BOB, CAROL, DELAY, MEMBERS, World, address_of, addresses


def units(world: World, holder: str) -> int:
    return world.number(world.tokens[0], "balanceOf", holder)


def wallet(world: World, account: PrivateKey) -> int:
    return units(world, address_hex(address_of(account)))


def enter(world: World, account: PrivateKey, quanta: int, quantum: int = 1) -> None:
    """Mint, approve if the token knows approvals, and deposit."""
    token = world.tokens[0]
    world.send(None, token, "mint", *addresses([account]), quanta * quantum)
    if token.find_functions_by_name("approve"):
        world.send(account, token, "approve", world.vault.address, quanta * quantum)
    world.done(account, "deposit", 0, quanta)


def leave(world: World, *accounts: PrivateKey) -> list[int]:
    """Withdraw everything, one after the other; what each wallet got."""
    before = [wallet(world, account) for account in accounts]
    for account in accounts:
        world.done(account, "request_withdrawal", 0, 2**64)
    world.wait(DELAY)
    for account in accounts:
        world.done(account, "withdraw", 0)
        assert world.balance(account, 0) == 0
    return [wallet(world, account) - old for account, old in zip(accounts, before, strict=True)]


def test_token_that_returns_nothing_and_keeps_a_fee_is_credited_as_arrived(world: World) -> None:
    token = world.use_token("SilentToken", 100)
    enter(world, ALICE, 100, 100)
    world.send(None, token, "set_fee", 50)  # 0.5 %
    enter(world, ALICE, 100, 100)  # 9,950 units arrive
    assert world.balance(ALICE, 0) == 199
    assert leave(world, ALICE) == [19_900 - 99]  # the fee is on the way out too
    assert units(world, world.vault.address) == 50  # the dust of the second deposit


def test_fee_on_sending_is_shared_by_those_who_stay(world: World) -> None:
    token = world.use_token("SilentToken", 1)
    for account in (ALICE, BOB, CAROL):
        enter(world, account, 1_000)
    world.send(None, token, "set_surcharge", 1_000)  # the vault pays 10 % on top
    assert leave(world, ALICE) == [1_000]
    assert units(world, world.vault.address) == 1_900  # owed are 2,000
    assert leave(world, BOB) == [950]
    assert units(world, world.vault.address) == 1_900 - 950 - 95


def test_token_that_refuses_or_fails_changes_nothing_and_may_be_tried_again(world: World) -> None:
    token = world.use_token("HostileToken", 1)
    enter(world, ALICE, 100)
    world.send(None, token, "mint", *addresses([ALICE]), 100)
    world.done(ALICE, "request_withdrawal", 0, 100)
    world.wait(DELAY)
    for mood, reasons in (
        (1, ("deposit: token refused the transfer", "withdraw: token refused the transfer")),
        (4, ("token: not today", "token: not today")),
    ):
        world.send(None, token, "set_mood", 1 << mood)
        world.refused(reasons[0], ALICE, "deposit", 0, 10)
        world.refused(reasons[1], ALICE, "withdraw", 0)
    world.send(None, token, "set_mood", 1)
    world.done(ALICE, "withdraw", 0)
    assert wallet(world, ALICE) == 200


def test_token_that_boasts_is_not_credited_beyond_what_was_asked(world: World) -> None:
    token = world.use_token("HostileToken", 1)
    world.send(None, token, "set_mood", 1 << 3)
    enter(world, ALICE, 100)
    assert world.balance(ALICE, 0) == 100


def test_token_that_grows_leaves_the_gain_in_the_vault(world: World) -> None:
    token = world.use_token("RebasingToken", 1)
    enter(world, ALICE, 1_000)
    world.send(None, token, "rebase", 2_000_000)
    enter(world, BOB, 300)
    assert leave(world, ALICE, BOB) == [1_000, 300]
    assert units(world, world.vault.address) == 1_000


def test_token_that_shrinks_pays_all_alike_whoever_is_first(world: World) -> None:
    token = world.use_token("RebasingToken", 1)
    enter(world, ALICE, 6_000)
    enter(world, BOB, 3_000)
    world.send(None, token, "rebase", 500_000)
    world.refused("deposit: the vault holds less of this token than it owes", BOB, "deposit", 0, 1)
    world.done(None, "settle", *world.signed(world.settlement({(0, ALICE): -3_000, (0, CAROL): 3_000})))
    assert leave(world, BOB, CAROL, ALICE) == [1_500, 1_500, 1_500]


def test_a_shortfall_that_is_made_good_is_forgotten(world: World) -> None:
    token = world.use_token("RebasingToken", 10)
    enter(world, ALICE, 100, 10)
    world.send(None, token, "rebase", 500_000)
    world.refused("deposit: the vault holds less of this token than it owes", ALICE, "deposit", 0, 1)
    world.send(None, token, "mint", world.vault.address, 500)
    enter(world, BOB, 50, 10)
    assert leave(world, ALICE) == [1_000]


def test_nothing_left_pays_nothing_and_closes_the_request(world: World) -> None:
    token = world.use_token("HostileToken", 1)
    enter(world, ALICE, 7)
    world.send(None, token, "burn", world.vault.address, 7)
    assert leave(world, ALICE) == [0]
    assert world.number(world.vault, "total_quanta", 0) == 0


def test_rounding_favours_those_who_stay(world: World) -> None:
    token = world.use_token("HostileToken", 1)
    for account in ACCOUNTS:
        enter(world, account, 1)
    world.send(None, token, "burn", world.vault.address, 1)
    assert leave(world, *ACCOUNTS) == [0, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_pro_rata_neither_favours_the_first_nor_pays_more_than_there_is(world: World, seed: int) -> None:
    rng = random.Random(seed)
    quantum = rng.choice([1, 10, 997])
    token = world.use_token("HostileToken", quantum)
    amounts = [rng.randrange(1, 10**6) for _ in ACCOUNTS]
    for account, amount in zip(ACCOUNTS, amounts, strict=True):
        enter(world, account, amount, quantum)
    owed = sum(amounts) * quantum
    held = rng.randrange(owed)
    world.send(None, token, "burn", world.vault.address, owed - held)
    for account, amount, paid in zip(ACCOUNTS, amounts, leave(world, *ACCOUNTS), strict=True):
        assert amount * held // sum(amounts) <= paid <= amount * held // sum(amounts) + len(ACCOUNTS), account
    assert units(world, world.vault.address) == 0


@pytest.mark.parametrize("call", ["deposit", "withdraw", "settle"])
@pytest.mark.parametrize("function", ["deposit", "withdraw"])
def test_token_cannot_call_back_into_the_vault(world: World, call: str, function: str) -> None:
    token = world.use_token("HostileToken", 1)
    enter(world, ALICE, 50)
    world.send(None, token, "mint", *addresses([ALICE]), 50)
    world.send(None, token, "join", world.vault.address, 20)
    world.done(ALICE, "request_withdrawal", 0, 50)
    world.wait(DELAY)
    calls = {
        "deposit": (0, 10),
        "withdraw": (0,),
        "settle": world.signed(world.settlement({(0, ALICE): -5, (0, BOB): 5}), MEMBERS),
    }
    world.send(None, token, "set_callback", world.vault.encode_abi(call, calls[call]))
    before = world.storage()
    assert world.send(ALICE, world.vault, function, *calls[function]).status == 0
    assert world.storage() == before
    # The same call is sound when nothing else is under way.
    world.send(None, token, "set_callback", b"")
    world.done(ALICE, function, *calls[function])

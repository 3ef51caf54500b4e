"""What an account can do by itself: deposit, leave, cancel."""

from __future__ import annotations

from typing import Any

import pytest
from eth_tester.exceptions import TransactionFailed

from darkpool.types import address_hex
from tests.contracts.world import ALICE, BOB, DELAY, QUANTA, WINDOW, World, address_of, addresses


def units(world: World, holder: str, token: int = 0) -> int:
    return int(world.tokens[token].functions.balanceOf(holder).call())


def test_deposit_credits_the_caller_alone(world: World) -> None:
    world.hold(ALICE, 0, 100)
    world.hold(ALICE, 1, 7)
    world.hold(ALICE, 0, 1)
    assert [world.balance(ALICE, token) for token in (0, 1)] == [101, 7]
    assert [world.balance(BOB, token) for token in (0, 1)] == [0, 0]
    assert units(world, world.vault.address) == 101 * QUANTA[0]
    assert world.vault.functions.total_quanta(0).call() == 101


def test_every_lane_of_the_packed_balances_stands_alone(world: World) -> None:
    tokens = [world.deploy_artifact("TestToken", f"T{i}", "T", 6) for i in range(8)]
    world.tokens = tokens
    world.use(world.deploy_artifact("Vault", *world.terms(tokens=[(t.address, 1) for t in tokens])))
    for i, token in enumerate(tokens):
        amount = 2**64 - 1 if i % 3 else 9 + i
        world.send(None, token, "mint", *addresses([ALICE]), amount)
        world.send(ALICE, token, "approve", world.vault.address, amount)
        world.done(ALICE, "deposit", i, amount)
    expected = [2**64 - 1 if i % 3 else 9 + i for i in range(8)]
    assert [world.balance(ALICE, i) for i in range(8)] == expected
    for i in range(8):
        world.done(ALICE, "request_withdrawal", i, 5)
    world.wait(DELAY)
    for i in range(0, 8, 2):
        world.done(ALICE, "withdraw", i)
        expected[i] -= 5
    world.done(
        None,
        "settle",
        *world.signed(world.settlement({(i, ALICE): -3 for i in range(8)} | {(i, BOB): 3 for i in range(8)})),
    )
    assert [world.balance(ALICE, i) for i in range(8)] == [held - 3 for held in expected]
    assert [world.balance(BOB, i) for i in range(8)] == [3] * 8


def test_withdrawal_pays_after_the_delay_to_the_second(world: World) -> None:
    world.hold(ALICE, 0, 100)
    asked = world.now()
    world.done(ALICE, "request_withdrawal", 0, 60)
    world.wait(asked + DELAY - 1 - world.now())
    world.refused("withdraw: the delay has not passed", ALICE, "withdraw", 0)
    assert world.now() == asked + DELAY
    world.done(ALICE, "withdraw", 0)
    assert world.balance(ALICE, 0) == world.number(world.vault, "total_quanta", 0) == 40
    assert units(world, address_hex(address_of(ALICE))) == 60 * QUANTA[0]
    world.refused("withdraw: nothing was requested", ALICE, "withdraw", 0)


def test_withdrawal_pays_no_more_than_is_there(world: World) -> None:
    world.hold(ALICE, 0, 100)
    world.done(ALICE, "request_withdrawal", 0, 2**256 - 1)
    world.done(None, "settle", *world.signed(world.settlement({(0, ALICE): -30, (0, BOB): 30})))
    world.wait(DELAY)
    world.done(ALICE, "withdraw", 0)
    assert (world.balance(ALICE, 0), world.balance(BOB, 0)) == (0, 30)
    assert units(world, address_hex(address_of(ALICE))) == 70 * QUANTA[0]


def test_withdrawal_of_an_empty_balance_closes_the_request(world: World) -> None:
    world.done(ALICE, "request_withdrawal", 0, 5)
    world.wait(DELAY)
    world.done(ALICE, "withdraw", 0)
    world.refused("withdraw: nothing was requested", ALICE, "withdraw", 0)


def test_a_new_withdrawal_request_replaces_the_amount_and_restarts_the_delay(world: World) -> None:
    world.hold(ALICE, 0, 100)
    world.done(ALICE, "request_withdrawal", 0, 90)
    world.wait(DELAY)
    world.done(ALICE, "request_withdrawal", 0, 10)
    world.refused("withdraw: the delay has not passed", ALICE, "withdraw", 0)
    world.wait(DELAY)
    world.done(ALICE, "withdraw", 0)
    assert world.balance(ALICE, 0) == 90


def test_cancellation_burns_the_bits_after_the_delay_to_the_second(world: World) -> None:
    asked = world.now()
    world.done(ALICE, "request_cancel", 3, 0b101)
    world.wait(asked + DELAY - 1 - world.now())
    world.refused("finalize_cancel: the delay has not passed", ALICE, "finalize_cancel", 3)
    assert world.bits(ALICE, 3) == 0
    world.done(ALICE, "finalize_cancel", 3)
    assert (world.bits(ALICE, 3), world.bits(BOB, 3), world.bits(ALICE, 2)) == (0b101, 0, 0)
    burnt = world.settlement(spent=[(ALICE, 3 * 256 + 2)])
    world.refused("settle: nullifier is already used", None, "settle", *world.signed(burnt))


def test_a_new_cancellation_adds_bits_and_restarts_the_delay(world: World) -> None:
    world.done(ALICE, "request_cancel", 0, 0b001)
    world.wait(DELAY)
    world.done(ALICE, "request_cancel", 0, 0b100)
    world.refused("finalize_cancel: the delay has not passed", ALICE, "finalize_cancel", 0)
    world.wait(DELAY)
    world.done(ALICE, "finalize_cancel", 0)
    assert world.bits(ALICE, 0) == 0b101
    world.done(ALICE, "request_cancel", 0, 0b010)
    world.wait(DELAY)
    world.done(ALICE, "finalize_cancel", 0)
    assert world.bits(ALICE, 0) == 0b111
    world.refused("finalize_cancel: nothing was requested", ALICE, "finalize_cancel", 0)


def test_requests_do_not_touch_a_settlement_sealed_before(world: World) -> None:
    world.hold(ALICE, 0, 10)
    sealed = world.settlement({(0, ALICE): -10, (0, BOB): 10}, [(ALICE, 0), (ALICE, 1)])
    world.done(ALICE, "request_withdrawal", 0, 10)
    world.done(ALICE, "request_cancel", 0, 0b11)
    world.wait(sealed.sealed_at + WINDOW - world.now())
    world.done(None, "settle", *world.signed(sealed))
    assert world.bits(ALICE, 0) == 0b11
    world.wait(DELAY)
    world.done(ALICE, "withdraw", 0)
    world.done(ALICE, "finalize_cancel", 0)
    assert (world.balance(BOB, 0), world.bits(ALICE, 0)) == (10, 0b11)


def test_ether_is_refused(world: World) -> None:
    for data in ("0x", world.vault.encode_abi("deposit", (0, 1))):
        call: Any = {
            "from": world.deployer,
            "to": world.vault.address,
            "value": 1,
            "data": data,
            "gas": 100_000,
        }
        with pytest.raises(TransactionFailed):
            world.web3.eth.call(call)
    world.hold(ALICE, 0, 1)

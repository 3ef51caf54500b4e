"""Settlements that apply, all or nothing."""

from __future__ import annotations

import pytest

from darkpool.eip712 import Domain, address_of
from darkpool.settlement import Delta, Settlement, delta_rows, nullifier_rows
from darkpool.types import Nonce, Quanta, TokenIndex
from tests.contracts.world import (
    ALICE,
    BOB,
    CAROL,
    MEMBERS,
    NOBODY,
    WINDOW,
    World,
    key,
    unchecked,
)


def test_applies_deltas_and_nullifiers_and_logs_them(world: World) -> None:
    for token in (0, 1):
        for account in (ALICE, BOB):
            world.hold(account, token, 1_000)
    nets = {(0, ALICE): -300, (0, BOB): 100, (0, CAROL): 200, (1, ALICE): 9, (1, BOB): -9}
    settlement = world.settlement(nets, [(ALICE, 0), (ALICE, 255), (ALICE, 256), (CAROL, 2**40)])
    world.done(NOBODY, "settle", *world.signed(settlement))
    assert [world.balance(a, 0) for a in (ALICE, BOB, CAROL)] == [700, 1_100, 200]
    assert [world.balance(a, 1) for a in (ALICE, BOB, CAROL)] == [1_009, 991, 0]
    assert (world.bits(ALICE, 0), world.bits(ALICE, 1), world.bits(CAROL, 2**32)) == (1 | 1 << 255, 1, 1)
    assert world.vault.functions.next_id().call() == 2
    head = world.web3.eth.block_number
    (event,) = world.vault.events.Settled().get_logs(from_block=head, to_block=head)
    packed = settlement.packed()
    names = ("id", "epoch", "sealed_at", "root", "transcript", "deltas")
    assert tuple(event["args"][name] for name in names) == packed[:6]
    assert [(row["key"], row["mask"]) for row in event["args"]["nullifiers"]] == packed[6]


@pytest.mark.parametrize("signers", [MEMBERS[:3], MEMBERS[1:], (MEMBERS[0], *MEMBERS[2:]), MEMBERS])
def test_any_quorum_or_more_will_do(world: World, signers: tuple[bytes, ...]) -> None:
    world.done(None, "settle", *world.signed(world.settlement(spent=[(ALICE, 1)]), signers))  # type: ignore[arg-type]
    assert world.bits(ALICE, 0) == 2


@pytest.mark.parametrize("age", [0, WINDOW])
def test_window_includes_both_ends(world: World, age: int) -> None:
    world.done(None, "settle", *world.signed(world.settlement(sealed_at=world.now() - age)))


def test_ids_are_sequential_and_none_applies_twice(world: World) -> None:
    first, second = world.settlement(spent=[(ALICE, 0)]), world.settlement(spent=[(ALICE, 1)], id=2)
    world.refused("settle: id is not the next one", None, "settle", *world.signed(second))
    world.done(None, "settle", *world.signed(first))
    world.refused("settle: id is not the next one", None, "settle", *world.signed(first))
    world.done(None, "settle", *world.signed(second))


def test_a_late_failure_undoes_everything(world: World) -> None:
    world.hold(ALICE, 0, 10)
    nets = {(0, ALICE): -10, (0, BOB): 10, (1, ALICE): 1, (1, BOB): -1}
    settlement = world.settlement(nets, [(ALICE, 0)])
    world.refused("settle: a balance would be negative", None, "settle", *world.signed(settlement))
    assert (world.balance(ALICE, 0), world.bits(ALICE, 0)) == (10, 0)


@pytest.mark.parametrize("token", [0, 1])
@pytest.mark.parametrize("difference", [-1, 1])
def test_no_token_may_gain_or_lose(world: World, token: int, difference: int) -> None:
    """The first token and the last are checked at different places."""
    rows = []
    for number in (0, 1):
        world.hold(ALICE, number, 10)
        nets = {ALICE: -5, BOB: 5 + (difference if number == token else 0)}
        rows += [Delta(TokenIndex(number), address_of(a), Quanta(net)) for a, net in nets.items()]
    rows.sort(key=lambda row: row.key)
    sound = world.settlement()
    fields = {name: getattr(sound, name) for name in Settlement.__slots__} | {"deltas": tuple(rows)}
    arguments = world.signed(unchecked(Settlement, **fields))
    world.refused("settle: deltas of a token do not sum to zero", None, "settle", *arguments)


def test_bits_of_a_word_accumulate(world: World) -> None:
    for nonce in (0, 5, 255):
        world.done(None, "settle", *world.signed(world.settlement(spent=[(ALICE, nonce)])))
    assert world.bits(ALICE, 0) == 1 | 1 << 5 | 1 << 255


def test_signatures_do_not_carry_over_to_another_vault(world: World) -> None:
    settlement = world.settlement(spent=[(ALICE, 0)])
    arguments = world.signed(settlement)
    world.use(world.deploy_artifact("Vault", *world.terms()))
    reason = world.reason(None, "settle", *arguments)
    assert reason.startswith("signatures: signer")


def test_full_balance_can_change_hands(world: World) -> None:
    world.hold(ALICE, 0, 2**64 - 1)
    world.done(None, "settle", *world.signed(world.settlement({(0, ALICE): 1 - 2**64, (0, BOB): 2**64 - 1})))
    assert (world.balance(ALICE, 0), world.balance(BOB, 0)) == (0, 2**64 - 1)


@pytest.mark.slow
def test_the_largest_settlement_fits_a_block(world: World) -> None:
    """512 rows of each kind, balances and words new."""
    world.hold(ALICE, 0, 10**6)
    traders = [address_of(key(10_000 + i)) for i in range(511)]
    nets = {(TokenIndex(0), trader): 1 for trader in traders} | {(TokenIndex(0), address_of(ALICE)): -511}
    spent = [(trader, Nonce(0)) for trader in [*traders, address_of(ALICE)]]
    settlement = world.settlement(deltas=delta_rows(nets), nullifiers=nullifier_rows(spent))
    packed, signatures = world.signed(settlement)
    transaction = {"from": world.deployer, "gas": 59_000_000}
    tx = world.vault.functions.settle(packed, signatures).transact(transaction)
    assert world.web3.eth.get_transaction_receipt(tx)["status"] == 1


def test_the_domain_follows_the_chain_id_after_a_fork(world: World) -> None:
    arguments = world.signed(world.settlement(spent=[(ALICE, 0)]))
    chain = world.tester.backend.chain
    original = chain.chain_id
    try:
        chain.chain_id = 4242
        forked = Domain(4242, world.domain.contract)
        answer = world.vault.functions.domain_separator().call()
        assert answer == forked.separator() != world.domain.separator()
        reason = world.reason(None, "settle", *arguments)
        assert reason.startswith("signatures: signer")
    finally:
        chain.chain_id = original
    assert world.vault.functions.domain_separator().call() == world.domain.separator()

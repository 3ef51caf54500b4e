"""The submitter against a real anvil that drops, delays, replaces and reorganises: once, or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from darkpool.chain import Chain
from darkpool.eip712 import address_of
from darkpool.errors import ChainError
from darkpool.evm import Evm, Fees, Posted, Signed
from darkpool.evm_errors import NodeRefused, posted
from darkpool.submitter import GWEI, FeeLimits, Submitter
from darkpool.types import PrivateKey, TokenIndex, address_hex
from tests.test_chain import ALICE, BOB, deployed, enter, trade
from tests.vault_ground import OPERATOR, STRANGER, Ground, ground


@pytest.fixture(scope="module")
def shared() -> Iterator[Ground]:
    with ground() as made:
        yield made


@pytest.fixture
def held(shared: Ground) -> Iterator[Ground]:
    """Blocks are made by hand, and nothing waits."""
    shared.hold_blocks()
    yield shared
    shared.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    shared.drop()
    shared.mine()


def spike(ground: Ground) -> None:
    """A block so dear that what waits is dropped; the next ones are cheaper, but not by much."""
    ground.rpc("anvil_setNextBlockBaseFeePerGas", hex(50 * GWEI))
    ground.mine()


def full_block(ground: Ground, room: int = 0) -> None:
    """A block without room for more than so many settlements."""
    ground.rpc("evm_setBlockGasLimit", hex(100_000 + 100_000 * room))
    ground.mine()
    ground.rpc("evm_setBlockGasLimit", hex(30_000_000))


def test_it_is_sent_once_and_seen_when_a_block_has_it(held: Ground) -> None:
    sender, signed = held.sender(), held.trade()
    sent = sender.step(signed)
    assert (sent.landed, sent.attempts, sent.trouble) == (False, 1, "")
    assert sender.step(signed) == sent
    assert held.waiting() == [sent.tx_hash]
    assert not held.settled(signed)
    held.mine()
    landed = sender.step(signed)
    assert landed.landed
    assert landed.receipt is not None
    assert (landed.receipt.tx_hash, landed.confirmations) == (sent.tx_hash, 1)
    assert 0 < landed.receipt.price <= sent.fee
    assert 50_000 < landed.receipt.gas_used < 400_000
    held.mine(2)
    assert sender.step(signed).confirmations == 3
    assert held.settled(signed)


def test_the_embedded_chain_mines_at_once() -> None:
    chain = deployed(Chain.embedded())
    for key in (ALICE, BOB):
        for token in (TokenIndex(0), TokenIndex(1)):
            enter(chain, key, token, 100)
    settlement, signatures = trade(chain, chain.sealing_time())
    found = Submitter(chain, OPERATOR, FeeLimits()).step(settlement, signatures)
    assert found.landed
    assert found.receipt is not None
    assert chain.next_id() == 2


def test_what_is_not_next_waits_its_turn(held: Ground) -> None:
    sender, first, second = held.sender(), held.trade(), held.trade(ahead=1)
    assert sender.step(second).attempts == 0
    assert held.waiting() == []
    sender.step(first)
    held.mine()
    assert sender.step(first).landed
    sender.step(second)
    held.mine()
    assert held.settled(first)
    assert held.settled(second)


def test_a_dropped_transaction_is_sent_again(held: Ground) -> None:
    sender, signed = held.sender(), held.trade()
    for _ in range(3):
        sent = sender.step(signed)
        assert held.waiting() == [sent.tx_hash]
        assert sent.attempts == 1  # the same bytes: the fees have not changed
        assert held.drop() == 1
    sender.step(signed)
    held.mine()
    assert sender.step(signed).landed
    assert held.settled(signed)


def test_one_that_is_stuck_offers_more_and_takes_the_place_of_the_first(held: Ground) -> None:
    sender, signed = held.sender(patience=0), held.trade()
    first = sender.step(signed)
    second = sender.step(signed)
    assert second.attempts == 2
    assert second.fee >= first.fee * 9 // 8
    assert held.waiting() == [second.tx_hash]
    spike(held)
    assert not held.settled(signed)
    third = sender.step(signed)
    assert third.fee > 50 * GWEI
    held.mine()
    landed = sender.step(signed)
    assert landed.receipt is not None
    assert landed.receipt.tx_hash == third.tx_hash
    assert held.settled(signed)


def test_it_never_offers_more_than_it_may_and_says_so(held: Ground) -> None:
    sender, signed = held.sender(patience=0, most=10), held.trade()
    sender.step(signed)
    spike(held)
    for _ in range(4):
        assert sender.step(signed).fee <= 10 * GWEI
    assert "chain.max_fee_gwei is 10" in sender.step(signed).trouble
    held.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    held.mine()
    sender.step(signed)
    held.mine()
    assert sender.step(signed).landed
    assert held.settled(signed)


def test_another_transaction_of_the_key_takes_its_nonce(held: Ground) -> None:
    sender, signed = held.sender(), held.trade()
    sent = sender.step(signed)
    evm = held.chain.evm
    mined, _ = evm.nonces(address_of(OPERATOR))
    fees = Fees(2 * sent.fee, 2 * GWEI)
    other = evm.sign(OPERATOR, address_of(OPERATOR), b"", mined, 21_000, fees)
    assert evm.post(other) is Posted.TAKEN
    assert held.waiting() == [other.tx_hash]
    held.mine()
    again = sender.step(signed)
    assert again.tx_hash not in {None, sent.tx_hash}
    held.mine()
    assert sender.step(signed).landed
    assert held.settled(signed)


def test_a_new_process_leaves_what_waits_alone_and_then_takes_its_place(held: Ground) -> None:
    signed = held.trade()
    sent = held.sender().step(signed)
    patient = held.sender()
    assert "another process" in patient.step(signed).trouble
    assert held.waiting() == [sent.tx_hash]
    full_block(held)
    hasty = held.sender(patience=0)
    second = hasty.step(signed)
    assert second.fee >= sent.fee * 9 // 8
    assert held.waiting() == [second.tx_hash]
    held.mine()
    assert patient.step(signed).landed
    assert hasty.step(signed).landed
    assert held.settled(signed)


def test_what_a_stranger_made_needless_gives_its_place_to_the_next(held: Ground) -> None:
    first, second = held.trade(), held.trade(ahead=1)
    slow, stranger = held.sender(), held.sender(STRANGER, patience=0)
    needless = slow.step(first)
    for _ in range(3):
        stranger.step(first)  # offers more each time, and so goes first
    full_block(held, room=1)
    assert held.waiting() == [needless.tx_hash]
    assert slow.step(first).landed
    assert slow.step(second).attempts == 1
    assert needless.tx_hash not in held.waiting()
    held.mine()
    assert held.settled(first)
    assert held.settled(second)


def test_two_at_once_settle_it_once(held: Ground) -> None:
    for _ in range(2):
        signed = held.trade()
        one, other = held.sender(), held.sender(STRANGER)
        one.step(signed)
        other.step(signed)
        assert len(held.waiting()) == 2
        held.mine()
        assert one.step(signed).landed
        assert other.step(signed).landed
        assert held.settled(signed)


def test_a_lost_answer_is_looked_for(held: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    sender, signed = held.sender(), held.trade()
    post = Evm.post

    def lost(self: Evm, transaction: Signed) -> Posted:
        post(self, transaction)
        raise ChainError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(Evm, "post", lost)
        with pytest.raises(ChainError, match="no answer"):
            sender.step(signed)
    waiting = held.waiting()
    assert [sender.step(signed).tx_hash] == waiting == held.waiting()
    held.mine()
    assert held.settled(signed)


def test_what_the_vault_refuses_is_not_sent(held: Ground) -> None:
    sender, signed = held.sender(), held.trade()
    few = type(signed)(signed.domain, signed.settlement, signed.signatures[:2])
    found = sender.step(few)
    assert "signatures: fewer than 2t + 1" in found.trouble
    assert held.waiting() == []
    assert sender.step(signed).trouble == ""
    held.mine()
    assert held.settled(signed)


def test_a_round_newer_than_the_latest_block_need_not_wait_for_one(held: Ground) -> None:
    sender, signed = held.sender(), held.trade(sealed_at=held.chain.now() + 1)
    held.rpc("evm_setNextBlockTimestamp", signed.settlement.sealed_at + 1)
    assert sender.step(signed).attempts == 1
    held.mine()
    assert held.settled(signed)


def test_an_id_that_went_to_another_settlement_is_not_ours(held: Ground) -> None:
    """It is given again after a void."""
    sender, void, signed = held.sender(), held.trade(), held.trade()
    sender.step(signed)
    held.mine()
    assert "another settlement" in sender.step(void).trouble
    assert sender.step(signed).landed


def test_a_sender_without_ether_says_who_it_is(held: Ground) -> None:
    poor = PrivateKey(b"\x08" * 32)
    found = held.sender(poor).step(held.trade())
    assert "funds" in found.trouble.lower()
    assert address_hex(address_of(poor)) in found.trouble
    assert found.attempts == 0


@pytest.mark.parametrize(
    "text, outcome",
    [
        ("already known", Posted.TAKEN),  # geth, reth
        ("transaction already imported", Posted.TAKEN),  # anvil
        ("AlreadyKnown", Posted.TAKEN),  # Nethermind
        ("nonce too low: next nonce 4, tx nonce 3", Posted.STALE),
        ("OldNonce", Posted.STALE),
        ("replacement transaction underpriced", Posted.UNDERPRICED),
        ("max fee per gas less than block base fee", Posted.UNDERPRICED),
        ("transaction underpriced: tip needed 25000000000, tip permitted 1", Posted.UNDERPRICED),
    ],
)
def test_what_nodes_say_of_a_transaction(text: str, outcome: Posted) -> None:
    assert posted(NodeRefused(f"node: Web3RPCError: {text}")) is outcome


@pytest.mark.parametrize("text", ["insufficient funds for gas * price + value", "unknown transaction type"])
def test_other_refusals_stay_errors(text: str) -> None:
    with pytest.raises(NodeRefused, match=text[:12]):
        posted(NodeRefused(f"node: Web3RPCError: {text}"))

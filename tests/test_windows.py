"""Netting: several rounds of several markets as one settlement, no more and no less than they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from darkpool import windows
from darkpool.eip712 import Domain, address_of, recover_digest
from darkpool.errors import SettlementRefused
from darkpool.settlement import MAX_AMOUNT, MAX_ROWS, NullifierRow, delta_rows, nullifier_rows
from darkpool.settlement_gas import BASE, MAX_SETTLEMENT_GAS, PER_DELTA, PER_NULLIFIER, estimate, fits
from darkpool.types import Address, Nonce, PrivateKey, RoundId, Signature, TokenIndex
from darkpool.windows import MAX_ROUNDS, Cleared, Flow, estimated_gas, fitting, netting_ratio, window
from tests.eip712_domain import DOMAIN_TYPE

ACCOUNTS = [Address(bytes([i]) * 20) for i in range(1, 6)]
DOMAIN = Domain(7, Address(b"\x07" * 20))
TRANSACTION_GAS = 1 << 24  # EIP-7825

Nets = dict[tuple[TokenIndex, Address], int]


def cleared(
    number: int, nets: Nets, spent: Sequence[tuple[Address, int]] = (), *, sealed_at: int = 0, gross: int = 0
) -> Cleared:
    """Round `number` of some market, sealed then."""
    return Cleared(
        market=bytes([number % 3 + 1]) * 32,
        round=RoundId(number),
        at=sealed_at + 5,
        sealed_at=sealed_at or 100 * number,
        ends=(sealed_at or 100 * number) + 600,
        root=bytes([number]) * 32,
        transcript=bytes([number, 1]) * 16,
        deltas=delta_rows(nets),
        nullifiers=nullifier_rows((a, Nonce(n)) for a, n in spent),
        gross=tuple((token, gross) for token in sorted({t for t, _ in nets})),
    )


@st.composite
def rounds(draw: st.DrawFn) -> list[Cleared]:
    """One to six rounds over three tokens; each nonce is spent in one of them."""
    count = draw(st.integers(1, 6))
    nonces = draw(
        st.lists(st.tuples(st.sampled_from(ACCOUNTS), st.integers(0, 600)), unique=True, max_size=12)
    )
    found = []
    for number in range(1, count + 1):
        nets: Nets = {}
        for token in draw(st.lists(st.integers(0, 2).map(TokenIndex), unique=True, max_size=3)):
            amounts = draw(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=4))
            for account, amount in zip(ACCOUNTS, [*amounts, -sum(amounts)], strict=False):
                nets[token, account] = amount
        spent = [pair for i, pair in enumerate(nonces) if i % count == number - 1]
        found.append(cleared(number, nets, spent))
    return found


def summed(found: Sequence[Cleared]) -> Nets:
    total: Counter[tuple[TokenIndex, Address]] = Counter()
    for one in found:
        for d in one.deltas:
            total[d.token, d.account] += d.amount
    return {key: amount for key, amount in total.items() if amount}


def bits(rows: Sequence[NullifierRow]) -> set[tuple[Address, int]]:
    return {(r.account, 256 * r.word + i) for r in rows for i in range(256) if r.mask >> i & 1}


# --- netting ----------------------------------------------------------------------------------------


@given(rounds())
def test_a_settlement_is_the_sum_of_its_rounds_and_conserves(found: list[Cleared]) -> None:
    settlement = window(found, 3, 2).settlement
    assert {(d.token, d.account): d.amount for d in settlement.deltas} == summed(found)
    for token in range(3):
        assert sum(d.amount for d in settlement.deltas if d.token == token) == 0
    assert bits(settlement.nullifiers) == {bit for one in found for bit in bits(one.nullifiers)}
    assert (settlement.id, settlement.epoch) == (3, 2)


@given(rounds(), st.randoms(use_true_random=False))
def test_rows_do_not_depend_on_the_order_of_the_rounds(found: list[Cleared], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = window(found, 1, 1), window(shuffled, 1, 1)
    assert (one.settlement.deltas, one.settlement.nullifiers) == (
        other.settlement.deltas,
        other.settlement.nullifiers,
    )
    assert (one.ends, one.flows) == (other.ends, other.flows)


@given(rounds(), st.data())
def test_parts_of_a_window_come_to_the_whole(found: list[Cleared], data: st.DataObject) -> None:
    """However it is cut: what is settled in parts is what would be settled at once."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(found)))) | {len(found)})
    parts = [window(found[a:b], 1, 1) for a, b in zip([0, *cuts], cuts, strict=False)]
    total: Counter[tuple[TokenIndex, Address]] = Counter()
    for part in parts:
        for d in part.settlement.deltas:
            total[d.token, d.account] += d.amount
    whole = window(found, 1, 1).settlement
    assert {k: v for k, v in total.items() if v} == {(d.token, d.account): d.amount for d in whole.deltas}


def test_hashes_and_times_are_those_of_all_rounds() -> None:
    """The earliest sealing time, so that the contract's window ends when the first of them must."""
    found = [cleared(2, {}, sealed_at=900), cleared(1, {}, sealed_at=700), cleared(3, {}, sealed_at=800)]
    pending = window(found, 1, 1)
    assert (pending.settlement.sealed_at, pending.ends) == (700, 1_300)
    assert pending.settlement.root == keccak(b"".join(one.root for one in found))
    assert pending.settlement.transcript == keccak(b"".join(one.transcript for one in found))
    (alone,) = [window(found[:1], 1, 1).settlement]
    assert alone.transcript == keccak(found[0].transcript)


def test_what_cancels_out_leaves_no_row() -> None:
    ada, ben = ACCOUNTS[:2]
    there, back = (
        {(TokenIndex(0), ada): 5, (TokenIndex(0), ben): -5},
        {(TokenIndex(0), ada): -5, (TokenIndex(0), ben): 5},
    )
    pending = window([cleared(1, there, [(ada, 1)], gross=9), cleared(2, back, [(ada, 2)], gross=4)], 1, 1)
    assert pending.settlement.deltas == ()
    assert pending.settlement.nullifiers == (NullifierRow(ada, 0, 0b110),)
    assert pending.flows == (Flow(TokenIndex(0), 13, 0),)
    assert netting_ratio(13, 0) is None


def test_flows_are_what_was_traded_and_what_is_left_of_it() -> None:
    ada, ben, cyd = ACCOUNTS[:3]
    first = cleared(1, {(TokenIndex(1), ada): 6, (TokenIndex(1), ben): -6}, gross=8)
    second = cleared(2, {(TokenIndex(1), ben): 4, (TokenIndex(1), cyd): -4}, gross=4)
    assert window([first, second], 1, 1).flows == (Flow(TokenIndex(1), 12, 6),)
    assert netting_ratio(12, 6) == 2.0


# --- refusals ---------------------------------------------------------------------------------------


def test_a_nonce_spent_in_two_rounds_is_refused() -> None:
    spent = [(ACCOUNTS[0], 300)]
    with pytest.raises(SettlementRefused, match="spent twice"):
        window([cleared(1, {}, spent), cleared(2, {}, spent)], 1, 1)


def test_a_sum_that_no_row_holds_is_refused() -> None:
    most = {(TokenIndex(0), ACCOUNTS[0]): MAX_AMOUNT, (TokenIndex(0), ACCOUNTS[1]): -MAX_AMOUNT}
    window([cleared(1, most)], 1, 1)
    with pytest.raises(SettlementRefused, match="delta amount"):
        window([cleared(1, most), cleared(2, most)], 1, 1)
    assert fitting([cleared(1, most), cleared(2, most)]) == 1


@pytest.mark.parametrize("nets", [{(TokenIndex(0), ACCOUNTS[0]): 1}, {(TokenIndex(8), ACCOUNTS[0]): 1}])
def test_a_round_that_conserves_nothing_is_none(nets: Nets) -> None:
    with pytest.raises(SettlementRefused):
        cleared(1, nets)


def large(number: int, accounts: int, words: int) -> Cleared:
    """A round of so many accounts, of which each pays another one, with so many words each."""
    people = [Address((number * 10_000 + i).to_bytes(20)) for i in range(1, accounts + 1)]
    nets = {(TokenIndex(0), a): 1 - 2 * (i % 2) for i, a in enumerate(people)}
    return cleared(number, nets, [(a, 256 * w + number) for a in people for w in range(words)])


def test_a_window_is_cut_between_rounds_where_the_gas_bound_is() -> None:
    """100 accounts with two words each are 8 million by the estimate: one fits, two do not."""
    found = [large(number, 100, 2) for number in range(1, 4)]
    assert estimated_gas(found[:1]) == BASE + 100 * PER_DELTA + 200 * PER_NULLIFIER
    assert estimated_gas(found[:2]) > MAX_SETTLEMENT_GAS
    assert [fitting(found), fitting(found[1:]), fitting([])] == [1, 1, 0]
    with pytest.raises(SettlementRefused, match="gas"):
        window(found[:2], 1, 1)
    small = [large(number, 40, 1) for number in range(1, 9)]
    count = fitting(small)
    assert 1 < count < 8
    window(small[:count], 1, 1)
    with pytest.raises(SettlementRefused):
        window(small[: count + 1], 1, 1)


def test_netting_lets_more_rounds_fit_than_their_rows_would() -> None:
    again = [replace(large(1, 200, 0), round=RoundId(n)) for n in range(1, 9)]
    assert fitting(again) == 8


def test_a_settlement_has_no_more_rounds_than_the_arbiter_can_be_shown() -> None:
    rounds = [replace(large(1, 2, 0), round=RoundId(n)) for n in range(1, MAX_ROUNDS + 2)]
    assert fitting(rounds) == MAX_ROUNDS
    with pytest.raises(SettlementRefused, match="17 rounds, at most 16"):
        window(rounds, 1, 1)


def test_the_bound_leaves_room_in_a_transaction_and_for_a_round_of_the_issue() -> None:
    assert MAX_SETTLEMENT_GAS < TRANSACTION_GAS
    assert fits(200, 100)  # 100 accounts, 1,000 orders
    assert not fits(MAX_ROWS + 1, 0)
    assert not fits(0, MAX_ROWS + 1)
    assert estimate(200, 100) == BASE + 200 * PER_DELTA + 100 * PER_NULLIFIER


# --- what members sign ------------------------------------------------------------------------------


def test_what_is_signed_of_a_round_is_eip712_of_its_own_rows() -> None:
    one = cleared(1, {(TokenIndex(0), ACCOUNTS[0]): 5, (TokenIndex(0), ACCOUNTS[1]): -5}, [(ACCOUNTS[0], 7)])
    sealed = bytes(range(32))
    key = PrivateKey(b"\x21" * 32)
    rows = [row.packed() for row in one.nullifiers]
    message = {
        "domain": {
            "name": "darkpool",
            "version": "1",
            "chainId": DOMAIN.chain_id,
            "verifyingContract": DOMAIN.contract,
        },
        "primaryType": "Cleared",
        "types": {
            "EIP712Domain": DOMAIN_TYPE,
            "Cleared": [
                {"name": name, "type": "bytes32"} for name in ("sealed", "transcript", "deltas", "nullifiers")
            ],
        },
        "message": {
            "sealed": sealed,
            "transcript": one.transcript,
            "deltas": keccak(encode(["uint256[]"], [[d.packed() for d in one.deltas]])),
            "nullifiers": keccak(encode(["(uint256,uint256)[]"], [rows])),
        },
    }
    signed = Account.sign_message(encode_typed_data(full_message=message), key)
    assert recover_digest(one.digest(DOMAIN, sealed), Signature(signed.signature)) == address_of(key)


@pytest.mark.parametrize(
    "change",
    [
        {"transcript": bytes(32)},
        {"deltas": delta_rows({(TokenIndex(0), ACCOUNTS[0]): 6, (TokenIndex(0), ACCOUNTS[1]): -6})},
        {"nullifiers": nullifier_rows([(ACCOUNTS[0], Nonce(8))])},
    ],
)
def test_every_part_of_it_is_bound(change: dict[str, object]) -> None:
    one = cleared(1, {(TokenIndex(0), ACCOUNTS[0]): 5, (TokenIndex(0), ACCOUNTS[1]): -5}, [(ACCOUNTS[0], 7)])
    digests = {
        one.digest(DOMAIN, bytes(32)),
        one.digest(DOMAIN, b"\x01" * 32),
        one.digest(Domain(8, DOMAIN.contract), bytes(32)),
        replace(one, **change).digest(DOMAIN, bytes(32)),  # type: ignore[arg-type]
    }
    assert len(digests) == 4
    assert windows.netting_ratio(3, 2) == 1.5

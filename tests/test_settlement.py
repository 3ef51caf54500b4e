"""Settlements as values: rows, bounds, the EIP-712 hash and signatures."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any, Final

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from commitments.errors import VerificationError
from darkpool.eip712 import Domain, address_of, keccak256, recover_digest, sign_digest
from darkpool.errors import ConfigError, SettlementRefused
from darkpool.settlement import (
    MAX_ROWS,
    MAX_WORD,
    Delta,
    NullifierRow,
    Settlement,
    check_signatures,
    committee_digest,
    delta_rows,
    digest,
    nullifier_rows,
    ordered_signatures,
    recover,
    sign,
)
from darkpool.types import Address, Nonce, PrivateKey, Quanta, Signature, TokenIndex, address_hex
from tests.eip712_domain import DOMAIN_TYPE

ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
A, B, C = (Address(bytes([i]) * 20) for i in (1, 2, 3))
T0, T1 = TokenIndex(0), TokenIndex(1)
KEYS: Final = tuple(sorted((PrivateKey(bytes([7] * 31 + [i])) for i in range(1, 5)), key=address_of))
MEMBERS: Final = tuple(map(address_of, KEYS))
DOMAIN: Final = Domain(31337, Address(bytes(range(20))))
SETTLEMENT: Final = Settlement(
    id=3,
    epoch=2,
    sealed_at=1_800_000_000,
    root=b"\x11" * 32,
    transcript=b"\x22" * 32,
    deltas=(
        Delta(T0, A, Quanta(-5)),
        Delta(T0, B, Quanta(5)),
        Delta(T1, A, Quanta(2**64 - 1)),
        Delta(T1, C, Quanta(1 - 2**64)),
    ),
    nullifiers=(NullifierRow(A, 0, 3), NullifierRow(A, 9, 1), NullifierRow(C, MAX_WORD, 2**256 - 1)),
)

addresses = st.binary(min_size=20, max_size=20).filter(any).map(Address)
domains = st.builds(Domain, st.integers(1, 2**256 - 1), addresses)


@st.composite
def settlements(draw: st.DrawFn) -> Settlement:
    accounts = draw(st.lists(addresses, unique=True, max_size=6))
    nets: dict[tuple[TokenIndex, Address], int] = {}
    for giver, taker in zip(accounts[::2], accounts[1::2], strict=False):
        token, amount = TokenIndex(draw(st.integers(0, 7))), draw(st.integers(1, 2**64 - 1))
        nets |= {(token, giver): -amount, (token, taker): amount}
    spent = draw(st.sets(st.tuples(addresses, st.integers(0, 2**104 - 1).map(Nonce)), max_size=8))
    counters = [draw(st.integers(1, 2**64 - 1)) for _ in range(3)]
    hashes = [draw(st.binary(min_size=32, max_size=32)) for _ in range(2)]
    return Settlement(*counters, *hashes, delta_rows(nets), nullifier_rows(spent))  # type: ignore[call-arg,arg-type]


def typed_data(settlement: Settlement, domain: Domain) -> dict[str, Any]:
    """The same message for an independent implementation of EIP-712 and of the ABI."""
    number, epoch, sealed_at, root, transcript, deltas, nullifiers = settlement.packed()
    fields = {
        "id": "uint256",
        "epoch": "uint256",
        "sealedAt": "uint256",
        "root": "bytes32",
        "transcript": "bytes32",
        "deltas": "bytes32",
        "nullifiers": "bytes32",
    }
    values = (
        number,
        epoch,
        sealed_at,
        root,
        transcript,
        keccak256(encode(["uint256[]"], [deltas])),
        keccak256(encode(["(uint256,uint256)[]"], [nullifiers])),
    )
    return envelope("Settlement", fields, dict(zip(fields, values, strict=True)), domain)


def envelope(name: str, fields: dict[str, str], message: dict[str, Any], domain: Domain) -> dict[str, Any]:
    return {
        "domain": {
            "name": "darkpool",
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": address_hex(domain.contract),
        },
        "types": {
            "EIP712Domain": DOMAIN_TYPE,
            name: [{"name": field, "type": kind} for field, kind in fields.items()],
        },
        "primaryType": name,
        "message": message,
    }


@given(settlements(), domains)
def test_digest_equals_an_independent_implementation(settlement: Settlement, domain: Domain) -> None:
    message = encode_typed_data(full_message=typed_data(settlement, domain))
    assert digest(settlement, domain) == keccak256(b"\x19\x01" + message.header + message.body)


def test_signatures_equal_an_independent_implementation() -> None:
    message = encode_typed_data(full_message=typed_data(SETTLEMENT, DOMAIN))
    for key, member in zip(KEYS, MEMBERS, strict=True):
        signature = sign(SETTLEMENT, DOMAIN, key)
        assert signature == Account.sign_message(message, key).signature
        assert Account.recover_message(message, signature=signature) == address_hex(member)
        assert recover(SETTLEMENT, DOMAIN, signature) == member


def test_committee_digest_equals_an_independent_implementation() -> None:
    fields = {"epoch": "uint256", "members": "bytes32", "threshold": "uint256", "guardian": "address"}
    members = keccak256(encode(["address[]"], [[address_hex(member) for member in MEMBERS]]))
    values = {"epoch": 5, "members": members, "threshold": 1, "guardian": address_hex(MEMBERS[0])}
    message = encode_typed_data(full_message=envelope("Committee", fields, values, DOMAIN))
    digest = committee_digest(5, MEMBERS, 1, MEMBERS[0], DOMAIN)
    assert digest == keccak256(b"\x19\x01" + message.header + message.body)


CHANGES: Final[dict[str, Any]] = {
    "id": 4,
    "epoch": 1,
    "sealed_at": 1_800_000_001,
    "root": b"\x11" * 31 + b"\x10",
    "transcript": b"\x22" * 31 + b"\x23",
    "deltas": SETTLEMENT.deltas[:2],
    "nullifiers": SETTLEMENT.nullifiers[:2],
}


@pytest.mark.parametrize("field", Settlement.__slots__)
def test_digest_binds_every_field(field: str) -> None:
    assert digest(replace(SETTLEMENT, **{field: CHANGES[field]}), DOMAIN) != digest(SETTLEMENT, DOMAIN)


def test_digest_binds_chain_and_contract() -> None:
    seen = {digest(SETTLEMENT, d) for d in (DOMAIN, Domain(1, DOMAIN.contract), Domain(31337, A))}
    assert len(seen) == 3


@given(st.dictionaries(st.tuples(addresses, st.integers(0, 2**20)), st.none(), max_size=40))
def test_nullifier_rows_hold_exactly_what_was_spent(spent: dict[tuple[Address, int], None]) -> None:
    rows = nullifier_rows((account, Nonce(nonce)) for account, nonce in spent)
    assert [row.key for row in rows] == sorted({row.key for row in rows})
    found = {(row.account, 256 * row.word + i) for row in rows for i in range(256) if row.mask >> i & 1}
    assert found == spent.keys()


def test_delta_rows_are_sorted_and_leave_zeros_out() -> None:
    rows = delta_rows({(T1, A): 4, (T0, C): 5, (T1, B): -4, (T0, A): -5, (T0, B): 0})
    assert [(row.token, row.account, row.amount) for row in rows] == [
        (0, A, -5),
        (0, C, 5),
        (1, A, 4),
        (1, B, -4),
    ]


def test_packing() -> None:
    assert Delta(TokenIndex(7), A, Quanta(9)).packed() == 7 << 248 | int.from_bytes(A) << 88 | 9
    assert Delta(T0, A, Quanta(-9)).packed() == int.from_bytes(A) << 88 | 1 << 87 | 9
    assert NullifierRow(A, 5, 6).packed() == (int.from_bytes(A) << 96 | 5, 6)


def test_a_settlement_may_be_empty_of_rows_and_cannot_be_changed() -> None:
    empty = replace(SETTLEMENT, deltas=(), nullifiers=())
    with pytest.raises(FrozenInstanceError):
        empty.id = 9  # type: ignore[misc]


def many(count: int) -> tuple[NullifierRow, ...]:
    return tuple(NullifierRow(A, word, 1) for word in range(count))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"id": 0}, "id 0 is not from 1"),
        ({"id": 2**64}, "id 18446744073709551616 is not"),
        ({"epoch": 0}, "epoch 0 is not from 1"),
        ({"sealed_at": -1}, "sealed_at -1 is not from 0"),
        ({"root": bytes(31)}, "root: 31 bytes, not 32"),
        ({"transcript": bytes(33)}, "transcript: 33 bytes, not 32"),
        ({"deltas": SETTLEMENT.deltas[:1]}, "token 0 sums to -5 quanta, must be 0"),
        ({"deltas": SETTLEMENT.deltas[:3]}, "token 1 sums to 18446744073709551615 quanta"),
        ({"deltas": SETTLEMENT.deltas[::-1]}, "delta row 1 is not above the row before it"),
        ({"deltas": (*SETTLEMENT.deltas[:2], SETTLEMENT.deltas[1])}, "delta row 2 is not above"),
        ({"nullifiers": SETTLEMENT.nullifiers[::-1]}, "nullifier row 1 is not above"),
        ({"nullifiers": (NullifierRow(A, 1, 1), NullifierRow(A, 1, 2))}, "nullifier row 1 is not above"),
        ({"nullifiers": many(MAX_ROWS + 1)}, "513 nullifier rows, at most 512"),
    ],
)
def test_malformed_settlements_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettlementRefused, match=message):
        replace(SETTLEMENT, **changes)


def test_the_most_rows_are_accepted() -> None:
    assert len(replace(SETTLEMENT, nullifiers=many(MAX_ROWS)).nullifiers) == MAX_ROWS


@pytest.mark.parametrize(
    "token, account, amount",
    [(-1, A, 1), (8, A, 1), (0, A[:19], 1), (0, A + b"\0", 1), (0, bytes(20), 1), (0, A, 0), (0, A, 2**64)],
)
def test_malformed_deltas_are_refused(token: int, account: bytes, amount: int) -> None:
    for sign_of in (1, -1):
        with pytest.raises(SettlementRefused, match="delta"):
            Delta(TokenIndex(token), Address(account), Quanta(sign_of * amount))


@pytest.mark.parametrize(
    "account, word, mask",
    [(A[:19], 0, 1), (bytes(20), 0, 1), (A, -1, 1), (A, 2**96, 1), (A, 0, 0), (A, 0, 2**256), (A, 0, -1)],
)
def test_malformed_nullifier_rows_are_refused(account: bytes, word: int, mask: int) -> None:
    with pytest.raises(SettlementRefused, match="nullifier"):
        NullifierRow(Address(account), word, mask)


@pytest.mark.parametrize(
    "nonces, message", [((3, 3), "spent twice"), ((-1,), "negative"), ((2**104,), "word")]
)
def test_nonces_that_cannot_be_spent_are_refused(nonces: tuple[int, ...], message: str) -> None:
    with pytest.raises(SettlementRefused, match=message):
        nullifier_rows((A, Nonce(nonce)) for nonce in nonces)


@pytest.mark.parametrize("chain_id, contract", [(0, A), (2**256, A), (1, A[:19])])
def test_malformed_domains_are_refused(chain_id: int, contract: bytes) -> None:
    with pytest.raises(ConfigError):
        Domain(chain_id, Address(contract))


def signatures(*keys: PrivateKey) -> tuple[Signature, ...]:
    return ordered_signatures(SETTLEMENT, DOMAIN, [sign(SETTLEMENT, DOMAIN, key) for key in keys])


@pytest.mark.parametrize("keys", [KEYS[:3], KEYS[1:], KEYS, KEYS[::-1]])
def test_a_quorum_is_accepted_in_whatever_order_it_signed(keys: tuple[PrivateKey, ...]) -> None:
    check_signatures(SETTLEMENT, DOMAIN, signatures(*keys), MEMBERS, 3)


def other_form(signature: Signature) -> Signature:
    s = ORDER - int.from_bytes(signature[32:64])
    return Signature(signature[:32] + s.to_bytes(32) + bytes([55 - signature[64]]))


def test_signatures_that_the_contract_would_refuse_are_refused() -> None:
    first, second, third = good = signatures(*KEYS[:3])
    stranger = sign(SETTLEMENT, DOMAIN, PrivateKey(b"\x05" * 32))
    refused: list[tuple[tuple[Signature, ...], str]] = [
        (good[:2], "signatures: 2, must be 3 to 16"),
        (good * 6, "signatures: 18, must be"),
        ((first, second, second), "out of order or signed twice"),
        ((second, first, third), "out of order"),
        ((first, second, other_form(second)), "s is not from 1 to half"),
        ((Signature(first[:64]), second, third), "64 bytes, not 65"),
        ((Signature(first[:64] + b"\x00"), second, third), "v is 0, not 27 or 28"),
        ((Signature(bytes(32) + first[32:]), second, third), "r is not from 1"),
        ((Signature(ORDER.to_bytes(32) + first[32:]), second, third), "r is not from 1"),
        ((Signature(first[:32] + bytes(32) + first[64:]), second, third), "s is not from 1"),
        (ordered_signatures(SETTLEMENT, DOMAIN, [*good[:2], stranger]), "is not a member"),
    ]
    for given_signatures, message in refused:
        with pytest.raises(SettlementRefused, match=message):
            check_signatures(SETTLEMENT, DOMAIN, given_signatures, MEMBERS, 3)
    with pytest.raises(SettlementRefused, match="quorum: 0"):
        check_signatures(SETTLEMENT, DOMAIN, good, MEMBERS, 0)


def test_a_signature_counts_for_nothing_else() -> None:
    good = signatures(*KEYS[:3])
    for changed in (replace(SETTLEMENT, id=4), replace(SETTLEMENT, root=bytes(32))):
        with pytest.raises(SettlementRefused):
            check_signatures(changed, DOMAIN, good, MEMBERS, 3)
    with pytest.raises(SettlementRefused):
        check_signatures(SETTLEMENT, Domain(1, DOMAIN.contract), good, MEMBERS, 3)


def test_r_without_a_point_is_refused() -> None:
    # x = 5 is on no point of secp256k1.
    with pytest.raises(VerificationError, match="no signer recovers"):
        recover_digest(b"\x01" * 32, Signature((5).to_bytes(32) + (1).to_bytes(32) + b"\x1b"))


@given(st.binary(min_size=32, max_size=32), st.integers(1, ORDER - 1))
def test_what_is_signed_recovers_with_the_lower_s(message: bytes, secret: int) -> None:
    key = PrivateKey(secret.to_bytes(32))
    signature = sign_digest(message, key)
    assert recover_digest(message, signature) == address_of(key)
    assert int.from_bytes(signature[32:64]) <= ORDER // 2


@pytest.mark.parametrize("key", [b"", bytes(32), b"\x01" * 31, ORDER.to_bytes(32), b"\xff" * 32])
def test_what_is_no_key_is_refused_without_being_shown(key: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        address_of(PrivateKey(key))
    assert caught.value.__cause__ is None
    assert "ff" not in str(caught.value)

"""Receipts: against eth_account's encoder, one corrupted field each, and strict JSON."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any, Final

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from commitments.errors import DecodeError
from darkpool.eip712 import Domain, address_of
from darkpool.errors import PeerFault
from darkpool.receipt import Kind, Receipt
from darkpool.types import Address, PrivateKey, Signature
from tests.eip712_domain import DOMAIN_TYPE

OPERATOR: Final = PrivateKey(b"\x0c" * 32)
DOMAIN: Final = Domain(31_337, Address(b"\x01" * 20))
UNSIGNED: Final = Receipt(
    kind=Kind.ORDER,
    subject=b"\x11" * 32,
    market=b"\x03" * 32,
    account=Address(b"\xab" * 20),
    sequence=41,
    size=64,
    root=b"\x22" * 32,
    round=7,
    time=1_800_000_000,
    policy=b"\x06" * 32,
)
RECEIPT: Final = UNSIGNED.signed(DOMAIN, OPERATOR)

numbers = st.integers(0, 2**64 - 1)
words = st.binary(min_size=32, max_size=32)
receipts = st.builds(
    Receipt,
    kind=st.sampled_from(Kind),
    subject=words,
    market=words,
    account=st.binary(min_size=20, max_size=20).map(Address),
    sequence=st.integers(0, 2**63),
    size=st.integers(2**63 + 1, 2**64 - 1),
    root=words,
    round=numbers,
    time=numbers,
    policy=words,
    signature=st.binary(min_size=65, max_size=65).map(Signature),
)


@given(receipts)
def test_receipts_hash_as_eth_account_hashes_them(receipt: Receipt) -> None:
    kinds = {
        "kind": "uint8",
        "subject": "bytes32",
        "market": "bytes32",
        "account": "address",
        "sequence": "uint64",
        "size": "uint64",
        "root": "bytes32",
        "round": "uint64",
        "time": "uint64",
        "policy": "bytes32",
    }
    typed = {
        "types": {
            "EIP712Domain": DOMAIN_TYPE,
            "Receipt": [{"name": name, "type": kind} for name, kind in kinds.items()],
        },
        "primaryType": "Receipt",
        "domain": {
            "name": "darkpool",
            "version": "1",
            "chainId": DOMAIN.chain_id,
            "verifyingContract": "0x" + DOMAIN.contract.hex(),
        },
        "message": {name: getattr(receipt, name) for name in kinds},
    }
    expected = Account.sign_message(encode_typed_data(full_message=typed), OPERATOR).message_hash
    assert receipt.digest(DOMAIN) == expected


def test_the_operators_receipt_holds() -> None:
    RECEIPT.check(DOMAIN, address_of(OPERATOR))


@pytest.mark.parametrize("name", [f.name for f in fields(Receipt)])
def test_each_changed_field_breaks_it(name: str) -> None:
    value = getattr(RECEIPT, name)
    if isinstance(value, Kind):
        changed: Any = Kind.CANCEL
    else:
        changed = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    with pytest.raises(PeerFault, match="operator"):
        replace(RECEIPT, **{name: changed}).check(DOMAIN, address_of(OPERATOR))


def test_an_unsigned_one_another_signers_and_another_vaults_do_not_hold() -> None:
    operator = address_of(OPERATOR)
    for receipt in (UNSIGNED, UNSIGNED.signed(DOMAIN, PrivateKey(b"\x0d" * 32))):
        with pytest.raises(PeerFault):
            receipt.check(DOMAIN, operator)
    with pytest.raises(PeerFault):
        RECEIPT.check(Domain(1, DOMAIN.contract), operator)


def test_a_receipt_for_an_entry_outside_its_root_does_not_hold() -> None:
    with pytest.raises(PeerFault, match="entry 64 is not among the first 64"):
        replace(UNSIGNED, sequence=64).signed(DOMAIN, OPERATOR).check(DOMAIN, address_of(OPERATOR))


@given(receipts)
def test_json_and_back(receipt: Receipt) -> None:
    assert Receipt.from_json(json.loads(json.dumps(receipt.as_json()))) == receipt


@pytest.mark.parametrize("name", [f.name for f in fields(Receipt)])
@pytest.mark.parametrize("value", [None, "", "0x", "0xAB", True, -1, 1.0, 1 << 64, [], {}, "0x" + "g" * 64])
def test_each_field_is_read_strictly(name: str, value: object) -> None:
    with pytest.raises(DecodeError, match=name):
        Receipt.from_json({**RECEIPT.as_json(), name: value})


@pytest.mark.parametrize("name", [f.name for f in fields(Receipt)])
def test_a_missing_field_is_named(name: str) -> None:
    value = RECEIPT.as_json()
    del value[name]
    with pytest.raises(DecodeError, match=f"lacks {name}"):
        Receipt.from_json(value)


@pytest.mark.parametrize("value", [None, [], "text", 1, {**RECEIPT.as_json(), "more": 1}])
def test_what_is_no_receipt_is_refused(value: object) -> None:
    with pytest.raises(DecodeError, match="receipt"):
        Receipt.from_json(value)


@pytest.mark.parametrize(
    "name, value",
    [
        ("kind", 0),
        ("kind", 5),
        ("sequence", 64),
        ("size", 0),
        ("size", 41),
        ("subject", "0x" + "1" * 63),
        ("subject", "11" * 32),
        ("subject", "0x" + "AB" * 32),
        ("account", "0x" + "aB" * 20),
        ("signature", "0x" + "11" * 64),
    ],
)
def test_what_is_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(DecodeError):
        Receipt.from_json({**RECEIPT.as_json(), name: value})

"""A settlement with its signatures as bytes: one form, bounded, its signatures as the vault checks them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from commitments.errors import DecodeError
from darkpool.eip712 import Domain, address_of
from darkpool.errors import ConfigError, SettlementRefused
from darkpool.message import Message
from darkpool.settlement import (
    MAX_ROWS,
    Settlement,
    delta_rows,
    digest,
    nullifier_rows,
    ordered_signatures,
    sign,
)
from darkpool.signed_settlement import MAX_BYTES, SignedSettlement
from darkpool.types import Address, Nonce, PrivateKey, TokenIndex

DOMAIN = Domain(7, Address(b"\x07" * 20))
ADA, BEN = Address(b"\x01" * 20), Address(b"\x02" * 20)
KEYS = [PrivateKey(bytes([i]) * 32) for i in range(1, 5)]
SETTLEMENT = Settlement(
    id=3,
    epoch=1,
    sealed_at=1_800_000_000,
    root=b"\x05" * 32,
    transcript=b"\x06" * 32,
    deltas=delta_rows({(TokenIndex(1), ADA): 5, (TokenIndex(1), BEN): -5}),
    nullifiers=nullifier_rows([(ADA, Nonce(0)), (BEN, Nonce(70_000))]),
)


def signed(count: int = 3) -> SignedSettlement:
    signatures = [sign(SETTLEMENT, DOMAIN, key) for key in KEYS[:count]]
    return SignedSettlement(DOMAIN, SETTLEMENT, ordered_signatures(SETTLEMENT, DOMAIN, signatures))


@pytest.mark.parametrize("count", [0, 3, 4])
def test_it_survives_its_bytes(count: int) -> None:
    one = signed(count)
    assert SignedSettlement.decode(one.encode()) == one
    assert one.digest == digest(SETTLEMENT, DOMAIN)


def test_the_largest_fits_its_bound() -> None:
    people = [Address(i.to_bytes(20)) for i in range(1, MAX_ROWS + 1)]
    most = (1 << 64) - 1
    nets = {(TokenIndex(7), a): most if i % 2 else -most for i, a in enumerate(people)}
    rows = tuple(replace(r, mask=(1 << 256) - 1) for r in nullifier_rows((a, Nonce(2**63)) for a in people))
    large = replace(SETTLEMENT, deltas=delta_rows(nets), nullifiers=rows)
    one = SignedSettlement(DOMAIN, large, tuple(sign(large, DOMAIN, KEYS[0]) for _ in range(16)))
    assert len(one.encode()) < MAX_BYTES
    assert SignedSettlement.decode(one.encode()) == one


def test_a_quorum_of_members_must_have_signed() -> None:
    members = {address_of(key) for key in KEYS}
    signed().check(members, 3)
    for one in (signed(0), signed(2), replace(signed(), domain=Domain(8, DOMAIN.contract))):
        with pytest.raises(SettlementRefused):
            one.check(members, 3)
    with pytest.raises(SettlementRefused, match="not a member"):
        signed().check(members - {address_of(KEYS[1])}, 3)


GOOD = Message.decode(signed().encode())


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in sorted(GOOD.fields)),
        {"id": 0},
        {"epoch": 0},
        {"chain_id": 0},
        {"vault": "07" * 19},
        {"root": "00" * 31},
        {"deltas": [[1, "aa" * 20]]},
        {"deltas": [[1, "aa" * 19, 1], [1, "bb" * 20, -1]]},
        {"deltas": [[1, "aa" * 20, 1.5], [1, "bb" * 20, -1.5]]},
        {"deltas": [["1", "aa" * 20, 1], ["1", "bb" * 20, -1]]},
        {"deltas": [[True, "aa" * 20, 1], [True, "bb" * 20, -1]]},
        {"deltas": [[1, "aa" * 20, 1]]},
        {"deltas": [[9, "aa" * 20, 1], [9, "bb" * 20, -1]]},
        {"deltas": [[1, "BB" * 20, -1], [1, "cc" * 20, 1]]},
        {"nullifiers": [["aa" * 20, 0, 1]]},
        {"nullifiers": [["aa" * 20, "zz", "1"]]},
        {"nullifiers": [["aa" * 20, "0", "0"]]},
        {"nullifiers": [["aa" * 20, "0x1", "1"]]},
        {"nullifiers": [["aa" * 20, "01", "1"]]},
        {"nullifiers": [5]},
        {"more": 1},
    ],
)
def test_another_form_is_refused(change: dict[str, Any]) -> None:
    data = Message(GOOD.op, {**GOOD.fields, **change}, GOOD.blobs).encode()
    with pytest.raises((DecodeError, SettlementRefused, ConfigError)):
        SignedSettlement.decode(data)


@pytest.mark.parametrize("data", [b"", b"noise", bytes(MAX_BYTES + 1), signed().encode() + b"\0"])
def test_what_is_no_settlement_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        SignedSettlement.decode(data)


def test_another_message_and_too_many_signatures_are_refused() -> None:
    for message in (replace(GOOD, op="result"), replace(GOOD, blobs=[bytes(65)] * 17)):
        with pytest.raises(DecodeError, match="at most 16 signatures"):
            SignedSettlement.decode(message.encode())

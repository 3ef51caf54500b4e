"""Grants: what one opens, every way to spoil one and the check it then fails, revocation, lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from commitments import sealing
from commitments.errors import DecodeError
from compliance.auditor import Auditor, box_key
from compliance.grant_checks import GrantState, check_grant, listed_grants, open_grant
from compliance.grant_revocations import Revocation
from compliance.grants import (
    LABEL_GRANT_BOX,
    MAX_BOX_BYTES,
    MAX_PURPOSE_BYTES,
    NODE_BYTES,
    Check,
    Grant,
    GrantRefused,
    Header,
    encode_node,
)
from compliance.view_keys import NO_END, ViewKey, covering
from darkpool.eip712 import Domain, keccak256, recover_digest, sign_digest
from darkpool.errors import ConfigError
from darkpool.types import Address, Signature, address_hex
from tests.compliance.audit_support import DAY, DAY_SECONDS, TERMS, account_of, market_of, seed_of
from tests.venue_support import key_of

NOW = DAY * DAY_SECONDS + 1_000
BOX = box_key(b"\x07" * 32)
AUDITOR = Auditor(account_of("eve"), BOX.public)
HEADER = Header(
    domain=TERMS.domain,
    account=account_of("ada"),
    market=TERMS.market.id,
    first_day=DAY - 2,
    last_day=DAY + 3,
    auditor=AUDITOR,
    purpose="best execution, case 7",
    issued_at=NOW,
    expires=NOW + 86_400,
    position=41,
    id=b"\x0a" * 32,
)
STANDING = [(DAY - 9, 4), (DAY - 3, 5)]
GRANT = Grant.issue(HEADER, seed_of("ada"), key_of("ada"), STANDING)


def sealed_anew(keys: list[ViewKey] | tuple[ViewKey, ...], header: Header = HEADER) -> Grant:
    """What a cheating account would sign: those nodes under that header."""
    return boxed(b"".join(encode_node(key) for key in keys), header)


def boxed(plaintext: bytes, header: Header = HEADER) -> Grant:
    box = sealing.box_seal(header.auditor.key, plaintext, LABEL_GRANT_BOX, header.encode())
    return signed(Grant(header, box, Signature(b"")))


def signed(grant: Grant, name: str = "ada") -> Grant:
    return replace(grant, signature=sign_digest(grant.digest(), key_of(name)))


def failing(call: Callable[[], object]) -> Check:
    with pytest.raises(GrantRefused) as caught:
        call()
    assert caught.value.check in caught.value.message
    assert caught.value.hint
    return caught.value.check


# --- what it opens ----------------------------------------------------------------------------------


def test_a_grant_opens_its_days_and_the_earlier_orders_still_standing_and_no_more() -> None:
    check_grant(GRANT, TERMS.domain, NOW)
    keys = open_grant(GRANT, BOX)
    assert keys == covering(seed_of("ada"), market_of("ada"), DAY - 2, DAY + 3, STANDING)
    assert len(keys) == 6 + 2


def test_keys_are_handed_out_for_the_days_asked_only() -> None:
    keys = open_grant(GRANT, BOX, (DAY, DAY + 1))
    assert keys == covering(seed_of("ada"), market_of("ada"), DAY, DAY + 1, STANDING)


def test_a_grant_of_a_market_for_all_time_is_one_node_of_which_days_are_derived() -> None:
    grant = Grant.issue(replace(HEADER, first_day=0, last_day=NO_END), seed_of("ada"), key_of("ada"))
    check_grant(grant, TERMS.domain, NOW)
    (key,) = open_grant(grant, BOX)
    assert key == ViewKey.of(seed_of("ada"), market_of("ada"))
    assert open_grant(grant, BOX, (DAY, DAY)) == covering(seed_of("ada"), market_of("ada"), DAY, DAY)
    assert failing(lambda: open_grant(grant, BOX, (0, 5_000))) is Check.RANGE


def test_only_the_holder_of_the_account_grants() -> None:
    with pytest.raises(ConfigError, match="not the account's"):
        Grant.issue(HEADER, seed_of("ada"), key_of("ben"))


# --- forms ------------------------------------------------------------------------------------------


def test_both_forms_are_read_back() -> None:
    assert Grant.decode(GRANT.encode()) == GRANT
    assert Grant.from_json(json.loads(json.dumps(GRANT.as_json()))) == GRANT
    revocation = Revocation.issue(HEADER, NOW, key_of("ada"))
    assert Revocation.decode(revocation.encode()) == revocation
    assert Revocation.from_json(json.loads(json.dumps(revocation.as_json()))) == revocation


@given(st.integers(0, len(GRANT.encode()) - 1), st.integers(1, 255))
def test_no_byte_of_a_grant_can_change(place: int, flip: int) -> None:
    data = bytearray(GRANT.encode())
    data[place] ^= flip
    with pytest.raises(GrantRefused):
        check_grant(Grant.decode(bytes(data)), TERMS.domain, NOW)


@pytest.mark.parametrize("change", [lambda d: d + b"\0", lambda d: d[:-1], lambda d: d[:0], lambda d: d[:40]])
def test_a_grant_of_another_length_is_malformed(change: Callable[[bytes], bytes]) -> None:
    assert failing(lambda: Grant.decode(change(GRANT.encode()))) is Check.MALFORMED


@pytest.mark.parametrize("name", GRANT.as_json())
@pytest.mark.parametrize("value", [None, "", "x", -1, 2**64, True, {}, "0x00"])
def test_a_json_grant_with_a_wrong_member_is_malformed(name: str, value: object) -> None:
    document: dict[str, Any] = {**GRANT.as_json(), name: value}
    if (name, value) in [("purpose", "x"), ("purpose", "0x00"), ("box", ""), ("box", "0x00")]:
        return  # texts that are well formed there
    assert failing(lambda: Grant.from_json(document)) is Check.MALFORMED


def test_a_json_grant_has_exactly_its_members() -> None:
    for name in GRANT.as_json():
        document = GRANT.as_json()
        del document[name]
        assert failing(lambda d=document: Grant.from_json(d)) is Check.MALFORMED  # type: ignore[misc]
    assert failing(lambda: Grant.from_json({**GRANT.as_json(), "more": 1})) is Check.MALFORMED
    assert failing(lambda: Grant.from_json([])) is Check.MALFORMED


def test_an_oversized_box_is_malformed() -> None:
    big = replace(GRANT, box=bytes(MAX_BOX_BYTES + 1))
    assert failing(lambda: Grant.decode(big.encode())) is Check.MALFORMED
    assert failing(lambda: Grant.from_json(big.as_json())) is Check.MALFORMED


@pytest.mark.parametrize(
    "changes",
    [
        {"id": bytes(31)},
        {"first_day": 9, "last_day": 8},
        {"last_day": NO_END + 1},
        {"purpose": ""},
        {"purpose": "two\nlines"},
        {"purpose": "\u00e9" * (MAX_PURPOSE_BYTES // 2 + 1)},
        {"expires": NOW},
        {"expires": 2**64},
        {"position": -1},
        {"account": Address(bytes(19))},
        {"market": bytes(31)},
    ],
)
def test_a_header_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replace(HEADER, **changes)


def test_the_signed_digest_is_that_of_an_independent_encoder() -> None:
    parts = [
        *("bytes32 id", "address account", "bytes32 market", "uint32 firstDay", "uint32 lastDay"),
        *("address auditor", "bytes32 auditorKey", "string purpose", "uint64 issuedAt", "uint64 expires"),
        *("uint64 position", "bytes32 box"),
    ]
    types = {"Grant": [{"name": p.split()[1], "type": p.split()[0]} for p in parts]}
    domain = {
        "name": "darkpool",
        "version": "1",
        "chainId": TERMS.chain_id,
        "verifyingContract": address_hex(TERMS.contract),
    }
    message = {
        "id": HEADER.id,
        "account": address_hex(HEADER.account),
        "market": HEADER.market,
        "firstDay": HEADER.first_day,
        "lastDay": HEADER.last_day,
        "auditor": address_hex(AUDITOR.account),
        "auditorKey": AUDITOR.key,
        "purpose": HEADER.purpose,
        "issuedAt": HEADER.issued_at,
        "expires": HEADER.expires,
        "position": HEADER.position,
        "box": sha256(GRANT.box).digest(),
    }
    signable = encode_typed_data(domain, types, message)
    expected = keccak256(b"\x19" + signable.version + signable.header + signable.body)
    assert GRANT.digest() == expected
    assert recover_digest(expected, GRANT.signature) == HEADER.account


# --- what it fails ----------------------------------------------------------------------------------


def test_each_check_is_named() -> None:
    domain, later = TERMS.domain, HEADER.expires
    other = Domain(1, TERMS.contract)
    assert failing(lambda: check_grant(GRANT, other, NOW)) is Check.VAULT
    assert failing(lambda: check_grant(signed(GRANT, "ben"), domain, NOW)) is Check.SIGNATURE
    assert failing(lambda: check_grant(replace(GRANT, signature=Signature(bytes(65))), domain, NOW)) is (
        Check.SIGNATURE
    )
    assert failing(lambda: check_grant(GRANT, domain, NOW - 61)) is Check.NOT_YET
    assert failing(lambda: check_grant(GRANT, domain, later)) is Check.EXPIRED
    check_grant(GRANT, domain, NOW - 60)
    check_grant(GRANT, domain, later - 1)


@pytest.mark.parametrize("days", [(DAY - 3, DAY), (DAY, DAY + 4), (DAY + 1, DAY)])
def test_days_it_does_not_grant_are_refused(days: tuple[int, int]) -> None:
    assert failing(lambda: check_grant(GRANT, TERMS.domain, NOW, days)) is Check.RANGE


@pytest.mark.parametrize(
    "changes",
    [
        {"market": b"\x09" * 32},
        {"first_day": DAY - 3},
        {"last_day": DAY + 4},
        {"auditor": Auditor(account_of("ben"), BOX.public)},
        {"auditor": Auditor(AUDITOR.account, box_key(b"\x08" * 32).public)},
        {"purpose": "another"},
        {"issued_at": NOW - 1},
        {"expires": HEADER.expires + 1},
        {"position": 40},
        {"id": bytes(32)},
        {"account": account_of("ben")},
    ],
    ids=lambda c: next(iter(c)),
)
def test_no_part_of_the_header_can_change(changes: dict[str, Any]) -> None:
    changed = replace(GRANT, header=replace(HEADER, **changes))
    assert failing(lambda: check_grant(changed, TERMS.domain, NOW)) is Check.SIGNATURE
    if changes.get("auditor", AUDITOR).key == BOX.public:  # even if its account signed it anew
        assert failing(lambda: open_grant(changed, BOX)) is Check.BOX


def test_another_box_is_refused_by_signature_and_by_its_binding() -> None:
    other = Grant.issue(replace(HEADER, id=b"\x0b" * 32), seed_of("ada"), key_of("ada"))
    swapped = replace(GRANT, box=other.box)
    assert failing(lambda: check_grant(swapped, TERMS.domain, NOW)) is Check.SIGNATURE
    assert failing(lambda: open_grant(signed(swapped), BOX)) is Check.BOX
    assert failing(lambda: open_grant(signed(replace(GRANT, box=b"")), BOX)) is Check.BOX


def test_another_auditor_cannot_open_it_even_under_its_own_name() -> None:
    mallory = box_key(b"\x08" * 32)
    assert failing(lambda: open_grant(GRANT, mallory)) is Check.AUDITOR
    claimed = replace(GRANT, header=replace(HEADER, auditor=Auditor(AUDITOR.account, mallory.public)))
    assert failing(lambda: open_grant(claimed, mallory)) is Check.BOX


def node(**below: int) -> ViewKey:
    return ViewKey.of(seed_of("ada"), replace(market_of("ada"), **below))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "extra",
    [{}, {"day": DAY - 3}, {"day": DAY + 4}, {"day": DAY, "nonce": 1}, {"day": DAY + 4, "nonce": 1}],
    ids=["market", "day-before", "day-after", "order-within", "order-after"],
)
def test_a_node_outside_the_stated_scope_is_refused(extra: dict[str, int]) -> None:
    keys = sorted(
        (*covering(seed_of("ada"), market_of("ada"), DAY - 2, DAY + 3), node(**extra)),
        key=lambda k: (k.scope.level, k.scope.day or 0, k.scope.nonce or 0),
    )
    assert failing(lambda: open_grant(sealed_anew(keys), BOX)) is Check.OVER_SCOPED


def test_a_box_that_lacks_a_day_is_refused() -> None:
    keys = covering(seed_of("ada"), market_of("ada"), DAY - 2, DAY + 2, STANDING)
    assert failing(lambda: open_grant(sealed_anew(keys), BOX)) is Check.INCOMPLETE
    days = replace(HEADER, first_day=0, last_day=NO_END)
    assert failing(lambda: open_grant(sealed_anew([node(day=1)], days), BOX)) is Check.OVER_SCOPED


@pytest.mark.parametrize(
    "spoil",
    [
        lambda nodes: nodes[:0],
        lambda nodes: nodes[:-1],
        lambda nodes: nodes + nodes[-NODE_BYTES:],  # twice
        lambda nodes: nodes[NODE_BYTES:] + nodes[:NODE_BYTES],  # another order
        lambda nodes: b"\x00" + nodes[1:],  # above the market
        lambda nodes: b"\x04" + nodes[1:],
        lambda nodes: nodes[:12] + b"\x01" + nodes[13:],  # a day with a nonce
    ],
)
def test_a_malformed_box_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    keys = covering(seed_of("ada"), market_of("ada"), DAY - 2, DAY + 3)
    nodes = b"".join(encode_node(key) for key in keys)
    assert failing(lambda: open_grant(boxed(spoil(nodes)), BOX)) is Check.MALFORMED


def test_no_repr_shows_a_key() -> None:
    for key in open_grant(GRANT, BOX):
        assert key.node.secret.hex() not in repr((GRANT, key, BOX))
    assert GRANT.box.hex() not in repr(GRANT)


# --- revocation -------------------------------------------------------------------------------------


def test_a_revocation_refuses_its_day_and_later_ones_from_then_on() -> None:
    at = (DAY + 1) * DAY_SECONDS + 5
    taken = [Revocation.issue(HEADER, at + 9, key_of("ada")), Revocation.issue(HEADER, at, key_of("ada"))]
    long = signed(replace(GRANT, header=replace(HEADER, expires=at + 10**6)))
    check_grant(long, TERMS.domain, at - 1, revocations=taken)
    check_grant(long, TERMS.domain, at, (DAY - 2, DAY), taken)
    for days in ((DAY, DAY + 1), (DAY + 1, DAY + 1), (DAY + 3, DAY + 3), None):
        assert failing(lambda d=days: check_grant(long, TERMS.domain, at, d, taken)) is Check.REVOKED  # type: ignore[misc]


def test_a_revocation_of_another_grant_changes_nothing() -> None:
    other = Revocation.issue(replace(HEADER, id=bytes(32)), 1, key_of("ada"))
    check_grant(GRANT, TERMS.domain, NOW, revocations=[other])


def test_a_forged_revocation_is_named() -> None:
    bens, elsewhere = (
        replace(HEADER, account=account_of("ben")),
        replace(HEADER, domain=Domain(1, TERMS.contract)),
    )
    true = Revocation.issue(HEADER, 1, key_of("ada"))
    for forged in (
        Revocation.issue(HEADER, 1, key_of("ben")),
        Revocation.issue(bens, 1, key_of("ben")),
        Revocation.issue(elsewhere, 1, key_of("ada")),
        replace(true, at=2),
        replace(true, signature=Signature(bytes(65))),
    ):
        assert failing(lambda f=forged: check_grant(GRANT, TERMS.domain, NOW, revocations=[true, f])) is (  # type: ignore[misc]
            Check.REVOCATION
        )


@pytest.mark.parametrize("spoil", [lambda d: d[:-1], lambda d: d + b"\0", lambda d: b"\0\2" + d[2:]])
def test_a_malformed_revocation_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    data = Revocation.issue(HEADER, 1, key_of("ada")).encode()
    assert failing(lambda: Revocation.decode(spoil(data))) is Check.MALFORMED
    assert failing(lambda: Revocation.from_json({"format": "?"})) is Check.MALFORMED


# --- lists ------------------------------------------------------------------------------------------


def test_lists_for_both_sides_say_what_each_grant_is_good_for() -> None:
    headers = {
        GrantState.ACTIVE: HEADER,
        GrantState.EXPIRED: replace(HEADER, id=b"\x01" * 32, issued_at=NOW - 9, expires=NOW),
        GrantState.NOT_YET: replace(HEADER, id=b"\x02" * 32, issued_at=NOW + 99),
        GrantState.REVOKED: replace(HEADER, id=b"\x03" * 32, issued_at=NOW - 5),
    }
    grants = [Grant.issue(h, seed_of("ada"), key_of("ada")) for h in headers.values()]
    bens = replace(
        HEADER, id=b"\x04" * 32, account=account_of("ben"), auditor=Auditor(account_of("cyd"), BOX.public)
    )
    grants.append(Grant.issue(bens, seed_of("ben"), key_of("ben")))
    taken = [Revocation.issue(headers[GrantState.REVOKED], NOW, key_of("ada"))]
    mine = listed_grants(grants, taken, NOW, account=account_of("ada"))
    assert mine == listed_grants(grants, taken, NOW, auditor=AUDITOR.account)
    assert {row.state: row.header for row in mine} == headers
    assert [row.header.issued_at for row in mine] == sorted(row.header.issued_at for row in mine)
    assert [row.revoked_at for row in mine if row.state is GrantState.REVOKED] == [NOW]
    assert [row.header for row in listed_grants(grants, taken, NOW, account=account_of("ben"))] == [bens]
    assert len(listed_grants(grants, taken, NOW)) == 5
    assert failing(lambda: listed_grants([signed(grants[0], "ben")], [], NOW)) is Check.SIGNATURE


def test_an_auditors_key_must_be_one_that_can_be_sealed_to() -> None:
    with pytest.raises(ConfigError, match="auditor key"):
        Auditor(account_of("eve"), bytes(32))
    with pytest.raises(DecodeError):
        sealing.check_public(bytes(32))

"""Credentials and revocation lists: each way in which one does not count is refused by its own name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from compliance.credential_check import MAX_SERIAL, Check, CredentialRefused
from compliance.credential_revocations import RevocationList, Revocations, RevocationsRefused
from compliance.credentials import MAX_LIFETIME, Claim, Credential
from compliance.policy_config import Issuer
from darkpool import eip712
from darkpool.errors import ConfigError
from darkpool.types import Address, PrivateKey, Signature
from tests.compliance.policy_support import ALICE, MALLORY, NOW

KEY = PrivateKey(b"\x01" * 32)
OTHER_KEY = PrivateKey(b"\x02" * 32)
SIGNER = eip712.address_of(KEY)
DOMAIN = eip712.Domain(31_337, Address(b"\xcc" * 20))
ISSUERS = {SIGNER: Issuer("kyc", "An issuer", SIGNER, frozenset({"US", "DE"}), 3600)}
CLAIM = Claim(ALICE, "US-NY", "pro", NOW - 10, NOW + 10, 7, SIGNER)
GOOD = Credential(CLAIM, DOMAIN).signed(KEY)
EMPTY = RevocationList(SIGNER, DOMAIN, 1, NOW, ()).signed(KEY)


def verified(credential: Credential, changes: Mapping[str, Any] = MappingProxyType({})) -> Claim:
    known: dict[str, Any] = {
        "domain": DOMAIN,
        "issuers": ISSUERS,
        "account": ALICE,
        "at": NOW,
        "revocations": Revocations(DOMAIN, [EMPTY]),
    }
    return credential.verify(**{**known, **changes})


def signed(claim: Claim) -> Credential:
    return Credential(claim, DOMAIN).signed(KEY)


REVOKED = Revocations(DOMAIN, [RevocationList(SIGNER, DOMAIN, 1, NOW, (3, 7)).signed(KEY)])
STALE = Revocations(DOMAIN, [RevocationList(SIGNER, DOMAIN, 1, NOW - 3601, ()).signed(KEY)])
REFUSALS: list[tuple[Check, Credential, dict[str, Any]]] = [
    (Check.FOREIGN, GOOD, {"domain": replace(DOMAIN, chain_id=1)}),
    (Check.FOREIGN, GOOD, {"domain": replace(DOMAIN, contract=Address(b"\xcd" * 20))}),
    (Check.ISSUER, GOOD, {"issuers": {}}),
    (Check.ISSUER, replace(GOOD, claim=replace(CLAIM, issuer=MALLORY)), {}),
    (Check.SIGNATURE, Credential(CLAIM, DOMAIN).signed(OTHER_KEY), {}),
    (Check.SIGNATURE, Credential(CLAIM, replace(DOMAIN, chain_id=1)).signed(KEY), {}),
    (Check.SCOPE, signed(replace(CLAIM, jurisdiction="FR")), {}),
    (Check.SUBJECT, GOOD, {"account": MALLORY}),
    (Check.EARLY, GOOD, {"at": NOW - 11}),
    (Check.EXPIRED, GOOD, {"at": NOW + 10}),
    (Check.REVOKED, GOOD, {"revocations": REVOKED}),
    (Check.REVOCATIONS_MISSING, GOOD, {"revocations": Revocations(DOMAIN)}),
    (Check.REVOCATIONS_STALE, GOOD, {"revocations": STALE}),
]


def test_a_good_credential_states_its_claim() -> None:
    assert verified(GOOD) == CLAIM
    assert verified(GOOD, {"at": NOW - 10}) == CLAIM
    assert verified(GOOD, {"at": NOW + 9}) == CLAIM


@pytest.mark.parametrize(
    "check, credential, changes", REFUSALS, ids=lambda v: str(v) if isinstance(v, Check) else ""
)
def test_each_failing_check_has_its_name(
    check: Check, credential: Credential, changes: dict[str, Any]
) -> None:
    if check is Check.SIGNATURE:
        credential = replace(credential, domain=DOMAIN)
    with pytest.raises(CredentialRefused) as caught:
        verified(credential, changes)
    assert caught.value.check is check
    assert caught.value.code == f"credential-{check}"
    assert caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"subject": MALLORY},
        {"jurisdiction": "US"},
        {"investor_class": "retail"},
        {"issued": NOW - 9},
        {"expires": NOW + 11},
        {"serial": 8},
    ],
    ids=lambda c: next(iter(c)),
)
def test_no_field_can_be_changed_after_signing(change: dict[str, Any]) -> None:
    with pytest.raises(CredentialRefused) as caught:
        verified(replace(GOOD, claim=replace(CLAIM, **change)), {"account": change.get("subject", ALICE)})
    assert caught.value.check is Check.SIGNATURE


@given(st.integers(0, 64), st.integers(0, 7))
def test_no_bit_of_a_signature_can_be_changed(index: int, bit: int) -> None:
    data = bytearray(GOOD.signature)
    data[index] ^= 1 << bit
    with pytest.raises(CredentialRefused) as caught:
        verified(replace(GOOD, signature=Signature(bytes(data))))
    assert caught.value.check is Check.SIGNATURE


def typed(primary: str, fields: dict[str, str], message: dict[str, object]) -> bytes:
    """What another implementation of EIP-712 signs."""
    types = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    document = {
        "domain": {
            "name": "darkpool",
            "version": "1",
            "chainId": 31_337,
            "verifyingContract": "0x" + "cc" * 20,
        },
        "types": {
            "EIP712Domain": [{"name": n, "type": t} for n, t in types.items()],
            primary: [{"name": n, "type": t} for n, t in fields.items()],
        },
        "primaryType": primary,
        "message": message,
    }
    signed = Account.sign_message(encode_typed_data(full_message=document), KEY)
    return bytes(signed.signature)


def test_another_eip712_signs_the_same() -> None:
    fields = {
        "subject": "address",
        "jurisdiction": "string",
        "investorClass": "string",
        "issued": "uint64",
        "expires": "uint64",
        "serial": "uint64",
        "issuer": "address",
    }
    message: dict[str, object] = {
        "subject": ALICE,
        "jurisdiction": "US-NY",
        "investorClass": "pro",
        "issued": NOW - 10,
        "expires": NOW + 10,
        "serial": 7,
        "issuer": SIGNER,
    }
    assert typed("Credential", fields, message) == GOOD.signature
    held = RevocationList(SIGNER, DOMAIN, 5, NOW, (2, 3, 70_000)).signed(KEY)
    fields = {"issuer": "address", "sequence": "uint64", "issued": "uint64", "serials": "uint64[]"}
    listed: dict[str, object] = {"issuer": SIGNER, "sequence": 5, "issued": NOW, "serials": [2, 3, 70_000]}
    assert typed("RevocationList", fields, listed) == held.signature


# --- files ------------------------------------------------------------------------------------------


def written(value: object) -> bytes:
    return json.dumps(value).encode()


def test_files_go_there_and_back() -> None:
    assert Credential.from_bytes(written(GOOD.as_json())) == GOOD
    held = EMPTY.next(NOW + 5, [9, 4]).signed(KEY)
    assert RevocationList.from_bytes(written(held.as_json())) == held
    assert (held.sequence, held.issued, held.serials) == (2, NOW + 5, (4, 9))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"format": "darkpool-keystore"},
        {"chain_id": 0},
        {"contract": "0x00"},
        {"subject": None},
        {"jurisdiction": "us"},
        {"jurisdiction": "U" * 3000},
        {"investor_class": "Pro"},
        {"issued": -1},
        {"expires": NOW - 10},
        {"expires": NOW + MAX_LIFETIME},
        {"serial": MAX_SERIAL + 1},
        {"serial": True},
        {"signature": "0x"},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_malformed_credential_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(CredentialRefused) as caught:
        Credential.from_bytes(written({**GOOD.as_json(), **change}))
    assert caught.value.check is Check.MALFORMED


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_order(data: bytes) -> None:
    with pytest.raises(CredentialRefused):
        Credential.from_bytes(data)
    with pytest.raises(RevocationsRefused):
        RevocationList.from_bytes(data)


@pytest.mark.parametrize(
    "change",
    [
        {"serials": [2, 1]},
        {"serials": [1, 1]},
        {"serials": [-1]},
        {"serials": [True]},
        {"sequence": 2},
        {"issued": 1},
    ],
    ids=str,
)
def test_a_malformed_or_changed_list_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(RevocationsRefused):
        RevocationList.from_bytes(written({**EMPTY.as_json(), **change}))


def test_a_list_cannot_be_rolled_back_or_doubled() -> None:
    held = Revocations(DOMAIN, [EMPTY])
    second = EMPTY.next(NOW, [7]).signed(KEY)
    held.take(second)
    held.take(second)
    with pytest.raises(RevocationsRefused, match="number 1, but 2 is held"):
        held.take(EMPTY)
    with pytest.raises(RevocationsRefused, match="two lists numbered 2"):
        held.take(EMPTY.next(NOW, [8]).signed(KEY))
    with pytest.raises(RevocationsRefused, match="chain 1"):
        held.take(RevocationList(SIGNER, replace(DOMAIN, chain_id=1), 3, NOW, ()).signed(KEY))
    with pytest.raises(RevocationsRefused, match="not signed"):
        held.take(RevocationList(SIGNER, DOMAIN, 3, NOW, ()).signed(OTHER_KEY))
    assert held.sequences == {SIGNER: 2}
    with pytest.raises(CredentialRefused, match="revoked by list 2"):
        held.check(ISSUERS[SIGNER], 7, NOW)


def test_a_revoked_number_stays_so_however_old_the_list() -> None:
    old = Revocations(DOMAIN, [RevocationList(SIGNER, DOMAIN, 1, 0, (7,)).signed(KEY)])
    with pytest.raises(CredentialRefused) as caught:
        verified(GOOD, {"revocations": old})
    assert caught.value.check is Check.REVOKED


def test_a_claim_has_bounds() -> None:
    with pytest.raises(ConfigError, match="seconds"):
        replace(CLAIM, expires=CLAIM.issued)

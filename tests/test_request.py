"""Signed requests: against eth_account, and every way a header, an expiry or a signature can be off."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from darkpool.eip712 import Domain, address_of, keccak256, sign_digest
from darkpool.errors import OrderRefused
from darkpool.request import MAX_HEADER, Caller, check_request, request_digest, sign_request
from darkpool.types import Address, PrivateKey, address_hex
from tests.eip712_domain import DOMAIN_TYPE

KEY: Final = PrivateKey(bytes(range(1, 33)))
ACCOUNT: Final = address_of(KEY)
DOMAIN: Final = Domain(31_337, Address(b"\x01" * 20))
NOW: Final = 1_800_000_000
EXPIRES: Final = NOW + 30
TARGET: Final = "/v1/accounts/x/orders?limit=5"
BODY: Final = b"body"


def signed(expires: int = EXPIRES) -> str:
    return sign_request(KEY, DOMAIN, "GET", TARGET, BODY, expires)


def check(header: str, now: int = NOW, domain: Domain = DOMAIN) -> Caller:
    return check_request(header, "GET", TARGET, BODY, now, domain, 60)


def code_of(header: str, now: int = NOW) -> str:
    with pytest.raises(OrderRefused) as refused:
        check(header, now)
    assert refused.value.hint
    return refused.value.code


def test_a_signed_request_names_its_account_nonce_and_expiry() -> None:
    header = signed()
    caller = check(header)
    assert (caller.account, caller.expires) == (ACCOUNT, EXPIRES)
    assert f"nonce=0x{caller.nonce.hex()}," in header
    assert len(header) <= MAX_HEADER


def test_each_request_has_a_nonce_of_its_own() -> None:
    assert len({check(signed()).nonce for _ in range(8)}) == 8


@given(
    st.binary(min_size=20, max_size=20).map(Address),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**64 - 1),
    st.text(max_size=40),
    st.text(max_size=40),
    st.binary(max_size=40),
)
def test_requests_hash_as_eth_account_hashes_them(
    account: Address, nonce: bytes, expires: int, method: str, target: str, body: bytes
) -> None:
    kinds = {
        "account": "address",
        "method": "string",
        "target": "string",
        "body": "bytes32",
        "nonce": "bytes32",
        "expires": "uint64",
    }
    types = {
        "EIP712Domain": DOMAIN_TYPE,
        "Request": [{"name": name, "type": kind} for name, kind in kinds.items()],
    }
    typed = {
        "types": types,
        "primaryType": "Request",
        "domain": {
            "name": "darkpool",
            "version": "1",
            "chainId": DOMAIN.chain_id,
            "verifyingContract": "0x" + DOMAIN.contract.hex(),
        },
        "message": {
            "account": "0x" + account.hex(),
            "method": method,
            "target": target,
            "body": keccak256(body),
            "nonce": nonce,
            "expires": expires,
        },
    }
    expected = Account.sign_message(encode_typed_data(full_message=typed), KEY).message_hash
    assert request_digest(DOMAIN, Caller(account, nonce, expires), method, target, body) == expected


@pytest.mark.parametrize("now", [EXPIRES, EXPIRES + 1, EXPIRES - 61, 0])
def test_an_expired_request_and_one_that_lives_too_long_are_refused(now: int) -> None:
    assert code_of(signed(), now) == "request-expired"


@pytest.mark.parametrize("now", [EXPIRES - 1, EXPIRES - 60])
def test_the_ends_of_its_life_are_accepted(now: int) -> None:
    assert check(signed(), now).account == ACCOUNT


@pytest.mark.parametrize(
    "part",
    [("POST", TARGET, BODY), ("GET", TARGET + "0", BODY), ("GET", TARGET, b""), ("get", TARGET, BODY)],
)
def test_another_method_target_or_body_is_not_what_was_signed(part: tuple[str, str, bytes]) -> None:
    method, target, body = part
    with pytest.raises(OrderRefused, match="signature") as refused:
        check_request(signed(), method, target, body, NOW, DOMAIN, 60)
    assert refused.value.code == "bad-signature"


def test_a_request_to_another_vault_is_not_what_was_signed() -> None:
    for other in (Domain(1, DOMAIN.contract), Domain(DOMAIN.chain_id, Address(b"\x02" * 20))):
        with pytest.raises(OrderRefused) as refused:
            check(signed(), domain=other)
        assert refused.value.code == "bad-signature"


@pytest.mark.parametrize("name", ["account", "nonce", "expires", "signature"])
def test_each_changed_parameter_is_refused(name: str) -> None:
    changed = {
        "account": "0x" + "22" * 20,
        "nonce": "0x" + "00" * 32,
        "expires": str(EXPIRES + 1),
        "signature": "0x" + "11" * 65,
    }[name]
    assert code_of(re.sub(f"{name}=[^,]*", f"{name}={changed}", signed())) == "bad-signature"


def test_another_accounts_signature_is_refused() -> None:
    caller = check(signed())
    other = sign_digest(request_digest(DOMAIN, caller, "GET", TARGET, BODY), PrivateKey(b"\x09" * 32))
    assert code_of(re.sub("signature=.*", f"signature=0x{other.hex()}", signed())) == "bad-signature"


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda h: h.replace("Darkpool ", "Bearer "),
        lambda h: h.replace("Darkpool ", ""),
        lambda h: h.replace("Darkpool ", "Darkpool  "),
        lambda h: h.replace(",", ", "),
        lambda h: h + ",",
        lambda h: h + "\n",
        lambda h: h + "0",
        lambda h: " " + h,
        lambda h: h[:-1],
        lambda h: h + " " * 512,
        lambda h: re.sub("nonce=0x", "nonce=", h),
        lambda h: re.sub("nonce=0x..", "nonce=0xAB", h),
        lambda h: re.sub("nonce=0x..", "nonce=0x", h),
        lambda h: re.sub("expires=", "expires=0", h),
        lambda h: re.sub("expires=", "expires=-", h),
        lambda h: re.sub("expires=", "expires=+", h),
        lambda h: re.sub("expires=[0-9]+", "expires=1e9", h),
        lambda h: re.sub("expires=[0-9]+", "expires=" + "9" * 21, h),
        lambda h: re.sub("expires=[0-9]+", "expires=١٢", h),
        lambda h: re.sub("expires=[0-9]+,", "", h),
        lambda h: re.sub("account=[^,]*", "account=0x" + "aB" * 20, h),
        lambda h: re.sub("account=0x", "account=", h),
        lambda h: ",".join(reversed(h.split(","))),
    ],
)
def test_a_malformed_header_is_refused(change: Callable[[str], str]) -> None:
    assert code_of(change(signed())) == "bad-authorization"


def test_an_expiry_beyond_64_bits_is_refused_before_it_is_hashed() -> None:
    assert code_of(re.sub("expires=[0-9]+", "expires=" + "9" * 20, signed())) == "request-expired"


def test_the_scheme_is_named_in_any_case_and_the_account_without_checksum() -> None:
    header = signed().replace("Darkpool", "darkpool")
    assert check(header.replace(address_hex(ACCOUNT), "0x" + ACCOUNT.hex())).account == ACCOUNT


@given(st.text(max_size=600))
def test_any_text_is_refused_as_a_refusal(text: str) -> None:
    assert code_of(text) == "bad-authorization"

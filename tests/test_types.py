"""Addresses as text."""

from __future__ import annotations

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from darkpool.errors import ConfigError
from darkpool.types import Address, address_hex, parse_address


@given(st.binary(min_size=20, max_size=20))
def test_text_is_checksummed_and_reads_back(raw: bytes) -> None:
    text = address_hex(Address(raw))
    assert text == to_checksum_address(raw)
    for form in (text, text.lower(), "0x" + text[2:].upper()):
        assert parse_address(form) == raw


def test_published_checksums() -> None:
    # The examples of EIP-55.
    for text in (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ):
        assert address_hex(parse_address(text.lower())) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed0",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg",
        "0X5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        " 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed\n",
        "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


@pytest.mark.parametrize("length", [0, 19, 21, 32])
def test_other_lengths_have_no_text(length: int) -> None:
    with pytest.raises(ConfigError):
        address_hex(Address(bytes(length)))

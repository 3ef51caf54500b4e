"""Bech32m against the published strings of BIP-350, and every way to spoil one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments.errors import DecodeError, ParameterError
from compliance import bech32m

BITCOIN_LIMIT = 90
VALID = (
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
)
INVALID = (
    "\x201xj0phk",
    "\x7f1g6xzxy",
    "\x801vctc34",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
    "qyrz8wqd2c9m",
    "1qyrz8wqd2c9m",
    "y1b0jsk6g",
    "lt1igcx5c0",
    "in1muywd",
    "mm1crxm3i",
    "au1s5cgom",
    "M1VUXWEZ",
    "16plkw9",
    "1p2gdwpf",
    "A12UEL5L",  # Bech32, the older checksum
)


@pytest.mark.parametrize("text", VALID)
def test_published_strings_are_read_and_written(text: str) -> None:
    hrp, values = bech32m.split(text, "text", BITCOIN_LIMIT)
    assert bech32m.join(hrp, values) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_published_bad_strings_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        bech32m.split(text, "text", BITCOIN_LIMIT)


@given(st.binary(max_size=150))
def test_bytes_survive(data: bytes) -> None:
    text = bech32m.encode("dp", data)
    assert bech32m.decode(text, "dp", "text") == bech32m.decode(text.upper(), "dp", "text") == data


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_wrong_character_is_found(data: bytes, draw: st.DataObject) -> None:
    text = bech32m.encode("dp", data)
    place = draw.draw(st.integers(3, len(text) - 1))
    other = draw.draw(st.sampled_from(sorted(set("qpzry9x8gf2tvdw0s3jn54khce6mua7l") - {text[place]})))
    with pytest.raises(DecodeError, match="checksum"):
        bech32m.decode(text[:place] + other + text[place + 1 :], "dp", "text")


@pytest.mark.parametrize(
    "text,problem",
    [
        (bech32m.encode("dq", b"key"), "does not begin with dp1"),
        (bech32m.encode("dp", b"key").replace("dp", "dP"), "mixes"),
        (bech32m.join("dp", [0, 1]), "more than whole bytes"),  # padding bits that are not zero
        (bech32m.join("dp", [0]), "more than whole bytes"),  # a character too many
        ("dp1" + "q" * 254, "257 characters"),
    ],
)
def test_what_is_no_bytes_is_refused_unquoted(text: str, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem) as caught:
        bech32m.decode(text, "dp", "text")
    assert text not in str(caught.value)


def test_too_long_is_not_written() -> None:
    with pytest.raises(ParameterError, match="limit is 256"):
        bech32m.encode("dp", bytes(160))

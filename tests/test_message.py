"""Requests, replies and entries of the log: one wire form, and nothing malformed gets in."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments.encoding import Writer
from commitments.errors import DecodeError
from darkpool.errors import ConfigError
from darkpool.message import MAX_BLOBS, MAX_HEAD, Message, read_terms, terms_message
from tests.commitments_support import auditor_keys
from tests.venue_support import seats, some_terms

values = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=20)
fields = st.dictionaries(
    st.text(max_size=8).filter(lambda k: k != "op"), values | st.lists(values, max_size=3)
)


@given(st.text(max_size=12), fields, st.lists(st.binary(max_size=40), max_size=4))
def test_a_message_survives_the_wire(op: str, fields_: dict[str, Any], blobs: list[bytes]) -> None:
    message = Message(op, fields_, blobs)
    again = Message.decode(message.encode())
    assert (again.op, again.fields, list(again.blobs)) == (op, fields_, blobs)
    assert again.encode() == message.encode()


@given(st.binary(max_size=200))
def test_noise_is_refused_or_read_but_never_anything_else(data: bytes) -> None:
    with suppress(DecodeError):
        Message.decode(data)


def test_no_truncation_and_no_trailing_byte_decodes() -> None:
    data = Message("orders", {"now": 5}, [b"abc", b""]).encode()
    for length in range(len(data)):
        with pytest.raises(DecodeError):
            Message.decode(data[:length])
    with pytest.raises(DecodeError, match="trailing"):
        Message.decode(data + b"\0")


def headed(head: bytes, blobs: int = 0) -> bytes:
    return bytes(Writer().var(head).uint(blobs, 4))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"null",
        b"[]",
        b'"op"',
        b"{}",
        b'{"op":1}',
        b'{"op":null}',
        b'{"op":["clear"]}',
        b'{"op":"clear"',
        b'{"op":"clear"} x',
        b"\xff\xfe\xfd",
        b"[" * 200_000,
        b'["]",' * 100_000,
        b'["\\"]",' * 100_000,
        b'"' + b'\\"' * 300_000,
        b'{"op":' * 50_000,
        b'{"op":"x","n":' + b"9" * 5_000 + b"}",
    ],
)
def test_a_head_that_is_no_request_is_refused(head: bytes) -> None:
    with pytest.raises(DecodeError, match="head"):
        Message.decode(headed(head))


def test_bounds_are_checked_before_anything_is_read() -> None:
    with pytest.raises(DecodeError, match="head"):
        Message.decode((MAX_HEAD + 1).to_bytes(4))
    with pytest.raises(DecodeError, match="blobs"):
        Message.decode(headed(b'{"op":"x"}', MAX_BLOBS + 1))
    with pytest.raises(DecodeError, match="blob 0"):
        Message.decode(headed(b'{"op":"x"}', 1) + b"\xff" * 4)


@pytest.mark.parametrize("value", [None, True, False, "5", 5.0, [5], {"n": 5}, -1, 1 << 64])
def test_what_is_no_integer_within_bounds_is_refused(value: object) -> None:
    with pytest.raises(DecodeError, match="now: not an integer from 0"):
        Message("x", {"now": value}).integer("now")


def test_integers_keep_their_bounds() -> None:
    message = Message("x", {"n": 5})
    assert message.integer("n") == message.integer("n", 5, 5) == 5
    for low, high in ((6, 9), (0, 4)):
        with pytest.raises(DecodeError, match=f"from {low} to {high}"):
            message.integer("n", low, high)
    with pytest.raises(DecodeError, match="missing"):
        message.integer("missing")


@pytest.mark.parametrize("value", [None, 5, "0", "zz", "00 ", "0x00", ["00"], "\u0660\u0660"])
def test_what_is_no_hexadecimal_is_refused(value: object) -> None:
    with pytest.raises(DecodeError, match="key: not 1 bytes in hexadecimal"):
        Message("x", {"key": value}).octets("key", 1)


def test_octets_have_their_width() -> None:
    message = Message("x", {"key": "00ff"})
    assert message.octets("key") == message.octets("key", 2) == b"\0\xff"
    for width in (0, 1, 3):
        with pytest.raises(DecodeError, match=f"not {width} bytes"):
            message.octets("key", width)


@pytest.mark.parametrize("value", [None, True, 5, b"x", ["a"], {"a": 1}, "abcd", "\u00e9" * 4])
def test_what_is_no_text_within_its_limit_is_refused(value: object) -> None:
    with pytest.raises(DecodeError, match="why: not a text of at most 3 characters"):
        Message("x", {"why": value}).text("why", 3)
    with pytest.raises(DecodeError, match="missing: not a text"):
        Message("x", {}).text("missing", 3)


@pytest.mark.parametrize("value", ["", "abc", "\u00e9" * 3])
def test_a_text_is_as_it_was_sent(value: str) -> None:
    message = Message.decode(Message("x", {"why": value}).encode())
    assert message.text("why", 3) == value


def test_repr_shows_no_blob() -> None:
    assert "beef" not in repr(Message("x", {}, [b"\xbe\xef", b"beef"]))


# --- terms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [0, 1, 3])
def test_terms_survive_the_wire(keys: int) -> None:
    terms = replace(
        some_terms(pressure_ticks=2, min_volume=5, min_accounts=2, min_orders=3),
        auditor_keys=auditor_keys(keys),
    )
    again = read_terms(Message.decode(terms_message(terms, 5).encode()), seats()[0].committee.key)
    assert again == terms
    assert again.hash == terms.hash


@pytest.mark.parametrize("name", sorted(terms_message(some_terms(), 5).fields.keys() - {"time"}))
@pytest.mark.parametrize("value", [None, -1, 1.5, "zz", [], {}, True])
def test_every_field_of_terms_is_checked(name: str, value: object) -> None:
    message = terms_message(some_terms(), 5)
    value = 5 if (name, value) == ("name", "zz") else value  # which would be a name
    with pytest.raises((DecodeError, ConfigError)):
        read_terms(replace(message, fields={**message.fields, name: value}), seats()[0].committee.key)


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": "aa" * 19},
        {"tokens": "aa" * 20},
        {"tokens": ""},
        {"auditor_keys": "aa" * 47},
        {"auditor_keys": "00" * 48},
        {"auditor_keys": "".join(k.encode().hex() for k in reversed(auditor_keys(2)))},
        {"auditor_keys": "".join(k.encode().hex() for k in auditor_keys(9))},
        {"base": (b"\xc0" * 20).hex()},
        {"contract": "aa" * 19},
        {"market": "aa" * 31},
        {"levels": 1},
        {"levels": 257},
        {"tick": 0},
        {"p_0": 0},
        {"lot": 0},
        {"min_volume": 0},
        {"min_accounts": 0},
        {"min_orders": 0},
        {"chain_id": 0},
        {"settle_window": 0},
        {"name": ""},
        {"name": "x" * 65},
        {"name": "\u00e9"},
    ],
)
def test_terms_out_of_range_are_refused(changes: dict[str, object]) -> None:
    message = terms_message(some_terms(), 5)
    with pytest.raises((DecodeError, ConfigError)):
        read_terms(replace(message, fields={**message.fields, **changes}), seats()[0].committee.key)


def test_heads_are_canonical() -> None:
    head = terms_message(some_terms(), 5).encode()[4:]
    text = head[: head.index(b"}") + 1]
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode()

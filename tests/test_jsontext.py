"""JSON from outside: bounded in depth before the parser sees it, whatever the recursion limit is."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments.errors import DecodeError
from darkpool.jsontext import MAX_DEPTH, parsed

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def high_limit() -> Iterator[None]:
    """The limit that py_ecc sets for the whole process when it is imported."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    yield
    sys.setrecursionlimit(before)


@given(values)
def test_any_shallow_value_is_read(value: object) -> None:
    assert parsed(json.dumps(value).encode(), "head") == value


@given(st.text('[]{}"\\,:', max_size=40))
def test_brackets_in_strings_do_not_count(text: str) -> None:
    assert parsed(json.dumps([text, {text: [text]}]).encode(), "head") == [text, {text: [text]}]


@pytest.mark.parametrize("opening,closing", [("[", "]"), ('{"a":', "}")])
def test_the_limit_is_exact(opening: str, closing: str) -> None:
    parsed(f"{opening * MAX_DEPTH}1{closing * MAX_DEPTH}".encode(), "head")
    deeper = MAX_DEPTH + 1
    with pytest.raises(DecodeError, match=f"head: nested deeper than {MAX_DEPTH}"):
        parsed(f"{opening * deeper}1{closing * deeper}".encode(), "head")


@pytest.mark.usefixtures("high_limit")
@pytest.mark.parametrize(
    "level", [b"[", b'{"a":', b'["]",', b'["\\"]",', b'["\\\\","]]",', b'[{"]":', b"[1,"]
)
def test_deep_nesting_is_refused_however_it_is_disguised(level: bytes) -> None:
    with pytest.raises(DecodeError, match="head"):
        parsed(level * 50_000, "head")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"]",
        b"[}",
        b'"',
        b'"\\',
        b"\xff",
        b"[1] 2",
        b"\xef\xbb\xbf[]",
        b"[\x00]",
        "[]".encode("utf-16"),
    ],
)
def test_what_is_no_json_in_utf_8_is_refused_and_not_quoted(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        parsed(data, "head")
    assert str(caught.value) == "head: not JSON"


def test_the_scan_is_linear() -> None:
    started = time.perf_counter()
    for data in (b'"' + b'\\"' * 500_000, b'"' * 1_000_000, b'"' + b"\\" * 1_000_001):
        with pytest.raises(DecodeError):
            parsed(data, "head")
    assert time.perf_counter() - started < 10

"""Small discrete logarithms: every q is found, nothing else is, and a bad table is never trusted."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.discrete_log import DEFAULT_BITS, MAX_BITS, MIN_BITS, Table
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.group import Point, using_backend
from commitments.params import GROUP_ORDER, LABEL_LOG_TABLE
from commitments.pedersen import generator_g, generator_h

BITS = 16
BABY, STRIDE, LIMIT = 1 << BITS, 2 << BITS, 1 << 32
HEAD = len(LABEL_LOG_TABLE) + 1 + 48
G = generator_g()


@cache
def table() -> Table:
    return Table.build(BITS)


@cache
def encoded() -> bytes:
    return Table.build(MIN_BITS).encode()


# --- lookup -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "q",
    [
        *(0, 1, BABY - 1, BABY, BABY + 1, STRIDE - 1, STRIDE, STRIDE + 1),
        *(1024 * STRIDE - 1, 1024 * STRIDE, 1024 * STRIDE + BABY, 1025 * STRIDE, 2048 * STRIDE - BABY),
        *(LIMIT - STRIDE, LIMIT - BABY, LIMIT - 1),
    ],
)
def test_the_edges_of_every_step(q: int) -> None:
    assert table().logarithm(G * q) == q


@given(q=st.integers(0, LIMIT - 1))
@settings(max_examples=30, deadline=None)
def test_any_quantity(q: int) -> None:
    assert table().logarithm(G * q) == q


@pytest.mark.parametrize(
    "point",
    [
        *(G * LIMIT, G * (LIMIT + 1), G * (LIMIT + BABY), G * (LIMIT + BABY + 1), G * (GROUP_ORDER - 1)),
        *(G * (GROUP_ORDER - STRIDE), generator_h(), generator_h() + G),
    ],
)
def test_what_is_no_quantity_is_refused(point: Point) -> None:
    with pytest.raises(VerificationError, match="below 2\\^32"):
        table().logarithm(point)


def test_the_reference_backend_agrees() -> None:
    data = table().encode()
    with using_backend("reference"):
        assert Table.decode(data).logarithm(generator_g() * 70_001) == 70_001


def test_baby_steps_are_the_multiples_of_the_generator() -> None:
    by_step = dict(zip(table().steps.tolist(), table().keys.tolist(), strict=True))
    assert sorted(by_step) == list(range(1, BABY + 1))
    for j in (1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 3072, 3073, BABY):
        assert by_step[j] == int.from_bytes((G * j).encode_xy()[40:48], "big")


def test_a_shared_key_does_not_hide_a_step() -> None:
    # Two baby steps whose low 64 bits agree: both are tried, whichever comes first.
    small = Table.build(MIN_BITS)
    for at in (100, 101):
        keys, steps = np.insert(small.keys, at, small.keys[100]), np.insert(small.steps, at, 1)
        q = int(small.steps[100])
        assert replace(small, keys=keys, steps=steps).logarithm(G * q) == q


def test_a_wrong_table_gives_no_wrong_answer() -> None:
    wrong = replace(table(), steps=np.roll(table().steps, 1))
    with pytest.raises(VerificationError):
        wrong.logarithm(G * 12_345)


@pytest.mark.slow
def test_the_default_table_answers_far_below_a_second() -> None:
    seen: list[int] = []
    full = Table.build(progress=seen.append)
    assert seen[-1] == 1 << DEFAULT_BITS
    full.logarithm(G * (LIMIT - 1))  # the giant steps are made once
    for q in (LIMIT - 1, 3_999_999_999, 123_456_789, 1):
        start = time.perf_counter()
        assert full.logarithm(G * q) == q
        assert time.perf_counter() - start < 1


# --- building and storing ---------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [0, MIN_BITS - 1, MAX_BITS + 1, 64])
def test_a_table_of_no_size_we_build_is_refused(bits: int) -> None:
    with pytest.raises(ParameterError, match="baby steps"):
        Table.build(bits)


def test_progress_grows_to_the_number_of_steps() -> None:
    seen: list[int] = []
    Table.build(MIN_BITS, seen.append)
    assert seen == [1024 * i for i in range(1, 17)]


def test_what_is_stored_is_what_was_built() -> None:
    again = Table.decode(encoded())
    assert again.encode() == encoded()
    assert again.logarithm(G * 1_000_000) == 1_000_000


@pytest.mark.parametrize(
    "at, field",
    [
        *((0, "label"), (len(LABEL_LOG_TABLE), "bits"), (HEAD - 1, "generator"), (HEAD, "hash")),
        *((HEAD + 32, "hash"), (-1, "hash")),
    ],
)
def test_a_changed_byte_is_found(at: int, field: str) -> None:
    data = bytearray(encoded())
    data[at] ^= 0x80
    with pytest.raises(DecodeError, match=f"^table.{field}: "):
        Table.decode(bytes(data))


@pytest.mark.parametrize("bits, problem", [(13, "below 14"), (15, "cut short"), (25, "above the limit 24")])
def test_another_size_is_found(bits: int, problem: str) -> None:
    data = bytearray(encoded())
    data[len(LABEL_LOG_TABLE)] = bits
    with pytest.raises(DecodeError, match=problem):
        Table.decode(bytes(data))


def test_cut_or_prolonged_tables_are_refused() -> None:
    for end in (0, 10, HEAD + 31, len(encoded()) - 1):
        with pytest.raises(DecodeError, match="cut short"):
            Table.decode(encoded()[:end])
    with pytest.raises(DecodeError, match="trailing"):
        Table.decode(encoded() + b"\0")


@pytest.mark.parametrize("step", [0, (1 << MIN_BITS) + 1])
def test_steps_out_of_range_are_refused_though_the_hash_fits(step: int) -> None:
    refuse_entries(Table.decode(encoded()).keys, np.full(1 << MIN_BITS, step, np.uint32))


def test_keys_out_of_order_are_refused_though_the_hash_fits() -> None:
    built = Table.decode(encoded())
    refuse_entries(built.keys[::-1], built.steps)


def refuse_entries(keys: np.ndarray, steps: np.ndarray) -> None:
    body = keys.astype("<u8").tobytes() + steps.astype("<u4").tobytes()
    with pytest.raises(DecodeError, match=r"^table\.entries: "):
        Table.decode(encoded()[:HEAD] + sha256(body).digest() + body)

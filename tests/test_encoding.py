"""The canonical codec: one encoding per value, and a reader that refuses everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, ParameterError

FIELDS = st.lists(
    st.one_of(
        st.tuples(st.just("uint"), st.integers(1, 9)).flatmap(
            lambda kind: st.tuples(st.just(kind), st.integers(0, (1 << 8 * kind[1]) - 1))
        ),
        st.binary(max_size=20).map(lambda data: (("fixed", len(data)), data)),
        st.binary(max_size=20).map(lambda data: (("var", 20), data)),
    ),
    max_size=8,
)


def write(fields: list[tuple[tuple[str, int], object]]) -> bytes:
    writer = Writer()
    for (kind, width), value in fields:
        if isinstance(value, int):
            writer.uint(value, width)
        elif isinstance(value, bytes) and kind == "fixed":
            writer.fixed(value, width)
        elif isinstance(value, bytes):
            writer.var(value)
    return bytes(writer)


def read(reader: Reader, fields: list[tuple[tuple[str, int], object]]) -> list[object]:
    values: list[object] = []
    for (kind, width), _ in fields:
        values.append(getattr(reader, kind)("field", width))
    reader.end("record")
    return values


@given(FIELDS)
def test_what_is_written_is_read(fields: list[tuple[tuple[str, int], object]]) -> None:
    assert read(Reader(write(fields)), fields) == [value for _, value in fields]


@given(FIELDS, st.binary(min_size=1, max_size=3))
def test_cut_and_trailing_bytes_are_refused(
    fields: list[tuple[tuple[str, int], object]], extra: bytes
) -> None:
    data = write(fields)
    with pytest.raises(DecodeError, match=f"record: {len(extra)} trailing bytes"):
        read(Reader(data + extra), fields)
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            read(Reader(data[:cut]), fields)


@given(st.binary(max_size=30))
def test_a_reader_accepts_only_what_a_writer_makes(data: bytes) -> None:
    reader = Reader(data)
    try:
        head, body, tail = reader.uint("head", 2, 999), reader.var("body", 10), reader.fixed("tail", 3)
        reader.end("record")
    except DecodeError:
        return
    assert bytes(Writer().uint(head, 2).var(body).fixed(tail, 3)) == data


@pytest.mark.parametrize("value, width", [(256, 1), (-1, 1), (-1, 8), (1 << 64, 8), (1, 0)])
def test_an_integer_that_does_not_fit_is_not_written(value: int, width: int) -> None:
    with pytest.raises(ParameterError, match=f"does not fit {width} bytes") as caught:
        Writer().uint(value, width)
    assert str(value) not in str(caught.value).replace(f"{width} bytes", "")


@pytest.mark.parametrize("data", [b"", b"abc", b"abcde"])
def test_fixed_means_exactly(data: bytes) -> None:
    with pytest.raises(ParameterError, match=f"{len(data)} bytes where 4 are due"):
        Writer().fixed(data, 4)


def test_the_known_encoding() -> None:
    data = bytes(Writer().uint(258, 3).var(b"hi").fixed(b"xyz", 3).uint(0, 0))
    assert data.hex() == "000102" + "00000002" + b"hi".hex() + b"xyz".hex()


def test_limits_are_inclusive_and_named() -> None:
    assert Reader(b"\x05").uint("count", 1, 5) == 5
    with pytest.raises(DecodeError, match=r"^count: above the limit 5") as caught:
        Reader(b"\xc9").uint("count", 1, 5)
    assert "201" not in str(caught.value)  # the value may be secret
    assert (caught.value.field, caught.value.problem) == ("count", "above the limit 5")
    assert Reader(b"\0\0\0\x02ab").var("note", 2) == b"ab"
    with pytest.raises(DecodeError, match="note: 3 bytes are above the limit 2"):
        Reader(b"\0\0\0\x03abc").var("note", 2)


def test_a_huge_length_costs_nothing() -> None:
    with pytest.raises(DecodeError, match="4294967295 bytes are above the limit 100"):
        Reader(b"\xff\xff\xff\xff").var("note", 100)
    with pytest.raises(DecodeError, match="cut short: 100 bytes are due, 1 are left"):
        Reader(b"\0\0\0\x64a").var("note", 100)


def test_empty() -> None:
    assert bytes(Writer()) == b""
    Reader(b"").end("nothing")
    assert Reader(b"\0\0\0\0").var("note", 0) == b""
    with pytest.raises(DecodeError):
        Reader(b"").var("note", 0)


@given(st.lists(st.integers(0, 999), max_size=9), st.binary(max_size=3))
def test_many_integers_are_those_read_one_by_one(values: list[int], rest: bytes) -> None:
    data = b"".join(v.to_bytes(2, "big") for v in values) + rest
    reader, single = Reader(data), Reader(data)
    assert reader.uints("z", len(values), 2, 999) == tuple(values)
    assert [single.uint("z", 2, 999) for _ in values] == values
    assert reader.fixed("rest", len(rest)) == single.fixed("rest", len(rest)) == rest


@pytest.mark.parametrize("at", [0, 1, 4])
def test_many_integers_name_the_first_above_the_limit(at: int) -> None:
    values = [5] * at + [1_000] + [5] * (3 - at) + [2_000]
    with pytest.raises(DecodeError, match=rf"^z\[{at}\]: above the limit 999$"):
        Reader(b"".join(v.to_bytes(2, "big") for v in values)).uints("z", len(values), 2, 999)


@pytest.mark.parametrize("left", [0, 1, 5])
def test_many_integers_cut_short(left: int) -> None:
    with pytest.raises(DecodeError, match=f"^z: cut short: 6 bytes are due, {left} are left"):
        Reader(bytes(left)).uints("z", 3, 2, 999)

"""The group: published vectors, two independent backends against each other, and what is not decoded."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.optimized_bls12_381 import FQ, curve_order, field_modulus, is_inf, multiply

from commitments.errors import DecodeError, ParameterError
from commitments.group import Point, backend_name, multiply_sum, using_backend
from commitments.params import GROUP_ORDER, POINT_BYTES, POINT_XY_BYTES
from commitments.pedersen import generator_g, generator_h
from tests.commitments_support import read_vectors

BACKENDS = ("native", "reference")
FIELD = field_modulus
INFINITY = b"\xc0" + bytes(POINT_BYTES - 1)
RFC9380 = read_vectors("rfc9380-g1.json")
# The generator of the BLS12-381 standard, from any of its publications.
STANDARD = bytes.fromhex(
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
)
SCALARS = st.one_of(
    st.integers(0, GROUP_ORDER - 1),
    st.sampled_from([0, 1, 2, GROUP_ORDER - 1, GROUP_ORDER, GROUP_ORDER + 1, -1, 1 << 300]),
)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with using_backend(request.param):
        yield request.param


def in_both(work: Callable[[], object]) -> None:
    """The same work in both backends must give the same."""
    results = []
    for name in BACKENDS:
        with using_backend(name):
            results.append(work())
    assert results[0] == results[1]


def curve_y(x: int) -> int | None:
    square = (pow(x, 3, FIELD) + 4) % FIELD
    y = pow(square, (FIELD + 1) // 4, FIELD)
    return y if y * y % FIELD == square else None


def compressed(x: int, y: int) -> bytes:
    flags = 0x80 | (0x20 if 2 * y > FIELD else 0)
    data = bytearray(x.to_bytes(POINT_BYTES, "big"))
    data[0] |= flags
    return bytes(data)


# --- published values -------------------------------------------------------------------------------


@pytest.mark.parametrize("row", RFC9380["vectors"], ids=lambda row: row["msg"][:8] or "empty")
def test_hash_to_curve_meets_rfc_9380(backend: str, row: dict[str, str]) -> None:
    point = Point.hash(row["msg"].encode(), RFC9380["dst"].encode())
    assert point.encode_xy().hex() == row["x"] + row["y"]
    assert Point.decode(point.encode(), backend) == point


def test_the_standard_generator_has_the_group_order(backend: str) -> None:
    assert curve_order == GROUP_ORDER
    point = Point.decode(STANDARD, backend)
    assert not point.is_identity()
    assert (point * (GROUP_ORDER - 1) + point).is_identity()
    assert point * GROUP_ORDER == Point.identity()
    assert point * -1 == -point


def test_the_identity(backend: str) -> None:
    assert backend_name() == backend
    identity = Point.identity()
    assert identity.encode() == INFINITY
    assert identity.encode_xy() == bytes(POINT_XY_BYTES)
    assert Point.decode(INFINITY, "point", identity_allowed=True) == identity
    point = Point.decode(STANDARD, "point")
    assert point + identity == identity + point == point
    assert (point - point).is_identity()
    assert -identity == identity * 7 == identity
    assert multiply_sum([], []) == identity
    assert multiply_sum([point], [0]) == identity


# --- the two backends -------------------------------------------------------------------------------


@given(a=SCALARS, b=SCALARS, message=st.binary(max_size=40))
@settings(max_examples=12)
def test_the_backends_agree(a: int, b: int, message: bytes) -> None:
    def work() -> list[bytes]:
        p, q = Point.decode(STANDARD, "P"), Point.hash(message, b"a-test-of-both-backends")
        points = [p * a, q * b, p + q, p - q, -q, p + p, p * a + q * b, multiply_sum([p, q, p], [a, b, a])]
        return [data for x in points for data in (x.encode(), x.encode_xy())]

    in_both(work)


@given(a=SCALARS, b=SCALARS)
@settings(max_examples=25)
def test_the_laws_of_a_module(a: int, b: int) -> None:
    p, q = generator_g(), generator_h()
    assert p * a + p * b == p * (a + b)
    assert (p * a) * b == p * (a * b)
    assert (p + q) * a == p * a + q * a == multiply_sum([p, q], [a, a])
    assert p * a - p * a == Point.identity()
    assert Point.decode((p * a + q).encode(), "point", identity_allowed=True) == p * a + q


@given(st.lists(SCALARS, min_size=1, max_size=40), st.integers(0, 2**30))
@settings(max_examples=15)
def test_a_sum_of_products_is_what_it_says(scalars: list[int], start: int) -> None:
    points = [generator_g() * (start + i) for i in range(len(scalars))]
    expected = sum((p * k for p, k in zip(points, scalars, strict=True)), start=Point.identity())
    assert multiply_sum(points, scalars) == expected


def test_a_sum_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(ParameterError, match="2 points and 1 scalars"):
        multiply_sum([generator_g(), generator_h()], [1])


@given(st.integers(1, GROUP_ORDER - 1))
@settings(max_examples=10)
def test_coordinates_are_what_the_precompiles_read(k: int) -> None:
    # EIP-2537: each coordinate a 64-byte word with 16 zero bytes in front, below p, on y^2 = x^3 + 4.
    xy = (generator_g() * k).encode_xy()
    words = [bytes(16) + xy[:POINT_BYTES], bytes(16) + xy[POINT_BYTES:]]
    x, y = (int.from_bytes(word, "big") for word in words)
    assert len(xy) == POINT_XY_BYTES
    assert max(x, y) < FIELD
    assert (y * y - x**3 - 4) % FIELD == 0
    assert compressed(x, y) == (generator_g() * k).encode()


def test_points_hash_by_value_and_show_no_more_than_a_prefix() -> None:
    p = generator_g()
    assert len({p, p + Point.identity(), p * 1, p * 2}) == 2
    assert p != p.encode()
    assert p.encode().hex() not in repr(p)


def test_pickle_checks_what_it_reads() -> None:
    for point in (generator_g(), Point.identity(), generator_h() * 12345):
        assert pickle.loads(pickle.dumps(point)) == point  # noqa: S301 - our own bytes
    data = pickle.dumps(generator_g())
    broken = data.replace(generator_g().encode(), off_subgroup())
    with pytest.raises(DecodeError):
        pickle.loads(broken)  # noqa: S301 - our own bytes


def test_an_unknown_backend_is_refused_and_the_old_one_returns() -> None:
    with pytest.raises(ParameterError, match="choose one of native, reference"), using_backend("openssl"):
        pass
    with pytest.raises(ZeroDivisionError), using_backend("reference"):
        raise ZeroDivisionError
    assert backend_name() == "native"


# --- what is not decoded ----------------------------------------------------------------------------


def off_subgroup() -> bytes:
    """On the curve, outside the subgroup: the least x whose point is not killed by r."""
    for x in range(1, 1000):
        y = curve_y(x)
        if y is not None and not is_inf(multiply((FQ(x), FQ(y), FQ(1)), GROUP_ORDER)):
            return compressed(x, y)
    raise AssertionError


def off_curve() -> bytes:
    x = next(x for x in range(1, 1000) if curve_y(x) is None)
    return compressed(x, 0)


def order_three() -> bytes:
    # x = 0, y = 2: a point of order 3, the smallest divisor of the cofactor.
    return compressed(0, 2)


def plus_modulus() -> bytes:
    """The x of a subgroup point plus p, where that still fits 381 bits."""
    for k in range(1, 10_000):
        xy = (Point.decode(STANDARD, "P") * k).encode_xy()
        x, y = (int.from_bytes(part, "big") for part in (xy[:POINT_BYTES], xy[POINT_BYTES:]))
        if (x + FIELD).bit_length() <= 381:
            return compressed(x + FIELD, y)
    raise AssertionError


def with_flags(data: bytes, flags: int) -> bytes:
    return bytes([data[0] & 0x1F | flags]) + data[1:]


REFUSED = {
    "empty": b"",
    "47 bytes": STANDARD[:-1],
    "49 bytes": STANDARD + b"\0",
    "96 bytes": STANDARD + STANDARD,
    "zeros": bytes(POINT_BYTES),
    "ones": b"\xff" * POINT_BYTES,
    "off the curve": off_curve(),
    "off the subgroup": off_subgroup(),
    "order three": order_three(),
    "x = p": with_flags(FIELD.to_bytes(POINT_BYTES, "big"), 0x80),
    "x + p": plus_modulus(),
    "compression flag cleared": with_flags(STANDARD, 0x00),
    "compression flag cleared, sign set": with_flags(STANDARD, 0x20),
    "infinity flag on a finite point": with_flags(STANDARD, 0xC0),
    "all flags": with_flags(STANDARD, 0xE0),
    "infinity without compression flag": b"\x40" + bytes(POINT_BYTES - 1),
    "infinity with sign": b"\xe0" + bytes(POINT_BYTES - 1),
    "infinity with a low bit": b"\xc0" + bytes(POINT_BYTES - 2) + b"\x01",
    "infinity with a high bit": b"\xc1" + bytes(POINT_BYTES - 1),
    "x = 0 without infinity flag": b"\x80" + bytes(POINT_BYTES - 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_canonical_is_not_decoded(backend: str, name: str) -> None:
    for identity_allowed in (False, True):
        with pytest.raises(DecodeError, match=r"^a field: "):
            Point.decode(REFUSED[name], "a field", identity_allowed=identity_allowed)
    assert backend == backend_name()


def test_the_identity_is_refused_unless_allowed(backend: str) -> None:
    with pytest.raises(DecodeError, match=f"{backend}: the identity is not allowed here"):
        Point.decode(INFINITY, backend)


@given(st.integers(0, 8 * POINT_BYTES - 1), st.integers(1, 50))
@settings(max_examples=80)
def test_no_two_encodings_of_one_point(bit: int, k: int) -> None:
    point = generator_g() * k
    data = bytearray(point.encode())
    data[bit // 8] ^= 1 << bit % 8
    try:
        other = Point.decode(bytes(data), "point", identity_allowed=True)
    except DecodeError:
        return
    assert other != point
    assert other.encode() == bytes(data)

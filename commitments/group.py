"""BLS12-381 G1: points, multi-scalar multiplication, hash to curve.

Two backends behind one small interface: `native` (arkworks, fast) and `reference` (py_ecc, slow and
independent), so that anyone can check the one with the other. Scalars are integers modulo the group order.

Encodings are the compressed 48-byte form of the BLS12-381 serialisation (IETF pairing-friendly curves,
appendix C). The native library accepts several encodings of infinity and more; `Point.decode` accepts only
what it would itself produce. Neither backend is constant-time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Protocol, TypeAlias

from py_arkworks_bls12381 import G1Point
from py_arkworks_bls12381 import Scalar as NativeScalar

from commitments.errors import DecodeError, ParameterError
from commitments.params import GROUP_ORDER, POINT_BYTES

Scalar: TypeAlias = int
Raw: TypeAlias = Any  # a backend's own element

_INFINITY = b"\xc0" + bytes(POINT_BYTES - 1)


class Backend(Protocol):
    """What a group library must offer. `decode` checks the curve and the subgroup."""

    name: str

    def identity(self) -> Raw:
        """The neutral element."""

    def add(self, a: Raw, b: Raw) -> Raw:
        """a + b."""

    def negate(self, a: Raw) -> Raw:
        """-a."""

    def multiply(self, a: Raw, k: int) -> Raw:
        """k a, for 0 <= k < r."""

    def multiply_sum(self, points: Sequence[Raw], scalars: Sequence[int]) -> Raw:
        """The sum of k_i a_i, for 0 <= k_i < r."""

    def encode(self, a: Raw) -> bytes:
        """48 bytes, compressed."""

    def encode_xy(self, a: Raw) -> bytes:
        """96 bytes: x then y, big-endian; zeros for the identity."""

    def decode(self, data: bytes) -> Raw:
        """The element of 48 compressed bytes. Raises ValueError off the curve or the subgroup."""

    def hash_to_curve(self, message: bytes, dst: bytes) -> Raw:
        """RFC 9380, suite BLS12381G1_XMD:SHA-256_SSWU_RO_."""


class _Native:
    name = "native"

    @staticmethod
    def _scalar(k: int) -> NativeScalar:
        return NativeScalar.from_le_bytes(k.to_bytes(32, "little"))

    def identity(self) -> G1Point:
        return G1Point.identity()

    def add(self, a: G1Point, b: G1Point) -> G1Point:
        return a + b

    def negate(self, a: G1Point) -> G1Point:
        return -a

    def multiply(self, a: G1Point, k: int) -> G1Point:
        return a * self._scalar(k)

    def multiply_sum(self, points: Sequence[G1Point], scalars: Sequence[int]) -> G1Point:
        from_le = NativeScalar.from_le_bytes
        return G1Point.multiexp_unchecked(list(points), [from_le(k.to_bytes(32, "little")) for k in scalars])

    def encode(self, a: G1Point) -> bytes:
        return bytes(a.to_compressed_bytes())

    def encode_xy(self, a: G1Point) -> bytes:
        return bytes(a.to_xy_bytes_be())

    def decode(self, data: bytes) -> G1Point:
        return G1Point.from_compressed_bytes(data)

    def hash_to_curve(self, message: bytes, dst: bytes) -> G1Point:
        return G1Point.hash_to_curve(message, dst)


class _Reference:
    """py_ecc, imported only when somebody asks for it."""

    name = "reference"

    def __init__(self) -> None:
        from py_ecc.bls.hash_to_curve import hash_to_G1
        from py_ecc.bls.point_compression import compress_G1, decompress_G1
        from py_ecc.bls.typing import G1Compressed
        from py_ecc.optimized_bls12_381 import Z1, add, is_inf, multiply, neg, normalize

        self._z, self._add, self._mul, self._neg = Z1, add, multiply, neg
        self._compress, self._is_inf, self._normalize = compress_G1, is_inf, normalize
        self._decompress: Callable[[int], Raw] = lambda z: decompress_G1(G1Compressed(z))
        # py_ecc annotates the constructor it is given as a hash object.
        self._hash: Callable[[bytes, bytes], Raw] = lambda message, dst: hash_to_G1(
            message,
            dst,
            sha256,  # type: ignore[arg-type]
        )

    def identity(self) -> Raw:
        return self._z

    def add(self, a: Raw, b: Raw) -> Raw:
        return self._add(a, b)

    def negate(self, a: Raw) -> Raw:
        return self._neg(a)

    def multiply(self, a: Raw, k: int) -> Raw:
        return self._mul(a, k)

    def multiply_sum(self, points: Sequence[Raw], scalars: Sequence[int]) -> Raw:
        total = self._z
        for point, k in zip(points, scalars, strict=True):
            total = self._add(total, self._mul(point, k))
        return total

    def encode(self, a: Raw) -> bytes:
        return _INFINITY if self._is_inf(a) else int(self._compress(a)).to_bytes(POINT_BYTES, "big")

    def encode_xy(self, a: Raw) -> bytes:
        if self._is_inf(a):
            return bytes(2 * POINT_BYTES)
        return b"".join(int(c).to_bytes(POINT_BYTES, "big") for c in self._normalize(a))

    def decode(self, data: bytes) -> Raw:
        point = self._decompress(int.from_bytes(data, "big"))
        if not self._is_inf(self._mul(point, GROUP_ORDER)):
            raise ValueError("not in the subgroup")
        return point

    def hash_to_curve(self, message: bytes, dst: bytes) -> Raw:
        return self._hash(message, dst)


_BACKENDS: dict[str, Callable[[], Backend]] = {"native": _Native, "reference": _Reference}
_backend: Backend = _Native()


def backend_name() -> str:
    """Which backend computes at the moment; caches of points are kept per backend."""
    return _backend.name


@contextmanager
def using_backend(name: str) -> Iterator[None]:
    """Compute with the named backend inside the block, in this process.

    Points made under one backend must not be used under another: pass encodings across.
    Raises ParameterError for an unknown name.
    """
    global _backend  # noqa: PLW0603 - one process computes with one library at a time
    if name not in _BACKENDS:
        raise ParameterError(f"group backend {name!r} is unknown; choose one of {', '.join(_BACKENDS)}")
    previous = _backend
    _backend = _BACKENDS[name]()
    try:
        yield
    finally:
        _backend = previous


class Point:
    """An element of the prime-order subgroup. Immutable; equality is that of the group."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Raw) -> None:
        self._raw = raw

    @staticmethod
    def identity() -> Point:
        """The neutral element."""
        return Point(_backend.identity())

    @staticmethod
    def hash(message: bytes, dst: bytes) -> Point:
        """Hash to the curve, suite BLS12381G1_XMD:SHA-256_SSWU_RO_ (RFC 9380, 8.8.1)."""
        return Point(_backend.hash_to_curve(message, dst))

    @staticmethod
    def decode(data: bytes, field: str, *, identity_allowed: bool = False) -> Point:
        """The point of a canonical compressed encoding, checked for curve and subgroup.

        Raises DecodeError naming `field`.
        """
        if len(data) != POINT_BYTES:
            raise DecodeError(field, f"a point has {POINT_BYTES} bytes, not {len(data)}")
        if data == _INFINITY:
            if identity_allowed:
                return Point.identity()
            raise DecodeError(field, "the identity is not allowed here")
        try:
            raw = _backend.decode(data)
        except ValueError:
            raise DecodeError(field, "not a point of the prime-order subgroup of BLS12-381 G1") from None
        if _backend.encode(raw) != data:
            raise DecodeError(field, "not the canonical encoding of its point")
        return Point(raw)

    def __reduce__(self) -> tuple[object, ...]:
        # Between processes of ours: encoded, and decoded with all checks.
        return _decode_any, (self.encode(),)

    def encode(self) -> bytes:
        """48 bytes, compressed."""
        return _backend.encode(self._raw)

    def encode_xy(self) -> bytes:
        """96 bytes: x then y, big-endian; what a contract can feed to the EIP-2537 precompiles."""
        return _backend.encode_xy(self._raw)

    def is_identity(self) -> bool:
        """Whether this is the neutral element."""
        return self.encode() == _INFINITY

    def __add__(self, other: Point) -> Point:
        return Point(_backend.add(self._raw, other._raw))

    def __sub__(self, other: Point) -> Point:
        return Point(_backend.add(self._raw, _backend.negate(other._raw)))

    def __neg__(self) -> Point:
        return Point(_backend.negate(self._raw))

    def __mul__(self, k: Scalar) -> Point:
        return Point(_backend.multiply(self._raw, k % GROUP_ORDER))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.encode())

    def __repr__(self) -> str:
        return f"Point({self.encode().hex()[:16]}…)"


def _decode_any(data: bytes) -> Point:
    return Point.decode(data, "point", identity_allowed=True)


def multiply_sum(points: Sequence[Point], scalars: Sequence[Scalar]) -> Point:
    """The sum of k_i * P_i; the identity of an empty list. Raises ParameterError on unequal lengths."""
    if len(points) != len(scalars):
        raise ParameterError(f"{len(points)} points and {len(scalars)} scalars")
    if not points:
        return Point.identity()
    raw = [p._raw for p in points]  # noqa: SLF001 - the backend's view of our own class
    return Point(_backend.multiply_sum(raw, [k % GROUP_ORDER for k in scalars]))

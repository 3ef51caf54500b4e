"""Canonical, length-prefixed binary encoding.

Integers are big-endian of fixed width; variable byte strings carry a 32-bit length. There is one encoding
per value, and a `Reader` must end exactly: trailing bytes are refused, so a hash of the bytes is a hash of
the value.
"""

from __future__ import annotations

from commitments.errors import DecodeError, ParameterError


class Writer:
    """Appends fields; `bytes(writer)` is the encoding."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def uint(self, value: int, width: int) -> Writer:
        """An unsigned integer in `width` bytes. Raises ParameterError if it does not fit."""
        if value < 0 or value.bit_length() > 8 * width:
            raise ParameterError(f"an unsigned integer does not fit {width} bytes")
        self._parts.append(int(value).to_bytes(width, "big"))
        return self

    def fixed(self, data: bytes, width: int) -> Writer:
        """Exactly `width` bytes, no prefix."""
        if len(data) != width:
            raise ParameterError(f"{len(data)} bytes where {width} are due")
        self._parts.append(data)
        return self

    def var(self, data: bytes) -> Writer:
        """A byte string behind its 32-bit length."""
        self._parts.append(len(data).to_bytes(4, "big"))
        self._parts.append(data)
        return self

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)


class Reader:
    """Reads fields from untrusted bytes. Every method raises DecodeError naming the field."""

    __slots__ = ("_at", "_data", "_view")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._view = memoryview(data)
        self._at = 0

    def _take(self, field: str, width: int) -> bytes:
        left = len(self._data) - self._at
        if left < width:
            raise DecodeError(field, f"cut short: {width} bytes are due, {left} are left")
        part = bytes(self._view[self._at : self._at + width])
        self._at += width
        return part

    def uint(self, field: str, width: int, limit: int | None = None) -> int:
        """An unsigned integer of `width` bytes, at most `limit` if given."""
        value = int.from_bytes(self._take(field, width), "big")
        if limit is not None and value > limit:
            raise DecodeError(field, f"above the limit {limit}")  # the value may be a secret
        return value

    def uints(self, field: str, count: int, width: int, limit: int) -> tuple[int, ...]:
        """`count` such integers, in a fraction of the time of as many calls."""
        data = self._take(field, count * width)
        values = tuple(int.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width))
        if max(values, default=0) > limit:
            at = next(i for i, value in enumerate(values) if value > limit)
            raise DecodeError(f"{field}[{at}]", f"above the limit {limit}")
        return values

    def fixed(self, field: str, width: int) -> bytes:
        """Exactly `width` bytes."""
        return self._take(field, width)

    def var(self, field: str, limit: int) -> bytes:
        """A length-prefixed byte string of at most `limit` bytes."""
        length = self.uint(field, 4)
        if length > limit:
            raise DecodeError(field, f"{length} bytes are above the limit {limit}")
        return self._take(field, length)

    def end(self, what: str) -> None:
        """Nothing may follow."""
        left = len(self._data) - self._at
        if left:
            raise DecodeError(what, f"{left} trailing bytes")

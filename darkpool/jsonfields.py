"""Strict reading of JSON objects that cross the network, and the one text form of byte strings in them.

Bytes are "0x" and lower-case hexadecimal digits; addresses may carry the checksum of EIP-55; integers are
JSON integers from 0 to 2^64 - 1.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Final

from commitments.errors import DecodeError
from darkpool.errors import ConfigError
from darkpool.types import Address, parse_address

MAX_UINT64: Final = (1 << 64) - 1
_HEX: Final = re.compile(r"0x(?:[0-9a-f]{2})*")


def hex_text(data: bytes) -> str:
    """The text of any bytes."""
    return "0x" + data.hex()


def read_hex(text: object, name: str, width: int) -> bytes:
    """The `width` bytes of such a text. Raises DecodeError naming the field."""
    if not isinstance(text, str) or len(text) != 2 + 2 * width or not _HEX.fullmatch(text):
        raise DecodeError(name, f"not 0x and {2 * width} lower-case hexadecimal digits")
    return bytes.fromhex(text[2:])


class Fields:
    """A JSON object with exactly the named keys. Every method raises DecodeError naming the field."""

    __slots__ = ("_values",)

    def __init__(self, value: object, what: str, names: tuple[str, ...]) -> None:
        if not isinstance(value, Mapping):
            raise DecodeError(what, "not a JSON object")
        if value.keys() != set(names):
            missing = sorted(set(names) - value.keys())
            raise DecodeError(what, f"lacks {', '.join(missing)}" if missing else f"has keys besides {names}")
        self._values = value

    def uint(self, name: str, high: int = MAX_UINT64, low: int = 0) -> int:
        """An integer within bounds."""
        value = self._values[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise DecodeError(name, f"not an integer from {low} to {high}")
        return value

    def text(self, name: str) -> str:
        """A text, as long as the document allowed."""
        value = self._values[name]
        if not isinstance(value, str):
            raise DecodeError(name, "not a text")
        return value

    def member(self, name: str) -> object:
        """The value as it is."""
        return self._values[name]

    def base64(self, name: str) -> bytes:
        """Bytes in base64, with padding."""
        try:
            return binascii.a2b_base64(self.text(name), strict_mode=True)
        except ValueError:
            raise DecodeError(name, "not base64 with padding") from None

    def octets(self, name: str, width: int) -> bytes:
        """Bytes of that width."""
        return read_hex(self._values[name], name, width)

    def address(self, name: str) -> Address:
        """An address; if its case is mixed, with the right checksum."""
        value = self._values[name]
        try:
            return parse_address(value if isinstance(value, str) else "")
        except ConfigError:
            raise DecodeError(name, "not 0x and 40 hexadecimal digits (mixed case: checksum)") from None

    def array(self, name: str, limit: int) -> list[object]:
        """A list of at most `limit` values."""
        value = self._values[name]
        if not isinstance(value, list) or len(value) > limit:
            raise DecodeError(name, f"not a list of at most {limit}")
        return value

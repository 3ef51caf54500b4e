"""Bech32m: bytes as text that survives being read aloud, copied and typed (BIP-350, after BIP-173).

    human-readable part || "1" || data, 5 bits a character || 6 characters of checksum

The checksum finds any four wrong characters in 90, the length BIP-173 allows addresses. Ours are up to 215
long: there an accident goes unseen with probability about 2^-30, and nothing more is promised.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from commitments.errors import DecodeError, ParameterError

MAX_TEXT: Final = 256
_CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {c: i for i, c in enumerate(_CHARSET)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CONSTANT: Final = 0x2BC830A3  # what makes it Bech32m: Bech32 has 1
_CHECKSUM: Final = 6
_BITS: Final = 5


def encode(hrp: str, data: bytes) -> str:
    """The text of any bytes, in lower case. Raises ParameterError for a text over 256 characters."""
    padding = -8 * len(data) % _BITS
    number, count = int.from_bytes(data) << padding, (8 * len(data) + padding) // _BITS
    values = [number >> _BITS * i & 31 for i in reversed(range(count))]
    text = join(hrp, values)
    if len(text) > MAX_TEXT:
        raise ParameterError(f"{len(text)} characters; the limit is {MAX_TEXT}")
    return text


def decode(text: str, hrp: str, what: str) -> bytes:
    """The bytes of such a text with that human-readable part, all in lower or all in upper case.

    Raises DecodeError naming `what` and never quoting the text, which may be a secret.
    """
    found, values = split(text, what)
    if found != hrp:
        raise DecodeError(what, f"does not begin with {hrp}1")
    width, padding = divmod(_BITS * len(values), 8)
    number = 0
    for value in values:
        number = number << _BITS | value
    if padding >= _BITS or number & (1 << padding) - 1:
        raise DecodeError(what, "its last character says more than whole bytes")
    return (number >> padding).to_bytes(width)


def join(hrp: str, values: Iterable[int]) -> str:
    """Human-readable part (lower case) and 5-bit values under their checksum."""
    values = list(values)
    check = _polymod([*_expanded(hrp), *values, *[0] * _CHECKSUM]) ^ _CONSTANT
    values += [check >> _BITS * i & 31 for i in reversed(range(_CHECKSUM))]
    return f"{hrp}1{''.join(_CHARSET[v] for v in values)}"


def split(text: str, what: str, limit: int = MAX_TEXT) -> tuple[str, list[int]]:
    """(human-readable part, 5-bit values without the checksum). Raises DecodeError naming `what`."""
    if len(text) > limit:
        raise DecodeError(what, f"{len(text)} characters; the limit is {limit}")
    if text not in {text.lower(), text.upper()}:
        raise DecodeError(what, "mixes upper and lower case")
    hrp, _, data = text.lower().rpartition("1")
    if not hrp or not all("!" <= c <= "~" for c in hrp):
        raise DecodeError(what, "does not begin with a name and 1")
    if len(data) < _CHECKSUM or not all(c in _VALUES for c in data):
        raise DecodeError(what, f"not at least {_CHECKSUM} characters of {_CHARSET} after the last 1")
    values = [_VALUES[c] for c in data]
    if _polymod([*_expanded(hrp), *values]) != _CONSTANT:
        raise DecodeError(what, "its checksum does not fit: a character is wrong, missing or too many")
    return hrp, values[:-_CHECKSUM]


def _expanded(hrp: str) -> list[int]:
    return [*(ord(c) >> _BITS for c in hrp), 0, *(ord(c) & 31 for c in hrp)]


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << _BITS ^ value
        for i, term in enumerate(_GENERATOR):
            check ^= term if top >> i & 1 else 0
    return check

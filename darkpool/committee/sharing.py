"""The public side of a sharing of the committee's key, as fields of a message or of a file."""

from __future__ import annotations

from typing import Final

from gmpy2 import mpz

from commitments.errors import DecodeError, ParameterError
from commitments.paillier import public_key
from commitments.threshold import MAX_EPOCH, MAX_SCALE, Committee
from darkpool.message import Message
from darkpool.settlement import MAX_MEMBERS

_MAX_DIGITS: Final = 2_048  # hexadecimal ones of N or a value


def sharing_fields(committee: Committee) -> dict[str, object]:
    """What `read_sharing` reads."""
    return {
        "modulus": f"{int(committee.key.n):x}",
        "members": committee.members,
        "threshold": committee.threshold,
        "epoch": committee.epoch,
        "scale": committee.scale,
        "values": [f"{int(v):x}" for v in committee.values],
    }


def read_sharing(message: Message) -> Committee:
    """Raises DecodeError."""
    values = message.fields.get("values")
    if not isinstance(values, list) or len(values) > MAX_MEMBERS:
        raise DecodeError("values", f"not a list of at most {MAX_MEMBERS}")
    members, threshold = message.integer("members", 3, MAX_MEMBERS), message.integer("threshold", 1, 7)
    epoch, scale = message.integer("epoch", 0, MAX_EPOCH), message.integer("scale", 0, MAX_SCALE)
    try:
        key = public_key(int(hex_number("modulus", message.fields.get("modulus"))))
        return Committee(
            key, members, threshold, tuple(hex_number("values", v) for v in values), epoch, scale
        )
    except ParameterError as error:
        raise DecodeError("sharing", str(error)) from None


def hex_number(name: str, text: object) -> mpz:
    """A residue: lower-case hexadecimal without leading zeros. Raises DecodeError."""
    if not isinstance(text, str) or not 0 < len(text) <= _MAX_DIGITS:
        raise DecodeError(name, f"not 1 to {_MAX_DIGITS} hexadecimal digits")
    try:
        value = mpz(text, 16)
    except ValueError:
        value = mpz(-1)
    if f"{int(value):x}" != text:
        raise DecodeError(name, "not lower-case hexadecimal without leading zeros")
    return value

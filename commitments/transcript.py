"""Labelled Fiat-Shamir transcript on TupleHash256.

A transcript is the sequence of everything both sides of a proof have said. Each challenge is

    D = TupleHash256(S = "darkpool/v1/transcript", 512 bits;
                     element_1, ..., element_k, 0x03 || label, bits as 32-bit integer)

where the elements since the last challenge are, in order of absorption,

    protocol      0x00 || protocol name            (once, first)
    absorb        0x01 || label,  data
    absorb_many   0x02 || label,  count || length_1 || item_1 || ... || length_n || item_n
    chain         0x04, D of the challenge before  (first after a challenge)

with 32-bit big-endian counts and lengths. The challenge is the first `bits` bits of D. TupleHash encodes each
element with its length, and the first byte of an element says what it is, so two different sequences never
hash the same bytes; through D a later challenge binds every earlier one, its label and all before it.

Source: NIST SP 800-185 section 5 (TupleHash); CFRG draft-irtf-cfrg-fiat-shamir for the discipline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from Crypto.Hash import TupleHash256
from Crypto.Hash.TupleHash128 import TupleHash

from commitments.errors import ParameterError

LABEL_TRANSCRIPT: Final = b"darkpool/v1/transcript"

MAX_LABEL_BYTES: Final = 255
MAX_ITEM_BYTES: Final = 1 << 24
MAX_ITEMS: Final = 1 << 20
MIN_CHALLENGE_BITS: Final = 128  # a shorter challenge can be ground by hashing
MAX_CHALLENGE_BITS: Final = 512
DIGEST_BYTES: Final = 64

_PROTOCOL: Final = b"\x00"
_ABSORB: Final = b"\x01"
_ABSORB_MANY: Final = b"\x02"
_CHALLENGE: Final = b"\x03"
_CHAIN: Final = b"\x04"


class Transcript:
    """What prover and verifier have said so far. Both build the same one; nothing in it is secret.

    `absorb` costs a few microseconds a call, because TupleHash is interpreted code around Keccak;
    a vector belongs in one `absorb_many`, which costs about 0.1 microseconds an item.
    """

    __slots__ = ("_hash",)

    def __init__(self, protocol: bytes) -> None:
        """Raises ParameterError for an empty protocol name or one over 255 bytes."""
        self._hash = _tuple_hash()
        self._hash.update(_tagged(_PROTOCOL, protocol))

    def absorb(self, label: bytes, data: bytes) -> None:
        """One value. Raises ParameterError for a label not of 1 to 255 bytes or data over 16 MiB."""
        if len(data) > MAX_ITEM_BYTES:
            raise _too_long(label, len(data))
        self._hash.update(_tagged(_ABSORB, label), data)

    def absorb_many(self, label: bytes, items: Sequence[bytes]) -> None:
        """A sequence of values, its count included: neither count nor boundaries can move.

        Raises ParameterError for a label not of 1 to 255 bytes, over 2^20 items, or over 16 MiB in all.
        """
        if len(items) > MAX_ITEMS:
            raise ParameterError(f"{_printable(label)}: {len(items)} items, the limit is {MAX_ITEMS}")
        total = sum(map(len, items))
        if total > MAX_ITEM_BYTES:
            raise _too_long(label, total)
        parts = [len(items).to_bytes(4, "big")]
        for item in items:
            parts.append(len(item).to_bytes(4, "big"))
            parts.append(item)
        self._hash.update(_tagged(_ABSORB_MANY, label), b"".join(parts))

    def challenge(self, label: bytes, bits: int) -> int:
        """An integer 0 <= c < 2^bits that depends on everything absorbed and every challenge before.

        Raises ParameterError for a label not of 1 to 255 bytes or `bits` outside 128 to 512.
        """
        if not MIN_CHALLENGE_BITS <= bits <= MAX_CHALLENGE_BITS:
            raise ParameterError(
                f"{_printable(label)}: a challenge of {bits} bits; "
                f"allowed are {MIN_CHALLENGE_BITS} to {MAX_CHALLENGE_BITS}"
            )
        self._hash.update(_tagged(_CHALLENGE, label), bits.to_bytes(4, "big"))
        digest = self._hash.digest()
        self._hash = _tuple_hash()
        self._hash.update(_CHAIN, digest)
        return int.from_bytes(digest, "big") >> (8 * DIGEST_BYTES - bits)


def _tuple_hash() -> TupleHash:
    # pycryptodome's stub declares `custom` an int; it is the customisation string S.
    return TupleHash256.new(digest_bytes=DIGEST_BYTES, custom=LABEL_TRANSCRIPT)  # type: ignore[arg-type]


def _tagged(kind: bytes, label: bytes) -> bytes:
    if not 1 <= len(label) <= MAX_LABEL_BYTES:
        raise ParameterError(f"a transcript label of {len(label)} bytes; allowed are 1 to {MAX_LABEL_BYTES}")
    return kind + label


def _printable(label: bytes) -> str:
    return label.decode("ascii", "backslashreplace")


def _too_long(label: bytes, length: int) -> ParameterError:
    return ParameterError(f"{_printable(label)}: {length} bytes, the limit is {MAX_ITEM_BYTES}")

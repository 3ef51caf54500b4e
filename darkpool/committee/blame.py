"""What a member can charge another with, and what each charge proves.

A charge is one member's finding. The coordinator acts on who charges whom (attempts.py); what others can
check is the evidence: a message that the charged member signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from commitments.errors import DecodeError
from darkpool.errors import RoundAborted
from darkpool.message import Message

MAX_BLAME: Final = 64
"""Charges in one report."""

START: Final = "start"
"""The step in which players get evaluators."""

MAX_STEP: Final = 64
MAX_EVIDENCE: Final = 1 << 22
"""Bytes of one signed message that are kept as evidence."""


class Charge(StrEnum):
    """What was seen. Of the first five one side's word is all there is, or a third may have caused it."""

    ABORTED = "aborted"
    """It ended the attempt for all. It may have had reason: see its own charges."""
    SILENT = "silent"
    """No message in time, nor a word that it waits for another itself. It may be slow, or the link."""
    GONE = "gone"
    """Its connection was lost or not there. It may have crashed, or the network."""
    OFF = "off"
    """It sent a share of an evaluation's output off the polynomial of all others, or bytes that ended the
    evaluator of who charges it. It may have lied, or been dealt a false part by whoever lied there."""
    UNSIGNED = "unsigned"
    """A message that it did not sign came over its authenticated link."""
    MALFORMED = "malformed"
    """It signed a message that is none of this step: anybody can see that."""
    MASK = "mask"
    """It signed a mask ciphertext that other holders of the key compute otherwise: holders can see that."""
    PARTIAL = "partial"
    """It signed a partial decryption that differs from the one proven, or gave no valid proof: anybody can
    check proof and difference."""
    COMPLAINT = "complaint"
    """It said that partial decryptions do not combine, and all of them are proven: anybody can check. Or it
    said so to some players and another thing to others, and signed both."""
    OPENING = "opening"
    """It signed an opening that is not that of its ciphertext: anybody can check."""
    SHARE = "share"
    """It signed a share of what was opened off the polynomial of all others: it could compute the right one.
    Of m shares (m - t - 1) // 2 can be named so."""


@dataclass(frozen=True, slots=True)
class Blame:
    """A charge against a member, in which step; `evidence` is what it signed there, if it signed anything."""

    member: int
    charge: Charge
    step: str
    evidence: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        return f"member {self.member} {self.charge} at {self.step}"


class Faulted(RoundAborted):
    """A step that cannot go on, and whom this member charges with that; nobody where it cannot tell."""

    def __init__(self, message: str, blame: Iterable[Blame] = ()) -> None:
        super().__init__(message)
        self.blame = tuple(blame)[:MAX_BLAME]
        self.args = (self.message, self.blame)


def blame_field(blame: Iterable[Blame]) -> list[list[Any]]:
    """As a field of a message; evidence stays with the member."""
    return [[b.member, str(b.charge), b.step] for b in blame]


def read_blame(message: Message, members: Mapping[int, object]) -> list[Blame]:
    """The charges in a report; none if it has no such field. Raises DecodeError."""
    rows = message.fields.get("blame", [])
    if not isinstance(rows, list) or len(rows) > MAX_BLAME:
        raise DecodeError("blame", f"not a list of at most {MAX_BLAME} charges")
    return [_charge(row, members) for row in rows]


def _charge(row: object, members: Mapping[int, object]) -> Blame:
    if not isinstance(row, list) or len(row) != 3:  # noqa: PLR2004
        raise DecodeError("blame", "not member, charge and step")
    member, charge, step = row
    if type(member) is not int or member not in members:
        raise DecodeError("blame", "not a member's index")
    if not isinstance(step, str) or len(step) > MAX_STEP or charge not in list(Charge):
        raise DecodeError("blame", "an unknown charge or step")
    return Blame(member, Charge(charge), step)

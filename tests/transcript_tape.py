"""A transcript that records what goes through it, and can change one element or label on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType

import pytest

from commitments.errors import VerificationError
from commitments.transcript import Transcript


@dataclass
class Tape:
    """What went through a transcript, and what to change on the way: element, then XOR mask of a byte."""

    absorbed: list[tuple[bytes, bytes]] = field(default_factory=list)
    challenges: dict[bytes, int] = field(default_factory=dict)
    sizes: dict[bytes, int] = field(default_factory=dict)
    at_challenge: dict[bytes, int] = field(default_factory=dict)
    protocols: list[bytes] = field(default_factory=list)
    flip: int | None = None
    where: int = 0
    relabel: int | None = None
    rename: bool = False


def taped(tape: Tape) -> type[Transcript]:
    class Taped(Transcript):
        __slots__ = ()

        def __init__(self, protocol: bytes) -> None:
            tape.protocols.append(protocol)
            super().__init__(protocol + b"x" if tape.rename else protocol)

        def absorb(self, label: bytes, data: bytes) -> None:
            index = len(tape.absorbed)
            tape.absorbed.append((label, data))
            if index == tape.flip:
                data = _flipped(data, tape.where)
            super().absorb(label + b"x" if index == tape.relabel else label, data)

        def absorb_many(self, label: bytes, items: Sequence[bytes]) -> None:
            index = len(tape.absorbed)
            tape.absorbed.append((label, b"".join(items)))
            if index == tape.flip:
                items = [*items[:-1], _flipped(items[-1], tape.where)]
            super().absorb_many(label + b"x" if index == tape.relabel else label, items)

        def challenge(self, label: bytes, bits: int) -> int:
            value = super().challenge(label, bits)
            tape.challenges[label], tape.sizes[label] = value, bits
            tape.at_challenge[label] = len(tape.absorbed)
            return value

    return Taped


def _flipped(data: bytes, where: int) -> bytes:
    at = where % len(data)
    return data[:at] + bytes([data[at] ^ 1 << where % 8]) + data[at + 1 :]


def play(module: ModuleType, verify: Callable[[], None], tape: Tape) -> Tape:
    """Verify with the module's transcript replaced by one on that tape."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "Transcript", taped(tape))
        verify()
    return tape


def everything_counts(module: ModuleType, verify: Callable[[], None]) -> Tape:
    """The tape of an honest run, once every element, label and the protocol's name was shown to count."""
    honest = play(module, verify, Tape())
    for index in range(len(honest.absorbed)):
        for change in (
            *(Tape(flip=index, where=where) for where in (0, 20, -1)),
            Tape(relabel=index),
        ):
            with pytest.raises(VerificationError):
                play(module, verify, change)
            for name, value in honest.challenges.items():
                # A challenge follows from what was said before it, and from nothing after.
                assert (change.challenges.get(name, value) != value) == (
                    name in change.challenges and index < honest.at_challenge[name]
                )
    with pytest.raises(VerificationError):
        play(module, verify, Tape(rename=True))
    return honest

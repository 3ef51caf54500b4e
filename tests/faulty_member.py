"""A member that misbehaves: `python -m tests.faulty_member HOME SOCKETS`.

DARKPOOL_TEST_FAULT names the fault. Everything else about it is the real member; each fault changes one
message or one moment.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gmpy2 import mpz

from commitments import threshold
from commitments.paillier import Ciphertext, PublicKey
from commitments.prss import Mask
from commitments.threshold import Committee, KeyShare
from darkpool.committee import member, node, opening
from darkpool.committee.opening import Session
from darkpool.message import Message

FAULT = "DARKPOOL_TEST_FAULT"
STEP = "DARKPOOL_TEST_STEP"  # the first step whose name starts with this is the one that goes wrong


def wrong_partial() -> None:
    """A partial decryption of something else."""
    honest = threshold.partial

    def wrong(committee: Committee, share: KeyShare, c: Ciphertext) -> mpz:
        return honest(committee, share, c) * 2 % committee.key.n

    vars(opening)["partial"] = wrong


def wrong_mask() -> None:
    """A mask ciphertext that its other holder does not have."""
    honest = Mask.ciphertext

    def wrong(self: Mask, key: PublicKey) -> Ciphertext:
        return honest(self, key) * (1 + key.n) % key.n2

    Mask.ciphertext = wrong  # type: ignore[method-assign]


def _at_step(change: Callable[[dict[int, bytes]], dict[int, bytes]]) -> None:
    honest, due = Session.exchange, os.environ[STEP]

    async def wrong(self: Session, step: str, out: Mapping[int, bytes]) -> dict[int, bytes]:
        if step.startswith(due):
            out = change(dict(out))
        return await honest(self, step, out)

    Session.exchange = wrong  # type: ignore[method-assign]


def wrong_message() -> None:
    """One bit of the step's message is flipped, the same for every peer."""
    _at_step(lambda out: {peer: bytes([data[0] ^ 1]) + data[1:] for peer, data in out.items()})


def short_message() -> None:
    """The step's message is cut."""
    _at_step(lambda out: {peer: data[: len(data) // 2] for peer, data in out.items()})


def silent() -> None:
    """Nothing is sent from that step on; the connection stays up."""
    honest, due = Session.exchange, os.environ[STEP]

    async def wrong(self: Session, step: str, out: Mapping[int, bytes]) -> dict[int, bytes]:
        if step.startswith(due):
            await asyncio.sleep(3600)
        return await honest(self, step, out)

    Session.exchange = wrong  # type: ignore[method-assign]


def dead() -> None:
    """The process is gone in that step."""
    honest, due = Session.exchange, os.environ[STEP]

    async def wrong(self: Session, step: str, out: Mapping[int, bytes]) -> dict[int, bytes]:
        if step.startswith(due):
            os._exit(9)
        return await honest(self, step, out)

    Session.exchange = wrong  # type: ignore[method-assign]


def _reply(op: str, change: Callable[[Message], Message]) -> None:
    honest = member.Member.handle

    async def wrong(self: member.Member, request: Message) -> Message:
        reply = await honest(self, request)
        return change(reply) if request.op == op else reply

    member.Member.handle = wrong  # type: ignore[method-assign]


def _flipped(blobs: Sequence[bytes]) -> list[bytes]:
    return [bytes([blobs[0][0] ^ 1]) + blobs[0][1:], *blobs[1:]] if blobs else []


def wrong_root() -> None:
    """Another root than the operator's."""
    _reply("seal", lambda m: Message(m.op, {"root": "00" * 32}, m.blobs))


def wrong_root_signature() -> None:
    """A root signature that is nobody's."""
    _reply("seal", lambda m: Message(m.op, m.fields, _flipped(m.blobs)))


def wrong_result() -> None:
    """Another volume than the others report."""
    _reply("clear", lambda m: Message(m.op, {**m.fields, "volume": 1}, m.blobs))


def wrong_settlement_signature() -> None:
    """A settlement signature that is nobody's."""
    _reply("clear", lambda m: Message(m.op, m.fields, _flipped(m.blobs)))


FAULTS: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        wrong_partial,
        wrong_mask,
        wrong_message,
        short_message,
        silent,
        dead,
        wrong_root,
        wrong_root_signature,
        wrong_result,
        wrong_settlement_signature,
    )
}

if __name__ == "__main__":
    if (Path(sys.argv[1]) / "seat.json").exists():
        FAULTS[os.environ[FAULT]]()
    sys.exit(node.main(sys.argv[1:]))

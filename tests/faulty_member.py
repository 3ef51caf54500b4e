"""A member that misbehaves: `python -m tests.faulty_member HOME SOCKETS`.

DARKPOOL_TEST_FAULT names a file that holds the fault and the step it is for (`set_fault`), looked at whenever
it matters; an empty one makes it the real member. Each fault changes one message or one moment.
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
from darkpool.committee import node, opening
from darkpool.committee.member import Member
from darkpool.committee.steps import Heard, Steps
from darkpool.eip712 import SIGNATURE_BYTES, sign_digest
from darkpool.message import Message

FAULT = "DARKPOOL_TEST_FAULT"
ENDS = frozenset({"outcome", "adopt"})  # replies that say how a round ended


def set_fault(file: Path, fault: str = "", step: str = "") -> None:
    """From now on that fault, in the steps whose names start with `step`."""
    written = file.with_suffix(".new")
    written.write_text(f"{fault}\n{step}")
    written.replace(file)  # whole, whenever it is read


def _due(fault: str, step: str = "") -> bool:
    now, due = Path(os.environ[FAULT]).read_text().split("\n")
    return now == fault and step.startswith(due)


def _die() -> None:
    """Once: whoever is started again is honest."""
    set_fault(Path(os.environ[FAULT]))
    os._exit(9)


# --- in a clearing ----------------------------------------------------------------------------------


def wrong_partial() -> None:
    """A partial decryption of something else."""
    honest = threshold.partial

    def wrong(committee: Committee, share: KeyShare, c: Ciphertext) -> mpz:
        lie = _due("wrong_partial") or _due("wrong_abandon_signature")
        return honest(committee, share, c) * (2 if lie else 1) % committee.key.n

    vars(opening)["partial"] = wrong


def wrong_mask() -> None:
    """A mask ciphertext that its other holder does not have."""
    honest = Mask.ciphertext

    def wrong(self: Mask, key: PublicKey) -> Ciphertext:
        c = honest(self, key)
        return c * (1 + key.n) % key.n2 if _due("wrong_mask") else c

    Mask.ciphertext = wrong  # type: ignore[method-assign]


def steps() -> None:
    """In one step what it says is wrong in a bit, cut, or signed by nobody, to all or to its first peer.

    Or it is silent, or dies before or after.
    """
    honest_signed, honest_exchange = Steps._signed, Steps._exchange

    def signed(self: Steps, step: str, receiver: int, body: bytes) -> bytes:
        if _due("wrong_message", step):
            body = bytes([body[0] ^ 1]) + body[1:]
        if _due("short_message", step):
            body = body[: len(body) // 2]
        said = honest_signed(self, step, receiver, body)
        return said[:-1] + bytes([said[-1] ^ 1]) if _due("unsigned", step) else said

    async def exchange(
        self: Steps, step: str, out: Mapping[int, bytes], receiver: int | None = None
    ) -> dict[int, Heard]:
        if _due("equivocates", step):
            first, body = self.peers[0], out[self.peers[0]][:-SIGNATURE_BYTES]
            lie = honest_signed(self, step, first if receiver is None else receiver, b"\x01" + body[1:])
            out = {**out, first: lie}
        while _due("silent", step):  # noqa: ASYNC110 - the file says when it ends
            await asyncio.sleep(0.1)
        if _due("dead", step):
            _die()
        received = await honest_exchange(self, step, out, receiver)
        if _due("dead_after", step):
            _die()
        return received

    Steps._signed = signed  # type: ignore[method-assign]
    Steps._exchange = exchange  # type: ignore[method-assign]


# --- towards the operator ---------------------------------------------------------------------------

# By fault: the requests whose replies are changed, and how.
Lie = Callable[[Member, Message], Message]
ODD = {"state": "signed", "crossed": True, "price": 255, "volume": 1, "nets": [["11" * 20, 10**40]]}


def _flipped(_: Member, reply: Message) -> Message:
    first, *rest = reply.blobs or [bytes(65)]
    return Message(reply.op, reply.fields, [bytes([first[0] ^ 1]) + first[1:], *rest])


def _of_another_list(member: Member, reply: Message) -> Message:
    return Message(reply.op, reply.fields, [sign_digest(bytes(32), member.seat.signing_key)])


LIES: Mapping[str, tuple[frozenset[str], Lie]] = {
    "wrong_root": (frozenset({"sign"}), _of_another_list),
    "wrong_root_signature": (frozenset({"sign"}), _flipped),
    "wrong_result": (ENDS, lambda _, m: Message(m.op, {**m.fields, "volume": 1}, m.blobs)),
    "odd_result": (ENDS, lambda _, m: Message(m.op, ODD, m.blobs)),
    "wrong_result_signature": (ENDS, _flipped),
    "wrong_settlement_signature": (frozenset({"settle"}), _of_another_list),
    "wrong_abandon_signature": (frozenset({"abandon"}), _flipped),
}


def replies() -> None:
    """A reply that is not the one it would give, or none because it died."""
    honest = Member.handle

    async def wrong(self: Member, request: Message) -> Message:
        if _due("dies_before", request.op):
            _die()
        reply = await honest(self, request)
        if _due("dies_after", request.op):  # what it did is durable, and nobody heard of it
            _die()
        for fault, (ops, lie) in LIES.items():
            if _due(fault) and request.op in ops and reply.op != "refused":
                return lie(self, reply)
        return reply

    Member.handle = wrong  # type: ignore[method-assign]


def main(arguments: Sequence[str]) -> int:
    """The member with its faults."""
    for install in (wrong_partial, wrong_mask, steps, replies):
        install()
    return node.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

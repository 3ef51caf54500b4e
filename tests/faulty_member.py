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
from commitments.threshold import Committee, KeyShare, Opening
from darkpool.committee import node, opening
from darkpool.committee.blame import Blame, Charge, Faulted
from darkpool.committee.evaluator import Evaluator
from darkpool.committee.member import Member
from darkpool.committee.mesh import Mesh
from darkpool.committee.node import Node
from darkpool.committee.spread import Combination, Masked
from darkpool.committee.steps import Heard, Steps
from darkpool.committee.transport import Kind, Link
from darkpool.eip712 import SIGNATURE_BYTES, sign_digest
from darkpool.message import Message

FAULT = "DARKPOOL_TEST_FAULT"
ENDS = frozenset({"clear", "outcome", "adopt"})  # replies that say how a round ended
SLOW_SECONDS = 0.1


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


def _flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:] if data else b"\x01"


# --- in a clearing ----------------------------------------------------------------------------------


def wrong_partial() -> None:
    """A partial decryption of something else; a complaint about what is right."""
    honest, combined = threshold.partial, Combination.__call__

    def wrong(committee: Committee, share: KeyShare, c: Ciphertext) -> mpz:
        lie = _due("wrong_partial") or _due("wrong_proof") or _due("wrong_abandon_signature")
        return honest(committee, share, c) * (2 if lie else 1) % committee.key.n

    def complaining(self: Combination, item: Masked) -> Opening | None:
        return None if _due("false_complaint") else combined(self, item)

    vars(opening)["partial"] = wrong
    Combination.__call__ = complaining  # type: ignore[method-assign]


def wrong_mask() -> None:
    """A mask ciphertext that its other holder does not have."""
    honest = Mask.ciphertext

    def wrong(self: Mask, key: PublicKey) -> Ciphertext:
        c = honest(self, key)
        return c * (1 + key.n) % key.n2 if _due("wrong_mask") else c

    Mask.ciphertext = wrong  # type: ignore[method-assign]


def steps() -> None:
    """In one step what it says is wrong in a bit, cut, of before, or signed by nobody; to all, or to one.

    Or it is slow, silent, ends the attempt, charges all others, or dies before or after.
    """
    honest_signed, honest_exchange = Steps._signed, Steps._exchange
    said_before = dict[int, bytes]()

    def signed(self: Steps, step: str, receiver: int, body: bytes) -> bytes:
        if _due("wrong_message", step) or (_due("wrong_proof") and step.endswith("/proofs")):
            body = _flip(body)
        if _due("short_message", step):
            body = body[: len(body) // 2]
        said = honest_signed(self, step, receiver, body)
        before, said_before[receiver] = said_before.get(receiver, said[:-1]), said
        if _due("replays", step):
            return before
        return said[:-1] + bytes([said[-1] ^ 1]) if _due("unsigned", step) else said

    async def exchange(
        self: Steps, step: str, out: Mapping[int, bytes], receiver: int | None = None
    ) -> dict[int, Heard]:
        if _due("equivocates", step):
            first, body = self.peers[0], out[self.peers[0]][:-SIGNATURE_BYTES]
            lie = honest_signed(self, step, first if receiver is None else receiver, _flip(body))
            out = {**out, first: lie}
        await _before(self, step)
        received = await honest_exchange(self, step, out, receiver)
        if _due("dead_after", step):
            _die()
        return received

    Steps._signed = signed  # type: ignore[method-assign]
    Steps._exchange = exchange  # type: ignore[method-assign]


async def _before(steps: Steps, step: str) -> None:
    if _due("slow", step):
        await asyncio.sleep(SLOW_SECONDS)
    while _due("silent", step):  # noqa: ASYNC110 - the file says when it ends
        await asyncio.sleep(0.1)
    if _due("false_abort", step):
        raise Faulted("it does not like it")
    if _due("false_charge", step):
        raise Faulted("all others lie", [Blame(peer, Charge.SHARE, step) for peer in steps.peers])
    if _due("dead", step):
        _die()
    _Parted.begin(steps.mesh, step)


class _Parted:
    """From a step on it has no link to its first peer, to all peers or to the venue, until the fault is gone.

    `mute`: the link to its first peer stands, and nothing comes through.
    """

    since = ""
    FAULTS = ("parted_one", "parted_all", "parted_venue", "mute_one")

    @classmethod
    def begin(cls, mesh: Mesh, step: str) -> None:
        for fault in cls.FAULTS:
            if _due(fault, step):
                cls.since = fault
        for peer, link in list(mesh.links.items()):
            if cls.apart(mesh, peer):
                link.close()

    @classmethod
    def now(cls, *faults: str) -> bool:
        if cls.since and Path(os.environ[FAULT]).read_text().split("\n")[0] != cls.since:
            cls.since = ""
        return cls.since in faults

    @classmethod
    def apart(cls, mesh: Mesh, peer: int) -> bool:
        return cls.now("parted_all") or (peer == mesh.peers[0] and cls.now("parted_one"))


def links() -> None:
    """Links that are refused, or carry nothing."""
    honest_serve, honest_take, honest_send = Mesh.serve, Mesh._take, Link.send
    honest_answers = Node._answer_all

    async def serve(self: Mesh, peer: int, link: Link) -> None:
        if _Parted.apart(self, peer):
            link.close()
            return
        await honest_serve(self, peer, link)

    def take(self: Mesh, peer: int, kind: Kind, body: bytes) -> None:
        if peer != self.peers[0] or not _Parted.now("mute_one"):
            honest_take(self, peer, kind, body)

    def send(self: Link, kind: Kind, body: bytes) -> None:
        if self.name != "member 1" or kind is Kind.HELLO or not _Parted.now("mute_one"):
            honest_send(self, kind, body)

    async def answers(self: Node, link: Link) -> None:
        watch = asyncio.create_task(_close_when_parted(link))
        try:
            await honest_answers(self, link)
        finally:
            watch.cancel()

    Mesh.serve, Mesh._take, Link.send = serve, take, send  # type: ignore[method-assign]
    Node._answer_all = answers  # type: ignore[method-assign]


async def _close_when_parted(link: Link) -> None:
    while not _Parted.now("parted_venue"):  # noqa: ASYNC110 - the file says when it is
        await asyncio.sleep(0.02)
    link.close()


def evaluations() -> None:
    """In one program its child says nothing, or nonsense, or dies."""
    honest_evaluate, honest_send = Evaluator.evaluate, Mesh.send_mpc
    program_ = [""]

    async def evaluate(
        self: Evaluator,
        program: str,
        public: Sequence[int],
        shares: Sequence[int],
        timeout: float,  # noqa: ASYNC109 - as the real one
    ) -> list[int]:
        program_[0] = program
        if _due("dead_child", program):
            self._kill()
        return await honest_evaluate(self, program, public, shares, timeout)

    def send(self: Mesh, peer: int, data: bytes) -> None:
        if program_[0] and _due("silent_child", program_[0]):
            return
        if program_[0] and _due("garbage_child", program_[0]):
            data = data[:4] + os.urandom(len(data) - 4)  # after the generation
        honest_send(self, peer, data)

    Evaluator.evaluate, Mesh.send_mpc = evaluate, send  # type: ignore[method-assign]


# --- towards the operator ---------------------------------------------------------------------------

# By fault: the requests whose replies are changed, and how.
Lie = Callable[[Member, Message], Message]
ODD = {"state": "signed", "crossed": True, "price": 255, "volume": 1, "nets": [["11" * 20, 10**40]]}


def _flipped(_: Member, reply: Message) -> Message:
    first, *rest = reply.blobs or [bytes(65)]
    return Message(reply.op, reply.fields, [_flip(first), *rest])


def _of_another_list(member: Member, reply: Message) -> Message:
    return Message(reply.op, reply.fields, [sign_digest(bytes(32), member.seat.signing_key)])


def _saying(**fields: object) -> Lie:
    return lambda _, reply: Message(reply.op, {**reply.fields, **fields}, reply.blobs)


LIES: Mapping[str, tuple[frozenset[str], Lie]] = {
    "wrong_root": (frozenset({"sign"}), _of_another_list),
    "wrong_root_signature": (frozenset({"sign"}), _flipped),
    "wrong_result": (ENDS, lambda _, m: Message(m.op, {**m.fields, "volume": 1}, m.blobs)),
    "odd_result": (ENDS, lambda _, m: Message(m.op, ODD, m.blobs)),
    "wrong_result_signature": (ENDS, _flipped),
    "hidden_result": (ENDS, lambda *_: Message("outcome", {"state": "none"})),
    "wrong_settlement_signature": (frozenset({"settle"}), _of_another_list),
    "wrong_abandon_signature": (frozenset({"abandon"}), _flipped),
    "odd_status": (frozenset({"status"}), _saying(peers=5, players="all", generation=-1)),
    "lonely_status": (frozenset({"status"}), _saying(peers=[], evaluator=False)),
    "far_generation": (frozenset({"status"}), _saying(generation=(1 << 31) - 1)),
    "refuses_ready": (frozenset({"ready"}), lambda *_: Message("refused", {"reason": "no"})),
    "refuses_clear": (frozenset({"clear"}), lambda *_: Message("refused", {"reason": "no", "blame": 5})),
}


def replies() -> None:
    """A reply that is not the one it would give, or none because it died or keeps it."""
    honest = Member.handle

    async def wrong(self: Member, request: Message) -> Message:
        if _due("dies_before", request.op):
            _die()
        while _due("keeps_replies", request.op):  # noqa: ASYNC110 - the file says when it ends
            await asyncio.sleep(0.1)
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
    for install in (wrong_partial, wrong_mask, steps, links, evaluations, replies):
        install()
    return node.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

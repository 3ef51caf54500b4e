"""How a sealed list ended, from what members report of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from commitments.errors import DecodeError, VerificationError
from darkpool import eip712
from darkpool.errors import OrderRefused
from darkpool.listing import RoundResult
from darkpool.message import Message
from darkpool.netting import BOX_BYTES, Signers
from darkpool.results import read_result, result_fields
from darkpool.types import Address, Signature

DigestOf = Callable[[RoundResult], bytes]
"""What members sign for a result of the sealed list in question. Raises OrderRefused if it can be none."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """How a sealed round ended, with enough members' signatures to show it to anybody.

    result is None if the list was abandoned, for `reason`; else `reason` says who was left out, if anybody
    was. boxes: the sealed totals, by account and member.
    """

    result: RoundResult | None
    signatures: tuple[Signature, ...]
    boxes: Mapping[Address, Mapping[int, bytes]] = field(default_factory=dict, repr=False)
    reason: str = ""

    def fields(self) -> dict[str, object]:
        """Of the log's `result` entry; `boxed`: the members whose boxes follow, account by account."""
        if self.result is None:
            raise AssertionError("an abandoned list has no result")
        boxed = sorted(next(iter(self.boxes.values()), {}))
        return {**result_fields(self.result), "signatures": len(self.signatures), "boxed": boxed}

    def blobs(self) -> list[bytes]:
        """Signatures, then boxes."""
        return [*self.signatures, *(box for boxes in self.boxes.values() for _, box in sorted(boxes.items()))]


@dataclass(slots=True)
class Signed:
    """Members that signed the same result, and what they replied."""

    result: RoundResult
    replies: dict[int, Message] = field(default_factory=dict)

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """Theirs, by index."""
        return tuple(Signature(reply.blobs[0]) for _, reply in sorted(self.replies.items()))

    def certificate(self, reason: str = "") -> Certificate:
        """As the log wants it."""
        boxes: dict[Address, dict[int, bytes]] = {account: {} for account in self.result.nets}
        for index, reply in sorted(self.replies.items()):
            for account, box in zip(self.result.nets, reply.blobs[1:], strict=True):
                boxes[account][index] = box
        return Certificate(self.result, self.signatures, boxes, reason)


def signed_by(signers: Signers, index: int, reply: Message, digest: bytes) -> bool:
    """Whether a reply's first blob is that member's signature."""
    try:
        eip712.check_signer(digest, reply.blobs[0] if reply.blobs else b"", signers.addresses[index])
    except VerificationError:
        return False
    return True


def groups(signers: Signers, replies: Mapping[int, Message], digest_of: DigestOf) -> list[Signed]:
    """Members by the result they signed, the largest group first.

    What is not a member's own signature is as good as no reply.
    """
    found: list[Signed] = []
    for index, reply in sorted(replies.items()):
        if reply.fields.get("state") != "signed":
            continue
        try:
            result = read_result(reply)
            digest = digest_of(result)
        except (DecodeError, OrderRefused):
            continue
        boxes = [len(box) for box in reply.blobs[1:]]
        if boxes != [BOX_BYTES] * len(result.nets) or not signed_by(signers, index, reply, digest):
            continue
        group = next((g for g in found if g.result == result), None)
        if group is None:
            group = Signed(result)
            found.append(group)
        group.replies[index] = reply
    return sorted(found, key=lambda g: -len(g.replies))

"""An authority's answer to a request, sealed to the auditor that asked and signed with the share itself.

    label || request (32) || index || number of boxes || box … || signature

The boxes (HPKE to the auditor's key, each of up to 64 KiB, bound to request, index and place) hold the
authority's points with their proof (commitments/auditor_shares.py): from t+1 of them anyone would read the
orders. The signature is an answer for the one public handle A: it proves to know b_i, and its context is the
SHA-256 of all before it. So a false answer is the authority's own, and what others made up in its name counts
for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from commitments import sealing
from commitments.auditor_shares import MAX_AUTHORITIES, MAX_HANDLES, Partial, check_partial, partial
from commitments.encoding import Reader, Writer
from commitments.errors import CommitmentsError, DecodeError, VerificationError
from commitments.params import POINT_BYTES
from commitments.sealing import MAX_BOX_BYTES, BoxKey
from compliance import handles
from compliance.authority import Authority, Member
from compliance.authority_request import Request
from darkpool.errors import OrderRefused

LABEL_AUTHORITY_ANSWER: Final = b"darkpool/v1/authority-answer"
LABEL_AUTHORITY_BOX: Final = b"darkpool/v1/authority-box"
MAX_BOXES: Final = (MAX_HANDLES + 8) * POINT_BYTES // MAX_BOX_BYTES + 1
MAX_FILE: Final = (MAX_BOXES + 1) * (MAX_BOX_BYTES + sealing.BOX_OVERHEAD)
_MAX_SIGNATURE: Final = 1 << 10
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class SealedAnswer:
    """request: its digest, 32 bytes; index: the authority's, from 1."""

    request: bytes
    index: int
    boxes: tuple[bytes, ...] = field(repr=False)
    signature: bytes = field(default=b"", repr=False)

    @property
    def body(self) -> bytes:
        """All that is signed."""
        writer = Writer().var(LABEL_AUTHORITY_ANSWER).fixed(self.request, _DIGEST_BYTES).uint(self.index, 1)
        writer.uint(len(self.boxes), 1)
        for box in self.boxes:
            writer.var(box)
        return bytes(writer)

    def encode(self) -> bytes:
        """The file."""
        return self.body + bytes(Writer().var(self.signature))

    @staticmethod
    def decode(data: bytes) -> SealedAnswer:
        """Of its form only. Raises DecodeError naming the field."""
        reader = Reader(data)
        if reader.var("label", len(LABEL_AUTHORITY_ANSWER)) != LABEL_AUTHORITY_ANSWER:
            raise DecodeError("label", "not an authority's answer of this version")
        request, index = reader.fixed("request", _DIGEST_BYTES), reader.uint("index", 1, MAX_AUTHORITIES)
        count = reader.uint("boxes", 1, MAX_BOXES)
        boxes = tuple(reader.var(f"boxes[{i}]", MAX_BOX_BYTES + sealing.BOX_OVERHEAD) for i in range(count))
        signature = reader.var("signature", _MAX_SIGNATURE)
        reader.end("answer")
        return SealedAnswer(request, index, boxes, signature)


def answer(member: Member, request: Request) -> SealedAnswer:
    """The member's answer, sealed to the auditor of the request, which must have been checked.

    Raises OrderRefused for an order without a handle for the key, or whose proof does not hold.
    """
    keys = request.info.tenures.keys
    plain = handles.answer(member.share, request.sealed, request.legal_reference, *keys).encode()
    chunks = [plain[start : start + MAX_BOX_BYTES] for start in range(0, len(plain), MAX_BOX_BYTES)]
    place = request.digest, member.share.index, len(chunks)
    boxes = tuple(
        sealing.box_seal(request.auditor.key, chunk, LABEL_AUTHORITY_BOX, _associated(*place, i))
        for i, chunk in enumerate(chunks)
    )
    return signed(member, SealedAnswer(request.digest, member.share.index, boxes))


def signed(member: Member, made: SealedAnswer) -> SealedAnswer:
    """With the signature of the member's share."""
    proof = partial(member.share, [member.share.key], sha256(made.body).digest())
    return SealedAnswer(made.request, made.index, made.boxes, proof.encode())


def check_answer(made: SealedAnswer, request: Request, authority: Authority) -> None:
    """Raises OrderRefused unless that authority itself made the answer, true or not, to this request."""
    sharing, problem = authority.sharing, ""
    if made.request != request.digest:
        problem = "it is to another request"
    elif not 1 <= made.index <= len(sharing.verification_keys):
        problem = "there is no such authority"
    else:
        try:
            proof = Partial.decode(made.signature)
            if proof.index != made.index:
                raise DecodeError("signature", "it is another authority's")
            check_partial(sharing, [sharing.key], sha256(made.body).digest(), proof)
        except CommitmentsError:
            problem = "its signature does not hold: somebody else made or changed it"
    if problem:
        raise OrderRefused(
            f"answer of authority {made.index}: {problem}",
            "ask the authority for its answer again",
            "answer-refused",
        )


def open_answer(made: SealedAnswer, key: BoxKey) -> Partial:
    """What the authority says, its proof not checked.

    Raises DecodeError, VerificationError: the authority's own fault, if `check_answer` let it pass.
    """
    place = made.request, made.index, len(made.boxes)
    chunks = (
        sealing.box_open(key, box, LABEL_AUTHORITY_BOX, _associated(*place, i))
        for i, box in enumerate(made.boxes)
    )
    found = Partial.decode(b"".join(chunks))
    if found.index != made.index:
        raise VerificationError("answer", "the points are another authority's")
    return found


def _associated(request: bytes, index: int, count: int, place: int) -> bytes:
    return bytes(Writer().fixed(request, _DIGEST_BYTES).uint(index, 1).uint(count, 1).uint(place, 1))

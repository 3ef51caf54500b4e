"""Heavy work on public values, as bytes in and bytes out: any process on any machine can do it (workers.py).

    orders     decode sealed orders and verify their proofs, together
    combine    open a masked sum from t+1 partial decryptions

That is all a worker is ever asked, and no request has a place for a secret: key shares, mask keys and signing
keys stay in their member, which decrypts partially itself. An answer begins with the hash of its request, so
none is taken for another's. It is read as strictly as anything from outside, but a verdict on orders is
believed: workers are as trusted as the process that asks. A combination is checked (`spread`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from gmpy2 import mpz

from commitments.encoding import Reader
from commitments.errors import CommitmentsError, DecodeError
from commitments.paillier import Ciphertext, PublicKey, public_key
from commitments.threshold import Committee, Opening, combine, decode_residue
from darkpool.admission import unproven
from darkpool.errors import OrderRefused
from darkpool.message import Message

MAX_ANSWER: Final = 1 << 20
_DIGEST_BYTES: Final = 32
_MAX_MODULUS: Final = 1 << 10
_MAX_TEXT: Final = 2_000
_SOURCES: Final = ("admission.py", "message.py", "order.py", "work.py")
_ROW: Final = 4  # position, message, hint, code


# --- in a worker ------------------------------------------------------------------------------------


def answered(request: bytes) -> bytes:
    """The answer to a request, which may be why there is none: who asks then does it alone, and sees."""
    try:
        message = Message.decode(request)
        if message.op not in _TASKS:
            raise DecodeError("op", "no work of ours")
        found = _TASKS[message.op](message)
    except CommitmentsError as error:  # not raised: it would have to cross processes
        found = Message("failed", {"why": str(error)[:_MAX_TEXT]})
    return sha256(request).digest() + found.encode()


def answered_alike(code: bytes, request: bytes) -> bytes:
    """As `answered`, on another machine. Raises RuntimeError if the code there is not that of who asks."""
    if code != code_hash():
        raise RuntimeError("commitments or darkpool is another version on that machine: install the same")
    return answered(request)


@cache
def code_hash() -> bytes:
    """SHA-256 over the sources that a verdict depends on: a mistake is found, a liar is not."""
    root, digest = Path(__file__).parent, sha256()
    for path in (*sorted((root.parent / "commitments").glob("*.py")), *(root / name for name in _SOURCES)):
        data = path.read_bytes()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def warm(key: PublicKey) -> bytes:
    """A request that makes a worker import and build whatever the first order would have to."""
    return orders_request(key, [])


def _orders(message: Message) -> Message:
    key, raws = _key(message), message.blobs[1:]
    rows = [[i, r.message, r.hint, r.code] for i, r in sorted(unproven(key, raws).items())]
    return Message("refused", {"count": len(raws), "rows": rows})


def _combine(message: Message) -> Message:
    key, (c, *partials) = _key(message), message.blobs[1:]
    scale = message.integer("scale")
    size = message.integer("members"), message.integer("threshold")
    committee = Committee(key, *size, epoch=scale, scale=scale)
    indices = message.octets("indices", len(partials))
    residues = {
        i: decode_residue(key, p, f"partial of member {i}") for i, p in zip(indices, partials, strict=True)
    }
    opening = combine(committee, key.decode_ciphertext(c, "ciphertext"), residues)
    return Message("opening", {}, [_octets(key, opening.plaintext), _octets(key, opening.root)])


_TASKS: Final[Mapping[str, Callable[[Message], Message]]] = {"orders": _orders, "combine": _combine}


def _key(message: Message) -> PublicKey:
    if not message.blobs or len(message.blobs[0]) > _MAX_MODULUS:
        raise DecodeError("modulus", f"not up to {_MAX_MODULUS} bytes")
    return public_key(int.from_bytes(message.blobs[0], "big"))


def _octets(key: PublicKey, value: mpz) -> bytes:
    return int(value).to_bytes(key.modulus_bytes, "big")


# --- by who asks ------------------------------------------------------------------------------------


def read_answer(request: bytes, answer: bytes) -> Message:
    """The message of an answer to that request. Raises DecodeError for any other, and if it was not done."""
    if len(answer) > MAX_ANSWER:
        raise DecodeError("answer", f"{len(answer)} bytes are above the limit {MAX_ANSWER}")
    if answer[:_DIGEST_BYTES] != sha256(request).digest():
        raise DecodeError("answer", "it is one to another request")
    message = Message.decode(answer[_DIGEST_BYTES:])
    if message.op == "failed":
        raise DecodeError("request", message.text("why", _MAX_TEXT))
    return message


def orders_request(key: PublicKey, raws: Sequence[bytes]) -> bytes:
    """Asks what `unproven` would say of screened orders."""
    return Message("orders", {}, [_octets(key, key.n), *raws]).encode()


def read_refusals(message: Message, count: int) -> dict[int, OrderRefused]:
    """Refusals by position, of an answer about so many orders. Raises DecodeError unless it is one."""
    if message.op != "refused" or message.blobs or message.integer("count") != count:
        raise DecodeError("answer", f"not one about {count} orders")
    rows = message.fields.get("rows")
    if not isinstance(rows, list) or len(rows) > count:
        raise DecodeError("rows", f"not a list of at most {count}")
    refused: dict[int, OrderRefused] = {}
    for row in rows:
        if not isinstance(row, list) or len(row) != _ROW:
            raise DecodeError("rows", "one is not position, message, hint and code")
        fields = Message("row", dict(zip(("position", "message", "hint", "code"), row, strict=True)))
        why, hint, code = (fields.text(name, _MAX_TEXT) for name in ("message", "hint", "code"))
        position = fields.integer("position", max(refused, default=-1) + 1, count - 1)
        refused[position] = OrderRefused(why, hint, code)
    return refused


def combine_request(committee: Committee, c: Ciphertext, partials: Mapping[int, mpz]) -> bytes:
    """Asks for the opening of c; partials by member, of which t+1 are sent."""
    key, chosen = committee.key, sorted(partials)[: committee.threshold + 1]
    fields = {
        "members": committee.members,
        "threshold": committee.threshold,
        "scale": committee.scale,
        "indices": bytes(chosen).hex(),
    }
    blobs = [
        _octets(key, key.n),
        key.encode_ciphertext(c),
        *(_octets(key, partials[i]) for i in chosen),
    ]
    return Message("combine", fields, blobs).encode()


def read_opening(message: Message, key: PublicKey) -> Opening:
    """The opening in an answer; not checked yet. Raises DecodeError."""
    if message.op != "opening" or len(message.blobs) != 2:  # noqa: PLR2004
        raise DecodeError("answer", "not an opening")
    reader = Reader(message.blobs[0])
    plaintext = mpz(reader.uint("plaintext", key.modulus_bytes, int(key.n) - 1))
    reader.end("plaintext")
    return Opening(plaintext, decode_residue(key, message.blobs[1], "root"))

"""A round's result as fields of a message: in the log, and in what members report."""

from __future__ import annotations

from collections.abc import Collection

from commitments.errors import DecodeError
from commitments.params import MAX_LEVELS
from darkpool.listing import RoundResult
from darkpool.market import MAX_VOLUME
from darkpool.message import Message
from darkpool.netting import BOX_BYTES
from darkpool.types import Address, Lots, Signature, Tick


def read_result(entry: Message) -> RoundResult:
    """The result in an entry or a member's reply. Raises DecodeError."""
    if entry.fields.get("crossed") is not True:
        return RoundResult(crossed=False)
    nets = entry.fields.get("nets")
    if not isinstance(nets, list):
        raise DecodeError("nets", "not a list")
    rows: dict[Address, int] = {}
    for row in nets:
        if not (isinstance(row, list) and len(row) == 2 and type(row[1]) is int):  # noqa: PLR2004
            raise DecodeError("nets", "a row is not [account, net]")
        if abs(row[1]) > MAX_VOLUME:
            raise DecodeError("nets", f"one is beyond {MAX_VOLUME}")
        account = Message("net", {"account": row[0]}).octets("account", 20)
        rows[Address(account)] = row[1]
    if list(rows) != sorted(rows) or len(rows) != len(nets):
        raise DecodeError("nets", "accounts do not ascend")
    price, volume = entry.integer("price", 0, MAX_LEVELS - 1), entry.integer("volume", 1, MAX_VOLUME)
    return RoundResult(crossed=True, price=Tick(price), volume=Lots(volume), nets=rows)


def result_fields(result: RoundResult) -> dict[str, object]:
    """The fields `read_result` reads."""
    if not result.crossed:
        return {"crossed": False}
    nets = [[a.hex(), net] for a, net in result.nets.items()]
    return {"crossed": True, "price": result.price, "volume": result.volume, "nets": nets}


def certified(entry: Message) -> Message:
    """A result with its signatures, without sealed totals: what anybody may check. Raises DecodeError."""
    signatures = result_signatures(entry)
    return Message("result", {**result_fields(read_result(entry)), "signatures": len(signatures)}, signatures)


def check_boxes(entry: Message, result: RoundResult, members: Collection[int]) -> None:
    """Sealed totals in a `result` entry: of members, and as many and as long as they must be.

    What is in them is checked by those they are for. Raises DecodeError.
    """
    boxed, boxes = entry.fields.get("boxed", []), entry.blobs[entry.integer("signatures") :]
    if not isinstance(boxed, list) or not all(type(i) is int and i in members for i in boxed):
        raise DecodeError("boxed", "not a list of members")
    if boxed != sorted(set(boxed)) or len(boxes) != len(boxed) * len(result.nets):
        raise DecodeError("boxed", "members do not ascend, or have not one box for each account")
    if any(len(box) != BOX_BYTES for box in boxes):
        raise DecodeError("boxes", f"one is not of {BOX_BYTES} bytes")


def result_signatures(entry: Message) -> list[Signature]:
    """The first blobs of a result: signatures. Behind them are sealed totals, checked by those they are for.

    Raises DecodeError.
    """
    count = entry.integer("signatures", 1, len(entry.blobs))
    return [Signature(blob) for blob in entry.blobs[:count]]

"""The final chain events that the venue's log takes in: what moves balances, and who asks to leave.

In an entry an event is a list: kind, account, number, amount, mask — see `ChainEvent`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from commitments.errors import DecodeError
from darkpool.chain import Chain
from darkpool.message import Message
from darkpool.types import Address, Quanta
from darkpool.vault import (
    Cancellation,
    CancelRequest,
    Deposit,
    Settled,
    VaultEvent,
    Withdrawal,
    WithdrawalRequest,
)

MAX_EVENTS: Final = 40_000
"""Most of one entry, which holds whole blocks; the venue halts at a block with more.

The cheapest events that merge with no other are requests renewed in a loop, each of another token or word of
nonces, some 10,000 gas (tests/contracts/test_griefing.py): that takes a block above 350 million gas. So many
of the longest rows, 198 bytes, fit MAX_HEAD.
"""

MAX_BLOCKS: Final = 2_000  # of one entry: nodes bound the range of a search for logs
_ANSWERS: Final = {"withdrawn": "withdrawal_requested", "cancelled": "cancel_requested"}
_NO_ACCOUNT: Final = Address(bytes(20))
_WORD: Final = 32


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """One event. `number`: a token index, a word of nonces or a settlement's id, by kind."""

    kind: str
    account: Address = _NO_ACCOUNT
    number: int = 0
    quanta: Quanta = field(default=Quanta(0))
    mask: int = 0
    root: bytes = b""
    transcript: bytes = b""

    def row(self) -> list[Any]:
        """The event in an entry: integers above 64 bits and bytes in hexadecimal."""
        if self.kind == "settled":
            return [self.kind, self.number, self.root.hex(), self.transcript.hex()]
        if self.kind in {"cancel_requested", "cancelled"}:
            word, mask = (n.to_bytes(_WORD).hex() for n in (self.number, self.mask))
            return [self.kind, self.account.hex(), word, mask]
        return [self.kind, self.account.hex(), self.number, self.quanta]


def read_events(entry: Message, tokens: int) -> list[ChainEvent]:
    """The events of a `chain` entry. Raises DecodeError."""
    rows = entry.fields.get("events")
    if not isinstance(rows, list) or len(rows) > MAX_EVENTS:
        raise DecodeError("events", f"not a list of at most {MAX_EVENTS}")
    return [_read(row, tokens) for row in rows]


def _read(row: object, tokens: int) -> ChainEvent:
    if not isinstance(row, list) or len(row) != 4 or not isinstance(row[0], str):  # noqa: PLR2004
        raise DecodeError("events", "a row is not a list of four, kind first")
    kind, first, second, third = row
    values = Message(kind, {"a": first, "b": second, "c": third})
    if kind == "settled":
        return ChainEvent(
            kind,
            number=values.integer("a", 1),
            root=values.octets("b", 32),
            transcript=values.octets("c", 32),
        )
    account = Address(values.octets("a", 20))
    if kind in {"cancel_requested", "cancelled"}:
        word, mask = (int.from_bytes(values.octets(name, _WORD)) for name in ("b", "c"))
        return ChainEvent(kind, account, word, mask=mask)
    if kind not in {"deposit", "withdrawal_requested", "withdrawn"}:
        raise DecodeError("events", f"kind {kind[:32]!r} is unknown")
    return ChainEvent(kind, account, values.integer("b", 0, tokens - 1), Quanta(values.integer("c")))


def events_between(chain: Chain, first: int, last: int) -> list[ChainEvent]:
    """The final events of the closed range of blocks, in chain order, merged. Raises ChainError."""
    found: list[VaultEvent] = [
        *chain.deposits(first, last),
        *chain.withdrawal_requests(first, last),
        *chain.withdrawals(first, last),
        *chain.cancel_requests(first, last),
        *chain.cancellations(first, last),
        *chain.settlements(first, last),
    ]
    return merged([_event(e) for e in sorted(found, key=lambda e: e.place)])


def merged(events: Iterable[ChainEvent]) -> list[ChainEvent]:
    """The fewest events of the same effect: what is cheap to repeat must not fill an entry.

    A request made again while it is open changes nothing. Deposits commute with all that others and the
    account itself do, so those of one account and token are added up where the first stands; only what can
    lower a balance ends a sum, which so stays below 2^64 as the balance does.
    """
    kept: list[ChainEvent] = []
    is_open: set[tuple[str, Address, int]] = set()
    sums: dict[tuple[Address, int], int] = {}  # places in `kept`
    for event in events:
        account, number = event.account, event.number
        key = (_ANSWERS.get(event.kind, event.kind), account, number)
        if event.kind == "deposit" and (account, number) in sums:
            place = sums[account, number]
            kept[place] = replace(kept[place], quanta=Quanta(kept[place].quanta + event.quanta))
            continue
        if event.kind in _ANSWERS.values():
            if key in is_open:
                continue
            is_open.add(key)
        elif event.kind == "deposit":
            sums[account, number] = len(kept)
        elif event.kind == "settled":
            sums.clear()
        else:
            is_open.discard(key)
            if event.kind == "withdrawn":
                sums.pop((account, number), None)
        kept.append(event)
    return kept


def next_block(chain: Chain, taken: int, seen: int) -> int | None:
    """The block up to which the entry after block `taken` goes, or None if nothing after `seen` is final.

    `seen` is above `taken` by the blocks known to hold no event. Members search from `taken` on, so the range
    counts from there. Raises ChainError.
    """
    final = chain.final_block()
    return min(final, taken + MAX_BLOCKS) if final > seen else None


def chain_message(chain: Chain, after: int, last: int, time: int) -> Message:
    """The entry of the events after block `after` up to `last`, which must be final. Raises ChainError."""
    events = events_between(chain, after + 1, last)
    while len(events) > MAX_EVENTS and last > after + 1:
        last = (after + 1 + last) // 2
        events = events_between(chain, after + 1, last)
    block = chain.block(last)
    fields = {
        "time": time,
        "block": last,
        "at": block.time,
        "hash": block.hash.hex(),
        "events": [e.row() for e in events],
    }
    return Message("chain", fields)


def _event(event: VaultEvent) -> ChainEvent:
    match event:
        case Deposit():
            return ChainEvent("deposit", event.account, event.token, event.quanta)
        case WithdrawalRequest():
            return ChainEvent("withdrawal_requested", event.account, event.token)  # whatever the amount
        case Withdrawal():
            return ChainEvent("withdrawn", event.account, event.token, event.quanta)
        case CancelRequest():
            return ChainEvent("cancel_requested", event.account, event.word)
        case Cancellation():
            return ChainEvent("cancelled", event.account, event.word, mask=event.mask)
        case Settled():
            return ChainEvent("settled", number=event.id, root=event.root, transcript=event.transcript)
        case _:
            raise AssertionError(type(event))


def same_events(ours: Message, theirs: Message) -> bool:
    """Whether two `chain` entries say the same, but for the time they were written."""

    def content(message: Message) -> Sequence[object]:
        return [message.fields.get(name) for name in ("block", "at", "hash", "events")]

    return content(ours) == content(theirs)

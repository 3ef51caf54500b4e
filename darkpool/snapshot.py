"""The state of a venue as bytes and back, so that a restart need not fold the whole log.

Taken between rounds. Standing orders are named by their place in the log, where their bytes are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from operator import index
from typing import Any, Final

from commitments.errors import DecodeError
from commitments.group import Point
from commitments.merkle import Frontier
from commitments.paillier import PublicKey
from darkpool.account import FreeCollateral, Nonces
from darkpool.book import Book
from darkpool.effects import Pending
from darkpool.errors import ConfigError
from darkpool.jsontext import parsed
from darkpool.listing import ListedOrder, Movement
from darkpool.market import Round, RoundState
from darkpool.message import Message, read_terms, terms_message
from darkpool.netting import Signers
from darkpool.settlement import Delta, NullifierRow, Settlement
from darkpool.state import VenueState
from darkpool.types import ADDRESS_BYTES, Address, Quanta, RoundId, Signature, Tick, TokenIndex

_VERSION: Final = 1


def encode(state: VenueState, frontier: Frontier) -> bytes:
    """The snapshot. Raises ConfigError while a round is sealed."""
    if state.sealed is not None:
        raise ConfigError("snapshot: a round is sealed")
    document = {
        "version": _VERSION,
        "time": state.time,
        "block": state.block,
        "block_hash": state.block_hash.hex(),
        "chain_time": state.chain_time,
        "settled_id": state.settled_id,
        "epoch": state.epoch,
        "tree": [frontier.size, [node.hex() for node in frontier.nodes]],
        "pending": [pending_message(p).encode().hex() for p in state.pending],
        "free": [
            [a.hex(), t.hex(), f.current.encode().hex(), f.version, [p.hex() for p in f.since_decrease]]
            for (a, t), f in state.ledger.free.items()
        ],
        "balances": [[a.hex(), t.hex(), amount] for (a, t), amount in state.ledger.balances.items()],
        "nonces": [[a.hex(), n.lowest_unused, sorted(n.used_above)] for a, n in state.ledger.nonces.items()],
        "burnt": [
            [a.hex(), word, f"{mask:x}"]
            for a, words in state.ledger.burnt.items()
            for word, mask in words.items()
        ],
        "halted": [[a.hex(), sorted(map(list, r))] for a, r in state.ledger.halted.items()],
        "books": [_book(book) for book in state.books.values()],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _book(book: Book) -> list[Any]:
    current = None if book.round is None else [book.round.id, book.round.reference, book.round.state.value]
    terms = terms_message(book.terms, book.terms_at).encode().hex()
    return [terms, current, [o.sequence for o in book.standing]]


def decode(
    data: bytes, key: PublicKey, signers: Signers, order_at: Callable[[int], bytes]
) -> tuple[VenueState, Frontier]:
    """State and log tree of a snapshot of our own; `order_at` gives a sealed order by its place in the log.

    Raises DecodeError if the database does not hold what was written.
    """
    document = parsed(data, "snapshot")
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise DecodeError("snapshot", "of another version")
    state = VenueState(key, signers)
    state.time, state.block = document["time"], document["block"]
    state.block_hash = bytes.fromhex(document["block_hash"])
    state.chain_time, state.settled_id, state.epoch = (
        document[name] for name in ("chain_time", "settled_id", "epoch")
    )
    state.pending = [read_pending(Message.decode(bytes.fromhex(p))) for p in document["pending"]]
    ledger = state.ledger
    for a, t, current, version, since in document["free"]:
        point = Point.decode(bytes.fromhex(current), "free", identity_allowed=True)  # all was withdrawn
        free = FreeCollateral(point, version, [bytes.fromhex(p) for p in since])
        ledger.free[_address(a), _address(t)] = free
    ledger.balances = {(_address(a), _address(t)): amount for a, t, amount in document["balances"]}
    for a, word, mask in document["burnt"]:
        ledger.burnt.setdefault(_address(a), {})[word] = int(mask, 16)
    ledger.nonces = {
        _address(a): Nonces(lowest, set(above), ledger.burnt.get(_address(a), {}))
        for a, lowest, above in document["nonces"]
    }
    ledger.halted = {_address(a): {(kind, n) for kind, n in requests} for a, requests in document["halted"]}
    for terms, current, sequences in document["books"]:
        message = Message.decode(bytes.fromhex(terms))
        book = Book(read_terms(message, key), ledger, message.integer("time"))
        if current is not None:
            number, reference, round_state = current
            book.round = Round(RoundId(number), book.terms.market, Tick(reference), RoundState(round_state))
        book.restore(ListedOrder.read(order_at(sequence), key, sequence) for sequence in sequences)
        state.books[book.terms.market.id] = book
    size, nodes = document["tree"]
    return state, Frontier(size, [bytes.fromhex(node) for node in nodes])


def pending_message(pending: Pending) -> Message:
    """A signed settlement as canonical bytes: what `settle` takes, and what it is of."""
    s = pending.settlement
    fields: Mapping[str, Any] = {
        "id": s.id,
        "epoch": s.epoch,
        "sealed_at": s.sealed_at,
        "root": s.root.hex(),
        "transcript": s.transcript.hex(),
        "deltas": [[d.token, d.account.hex(), d.amount] for d in s.deltas],
        "nullifiers": [[n.account.hex(), f"{n.word:x}", f"{n.mask:x}"] for n in s.nullifiers],
        "market": pending.market.hex(),
        "round": pending.round,
        "movements": [[m.account.hex(), m.token.hex(), m.amount] for m in pending.movements],
        "ends": pending.ends,
    }
    return Message("settlement", fields, pending.signatures)


def read_pending(message: Message) -> Pending:
    """Raises DecodeError or SettlementRefused."""
    rows = {name: message.fields.get(name) for name in ("deltas", "nullifiers", "movements")}
    try:
        deltas = [(index(t), _address(a), index(q)) for t, a, q in _rows(rows["deltas"])]
        nullifiers = [(_address(a), int(w, 16), int(m, 16)) for a, w, m in _rows(rows["nullifiers"])]
        movements = [(_address(a), _address(t), index(q)) for a, t, q in _rows(rows["movements"])]
    except (TypeError, ValueError):
        raise DecodeError("settlement", "a row is malformed") from None
    settlement = Settlement(
        id=message.integer("id", 1),
        epoch=message.integer("epoch", 1),
        sealed_at=message.integer("sealed_at"),
        root=message.octets("root", 32),
        transcript=message.octets("transcript", 32),
        deltas=tuple(Delta(TokenIndex(t), a, Quanta(q)) for t, a, q in deltas),
        nullifiers=tuple(NullifierRow(a, w, m) for a, w, m in nullifiers),
    )
    return Pending(
        settlement,
        message.octets("market", 32),
        RoundId(message.integer("round", 1)),
        tuple(Movement(a, t, Quanta(q)) for a, t, q in movements),
        tuple(Signature(blob) for blob in message.blobs),
        message.integer("ends"),
    )


def _rows(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _address(text: str) -> Address:
    address = bytes.fromhex(text)
    if len(address) != ADDRESS_BYTES:
        raise ValueError
    return Address(address)

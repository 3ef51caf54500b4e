"""The state of a venue as bytes and back, so that a restart need not fold the whole log.

Taken between rounds. Standing orders are named by their place in the log, where their bytes are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from commitments.errors import DecodeError
from commitments.group import Point
from commitments.merkle import Frontier
from commitments.paillier import PublicKey
from darkpool.account import FreeCollateral, Nonces
from darkpool.book import Book
from darkpool.errors import ConfigError
from darkpool.jsontext import parsed
from darkpool.listing import ListedOrder
from darkpool.market import Round, RoundState
from darkpool.message import Message, read_terms, terms_message
from darkpool.netting import Signers
from darkpool.signed_settlement import delta_fields, nullifier_fields, read_deltas, read_nullifiers
from darkpool.state import VenueState
from darkpool.types import ADDRESS_BYTES, Address, RoundId, Tick, TokenIndex
from darkpool.windows import Cleared, window

_VERSION: Final = 4


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
        "last_seal": state.last_seal,
        "committees": [entry.hex() for entry in state.tenures.entries],
        "audit": [state.audit_size, state.audit_root.hex()],
        "tree": [frontier.size, [node.hex() for node in frontier.nodes]],
        "voided": state.voided,
        "unsettled": [_cleared(cleared) for cleared in state.unsettled],
        "pending": [
            [p.settlement.id, p.settlement.epoch, [_cleared(cleared) for cleared in p.rounds]]
            for p in state.pending
        ],
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

    key, signers: of the venue's first committee.

    Raises DecodeError if it is not what was written, ConfigError if another version wrote it.
    """
    document = parsed(data, "snapshot")
    if not isinstance(document, dict) or not isinstance(version := document.get("version"), int):
        raise DecodeError("snapshot", "not an object with a version")
    if version != _VERSION:
        raise ConfigError(
            f"snapshot: of version {version}, not {_VERSION}: another version of darkpool made it",
            "go on with the version of darkpool that wrote it, or start a new venue",
        )
    state = VenueState(key, signers)
    state.time, state.block = document["time"], document["block"]
    state.block_hash = bytes.fromhex(document["block_hash"])
    state.chain_time, state.settled_id, state.epoch, state.last_seal, state.voided = (
        document[name] for name in ("chain_time", "settled_id", "epoch", "last_seal", "voided")
    )
    for entry in document["committees"]:  # checked when it was written
        state.tenures = state.tenures.taken(Message.decode(bytes.fromhex(entry)))
    size, root = document["audit"]
    state.audit_size, state.audit_root = int(size), bytes.fromhex(root)
    state.unsettled = [_read_cleared(cleared) for cleared in document["unsettled"]]
    state.pending = [
        window([_read_cleared(cleared) for cleared in rounds], number, epoch)
        for number, epoch, rounds in document["pending"]
    ]
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
        book = Book(read_terms(message, state.key), ledger, message.integer("time"))
        if current is not None:
            number, reference, round_state = current
            book.round = Round(RoundId(number), book.terms.market, Tick(reference), RoundState(round_state))
        book.restore(ListedOrder.read(order_at(sequence), state.key, sequence) for sequence in sequences)
        state.books[book.terms.market.id] = book
    size, nodes = document["tree"]
    return state, Frontier(size, [bytes.fromhex(node) for node in nodes])


def _cleared(cleared: Cleared) -> dict[str, Any]:
    return {
        "market": cleared.market.hex(),
        "round": cleared.round,
        "at": cleared.at,
        "sealed_at": cleared.sealed_at,
        "ends": cleared.ends,
        "root": cleared.root.hex(),
        "transcript": cleared.transcript.hex(),
        "deltas": delta_fields(cleared.deltas),
        "nullifiers": nullifier_fields(cleared.nullifiers),
        "gross": cleared.gross,
    }


def _read_cleared(document: Mapping[str, Any]) -> Cleared:
    return Cleared(
        market=bytes.fromhex(document["market"]),
        round=RoundId(document["round"]),
        at=document["at"],
        sealed_at=document["sealed_at"],
        ends=document["ends"],
        root=bytes.fromhex(document["root"]),
        transcript=bytes.fromhex(document["transcript"]),
        deltas=read_deltas(document["deltas"]),
        nullifiers=read_nullifiers(document["nullifiers"]),
        gross=tuple((TokenIndex(token), amount) for token, amount in document["gross"]),
    )


def _address(text: str) -> Address:
    address = bytes.fromhex(text)
    if len(address) != ADDRESS_BYTES:
        raise ValueError
    return Address(address)

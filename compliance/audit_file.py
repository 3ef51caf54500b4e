"""The audit file: all that a query brought, to be verified off-line by whoever has the auditor's key.

    darkpool message (darkpool/message.py), op "audit": a JSON head and blobs in this order
    answer to the query (JSON, with grant, revocations and the operator's receipt)
    each market's description, as the venue wrote it (JSON)
    each round: sealed list (JSON), if the head says so its certified result and the bytes of an order of it
    each settlement: signed, and if the head says so what the chain has under its id
    each order of the account, in the head's order
    || signature of the auditor that gathered it, over SHA-256("darkpool/v1/audit-file" || all before)

One canonical encoding. It holds public data, the grant, sealed to the auditor, and no key; what the orders
say is not in it. Reading it checks its form only: compliance/audit_check.py says what holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

from commitments.errors import CommitmentsError, DecodeError
from compliance.disclosure_answer import MAX_ORDERS, Answer
from compliance.grants import GrantRefused
from darkpool import jsontext
from darkpool.client.answers import MarketInfo
from darkpool.eip712 import SIGNATURE_BYTES, sign_digest
from darkpool.errors import ConfigError, DarkpoolError
from darkpool.jsonfields import Fields, read_hex
from darkpool.message import Message
from darkpool.order import MAX_ORDER_BYTES, order_hash
from darkpool.sealed_view import SealedListView
from darkpool.signed_settlement import MAX_BYTES, SignedSettlement
from darkpool.types import PrivateKey, Signature

OP: Final = "audit"
LABEL: Final = b"darkpool/v1/audit-file"
VERSION: Final = 1
MAX_FILE: Final = 1 << 30
MAX_AUDITED_ROUNDS: Final = 32_768
MAX_SETTLEMENTS: Final = 16_384
MAX_MARKETS: Final = 256
_MAX_ROUNDS_SETTLED: Final = 64

UNDONE: Final = "undone"
"""State of a settlement that landed and was taken back after a contest, by the auditor's node."""

_MAX_MARKET_BYTES: Final = 1 << 20
_NAMES: Final = ("version", "made_at", "chain", "markets", "rounds", "settlements", "orders")


@dataclass(frozen=True)
class AuditedRound:
    """A round as the venue publishes it.

    sealed: its list as JSON; result: certified, b"" if it has none; sample: the bytes of one of its orders,
    which say what terms it was cleared under, b"" for none.
    """

    market: bytes
    number: int
    sealed: bytes = field(repr=False)
    result: bytes = field(default=b"", repr=False)
    sample: bytes = field(default=b"", repr=False)

    @cached_property
    def view(self) -> SealedListView:
        """Its list; not checked. Raises DecodeError."""
        found = SealedListView.from_json(jsontext.parsed(self.sealed, "sealed list"))
        if (found.market, found.round) != (self.market, self.number):
            raise DecodeError("sealed list", f"not of round {self.number}")
        return found

    @property
    def head(self) -> list[Any]:
        """Its row in a file's head: which it is, and which blobs follow its list."""
        return [self.market.hex(), self.number, bool(self.result), bool(self.sample)]

    @property
    def blobs(self) -> list[bytes]:
        """Its list, and its result and sample if it has them."""
        return [self.sealed, *filter(None, (self.result, self.sample))]


@dataclass(frozen=True)
class AuditedSettlement:
    """A settlement and the rounds it is of, as (market, number). state: by the venue's word, or UNDONE.

    chain: what the vault did under its id (a settlement without signatures), b"" if nothing or not asked;
    block, tx_hash: where, by the auditor's node.
    """

    payload: bytes = field(repr=False)
    rounds: tuple[tuple[bytes, int], ...]
    state: str
    chain: bytes = field(default=b"", repr=False)
    block: int = 0
    tx_hash: bytes = b""

    @cached_property
    def signed(self) -> SignedSettlement:
        """As its members signed it; not checked. Raises DecodeError."""
        return _settlement(self.payload, "settlement")

    @cached_property
    def landed(self) -> SignedSettlement | None:
        """What the chain did. Raises DecodeError."""
        return _settlement(self.chain, "chain") if self.chain else None

    @property
    def head(self) -> list[Any]:
        """Its row in a file's head."""
        rounds = [[market.hex(), number] for market, number in self.rounds]
        return [rounds, self.state, bool(self.chain), self.block, self.tx_hash.hex()]

    @property
    def blobs(self) -> list[bytes]:
        """As it was signed, and as the chain has it if that was asked."""
        return [self.payload, *filter(None, (self.chain,))]


def _settlement(data: bytes, what: str) -> SignedSettlement:
    try:
        return SignedSettlement.decode(data)
    except (DarkpoolError, CommitmentsError) as error:
        raise DecodeError(what, str(error)) from None


@dataclass(frozen=True)
class AuditFile:
    """made_at: unix seconds; chain: what was asked of the chain ("" if it was not); orders: by hash."""

    made_at: int
    chain: str
    answer_bytes: bytes = field(repr=False)
    markets: Mapping[bytes, bytes] = field(repr=False)
    rounds: tuple[AuditedRound, ...] = field(repr=False)
    settlements: tuple[AuditedSettlement, ...] = field(repr=False)
    orders: Mapping[bytes, bytes] = field(repr=False)
    signature: Signature = field(default=Signature(b""), repr=False)

    @cached_property
    def answer(self) -> Answer:
        """The answer to the query. Raises DecodeError."""
        try:
            return Answer.from_json(jsontext.parsed(self.answer_bytes, "answer"))
        except (GrantRefused, ConfigError) as error:
            raise DecodeError("answer", error.message) from None

    @cached_property
    def infos(self) -> dict[bytes, MarketInfo]:
        """The markets. Raises DecodeError."""
        return market_infos(self.markets)

    def round(self, market: bytes, number: int) -> AuditedRound | None:
        """One of its rounds."""
        return self._places.get((market, number))

    @cached_property
    def _places(self) -> dict[tuple[bytes, int], AuditedRound]:
        return {(r.market, r.number): r for r in self.rounds}

    def encode(self) -> bytes:
        """The file: all that is signed, and the signature."""
        return self.body + self.signature

    def signed(self, key: PrivateKey) -> AuditFile:
        """With the signature of the auditor that gathered it."""
        return replace(self, signature=sign_digest(self.digest, key))

    @property
    def digest(self) -> bytes:
        """What the auditor signs, 32 bytes."""
        return sha256(LABEL + self.body).digest()

    @cached_property
    def body(self) -> bytes:
        """The file without its signature."""
        blobs = [self.answer_bytes, *self.markets.values()]
        blobs += [blob for row in self.rounds for blob in row.blobs]
        blobs += [blob for settlement in self.settlements for blob in settlement.blobs]
        fields: dict[str, Any] = {
            "version": VERSION,
            "made_at": self.made_at,
            "chain": self.chain,
            "markets": [market.hex() for market in self.markets],
            "rounds": [row.head for row in self.rounds],
            "settlements": [settlement.head for settlement in self.settlements],
            "orders": [digest.hex() for digest in self.orders],
        }
        return Message(OP, fields, [*blobs, *self.orders.values()]).encode()

    @staticmethod
    def decode(data: bytes) -> AuditFile:
        """Raises DecodeError naming the field: of its form, and of every document in it."""
        if len(data) > MAX_FILE:
            raise DecodeError(OP, f"above {MAX_FILE} bytes")
        body, signature = data[:-SIGNATURE_BYTES], Signature(data[-SIGNATURE_BYTES:])
        message = Message.decode(body)
        if message.op != OP:
            raise DecodeError(OP, "not an audit file")
        fields = Fields(message.fields, OP, _NAMES)
        fields.uint("version", VERSION, VERSION)
        chain = fields.text("chain")
        if len(chain) > MAX_ORDERS:
            raise DecodeError("chain", "too long")
        blobs = Blobs(iter(message.blobs))
        answer = blobs.next("answer", MAX_FILE)
        markets = {
            read_octets(text, "markets", 32): blobs.next("market", _MAX_MARKET_BYTES)
            for text in fields.array("markets", MAX_MARKETS)
        }
        rounds = tuple(read_round(row, blobs) for row in fields.array("rounds", MAX_AUDITED_ROUNDS))
        settlements = tuple(read_settled(r, blobs) for r in fields.array("settlements", MAX_SETTLEMENTS))
        orders = {}
        for text in fields.array("orders", MAX_ORDERS):
            digest = read_octets(text, "orders", 32)
            orders[digest] = blobs.next("order", MAX_ORDER_BYTES)
        found = AuditFile(
            fields.uint("made_at"), chain, answer, markets, rounds, settlements, orders, signature
        )
        if found.body != body:
            raise DecodeError(OP, "not in its canonical form")
        found._check()
        return found

    def _check(self) -> None:
        """Each document by itself is of its form; who says so comes later."""
        if answer_json(self.answer) != self.answer_bytes:
            raise DecodeError("answer", "not in its canonical form")
        _ = self.infos
        for row in self.rounds:
            _ = row.view
        for settlement in self.settlements:
            _ = settlement.signed, settlement.landed
        check_hashes(self.orders)


def market_infos(markets: Mapping[bytes, bytes]) -> dict[bytes, MarketInfo]:
    """The markets of their descriptions, each under its own id. Raises DecodeError."""
    found = {}
    for market, data in markets.items():
        info = MarketInfo.of(jsontext.parsed(data, "market"))
        if info.terms.market.id != market:
            raise DecodeError("market", "described under another's id")
        found[market] = info
    return found


def check_hashes(orders: Mapping[bytes, bytes]) -> None:
    """Raises DecodeError unless the bytes of each order are those of its hash."""
    for digest, raw in orders.items():
        if order_hash(raw) != digest:
            raise DecodeError("orders", f"the bytes of {digest.hex()} are of another")


@dataclass(slots=True)
class Blobs:
    """Blobs one after the other."""

    rest: Iterator[bytes]

    def next(self, name: str, limit: int) -> bytes:
        """The next one. Raises DecodeError."""
        blob = next(self.rest, None)
        if blob is None:
            raise DecodeError(name, "missing")
        if len(blob) > limit:
            raise DecodeError(name, f"above {limit} bytes")
        return blob


def _row(value: object, name: str, kinds: tuple[type, ...]) -> list[Any]:
    if not isinstance(value, list) or tuple(type(part) for part in value) != kinds:
        raise DecodeError(name, "a row is malformed")
    return value


def read_octets(text: object, name: str, width: int) -> bytes:
    """Raises DecodeError."""
    return read_hex(f"0x{text}", name, width)


def _place(value: object, name: str) -> tuple[bytes, int]:
    market, number = _row(value, name, (str, int))
    return read_octets(market, name, 32), Fields({"number": number}, name, ("number",)).uint("number", low=1)


def read_round(value: object, blobs: Blobs) -> AuditedRound:
    """The round of a head's row and the next blobs. Raises DecodeError."""
    market, number, result, sample = _row(value, "rounds", (str, int, bool, bool))
    place = _place([market, number], "rounds")
    return AuditedRound(
        *place,
        blobs.next("sealed list", MAX_FILE),
        blobs.next("result", MAX_FILE) if result else b"",
        blobs.next("sample", MAX_ORDER_BYTES) if sample else b"",
    )


def read_settled(value: object, blobs: Blobs) -> AuditedSettlement:
    """The settlement of a head's row and the next blobs. Raises DecodeError."""
    rounds, state, chain, block, tx_hash = _row(value, "settlements", (list, str, bool, int, str))
    if len(rounds) > _MAX_ROUNDS_SETTLED or len(state) > _MAX_ROUNDS_SETTLED:
        raise DecodeError("settlements", f"one of over {_MAX_ROUNDS_SETTLED} rounds")
    return AuditedSettlement(
        blobs.next("settlement", MAX_BYTES),
        tuple(_place(row, "settlements") for row in rounds),
        state,
        blobs.next("chain", MAX_BYTES) if chain else b"",
        Fields({"block": block}, "settlements", ("block",)).uint("block"),
        read_octets(tx_hash, "settlements", 32) if tx_hash else b"",
    )


def sealed_json(view: SealedListView) -> bytes:
    """A sealed list as the file holds it."""
    return json.dumps(view.as_json(), separators=(",", ":")).encode()


def answer_json(answer: Answer) -> bytes:
    """An answer as the file holds it."""
    return json.dumps(answer.as_json(), sort_keys=True, separators=(",", ":")).encode()

"""A round as the venue publishes it, whole and in one file, for anybody to verify without a key.

    darkpool message (darkpool/message.py), op "round": a JSON head and blobs in this order
    each market's description, as the venue wrote it (JSON)
    each round, this one first, then the others of its settlement: as in an audit file (audit_file.py)
    the settlement, if there is one: signed, and if the head says so what the chain has under its id
    each order of this round, in list order

One canonical encoding; all of it is public. Reading it checks its form only: compliance/round_verify.py says
what holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from commitments.errors import DecodeError
from commitments.params import MAX_ORDERS_PER_ROUND
from compliance.audit_file import (
    AuditedRound,
    AuditedSettlement,
    Blobs,
    check_hashes,
    market_infos,
    read_octets,
    read_round,
    read_settled,
)
from darkpool.client.answers import MarketInfo
from darkpool.jsonfields import Fields
from darkpool.message import Message
from darkpool.order import MAX_ORDER_BYTES

OP: Final = "round"
VERSION: Final = 1
MAX_FILE: Final = 1 << 31
MAX_MARKETS: Final = 96
MAX_ROUNDS: Final = 65
_MAX_MARKET_BYTES: Final = 1 << 20
_MAX_CHAIN_TEXT: Final = 200
_NAMES: Final = ("version", "made_at", "chain", "markets", "rounds", "settlement", "orders")


@dataclass(frozen=True)
class RoundFile:
    """made_at: unix seconds; chain: what was asked of the chain ("" if it was not); orders: by hash."""

    made_at: int
    chain: str
    markets: Mapping[bytes, bytes] = field(repr=False)
    rounds: tuple[AuditedRound, ...] = field(repr=False)
    settlement: AuditedSettlement | None = field(repr=False)
    orders: Mapping[bytes, bytes] = field(repr=False)

    @property
    def subject(self) -> AuditedRound:
        """The round it is about."""
        return self.rounds[0]

    @cached_property
    def infos(self) -> dict[bytes, MarketInfo]:
        """The markets. Raises DecodeError."""
        return market_infos(self.markets)

    def round(self, market: bytes, number: int) -> AuditedRound | None:
        """One of its rounds."""
        return next((r for r in self.rounds if (r.market, r.number) == (market, number)), None)

    def encode(self) -> bytes:
        """Canonical bytes."""
        blobs = [*self.markets.values(), *(blob for row in self.rounds for blob in row.blobs)]
        blobs += [] if self.settlement is None else self.settlement.blobs
        fields: dict[str, Any] = {
            "version": VERSION,
            "made_at": self.made_at,
            "chain": self.chain,
            "markets": [market.hex() for market in self.markets],
            "rounds": [row.head for row in self.rounds],
            "settlement": None if self.settlement is None else self.settlement.head,
            "orders": [digest.hex() for digest in self.orders],
        }
        return Message(OP, fields, [*blobs, *self.orders.values()]).encode()

    @staticmethod
    def decode(data: bytes) -> RoundFile:
        """Raises DecodeError naming the field: of its form, and of every document in it."""
        if len(data) > MAX_FILE:
            raise DecodeError(OP, f"above {MAX_FILE} bytes")
        message = Message.decode(data)
        if message.op != OP:
            raise DecodeError(OP, "not the file of a round")
        fields = Fields(message.fields, OP, _NAMES)
        fields.uint("version", VERSION, VERSION)
        chain, blobs = fields.text("chain"), Blobs(iter(message.blobs))
        if len(chain) > _MAX_CHAIN_TEXT:
            raise DecodeError("chain", f"above {_MAX_CHAIN_TEXT} characters")
        markets = {
            read_octets(text, "markets", 32): blobs.next("market", _MAX_MARKET_BYTES)
            for text in fields.array("markets", MAX_MARKETS)
        }
        rounds = tuple(read_round(row, blobs) for row in fields.array("rounds", MAX_ROUNDS))
        if not rounds:
            raise DecodeError("rounds", "there is none")
        row = fields.member("settlement")
        settlement = None if row is None else read_settled(row, blobs)
        orders = {
            read_octets(text, "orders", 32): blobs.next("order", MAX_ORDER_BYTES)
            for text in fields.array("orders", MAX_ORDERS_PER_ROUND)
        }
        found = RoundFile(fields.uint("made_at"), chain, markets, rounds, settlement, orders)
        if found.encode() != data:
            raise DecodeError(OP, "not in its canonical form")
        found._check()
        return found

    def _check(self) -> None:
        """Each document by itself is of its form; what holds comes later."""
        _ = self.infos
        for row in self.rounds:
            _ = row.view
        if self.settlement is not None:
            _ = self.settlement.signed, self.settlement.landed
        check_hashes(self.orders)

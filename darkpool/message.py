"""What operator and members say to each other and write into the log: a small JSON head and binary blobs.

length || JSON {"op": …, fields} || count || length || blob …
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError
from commitments.group import Point
from commitments.paillier import PublicKey
from darkpool import jsontext
from darkpool.market import Grid, Market
from darkpool.order import Terms
from darkpool.types import Address, Lots, Quanta

MAX_HEAD: Final = 1 << 23
MAX_BLOB: Final = 1 << 26
MAX_BLOBS: Final = 1 << 17


@dataclass(frozen=True, slots=True)
class Message:
    """One request, reply or entry of the log."""

    op: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    blobs: Sequence[bytes] = field(default=(), repr=False)

    def encode(self) -> bytes:
        """Canonical bytes: sorted keys, no spaces."""
        head = json.dumps({"op": self.op, **self.fields}, sort_keys=True, separators=(",", ":")).encode()
        writer = Writer().var(head).uint(len(self.blobs), 4)
        for blob in self.blobs:
            writer.var(blob)
        return bytes(writer)

    @staticmethod
    def decode(data: bytes) -> Message:
        """Raises DecodeError."""
        reader = Reader(data)
        fields = jsontext.parsed(reader.var("head", MAX_HEAD), "head")
        if not isinstance(fields, dict) or not isinstance(fields.get("op"), str):
            raise DecodeError("head", "not an object with an op")
        blobs = [reader.var(f"blob {i}", MAX_BLOB) for i in range(reader.uint("blobs", 4, MAX_BLOBS))]
        reader.end("message")
        op = fields.pop("op")
        return Message(op, fields, blobs)

    def integer(self, name: str, low: int = 0, high: int = (1 << 64) - 1) -> int:
        """An integer field within bounds. Raises DecodeError."""
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise DecodeError(name, f"not an integer from {low} to {high}")
        return value

    def text(self, name: str, limit: int) -> str:
        """A text field of at most `limit` characters. Raises DecodeError."""
        value = self.fields.get(name)
        if not isinstance(value, str) or len(value) > limit:
            raise DecodeError(name, f"not a text of at most {limit} characters")
        return value

    def octets(self, name: str, width: int | None = None) -> bytes:
        """A field in lower-case hexadecimal. Raises DecodeError."""
        value = self.fields.get(name)
        try:
            data = bytes.fromhex(value) if isinstance(value, str) else None
        except ValueError:
            data = None
        if data is None or data.hex() != value or (width is not None and len(data) != width):
            raise DecodeError(
                name, f"not {width if width is not None else 'a number of'} bytes in hexadecimal"
            )
        return data


def terms_message(terms: Terms, time: int) -> Message:
    """The entry that opens a market, or changes its terms."""
    market = terms.market
    fields = {
        "time": time,
        "chain_id": terms.chain_id,
        "contract": terms.contract.hex(),
        "venue": terms.venue.hex(),
        "policy_hash": terms.policy_hash.hex(),
        "settle_window": terms.settle_window,
        "tokens": "".join(t.hex() for t in terms.tokens),
        "auditor_keys": "".join(k.encode().hex() for k in terms.auditor_keys),
        "market": market.id.hex(),
        "name": market.name,
        "base": market.base.hex(),
        "quote": market.quote.hex(),
        "lot": market.lot,
        "p_0": market.grid.p_0,
        "tick": market.grid.tick,
        "levels": market.grid.levels,
        "pressure_ticks": market.pressure_ticks,
        "min_volume": market.min_volume,
        "min_accounts": market.min_accounts,
        "min_orders": market.min_orders,
    }
    return Message("market", fields)


def read_terms(message: Message, key: PublicKey) -> Terms:
    """The terms of such a request under the committee's own key. Raises DecodeError or ConfigError."""
    tokens = message.octets("tokens")
    keys = message.octets("auditor_keys")
    name = message.fields.get("name")
    if not isinstance(name, str) or len(tokens) % 20 or len(keys) % 48:
        raise DecodeError("market", "name, tokens or auditor_keys are malformed")
    grid = Grid(Quanta(message.integer("p_0")), Quanta(message.integer("tick")), message.integer("levels"))
    market = Market(
        id=message.octets("market", 32),
        name=name,
        base=Address(message.octets("base", 20)),
        quote=Address(message.octets("quote", 20)),
        lot=Quanta(message.integer("lot")),
        grid=grid,
        pressure_ticks=message.integer("pressure_ticks"),
        min_volume=Lots(message.integer("min_volume")),
        min_accounts=message.integer("min_accounts"),
        min_orders=message.integer("min_orders"),
    )
    return Terms(
        chain_id=message.integer("chain_id", 1),
        contract=Address(message.octets("contract", 20)),
        venue=message.octets("venue", 32),
        market=market,
        key=key,
        policy_hash=message.octets("policy_hash", 32),
        settle_window=message.integer("settle_window", 1),
        tokens=tuple(Address(tokens[i : i + 20]) for i in range(0, len(tokens), 20)),
        auditor_keys=tuple(
            Point.decode(keys[i : i + 48], f"auditor_keys[{i // 48}]") for i in range(0, len(keys), 48)
        ),
    )

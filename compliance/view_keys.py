"""View keys: a node of an account's key tree together with what it opens, as text to hand over.

    seed -> account (chain, contract, account) -> market -> day of the statement -> order (nonce)

A node derives everything below it and nothing beside or above it (commitments/sealing.py), so what a view
key opens is settled by where it hangs. Its text is Bech32m with the prefix `dpview`:

    version (1) || level (1) || chain id (8) || contract (20) || account (20)
    || market (32), day (4), nonce (8) as far as the level goes || node key (32)

The text is a secret: whoever reads it can read the orders.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from commitments import sealing
from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError
from commitments.order_statement import Statement
from commitments.sealing import NodeKey
from compliance import bech32m
from darkpool.errors import ConfigError
from darkpool.market import MARKET_ID_BYTES
from darkpool.types import ADDRESS_BYTES, Address

HRP: Final = "dpview"
VERSION: Final = 1
NO_END: Final = sealing.MAX_DAY
"""The last day of a grant of a market for all time, from day 0."""

MAX_NODES: Final = 1024
"""Most nodes handed over at once: what fits a box, and a little under three years of days."""

_MAX_CHAIN_ID: Final = (1 << 64) - 1
_HINT: Final = "ask for a whole market, a day of it, or one order"


class Level(IntEnum):
    """How far down the tree a node hangs."""

    ACCOUNT = 0
    MARKET = 1
    DAY = 2
    ORDER = 3


@dataclass(frozen=True, slots=True)
class Scope:
    """What a node opens: an account of a vault, or one market, one day, one order of it.

    day: UTC days since 1970-01-01, as in the order's statement. Raises ConfigError for a value out of range
    or a level left out.
    """

    chain_id: int
    contract: Address
    account: Address
    market: bytes | None = None
    day: int | None = None
    nonce: int | None = None

    def __post_init__(self) -> None:
        _require("chain id", 0 < self.chain_id <= _MAX_CHAIN_ID)
        _require("contract", len(self.contract) == ADDRESS_BYTES)
        _require("account", len(self.account) == ADDRESS_BYTES)
        _require("market", self.market is None or len(self.market) == MARKET_ID_BYTES)
        _require("day", self.day is None or 0 <= self.day <= sealing.MAX_DAY)
        _require("nonce", self.nonce is None or 0 <= self.nonce <= sealing.MAX_NONCE)
        below = [part is not None for part in (self.market, self.day, self.nonce)]
        if below != sorted(below, reverse=True):
            raise ConfigError("view key scope: a level is left out", _HINT)

    @property
    def level(self) -> Level:
        """Of the node."""
        return Level(sum(part is not None for part in (self.market, self.day, self.nonce)))

    def covers(self, other: Scope) -> bool:
        """Whether all that the other opens hangs below."""
        pairs = zip(self._parts(), other._parts(), strict=True)
        return all(mine is None or mine == theirs for mine, theirs in pairs)

    def _parts(self) -> tuple[object, ...]:
        return (self.chain_id, self.contract, self.account, self.market, self.day, self.nonce)


def scope_of(statement: Statement) -> Scope:
    """The one order that the statement is of."""
    s = statement
    return Scope(s.chain_id, Address(s.contract), Address(s.account), s.market, s.utc_day, s.nonce)


@dataclass(frozen=True, slots=True)
class ViewKey:
    """A node with its scope. `repr` shows the scope only."""

    scope: Scope
    node: NodeKey = field(repr=False)

    @staticmethod
    def of(seed: bytes, scope: Scope) -> ViewKey:
        """The account holder's node of a scope. Raises ParameterError for a seed not of 32 bytes."""
        account = Scope(scope.chain_id, scope.contract, scope.account)
        node = sealing.view_account(seed, scope.chain_id, scope.contract, scope.account)
        return ViewKey(account, node).under(scope)

    def under(self, scope: Scope) -> ViewKey:
        """The key of a scope within this one's. Raises ConfigError for any other."""
        if not self.scope.covers(scope):
            raise ConfigError("view key: it does not open that", "use one whose scope has it")
        node = self.node
        if self.scope.market is None and scope.market is not None:
            node = sealing.view_market(node, scope.market)
        if self.scope.day is None and scope.day is not None:
            node = sealing.view_day(node, scope.day)
        if self.scope.nonce is None and scope.nonce is not None:
            node = sealing.view_order(node, scope.nonce)
        return ViewKey(scope, node)

    def export(self) -> str:
        """Its text. Secret."""
        s = self.scope
        writer = Writer().uint(VERSION, 1).uint(s.level, 1).uint(s.chain_id, 8)
        writer.fixed(s.contract, ADDRESS_BYTES).fixed(s.account, ADDRESS_BYTES)
        if s.market is not None:
            writer.fixed(s.market, MARKET_ID_BYTES)
        if s.day is not None:
            writer.uint(s.day, 4)
        if s.nonce is not None:
            writer.uint(s.nonce, 8)
        return bech32m.encode(HRP, bytes(writer.fixed(self.node.secret, sealing.KEY_BYTES)))

    @staticmethod
    def parse(text: str) -> ViewKey:
        """The key of such a text. Raises ConfigError, and never quotes the text."""
        try:
            return _read(Reader(bech32m.decode(text, HRP, "view key")))
        except DecodeError as error:
            raise ConfigError(f"view key: {error}", "copy it again, from dpview1 to its end") from None


def _read(reader: Reader) -> ViewKey:
    if reader.uint("version", 1) != VERSION:
        raise DecodeError("version", f"only {VERSION} is known here")
    level = reader.uint("level", 1, max(Level))
    scope = Scope(
        reader.uint("chain id", 8),
        Address(reader.fixed("contract", ADDRESS_BYTES)),
        Address(reader.fixed("account", ADDRESS_BYTES)),
        reader.fixed("market", MARKET_ID_BYTES) if level >= Level.MARKET else None,
        reader.uint("day", 4) if level >= Level.DAY else None,
        reader.uint("nonce", 8) if level >= Level.ORDER else None,
    )
    node = NodeKey(reader.fixed("key", sealing.KEY_BYTES))
    reader.end("view key")
    return ViewKey(scope, node)


def key_for(keys: Collection[ViewKey], scope: Scope) -> ViewKey | None:
    """The key of one of those whose scope has that one; None if none has."""
    found = next((key for key in keys if key.scope.covers(scope)), None)
    return None if found is None else found.under(scope)


def covering(
    seed: bytes,
    market: Scope,
    first_day: int,
    last_day: int,
    standing: Collection[tuple[int, int]] = (),
) -> tuple[ViewKey, ...]:
    """The fewest nodes that open a market from one day to another, and nothing else.

    A node a day, because days hang directly below their market; the market's own node only for all days there
    will ever be, 0 to NO_END. `standing`: (day, nonce) of earlier orders that stood in the range; each adds
    its own leaf key, unless a day has it already. Raises ConfigError for a range or a number of nodes that
    cannot be granted, or for a standing order of a later day.
    """
    if market.level is not Level.MARKET:
        raise ConfigError("grant: its scope is not a market", "name one market; grant others apart")
    if not 0 <= first_day <= last_day <= NO_END:
        raise ConfigError(f"grant: no days from {first_day} to {last_day}", "give the earlier day first")
    if any(day > last_day for day, _ in standing):
        raise ConfigError("grant: a standing order is later than its last day", "leave it out")
    if (first_day, last_day) == (0, NO_END):
        return (ViewKey.of(seed, market),)
    if last_day == NO_END:
        raise ConfigError(
            "grant: without a last day only the whole market can be granted, its past included",
            "give a last day, or grant it from day 0",
        )
    earlier = sorted({(day, nonce) for day, nonce in standing if day < first_day})
    count = last_day - first_day + 1 + len(earlier)
    if count > MAX_NODES:
        raise ConfigError(f"grant: {count} keys; the limit is {MAX_NODES}", "grant fewer days at once")
    node = ViewKey.of(seed, market)
    days = [replace(market, day=day) for day in range(first_day, last_day + 1)]
    leaves = [replace(market, day=day, nonce=nonce) for day, nonce in earlier]
    return tuple(node.under(scope) for scope in (*days, *leaves))


def _require(name: str, holds: bool) -> None:  # noqa: FBT001
    if not holds:
        raise ConfigError(f"view key {name}: out of range", _HINT)

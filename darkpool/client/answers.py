"""What the venue answers, parsed strictly: every field used is bounded and typed, others are left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from commitments.encoding import Reader
from commitments.errors import CommitmentsError, DecodeError
from commitments.order_statement import Statement
from darkpool.errors import ConfigError
from darkpool.instrument import Instrument, TokenUnits
from darkpool.jsonfields import Fields, read_hex
from darkpool.market import Grid, RoundState
from darkpool.message import Message, read_terms
from darkpool.netting import Signers
from darkpool.order import SealedOrder, Terms
from darkpool.receipt import Receipt
from darkpool.store.records import FillState, OrderState
from darkpool.tenure import MAX_TENURES, Tenures, read_tenure, read_tenures
from darkpool.types import Address, Quanta

MAX_ITEMS: Final = 1_000
MAX_TEXT: Final = 300
_MAX_BOX: Final = 1_024
_MAX_ENTRY: Final = 1 << 13
_MAX_PAYLOAD: Final = 1 << 20


def picked(value: object, what: str, *names: str) -> Fields:
    """The named members of a JSON object, which may have others. Raises DecodeError."""
    if isinstance(value, Mapping):
        value = {name: value[name] for name in names if name in value}
    return Fields(value, what, names)


def _short(fields: Fields, name: str) -> str:
    text = fields.text(name)
    if len(text) > MAX_TEXT:
        raise DecodeError(name, f"above {MAX_TEXT} characters")
    return text


def _state(fields: Fields, name: str, states: type[OrderState | RoundState | FillState]) -> str:
    text = _short(fields, name)
    if text not in set(states):
        raise DecodeError(name, f"not one of {', '.join(states)}")
    return text


def _uint_or_none(fields: Fields, name: str) -> int | None:
    return None if fields.member(name) is None else fields.uint(name)


def _hex(fields: Fields, name: str, most: int) -> bytes:
    """Bytes of any length up to a bound."""
    text = fields.text(name)
    if len(text) > 2 + 2 * most:
        raise DecodeError(name, f"above {most} bytes")
    return read_hex(text, name, max(len(text) - 2, 0) // 2)


@dataclass(frozen=True, slots=True)
class MarketInfo:
    """A market: terms, human units, who signs, its latest round (0 before the first), if it gets new ones.

    tenures: the venue's committees, each vouched for by those beside it.
    """

    terms: Terms
    instrument: Instrument
    tenures: Tenures
    operator: Address
    round: int
    round_state: RoundState | None
    next_seal_at: int | None
    live: bool = True

    @property
    def name(self) -> str:
        """As people call it."""
        return self.terms.market.name

    @property
    def signers(self) -> Signers:
        """The committee in office."""
        return self.tenures.current.signers

    def terms_of(self, statement: Statement) -> Terms:
        """The market's terms with the committee key, the lot and the grid an order was made for.

        Raises DecodeError for a key that this venue never had.
        """
        s, market = statement, self.terms.market
        grid = Grid(Quanta(s.p_0), Quanta(s.tick), s.levels)
        market = replace(market, lot=Quanta(s.lot), grid=grid)
        return replace(self.terms, market=market, key=self.tenures.key(s.key_id))

    def same_but_key(self, terms_hash: bytes) -> bool:
        """Whether that is the hash of these terms under any committee key that the venue had."""
        return any(replace(self.terms, key=key).hash == terms_hash for key in self.tenures.keys)

    def order(self, raw: bytes) -> SealedOrder:
        """An order of those bytes, sealed to any key that the venue had. Raises DecodeError."""
        return SealedOrder.decode(raw, self.tenures.key(Statement.read(Reader(raw)).key_id))

    @staticmethod
    def of(value: object) -> MarketInfo:
        """The market of a detail. Raises DecodeError."""
        detail = picked(value, "market", "summary", "base", "quote", "operator", "committee", "terms")
        history = picked(detail.member("committee"), "committee", "history").array("history", MAX_TENURES)
        entries = tuple(
            _hex(picked({"entry": e}, "committee.history", "entry"), "entry", _MAX_ENTRY) for e in history
        )
        if not entries:
            raise DecodeError("committee.history", "empty")
        try:
            key = read_tenure(Message.decode(entries[-1])).key
            terms = read_terms(Message.decode(_hex(detail, "terms", _MAX_PAYLOAD)), key)
            tenures = read_tenures(entries, terms.domain, terms.venue)
            market = terms.market
            base, quote = _token(detail, "base", market.base), _token(detail, "quote", market.quote)
            instrument = Instrument(market.name, base, quote, market.lot, market.grid.tick)
        except DecodeError:
            raise
        except (CommitmentsError, ConfigError) as error:
            raise DecodeError("market", str(error)) from None
        summary = MarketItem.of(detail.member("summary"))
        shown = (summary.id, summary.terms_hash, summary.key_epoch)
        if shown != (market.id, terms.hash, tenures.current.key_epoch):
            raise DecodeError("market", "its summary is of other terms")
        return MarketInfo(
            terms,
            instrument,
            tenures,
            detail.address("operator"),
            summary.round,
            summary.round_state,
            summary.next_seal_at,
            summary.live,
        )


def _token(detail: Fields, name: str, address: Address) -> TokenUnits:
    token = picked(detail.member(name), name, "address", "symbol", "decimals", "quantum")
    if token.address("address") != address:
        raise DecodeError(name, "not the token of the terms")
    symbol, quantum = _short(token, "symbol"), token.member("quantum")
    if not (1 <= len(symbol) <= 32 and symbol.isascii() and symbol.isalnum()):  # noqa: PLR2004
        raise DecodeError(f"{name}.symbol", "not 1 to 32 letters and digits")
    if not isinstance(quantum, int) or isinstance(quantum, bool):
        raise DecodeError(f"{name}.quantum", "not an integer")
    return TokenUnits(symbol, token.uint("decimals", 18), quantum)


@dataclass(frozen=True, slots=True)
class MarketItem:
    """A market in the list."""

    id: bytes
    terms_hash: bytes
    key_epoch: int
    round: int
    round_state: RoundState | None
    next_seal_at: int | None
    live: bool

    @staticmethod
    def of(value: object) -> MarketItem:
        """Raises DecodeError."""
        names = ("id", "terms_hash", "key_epoch", "round", "next_seal_at", "live")
        fields = picked(value, "market", *names)
        number, state = 0, None
        if fields.member("round") is not None:
            latest = picked(fields.member("round"), "round", "number", "state")
            number, state = latest.uint("number", low=1), RoundState(_state(latest, "state", RoundState))
        return MarketItem(
            fields.octets("id", 32),
            fields.octets("terms_hash", 32),
            fields.uint("key_epoch"),
            number,
            state,
            _uint_or_none(fields, "next_seal_at"),
            fields.member("live") is True,
        )


@dataclass(frozen=True, slots=True)
class TokenCollateral:
    """F of a token as its 48-byte commitment, with version; public amounts in quanta."""

    token: Address
    commitment: bytes
    version: int
    balance: Quanta
    pending_debit: Quanta
    pending_credit: Quanta


@dataclass(frozen=True, slots=True)
class Collateral:
    """What the next order is proven against, as the venue says."""

    known: bool
    halted: bool
    reasons: tuple[str, ...]
    lowest_unused: int
    used_above: frozenset[int]
    tokens: tuple[TokenCollateral, ...]

    @property
    def highest_used(self) -> int:
        """The highest nonce the venue knows, -1 for none."""
        return max(self.used_above, default=self.lowest_unused - 1)

    def used(self, nonce: int) -> bool:
        """Whether the venue has an order of that nonce, ended or not."""
        return nonce < self.lowest_unused or nonce in self.used_above

    @staticmethod
    def of(value: object) -> Collateral:
        """Raises DecodeError."""
        fields = picked(
            value, "collateral", "known", "halted", "reasons", "lowest_unused", "used_above", "tokens"
        )
        flags = [fields.member(name) for name in ("known", "halted")]
        if not all(isinstance(flag, bool) for flag in flags):
            raise DecodeError("collateral", "known or halted is no truth value")
        reasons = [picked({"reason": r}, "reasons", "reason") for r in fields.array("reasons", 64)]
        used = [picked({"n": n}, "used_above", "n").uint("n") for n in fields.array("used_above", MAX_ITEMS)]
        return Collateral(
            known=flags[0] is True,
            halted=flags[1] is True,
            reasons=tuple(_short(r, "reason") for r in reasons),
            lowest_unused=fields.uint("lowest_unused"),
            used_above=frozenset(used),
            tokens=tuple(_token_collateral(t) for t in fields.array("tokens", 8)),
        )


def _token_collateral(value: object) -> TokenCollateral:
    names = ("token", "commitment", "version", "balance", "pending_debit", "pending_credit")
    fields = picked(value, "tokens", *names)
    return TokenCollateral(
        fields.address("token"),
        fields.octets("commitment", 48),
        fields.uint("version"),
        Quanta(fields.uint("balance")),
        Quanta(fields.uint("pending_debit")),
        Quanta(fields.uint("pending_credit")),
    )


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """What the venue says became of an order."""

    hash: bytes
    sequence: int
    market: bytes
    nonce: int
    time_in_force: int
    valid_until: int
    accepted_at: int
    state: OrderState
    reason: str
    ended_round: int | None

    @staticmethod
    def of(value: object) -> OrderRecord:
        """Raises DecodeError."""
        names = ("hash", "sequence", "market", "nonce", "time_in_force", "valid_until", "accepted_at")
        fields = picked(value, "order", *names, "state", "reason", "ended_round")
        return OrderRecord(
            fields.octets("hash", 32),
            fields.uint("sequence"),
            fields.octets("market", 32),
            fields.uint("nonce"),
            fields.uint("time_in_force", 2),
            fields.uint("valid_until"),
            fields.uint("accepted_at"),
            OrderState(_state(fields, "state", OrderState)),
            _short(fields, "reason"),
            _uint_or_none(fields, "ended_round"),
        )


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """A round: price as a grid level and volume in lots, once it crossed."""

    number: int
    state: RoundState
    sealed_at: int | None
    price: int | None
    volume: int | None

    @staticmethod
    def of(value: object) -> RoundRecord:
        """Raises DecodeError."""
        fields = picked(value, "round", "number", "state", "sealed_at", "price", "volume")
        return RoundRecord(
            fields.uint("number", low=1),
            RoundState(_state(fields, "state", RoundState)),
            *(_uint_or_none(fields, name) for name in ("sealed_at", "price", "volume")),
        )


@dataclass(frozen=True, slots=True)
class FillRecord:
    """The account's net of a round, in lots, and the members' boxes with its totals."""

    market: bytes
    round: int
    sequence: int
    net: int
    state: FillState
    boxes: Mapping[int, bytes] = field(repr=False)

    @staticmethod
    def of(value: object) -> FillRecord:
        """Raises DecodeError."""
        fields = picked(value, "fill", "market", "round", "sequence", "net", "state", "boxes")
        net, boxes = fields.member("net"), fields.member("boxes")
        if not isinstance(net, int) or isinstance(net, bool) or abs(net) >= 1 << 48:
            raise DecodeError("fill.net", "not an integer below 2^48")
        if not isinstance(boxes, dict) or len(boxes) > 64:  # noqa: PLR2004
            raise DecodeError("fill.boxes", "not an object of at most 64")
        opened = {}
        for index in boxes:
            if not (index.isascii() and index.isdigit() and len(index) <= 2):  # noqa: PLR2004
                raise DecodeError("fill.boxes", "a key is no member's index")
            opened[int(index)] = _hex(picked(boxes, "fill.boxes", index), index, _MAX_BOX)
        return FillRecord(
            fields.octets("market", 32),
            fields.uint("round", low=1),
            fields.uint("sequence"),
            net,
            FillState(_state(fields, "state", FillState)),
            opened,
        )


def result_payload(value: object) -> bytes:
    """The canonical bytes of a certified result. Raises DecodeError."""
    return _hex(picked(value, "result", "payload"), "payload", _MAX_PAYLOAD)


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt given before, and the path from its entry to its root."""

    receipt: Receipt
    path: tuple[bytes, ...]

    @staticmethod
    def of(value: object) -> KeptReceipt:
        """Raises DecodeError."""
        fields = picked(value, "receipt", "receipt", "path")
        path = tuple(read_hex(node, "path", 32) for node in fields.array("path", 64))
        return KeptReceipt(Receipt.from_json(fields.member("receipt")), path)

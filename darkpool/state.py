"""The venue as a fold of its log: what every party that has the same entries agrees on.

An entry is a `Message` with a time (unix seconds, never before the entry before it); its place in the log is its
sequence. `checked` refuses an entry that does not follow from the state and otherwise returns the change, which
the caller makes once the entry is durable; the change does not fail. Operator, members and a restart take the
same path. What alone is not checked here is an order's encoding, signature and proof (admission.py), and
whether chain events are the chain's (chain_feed.py).

    market      terms of a new market, or new terms of an old one        chain    final events up to a block
    open        a round, with its reference                              seal     fix the list
    order       a sealed order                                           result   what came out, with 2t+1 signatures
    cancel, cancel_all, replace   an account's signed wish               abort    nothing came out, n-t signatures
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from commitments.errors import DecodeError
from commitments.paillier import PublicKey
from darkpool import certificates
from darkpool.account import Ledger
from darkpool.admission import Tentative
from darkpool.book import Book, End, Ended
from darkpool.chain_events import ChainEvent, read_events
from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder, Movement, RoundResult
from darkpool.market import Round
from darkpool.message import Message, read_terms
from darkpool.netting import Signers, settlement_of
from darkpool.order import Terms
from darkpool.settlement import Settlement
from darkpool.types import Address, Lots, Nonce, RoundId, Signature, Tick

MAX_UNSETTLED: Final = 8
"""Settlements signed and not yet final or void; at the bound no round is sealed (protocol, section 6)."""

MAX_SOURCE: Final = 200


@dataclass(frozen=True, slots=True)
class Pending:
    """A signed settlement that is not final yet. It can land until `ends` (unix seconds, chain time)."""

    settlement: Settlement
    market: bytes
    round: RoundId
    movements: tuple[Movement, ...]
    signatures: tuple[Signature, ...]
    ends: int


@dataclass(slots=True)
class Effects:
    """What an entry did, for whoever tells others of it."""

    accepted: list[ListedOrder] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    reason: str = ""
    result: RoundResult | None = None
    pending: Pending | None = None
    settled: list[Pending] = field(default_factory=list)
    void: list[Pending] = field(default_factory=list)
    halted: list[Address] = field(default_factory=list)
    resumed: list[Address] = field(default_factory=list)


Change: TypeAlias = Callable[[int], Effects]
"""Makes a checked change; takes the entry's sequence."""


class VenueState:
    """Ledger, books, rounds and pending settlements of a venue under one committee."""

    def __init__(self, key: PublicKey, signers: Signers) -> None:
        self.key, self.signers = key, signers
        self.ledger = Ledger()
        self.books: dict[bytes, Book] = {}
        self.pending: list[Pending] = []
        self.time = 0
        self.block = -1  # the latest final block taken in
        self.block_hash = bytes(32)
        self.chain_time = 0
        self.settled_id = 0  # the latest settlement on chain
        self.epoch = 0  # of the sealed round
        self._checks: dict[str, Callable[[Message], Change]] = {
            "market": self._market,
            "chain": self._chain,
            "open": self._open,
            "cancel": self._cancel,
            "cancel_all": self._cancel_all,
            "seal": self._seal,
            "result": self._result,
            "abort": self._abort,
        }

    @property
    def markets(self) -> dict[bytes, Terms]:
        """The terms in force, by market."""
        return {market: book.terms for market, book in self.books.items()}

    @property
    def tokens(self) -> tuple[Address, ...]:
        """The vault's tokens. Empty before the first market."""
        return next(iter(self.books.values())).terms.tokens if self.books else ()

    @property
    def sealed(self) -> Book | None:
        """The book whose round is sealed and not over: one at a time, because settlement ids are sequential."""
        return next((book for book in self.books.values() if book.sealed is not None), None)

    @property
    def next_settlement(self) -> int:
        """The id the sealed round's settlement would have."""
        return self.settled_id + len(self.pending) + 1

    def checked(
        self, entry: Message, order: ListedOrder | None = None, tentative: Tentative | None = None
    ) -> Change:
        """The change of an entry. An `order` or `replace` comes with its listed order, and with what is to be

        accepted before it in `tentative`, which it joins. Raises OrderRefused or DecodeError, and changes nothing.
        """
        time = entry.integer("time")
        if time < self.time:
            raise OrderRefused(f"time: {time} is before the log's latest {self.time}", "set the clock")
        if entry.op in {"order", "replace"}:
            if order is None:
                raise DecodeError(entry.op, "comes without its order")
            change = self._order(entry, order, tentative or Tentative(self.ledger))
        elif entry.op in self._checks:
            change = self._checks[entry.op](entry)
        else:
            raise DecodeError("op", f"{entry.op[:32]!r} is none of the log's")

        def timed(sequence: int) -> Effects:
            self.time = time
            return change(sequence)

        return timed

    def book(self, entry: Message) -> Book:
        """The book an entry names. Raises OrderRefused."""
        market = entry.octets("market", 32)
        book = self.books.get(market)
        if book is None:
            raise OrderRefused(
                f"market: {market.hex()} is none of this venue", "list the markets", "market-unknown"
            )
        return book

    # --- orders -------------------------------------------------------------------------------------

    def _order(self, entry: Message, order: ListedOrder, tentative: Tentative) -> Change:
        book = self.books.get(order.statement.market)
        if book is None:
            raise OrderRefused(
                f"market: {order.statement.market.hex()} is none of this venue",
                "list the markets",
                "market-unknown",
            )
        replaced = [self._replaced(entry, order, book)] if entry.op == "replace" else []
        tentative.release(replaced, book.tokens)
        try:
            book.check(order, tentative)
        except OrderRefused:
            for old in replaced:
                tentative.lock(old, book.tokens)
            raise
        tentative.lock(order, book.tokens)

        def change(sequence: int) -> Effects:
            ended = book.release(replaced, End.REPLACED, f"by nonce {order.nonce}")
            listed = ListedOrder(
                order.hash,
                order.statement,
                order.c_base,
                order.c_quote,
                order.ciphertexts,
                order.leaf,
                sequence,
            )
            book.accept(listed)
            return Effects(accepted=[listed], ended=ended)

        return change

    def _replaced(self, entry: Message, order: ListedOrder, book: Book) -> ListedOrder:
        if self.book(entry) is not book or entry.octets("account", 20) != order.account:
            raise OrderRefused(
                "replace: the orders are not of one account and market",
                "cancel the one and submit the other",
                "replace-mismatch",
            )
        return book.check_cancel(*_wish(entry, "nonce"))

    def _cancel(self, entry: Message) -> Change:
        book = self.book(entry)
        order = book.check_cancel(*_wish(entry, "nonce"))
        return lambda _: Effects(ended=book.release([order], End.CANCELLED))

    def _cancel_all(self, entry: Message) -> Change:
        book = self.book(entry)
        orders = book.check_cancel_all(*_wish(entry, "below"))
        return lambda _: Effects(ended=book.release(orders, End.CANCELLED))

    # --- rounds -------------------------------------------------------------------------------------

    def _market(self, entry: Message) -> Change:
        terms = read_terms(entry, self.key)
        book = self.books.get(terms.market.id)
        if self.books and (terms.tokens, terms.contract) != (self.tokens, self._domain_terms.contract):
            raise OrderRefused("market: of another vault", "one venue has one vault")
        if book is not None:
            book.check_idle()

        def change(_: int) -> Effects:
            if book is not None:
                return Effects(ended=book.change_terms(terms))
            self.books[terms.market.id] = Book(terms, self.ledger)
            return Effects()

        return change

    @property
    def _domain_terms(self) -> Terms:
        return next(iter(self.books.values())).terms

    def _open(self, entry: Message) -> Change:
        book = self.book(entry)
        book.check_idle()
        number = RoundId(entry.integer("round", 1))
        due = 1 if book.round is None else book.round.id + 1
        if number != due:
            raise OrderRefused(f"round: {number} where {due} is next", "open rounds in order")
        entry.text("source", MAX_SOURCE)
        level = Tick(entry.integer("reference", 0, book.terms.market.grid.last))
        market_round = Round(number, book.terms.market, level)
        return lambda _: Effects(ended=book.open_round(market_round), rounds=[market_round])

    def check_may_seal(self) -> None:
        """Raises OrderRefused while another round is sealed, or settlements have piled up or expired."""
        if self.sealed is not None:
            self.sealed.check_idle()
        if len(self.pending) >= MAX_UNSETTLED:
            raise OrderRefused(
                f"round: {len(self.pending)} settlements are not final, {MAX_UNSETTLED} is the bound",
                "wait for the chain",
                "unsettled-bound",
            )
        if self.pending and self.chain_time > self.pending[0].ends:
            raise OrderRefused(
                f"round: settlement {self.pending[0].settlement.id} has expired",
                f"wait until it and those after it are void, at {max(p.ends for p in self.pending)}",
                "settlement-expired",
            )

    def _seal(self, entry: Message) -> Change:
        self.check_may_seal()
        book = self.book(entry)
        now, epoch = entry.integer("time"), entry.integer("epoch", 1)
        book.check_seal(now)
        if entry.integer("round", 1) != book.current_round.id:
            raise OrderRefused(f"round: {book.current_round.id} is the open one", "seal that")

        def change(_: int) -> Effects:
            self.epoch = epoch
            ended = book.seal(now)
            return Effects(ended=ended, rounds=[book.current_round])

        return change

    def _sealed_book(self, entry: Message) -> Book:
        book = self.book(entry)
        if book.sealed is None or book.sealed.round != entry.integer("round", 1):
            raise OrderRefused("round: it is not the sealed one", "seal it first", "round-closed")
        return book

    def settlement(self, book: Book, result: RoundResult) -> Settlement:
        """The settlement that a result of the book's sealed round calls for. Raises OrderRefused if none is."""
        if book.sealed is None:
            raise OrderRefused("round: none is sealed", "seal one first", "round-closed")
        consumed = (o for o in book.sealed.orders if o.account in result.nets)
        return settlement_of(book.terms, book.sealed, result, consumed, self.next_settlement, self.epoch)

    def _result(self, entry: Message) -> Change:
        book = self._sealed_book(entry)
        result = read_result(entry)
        signatures = result_signatures(entry)
        pending: Pending | None = None
        if result.crossed:
            settlement = self.settlement(book, result)
            ordered = certificates.check_settled(settlement, book.terms.domain, signatures, self.signers)
            pending = Pending(
                settlement,
                book.terms.market.id,
                book.current_round.id,
                (),
                ordered,
                settlement.sealed_at + book.terms.settle_window,
            )
        elif book.sealed is not None:
            digest = book.sealed.digest(book.terms.domain)
            certificates.check_no_cross(digest, book.terms.domain, signatures, self.signers)

        def change(_: int) -> Effects:
            ended, movements = book.finish(result)
            effects = Effects(ended=ended, rounds=[book.current_round], result=result)
            if pending is not None:
                effects.pending = Pending(
                    pending.settlement,
                    pending.market,
                    pending.round,
                    tuple(movements),
                    pending.signatures,
                    pending.ends,
                )
                self.pending.append(effects.pending)
            self._resume(effects)
            return effects

        return change

    def _abort(self, entry: Message) -> Change:
        book = self._sealed_book(entry)
        reason = entry.text("reason", MAX_SOURCE)
        if book.sealed is not None:
            digest = book.sealed.digest(book.terms.domain)
            signatures = [Signature(blob) for blob in entry.blobs]
            certificates.check_abandoned(digest, book.terms.domain, signatures, self.signers)
        return lambda _: self._aborted(book, reason, Effects())

    def _aborted(self, book: Book, reason: str, effects: Effects) -> Effects:
        effects.ended += book.abort(reason)
        effects.rounds.append(book.current_round)
        effects.reason = reason
        self._resume(effects)
        return effects

    # --- the chain ----------------------------------------------------------------------------------

    def _chain(self, entry: Message) -> Change:
        block, at = entry.integer("block"), entry.integer("at")
        block_hash = entry.octets("hash", 32)
        events = read_events(entry, len(self.tokens))
        if block <= self.block or at < self.chain_time:
            raise OrderRefused(f"chain: block {block} is not after {self.block}", "follow the chain in order")
        landed = [e for e in events if e.kind == "settled"]
        for pending, event in zip(self.pending, landed, strict=False):
            s = pending.settlement
            if (s.id, s.root, s.transcript) != (event.number, event.root, event.transcript):
                raise OrderRefused(f"chain: settlement {event.number} on chain is not ours", "stop the venue")
        if len(landed) > len(self.pending):
            raise OrderRefused("chain: a settlement landed that this log does not know", "stop the venue")

        def change(_: int) -> Effects:
            effects = Effects()
            self.block, self.block_hash, self.chain_time = block, block_hash, at
            for event in events:
                self._take(event, effects)
            self._expire(effects)
            self._resume(effects)
            return effects

        return change

    def _take(self, event: ChainEvent, effects: Effects) -> None:
        account, ledger = event.account, self.ledger
        if event.kind == "settled":
            pending = self.pending.pop(0)
            self.settled_id = pending.settlement.id
            for m in pending.movements:
                ledger.move(m.account, m.token, m.amount)
                if m.amount > 0:
                    ledger.credit(m.account, m.token, m.amount)
            effects.settled.append(pending)
        elif event.kind == "deposit":
            ledger.deposit(account, self.tokens[event.number], event.quanta)
        elif event.kind in {"withdrawal_requested", "cancel_requested"}:
            if not ledger.known(account):
                return
            what = "withdraw" if event.kind == "withdrawal_requested" else "cancel"
            ledger.halted.setdefault(account, set()).add((what, event.number))
            effects.halted.append(account)
            for book in self.books.values():
                effects.ended += book.drop(account, "a request of the account on chain")
        elif event.kind == "withdrawn":
            ledger.move(account, self.tokens[event.number], -event.quanta)
            ledger.halted.get(account, set()).discard(("withdraw", event.number))
        else:
            ledger.burn(account, event.number, event.mask)
            ledger.halted.get(account, set()).discard(("cancel", event.number))

    def _expire(self, effects: Effects) -> None:
        """Judged by final chain time: what can no longer land is void, or for a sealed list, aborted.

        Ids are sequential, so after one that expired none can land; but its id is given again only when the
        last of them has expired too, or two settlements of one id could meet on chain.
        """
        book = self.sealed
        if book is not None and book.sealed is not None:
            if self.chain_time > book.sealed.sealed_at + book.terms.settle_window:
                self._aborted(book, "no result within the settle window", effects)
            else:
                return
        if self.pending and self.chain_time > max(p.ends for p in self.pending):
            for pending in self.pending:
                for m in pending.movements:
                    if m.amount < 0:
                        self.ledger.credit(m.account, m.token, -m.amount)
            effects.void += self.pending
            self.pending = []

    def _resume(self, effects: Effects) -> None:
        """Accounts whose requests are all answered and that are idle everywhere start again from the chain."""
        for account, requests in list(self.ledger.halted.items()):
            unsettled = any(m.account == account for p in self.pending for m in p.movements)
            if requests or unsettled or any(b.open_orders(account) for b in self.books.values()):
                continue
            self.ledger.restart(account)
            effects.resumed.append(account)


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
        account = Message("net", {"account": row[0]}).octets("account", 20)
        rows[Address(account)] = row[1]
    if list(rows) != sorted(rows) or len(rows) != len(nets):
        raise DecodeError("nets", "accounts do not ascend")
    return RoundResult(
        crossed=True, price=Tick(entry.integer("price")), volume=Lots(entry.integer("volume")), nets=rows
    )


def result_fields(result: RoundResult) -> dict[str, object]:
    """The fields `read_result` reads."""
    if not result.crossed:
        return {"crossed": False}
    nets = [[a.hex(), net] for a, net in result.nets.items()]
    return {"crossed": True, "price": result.price, "volume": result.volume, "nets": nets}


def result_signatures(entry: Message) -> list[Signature]:
    """The first blobs of a result: signatures. Behind them are the sealed totals, checked by those they are for.

    Raises DecodeError.
    """
    count = entry.integer("signatures", 1, len(entry.blobs))
    return [Signature(blob) for blob in entry.blobs[:count]]


def _wish(entry: Message, name: str) -> tuple[Address, Nonce, bytes]:
    return Address(entry.octets("account", 20)), Nonce(entry.integer(name)), entry.octets("signature", 65)


def orders_of(effects: Iterable[Effects]) -> Sequence[ListedOrder]:
    """All orders the effects accepted."""
    return [order for e in effects for order in e.accepted]

"""The venue as a fold of its log: what every party that has the same entries agrees on.

An entry is a `Message` with a time (unix seconds, never before the entry before it); its place in the log is
its sequence. `checked` refuses an entry that does not follow from the state and otherwise returns the change,
which the caller makes once the entry is durable; the change does not fail. Operator, members and a restart
take the same path. What alone is not checked here is an order's encoding, signature and proof (admission.py),
and whether chain events are the chain's (member.py).

    market   terms of a new market, or new terms of one      chain    final events up to a block
    open     a round, with its reference                     seal     fix the list
    order    a sealed order                                  result   what came out, with 2t+1 signatures
    cancel, cancel_all, replace   an account's signed wish   abort    nothing came out, n-t signatures
    release  orders that the operator takes out, and why
    window   net the oldest unsettled rounds into a settlement
    committee   another committee or key takes office, signed by both sides (tenure.py)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from commitments import merkle
from commitments.errors import DecodeError
from commitments.paillier import PublicKey
from darkpool import certificates
from darkpool.admission import Tentative, check_statement
from darkpool.book import Book, End
from darkpool.chain_state import ChainState
from darkpool.effects import Change, Effects
from darkpool.errors import ConfigError, OrderRefused, SettlementRefused
from darkpool.listing import ListedOrder, RoundResult
from darkpool.market import Round
from darkpool.message import Message, read_terms
from darkpool.netting import Signers
from darkpool.order import Terms
from darkpool.results import check_boxes, read_result, result_signatures
from darkpool.tenure import MAX_WAIT, Tenure, Tenures
from darkpool.types import Address, Nonce, RoundId, Signature, Tick
from darkpool.windows import Cleared, cleared_round, window

MAX_UNSETTLED: Final = 8
"""Rounds with a result and not yet settled or void; at the bound no round is sealed (protocol, section 6)."""

MAX_SOURCE: Final = 200
MAX_RELEASED: Final = 4_096
"""Orders that one `release` entry names at most."""

_VAULT: Final = ("chain_id", "contract", "venue", "tokens", "settle_window")


class VenueState(ChainState):
    """Ledger, books, rounds and settlements of a venue; `key` and `signers` are of its first committee."""

    def __init__(self, key: PublicKey, signers: Signers) -> None:
        super().__init__()
        self.tenures = Tenures((Tenure(signers, key),))
        self.time = 0
        self.last_seal = 0
        self.epoch = 0  # of the sealed round
        self.audit_size, self.audit_root = 0, merkle.EMPTY_ROOT  # the operator's audit log, last time it said
        self._checks: dict[str, Callable[[Message], Change]] = {
            "market": self._market,
            "chain": self._chain,
            "open": self._open,
            "cancel": self._cancel,
            "cancel_all": self._cancel_all,
            "release": self._release,
            "seal": self._seal,
            "result": self._result,
            "abort": self._abort,
            "window": self._window,
            "committee": self._committee,
        }

    @property
    def key(self) -> PublicKey:
        """The key in force: what orders are sealed to."""
        return self.tenures.current.key

    @property
    def signers(self) -> Signers:
        """The committee in office."""
        return self.tenures.current.signers

    @property
    def markets(self) -> dict[bytes, Terms]:
        """The terms in force, by market."""
        return {market: book.terms for market, book in self.books.items()}

    def checked(
        self, entry: Message, order: ListedOrder | None = None, tentative: Tentative | None = None
    ) -> Change:
        """The change of an entry; raises OrderRefused or DecodeError, and changes nothing.

        An `order` or `replace` comes with its listed order, and several may be checked before the first of
        them is changed: `tentative` holds what those before it will do, and it joins them.
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
        check_statement(order.statement, book.terms, entry.integer("time"))
        replaced = [self._replaced(entry, order, book)] if entry.op == "replace" else []
        book.check(order, tentative, replaced)
        tentative.accept(order, book.tokens, replaced)

        def change(sequence: int) -> Effects:
            ended = book.release(replaced, End.REPLACED, f"by nonce {order.nonce}")
            listed = replace(order, sequence=sequence)
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

    def _release(self, entry: Message) -> Change:
        book, reason = self.book(entry), entry.text("reason", MAX_SOURCE)
        names = entry.fields.get("orders")
        if not reason or not isinstance(names, list) or not 0 < len(names) <= MAX_RELEASED:
            raise DecodeError("release", f"not 1 to {MAX_RELEASED} orders and a reason")
        orders = book.check_release(map(_named, names))
        return lambda _: Effects(ended=book.release(orders, End.RELEASED, reason))

    # --- rounds -------------------------------------------------------------------------------------

    def _market(self, entry: Message) -> Change:
        terms = read_terms(entry, self.key)
        book = self.books.get(terms.market.id)
        for other in self.markets.values():
            if any(getattr(terms, name) != getattr(other, name) for name in _VAULT):
                raise OrderRefused("market: of another vault or venue", "one venue has one vault")
        if book is not None:
            book.check_idle()

        at = entry.integer("time")

        def change(_: int) -> Effects:
            if book is not None:
                return Effects(ended=book.change_terms(terms, at))
            self.books[terms.market.id] = Book(terms, self.ledger, at)
            return Effects()

        return change

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

    def check_may_seal(self, bound: int = MAX_UNSETTLED) -> None:
        """Raises OrderRefused while another round is sealed, rounds pile up or a settlement has expired."""
        if self.sealed is not None:
            self.sealed.check_idle()
        if len(self.not_final) >= bound:
            raise OrderRefused(
                f"round: {len(self.not_final)} rounds are not settled, {bound} is the bound",
                "wait for the chain",
                "unsettled-bound",
            )
        self._check_none_expired()

    def _check_none_expired(self) -> None:
        """After a settlement that expired none can land."""
        if self.pending and self.chain_time > self.pending[0].ends:
            raise OrderRefused(
                f"settlement {self.pending[0].settlement.id} has expired",
                f"wait until it and those after it are void, at {max(p.ends for p in self.pending)}",
                "settlement-expired",
            )

    def _seal(self, entry: Message) -> Change:
        self.check_may_seal()
        book = self.book(entry)
        now, epoch = entry.integer("time"), entry.integer("epoch", 1)
        size, root = entry.integer("audit_size", self.audit_size), entry.octets("audit_root", 32)
        if size == self.audit_size and root != self.audit_root:
            raise OrderRefused(f"audit_root: another one of the same {size} records", "write no record anew")
        book.check_seal(now)
        if entry.integer("round", 1) != book.current_round.id:
            raise OrderRefused(f"round: {book.current_round.id} is the open one", "seal that")

        def change(_: int) -> Effects:
            self.epoch, self.audit_size, self.audit_root = epoch, size, root
            self.last_seal = now
            ended = book.seal(now, root)
            return Effects(ended=ended, rounds=[book.current_round])

        return change

    def _sealed_book(self, entry: Message) -> Book:
        book = self.book(entry)
        if book.sealed is None or book.sealed.round != entry.integer("round", 1):
            raise OrderRefused("round: it is not the sealed one", "seal it first", "round-closed")
        return book

    def _cleared(self, book: Book, result: RoundResult, at: int) -> tuple[Cleared | None, bytes]:
        """What a result of the book's sealed round settles, if anything, and what members sign for it.

        Raises OrderRefused.
        """
        sealed, domain = book.sealed, book.terms.domain
        if sealed is None:
            raise OrderRefused("round: none is sealed", "seal one first", "round-closed")
        cleared = None
        if result.crossed:
            listed = ((o.account, o.nonce) for o in sealed.orders)
            try:
                cleared = cleared_round(book.terms, sealed, listed, result, at)
            except (ConfigError, SettlementRefused) as error:
                raise OrderRefused(f"result: {error.message}", "it is no result of this round") from None
        return cleared, certificates.result_digest(domain, sealed.digest(domain), cleared)

    def result_digest(self, book: Book, result: RoundResult) -> bytes:
        """What a member signs for a result of the book's sealed round. Raises OrderRefused."""
        _, digest = self._cleared(book, result, 0)
        return digest

    def _result(self, entry: Message) -> Change:
        book = self._sealed_book(entry)
        result = read_result(entry)
        cleared, digest = self._cleared(book, result, entry.integer("time"))
        certificates.check_result(digest, result_signatures(entry), self.signers)
        check_boxes(entry, result, self.signers.addresses)

        def change(_: int) -> Effects:
            effects = Effects(ended=book.finish(result), rounds=[book.current_round])
            effects.result, effects.cleared = result, cleared
            if cleared is not None:
                self.unsettled.append(cleared)
            self._resume(effects)
            return effects

        return change

    # --- the committee ------------------------------------------------------------------------------

    def _committee(self, entry: Message) -> Change:
        """Nothing that the committee before has begun is left to the next one, which holds no part of it."""
        following, at = self._following(entry), entry.integer("time")
        self.check_may_change(following.current.signers)

        def change(_: int) -> Effects:
            key, effects = self.key, Effects()
            self.tenures = following
            for book in self.books.values() if self.key != key else ():
                effects.ended += book.change_key(self.key, at)
            return effects

        return change

    def check_may_change(self, signers: Signers) -> None:
        """Raises OrderRefused while something hangs on the committee in office: those sign from then on."""
        if self.sealed is not None:
            self.sealed.check_idle()
        if signers != self.signers and self.not_final:
            raise OrderRefused(
                f"committee: {len(self.not_final)} rounds are not settled, by those who are in office",
                "wait for the chain",
                "unsettled-bound",
            )

    def _following(self, entry: Message) -> Tenures:
        if not self.books:
            raise OrderRefused("committee: the log has no market yet", "open one first", "market-unknown")
        venue = next(iter(self.books.values())).terms.venue
        at, now = entry.integer("at"), entry.integer("time")
        if not self.last_seal < at <= now <= at + MAX_WAIT:
            raise OrderRefused(
                f"at: {at} is not after the last list, sealed at {self.last_seal}, and in the {MAX_WAIT} s"
                f" before {now}",
                "have it signed anew, for the present time",
            )
        return self.tenures.after(entry, self.domain, venue)

    # --- settlements --------------------------------------------------------------------------------

    def _window(self, entry: Message) -> Change:
        """Fixes what the settlement of an id is: members sign no other one of that id."""
        self._check_none_expired()
        count = entry.integer("rounds", 1)
        number, epoch = entry.integer("id", 1), entry.integer("epoch", 1)
        if number != self.next_settlement:
            raise OrderRefused(f"id: {number} where {self.next_settlement} is next", "give ids in order")
        if count > len(self.unsettled):
            raise OrderRefused(f"rounds: {count} of {len(self.unsettled)} unsettled ones", "take fewer")
        rounds = self.unsettled[:count]
        if self.chain_time > rounds[0].ends:
            raise OrderRefused(
                f"rounds: round {rounds[0].round} has expired", "wait until it is void", "settlement-expired"
            )
        try:
            pending = window(rounds, number, epoch)
        except SettlementRefused as error:
            raise OrderRefused(f"rounds: {error.message}", error.hint) from None

        def change(_: int) -> Effects:
            del self.unsettled[:count]
            self.pending.append(pending)
            return Effects(window=pending)

        return change

    def _abort(self, entry: Message) -> Change:
        book = self._sealed_book(entry)
        reason = entry.text("reason", MAX_SOURCE)
        if book.sealed is not None:
            digest = book.sealed.digest(book.terms.domain)
            signatures = [Signature(blob) for blob in entry.blobs]
            certificates.check_abandoned(digest, book.terms.domain, signatures, self.signers)
        return lambda _: self._aborted(book, reason, Effects())


def _wish(entry: Message, name: str) -> tuple[Address, Nonce, bytes]:
    return Address(entry.octets("account", 20)), Nonce(entry.integer(name)), entry.octets("signature", 65)


def _named(value: object) -> tuple[Address, Nonce]:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004
        raise DecodeError("orders", "not pairs of account and nonce")
    named = Message("order", {"account": value[0], "nonce": value[1]})
    return Address(named.octets("account", 20)), Nonce(named.integer("nonce"))

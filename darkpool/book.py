"""The book of one market: standing orders in arrival order, the sealed list, and what leaves it and why.

Operator and every member run the same book over the same log, so each recomputes every F and every root for
itself. `check...` changes nothing; what changes state comes after and does not fail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from commitments import merkle
from commitments.errors import VerificationError
from commitments.group import Point
from commitments.paillier import PublicKey
from commitments.pedersen import generator_g
from darkpool import eip712
from darkpool.account import NONCES_PER_WORD, Ledger
from darkpool.admission import Tentative
from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder, Movement, RoundResult, SealedList, token_movements
from darkpool.market import MAX_ORDERS, Round, RoundState
from darkpool.order import Terms, TimeInForce
from darkpool.settlement_gas import fits
from darkpool.types import Address, Nonce, Tick, address_hex

MAX_OPEN_PER_ACCOUNT: Final = 512  # decoys count
MAX_WORDS: Final = 3  # of one account's nonces: each word is a row of the settlement
NEW_KEY: Final = "new committee key"


class End(StrEnum):
    """How an order left the book."""

    CONSUMED = "consumed"
    CANCELLED = "cancelled"
    REPLACED = "replaced"
    EXPIRED = "expired"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Ended:
    """An order that left the book, and why. All but consumed ones gave back their lock."""

    order: ListedOrder
    end: End
    reason: str = ""


class Book:
    """Standing orders of one market and the round they wait for."""

    def __init__(self, terms: Terms, ledger: Ledger, terms_at: int = 0) -> None:
        self.terms = terms
        self.terms_at = terms_at  # since when they are in force, unix seconds
        self.ledger = ledger
        self.round: Round | None = None
        self.sealed: SealedList | None = None
        self._standing: dict[tuple[Address, Nonce], ListedOrder] = {}  # in arrival order
        self._open: Counter[Address] = Counter()
        self._words: dict[Address, Counter[int]] = {}  # standing orders by the word of their nonce

    @property
    def tokens(self) -> tuple[Address, Address]:
        """Base and quote."""
        return self.terms.market.base, self.terms.market.quote

    @property
    def standing(self) -> tuple[ListedOrder, ...]:
        """Orders in the book, in arrival order."""
        return tuple(self._standing.values())

    @property
    def unsealed(self) -> tuple[ListedOrder, ...]:
        """Those of them that no sealed list holds."""
        return tuple(o for o in self._standing.values() if not self._is_sealed(o))

    @property
    def current_round(self) -> Round:
        """The latest round. Raises OrderRefused if there never was one."""
        if self.round is None:
            raise OrderRefused("round: none is open", "wait for the next one", "round-closed")
        return self.round

    def find(self, account: Address, nonce: Nonce) -> ListedOrder | None:
        """A standing order."""
        return self._standing.get((account, nonce))

    def open_orders(self, account: Address) -> int:
        """How many orders of the account stand, sealed ones included."""
        return self._open[account]

    # --- admission ----------------------------------------------------------------------------------

    def check(self, order: ListedOrder, tentative: Tentative, replaced: Collection[ListedOrder] = ()) -> None:
        """Round, account, nonce, quotas, collateral, as they are after `tentative`. Raises OrderRefused."""
        s, account = order.statement, order.account
        self._check_round(s.first_round, s.time_in_force)
        self.ledger.check_may_trade(account)
        tentative.nonces(account).check(order.nonce)
        if any((old.account, old.nonce) in tentative.gone for old in replaced):
            raise OrderRefused(
                "nonce: the order to replace was replaced already", "check your orders", "order-not-standing"
            )
        more = tentative.orders[self.terms.market.id]
        if self._open[account] + more[account] - len(replaced) >= MAX_OPEN_PER_ACCOUNT:
            raise OrderRefused(
                f"account: {MAX_OPEN_PER_ACCOUNT} orders stand already", "cancel some first", "quota-exceeded"
            )
        self._check_rows(order, tentative, replaced)
        if len(self._standing) + more.total() - len(replaced) >= MAX_ORDERS:
            raise OrderRefused(f"book: full with {MAX_ORDERS} orders", "try in the next round", "book-full")
        base, quote = tentative.of(account, self.tokens, replaced)
        base.check("base", s.f_base, s.base_version)
        quote.check("quote", s.f_quote, s.quote_version)

    def _check_rows(
        self, order: ListedOrder, tentative: Tentative, replaced: Collection[ListedOrder]
    ) -> None:
        """Whatever trades, the round fits a settlement: two deltas an account, and its words of nonces."""
        changed = Counter(tentative.words[self.terms.market.id])
        changed[order.account, order.nonce // NONCES_PER_WORD] += 1
        for old in replaced:
            changed[old.account, old.nonce // NONCES_PER_WORD] -= 1
        words = {account: set(self._words.get(account, ())) for account, _ in changed}
        for (account, word), by in changed.items():
            standing = self._words.get(account, Counter())[word] + by
            (words[account].add if standing else words[account].discard)(word)
        if len(words[order.account]) > MAX_WORDS:
            raise OrderRefused(
                f"nonce: {order.nonce} is too far from those of this account's standing orders",
                "cancel or replace the oldest ones: a settlement takes nonces of few words",
                "quota-exceeded",
            )
        held: dict[Address, Collection[int]] = {**self._words, **words}
        present, rows = sum(map(bool, held.values())), sum(map(len, held.values()))
        if not fits(2 * present, rows):
            raise OrderRefused(
                f"book: full: no settlement takes {present} accounts with {rows} words of nonces",
                "try in the next round",
                "book-full",
            )

    def _check_round(self, first: int, time_in_force: int) -> None:
        current = self.current_round.id
        if first > current or (time_in_force == TimeInForce.ROUND and first != current):
            raise OrderRefused(
                f"first_round: {first}, open is {current}", "seal for the open round", "round-closed"
            )
        if time_in_force == TimeInForce.ROUND and self.current_round.state is not RoundState.OPEN:
            raise OrderRefused(
                f"first_round: {first} is sealed already", "seal for the next round", "round-closed"
            )

    def accept(self, order: ListedOrder) -> None:
        """List a checked order; F falls by its lock."""
        for token, lock in self.locks(order):
            self.ledger.changing(order.account, token).decrease(lock)
        self.ledger.use_nonce(order.account, order.nonce)
        self._list(order)

    def restore(self, orders: Iterable[ListedOrder]) -> None:
        """Standing orders of a snapshot, whose locks its ledger has already."""
        for order in orders:
            self._list(order)

    def locks(self, order: ListedOrder) -> tuple[tuple[Address, Point], tuple[Address, Point]]:
        """(token, commitment to what the order locks of it), base and quote."""
        base, quote = self.tokens
        return (base, order.c_base), (quote, order.c_quote)

    # --- leaving the book ---------------------------------------------------------------------------

    def check_cancel(self, account: Address, nonce: Nonce, signature: bytes) -> ListedOrder:
        """The unsealed order that the account's signed wish takes out. Raises OrderRefused."""
        _check_signature(cancel_digest(self.terms, account, nonce), signature, account)
        order = self.find(account, nonce)
        if order is None:
            raise OrderRefused(
                f"nonce: no standing order {nonce} of {address_hex(account)}",
                "check your orders",
                "order-not-standing",
            )
        if self._is_sealed(order) and self.sealed is not None:
            raise OrderRefused(
                f"nonce: {nonce} is in sealed round {self.sealed.round}", "wait for its end", "order-sealed"
            )
        return order

    def check_cancel_all(self, account: Address, below: Nonce, signature: bytes) -> list[ListedOrder]:
        """The unsealed orders with lower nonces that the account's signed wish takes out.

        Raises OrderRefused if there is none: an entry that does nothing would make the log grow for free.
        """
        _check_signature(cancel_all_digest(self.terms, account, below), signature, account)
        mine = [o for o in self.standing if o.account == account and o.nonce < below]
        unsealed = [o for o in mine if not self._is_sealed(o)]
        if not unsealed:
            raise OrderRefused(
                f"below: no unsealed order of {address_hex(account)} has a nonce under {below}",
                "check your orders",
                "order-not-standing",
            )
        return unsealed

    def check_release(self, named: Iterable[tuple[Address, Nonce]]) -> list[ListedOrder]:
        """The unsealed orders of those names, for the operator to take out. Raises OrderRefused."""
        found = []
        for account, nonce in named:
            order = self.find(account, nonce)
            if order is None or self._is_sealed(order):
                raise OrderRefused(
                    f"release: no unsealed order {nonce} of {address_hex(account)}",
                    "wait for the end of its round",
                    "order-not-standing",
                )
            found.append(order)
        if len({(o.account, o.nonce) for o in found}) != len(found) or not found:
            raise OrderRefused("release: names no order, or one twice", "name each order once")
        return found

    def release(self, orders: Iterable[ListedOrder], end: End, reason: str = "") -> list[Ended]:
        """Take unsealed orders out; their locks return."""
        ended = []
        for order in orders:
            self._forget(order)
            for token, lock in self.locks(order):
                self.ledger.changing(order.account, token).increase(lock)
            ended.append(Ended(order, end, reason))
        return ended

    def drop(self, account: Address, reason: str) -> list[Ended]:
        """Release the account's unsealed orders; sealed ones go when their round ends."""
        mine = [o for o in self.standing if o.account == account and not self._is_sealed(o)]
        return self.release(mine, End.RELEASED, reason)

    def _is_sealed(self, order: ListedOrder) -> bool:
        return self.sealed is not None and order.sequence <= self.sealed.orders[-1].sequence

    def _list(self, order: ListedOrder) -> None:
        self._standing[order.account, order.nonce] = order
        self._open[order.account] += 1
        self._words.setdefault(order.account, Counter())[order.nonce // NONCES_PER_WORD] += 1

    def _forget(self, order: ListedOrder) -> None:
        del self._standing[order.account, order.nonce]
        self._open[order.account] -= 1
        words, word = self._words[order.account], order.nonce // NONCES_PER_WORD
        words[word] -= 1
        if not words[word]:
            del words[word]
        if not self._open[order.account]:
            del self._open[order.account], self._words[order.account]

    # --- the round ----------------------------------------------------------------------------------

    def check_idle(self) -> None:
        """Raises OrderRefused while a round is sealed and not over."""
        if self.sealed is not None:
            raise OrderRefused(
                f"round {self.sealed.round} is still sealed", "wait for its end", "round-sealed"
            )

    def change_terms(self, terms: Terms, at: int) -> list[Ended]:
        """New terms for the same market: no standing order is valid under them any more.

        A policy is judged order by order instead (`check_release`): what it still allows rolls.
        """
        if same_but_policy(self.terms, terms):
            self.terms, self.terms_at = terms, at
            return []
        ended = self.release(self.standing, End.RELEASED, "the market has new terms")
        if self.round is not None:  # its reference stays the price it was, as near as the new grid has it
            price, grid = self.terms.market.grid.price(self.round.reference), terms.market.grid
            level = Tick(min(max(price - grid.p_0, 0) // grid.tick, grid.last))
            self.round = replace(self.round, market=terms.market, reference=level)
        self.terms, self.terms_at = terms, at
        return ended

    def change_key(self, key: PublicKey, at: int) -> list[Ended]:
        """The same market under another committee key, for which no standing order is sealed."""
        ended = self.release(self.standing, End.RELEASED, NEW_KEY)
        self.terms, self.terms_at = replace(self.terms, key=key), at
        return ended

    def open_round(self, market_round: Round) -> list[Ended]:
        """From now on orders are for this round. An order for one round never trades in another."""
        self.round = market_round
        over = [o for o in self.standing if o.statement.time_in_force == TimeInForce.ROUND]
        return self.release(over, End.EXPIRED, "its round is over")

    def eligible(self, now: int) -> tuple[ListedOrder, ...]:
        """What would be sealed at that time: everything standing that has not expired."""
        return tuple(o for o in self.standing if not 0 < o.statement.valid_until <= now)

    def check_seal(self, now: int) -> None:
        """Raises OrderRefused unless a round is open and the market's minima are met."""
        market_round, market = self.current_round, self.terms.market
        if market_round.state is not RoundState.OPEN:
            raise OrderRefused(
                f"round: {market_round.id} is {market_round.state}, not open",
                "wait for the next one",
                "round-closed",
            )
        orders = self.eligible(now)
        accounts = len({o.account for o in orders})
        if not orders or len(orders) < market.min_orders or accounts < market.min_accounts:
            raise OrderRefused(
                f"round: {len(orders)} orders of {accounts} accounts; it needs {market.min_orders} "
                f"of {market.min_accounts}",
                "wait for more orders",
                "minima-not-met",
            )

    def seal(self, now: int, audit_root: bytes) -> list[Ended]:
        """Expire what has expired, then fix the list (`sealed`)."""
        market_round = self.current_round
        orders = self.eligible(now)
        keep = {o.sequence for o in orders}
        ended = self.release(
            [o for o in self.standing if o.sequence not in keep], End.EXPIRED, "valid_until has passed"
        )
        root = merkle.root(o.leaf for o in orders)
        self.sealed = SealedList(
            market_round.id,
            self.terms.market.id,
            market_round.reference,
            now,
            orders,
            root,
            self.terms.hash,
            audit_root,
        )
        self.round = market_round.advance(RoundState.SEALED)
        return ended

    def finish(self, result: RoundResult) -> list[Ended]:
        """End the sealed round: consume the orders of accounts that traded; roll or release the rest.

        The lock covers the debit, so both move F at once; the credit waits for the settlement to be final.
        """
        sealed = self._over()
        state = RoundState.CLEARED if result.crossed else RoundState.NO_CROSS
        self.round = self.current_round.advance(RoundState.CLEARING).advance(state)
        consumed = [o for o in sealed.orders if o.account in result.nets]
        self._consume(consumed, token_movements(self.terms, result))
        ended = [Ended(o, End.CONSUMED) for o in consumed]
        left = [o for o in sealed.orders if o.account not in result.nets]
        once = [o for o in left if o.statement.time_in_force == TimeInForce.ROUND]
        ended += self.release(once, End.EXPIRED, "its round is over")
        leaving = [
            o
            for o in left
            if o.statement.time_in_force != TimeInForce.ROUND and o.account in self.ledger.halted
        ]
        return ended + self.release(leaving, End.RELEASED, "the account is leaving")

    def abort(self, reason: str) -> list[Ended]:
        """End the sealed round without a result: all its orders are released; no shorter list is run."""
        sealed = self._over()
        self.round = self.current_round.advance(RoundState.CLEARING).advance(RoundState.ABORTED)
        return self.release(sealed.orders, End.RELEASED, reason)

    def _over(self) -> SealedList:
        if self.sealed is None:
            raise OrderRefused("round: none is sealed", "seal one first", "round-closed")
        sealed, self.sealed = self.sealed, None
        return sealed

    def _consume(self, consumed: Iterable[ListedOrder], movements: Iterable[Movement]) -> None:
        """F += locks - debit in one step: an F between the two would be too high to prove against.

        Where there is a debit the version moves on: were it above the locks, by the fault of a member, F
        would have fallen, and a proof against what it was before must not hold.
        """
        change = {(m.account, m.token): generator_g() * m.amount for m in movements if m.amount < 0}
        debited = set(change)
        for order in consumed:
            for token, lock in self.locks(order):
                key = (order.account, token)
                change[key] = change[key] + lock if key in change else lock
            self._forget(order)
        for (account, token), by in change.items():
            free = self.ledger.changing(account, token)
            if (account, token) in debited:
                free.decrease(-by)
            else:
                free.increase(by)


def same_but_policy(terms: Terms, others: Terms) -> bool:
    """Whether terms differ in their policy and its auditors' keys alone, if at all."""
    return replace(terms, policy_hash=others.policy_hash, auditor_keys=others.auditor_keys) == others


def cancel_digest(terms: Terms, account: Address, nonce: Nonce) -> bytes:
    """What an account signs to take an order out of the book."""
    encoded_type = "CancelOrder(address account,uint64 nonce,bytes32 market)"
    return eip712.digest(terms.domain, encoded_type, (account, nonce, terms.market.id))


def cancel_all_digest(terms: Terms, account: Address, below: Nonce) -> bytes:
    """What an account signs to take all its orders with lower nonces out of the book.

    Naming the nonce, not a time, keeps the signature from ever touching an order made after it.
    """
    encoded_type = "CancelAll(address account,uint64 below,bytes32 market)"
    return eip712.digest(terms.domain, encoded_type, (account, below, terms.market.id))


def _check_signature(digest: bytes, signature: bytes, account: Address) -> None:
    try:
        eip712.check_signer(digest, signature, account)
    except VerificationError as error:
        raise OrderRefused(
            f"signature: not the account's over this cancellation: {error.problem}",
            "sign it anew",
            "bad-signature",
        ) from None

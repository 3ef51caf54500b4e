"""The book of one market: admission in arrival order, the sealed list, and what a round's end does to orders.

Operator and every member run the same book over the same events, so each recomputes every F and every root
for itself. Each step checks first (bytes, then state, then proof) and changes state last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from commitments import merkle
from commitments.errors import VerificationError
from commitments.group import Point
from commitments.order_verify import invalid_claims
from commitments.pedersen import generator_g
from darkpool import eip712
from darkpool.account import Ledger
from darkpool.admission import Tentative, screened
from darkpool.errors import OrderRefused
from darkpool.market import MAX_ORDERS, Round, RoundState
from darkpool.order import SealedOrder, Terms, TimeInForce
from darkpool.types import Address, Lots, Nonce, Quanta, RoundId, Tick, address_hex

MAX_OPEN_PER_ACCOUNT: Final = 512  # decoys count
# One settlement takes 1,024 rows of each kind: two deltas an account, and its nonces lie in up to 3 words.
MAX_ACCOUNTS: Final = 340


@dataclass(frozen=True, slots=True)
class SealedList:
    """What a round clears: its orders in arrival order, under one root (RFC 9162 over the orders' leaves)."""

    round: RoundId
    market: bytes
    reference: Tick
    sealed_at: int
    orders: tuple[SealedOrder, ...] = field(repr=False)
    root: bytes
    terms_hash: bytes

    def digest(self, domain: eip712.Domain) -> bytes:
        """What every member signs. It also names the list to the masks, so no two rounds share one."""
        return eip712.digest(
            domain,
            "SealedRound(bytes32 market,uint64 round,uint16 reference,uint64 sealedAt,uint32 orders,"
            "bytes32 root,bytes32 terms)",
            (
                self.market,
                self.round,
                self.reference,
                self.sealed_at,
                len(self.orders),
                self.root,
                self.terms_hash,
            ),
        )

    @property
    def accounts(self) -> tuple[Address, ...]:
        """The accounts with an order in the list, ascending."""
        return tuple(sorted({o.account for o in self.orders}))


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What a clearing reveals. price: grid level; volume and nets in lots (positive: bought on balance).

    nets holds exactly the accounts that bought or sold anything, ascending by account.
    """

    crossed: bool
    price: Tick = field(default=Tick(0))
    volume: Lots = field(default=Lots(0))
    nets: Mapping[Address, int] = field(default_factory=dict)


NO_CROSS: Final = RoundResult(crossed=False)


@dataclass(frozen=True, slots=True)
class Movement:
    """What a result moves: `amount` quanta of a token, positive to the account."""

    account: Address
    token: Address
    amount: Quanta


class Book:
    """Standing orders of one market and the round they wait for."""

    def __init__(self, terms: Terms, ledger: Ledger) -> None:
        self.terms = terms
        self.ledger = ledger
        self.round: Round | None = None
        self._standing: dict[bytes, SealedOrder] = {}  # by order hash, in arrival order
        self._open: Counter[Address] = Counter()
        self._sealed: SealedList | None = None
        self._unsettled: dict[RoundId, list[Movement]] = {}

    @property
    def standing(self) -> tuple[SealedOrder, ...]:
        """Orders in the book, in arrival order."""
        return tuple(self._standing.values())

    @property
    def current_round(self) -> Round:
        """The round that is open or sealed. Raises OrderRefused if there never was one."""
        if self.round is None:
            raise OrderRefused("round: none is open", hint="open one first")
        return self.round

    # --- admission ----------------------------------------------------------------------------------

    def open_round(self, market_round: Round) -> None:
        """From now on orders are for this round. Raises OrderRefused while another is not over."""
        if self._sealed is not None:
            raise OrderRefused(f"round {self._sealed.round} is still sealed", hint="wait for its end")
        self.round = market_round
        # An order for one round never trades in another, even if its own was not sealed.
        self._release([o for o in self.standing if o.statement.time_in_force == TimeInForce.ROUND])

    def admit(self, batch: Sequence[bytes], now: int) -> list[SealedOrder | OrderRefused]:
        """Decode, check and verify a batch in arrival order; accept what holds. One answer per item.

        Cheap checks come first; proofs are verified together and bisected only if the batch fails. An order
        that was proven against a refused one of the same batch is refused with the current commitment.
        """
        answers = [self._screened(raw, now) for raw in batch]
        tentative = Tentative(self.ledger, self.terms)
        candidates: list[int] = []
        for i, order in enumerate(answers):
            if isinstance(order, SealedOrder):
                try:
                    self._check_state(order, tentative)
                except OrderRefused as refusal:
                    answers[i] = refusal
                else:
                    tentative.lock(order)
                    candidates.append(i)
        claims = [o.claim for i in candidates if isinstance(o := answers[i], SealedOrder)]
        invalid = invalid_claims(self.terms.key, claims)
        for position, i in enumerate(candidates):
            order = answers[i]
            if position in invalid:
                answers[i] = OrderRefused(
                    f"proof: {invalid[position]}",
                    hint="the order is signed but not proven; build it with the client",
                )
            elif isinstance(order, SealedOrder):
                try:
                    self._check_state(order, Tentative(self.ledger, self.terms))
                except OrderRefused as refusal:
                    answers[i] = refusal
                else:
                    self._accept(order)
        return answers

    def _screened(self, raw: bytes, now: int) -> SealedOrder | OrderRefused:
        try:
            return screened(self.terms, raw, now)
        except OrderRefused as refusal:
            return refusal

    def _check_state(self, order: SealedOrder, tentative: Tentative) -> None:
        s = order.statement
        self._check_round(s.first_round, s.time_in_force)
        self.ledger.check_known(order.account)
        if order.account in self.ledger.halted:
            raise OrderRefused(
                "account: a withdrawal or cancel request is pending", hint="wait until it is resolved"
            )
        self.ledger.nonces(order.account).check(order.nonce)
        if (order.account, order.nonce) in tentative.nonces:
            raise OrderRefused(f"nonce: {order.nonce} is used", hint="use another nonce for every order")
        if self._open[order.account] + tentative.orders[order.account] >= MAX_OPEN_PER_ACCOUNT:
            raise OrderRefused(
                f"account: {MAX_OPEN_PER_ACCOUNT} orders stand already", hint="cancel some first"
            )
        present = self._open.keys() | tentative.orders.keys()
        if order.account not in present and len(present) >= MAX_ACCOUNTS:
            raise OrderRefused(f"book: full with {MAX_ACCOUNTS} accounts", hint="try in the next round")
        if len(self._standing) + len(tentative.nonces) >= MAX_ORDERS:
            raise OrderRefused(f"book: full with {MAX_ORDERS} orders", hint="try in the next round")
        base, quote = tentative.of(order.account)
        base.check("base", s.f_base, s.base_version)
        quote.check("quote", s.f_quote, s.quote_version)

    def _check_round(self, first: int, time_in_force: int) -> None:
        current = self.current_round.id
        if first > current or (time_in_force == TimeInForce.ROUND and first != current):
            raise OrderRefused(f"first_round: {first}, open is {current}", hint="seal for the open round")
        if time_in_force == TimeInForce.ROUND and self.current_round.state is not RoundState.OPEN:
            raise OrderRefused(f"first_round: {first} is sealed already", hint="seal for the next round")

    def _accept(self, order: SealedOrder) -> None:
        for token, lock in self._locks(order):
            self.ledger.of(order.account, token).decrease(lock)
        self.ledger.nonces(order.account).use(order.nonce)
        self._standing[order.hash] = order
        self._open[order.account] += 1

    # --- leaving the book ---------------------------------------------------------------------------

    def cancel(self, account: Address, nonce: Nonce, signature: bytes) -> SealedOrder:
        """Take an unsealed order out at its account's signed wish; its lock returns. Raises OrderRefused."""
        try:
            eip712.check_signer(cancel_digest(self.terms, account, nonce), signature, account)
        except VerificationError as error:
            raise OrderRefused(
                f"signature: not the account's over this cancellation: {error.problem}", hint="sign it anew"
            ) from None
        if self._sealed is not None and any(
            (o.account, o.nonce) == (account, nonce) for o in self._sealed.orders
        ):
            raise OrderRefused(
                f"nonce: {nonce} is in sealed round {self._sealed.round}", hint="wait for its end"
            )
        for order in self._standing.values():
            if (order.account, order.nonce) == (account, nonce):
                self._release([order])
                return order
        raise OrderRefused(
            f"nonce: no standing order {nonce} of {address_hex(account)}", hint="check your orders"
        )

    def halt(self, account: Address) -> None:
        """A withdrawal or cancel request was seen on chain: drop unsealed orders, take no new ones."""
        self.ledger.halted.add(account)
        sealed = {o.hash for o in self._sealed.orders} if self._sealed else set()
        self._release([o for o in self.standing if o.account == account and o.hash not in sealed])

    def check_idle(self, account: Address) -> None:
        """Raises OrderRefused while F may not restart: an order stands, or a settlement is pending."""
        if self._open[account]:
            raise OrderRefused("account: an order of it stands", hint="wait for the end of the round")
        if any(m.account == account for movements in self._unsettled.values() for m in movements):
            raise OrderRefused("account: a settlement of it is pending", hint="wait for its end")

    def resume(self, account: Address) -> None:
        """The request is resolved: the account may trade again."""
        self.ledger.halted.discard(account)

    def _release(self, orders: Iterable[SealedOrder]) -> None:
        for order in orders:
            self._forget(order)
            for token, lock in self._locks(order):
                self.ledger.of(order.account, token).increase(lock)

    def _forget(self, order: SealedOrder) -> None:
        del self._standing[order.hash]
        self._open[order.account] -= 1
        if not self._open[order.account]:
            del self._open[order.account]

    def _locks(self, order: SealedOrder) -> tuple[tuple[Address, Point], tuple[Address, Point]]:
        market = self.terms.market
        return (market.base, order.sent.c_base), (market.quote, order.sent.c_quote)

    # --- the round ----------------------------------------------------------------------------------

    def seal(self, now: int) -> SealedList | None:
        """Expire what has expired, then fix the list. None while the market's minima are not met.

        Raises OrderRefused if no round is open.
        """
        market_round = self.current_round
        if market_round.state is not RoundState.OPEN:
            raise OrderRefused(
                f"round: {market_round.id} is {market_round.state}, not open", hint="open one first"
            )
        expired = [o for o in self.standing if 0 < o.statement.valid_until <= now]
        orders = tuple(o for o in self.standing if not 0 < o.statement.valid_until <= now)
        market = self.terms.market
        if len(orders) < market.min_orders or len({o.account for o in orders}) < market.min_accounts:
            return None  # and nothing has changed: the members are not asked
        self._release(expired)
        root = merkle.root(o.leaf for o in orders)
        self._sealed = SealedList(
            market_round.id, market.id, market_round.reference, now, orders, root, self.terms.hash
        )
        self.round = market_round.advance(RoundState.SEALED)
        return self._sealed

    def finish(self, result: RoundResult) -> tuple[SealedOrder, ...]:
        """End the sealed round: consume the orders of accounts that traded, and return them; roll the rest.

        The lock covers the debit, so both move F at once; the credit waits for the settlement to be final.
        """
        sealed = self._ended()
        consumed = tuple(o for o in sealed.orders if o.account in result.nets)
        if result.crossed:
            self._consume(sealed.round, consumed, result)
        self._release([o for o in self.standing if self._ends_here(o)])
        return consumed

    def _ends_here(self, order: SealedOrder) -> bool:
        """An order for one round, or of an account whose request came while the round was sealed."""
        return order.statement.time_in_force == TimeInForce.ROUND or order.account in self.ledger.halted

    def abort(self) -> tuple[SealedOrder, ...]:
        """End the sealed round without a result: all its orders are released; no shorter list is run."""
        sealed = self._ended()
        self._release(sealed.orders)
        return sealed.orders

    def _ended(self) -> SealedList:
        if self._sealed is None:
            raise OrderRefused("round: none is sealed", hint="seal one first")
        sealed, self._sealed = self._sealed, None
        return sealed

    def _consume(self, round_id: RoundId, consumed: Iterable[SealedOrder], result: RoundResult) -> None:
        """F += locks - debit in one step: an F between the two would be too high to prove against."""
        movements = token_movements(self.terms, result)
        change = {(m.account, m.token): generator_g() * m.amount for m in movements if m.amount < 0}
        for order in consumed:
            for token, lock in self._locks(order):
                key = (order.account, token)
                change[key] = change[key] + lock if key in change else lock
            self._forget(order)
        for (account, token), by in change.items():
            self.ledger.of(account, token).increase(by)
        self._unsettled[round_id] = movements

    def settled(self, round_id: RoundId) -> None:
        """The round's settlement is final on chain: credits count."""
        for m in self._ended_movements(round_id):
            if m.amount > 0:
                self.ledger.of(m.account, m.token).increase(generator_g() * m.amount)

    def void(self, round_id: RoundId) -> None:
        """The settlement expired or reverted: fills are busted, debits come back."""
        for m in self._ended_movements(round_id):
            if m.amount < 0:
                self.ledger.of(m.account, m.token).increase(generator_g() * -m.amount)

    def _ended_movements(self, round_id: RoundId) -> list[Movement]:
        if round_id not in self._unsettled:
            raise OrderRefused(
                f"round {round_id} has no unsettled result", hint="report each settlement once"
            )
        return self._unsettled.pop(round_id)


def cancel_digest(terms: Terms, account: Address, nonce: Nonce) -> bytes:
    """What an account signs to take an order out of the book."""
    encoded_type = "CancelOrder(address account,uint64 nonce,bytes32 market)"
    return eip712.digest(terms.domain, encoded_type, (account, nonce, terms.market.id))


def token_movements(terms: Terms, result: RoundResult) -> list[Movement]:
    """The movements of a result: quote = -price * base net. Each token sums to zero; no row is zero."""
    if not result.crossed:
        return []
    market = terms.market
    price = market.grid.price(result.price)
    rows = []
    for account, lots in result.nets.items():
        if lots:
            rows.append(Movement(account, market.base, Quanta(lots * market.lot)))
            rows.append(Movement(account, market.quote, Quanta(-lots * price)))
    return rows

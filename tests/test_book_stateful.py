"""The book against its traders and a plain chain, in any order of events.

What holds after every step: every wallet's openings open the book's commitments; what an account may lock
is its balance less its locks and less what it owes; no nonce is accepted twice; nobody is filled beyond an
order; both tokens are conserved. Clearing is in the clear (`darkpool.auction`); sealing and proofs are real.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from commitments.errors import ParameterError
from darkpool.draft import Collateral
from darkpool.errors import OrderRefused
from darkpool.market import RoundState, Side
from darkpool.order import Order, SealedOrder, TimeInForce
from darkpool.types import Address, Lots, Nonce, Quanta, RoundId, Tick
from tests.venue_log import Venue
from tests.venue_support import BASE, NAMES, NOW, QUOTE, key_of, with_statement
from tests.venue_support import finish as sealed_by

TOKENS = (BASE, QUOTE)
names = st.sampled_from(NAMES)
# Mostly limits that meet.
limits = st.sampled_from(
    [(Side.BUY, Tick(i)) for i in (3, 3, 2, 1)] + [(Side.SELL, Tick(i)) for i in (0, 0, 1, 2)]
)
quantities = st.sampled_from([0, 1, 2, 3, 5, 12]).map(Lots)
orders = st.builds(lambda limit, quantity: Order(limit[0], limit[1], quantity), limits, quantities)


class BookMachine(RuleBasedStateMachine):
    """One market, three traders. `chain` holds balances; `owed` the movements of results not yet settled."""

    def __init__(self) -> None:
        super().__init__()
        self.venue = Venue(rich=Quanta(0))
        self.chain: Counter[tuple[str, Address]] = Counter()
        self.supply: Counter[Address] = Counter()
        self.owed: dict[RoundId, list[tuple[str, Address, int]]] = {}
        self.accepted: list[SealedOrder] = []
        self.halted: set[str] = set()
        self.stale: dict[str, tuple[Collateral, Collateral]] = {}

    # --- money ------------------------------------------------------------------------------------------

    def put(self, name: str, token: Address, amount: Quanta) -> None:
        self.venue.deposit(name, token, amount)
        self.chain[name, token] += amount
        self.supply[token] += amount

    @initialize()
    def endow(self) -> None:
        for name in NAMES:
            self.put(name, BASE, Quanta(70))
            self.put(name, QUOTE, Quanta(10_000))

    @rule(name=names, token=st.sampled_from(TOKENS), amount=st.integers(1, 3_000).map(Quanta))
    def deposit(self, name: str, token: Address, amount: Quanta) -> None:
        self.put(name, token, amount)

    # --- orders -----------------------------------------------------------------------------------------

    def lock(self, order: Order) -> tuple[int, int]:
        market = self.venue.terms.market
        if order.side is Side.SELL:
            return order.quantity * market.lot, 0
        return 0, order.quantity * market.grid.price(order.level)

    @rule(name=names, order=orders, one_round=st.booleans())
    def submit(self, name: str, order: Order, one_round: bool) -> None:
        venue, wallet = self.venue, self.venue.wallets[name]
        open_ = venue.book.current_round.state is RoundState.OPEN
        kind = TimeInForce.ROUND if one_round and open_ else TimeInForce.GOOD_TILL_CANCELLED
        draft = venue.draft(name, order, kind)
        covered = all(lock <= wallet.free(t) for lock, t in zip(self.lock(order), TOKENS, strict=True))
        if not covered:
            with pytest.raises(ParameterError, match="does not cover"):
                venue.sealed(name, draft)
            return
        sealed = venue.sealed(name, draft)
        answer = venue.answer(sealed.raw)
        if name in self.halted:
            assert isinstance(answer, OrderRefused)
            return
        assert isinstance(answer, SealedOrder), answer
        base, quote = (wallet._free[t] for t in TOKENS)
        self.stale[name] = (base, quote)
        wallet.accepted(order, draft)
        venue.orders[answer.hash] = order
        self.accepted.append(answer)

    @rule(batch=st.lists(st.tuples(names, orders), min_size=2, max_size=4), clears=st.booleans())
    def flurry(self, batch: list[tuple[str, Order]], clears: bool) -> None:
        """A usual round: some orders, sealed and perhaps cleared."""
        if self.state is not RoundState.OPEN and self.venue.book._sealed is None:
            self.open(2)
        for name, order in batch:
            self.submit(name, order, one_round=False)
        if self.state is RoundState.OPEN:
            self.seal()
        if clears and self.venue.book._sealed is not None:
            self.clear()

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def spend_twice(self, data: st.DataObject) -> None:
        """An order proven against an F that was spent from since."""
        name = data.draw(st.sampled_from(sorted(self.stale)))
        base, quote = self.stale[name]
        draft = self.venue.draft(name, Order(Side.BUY, Tick(0), Lots(0)))
        old = with_statement(
            draft,
            f_base=base.opening.commitment(),
            f_quote=quote.opening.commitment(),
            base_version=base.version,
            quote_version=quote.version,
        )
        witness = type(draft.witness)(
            draft.witness.slot,
            0,
            base.opening,
            quote.opening,
            draft.witness.blindings,
            draft.witness.randomness,
        )
        old = type(old)(old.statement, witness, old.note)
        answer = self.venue.answer(sealed_by(old, self.venue.terms, key_of(name)).raw)
        assert isinstance(answer, OrderRefused)
        assert answer.message.startswith("account" if name in self.halted else "collateral")

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.accepted))
        assert isinstance(self.venue.answer(order.raw), OrderRefused)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.accepted))
        sealed = self.venue.book._sealed
        stands = order in self.venue.book.standing and not (sealed and order in sealed.orders)
        if stands:
            self.venue.cancel(order)
        else:
            with pytest.raises(OrderRefused):
                self.venue.cancel(order)

    # --- rounds -----------------------------------------------------------------------------------------

    @property
    def state(self) -> RoundState:
        return self.venue.book.current_round.state

    @precondition(lambda self: self.state is RoundState.OPEN)
    @rule()
    def seal(self) -> None:
        standing = self.venue.book.standing
        sealed = self.venue.book.seal(NOW)
        assert (sealed.orders if sealed else ()) == standing

    @precondition(lambda self: self.venue.book._sealed is not None)
    @rule()
    def clear(self) -> None:
        venue = self.venue
        sealed = venue.book._sealed
        assert sealed is not None
        rolled = [o for o in venue.book.standing if o.statement.time_in_force != TimeInForce.ROUND]
        result, fills = venue.finish(sealed)
        assert all(0 <= f.filled <= f.order.quantity for mine in fills.values() for f in mine)
        for side in Side:
            traded = sum(f.filled for mine in fills.values() for f in mine if f.order.side is side)
            assert traded == result.volume
        if result.crossed:
            price = venue.terms.market.grid.price(result.price)
            self.owed[sealed.round] = [
                row
                for account, net in result.nets.items()
                for name in (venue.name_of(account),)
                for row in ((name, BASE, net * venue.terms.market.lot), (name, QUOTE, -net * price))
            ]
        gone = set(result.nets) | {venue.wallets[n].address for n in self.halted}
        late = [o for o in rolled if o not in sealed.orders]
        kept = [o for o in rolled if o.account not in gone or (o in late and o.account in result.nets)]
        assert list(venue.book.standing) == kept

    @precondition(lambda self: self.venue.book._sealed is not None)
    @rule()
    def abort(self) -> None:
        sealed = self.venue.book._sealed
        assert sealed is not None
        later = [o for o in self.venue.book.standing if o not in sealed.orders]
        self.venue.abort()
        assert list(self.venue.book.standing) == later

    @precondition(lambda self: self.state is not RoundState.OPEN and self.venue.book._sealed is None)
    @rule(reference=st.integers(0, 3))
    def open(self, reference: int) -> None:
        self.venue.open(self.venue.book.current_round.id + 1, reference)

    @precondition(lambda self: self.owed)
    @rule(data=st.data(), final=st.booleans())
    def settle(self, data: st.DataObject, final: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.owed)))
        rows = self.owed.pop(number)
        if final:
            for name, token, amount in rows:
                self.chain[name, token] += amount
        self.venue.settled(number, final=final)

    # --- leaving ----------------------------------------------------------------------------------------

    @precondition(lambda self: not self.halted)
    @rule(name=names)
    def halt(self, name: str) -> None:
        venue, wallet = self.venue, self.venue.wallets[name]
        venue.book.halt(wallet.address)
        self.halted.add(name)
        left = {o.nonce for o in venue.book.standing if o.account == wallet.address}
        wallet.released([live.nonce for live in wallet.live if live.nonce not in left])

    def busy(self, name: str) -> bool:
        """Whether an order of the account is in a sealed round, or a result of it is not settled."""
        owed = any(name == row[0] for rows in self.owed.values() for row in rows)
        return bool(self.venue.wallets[name].live) or owed

    @precondition(lambda self: any(not self.busy(name) for name in self.halted))
    @rule(data=st.data(), share=st.integers(0, 4))
    def withdraw_and_resume(self, data: st.DataObject, share: int) -> None:
        name = data.draw(st.sampled_from(sorted(n for n in self.halted if not self.busy(n))))
        wallet = self.venue.wallets[name]
        for token in TOKENS:
            paid = self.chain[name, token] * share // 4
            self.chain[name, token] -= paid
            self.supply[token] -= paid
            left = Quanta(self.chain[name, token])
            self.venue.book.ledger.restart(wallet.address, token, left)
            wallet.restarted(token, left)
        self.venue.book.resume(wallet.address)
        self.halted.discard(name)
        self.stale.pop(name, None)

    # --- what always holds ------------------------------------------------------------------------------

    @invariant()
    def openings_open_the_books_commitments(self) -> None:
        self.venue.check()

    @invariant()
    def what_is_free_is_the_balance_less_locks_and_debts(self) -> None:
        for name, wallet in self.venue.wallets.items():
            for place, token in enumerate(TOKENS):
                locks = sum(self.lock(live.order)[place] for live in wallet.live)
                debts = sum(
                    -amount
                    for rows in self.owed.values()
                    for who, what, amount in rows
                    if (who, what) == (name, token) and amount < 0
                )
                assert wallet.free(token) == self.chain[name, token] - locks - debts >= 0

    @invariant()
    def tokens_are_conserved(self) -> None:
        for token in TOKENS:
            assert sum(self.chain[name, token] for name in NAMES) == self.supply[token]
            for rows in self.owed.values():
                assert sum(amount for _, what, amount in rows if what == token) == 0

    @invariant()
    def no_nonce_is_accepted_twice(self) -> None:
        seen: Counter[tuple[Address, Nonce]] = Counter((o.account, o.nonce) for o in self.accepted)
        assert all(count == 1 for count in seen.values())

    @invariant()
    def book_and_traders_agree_on_what_stands(self) -> None:
        for wallet in self.venue.wallets.values():
            mine = [o.nonce for o in self.venue.book.standing if o.account == wallet.address]
            assert mine == [live.nonce for live in wallet.live]
            assert self.venue.book._open[wallet.address] == len(mine)


def run(examples: int, steps: int, *, shrink: bool) -> None:
    """Shrinking a failure seals thousands of orders, so only the long test does it."""
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    phases = [Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if shrink else [])]
    run_state_machine_as_test(
        BookMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=checks,
            phases=phases,
        ),
    )


def test_book_traders_and_chain_agree_in_any_order_of_events() -> None:
    run(examples=40, steps=30, shrink=False)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_book_traders_and_chain_agree_at_length() -> None:
    run(examples=200, steps=50, shrink=True)

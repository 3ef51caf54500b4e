"""The book against its traders and a plain chain, in any order of events.

What holds after every step: every wallet's openings open the book's commitments; what an account may lock
is its balance less its locks and less what it owes; no nonce is accepted twice; nobody is filled beyond an
order; both tokens are conserved. Clearing is in the clear (`darkpool.auction`); sealing and proofs are real.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from commitments.errors import ParameterError
from commitments.merkle import Frontier
from commitments.pedersen import Opening
from darkpool import snapshot
from darkpool.draft import Collateral
from darkpool.effects import Effects
from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder
from darkpool.market import RoundState, Side
from darkpool.message import Message
from darkpool.order import Order, TimeInForce
from darkpool.state import MAX_UNSETTLED
from darkpool.types import Address, Lots, Quanta, Tick
from tests.book_model import TOKENS, BookModel
from tests.venue_log import portrait
from tests.venue_support import BASE, NAMES, QUOTE, key_of, signers, with_statement
from tests.venue_support import finish as sealed_by

names = st.sampled_from(NAMES)
# Mostly limits that meet.
limits = st.sampled_from(
    [(Side.BUY, Tick(i)) for i in (3, 3, 2, 1)] + [(Side.SELL, Tick(i)) for i in (0, 0, 1, 2)]
)
quantities = st.sampled_from([0, 1, 2, 3, 5, 12]).map(Lots)
requests = st.sampled_from([("withdraw", 1), ("withdraw", 2), ("cancel", 9)])  # token, token, word of nonces
orders = st.builds(lambda limit, quantity: Order(limit[0], limit[1], quantity), limits, quantities)


class BookMachine(BookModel):
    """The steps."""

    # --- money ------------------------------------------------------------------------------------------

    def put(self, name: str, token: Address, amount: Quanta) -> None:
        self.chain[name, token] += amount
        self.supply[token] += amount
        self.after(self.venue.chain(self.venue.deposit_of(name, token, amount)))

    @initialize()
    def endow(self) -> None:
        for name in NAMES:
            self.put(name, BASE, Quanta(70))
            self.put(name, QUOTE, Quanta(10_000))

    @rule(name=names, token=st.sampled_from(TOKENS), amount=st.integers(1, 3_000).map(Quanta))
    def deposit(self, name: str, token: Address, amount: Quanta) -> None:
        self.put(name, token, amount)

    # --- orders -----------------------------------------------------------------------------------------

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
        assert isinstance(answer, ListedOrder), answer
        base, quote = (wallet._free[t] for t in TOKENS)
        self.stale[name] = (base, quote)
        wallet.accepted(order, draft)
        venue.orders[answer.hash], venue.sent[answer.hash] = order, sealed
        self.accepted.append(answer)

    @rule(batch=st.lists(st.tuples(names, orders), min_size=2, max_size=4), clears=st.booleans())
    def flurry(self, batch: list[tuple[str, Order]], clears: bool) -> None:
        """A usual round: some orders, sealed and perhaps cleared."""
        if self.state is not RoundState.OPEN and not self.is_sealed:
            self.open(2)
        for name, order in batch:
            self.submit(name, order, one_round=False)
        if self.state is RoundState.OPEN:
            self.seal()
        if clears and self.is_sealed:
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
        witness = replace(draft.witness, quantity=0, base=base.opening, quote=quote.opening)
        old = replace(old, witness=witness)
        answer = self.venue.answer(sealed_by(old, self.venue.terms, key_of(name)).raw)
        assert isinstance(answer, OrderRefused)
        assert answer.message.startswith("account" if name in self.halted else "collateral")

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.accepted))
        assert isinstance(self.venue.answer(self.venue.sent[order.hash].raw), OrderRefused)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.accepted))
        sealed = self.venue.book.sealed
        stands = order in self.venue.book.standing and not (sealed and order in sealed.orders)
        if stands:
            assert self.venue.cancel(order) == order
        else:
            with pytest.raises(OrderRefused):
                self.venue.cancel(order)

    # --- rounds -----------------------------------------------------------------------------------------

    @property
    def state(self) -> RoundState:
        return self.venue.book.current_round.state

    @property
    def is_sealed(self) -> bool:
        return self.venue.book.sealed is not None

    @rule(seconds=st.integers(1, 400))
    def wait(self, seconds: int) -> None:
        self.venue.now += seconds

    @precondition(lambda self: self.state is RoundState.OPEN)
    @rule()
    def seal(self) -> None:
        venue, standing = self.venue, self.venue.book.standing
        if not standing or self.expired or len(self.owed) == MAX_UNSETTLED:
            with pytest.raises(OrderRefused):
                venue.seal()
            assert not self.is_sealed
            return
        assert venue.seal().orders == standing

    @precondition(lambda self: self.is_sealed)
    @rule()
    def clear(self) -> None:
        venue, sealed = self.venue, self.venue.sealed_list
        leaving = {venue.wallets[name].address for name in self.halted}
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
                if net
            ]
        gone = set(result.nets) | leaving
        late = [o for o in rolled if o not in sealed.orders]
        kept = [o for o in rolled if o.account not in gone or (o in late and o.account in result.nets)]
        assert list(venue.book.standing) == kept
        for account in leaving & set(result.nets) - venue.state.ledger.halted.keys():
            # It traded as much each way and starts anew at once; its wallet was told in the other order.
            wallet, name = venue.wallets[venue.name_of(account)], venue.name_of(account)
            for token in TOKENS:
                opening = Opening(self.chain[name, token], 0)
                wallet._free[token] = Collateral(opening, wallet._free[token].version)
        self.resume()

    @precondition(lambda self: self.is_sealed)
    @rule()
    def abort(self) -> None:
        sealed = self.venue.sealed_list
        later = [o for o in self.venue.book.standing if o not in sealed.orders]
        self.venue.abort()
        assert list(self.venue.book.standing) == later
        self.resume()

    @precondition(lambda self: self.state is not RoundState.OPEN and not self.is_sealed)
    @rule(reference=st.integers(0, 3))
    def open(self, reference: int) -> None:
        self.venue.open(self.venue.book.current_round.id + 1, reference)

    @property
    def expired(self) -> bool:
        pending = self.venue.state.pending
        return bool(pending) and self.venue.state.chain_time > pending[0].ends

    @precondition(lambda self: self.venue.state.unsettled)
    @rule(data=st.data())
    def window(self, data: st.DataObject) -> None:
        """Some of the oldest rounds without a settlement get one, which nets what they owe."""
        waiting = list(self.venue.state.unsettled)
        count = data.draw(st.integers(1, len(waiting)))
        if self.expired:
            with pytest.raises(OrderRefused, match="has expired"):
                self.venue.window(count)
            return
        pending, owed = self.venue.window(count), Counter[tuple[bytes, Address]]()
        assert list(pending.rounds) == waiting[:count]
        for name, token, amount in (row for c in pending.rounds for row in self.owed[c.round]):
            owed[self.venue.wallets[name].address, token] += amount
        deltas = {(d.account, self.venue.terms.tokens[d.token]): d.amount for d in pending.settlement.deltas}
        assert deltas == {key: amount for key, amount in owed.items() if amount}

    @precondition(lambda self: self.venue.state.pending)
    @rule()
    def land(self) -> None:
        (pending,) = self.venue.settled().settled
        for cleared in pending.rounds:
            for name, token, amount in self.owed.pop(cleared.round):
                self.chain[name, token] += amount
        self.resume()

    @precondition(lambda self: self.owed or self.is_sealed)
    @rule(late=st.booleans())
    def chain_time_passes(self, late: bool) -> None:
        """Up to now, or until nothing pending can land any more."""
        venue = self.venue
        at = max(venue.now, venue.state.chain_time)
        if late:
            at = max([at, *(cleared.ends + 1 for cleared in venue.state.not_final)])
        self.after(venue.chain(at=at))
        venue.now = max(venue.now, at)

    def after(self, effects: Effects) -> None:
        """What a final block's time makes void: a sealed list, all settlements together, rounds in none."""
        state = self.venue.state
        together = {cleared.round for pending in effects.void for cleared in pending.rounds}
        assert together <= {cleared.round for cleared in effects.busted}
        assert all(pending.ends < state.chain_time for pending in effects.void)
        for cleared in effects.busted:
            assert cleared.round in together or cleared.ends < state.chain_time
            del self.owed[cleared.round]
        assert [cleared.round for cleared in state.not_final] == list(self.owed)
        if self.venue.book.sealed is not None:
            assert state.chain_time <= self.venue.sealed_list.sealed_at + self.venue.terms.settle_window
        if state.pending:
            assert state.chain_time <= max(p.ends for p in state.pending)
        if state.unsettled:
            assert state.chain_time <= state.unsettled[0].ends
        self.resume()

    @precondition(lambda self: not self.is_sealed)
    @rule()
    def restart(self) -> None:
        """From a snapshot, with which everything goes on."""
        venue, terms = self.venue, self.venue.terms
        data = snapshot.encode(venue.state, Frontier())
        state, tree = snapshot.decode(
            data, terms.key, signers(), lambda sequence: Message.decode(venue.entries[sequence]).blobs[0]
        )
        assert snapshot.encode(state, tree) == data
        assert portrait(state) == portrait(venue.state)
        venue.state = state

    # --- leaving ----------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.halted) < len(NAMES) - 1)
    @rule(name=names, request=requests)
    def halt(self, name: str, request: tuple[str, int]) -> None:
        kind, number = request
        event = "withdrawal_requested" if kind == "withdraw" else "cancel_requested"
        effects = self.venue.chain(self.venue.event(event, name, number))
        self.halted.setdefault(name, set()).add(request)
        sealed = self.venue.book.sealed
        mine = [o for o in self.venue.book.standing if o.account == self.venue.wallets[name].address]
        assert all(sealed and o in sealed.orders for o in mine)
        self.after(effects)

    @precondition(lambda self: any(self.halted.values()))
    @rule(data=st.data(), share=st.integers(0, 4))
    def answer_request(self, data: st.DataObject, share: int) -> None:
        """On chain: a withdrawal of some of what is neither locked nor owed, or nonces that are burnt."""
        open_ = sorted((name, *r) for name, mine in self.halted.items() for r in mine)
        name, kind, number = data.draw(st.sampled_from(open_))
        venue = self.venue
        if kind == "withdraw":
            token = venue.terms.tokens[number]
            paid = (venue.wallets[name].free(token) - self.paid[name, token]) * share // 4
            self.chain[name, token] -= paid
            self.supply[token] -= paid
            self.paid[name, token] += paid
            event = venue.event("withdrawn", name, number, paid)
        else:
            event = venue.event("cancelled", name, number, 1 << share)
        self.halted[name].discard((kind, number))
        self.after(venue.chain(event))


def run(examples: int, steps: int, *, shrink: bool) -> None:
    """Shrinking a failure seals thousands of orders, so only the long test does it."""
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    phases = [Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if shrink else [])]
    size = settings(max_examples=examples, stateful_step_count=steps, deadline=None, phases=phases)
    run_state_machine_as_test(BookMachine, settings=settings(size, suppress_health_check=checks))


def test_book_traders_and_chain_agree_in_any_order_of_events() -> None:
    run(examples=10, steps=30, shrink=False)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_book_traders_and_chain_agree_at_length() -> None:
    run(examples=200, steps=50, shrink=True)

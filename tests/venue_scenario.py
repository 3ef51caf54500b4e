"""A log of everything that can be in one, in an order that a seed decides."""

from __future__ import annotations

from random import Random

from darkpool.chain_events import ChainEvent
from darkpool.listing import ListedOrder
from darkpool.market import RoundState
from darkpool.types import Address, Quanta
from tests.venue_log import Venue, open_market
from tests.venue_support import BASE, NAMES, QUOTE, buy, sell

STEPS = (
    *("order",) * 8, "cancel", "cancel_all", "replace", "wait", "deposit", "seal", "seal", "end", "end",
    "end", "open", "window", "window", "land", "expire", "request", "answer", "answer", "stranger",
)  # fmt: skip


class Scenario:
    """A venue and what its seed made it do."""

    def __init__(self, seed: int, steps: int) -> None:
        self._rng, self.venue = Random(seed), Venue(rich=Quanta(10**6))
        self._asked: list[tuple[str, int, str]] = []
        open_market(self.venue)
        for _ in range(steps):
            getattr(self, self._rng.choice(STEPS))()

    def order(self) -> None:
        name, venue = self._rng.choice(NAMES), self.venue
        if venue.wallets[name].address not in venue.state.ledger.halted:
            make = self._rng.choice((buy, sell))
            venue.place(name, make(self._rng.randrange(4), self._rng.randrange(9)))

    def cancel(self) -> None:
        if orders := self._unsealed():
            self.venue.cancel(self._rng.choice(orders))

    def cancel_all(self) -> None:
        if orders := self._unsealed():
            order = self._rng.choice(orders)
            self.venue.cancel_all(self.venue.name_of(order.account), order.nonce + 1)

    def replace(self) -> None:
        if orders := self._unsealed():
            self.venue.replace(self._rng.choice(orders), buy(self._rng.randrange(4), 2))

    def _unsealed(self) -> list[ListedOrder]:
        book = self.venue.book
        sealed = book.sealed.orders if book.sealed else ()
        return [o for o in book.standing if o not in sealed and o.account not in book.ledger.halted]

    def wait(self) -> None:
        self.venue.now += self._rng.randrange(200)

    def deposit(self) -> None:
        self.venue.deposit(self._rng.choice(NAMES), self._rng.choice((BASE, QUOTE)), 1_000)

    def seal(self) -> None:
        venue = self.venue
        if venue.book.current_round.state is RoundState.OPEN and venue.book.standing and not self._late():
            venue.seal()

    def _late(self) -> bool:
        state = self.venue.state
        return bool(state.pending) and state.chain_time > state.pending[0].ends

    def end(self) -> None:
        venue = self.venue
        if venue.book.sealed is not None:
            if self._rng.randrange(4):
                venue.finish(venue.sealed_list)
            else:
                venue.abort()
            venue.open(venue.book.current_round.id + 1, self._rng.randrange(4))

    def open(self) -> None:
        if self.venue.book.sealed is None:
            self.venue.open(self.venue.book.current_round.id + 1, self._rng.randrange(4))

    def window(self) -> None:
        waiting = len(self.venue.state.unsettled)
        if waiting and not self._late():
            self.venue.window(self._rng.randrange(waiting) + 1)

    def land(self) -> None:
        if self.venue.state.pending:
            self.venue.chain(self.venue.landed(), at=self.venue.state.chain_time + 1)

    def expire(self) -> None:
        if self.venue.state.not_final and not self._rng.randrange(3):
            ends = self._rng.choice(self.venue.state.not_final).ends
            self.venue.chain(at=max(ends + self._rng.randrange(2), self.venue.state.chain_time))

    def request(self) -> None:
        name, kind = self._rng.choice(NAMES), self._rng.choice(("withdraw", "cancel"))
        if len(self._asked) < 2:
            number = (
                self._rng.randrange(1, 3) if kind == "withdraw" else (1 << 96) - self._rng.randrange(1, 3)
            )
            self._asked.append((name, number, kind))
            full = "withdrawal_requested" if kind == "withdraw" else "cancel_requested"
            self.venue.chain(self.venue.event(full, name, number, 50))

    def answer(self) -> None:
        if self._asked:
            name, number, kind = self._asked.pop(0)
            done = "withdrawn" if kind == "withdraw" else "cancelled"
            self.venue.chain(self.venue.event(done, name, number, 50))

    def stranger(self) -> None:
        account = Address(self.venue.wallets["ada"].address[::-1])
        events = [ChainEvent("cancel_requested", account, 3), ChainEvent("cancelled", account, 3, mask=5)]
        self.venue.chain(*events[: self._rng.randrange(1, 3)])

"""The part of the venue's state that final chain events move: balances, requests to leave, settlements.

Debits of a round count from its result on, credits from when its settlement is final.
"""

from __future__ import annotations

from darkpool import eip712
from darkpool.account import Ledger
from darkpool.book import Book
from darkpool.chain_events import ChainEvent, read_events
from darkpool.effects import Change, Effects
from darkpool.errors import OrderRefused
from darkpool.message import Message
from darkpool.types import Address
from darkpool.windows import Cleared, Pending


class ChainState:
    """Ledger, books, what is not settled, and how far the chain was taken in."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.books: dict[bytes, Book] = {}
        self.unsettled: list[Cleared] = []  # with a result and in no settlement yet, oldest first
        self.pending: list[Pending] = []  # settlements that are not final, by id
        self.voided = 0  # rounds whose fills were busted, ever
        self.block = -1  # the latest final block taken in
        self.block_hash = bytes(32)
        self.chain_time = 0
        self.settled_id = 0  # the latest settlement on chain

    @property
    def tokens(self) -> tuple[Address, ...]:
        """The vault's tokens. Empty before the first market."""
        return next(iter(self.books.values())).terms.tokens if self.books else ()

    @property
    def domain(self) -> eip712.Domain:
        """Of the vault that all markets share."""
        return next(iter(self.books.values())).terms.domain

    @property
    def sealed(self) -> Book | None:
        """The book whose round is sealed and not over: one at a time, as members clear one at a time."""
        return next((book for book in self.books.values() if book.sealed is not None), None)

    @property
    def next_settlement(self) -> int:
        """The id of the next window's settlement."""
        return self.settled_id + len(self.pending) + 1

    @property
    def not_final(self) -> list[Cleared]:
        """Every round with a result whose fills are not settled yet, oldest first."""
        return [cleared for pending in self.pending for cleared in pending.rounds] + self.unsettled

    def lapses(self, at: int) -> bool:
        """Whether something ends for good once the final chain's clock shows `at`."""
        ends = [cleared.ends for cleared in self.unsettled[:1]]
        if self.pending:
            ends.append(max(pending.ends for pending in self.pending))
        book = self.sealed
        if book is not None and book.sealed is not None:
            ends.append(book.sealed.sealed_at + book.terms.settle_window)
        return any(at > end for end in ends)

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
            effects.halted = list(dict.fromkeys(effects.halted))
            for account in effects.halted:
                for book in self.books.values():
                    effects.ended += book.drop(account, "a request of the account on chain")
            self._expire(effects)
            self._resume(effects)
            return effects

        return change

    def _take(self, event: ChainEvent, effects: Effects) -> None:
        account, ledger = event.account, self.ledger
        if event.kind == "settled":
            pending = self.pending.pop(0)
            self.settled_id = pending.settlement.id
            for cleared in pending.rounds:
                for d in cleared.deltas:
                    ledger.move(d.account, self.tokens[d.token], d.amount)
                    if d.amount > 0:
                        ledger.credit(d.account, self.tokens[d.token], d.amount)
            effects.settled.append(pending)
        elif event.kind == "deposit":
            ledger.deposit(account, self.tokens[event.number], event.quanta)
        elif event.kind in {"withdrawal_requested", "cancel_requested"}:
            # Also of an account without a deposit: it could make one and trade when the request is ripe.
            what = "withdraw" if event.kind == "withdrawal_requested" else "cancel"
            ledger.halted.setdefault(account, set()).add((what, event.number))
            effects.halted.append(account)
        elif event.kind == "withdrawn":
            ledger.move(account, self.tokens[event.number], -event.quanta)
            ledger.halted.get(account, set()).discard(("withdraw", event.number))
        else:
            ledger.burn(account, event.number, event.mask)
            ledger.halted.get(account, set()).discard(("cancel", event.number))

    def _expire(self, effects: Effects) -> None:
        """Judged by final chain time: what can no longer land is void, or for a sealed list, aborted.

        Ids are sequential, so after one that expired none can land; but its id is given again only when the
        last of them has expired too, or two settlements of one id could meet on chain. A round that no window
        has taken has no id, and nothing of it can land.
        """
        book = self.sealed
        sealed = None if book is None else book.sealed
        if book is not None and sealed and self.chain_time > sealed.sealed_at + book.terms.settle_window:
            self._aborted(book, "no result within the settle window", effects)
        if self.pending and self.chain_time > max(pending.ends for pending in self.pending):
            effects.void, self.pending = self.pending, []
            effects.busted = [cleared for pending in effects.void for cleared in pending.rounds]
        while self.unsettled and self.chain_time > self.unsettled[0].ends:
            effects.busted.append(self.unsettled.pop(0))
        self.voided += len(effects.busted)
        for cleared in effects.busted:
            for d in cleared.deltas:
                if d.amount < 0:
                    self.ledger.credit(d.account, self.tokens[d.token], -d.amount)

    def _aborted(self, book: Book, reason: str, effects: Effects) -> Effects:
        effects.ended += book.abort(reason)
        effects.rounds.append(book.current_round)
        effects.reason = reason
        self._resume(effects)
        return effects

    def _resume(self, effects: Effects) -> None:
        """Accounts whose requests are all answered and that are idle everywhere start anew from the chain."""
        moving = {d.account for cleared in self.not_final for d in cleared.deltas}
        for account, requests in list(self.ledger.halted.items()):
            if requests or account in moving or any(b.open_orders(account) for b in self.books.values()):
                continue
            self.ledger.restart(account)
            effects.resumed.append(account)

"""A venue in the clear: a log of checked entries, the state they make, and the traders beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from commitments.errors import DecodeError
from commitments.merkle import EMPTY_ROOT
from darkpool import auction
from darkpool.account import FreeCollateral
from darkpool.admission import Tentative, screened, unproven
from darkpool.auction import PlainOrder
from darkpool.book import Book, End, cancel_all_digest, cancel_digest
from darkpool.certificates import abandon_digest
from darkpool.chain_events import ChainEvent, read_events
from darkpool.draft import Draft, Standing
from darkpool.effects import Change, Effects
from darkpool.eip712 import sign_digest
from darkpool.errors import ConfigError, OrderRefused
from darkpool.listing import ListedOrder, RoundResult, SealedList
from darkpool.log import listed
from darkpool.message import Message, terms_message
from darkpool.order import Order, SealedOrder, Terms, TimeInForce
from darkpool.results import result_fields
from darkpool.state import VenueState
from darkpool.types import Address, Lots, Nonce, Quanta, Tick
from darkpool.wallet import Fill, Wallet
from darkpool.windows import Pending
from tests.venue_support import (
    BASE,
    NAMES,
    NOW,
    QUOTE,
    RICH,
    boxes_for,
    buy,
    finish,
    key_of,
    result_of,
    sell,
    signatures_of,
    signers,
    some_terms,
)

NO_AUDIT = {"audit_size": 0, "audit_root": EMPTY_ROOT.hex()}


@dataclass
class Venue:
    """A log with its traders, its market open and round 1 too. Clearing is in the clear: `orders` knows them.

    Every entry goes through its canonical bytes, and wallets are told what it did.
    """

    terms: Terms = field(default_factory=some_terms)
    names: Sequence[str] = NAMES
    rich: Quanta = RICH
    now: int = NOW
    state: VenueState = field(init=False)
    entries: list[bytes] = field(init=False, default_factory=list)
    wallets: dict[str, Wallet] = field(init=False)
    orders: dict[bytes, Order] = field(init=False, default_factory=dict)
    sent: dict[bytes, SealedOrder] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.state = VenueState(self.terms.key, signers())
        self.wallets = {n: Wallet(self.terms, signers(), key_of(n), key_of(n)[::-1]) for n in self.names}
        self.append("market", terms_message(self.terms, self.now).fields)
        if self.rich:
            self.chain(*(self.deposit_of(n, t, self.rich) for n in self.names for t in (BASE, QUOTE)))
        self.open(1)

    @property
    def book(self) -> Book:
        return self.state.books[self.terms.market.id]

    @property
    def sealed_list(self) -> SealedList:
        assert self.book.sealed is not None
        return self.book.sealed

    def name_of(self, account: Address) -> str:
        return next(n for n, w in self.wallets.items() if w.address == account)

    def free(self, name: str, token: Address) -> FreeCollateral:
        return self.state.ledger.of(self.wallets[name].address, token)

    # --- entries ------------------------------------------------------------------------------------

    def entry(self, op: str, fields: Mapping[str, Any] | None = None, blobs: Sequence[bytes] = ()) -> Message:
        """The entry as everybody reads it."""
        return Message.decode(Message(op, {"time": self.now, **(fields or {})}, blobs).encode())

    def append(
        self, op: str, fields: Mapping[str, Any] | None = None, blobs: Sequence[bytes] = ()
    ) -> Effects:
        """Raises OrderRefused or DecodeError, and then nothing changed."""
        return self.take(self.entry(op, fields, blobs))

    def take(self, entry: Message) -> Effects:
        change = self.state.checked(entry, listed(entry, self.terms.key))
        return self.change(entry, change)

    def change(self, entry: Message, change: Change) -> Effects:
        effects = change(len(self.entries))
        self.entries.append(entry.encode())
        self._tell_of_chain(entry)
        self._tell_of_orders(effects)
        for account in effects.resumed:
            for (owner, token), balance in self.state.ledger.balances.items():
                if owner == account and token in (BASE, QUOTE):
                    self.wallets[self.name_of(account)].restarted(token, Quanta(balance))
        return effects

    def _tell_of_chain(self, entry: Message) -> None:
        for event in read_events(entry, len(self.terms.tokens)) if entry.op == "chain" else ():
            if event.kind == "deposit":
                token = self.terms.tokens[event.number]
                self.wallets[self.name_of(event.account)].deposited(token, event.quanta)

    def _tell_of_orders(self, effects: Effects) -> None:
        for gone in effects.ended:
            wallet, nonce = self.wallets[self.name_of(gone.order.account)], gone.order.nonce
            if gone.end is not End.CONSUMED and nonce in {live.nonce for live in wallet.live}:
                wallet.released([nonce])
        for wallet in self.wallets.values():
            for cleared in (cleared for pending in effects.settled for cleared in pending.rounds):
                wallet.settled(cleared.round)
            for cleared in effects.busted:
                wallet.void(cleared.round)

    def chain(self, *events: ChainEvent, at: int | None = None) -> Effects:
        """A final block with those events, at `at` by the chain's clock."""
        block = self.state.block + 1
        fields = {
            "block": block,
            "at": self.state.chain_time if at is None else at,
            "hash": block.to_bytes(32).hex(),
            "events": [e.row() for e in events],
        }
        return self.append("chain", fields)

    def deposit_of(self, name: str, token: Address, amount: int) -> ChainEvent:
        index = self.terms.tokens.index(token)
        return ChainEvent("deposit", self.wallets[name].address, index, Quanta(amount))

    def deposit(self, name: str, token: Address, amount: int) -> None:
        self.chain(self.deposit_of(name, token, amount))

    def event(self, kind: str, name: str, number: int = 1, amount: int = 1) -> ChainEvent:
        """A request of a trader or its answer; `amount` is quanta or a mask of nonces."""
        account = self.wallets[name].address
        if "cancel" in kind:
            return ChainEvent(kind, account, number, mask=amount)
        return ChainEvent(kind, account, number, Quanta(amount))

    def open(self, number: int, reference: int = 2) -> Effects:
        fields = {"market": self.terms.market.id.hex(), "round": number, "reference": reference}
        return self.append("open", {**fields, "source": "given"})

    # --- orders -------------------------------------------------------------------------------------

    def draft(
        self,
        name: str,
        order: Order,
        time_in_force: TimeInForce = TimeInForce.GOOD_TILL_CANCELLED,
        valid_until: int = 0,
    ) -> Draft:
        standing = Standing(self.book.current_round.id, self.now, time_in_force, valid_until)
        return self.wallets[name].draft(order, standing)

    def sealed(self, name: str, draft: Draft) -> SealedOrder:
        return finish(draft, self.terms, key_of(name))

    def answer(self, raw: bytes, now: int | None = None) -> ListedOrder | OrderRefused:
        self.now = self.now if now is None else now
        (answer,) = self.admit([raw])
        return answer

    def admit(self, raws: Sequence[bytes]) -> list[ListedOrder | OrderRefused]:
        """A batch on the operator's way: screened, proven, checked as one, then written."""
        answers: dict[int, ListedOrder | OrderRefused] = {}
        for place, raw in enumerate(raws):
            try:
                screened(self.state.markets, raw, self.now)
            except OrderRefused as refusal:
                answers[place] = refusal
        left = [place for place in range(len(raws)) if place not in answers]
        refused = unproven(self.terms.key, [raws[place] for place in left])
        answers |= {left[index]: refusal for index, refusal in refused.items()}
        tentative, changes = Tentative(self.state.ledger), {}
        for place in (p for p in left if p not in answers):
            entry = self.entry("order", {}, [raws[place]])
            try:
                changes[place] = self.state.checked(entry, listed(entry, self.terms.key), tentative), entry
            except OrderRefused as refusal:
                answers[place] = refusal
        for place, (change, entry) in changes.items():
            (answers[place],) = self.change(entry, change).accepted
        return [answers[place] for place in range(len(raws))]

    def place(self, name: str, order: Order, **standing: Any) -> ListedOrder:  # noqa: ANN401
        """An honest order that must be accepted."""
        draft = self.draft(name, order, **standing)
        sealed = self.sealed(name, draft)
        answer = self.answer(sealed.raw)
        assert isinstance(answer, ListedOrder), answer
        self.wallets[name].accepted(order, draft)
        self.orders[answer.hash], self.sent[answer.hash] = order, sealed
        return answer

    def wish(self, digest: bytes, name: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
        """The fields of a wish the trader signed."""
        return {
            "market": self.terms.market.id.hex(),
            "account": self.wallets[name].address.hex(),
            "signature": sign_digest(digest, key_of(name)).hex(),
            **fields,
        }

    def cancelling(self, order: ListedOrder) -> dict[str, Any]:
        digest = cancel_digest(self.terms, order.account, order.nonce)
        return self.wish(digest, self.name_of(order.account), nonce=order.nonce)

    def cancel(self, order: ListedOrder) -> ListedOrder:
        (gone,) = self.append("cancel", self.cancelling(order)).ended
        assert gone.end is End.CANCELLED
        return gone.order

    def cancel_all(self, name: str, below: int) -> list[ListedOrder]:
        digest = cancel_all_digest(self.terms, self.wallets[name].address, Nonce(below))
        return [e.order for e in self.append("cancel_all", self.wish(digest, name, below=below)).ended]

    def replace(self, old: ListedOrder, order: Order) -> ListedOrder:
        """Another order in the place of a standing one, proven against the F with its lock returned."""
        name = self.name_of(old.account)
        wallet = self.wallets[name]
        wallet.released([old.nonce])
        draft = self.draft(name, order)
        sealed = self.sealed(name, draft)
        effects = self.append("replace", self.cancelling(old), [sealed.raw])
        wallet.accepted(order, draft)
        (listed_,) = effects.accepted
        self.orders[listed_.hash], self.sent[listed_.hash] = order, sealed
        return listed_

    # --- the end of a round -------------------------------------------------------------------------

    def seal(self, now: int | None = None) -> SealedList:
        self.now = self.now if now is None else now
        fields = {"market": self.terms.market.id.hex(), "round": self.book.current_round.id, "epoch": 1}
        self.append("seal", {**fields, **NO_AUDIT})
        return self.sealed_list

    def outcome(self, sealed: SealedList) -> auction.Outcome | None:
        """The plain auction over the list."""
        market = self.terms.market
        meant = [(o.account.hex(), self.orders[o.hash]) for o in sealed.orders]
        plain = [PlainOrder(account, o.side, o.level, o.quantity) for account, o in meant]
        return auction.clear(
            plain, market.grid.levels, sealed.reference, market.pressure_ticks, market.min_volume
        )

    def about(self) -> dict[str, Any]:
        """The fields that name the sealed round."""
        return {"market": self.terms.market.id.hex(), "round": self.sealed_list.round}

    def result_entry(self, result: RoundResult, signed_by: Sequence[int] = (1, 2, 3)) -> Message:
        """The result with those members' signatures."""
        signatures = signatures_of(self.state.result_digest(self.book, result), signed_by)
        return self.entry(
            "result", {**self.about(), **result_fields(result), "signatures": len(signatures)}, signatures
        )

    def finish(self, sealed: SealedList) -> tuple[RoundResult, dict[str, list[Fill]]]:
        """The round's end in book and wallets, by the plain auction; what each trader believes it got."""
        outcome = self.outcome(sealed)
        result = result_of(outcome)
        self.take(self.result_entry(result))
        fills: dict[str, list[Fill]] = {}
        digest = sealed.digest(self.terms.domain)
        for account in result.nets:
            name, wallet = self.name_of(account), self.wallets[self.name_of(account)]
            assert outcome is not None
            bought, sold = (side.get(account.hex(), 0) for side in (outcome.bought, outcome.sold))
            boxes = boxes_for(wallet, digest, bought, sold)
            nonces = {o.nonce for o in sealed.orders if o.account == account}
            fills[name] = wallet.cleared(sealed.round, digest, result, boxes, nonces)
        return result, fills

    def abort_entry(self, signed_by: Sequence[int] = (1, 2), reason: str = "a test") -> Message:
        digest = abandon_digest(self.terms.domain, self.sealed_list.digest(self.terms.domain))
        return self.entry("abort", {**self.about(), "reason": reason}, signatures_of(digest, signed_by))

    def abort(self) -> Effects:
        return self.take(self.abort_entry())

    def window(self, rounds: int | None = None) -> Pending:
        """The oldest unsettled rounds, or all, are netted into a settlement."""
        count = len(self.state.unsettled) if rounds is None else rounds
        fields = {"id": self.state.next_settlement, "epoch": 1, "rounds": count}
        pending = self.append("window", fields).window
        assert pending is not None
        return pending

    def landed(self) -> ChainEvent:
        """The oldest pending settlement, as the chain tells of it; a window makes one if there is none."""
        if not self.state.pending:
            self.window()
        s = self.state.pending[0].settlement
        return ChainEvent("settled", number=s.id, root=s.root, transcript=s.transcript)

    def settled(self, *, final: bool = True) -> Effects:
        """The oldest pending settlement lands; or none does, and all that is not settled is void."""
        if final:
            return self.chain(self.landed())
        return self.chain(at=max(cleared.ends for cleared in self.state.not_final) + 1)

    # --- what holds ---------------------------------------------------------------------------------

    def check(self) -> None:
        """The key invariant: every wallet's openings open the ledger's commitments, with its versions."""
        for name, wallet in self.wallets.items():
            for token in (BASE, QUOTE):
                free, mine = self.free(name, token), wallet._free[token]
                assert mine.opening.commitment() == free.current, f"{name}: F differs"
                assert mine.version == free.version, f"{name}: version differs"
                assert mine.opening.value >= 0, f"{name}: F is negative"

    def folded(self) -> VenueState:
        """What anybody makes of the log."""
        state = VenueState(self.terms.key, signers())
        for sequence, data in enumerate(self.entries):
            entry = Message.decode(data)
            state.checked(entry, listed(entry, self.terms.key))(sequence)
        return state


def portrait(state: VenueState) -> dict[str, object]:
    """All of a state, to compare."""
    ledger = state.ledger
    return {
        "numbers": (state.time, state.block, state.block_hash, state.chain_time, state.settled_id),
        "free": ledger.free,
        "balances": ledger.balances,
        "nonces": ledger.nonces,
        "burnt": ledger.burnt,
        "halted": ledger.halted,
        "settling": (state.unsettled, state.pending, state.voided),
        "committees": (state.tenures, state.last_seal),
        "books": {
            m: (b.terms, b.terms_at, b.round, b.sealed, b.standing, b._open, b._words)
            for m, b in state.books.items()
        },
    }


def refused(venue: Venue, call: Callable[[], object]) -> str:
    """The refusal's message; the state is as it was."""
    before, size = portrait(venue.state), len(venue.entries)
    with pytest.raises((OrderRefused, DecodeError, ConfigError)) as caught:
        call()
    assert portrait(venue.state) == before
    assert len(venue.entries) == size
    return str(caught.value)


def open_market(venue: Venue, number: int = 0x55) -> Terms:
    """Another market of the same vault, with round 1 open."""
    terms = replace(venue.terms, market=replace(venue.terms.market, id=bytes([number]) * 32))
    venue.append("market", terms_message(terms, venue.now).fields)
    fields = {"market": terms.market.id.hex(), "round": 1, "reference": 2, "source": "given"}
    venue.append("open", fields)
    return terms


def crossed(venue: Venue) -> None:
    """A round of ada and ben that crosses, and its end; the next one is open."""
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    venue.finish(venue.seal())
    venue.open(venue.book.current_round.id + 1)


def crossing() -> Venue:
    """A sealed round of ada and ben that crosses."""
    venue = Venue(names=("ada", "ben"))
    venue.place("ada", buy(3, 1))
    venue.place("ben", sell(0, 1))
    venue.seal()
    return venue


def crossing_result(venue: Venue) -> RoundResult:
    """What that round comes to."""
    nets = {venue.wallets["ada"].address: 1, venue.wallets["ben"].address: -1}
    return RoundResult(True, Tick(2), Lots(1), dict(sorted(nets.items())))

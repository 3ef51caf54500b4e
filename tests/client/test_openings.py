"""Openings derived from public data open the ledger's F, after whatever has happened."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commitments.encoding import Reader
from commitments.order_statement import Statement
from darkpool import auction
from darkpool.auction import PlainOrder
from darkpool.book import Book, cancel_all_digest, cancel_digest
from darkpool.certificates import abandon_digest
from darkpool.chain_events import ChainEvent
from darkpool.client.account_state import openings
from darkpool.client.answers import Collateral, TokenCollateral
from darkpool.client.own_order import OwnOrder, open_order
from darkpool.draft import Standing, draft
from darkpool.eip712 import address_of, sign_digest
from darkpool.errors import PeerFault
from darkpool.listing import NO_CROSS, ListedOrder, RoundResult
from darkpool.market import RoundState, Side
from darkpool.message import Message, terms_message
from darkpool.order import Order, TimeInForce
from darkpool.results import result_fields
from darkpool.state import VenueState
from darkpool.types import Address, Lots, Nonce, PrivateKey, Quanta, Tick
from darkpool.venue_views import collateral_of
from tests.client.plain_venue import seats, signers
from tests.venue_log import NO_AUDIT
from tests.venue_support import BASE, QUOTE, key_of, some_terms

NAMES = ("ada", "ben")
START = Quanta(100_000)


@dataclass
class World:
    """A venue's state, and traders that know nothing but their seeds and what it publishes."""

    state: VenueState = field(init=False)
    raws: dict[bytes, bytes] = field(default_factory=dict)
    sequence: int = 0
    block: int = 0
    now: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.terms = replace(some_terms(), key=seats()[0].committee.key)
        self.state = VenueState(self.terms.key, signers())
        self.write(terms_message(self.terms, 0))
        self.chain(*(self.deposit(n, t, START) for n in NAMES for t in (1, 2)))
        self.open()

    def key(self, name: str) -> PrivateKey:
        return key_of(name)

    def account(self, name: str) -> Address:
        return address_of(self.key(name))

    def write(self, entry: Message, raw: bytes | None = None) -> None:
        entry = Message(entry.op, {**entry.fields, "time": self.now}, entry.blobs)
        listed = None if raw is None else ListedOrder.read(raw, self.terms.key)
        self.state.checked(entry, listed)(self.sequence)
        self.sequence += 1

    def deposit(self, name: str, token: int, amount: int) -> ChainEvent:
        return ChainEvent("deposit", self.account(name), token, Quanta(amount))

    def chain(self, *events: ChainEvent, at: int | None = None) -> None:
        self.block += 1
        fields = {"block": self.block, "at": at or self.now, "hash": bytes(32).hex()}
        self.write(Message("chain", {**fields, "events": [e.row() for e in events]}))

    @property
    def book(self) -> Book:
        return self.state.books[self.terms.market.id]

    def open(self) -> None:
        number = 1 if self.book.round is None else self.book.round.id + 1
        fields = {"market": self.terms.market.id.hex(), "round": number, "reference": 2, "source": "test"}
        self.write(Message("open", fields))

    # --- what a trader does, from public data alone -------------------------------------------------

    def published(self, name: str) -> Collateral:
        view = collateral_of(self.state, self.account(name))
        rows = tuple(
            TokenCollateral(
                t.token,
                t.commitment,
                t.version,
                Quanta(t.balance),
                Quanta(t.pending_debit),
                Quanta(t.pending_credit),
            )
            for t in view.tokens
        )
        return Collateral(view.known, view.halted, view.reasons, view.lowest_unused, view.used_above, rows)

    def standing(self, name: str) -> list[OwnOrder]:
        account, seed = self.account(name), self.key(name)[::-1]
        mine = [o for o in self.book.standing if o.account == account]
        return [open_order(self.raws[o.hash], self.terms, account, seed) for o in mine]

    def free(self, name: str) -> dict[Address, Any]:
        markets = {self.terms.market.id: self.terms}
        return openings(self.published(name), self.standing(name), markets)

    def place(self, name: str, order: Order, once: bool, replaces: OwnOrder | None = None) -> None:
        free = self.free(name)
        if replaces is not None:
            for token, lock in zip((BASE, QUOTE), replaces.locked, strict=True):
                free[token] = replace(free[token], opening=free[token].opening + lock)
        price = self.terms.market.grid.price(order.level)
        need = {BASE: order.quantity * 7 if order.side is Side.SELL else 0}
        need[QUOTE] = order.quantity * price if order.side is Side.BUY else 0
        if any(need[t] > free[t].opening.value for t in (BASE, QUOTE)):
            return
        kind = TimeInForce.ROUND if once else TimeInForce.GOOD_TILL_CANCELLED
        standing = Standing(self.book.current_round.id, self.now, kind)
        nonce = Nonce(self.published(name).highest_used + 1)
        made = draft(
            self.terms,
            self.account(name),
            self.key(name)[::-1],
            nonce,
            order,
            standing,
            free[BASE],
            free[QUOTE],
        )
        raw = made.finish(self.terms.key, self.terms.chain_id, self.terms.contract, self.key(name)).raw
        self.raws[ListedOrder.read(raw, self.terms.key).hash] = raw
        if replaces is None:
            self.write(Message("order", {}, [raw]), raw)
        else:
            wish = self.wish(name, "nonce", replaces.nonce)
            self.write(Message("replace", wish, [raw]), raw)

    def wish(self, name: str, what: str, number: int) -> dict[str, Any]:
        of = cancel_digest if what == "nonce" else cancel_all_digest
        signature = sign_digest(of(self.terms, self.account(name), Nonce(number)), self.key(name))
        about = {"market": self.terms.market.id.hex(), "account": self.account(name).hex()}
        return {**about, what: number, "signature": signature.hex()}

    # --- what the operator, the committee and the chain do ------------------------------------------

    def seal(self) -> None:
        market = self.terms.market.id.hex()
        about = {"market": market, "round": self.book.current_round.id, "epoch": 1}
        self.write(Message("seal", {**about, **NO_AUDIT}))

    def end(self, *, abort: bool) -> None:
        sealed, book = self.book.sealed, self.book
        assert sealed is not None
        about: dict[str, Any] = {"market": sealed.market.hex(), "round": sealed.round, "roots": {}}
        if abort:
            promise = abandon_digest(self.terms.domain, sealed.digest(self.terms.domain))
            signed = [sign_digest(promise, s.signing_key) for s in seats()]
            self.write(Message("abort", {**about, "reason": "test"}, signed))
            return
        plain = []
        for o in sealed.orders:
            name = next(n for n in NAMES if self.account(n) == o.account)
            own = open_order(self.raws[o.hash], self.terms, o.account, self.key(name)[::-1])
            plain.append(PlainOrder(o.account.hex(), own.order.side, own.order.level, own.order.quantity))
        outcome = auction.clear(plain, 4, sealed.reference, 0, Lots(1))
        result = NO_CROSS
        if outcome is not None:
            nets = {Address(bytes.fromhex(a)): outcome.base_net(a) for a in sorted(outcome.traded)}
            result = RoundResult(True, outcome.price, outcome.volume, nets)
        signed = [sign_digest(self.state.result_digest(book, result), s.signing_key) for s in seats()]
        boxed = {"signatures": len(signed), "boxed": []}
        self.write(Message("result", {**about, **result_fields(result), **boxed}, signed))

    def window(self) -> None:
        fields = {"id": self.state.next_settlement, "epoch": 1, "rounds": len(self.state.unsettled)}
        self.write(Message("window", fields))

    def settle(self) -> None:
        s = self.state.pending[0].settlement
        self.chain(ChainEvent("settled", number=s.id, root=s.root, transcript=s.transcript))

    def void(self) -> None:
        self.now = max(cleared.ends for cleared in self.state.not_final) + 1
        self.chain()

    def check(self) -> None:
        """Every trader opens its F, of the ledger's own version."""
        for name in NAMES:
            for token, mine in self.free(name).items():
                ledger = self.state.ledger.of(self.account(name), token)
                assert mine.opening.commitment() == ledger.current
                assert mine.version == ledger.version
                assert mine.opening.value >= 0


def happen(world: World, data: st.DataObject) -> None:
    """One thing that can happen now."""
    book, name = world.book, data.draw(st.sampled_from(NAMES))
    idle, standing = book.sealed is None, world.standing(name)
    unsealed = [
        o for o in standing if book.sealed is None or o.hash not in {s.hash for s in book.sealed.orders}
    ]
    what = ["order", "order", "order", "deposit"]
    what += ["cancel", "cancel_all", "replace"] if unsealed else []
    what += ["seal"] if idle and book.current_round.state is RoundState.OPEN and book.standing else []
    what += ["open"] if idle else []
    what += ["result", "result", "abort"] if not idle else []
    what += ["window"] if world.state.unsettled else []
    what += ["settle"] if world.state.pending else []
    what += ["void"] if world.state.not_final else []
    chosen = data.draw(st.sampled_from(what))
    side, level = data.draw(st.sampled_from(Side)), Tick(data.draw(st.integers(0, 3)))
    order = Order(side, level, Lots(data.draw(st.integers(0, 30))), "x")
    once = data.draw(st.booleans()) and idle and book.current_round.state is RoundState.OPEN
    match chosen:
        case "order":
            world.place(name, order, once)
        case "replace":
            world.place(name, order, once, data.draw(st.sampled_from(unsealed)))
        case "cancel":
            nonce = data.draw(st.sampled_from(unsealed)).nonce
            world.write(Message("cancel", world.wish(name, "nonce", nonce)))
        case "cancel_all":
            below = data.draw(st.sampled_from(unsealed)).nonce + 1
            world.write(Message("cancel_all", world.wish(name, "below", below)))
        case "deposit":
            world.chain(world.deposit(name, data.draw(st.integers(0, 2)), data.draw(st.integers(1, 10**6))))
        case "result" | "abort":
            world.end(abort=chosen == "abort")
        case _:
            {"seal": world.seal, "open": world.open, "settle": world.settle, "void": world.void}[chosen]()


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_derived_openings_open_the_ledger_after_any_history(data: st.DataObject) -> None:
    world = World()
    for _ in range(data.draw(st.integers(1, 14))):
        happen(world, data)
        world.check()


def a_world() -> tuple[World, list[OwnOrder]]:
    world = World()
    world.place("ada", Order(Side.BUY, Tick(2), Lots(5), "mine#3"), once=False)
    return world, world.standing("ada")


@pytest.mark.parametrize("fault", ["commitment", "balance", "debit", "one order less", "below zero"])
def test_an_account_that_does_not_add_up_is_the_venues_fault(fault: str) -> None:
    world, standing = a_world()
    answer = world.published("ada")
    rows = list(answer.tokens)
    match fault:
        case "commitment":
            rows[2] = replace(rows[2], commitment=rows[1].commitment)
        case "balance":
            rows[2] = replace(rows[2], balance=Quanta(rows[2].balance + 1))
        case "debit":
            rows[2] = replace(rows[2], pending_debit=Quanta(1))
        case "one order less":
            standing = []
        case _:
            rows[2] = replace(rows[2], balance=Quanta(1))
    with pytest.raises(PeerFault, match="commitment is not what"):
        openings(replace(answer, tokens=tuple(rows)), standing, {world.terms.market.id: world.terms})


def test_an_account_that_leaves_is_not_checked() -> None:
    world, _ = a_world()
    world.chain(ChainEvent("withdrawal_requested", world.account("ada"), 1, Quanta(5)))
    answer = world.published("ada")
    assert openings(replace(answer, halted=True), [], {}).keys() == {t.token for t in answer.tokens}


def test_an_order_opens_with_nothing_but_the_seed() -> None:
    world, (own,) = a_world()
    assert (own.order.side, own.order.level, own.order.quantity) == (Side.BUY, 2, 5)
    assert (own.reference, own.root, own.nonce) == ("mine", 3, 0)
    statement = Statement.read(Reader(world.raws[own.hash]))
    assert own.statement == statement
    shown = repr(own)
    assert "mine" not in shown
    assert "quantity" not in shown


@pytest.mark.parametrize("fault", ["seed", "account", "market", "note", "statement", "cut"])
def test_an_order_that_the_seed_did_not_make_does_not_open(fault: str) -> None:
    world, (own,) = a_world()
    raw, account, seed, terms = (
        bytearray(world.raws[own.hash]),
        world.account("ada"),
        world.key("ada")[::-1],
        world.terms,
    )
    match fault:
        case "seed":
            seed = bytes(32)
        case "account":
            account = world.account("ben")
        case "market":
            terms = replace(terms, market=replace(terms.market, id=b"\x09" * 32))
        case "note":
            raw[-70] ^= 1
        case "statement":
            raw[10] ^= 1
        case _:
            del raw[-1:]
    with pytest.raises(PeerFault):
        open_order(bytes(raw), terms, account, seed)

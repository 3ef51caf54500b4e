"""The operator's venue: one log behind an API, rounds that run by themselves, nothing it could read.

`Venue` is what the API and the command line talk to; scheduler.py lets rounds run, intake.py takes orders in.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from commitments import merkle
from commitments.errors import DecodeError, VerificationError
from darkpool import eip712
from darkpool.admission import Tentative, screened
from darkpool.book import Book, cancel_digest
from darkpool.buckets import TokenBuckets
from darkpool.config import Settings
from darkpool.engine import Committed, Draft, Engine, order_draft
from darkpool.errors import Busy, OrderRefused, Unavailable
from darkpool.events import Events
from darkpool.intake import Intake
from darkpool.listing import ListedOrder
from darkpool.market import Grid
from darkpool.message import Message
from darkpool.order import order_hash
from darkpool.projection import Projector, receipt_of
from darkpool.receipt import Receipt
from darkpool.request import register_digest
from darkpool.sealed_view import SealedListView
from darkpool.segments import Segments
from darkpool.settling import Settling
from darkpool.store.records import AccountRow
from darkpool.store.venue_store import VenueStore
from darkpool.succeeding import VaultProposal, change, proposal
from darkpool.tenure import Tenures
from darkpool.tenure_file import Planned
from darkpool.threads import Threads
from darkpool.types import Address, Nonce, PrivateKey
from darkpool.venue_views import (
    CollateralView,
    MarketView,
    Status,
    certified_result_of,
    collateral_of,
    sealed_list_of,
)
from darkpool.workers import chosen

T = TypeVar("T")

SILENCE_SECONDS: Final = 15  # of the chain, after which status says so
HALTED_FILE: Final = "halted"
MAX_INCLUSION: Final = 1 << 20  # entries of a log whose inclusion is proven here, by a tree in memory
_LEAVES: Final = 1 << 14

log = logging.getLogger("darkpool.venue")


class Venue:
    """The parts of a running venue. `operator_key` pays gas and signs receipts."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        engine: Engine,
        threads: Threads,
        store: VenueStore,
        projector: Projector,
        events: Events,
        operator_key: PrivateKey,
    ) -> None:
        self.settings: Final = settings
        self.engine: Final = engine
        self.events: Final = events
        self.markets: dict[bytes, MarketView] = {}
        self.segments: Segments | None = None
        self.operator: Final = eip712.address_of(operator_key)
        self.chain_trouble = self.database_trouble = ""
        self.chain_answered = time.monotonic()
        self._folder, self._threads, self._store, self._projector = folder, threads, store, projector
        self._key = operator_key
        self._tree = merkle.Tree()
        self._rates = TokenBuckets(settings.api.orders_per_second, settings.api.order_burst)
        workers = chosen(settings.workers, engine.state.key, settings.admission.workers)
        self.intake: Final = Intake(lambda: engine.state.key, settings.admission, workers, self._commit)
        self.settling: Final = Settling(engine, settings, self.read)
        halted = folder / HALTED_FILE
        self._paused = halted.read_text("utf-8")[:200] if halted.exists() else ""

    # --- status -------------------------------------------------------------------------------------

    def status(self) -> Status:
        """How it stands, from memory."""
        engine = self.engine
        return Status(
            halted=engine.halted or self._paused,
            database=self.database_trouble or self._projector.behind,
            chain=self.chain_trouble or self._silence,
            committee=engine.committee.away,
            log_size=engine.log.size,
            log_root=engine.log.root,
            unsettled_rounds=len(engine.state.unsettled),
            pending_settlements=len(engine.state.pending),
            settlement=self.settling.problem,
            voided_rounds=engine.state.voided,
            sent=self.settling.first,
        )

    @property
    def _silence(self) -> str:
        seconds = int(time.monotonic() - self.chain_answered)
        return f"no answer for {seconds} s" if seconds > SILENCE_SECONDS else ""

    @property
    def tenures(self) -> Tenures:
        """The committees it has had."""
        return self.engine.state.tenures

    @property
    def books(self) -> list[Book]:
        """Those of the markets it shows."""
        return [self.engine.state.books[market] for market in self.markets]

    @property
    def paused(self) -> str:
        """Why the operator halted it, if so."""
        return self._paused

    async def halt(self, reason: str) -> None:
        """Take no orders and seal no rounds until `resume`, also after a restart."""
        (self._folder / HALTED_FILE).write_text(reason, "utf-8")
        self._paused = reason

    async def resume(self) -> None:
        """Go on after `halt`."""
        (self._folder / HALTED_FILE).unlink(missing_ok=True)
        self._paused = ""

    async def seal_now(self, market: bytes) -> None:
        """Seal the market's round without waiting for its time. Raises OrderRefused if it may not be."""
        state = self.engine.state
        if not self.markets[market].live:
            raise OrderRefused(
                f"market {self.markets[market].terms.market.name}: its segment is gone, it gets no rounds",
                "name another",
                "market-closed",
            )
        state.check_may_seal()
        state.books[market].check_seal(int(time.time()))
        self.markets[market].seal_now.set()

    async def change_terms(self, view: MarketView, grid: Grid) -> None:
        """Draw the market's grid anew: its standing orders are released. Raises OrderRefused while sealed."""
        terms = replace(view.terms, market=replace(view.terms.market, grid=grid))
        await self.engine.add_market(terms)
        self._show()

    async def propose_committee(self, planned: Planned) -> VaultProposal:
        """The next committee, signed for the vault. Raises as `proposal`."""
        return await proposal(self.engine, self._threads, planned)

    async def change_committee(self, planned: Planned) -> Committed:
        """Put the next committee into office; under a new key, standing orders are released.

        Raises as `change`.
        """
        committed = await change(self.engine, planned)
        self._show()
        return committed

    def _show(self) -> None:
        """The markets as the log has them, after it changed their terms."""
        for market, view in self.markets.items():
            book = self.engine.state.books[market]
            view.terms, view.round = book.terms, book.round

    async def catch_up(self) -> None:
        """Read and write what the database was away for. Raises StoreError."""
        await self.engine.resolve()
        self._show()
        await self._threads.store(self._projector.flush)

    def _check_open(self) -> None:
        halted = self.engine.halted or self._paused
        if halted:
            raise Unavailable(f"venue: halted: {halted}", "venue", "watch /v1/ready")

    # --- orders -------------------------------------------------------------------------------------

    async def submit(self, raw: bytes) -> Receipt:
        """Take a sealed order in; its receipt, once it is durable. The same bytes have the same answer.

        Raises OrderRefused, Busy, Unavailable, StoreError.
        """
        return await self._take(raw, None)

    async def replace(self, raw: bytes, nonce: int, signature: bytes) -> Receipt:
        """Put a sealed order in the place of another one of its account, which signed to cancel that.

        Raises as `submit`; then the old order stands.
        """
        return await self._take(raw, (nonce, signature))

    async def _take(self, raw: bytes, replaces: tuple[int, bytes] | None) -> Receipt:
        """1. known?  2. cheap checks  3. rates  4. policy  5. state  6. proof, policy for good, log."""
        digest = order_hash(raw)
        if (known := await self._known(digest)) is not None:  # 1
            return known
        if not self.intake.holds(digest):  # what is inside will be written: no halt may be its answer
            self._check_open()
        state, now = self.engine.state, int(time.time())
        statement = screened(state.markets, raw, now)  # 2
        account = Address(statement.account)
        self._rates.take(account, "account")  # 3
        try:
            order = ListedOrder.read(raw, state.key)
        except DecodeError as error:
            raise OrderRefused(str(error), "build it with the client", "order-malformed") from None
        await self._screen(order, replaced=int(replaces is not None))  # 4
        wish = None
        if replaces is not None:
            nonce, signature = replaces
            wish = {
                "market": statement.market.hex(),
                "account": account.hex(),
                "nonce": nonce,
                "signature": signature.hex(),
            }
        draft = order_draft(raw, order, wish)
        self._check_state(draft, order)  # 5
        return receipt_of(state, await self.intake.submit(draft, order), self._key)  # 6

    async def _screen(self, order: ListedOrder, replaced: int) -> None:
        """Whether the account may place it, as things are now. Raises OrderRefused, StoreError."""
        book = self.engine.state.books[order.statement.market]
        inside = [other for _, other in self.intake.inside(order.account)]
        if not any(other.hash == order.hash for other in inside):
            there = sum(other.statement.market == order.statement.market for other in inside)
            others = book.open_orders(order.account) + there - replaced
            await self.engine.screening.screen(order, book, others)

    def _check_state(self, draft: Draft, order: ListedOrder) -> None:
        """As it will be after what the account has inside already. Raises OrderRefused."""
        state = self.engine.state
        inside = self.intake.inside(order.account)
        if any(other.hash == order.hash for _, other in inside):
            return
        open_orders = sum(book.open_orders(order.account) for book in state.books.values()) + len(inside)
        if open_orders >= self.settings.api.max_open_orders:
            raise OrderRefused(
                f"account: {open_orders} orders stand or wait, {self.settings.api.max_open_orders} may",
                "cancel some first",
                "quota-exceeded",
            )
        tentative = Tentative(state.ledger)
        for earlier, other in [*inside, (draft, order)]:
            entry = Message(earlier.op, {"time": state.time, **earlier.fields}, earlier.blobs)
            try:
                state.checked(entry, other, tentative)
            except OrderRefused:
                if other is order:
                    raise

    async def _known(self, subject: bytes) -> Receipt | None:
        if self.engine.in_doubt or self._projector.behind:  # it may have what it does not show
            await self.catch_up()
            if self._projector.behind:
                raise Unavailable(
                    f"read model: behind: {self._projector.behind}", "database", "send it again"
                )
        row = await self.read(lambda store: store.receipt(subject))
        return None if row is None else Receipt.from_json(json.loads(row.payload))

    async def _commit(self, drafts: Sequence[Draft]) -> list[Committed | OrderRefused]:
        refused = await self.engine.screening.admit(drafts, self.engine.state.books)
        left = [draft for i, draft in enumerate(drafts) if i not in refused]
        answers = iter(await self.engine.commit(left) if left else [])
        return [refused[i] if i in refused else next(answers) for i in range(len(drafts))]

    async def cancel(self, market: bytes, account: Address, nonce: int, signature: bytes) -> Receipt:
        """Take an unsealed order out at its account's signed wish. Raises OrderRefused, Unavailable."""
        view = self.markets.get(market)
        if view is not None:
            known = await self._known(cancel_digest(view.terms, account, Nonce(nonce)))
            if known is not None:
                return known
        fields: dict[str, str | int] = {"nonce": nonce, "signature": signature.hex()}
        return await self._wish("cancel", market, account, fields)

    async def cancel_all(self, market: bytes, account: Address, below: int, signature: bytes) -> Receipt:
        """Take all unsealed orders with nonces below one out. Raises OrderRefused, Unavailable."""
        return await self._wish("cancel_all", market, account, {"below": below, "signature": signature.hex()})

    async def _wish(
        self, op: str, market: bytes, account: Address, fields: Mapping[str, str | int]
    ) -> Receipt:
        # A venue that the operator halted still lets orders go. What came before the wish goes before it.
        await self.intake.decided(account)
        draft = Draft(op, {"market": market.hex(), "account": account.hex(), **fields})
        state = self.engine.state
        state.checked(Message(op, {"time": state.time, **draft.fields}))  # before the account pays for it
        self._rates.take(account, "account")
        done = await self.engine.commit_one(draft)
        return receipt_of(self.engine.state, done, self._key)

    async def take_handed(self) -> None:
        """Orders that traders handed to members: log each, or give the member the reason why not."""
        for index, raws in (await self.engine.committee.handed()).items():
            for raw in raws:
                try:
                    await self.submit(raw)
                except Busy as busy:
                    if busy.code == "queue-full":
                        return  # the venue's own doing; the next pass goes on
                    await self.engine.committee.refuse_handed(index, order_hash(raw), str(busy)[:300])
                except OrderRefused as refusal:
                    await self.engine.committee.refuse_handed(index, order_hash(raw), str(refusal)[:300])

    # --- reads --------------------------------------------------------------------------------------

    async def read(self, read: Callable[[VenueStore], T]) -> T:
        """A read of the database, in its thread. Raises StoreError."""
        return await self._threads.store(read, self._store)

    async def register(self, account: Address, signature: bytes) -> None:
        """An account accepts the venue. Raises OrderRefused for a signature that is not its own."""
        try:
            eip712.check_signer(register_digest(self._domain, self._venue_id, account), signature, account)
        except VerificationError as error:
            raise OrderRefused(
                f"signature: not the account's over this registration: {error.problem}",
                "sign it anew",
                "bad-signature",
            ) from None
        await self.engine.screening.register(account)
        row = AccountRow(account, int(time.time()), signature)
        await self.read(lambda store: store.register(row))

    @property
    def _domain(self) -> eip712.Domain:
        return next(iter(self.markets.values())).terms.domain

    @property
    def _venue_id(self) -> bytes:
        return next(iter(self.markets.values())).terms.venue

    async def collateral(self, account: Address) -> CollateralView:
        """The account's commitments, balances and nonces, from memory."""
        return collateral_of(self.engine.state, account)

    async def raw_order(self, digest: bytes) -> bytes | None:
        """An accepted order's bytes."""

        def read(store: VenueStore) -> bytes | None:
            row = store.order(digest)
            return None if row is None else Message.decode(store.entry(row.sequence)).blobs[0]

        return await self.read(read)

    async def sealed_list(self, market: bytes, number: int) -> SealedListView:
        """A sealed list as the members signed it; without signatures until the round has ended.

        Raises OrderRefused for a round that was not sealed.
        """
        return await self.read(lambda store: sealed_list_of(store, market, number))

    async def certified_result(self, market: bytes, number: int) -> bytes:
        """A round's result as the members signed it. Raises OrderRefused for a round without one."""
        return await self.read(lambda store: certified_result_of(store, market, number))

    async def inclusion(self, sequence: int, size: int) -> tuple[list[bytes], bytes]:
        """The Merkle path of an entry in the log of the first `size`, and that log's root.

        Raises OrderRefused if there is no such entry, or the log is too long to prove it here.
        """
        if not 0 <= sequence < size <= self.engine.log.size or size > MAX_INCLUSION:
            raise OrderRefused(
                f"log: entry {sequence} of {size}; it has {self.engine.log.size}",
                "ask for one that is there",
                "entry-unknown",
            )

        def read(store: VenueStore) -> tuple[list[bytes], bytes]:
            while self._tree.size < size:  # grown when somebody asks, and then kept
                for leaf in store.leaf_hashes(self._tree.size, _LEAVES):
                    self._tree.append_hash(leaf)
            return list(self._tree.inclusion(sequence, size)), self._tree.root(size)

        return await self.read(read)


__all__ = ["CollateralView", "MarketView", "Status", "Venue"]

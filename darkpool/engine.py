"""One round from open to settled, readable top to bottom.

    open -> admit -> seal -> sign -> clear -> certify -> close window -> sign -> submit -> settle

An `Engine` is the operator's: it writes the log, leads the members through a round and follows the chain. It
reads no order and decrypts nothing. Whatever step it dies in, the log and the members' own records say how to
go on (`recover`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from commitments import merkle
from commitments.errors import DecodeError
from darkpool.admission import Tentative
from darkpool.book import Book
from darkpool.chain import Chain
from darkpool.chain_events import MAX_BLOCKS, chain_message, next_block
from darkpool.committee.coordinator import Coordinator
from darkpool.committee.outcome import Certificate, DigestOf
from darkpool.effects import Change, Effects
from darkpool.errors import ChainError, OrderRefused, PeerFault, Unavailable
from darkpool.listing import ListedOrder, SealedList
from darkpool.log import Log, listed
from darkpool.market import Round
from darkpool.message import Message, terms_message
from darkpool.order import Terms
from darkpool.screening import NoScreening, Screening
from darkpool.settlement import digest as settlement_digest
from darkpool.state import MAX_UNSETTLED
from darkpool.store.database import StoreError
from darkpool.submitter import Standing, Submitter
from darkpool.sweep import sweep
from darkpool.threads import Threads
from darkpool.timing import CLOCK_SLACK_SECONDS, handover
from darkpool.types import Signature, Tick
from darkpool.windows import Cleared, Pending, fitting

log = logging.getLogger("darkpool.engine")


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry about to be written; it gets its time when its turn has come."""

    op: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    blobs: Sequence[bytes] = field(default=(), repr=False)
    order: ListedOrder | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """A durable entry: its place in the log, the log's root with it as the last, and what it did."""

    sequence: int
    root: bytes
    entry: Message = field(repr=False)
    effects: Effects = field(repr=False)


Project = Callable[[Sequence[Committed]], bool]
"""Takes committed entries into the read model, in the database's thread; whether it has them all by now.

It raises nothing: what it could not write it makes again from the log.
"""


@dataclass(frozen=True, slots=True)
class Closed:
    """How a round was brought to its end, or as far as it got: then certificate is None, for `reason`.

    With a certificate `reason` says why nothing came out or, of a result, who was left out and why.
    """

    round: Round
    sealed: SealedList
    certificate: Certificate | None = None
    cleared: Cleared | None = None
    effects: Effects = field(default_factory=Effects, repr=False)
    seconds: float = 0.0
    reason: str = ""


class Engine:
    """The operator's writer of the log. It fails closed: see `halted`."""

    def __init__(
        self,
        log_: Log,
        chain: Chain,
        committee: Coordinator,
        submitter: Submitter,
        threads: Threads,
        project: Project,
        max_unsettled: int = MAX_UNSETTLED,
    ) -> None:
        self.log: Final = log_
        self.state: Final = log_.state
        self.chain: Final = chain
        self.committee: Final = committee
        committee.in_office(self.state.tenures.current)
        self.submitter, self._threads, self._project = submitter, threads, project
        self._max_unsettled = max_unsettled
        self._turn = asyncio.Lock()
        self.clearing: Final = asyncio.Lock()
        """Held while a round is brought to its end, or the committee is changed: never both."""
        self._following = asyncio.Lock()
        self._windows = asyncio.Lock()
        self.signatures: dict[bytes, tuple[Signature, ...]] = {}
        """Of pending settlements by digest, as far as they are signed; members give them again when asked."""
        self.audit_head: Callable[[], tuple[int, bytes]] = lambda: (0, merkle.EMPTY_ROOT)
        """Size and root of the audit log, as far as it is durable."""
        self.screening: Screening = NoScreening()
        self.in_doubt = False
        """Whether the last entries were kept, only the database knows: see `resolve`."""
        self._scanned = -1  # blocks looked at that held nothing worth an entry
        self._halted = ""

    # --- the log ------------------------------------------------------------------------------------

    @property
    def halted(self) -> str:
        """Why nothing more may be written, if so: a member holds another log, or the chain is not ours."""
        return self._halted or self.committee.fault

    def halt(self, reason: str) -> None:
        """Write nothing more, until a restart finds the reason gone."""
        log.error("halted: %s", reason)
        self._halted = self._halted or reason

    async def commit(self, drafts: Sequence[Draft]) -> list[Committed | OrderRefused]:
        """Give orders, or one entry of another kind, their place: each refused, or durable and applied.

        Raises Unavailable while halted, StoreError if the database is away; then none of them is in the log.
        """
        # Once begun it must end, whoever asked and went away.
        return await asyncio.shield(asyncio.ensure_future(self._commit(drafts)))

    async def _commit(self, drafts: Sequence[Draft]) -> list[Committed | OrderRefused]:
        async with self._turn:
            if self.halted:
                raise Unavailable(f"venue: halted: {self.halted}", "venue", "ask the operator")
            await self._resolve()
            now = max(int(time.time()), self.state.time)
            answers: list[Committed | OrderRefused | None] = []
            entries: list[Message] = []
            changes: list[Change] = []
            tentative = Tentative(self.state.ledger)
            if len(drafts) > 1 and any(draft.order is None for draft in drafts):
                raise AssertionError("only orders are checked one after the other before they are written")
            for draft in drafts:
                entry = Message(draft.op, {"time": now, **draft.fields}, draft.blobs)
                try:
                    self.screening.check(draft, self.state.books)
                    changes.append(self.state.checked(entry, draft.order, tentative))
                except OrderRefused as refusal:
                    answers.append(refusal)
                except DecodeError as error:
                    answers.append(OrderRefused(str(error), "send what the protocol asks for"))
                else:
                    entries.append(entry)
                    answers.append(None)
            data = [entry.encode() for entry in entries]
            first, roots = self.log.size, self.log.roots(data)
            self.in_doubt = True
            await self._threads.store(self.log.store.append, first, data)
            self.in_doubt = False
            effects = self.log.changed(data, changes)
            done = [
                Committed(first + i, *rest)
                for i, rest in enumerate(zip(roots, entries, effects, strict=True))
            ]
            await self._tell(done)
        committed = iter(done)
        return [next(committed) if answer is None else answer for answer in answers]

    async def _tell(self, done: Sequence[Committed]) -> None:
        """The members and the read model of entries that are in the log."""
        self.committee.extended(self.log.size)
        self.committee.in_office(self.state.tenures.current)
        self.screening.told(done, self.state.chain_time)
        if await self._threads.store(self._project, done):
            try:
                await self._threads.store(self.log.checkpoint)
            except StoreError as error:
                log.warning("no snapshot: %s", error)  # the next one will do

    async def resolve(self) -> None:
        """After an append that failed: take in what the database kept of it. Raises StoreError."""
        async with self._turn:
            await self._resolve()

    async def _resolve(self) -> None:
        while self.in_doubt:
            kept = await self._threads.store(self.log.store.entries, self.log.size, 1)
            self.in_doubt = bool(kept)
            for data in kept:
                entry = Message.decode(data)
                change = self.state.checked(entry, listed(entry, self.state.key))
                sequence, (effects,) = self.log.size, self.log.changed(kept, [change])
                await self._tell([Committed(sequence, self.log.root, entry, effects)])

    async def commit_one(self, draft: Draft) -> Committed:
        """As `commit`, for one entry. Raises OrderRefused too."""
        (answer,) = await self.commit([draft])
        if isinstance(answer, OrderRefused):
            raise answer
        return answer

    # --- the chain ----------------------------------------------------------------------------------

    async def follow_chain(self) -> list[Effects]:
        """Take in what has become final since the last call. Raises ChainError, StoreError, Unavailable."""
        effects = []
        async with self._following:  # or two callers would write the same blocks
            while (entry := await self._threads.chain(self._next_entry)) is not None:
                fields = {name: value for name, value in entry.fields.items() if name != "time"}
                try:
                    effects.append((await self.commit_one(Draft("chain", fields))).effects)
                except OrderRefused as refusal:
                    self.halt(refusal.message)
                    raise Unavailable(refusal.message, "chain", "look at the chain") from None
        return effects

    def _next_entry(self) -> Message | None:
        """Final blocks worth an entry: with events, or late enough for something to expire."""
        state = self.state
        if state.block >= 0 and self.chain.block(state.block).hash != state.block_hash:
            self.halt(f"chain: block {state.block} was final and is another now")
            raise ChainError(
                self.halted, "the chain was reorganised below its finality: restore, or start anew"
            )
        while True:
            seen = max(state.block, self._scanned)
            last = next_block(self.chain, state.block, seen)
            if last is None:
                return None
            entry = chain_message(self.chain, seen, last, 0)
            at, head = entry.integer("at"), next(iter(state.pending), None)
            expiring = state.lapses(at) or (head is not None and state.chain_time <= head.ends < at)
            far = entry.integer("block") - state.block >= MAX_BLOCKS  # members search the same range again
            if entry.fields["events"] or expiring or far or state.block < 0:
                return entry
            self._scanned = entry.integer("block")

    async def handover(self) -> str:
        """Why nothing may be sealed now, if the vault's committee may change before it is settled."""
        latest = max(int(time.time()), self.state.time) + CLOCK_SLACK_SECONDS
        members = self.state.signers.addresses.values()
        return await self._threads.chain(handover, self.chain, latest, members)

    # --- a round ------------------------------------------------------------------------------------

    async def add_market(self, terms: Terms) -> Committed:
        """A market, or new terms for one: its standing orders are released."""
        fields = {k: v for k, v in terms_message(terms, 0).fields.items() if k != "time"}
        return await self.commit_one(Draft("market", fields))

    async def open(self, market: bytes, reference: Tick, source: str = "given") -> Round:
        """1. Open the next round around a reference level, which is fixed from here on."""
        book = self.state.books[market]
        number = 1 if book.round is None else book.round.id + 1
        fields = {"market": market.hex(), "round": number, "reference": reference, "source": source}
        await self.commit_one(Draft("open", fields))
        return book.current_round

    async def admit(self, orders: Sequence[bytes]) -> list[Committed | OrderRefused]:
        """2. Write proven orders into the log, in arrival order; one answer each."""
        return await self.commit([order_draft(raw, ListedOrder.read(raw, self.state.key)) for raw in orders])

    async def close(self, market: bytes) -> Closed:
        """3. Seal the open round and bring it to its end.

        Raises OrderRefused if it may not be sealed now, and ChainError, PeerFault or Unavailable if something
        it will need is away: then it stays open. Once sealed, nothing is raised but StoreError.
        """
        async with self.clearing:
            await self.follow_chain()
            self.state.check_may_seal(self._max_unsettled)
            book = self.state.books[market]
            await sweep(self, book, sealing=True)
            book.check_seal(int(time.time()))
            # All that others must do is asked before anything is sealed.
            if trouble := await self.handover():
                raise Unavailable(trouble, "chain")
            epoch = await self._threads.chain(self.chain.epoch)
            await self.committee.ready(self.log.size, epoch)
            size, root = self.audit_head()
            fields = {"market": market.hex(), "round": book.current_round.id, "epoch": epoch}
            fields |= {"audit_size": size, "audit_root": root.hex()}
            committed = await self.commit_one(Draft("seal", fields))
            return await self._clear(book, committed.sequence)

    async def _clear(self, book: Book, sequence: int) -> Closed:
        sealed = _sealed(book)
        started = time.perf_counter()
        try:
            await self.committee.caught_up(sequence + 1)
            roots = await self.committee.sign(book.terms, sealed)
            if stopped := self.screening.stop(book):
                return await self._conclude(book, sealed, stopped)
            certificate = await self.committee.clear(book.terms, sealed, self._digest_of(book), roots)
        except (PeerFault, Unavailable) as error:
            return await self._conclude(book, sealed, str(error))
        return await self._certify(book, sealed, certificate, roots, time.perf_counter() - started)

    async def recover(self) -> Closed | None:
        """Bring a round to its end that was sealed before; None if there is none."""
        async with self.clearing:
            book = self.state.sealed
            if book is None:
                return None
            return await self._conclude(book, _sealed(book), "the venue was interrupted")

    async def _conclude(self, book: Book, sealed: SealedList, reason: str) -> Closed:
        try:
            await self.committee.caught_up(self.log.size)
            certificate = await self.committee.conclude(book.terms, sealed, self._digest_of(book), reason)
        except (PeerFault, Unavailable) as error:
            log.warning("round %d: %s", sealed.round, error)
            return Closed(book.current_round, sealed, reason=str(error))
        return await self._certify(book, sealed, certificate, {}, 0.0)

    def _digest_of(self, book: Book) -> DigestOf:
        return lambda result: self.state.result_digest(book, result)

    async def _certify(
        self,
        book: Book,
        sealed: SealedList,
        certificate: Certificate,
        roots: Mapping[int, Signature],
        seconds: float,
    ) -> Closed:
        """4. Write the end into the log, with the signatures that show it, and those of the sealed list.

        The latter are evidence for whoever reads the list, and checked by the reader.
        """
        about = {
            "market": sealed.market.hex(),
            "round": sealed.round,
            "roots": {str(index): signature.hex() for index, signature in roots.items()},
        }
        if certificate.result is None:
            draft = Draft("abort", {**about, "reason": certificate.reason[:200]}, certificate.signatures)
        else:
            draft = Draft("result", {**about, **certificate.fields()}, certificate.blobs())
        try:
            effects = (await self.commit_one(draft)).effects
        except (OrderRefused, Unavailable) as error:
            if book.sealed is sealed:  # else its settle window passed meanwhile, and it is aborted
                self.halt(str(error))
            return Closed(book.current_round, sealed, reason=str(error), seconds=seconds)
        reason = certificate.reason
        return Closed(book.current_round, sealed, certificate, effects.cleared, effects, seconds, reason)

    # --- settlements --------------------------------------------------------------------------------

    async def close_window(self) -> list[Pending]:
        """5. Net what is unsettled into a settlement, or into several if one would be above its bounds.

        Raises OrderRefused while a settlement has expired, ChainError, StoreError, Unavailable.
        """
        closed = []
        async with self._windows:  # or two callers would take the same rounds
            while rounds := fitting(self.state.unsettled):
                epoch = await self._threads.chain(self.chain.epoch)  # not before that of any of them
                fields = {"id": self.state.next_settlement, "epoch": epoch, "rounds": rounds}
                effects = (await self.commit_one(Draft("window", fields))).effects
                closed += [] if effects.window is None else [effects.window]
        return closed

    async def sign_pending(self) -> None:
        """6. Collect the members' signatures that `signatures` lacks, oldest settlement first.

        Raises PeerFault or Unavailable while too few members sign.
        """
        pending = {settlement_digest(p.settlement, self.state.domain): p for p in self.state.pending}
        self.signatures = {d: found for d, found in self.signatures.items() if d in pending}
        for digest in (d for d in pending if d not in self.signatures):
            settlement, domain = pending[digest].settlement, self.state.domain
            self.signatures[digest] = await self.committee.settle(settlement, domain, self.log.size)

    async def settle(self) -> list[tuple[Pending, Standing]]:
        """7. Bring what is signed to the chain, in order; that it is settled or void the chain's log says.

        Where each stands, up to the first that lacks signatures. Raises ChainError if no node answers.
        """
        standings = []
        for pending in tuple(self.state.pending):
            signatures = self.signatures.get(settlement_digest(pending.settlement, self.state.domain))
            if not signatures:
                break
            standing = await self._threads.chain(self.submitter.step, pending.settlement, signatures)
            standings.append((pending, standing))
        return standings


def order_draft(raw: bytes, order: ListedOrder, replaces: Mapping[str, Any] | None = None) -> Draft:
    """The entry of an order; `replaces` holds the fields of the account's signed wish to replace another."""
    if replaces is None:
        return Draft("order", {}, [raw], order)
    return Draft("replace", replaces, [raw], order)


def _sealed(book: Book) -> SealedList:
    if book.sealed is None:
        raise AssertionError("a book whose round is sealed has its list")
    return book.sealed

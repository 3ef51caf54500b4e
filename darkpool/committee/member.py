"""A committee member: what it holds, and how it answers the operator's coordinator.

The member keeps its own book, verifies every order itself, signs a root only over
orders it accepted, and opens only products it recomputed from a list it signed. It never sees an order's
content, and what it learns in a clearing (session.py lists it) it tells nobody but its peers.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError, DecodeError
from darkpool import eip712
from darkpool.account import Ledger
from darkpool.book import Book, SealedList
from darkpool.committee.evaluator import Evaluator, EvaluatorFailed
from darkpool.committee.opening import Session
from darkpool.committee.seat import Seat
from darkpool.committee.session import Cleared, Clearing
from darkpool.committee.transport import (
    Mesh,
)
from darkpool.errors import ConfigError, DarkpoolError, OrderRefused, PeerFault, RoundAborted
from darkpool.market import Round
from darkpool.message import Message, read_terms
from darkpool.netting import settlement_of
from darkpool.settlement import Settlement, sign
from darkpool.types import Address, Nonce, Quanta, RoundId, Tick

CLOCK_SLACK_SECONDS: Final = 30
START_SECONDS: Final = 60.0
MAX_STEP_SECONDS: Final = 600
MAX_EARLY_BYTES: Final = 1 << 20
_JOURNAL: Final = "journal.jsonl"
_GENERATION_BYTES: Final = 4

log = logging.getLogger("darkpool.member")


class Member:
    """State and behaviour of one member; `handle` answers the coordinator's requests one by one."""

    def __init__(self, seat: Seat, home: Path) -> None:
        if (home / _JOURNAL).exists():
            # Signing again without knowing what was signed could open a list with one order less.
            raise ConfigError(
                f"{home.name}: this member has signed before, and its book is not durable yet",
                "start a new committee in a new folder",
            )
        self.seat, self._home = seat, home
        self.mesh = Mesh(seat.index, seat.committee.members)
        self.mesh.on_mpc = self._mpc
        self._ledger = Ledger()
        self._books: dict[bytes, Book] = {}
        self._sealed: dict[bytes, SealedList] = {}
        self._attempted: set[bytes] = set()
        self._cleared: dict[bytes, Cleared] = {}
        self._signed: dict[tuple[bytes, RoundId], Settlement] = {}
        self._next_settlement: dict[eip712.Domain, int] = {}
        self._evaluator: Evaluator | None = None
        self._generation = 0
        self._early: list[tuple[int, int, bytes]] = []
        self._early_bytes = 0
        self._operations: dict[str, Callable[[Message], Awaitable[Message]]] = {
            "start": self._start,
            "market": self._market,
            "chain": self._chain,
            "open": self._open,
            "orders": self._orders,
            "cancel": self._cancel,
            "seal": self._seal,
            "clear": self._clear,
            "finish": self._finish,
            "settled": self._settled,
            "status": self._status,
        }

    async def handle(self, request: Message) -> Message:
        """The reply; a refusal is a reply too, with its reason and never a secret."""
        operation = self._operations.get(request.op)
        if operation is None:
            return Message("refused", {"reason": f"unknown operation {request.op[:32]!r}"})
        try:
            return await operation(request)
        except (DarkpoolError, CommitmentsError) as error:
            log.warning("%s refused: %s", request.op, error)
            return Message("refused", {"reason": str(error)})

    # --- life ---------------------------------------------------------------------------------------

    async def _start(self, request: Message) -> Message:
        """A new evaluator of that generation; all members must do so together."""
        generation = request.integer("generation", self._generation + 1)
        if self._evaluator is not None:
            await self._evaluator.close()
        self._generation = generation
        prefix = generation.to_bytes(_GENERATION_BYTES, "big")
        committee = self.seat.committee
        self._evaluator = Evaluator(
            index=self.seat.index,
            n=committee.members,
            t=committee.threshold,
            send=lambda peer, data: self.mesh.send_mpc(peer, prefix + data),
        )
        for early, peer, data in self._early:
            if early == generation:
                self._evaluator.feed(peer, data)
        self._early.clear()
        self._early_bytes = 0
        try:
            await self._evaluator.start(START_SECONDS)
        except EvaluatorFailed as error:
            raise PeerFault(f"evaluator: {error}") from None
        return Message("started")

    def _mpc(self, peer: int, body: bytes) -> None:
        generation, data = int.from_bytes(body[:_GENERATION_BYTES], "big"), body[_GENERATION_BYTES:]
        if generation == self._generation and self._evaluator is not None:
            self._evaluator.feed(peer, data)
        elif generation == self._generation + 1 and self._early_bytes + len(body) <= MAX_EARLY_BYTES:
            # A peer that restarted its evaluator before us; what does not fit makes its start time out.
            self._early.append((generation, peer, data))
            self._early_bytes += len(body)

    async def _status(self, _request: Message) -> Message:
        fields = {
            "generation": self._generation,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "evaluator_peak_bytes": self._evaluator.peak_memory_bytes if self._evaluator is not None else 0,
            "peer_frames": self.mesh.frames,
            "peer_bytes": self.mesh.octets,
        }
        return Message("status", fields)

    async def close(self) -> None:
        """End the evaluator."""
        if self._evaluator is not None:
            await self._evaluator.close()

    # --- the book -----------------------------------------------------------------------------------

    async def _market(self, request: Message) -> Message:
        terms = read_terms(request, self.seat.committee.key)
        if terms.market.id in self._books:
            raise OrderRefused(f"market {terms.market.name} is open already")
        self._books[terms.market.id] = Book(terms, self._ledger)
        return Message("ok")

    def _book(self, request: Message) -> Book:
        book = self._books.get(request.octets("market", 32))
        if book is None:
            raise DecodeError("market", "unknown to this member")
        return book

    async def _chain(self, request: Message) -> Message:
        """Final chain events, as the embedding process read them (with an own node: ADR 5)."""
        account, token = (Address(request.octets(n, 20)) for n in ("account", "token"))
        kind = request.fields.get("event")
        if kind == "deposit":
            self._ledger.deposit(account, token, Quanta(request.integer("amount")))
        elif kind == "halt":
            for book in self._books.values():
                book.halt(account)
        elif kind == "resume":
            for book in self._books.values():
                book.check_idle(account)
            self._ledger.restart(account, token, Quanta(request.integer("amount")))
            for book in self._books.values():
                book.resume(account)
        else:
            raise DecodeError("event", "not one of deposit, halt, resume")
        return Message("ok")

    async def _open(self, request: Message) -> Message:
        book = self._book(request)
        number = RoundId(request.integer("round", 1))
        if book.round is not None and number <= book.round.id:
            raise OrderRefused(f"round {number} is not after round {book.round.id}")
        book.open_round(Round(number, book.terms.market, Tick(request.integer("reference"))))
        return Message("ok")

    async def _orders(self, request: Message) -> Message:
        """Verify and accept a batch in arrival order: one answer each, "" or the reason of refusal."""
        now = self._checked_time(request)
        answers = self._book(request).admit(request.blobs, now)
        return Message(
            "orders", {"refused": [str(a) if isinstance(a, OrderRefused) else "" for a in answers]}
        )

    async def _cancel(self, request: Message) -> Message:
        account, nonce = Address(request.octets("account", 20)), Nonce(request.integer("nonce"))
        self._book(request).cancel(account, nonce, request.octets("signature", eip712.SIGNATURE_BYTES))
        return Message("ok")

    def _checked_time(self, request: Message) -> int:
        now = request.integer("now")
        if abs(now - time.time()) > CLOCK_SLACK_SECONDS:
            raise OrderRefused(
                f"time: {now} is more than {CLOCK_SLACK_SECONDS} s from this member's clock",
                hint="synchronise the clocks",
            )
        return now

    # --- the round ----------------------------------------------------------------------------------

    async def _seal(self, request: Message) -> Message:
        """Fix the list of orders this member accepted, journal it, then sign its root."""
        book = self._book(request)
        sealed = book.seal(self._checked_time(request))
        if sealed is None:
            return Message("open")
        self._sealed[sealed.market] = sealed
        digest = sealed.digest(book.terms.domain)
        self._journal(sealed, digest)
        log.info("sealed round %d: %d orders, root %s", sealed.round, len(sealed.orders), sealed.root.hex())
        return Message(
            "sealed", {"root": sealed.root.hex()}, [eip712.sign_digest(digest, self.seat.signing_key)]
        )

    def _journal(self, sealed: SealedList, digest: bytes) -> None:
        """Durably, before signing: which (account, nonce) went into which root."""
        entry = {
            "market": sealed.market.hex(),
            "round": sealed.round,
            "root": sealed.root.hex(),
            "digest": digest.hex(),
            "orders": [[o.account.hex(), o.nonce] for o in sealed.orders],
        }
        with (self._home / _JOURNAL).open("a") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _sealed_list(self, book: Book) -> SealedList:
        sealed = self._sealed.get(book.terms.market.id)
        if sealed is None:
            raise OrderRefused("round: this member has sealed none")
        return sealed

    async def _clear(self, request: Message) -> Message:
        """Clear the sealed list with the peers; reply with the public result, signature and boxes."""
        book = self._book(request)
        sealed = self._sealed_list(book)
        if self._evaluator is None:
            raise PeerFault("evaluator: not started")
        number, epoch = self._settlement_number(request, book.terms.domain)
        timeout = request.integer("timeout", 1, MAX_STEP_SECONDS)
        digest = sealed.digest(book.terms.domain)
        if digest in self._attempted:
            # A second attempt could be steered by what the first one opened.
            raise OrderRefused(f"round {sealed.round} was attempted already: abort it")
        self._attempted.add(digest)
        session = Session(self.seat, self.mesh, book.terms.chain_id, digest, float(timeout))
        try:
            cleared = await Clearing(session, self._evaluator, book.terms, sealed).run()
        except (DarkpoolError, CommitmentsError, EvaluatorFailed) as error:
            self.mesh.abort(digest, str(error))
            raise RoundAborted(f"round {sealed.round}: {error}") from None
        finally:
            self.mesh.forget(digest)
        self._cleared[sealed.market] = cleared
        result = cleared.result
        if not result.crossed:
            return Message("no_cross")
        consumed = (o for o in sealed.orders if o.account in result.nets)
        settlement = settlement_of(book.terms, sealed, result, consumed, number, epoch)
        self._signed[sealed.market, sealed.round] = settlement
        fields = {
            "price": result.price,
            "volume": result.volume,
            "nets": [[a.hex(), net] for a, net in result.nets.items()],
        }
        boxes = [cleared.boxes[a] for a in result.nets]
        return Message(
            "cleared", fields, [sign(settlement, book.terms.domain, self.seat.signing_key), *boxes]
        )

    def _settlement_number(self, request: Message, domain: eip712.Domain) -> tuple[int, int]:
        """Id and epoch to sign under: one settlement at a time, ids without gaps, so no two share one."""
        number, epoch = request.integer("settlement", 1), request.integer("epoch", 1)
        if self._signed:
            raise OrderRefused("settlement: an earlier one is neither settled nor void")
        if number != self._next_settlement.setdefault(domain, number):
            raise OrderRefused(f"settlement: id {number} where {self._next_settlement[domain]} is next")
        return number, epoch

    async def _finish(self, request: Message) -> Message:
        """The committee's common end of the round: its result, or the release of every order.

        A member that has signed a settlement does not release its orders: it could still be submitted.
        """
        book = self._book(request)
        sealed = self._sealed_list(book)
        cleared = self._cleared.get(sealed.market)
        by_result = request.fields.get("outcome") == "result"
        if by_result != (cleared is not None) and not (cleared is not None and not cleared.result.crossed):
            raise OrderRefused(
                f"round {sealed.round}: this member has signed a settlement for it"
                if cleared is not None
                else f"round {sealed.round}: this member has no result"
            )
        self._cleared.pop(sealed.market, None)
        del self._sealed[sealed.market]
        if by_result and cleared is not None:
            book.finish(cleared.result)
        else:
            book.abort()
        return Message("ok")

    async def _settled(self, request: Message) -> Message:
        """The settlement is on chain, or can no longer get there: void only after its window has passed."""
        book, round_id = self._book(request), RoundId(request.integer("round", 1))
        key = (book.terms.market.id, round_id)
        settlement = self._signed.get(key)
        if settlement is None or book.terms.market.id in self._cleared:
            raise OrderRefused(f"round {round_id} has no settlement to report on")
        if request.fields.get("final") is True:
            book.settled(round_id)
            self._next_settlement[book.terms.domain] = settlement.id + 1
        else:
            ends = settlement.sealed_at + book.terms.settle_window
            if time.time() <= ends:
                raise OrderRefused(f"round {round_id}: its settlement is valid until {ends}")
            book.void(round_id)
        del self._signed[key]
        return Message("ok")

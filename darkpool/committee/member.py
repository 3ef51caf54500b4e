"""A committee member: it follows the venue's log, checks every entry itself, and takes part in the rounds.

    status    where it stands            sign      its signature of the sealed list it has itself
    append    further entries            clear     take part in clearing it (rounds.py)
    handed    orders given to it         outcome, adopt, abandon: how the round ended
    start     a new evaluator                   settle    its signature of a settlement that is pending

It accepts an entry only if it follows from the log before it: proofs, signatures, collateral, quotas, the
sealed root and, given a node of its own, every chain event. It never sees an order's content, and what it
learns in a clearing (session.py lists it) it tells nobody but its peers.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError, DecodeError, ParameterError
from darkpool.admission import Tentative, screened
from darkpool.chain import Chain
from darkpool.chain_events import chain_message, events_between, same_events
from darkpool.committee.blame import START, Blame, Charge, Faulted, blame_field
from darkpool.committee.evaluator import MAX_MESSAGE_BYTES, Evaluator, EvaluatorFailed
from darkpool.committee.handed import Handed
from darkpool.committee.member_changes import Changes
from darkpool.committee.mesh import Mesh
from darkpool.committee.rounds import Rounds
from darkpool.committee.seat import Seat
from darkpool.committee.succession import first_committee
from darkpool.effects import Change, Effects
from darkpool.errors import ChainError, DarkpoolError, OrderRefused, Unavailable
from darkpool.listing import ListedOrder
from darkpool.log import Log, listed
from darkpool.message import Message, read_terms
from darkpool.netting import Signers
from darkpool.settlement import sign
from darkpool.store.database import StoreError
from darkpool.store.member_store import MemberStore
from darkpool.store.records import BlameRow
from darkpool.tenure import OP as TENURE
from darkpool.tenure import Tenure
from darkpool.timing import CLOCK_SLACK_SECONDS, FRESH_BLOCKS, handover
from darkpool.workers import PRESENT, refusals

START_SECONDS: Final = 30.0
MAX_EARLY_BYTES: Final = 1 << 18  # of one peer
MAX_EARLY_GENERATIONS: Final = 1_000
REFUSALS_SHOWN: Final = 20
CHARGES_SHOWN: Final = 20
MAX_REASON: Final = 300
_GENERATION_BYTES: Final = 4
_ORDER_OPS: Final = frozenset({"order", "replace"})

log = logging.getLogger("darkpool.member")


class Member:
    """State and behaviour of one member; `handle` answers the coordinator's requests."""

    over = False
    """Whether its seat is of another key by now, under which it must be started anew."""

    def __init__(
        self,
        seat: Seat,
        signers: Signers,
        store: MemberStore,
        chain: Chain | None = None,
        home: Path | None = None,
    ) -> None:
        """`home` keeps its seat and its owner's plans; without one it refuses changes of the committee."""
        self.seat = seat
        self.mesh: Final = Mesh(seat.index, seat.committee.members)
        self.mesh.on_mpc = self._mpc
        self.mesh.on_lost = self._lost
        replayed: list[bytes] = []

        def watch(_state: object, _sequence: int, _root: bytes, _entry: Message, effects: Effects) -> None:
            replayed.extend(order.hash for order in effects.accepted)

        first = Tenure(signers, seat.committee.key) if home is None else first_committee(home, seat, signers)
        self.log: Final = Log.open(store, first.key, first.signers, watch)
        self.changes: Final = Changes(self, home, self.log.state, self.mesh, chain)
        self._reseat()  # what it may have died before
        self.rounds: Final = Rounds(self, self.log.state, store, self.mesh)
        self.handed: Final = Handed(seat, self.log.state, store)
        self.handed.logged(replayed)  # what it may have died before
        self._chain, self._store = chain, store
        self._turn = asyncio.Lock()
        self._generation = 0
        self._early: dict[int, tuple[int, list[bytes]]] = {}  # by peer: its latest generation, and messages
        self._refusals = deque[list[object]](maxlen=REFUSALS_SHOWN)
        self._operations: dict[str, Callable[[Message], Awaitable[Message]]] = {
            "start": self._start,
            "append": self._append,
            "handed": self.handed.waiting,
            "handed_refused": self.handed.refused,
            "ready": self._ready,
            "sign": self._sign,
            "clear": self.rounds.clear,
            "outcome": self.rounds.outcome,
            "adopt": self.rounds.adopt,
            "abandon": self.rounds.abandon,
            "settle": self._settle,
            **self.changes.operations,
        }

    async def handle(self, request: Message) -> Message:
        """The reply; a refusal is a reply too, with its reason and never a secret.

        `retry` in a refusal says that the member lacks something for now: database, chain or evaluator.
        """
        if request.op == "status":
            return self._status()
        operation = self._operations.get(request.op)
        if operation is None:
            reason = f"unknown operation {request.op[:32]!r}"
            self._refusals.append([int(time.time()), request.op[:32], reason])
            return Message("refused", {"reason": reason, "retry": False})
        try:
            async with self._turn:
                return await operation(request)
        except (DarkpoolError, CommitmentsError) as error:
            log.warning("%s refused: %s", request.op, error)
            self._refusals.append([int(time.time()), request.op[:32], str(error)[:MAX_REASON]])
            retry = isinstance(error, StoreError | ChainError | Unavailable)
            blame = error.blame if isinstance(error, Faulted) else ()
            fields = {"reason": str(error), "retry": retry, "blame": blame_field(blame)}
            return Message("refused", fields)

    # --- life ---------------------------------------------------------------------------------------

    async def _start(self, request: Message) -> Message:
        """A new evaluator of that generation, among those members, who must all do so together."""
        generation = request.integer("generation", self._generation + 1, 1 << 31)
        committee, players = self.seat.committee, request.fields.get("members")
        if not isinstance(players, list) or not all(type(i) is int for i in players):
            raise DecodeError("members", "not a list of members")
        prefix = generation.to_bytes(_GENERATION_BYTES, "big")
        try:
            evaluator = Evaluator(
                index=self.seat.index,
                n=committee.members,
                t=committee.threshold,
                send=lambda peer, data: self.mesh.send_mpc(peer, prefix + data),
                members=tuple(players),
            )
        except ParameterError as error:
            raise DecodeError("members", str(error)) from None
        await self.close()
        self._generation = generation
        self.rounds.evaluator = evaluator
        early, self._early = self._early, {}
        for peer, (number, said) in early.items():
            if number > generation:
                self._early[peer] = number, said
            for data in said if number == generation and peer in evaluator.members else ():
                evaluator.feed(peer, data)
        ends = asyncio.get_running_loop().time() + START_SECONDS
        try:
            await evaluator.start(START_SECONDS)
        except EvaluatorFailed as error:
            late = asyncio.get_running_loop().time() >= ends
            blame = [Blame(peer, Charge.SILENT, START) for peer in evaluator.unheard if late]
            if error.peer is not None:
                blame.append(Blame(error.peer, Charge.OFF, START))
            raise Faulted(f"evaluator: {error}", blame) from None
        return Message("started")

    def _mpc(self, peer: int, body: bytes) -> None:
        generation, data = int.from_bytes(body[:_GENERATION_BYTES], "big"), body[_GENERATION_BYTES:]
        if not 0 < len(data) <= MAX_MESSAGE_BYTES:
            return  # no evaluator sends such; ours must not end for it
        evaluator = self.rounds.evaluator
        if generation == self._generation and evaluator is not None:
            if peer in evaluator.members:  # what others send is none of its business
                evaluator.feed(peer, data)
        elif self._generation < generation <= self._generation + MAX_EARLY_GENERATIONS:
            # A peer that restarted its evaluator before us; what does not fit makes its own start time out.
            # It has one evaluator at a time: of an earlier generation there is nothing to come of it.
            number, said = self._early.get(peer, (0, []))
            kept = said if number == generation else []
            if generation >= number and sum(map(len, kept)) + len(data) <= MAX_EARLY_BYTES:
                self._early[peer] = generation, [*kept, data]

    def _lost(self, peer: int) -> None:
        evaluator = self.rounds.evaluator
        if evaluator is not None and peer in evaluator.members:
            evaluator.lost(peer)

    def _status(self) -> Message:
        evaluator = self.rounds.evaluator
        fields = {
            "size": self.log.size,
            "root": self.log.root.hex(),
            "generation": self._generation,
            "evaluator": evaluator is not None and evaluator.alive,
            "players": [] if evaluator is None else list(evaluator.members),
            "key_epoch": self.seat.committee.epoch,
            "refusals": list(self._refusals),
            "charges": [[c.at, c.member, c.charge, c.step] for c in self._charges()],
            "peers": sorted(self.mesh.links),
            "handed": self.handed.count,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "evaluator_peak_bytes": evaluator.peak_memory_bytes if evaluator is not None else 0,
            "peer_frames": self.mesh.frames,
            "peer_bytes": self.mesh.octets,
        }
        return Message("status", fields)

    def _charges(self) -> Sequence[BlameRow]:
        try:
            return self._store.charges(CHARGES_SHOWN)
        except StoreError:
            return ()  # status answers also while the database is away

    async def close(self) -> None:
        """End the evaluator."""
        if self.rounds.evaluator is not None:
            await self.rounds.evaluator.close()

    async def _sign(self, request: Message) -> Message:
        self.handed.check_patience()
        self.changes.check_seated()
        book = self.log.state.sealed
        if book is not None and book.sealed is not None:
            await self._check_fresh(self.log.state.epoch, book.sealed.sealed_at)
        return await self.rounds.sign(request)

    async def _ready(self, request: Message) -> Message:
        """Whether it would sign a list sealed now; asked before one is, so that it stays open if not."""
        self.changes.check_seated()
        if self.handed.late:
            raise Unavailable("orders handed to this member wait to be logged", "committee")
        await self._check_fresh(request.integer("epoch", 1), int(time.time()) + CLOCK_SLACK_SECONDS)
        return Message("ready")

    async def _settle(self, request: Message) -> Message:
        """Its signature of the settlement of that id that its own log has pending. Repeated, the same.

        A window of the log fixes what an id settles, so no member ever signs two that could both land.
        """
        number, state = request.integer("id", 1), self.log.state
        found = next((p.settlement for p in state.pending if p.settlement.id == number), None)
        if found is None:
            raise OrderRefused(f"settlement: {number} is not pending at this member", "send it the log")
        await self._check_epoch(found.epoch)
        return Message("signed", {"id": number}, [sign(found, state.domain, self.seat.signing_key)])

    # --- the log ------------------------------------------------------------------------------------

    async def _append(self, request: Message) -> Message:
        """Check further entries and make them ours; what we have already must be the same."""
        first = request.integer("first")
        known = min(self.log.size - first, len(request.blobs))
        if known < 0:
            raise OrderRefused(f"log: entry {first} where {self.log.size} is next", "send those before it")
        if known and self.log.store.entries(first, known) != list(request.blobs[:known]):
            raise OrderRefused(
                f"log: it forks at or after entry {first}", "stop the venue: it shows two logs"
            )
        entries = [(Message.decode(data), data) for data in request.blobs[known:]]
        for are_orders, run in groupby(entries, key=lambda pair: pair[0].op in _ORDER_OPS):
            if are_orders:
                await self._take_orders(list(run))
            else:
                for entry, data in run:
                    await self._take(entry, data)
        self.log.checkpoint()
        return Message("appended", {"size": self.log.size, "root": self.log.root.hex()})

    async def _take(self, entry: Message, data: bytes) -> None:
        self._check_time(entry)
        if entry.op == "chain":
            await self._check_chain(entry)
        elif entry.op == "market":
            await self._check_vault(entry)
        elif entry.op == "result":
            self.rounds.check_boxes(entry)
        self.log.append([data], [self.log.state.checked(entry)])
        if entry.op == TENURE and self._reseat():
            await self.close()  # its evaluator computes with members of before

    def _reseat(self) -> bool:
        key, changed = self.seat.committee.key, self.changes.settle()
        self.over = self.over or self.seat.committee.key != key
        return changed

    async def _take_orders(self, run: Sequence[tuple[Message, bytes]]) -> None:
        """Orders in arrival order: all their proofs in one batch."""
        state = self.log.state
        orders: list[ListedOrder] = []
        for entry, _ in run:
            self._check_time(entry)
            order = listed(entry, state.key)
            if order is None:
                raise DecodeError(entry.op, "comes without its order")
            screened(state.markets, entry.blobs[0], entry.integer("time"))
            orders.append(order)
        raws = [entry.blobs[0] for entry, _ in run]
        refused = await refusals(PRESENT.get(), state.key, raws, divided=True)
        for position, problem in refused.items():
            raise OrderRefused(f"log: entry {self.log.size + position}: {problem}", "", problem.code)
        tentative, changes = Tentative(state.ledger), list[Change]()
        for (entry, _), order in zip(run, orders, strict=True):
            changes.append(state.checked(entry, order, tentative))
        self.log.append([data for _, data in run], changes)
        self.handed.logged([order.hash for order in orders])

    def _check_time(self, entry: Message) -> None:
        """Not in the future; the log itself sees to it that time does not go back."""
        at = entry.integer("time")
        if at > time.time() + CLOCK_SLACK_SECONDS:
            raise Unavailable(
                f"time: {at} is more than {CLOCK_SLACK_SECONDS} s ahead of this member's clock",
                "committee",
                "synchronise the clocks",
            )

    async def _check_chain(self, entry: Message) -> None:
        """The events are those of our own node, if we have one (else: ADR 5)."""
        chain, state = self._chain, self.log.state
        if chain is None:
            return
        block = entry.integer("block")
        if await asyncio.to_thread(chain.final_block) < block:
            raise Unavailable(f"chain: block {block} is not final at this member's node yet", "chain")
        ours = await asyncio.to_thread(chain_message, chain, state.block, block, 0)
        if not same_events(ours, entry):
            raise OrderRefused(f"chain: block {block} is another at this member's node", "compare the nodes")

    async def _check_vault(self, entry: Message) -> None:
        """The terms are the vault's own, as our node shows it: who may settle what until when."""
        chain = self._chain
        if chain is None:
            return
        terms = read_terms(entry, self.log.state.key)
        tokens = tuple(token.contract for token in chain.tokens)
        window = await asyncio.to_thread(chain.settle_window)
        found = (chain.chain_id, chain.vault, tokens, window)
        if found != (terms.chain_id, terms.contract, terms.tokens, terms.settle_window):
            raise OrderRefused("market: chain, vault, tokens or settle window are not those of this member's")

    async def _check_fresh(self, epoch: int, sealed_at: int) -> None:
        """The log has what the chain says, but for the latest blocks, and the vault this epoch to the end.

        Else an account could trade what it has withdrawn, or a list sealed at `sealed_at` be settled by a
        transaction that must revert. Raises Unavailable: the log can still follow.
        """
        chain, state = self._chain, self.log.state
        if chain is None:
            return
        settled = await asyncio.to_thread(chain.final_block) - FRESH_BLOCKS
        if settled > state.block:
            missing = await asyncio.to_thread(events_between, chain, state.block + 1, settled)
            late = (await asyncio.to_thread(chain.block, settled)).time
            if missing or state.lapses(late):
                raise Unavailable(f"chain: the log lacks what happened up to block {settled}", "chain")
        await self._check_epoch(epoch)
        members = state.signers.addresses.values()
        if trouble := await asyncio.to_thread(handover, chain, sealed_at, members):
            raise Unavailable(trouble, "chain")

    async def _check_epoch(self, epoch: int) -> None:
        """The vault's present one, as our node shows it. Raises Unavailable."""
        chain = self._chain
        if chain is not None and await asyncio.to_thread(chain.epoch) != epoch:
            raise Unavailable(f"chain: {epoch} is not the vault's epoch", "chain")

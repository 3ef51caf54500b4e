"""One round from open to settled, readable top to bottom.

    open -> admit -> seal -> clear -> sign -> submit -> settle -> roll

A `Venue` is the operator's process: it has the book, the coordinator's links and a key that pays for gas. It
reads no order and decrypts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from commitments.paillier import Ciphertext
from darkpool.account import Ledger
from darkpool.book import NO_CROSS, Book, RoundResult, SealedList
from darkpool.chain import Chain, Receipt
from darkpool.committee.coordinator import Coordinator, SignedResult
from darkpool.errors import ChainError, ConfigError, OrderRefused, PeerFault, RoundAborted, SettlementRefused
from darkpool.market import Round, RoundState
from darkpool.matcher import Matcher
from darkpool.netting import settlement_of
from darkpool.order import SealedOrder, Terms
from darkpool.settlement import Settlement, check_signatures, ordered_signatures
from darkpool.types import Address, PrivateKey, RoundId, Signature, Tick


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds a round's steps took; sums are the operator's own, members repeat them."""

    sum: float = 0.0
    clear: float = 0.0
    settle: float = 0.0


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What became of a round, as public as the round is.

    sealed is None if the market's minima were not met: then the round stays open. boxes: the sealed totals,
    by account and member; curves: the encrypted sums, which anyone can recompute from the sealed list.
    """

    round: Round
    sealed: SealedList | None
    result: RoundResult = NO_CROSS
    boxes: dict[Address, dict[int, bytes]] = field(default_factory=dict, repr=False)
    settlement: Settlement | None = None
    receipt: Receipt | None = None
    consumed: tuple[SealedOrder, ...] = field(default=(), repr=False)
    released: tuple[SealedOrder, ...] = field(default=(), repr=False)
    reason: str = ""
    curves: tuple[Ciphertext, ...] = field(default=(), repr=False)
    timings: Timings = Timings()


@dataclass(frozen=True, slots=True)
class _Vault:
    """What the vault accepts next."""

    next_id: int
    epoch: int
    members: tuple[Address, ...]
    quorum: int


class Venue:
    """One market, its book, its committee and its chain, as the operator runs them.

    It fails closed: once operator and members may hold different books it opens no further round, and says
    why in `halted`; one settlement at a time may be pending.
    """

    def __init__(self, terms: Terms, chain: Chain, committee: Coordinator, operator_key: PrivateKey) -> None:
        self.terms: Final = terms
        self.chain: Final = chain
        self.committee: Final = committee
        self.book: Final = Book(terms, Ledger())
        self.halted = ""
        self._operator_key = operator_key
        self._next_block = 0
        self._rounds = 0
        self._pending: RoundReport | None = None

    async def start(self) -> None:
        """Tell the committee of the market, and take in the deposits the chain already holds.

        Raises ConfigError for a vault with a past, which this process could not rebuild.
        """
        if self.chain.next_id() != 1 or self.chain.withdrawals() or self.chain.cancellations():
            raise ConfigError("vault: it has settled or paid out before", "deploy a new one")
        await self._tell(self.committee.open_market(self.terms))
        await self.follow_chain()

    async def _tell(self, step: Awaitable[None]) -> None:
        """A step all members must take. If one did not, books may differ from here on: halt, and raise."""
        try:
            await step
        except PeerFault as error:
            self.halted = self.halted or str(error)
            raise

    async def follow_chain(self) -> None:
        """Apply final deposits and requests since the last call, here and at every member, in chain order."""
        final = self.chain.final_block()
        if final < self._next_block:
            return
        start, self._next_block = self._next_block, final + 1
        tokens = self.terms.tokens
        for deposit in self.chain.deposits(start, final):
            token = tokens[deposit.token]
            self.book.ledger.deposit(deposit.account, token, deposit.quanta)
            await self._tell(self.committee.chain_event("deposit", deposit.account, token, deposit.quanta))
        accounts = {request.account for request in self.chain.withdrawal_requests(start, final)}
        accounts |= {request.account for request in self.chain.cancel_requests(start, final)}
        for account in sorted(accounts):
            self.book.halt(account)
            await self._tell(self.committee.chain_event("halt", account, tokens[0], 0))

    async def open(self, reference: Tick) -> Round:
        """1. Open the next round around a reference level, which is fixed from here on.

        Raises OrderRefused while the venue is halted or the settlement before is pending.
        """
        if self.halted:
            raise OrderRefused(f"venue: halted: {self.halted}", "start a new committee")
        if self._pending is not None and (await self.resolve()).round.state is RoundState.SUBMITTED:
            raise OrderRefused(
                f"round {self._pending.round.id}: its settlement is pending", "wait for its end"
            )
        await self.follow_chain()
        self._rounds += 1
        market_round = Round(RoundId(self._rounds), self.terms.market, reference)
        self.book.open_round(market_round)
        await self._tell(self.committee.open_round(market_round))
        return market_round

    def admit(self, orders: Sequence[bytes], now: int) -> list[SealedOrder | OrderRefused]:
        """2. Check, verify and accept orders in arrival order; one answer each."""
        return self.book.admit(orders, now)

    async def forward(self, accepted: Sequence[SealedOrder], now: int) -> None:
        """Pass accepted orders on to the members, who verify too. Raises PeerFault if one refuses."""
        if accepted:
            await self._tell(self.committee.submit(self.terms, [order.raw for order in accepted], now))

    async def close(self) -> RoundReport:
        """3. Seal the open round and bring it to its end: settled, no_cross or aborted; submitted if pending.

        If the market's minima are not met it stays open. Raises OrderRefused if none is open.
        """
        await self.follow_chain()
        # All that the chain must say is asked before anything is sealed: if it is away, the round stays open.
        vault = _Vault(self.chain.next_id(), self.chain.epoch(), self.chain.members(), self.chain.quorum())
        sealed = self.book.seal(int(time.time()))
        market_round = self.book.current_round
        if sealed is None:
            return RoundReport(market_round, None)
        try:
            await self.committee.seal(self.terms, sealed)
            market_round = market_round.advance(RoundState.CLEARING)
            curves, sum_seconds = self._curves(sealed)
            started = time.perf_counter()
            signed = await self.committee.clear(self.terms, vault.next_id, vault.epoch)
            timings = Timings(sum_seconds, time.perf_counter() - started)
            settlement, signatures = self._signed_settlement(sealed, signed, vault)
        except (RoundAborted, PeerFault, SettlementRefused) as error:
            return await self._abort(market_round, sealed, error)
        state = RoundState.CLEARED if signed.result.crossed else RoundState.NO_CROSS
        report = RoundReport(
            market_round.advance(state), sealed, signed.result, signed.boxes, curves=curves, timings=timings
        )
        if settlement is not None:
            report = self._pending = self._submit(replace(report, settlement=settlement), signatures)
        report = replace(report, consumed=self.book.finish(signed.result))
        await self._tell(self.committee.finish(self.terms, "result"))
        if settlement is None:
            return report
        self._pending = report
        return await self._ended(report, RoundState.SETTLED) if report.receipt is not None else report

    def _curves(self, sealed: SealedList) -> tuple[tuple[Ciphertext, ...], float]:
        started = time.perf_counter()
        curves = tuple(p.ciphertext for p in Matcher(self.terms, sealed).curves())
        return curves, time.perf_counter() - started

    def _signed_settlement(
        self, sealed: SealedList, signed: SignedResult, vault: _Vault
    ) -> tuple[Settlement | None, tuple[Signature, ...]]:
        """4. The settlement recomputed from the public result, with signatures the vault will accept."""
        result = signed.result
        if not result.crossed:
            return None, ()
        consumed = (o for o in sealed.orders if o.account in result.nets)
        settlement = settlement_of(self.terms, sealed, result, consumed, vault.next_id, vault.epoch)
        domain = self.terms.domain
        signatures = ordered_signatures(settlement, domain, signed.signatures.values())
        check_signatures(settlement, domain, signatures, vault.members, vault.quorum)
        return settlement, signatures

    def _submit(self, report: RoundReport, signatures: Sequence[Signature]) -> RoundReport:
        """5. Submit. Without a receipt it is pending, not void: it may land until its window ends."""
        market_round = report.round.advance(RoundState.SIGNED).advance(RoundState.SUBMITTED)
        started = time.perf_counter()
        receipt, reason = None, ""
        try:
            if report.settlement is not None:
                receipt = self.chain.settle(report.settlement, signatures, self._operator_key)
        except ChainError as error:
            reason = str(error)
        timings = replace(report.timings, settle=time.perf_counter() - started)
        return replace(report, round=market_round, receipt=receipt, reason=reason, timings=timings)

    async def resolve(self) -> RoundReport:
        """6. What became of the pending settlement: settled if the chain has it, void once it no longer can.

        Raises OrderRefused if none is pending.
        """
        report = self._pending
        if report is None or report.settlement is None:
            raise OrderRefused("settlement: none is pending")
        number, root, transcript = report.settlement.id, report.settlement.root, report.settlement.transcript
        if any((s.id, s.root, s.transcript) == (number, root, transcript) for s in self.chain.settlements()):
            return await self._ended(report, RoundState.SETTLED)
        ends = report.settlement.sealed_at + self.terms.settle_window
        if self.chain.now() > ends and time.time() > ends:
            return await self._ended(report, RoundState.VOID)
        return report

    async def _ended(self, report: RoundReport, state: RoundState) -> RoundReport:
        """7. Credits count, or debits come back: here and at every member."""
        final = state is RoundState.SETTLED
        await self._tell(self.committee.settled(self.terms, report.round, final=final))
        (self.book.settled if final else self.book.void)(report.round.id)
        self._pending = None
        return replace(report, round=report.round.advance(state))

    async def _abort(self, market_round: Round, sealed: SealedList, error: Exception) -> RoundReport:
        """Every order of the list is released; it is never cleared again with one order less."""
        reason = str(error)
        released = self.book.abort()
        try:
            await self.committee.finish(self.terms, "abort")
        except PeerFault as second:
            # A member is gone, or has signed a settlement that may still be submitted.
            self.halted = reason = f"{reason}; {second}"
        if market_round.state is RoundState.SEALED:
            market_round = market_round.advance(RoundState.CLEARING)
        return RoundReport(market_round.advance(RoundState.ABORTED), sealed, released=released, reason=reason)

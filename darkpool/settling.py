"""From results to the chain: when windows close, whose signatures are there, where each settlement is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from commitments.errors import CommitmentsError
from darkpool.chain import Receipt
from darkpool.config import Settings
from darkpool.engine import Engine
from darkpool.errors import ChainError, DarkpoolError, OrderRefused
from darkpool.signed_settlement import SignedSettlement
from darkpool.store.records import SettlementState
from darkpool.store.venue_store import VenueStore
from darkpool.submitter import Standing
from darkpool.windows import Pending, estimated_gas

T = TypeVar("T")

log = logging.getLogger("darkpool.settling")


class Read(Protocol):
    """A call of the database in its thread. Raises StoreError."""

    async def __call__(self, read: Callable[[VenueStore], T], /) -> T:
        """The call's answer."""


class Settling:
    """The venue's settlements; `trouble` says why the last step did not do all it should."""

    def __init__(self, engine: Engine, settings: Settings, read: Read) -> None:
        self._engine, self._settings, self._read = engine, settings, read
        self._kept: set[bytes] = set()  # digests of settlements whose signatures are in the database
        self._seen: dict[bytes, Receipt | None] = {}  # by digest, the receipt that the database has
        self.first: Standing | None = None
        """Where the oldest signed settlement stood at the last step."""
        self.trouble = ""

    @property
    def problem(self) -> str:
        """Why the oldest settlement does not land, as far as it is known; empty if nothing waits."""
        state = self._engine.state
        if state.pending and state.chain_time > state.pending[0].ends:
            return f"settlement {state.pending[0].settlement.id} has expired and waits to be void"
        return self.trouble if state.unsettled or state.pending else ""

    @property
    def due(self) -> bool:
        """Whether what is unsettled should wait no longer: too much, too old, too large, or in the way."""
        state, when = self._engine.state, self._settings.settlement
        rounds = state.unsettled
        return bool(rounds) and (
            len(rounds) >= when.rounds
            or len(state.not_final) >= self._settings.rounds.max_unsettled_rounds
            or time.time() - rounds[0].at >= when.seconds
            or estimated_gas(rounds) >= when.gas
        )

    async def close_now(self) -> None:
        """Net what is unsettled without waiting for more. Raises OrderRefused if nothing is."""
        if not self._engine.state.unsettled:
            raise OrderRefused("settle: no round is unsettled", "list the settlements", "nothing-unsettled")
        await self._engine.close_window()

    async def resume(self) -> None:
        """Take in the signatures that were collected before a restart. Raises StoreError.

        What the database gives is checked as the vault would; members are asked again for what fails.
        """
        signers = self._engine.state.signers
        members, quorum = set(signers.addresses.values()), 2 * signers.threshold + 1
        under_way = (SettlementState.PENDING, SettlementState.SUBMITTED)
        rows = await self._read(lambda store: store.settlements(states=under_way))
        pending = {own.digest: own for own in map(self._unsigned, self._engine.state.pending)}
        for row in rows:
            own = pending.get(row.digest)
            if own is None or row.payload == own.encode():
                continue  # over, or not signed yet
            try:
                signatures = SignedSettlement.decode(row.payload).signatures
                replace(own, signatures=signatures).check(members, quorum)
            except (CommitmentsError, DarkpoolError) as error:
                log.warning("settlement %d: its signatures in the database are forgotten: %s", row.id, error)
                continue
            self._engine.signatures[row.digest] = signatures
            self._kept.add(row.digest)

    async def step(self) -> None:
        """Close a window that is due; have what is pending signed; submit it.

        What can be done is done though something before it cannot: a settlement that is signed needs neither
        database nor committee, so it is submitted before others are asked for, too. Raises the first
        DarkpoolError.
        """
        first: DarkpoolError | None = None
        tasks = (self._submit, self._close_due, self._engine.sign_pending, self._keep, self._submit)
        for task in tasks:
            try:
                await task()
            except DarkpoolError as error:
                first = first or error
        self.trouble = "" if first is None else str(first)
        if first is not None:
            raise first

    async def _close_due(self) -> None:
        if self.due:
            await self._engine.close_window()

    async def _keep(self) -> None:
        for pending in self._engine.state.pending:
            unsigned = self._unsigned(pending)
            digest, signatures = unsigned.digest, self._engine.signatures.get(unsigned.digest)
            if signatures and digest not in self._kept:
                await self._note(digest, payload=replace(unsigned, signatures=signatures).encode())
                self._kept.add(digest)

    async def _submit(self) -> None:
        standings = await self._engine.settle()
        self.first = next((standing for _, standing in standings), None)
        for pending, standing in standings:
            digest, receipt = self._unsigned(pending).digest, standing.receipt
            if pending not in self._engine.state.pending:
                continue  # the log has it, and what the head of the chain says no longer counts
            if standing.landed and receipt is None:
                continue  # so long ago that the log will have it soon
            if digest in self._seen and self._seen[digest] == receipt:
                continue
            number = pending.settlement.id
            if receipt is None:
                if digest in self._seen:  # else it may have been, before this process began
                    log.warning("settlement %d was reorganised away", number)
                await self._note(digest, state=SettlementState.PENDING)
            else:
                log.info("settlement %d is in block %d, %d gas", number, receipt.block, receipt.gas_used)
                await self._note(
                    digest,
                    state=SettlementState.SUBMITTED,
                    tx_hash=receipt.tx_hash,
                    block=receipt.block,
                    gas=receipt.gas_used,
                )
            self._seen[digest] = receipt
        if self.first is not None and self.first.trouble:
            raise ChainError(f"settlement {standings[0][0].settlement.id}: {self.first.trouble}")

    async def _note(
        self,
        digest: bytes,
        *,
        state: SettlementState | None = None,
        payload: bytes | None = None,
        tx_hash: bytes | None = None,
        block: int | None = None,
        gas: int | None = None,
    ) -> None:
        await self._read(
            lambda store: store.update_settlement(
                digest, state=state, payload=payload, tx_hash=tx_hash, block=block, gas=gas
            )
        )

    def _unsigned(self, pending: Pending) -> SignedSettlement:
        return SignedSettlement(self._engine.state.domain, pending.settlement)

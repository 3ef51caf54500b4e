"""The account's past and present, derived: its orders opened, its fills, what it may lock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from commitments.errors import CommitmentsError
from darkpool.client.account_state import AccountState, check_balances, openings
from darkpool.client.answers import FillRecord, OrderRecord
from darkpool.client.connection import Connection
from darkpool.client.own_order import OwnOrder, open_order
from darkpool.client.round_fills import OrderFill, RoundFills, own_hashes, round_fills
from darkpool.client.steps import Sleep
from darkpool.client.trader_home import TraderHome
from darkpool.client.venue_api import VenueRefused
from darkpool.errors import PeerFault
from darkpool.keystore import Keystore
from darkpool.market import RoundState
from darkpool.message import Message
from darkpool.order import order_hash
from darkpool.store.records import FillState, OrderState

_LOOKS: Final = 6
_PAUSE: Final = 0.25


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """An own order with what became of it; aborted: its round ended without a result and released it."""

    record: OrderRecord
    own: OwnOrder
    fill: OrderFill | None = field(default=None, repr=False)
    aborted: bool = False


class History:
    """Everything of one account at one venue. Coroutines are of steps.py; what is final is asked once."""

    def __init__(self, connection: Connection, keystore: Keystore, home: TraderHome) -> None:
        self._connection, self._keystore, self._home = connection, keystore, home
        self._opened: dict[bytes, OwnOrder] = {}
        self._records: dict[bytes, OrderRecord] = {}
        self._rounds: dict[tuple[bytes, int], tuple[FillRecord, RoundFills]] = {}
        self._aborted: dict[tuple[bytes, int], frozenset[bytes]] = {}

    # --- what it may lock ---------------------------------------------------------------------------

    async def state(self) -> AccountState:
        """Openings and standing orders between two changes. Raises PeerFault if the venue errs."""
        fault: PeerFault | None = None
        for look in range(_LOOKS):
            if look:
                await Sleep(_PAUSE * look)
            before = await self._connection.api.collateral()
            records = await self._connection.api.orders(standing=True)
            standing = [await self._own(record) for record in records]
            if await self._connection.api.collateral() != before:
                continue  # something happened in between
            try:
                terms = {market: info.terms for market, info in self._connection.markets.items()}
                free = openings(before, standing, terms)
            except PeerFault as error:
                fault = error  # the venue's read model may lag behind its ledger for a moment
                continue
            if self._connection.has_chain and not before.halted:
                check = partial(check_balances, account=self._keystore.address, answer=before)
                await self._connection.on_chain(check)
            return AccountState(before, tuple(standing), free)
        raise fault or PeerFault("the account did not stand still", "another client trades with it", "venue")

    # --- orders -------------------------------------------------------------------------------------

    async def _own(self, record: OrderRecord) -> OwnOrder:
        own = self._opened.get(record.hash)
        if own is None:
            raw = self._home.order(record.hash) or await self._fetched(record)
            info = self._connection.info(record.market)
            own = open_order(raw, info.terms, self._keystore.address, self._keystore.seed)
            if own.nonce != record.nonce:
                raise PeerFault(f"it lists an order under nonce {record.nonce} that is not", peer="venue")
            self._opened[record.hash] = own
        return own

    async def _fetched(self, record: OrderRecord) -> bytes:
        try:
            evidence = await self._connection.api.evidence(record.hash)
        except VenueRefused as refusal:
            if refusal.code != "order-unknown":
                raise
            raise PeerFault(
                f"it lists order {record.hash.hex()}, and does not know it", peer="venue"
            ) from None
        try:
            raw = Message.decode(evidence.entry).blobs[0]
        except (CommitmentsError, IndexError):
            raw = b""
        if order_hash(raw) != record.hash:
            raise PeerFault(f"it has other bytes for order {record.hash.hex()}", peer="venue")
        self._home.keep_order(raw)
        return raw

    async def orders(self) -> list[KnownOrder]:
        """All orders ever accepted, by sequence, with fills. Raises PeerFault if a fill is kept back."""
        open_from = [r.sequence for r in self._records.values() if r.state is OrderState.STANDING]
        last = max((r.sequence for r in self._records.values()), default=-1)
        for record in await self._connection.api.orders(min(open_from, default=last + 1) - 1):
            self._records[record.hash] = record
        rounds = await self.fills()
        fills = {fill.own.hash: fill for found in rounds for fill in found.fills}
        known = []
        for record in sorted(self._records.values(), key=lambda r: r.sequence):
            own, fill = await self._own(record), fills.get(record.hash)
            if record.state is OrderState.CONSUMED and fill is None:
                raise PeerFault(f"the fill of consumed order {record.nonce} is kept back", peer="venue")
            known.append(KnownOrder(record, own, fill, await self._was_aborted(record)))
        return known

    async def _was_aborted(self, record: OrderRecord) -> bool:
        if record.state is not OrderState.RELEASED or not record.ended_round:
            return False
        key = (record.market, record.ended_round)
        if key not in self._aborted:
            found = await self._connection.api.round(*key)
            aborted = found.state is RoundState.ABORTED
            listed = await self._connection.api.sealed(*key) if aborted else None
            self._aborted[key] = frozenset(listed.hashes if listed is not None else ())
        return record.hash in self._aborted[key]

    # --- fills --------------------------------------------------------------------------------------

    async def fills(self) -> list[RoundFills]:
        """The account's part in every crossing round, oldest first."""
        records = [record for record, _ in self._rounds.values()]
        open_from = [r.sequence for r in records if r.state is FillState.PROVISIONAL]
        last = max((r.sequence for r in records), default=-1)
        for record in await self._connection.api.fills(min(open_from, default=last + 1) - 1):
            key = (record.market, record.round)
            before = self._rounds.get(key)
            if before is not None and replace(before[0], state=record.state) == record:
                self._rounds[key] = (record, replace(before[1], state=record.state))
            else:
                self._rounds[key] = (record, await self._derived(record))
        return [found for _, found in sorted(self._rounds.values(), key=lambda pair: pair[0].sequence)]

    async def _derived(self, record: FillRecord) -> RoundFills:
        api = self._connection.api
        result = await api.result(record.market, record.round)
        sealed = await api.sealed(record.market, record.round)
        account, seed = self._keystore.address, self._keystore.seed
        own = await self._listed(own_hashes(sealed, account))
        await self._connection.refresh()  # who signed may have taken office since we last looked
        info = self._connection.info(record.market)
        return round_fills(info, account, seed, record, sealed, result, own)

    async def _listed(self, hashes: Iterable[bytes]) -> list[OwnOrder]:
        own = []
        for digest in hashes:
            if digest not in self._records:
                for record in await self._connection.api.orders():
                    self._records.setdefault(record.hash, record)
            if digest not in self._records:
                raise PeerFault(f"sealed order {digest.hex()} of this account is kept back", peer="venue")
            own.append(await self._own(self._records[digest]))
        return own

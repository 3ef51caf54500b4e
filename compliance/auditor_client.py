"""An auditor's side of disclosure: the query, and everything it leads to, gathered into an audit file.

Nothing is believed here: compliance/audit_check.py verifies the file. Bytes that the venue withholds are left
out, so that the check names what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, TypeVar

from commitments.errors import CommitmentsError, DecodeError
from compliance.audit_file import (
    UNDONE,
    AuditedRound,
    AuditedSettlement,
    AuditFile,
    answer_json,
    sealed_json,
)
from compliance.auditor import Auditor, box_key
from compliance.disclosure_answer import Answer
from compliance.disclosure_api import DisclosureApi, HeldGrant
from compliance.disclosure_query import Query
from compliance.grant_checks import check_grant, open_grant
from compliance.grants import Check, GrantRefused
from darkpool import jsontext
from darkpool.chain import Chain
from darkpool.client.answers import MarketInfo, picked
from darkpool.client.connection import Connection
from darkpool.client.settlements import ListedSettlement
from darkpool.client.trader_home import TraderHome
from darkpool.client.venue_api import VenueApi, VenueRefused
from darkpool.contest import SettledRecord
from darkpool.errors import ChainError, DarkpoolError, OrderRefused, PeerFault, SettlementRefused
from darkpool.jsonfields import hex_text
from darkpool.keystore import Keystore
from darkpool.message import Message
from darkpool.order import order_hash
from darkpool.results import read_result
from darkpool.settlement import Delta, NullifierRow, Settlement
from darkpool.signed_settlement import SignedSettlement
from darkpool.types import Address, TokenIndex
from darkpool.vault import Settled

T = TypeVar("T")

_SETTLED_ROUNDS: Final = 64


def auditor_of(keystore: Keystore) -> Auditor:
    """The auditor of a keystore: its account signs queries, its box key follows from the seed."""
    return Auditor(keystore.address, box_key(keystore.seed).public)


@dataclass(frozen=True, slots=True)
class GrantFinding:
    """A grant to the auditor; failed: the check that does not hold now, None if all do."""

    held: HeldGrant
    failed: Check | None
    problem: str = ""


@dataclass(slots=True)
class _Gathered:
    """What has been asked for."""

    orders: dict[bytes, bytes] = field(default_factory=dict)
    rounds: dict[tuple[bytes, int], AuditedRound] = field(default_factory=dict)
    markets: dict[bytes, bytes] = field(default_factory=dict)
    settlements: list[AuditedSettlement] = field(default_factory=list)


class AuditorClient:
    """Of one auditor at one venue. Coroutines are of steps.py.

    rpc_url: of the auditor's own node, to check committee and settlements by. Every method raises as
    VenueApi, ConfigError, PeerFault, ChainError.
    """

    def __init__(self, keystore: Keystore, home: TraderHome, rpc_url: str | None = None) -> None:
        self._keystore = keystore
        self.auditor: Final = auditor_of(keystore)
        venue_api = VenueApi(keystore.private_key)
        self.connection: Final = Connection(venue_api, home, rpc_url)
        self.api: Final = DisclosureApi(venue_api, keystore.address)

    async def grants(self) -> list[GrantFinding]:
        """The grants to this auditor, oldest first, with the first check each fails."""
        await self.connection.refresh()
        now, domain = int(time.time()), self.connection.any.terms.domain
        found = []
        for held in await self.api.grants("auditor"):
            revocations = [] if held.revocation is None else [held.revocation]
            try:
                check_grant(held.grant, domain, now, None, revocations)
                open_grant(held.grant, box_key(self._keystore.seed))
            except GrantRefused as refused:
                found.append(GrantFinding(held, refused.check, refused.message))
            else:
                found.append(GrantFinding(held, None))
        return found

    async def held(self, grant_id: bytes) -> HeldGrant:
        """One of the grants to this auditor. Raises OrderRefused."""
        for held in await self.api.grants("auditor"):
            if held.grant.header.id == grant_id:
                return held
        raise OrderRefused(f"grant: {hex_text(grant_id)} is none to you", "see `darkpool audit grants`")

    async def gather(self, query: Query) -> AuditFile:
        """Ask, and fetch what the answer leads to."""
        await self.connection.refresh()
        answer = await self.api.query(query)
        account = query.account if answer.grant is None else answer.grant.header.account
        got = _Gathered()
        await self._market(got, query.market)
        for listed in answer.rounds:
            await self._round(got, query.market, listed.round, account)
        await self._settlements(got, answer, account)
        on_chain = ""
        if self.connection.has_chain:
            got.settlements = [await self._landed(settlement) for settlement in got.settlements]
            on_chain = f"chain {self.connection.any.terms.chain_id}, at {int(time.time())}"
        return AuditFile(
            int(time.time()),
            on_chain,
            answer_json(answer),
            got.markets,
            tuple(got.rounds.values()),
            tuple(got.settlements),
            got.orders,
        ).signed(self._keystore.private_key)

    async def _market(self, got: _Gathered, market: bytes) -> None:
        """Its description, once."""
        if market in got.markets:
            return
        data = await self.api.market(market)
        try:
            info = MarketInfo.of(jsontext.parsed(data, "market"))
        except DecodeError as error:
            raise PeerFault(str(error), peer="venue") from None
        known = self.connection.any
        if (info.terms.market.id, info.tenures, info.operator) != (market, known.tenures, known.operator):
            raise PeerFault("it describes a market otherwise each time", peer="venue")
        got.markets[market] = data

    async def _round(
        self, got: _Gathered, market: bytes, number: int, account: Address
    ) -> AuditedRound | None:
        """A sealed list; with an order of the account, its bytes and the round's result too."""
        if (market, number) in got.rounds:
            return got.rounds[market, number]
        view = await _given(self.connection.api.sealed(market, number))
        if view is None:
            return None
        row = AuditedRound(market, number, sealed_json(view))
        mine = [leaf[-32:] for leaf in view.leaves if leaf[:20] == account]
        for digest in mine:
            if digest not in got.orders:
                raw = await self._order(market, number, digest)
                if raw is not None:
                    got.orders[digest] = raw
        if mine and view.signatures:
            row = await self._with_result(got, row, view.hashes)
        got.rounds[market, number] = row
        return row

    async def _with_result(self, got: _Gathered, row: AuditedRound, listed: Sequence[bytes]) -> AuditedRound:
        result = await _given(self.connection.api.result(row.market, row.number))
        if result is None:
            return row
        sample = b""
        if listed and not any(digest in got.orders for digest in listed):
            sample = await self._order(row.market, row.number, listed[0]) or b""
        return replace(row, result=result, sample=sample)

    async def _order(self, market: bytes, number: int, digest: bytes) -> bytes | None:
        """The bytes of that hash, None if the venue gives none."""
        raw = await _given(self.api.order(market, number, digest))
        return raw if raw is not None and order_hash(raw) == digest else None

    # --- settlements ----------------------------------------------------------------------------------

    async def _settlements(self, got: _Gathered, answer: Answer, account: Address) -> None:
        """Those of rounds in which the account traded, with all their rounds."""
        market = answer.query.market
        wanted = []
        for listed in answer.rounds:
            row = got.rounds.get((market, listed.round))
            traded = row is not None and account in _nets(row.result)
            if traded and listed.settlement and listed.settlement not in wanted:
                wanted.append(listed.settlement)
        for digest in wanted:
            data = await _given(self.api.settlement(digest))
            if data is None:
                continue
            try:
                document = jsontext.parsed(data, "settlement")
                listed_settlement = ListedSettlement.of(document)
                rounds = rounds_of(document)
            except (CommitmentsError, DarkpoolError) as error:
                raise PeerFault(f"settlement {hex_text(digest)}: {error}", peer="venue") from None
            for place in rounds:
                await self._market(got, place[0])
                row = await self._round(got, *place, account)
                if row is not None and not row.result:
                    got.rounds[place] = await self._with_result(got, row, row.view.hashes)
            got.settlements.append(
                AuditedSettlement(
                    listed_settlement.signed.encode(),
                    rounds,
                    listed_settlement.state.value,
                    block=listed_settlement.block or 0,
                    tx_hash=listed_settlement.tx_hash or b"",
                )
            )

    async def _landed(self, settlement: AuditedSettlement) -> AuditedSettlement:
        """With what the vault did under its id, at the block the venue names or lately, if it is in force."""
        number, block = settlement.signed.settlement.id, settlement.block

        def read(chain: Chain) -> tuple[Settled, bool] | None:
            at = chain.settlements(block, block) if block else []
            event = next((s for s in at if s.id == number), None) or chain.landed(number)
            if event is None:
                return None
            record = SettledRecord.of(event, chain.block(event.place.block).time)
            held = bytes(chain.evm.call("Vault", chain.vault, "records", number))
            return event, held == record.hash

        try:
            found = await self.connection.on_chain(read)
            if found is None:
                return replace(settlement, block=0, tx_hash=b"")
            event, in_force = found
            if not in_force:
                return replace(settlement, state=UNDONE)
            done = SignedSettlement(settlement.signed.domain, settlement_of(event))
        except SettlementRefused as error:
            raise ChainError(f"settlement {number}: the node says what no vault does: {error}") from None
        return replace(settlement, chain=done.encode(), block=event.place.block, tx_hash=event.place.tx_hash)


async def _given(asking: Coroutine[Any, Any, T]) -> T | None:
    """What it comes to, or None if the venue says that there is no such thing: the check then names it."""
    try:
        return await asking
    except VenueRefused as refused:
        if refused.status != HTTPStatus.NOT_FOUND:
            raise
        return None


def settlement_of(event: Settled) -> Settlement:
    """What the vault says it did. Raises SettlementRefused."""
    return Settlement(
        event.id,
        event.epoch,
        event.sealed_at,
        event.root,
        event.transcript,
        tuple(Delta(TokenIndex(token), account, amount) for token, account, amount in event.deltas),
        tuple(NullifierRow(*row) for row in event.nullifiers),
    )


def _nets(result: bytes) -> frozenset[Address]:
    """Who traded, by a result that is not checked yet; nobody by one that is none."""
    try:
        return frozenset(read_result(Message.decode(result)).nets)
    except CommitmentsError:
        return frozenset()


def rounds_of(document: object) -> tuple[tuple[bytes, int], ...]:
    """Market and number of each round of a settlement, as the venue lists it. Raises DecodeError."""
    rows = picked(document, "settlement", "rounds").array("rounds", _SETTLED_ROUNDS)
    fields = [picked(row, "rounds", "market", "round") for row in rows]
    return tuple((f.octets("market", 32), f.uint("round", low=1)) for f in fields)

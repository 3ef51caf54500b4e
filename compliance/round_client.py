"""Fetches all that a venue publishes of a round, and what the chain has of it. Nothing is believed here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from commitments.errors import CommitmentsError, DecodeError
from compliance.audit_file import AuditedRound, AuditedSettlement, sealed_json
from compliance.auditor_client import rounds_of, settlement_of
from compliance.disclosure_api import DisclosureApi
from compliance.round_file import RoundFile
from darkpool import jsontext
from darkpool.chain import Chain
from darkpool.client.account_state import check_committee
from darkpool.client.answers import MarketInfo, picked
from darkpool.client.settlements import ListedSettlement
from darkpool.client.venue_api import Call, VenueApi, VenueRefused
from darkpool.eip712 import address_of, fresh_key
from darkpool.errors import ChainError, ConfigError, DarkpoolError, PeerFault, SettlementRefused
from darkpool.jsonfields import hex_text
from darkpool.sealed_view import SealedListView
from darkpool.signed_settlement import SignedSettlement

Progress = Callable[[int, int], None]
"""(orders fetched, of how many)."""


class RoundClient:
    """Of one venue; it signs nothing. Coroutines are of steps.py. Methods raise as VenueApi, PeerFault."""

    def __init__(self, progress: Progress) -> None:
        key = fresh_key()  # all it asks for is public
        self._api: Final = VenueApi(key)
        self._raw: Final = DisclosureApi(self._api, address_of(key))
        self._progress = progress

    async def gather(self, name: str, number: int) -> RoundFile:
        """The round of that number in the market of that name. Raises ConfigError for another name."""
        infos = [await self._api.market(item.id) for item in await self._api.markets()]
        items = {info.name: info.terms.market.id for info in infos}
        if name not in items:
            raise ConfigError(f"market: {name[:64]!r} is none here", f"one of {', '.join(sorted(items))}")
        market = items[name]
        view = await self._api.sealed(market, number)
        orders = {}
        for digest in view.hashes:
            raw = await self._order(market, number, digest)
            if raw is not None:
                orders[digest] = raw
            self._progress(len(orders), len(view.hashes))
        row = await self._part(market, number, view)
        settlement = await self._settlement(market, number)
        places = () if settlement is None else settlement.rounds
        parts = [row, *[await self._other(*place) for place in places if place != (market, number)]]
        markets = {part.market: await self._raw.market(part.market) for part in parts}
        return RoundFile(int(time.time()), "", markets, tuple(parts), settlement, orders)

    async def _order(self, market: bytes, number: int, digest: bytes) -> bytes | None:
        try:
            return await self._raw.order(market, number, digest)
        except VenueRefused:
            return None

    async def _part(
        self, market: bytes, number: int, view: SealedListView, sample: bytes = b""
    ) -> AuditedRound:
        result = await self._api.result(market, number) if view.signatures else b""
        return AuditedRound(market, number, sealed_json(view), result, sample)

    async def _other(self, market: bytes, number: int) -> AuditedRound:
        """A round that was netted with it: one order of it says under which terms it was cleared."""
        view = await self._api.sealed(market, number)
        sample = await self._order(market, number, view.hashes[0]) if view.hashes else None
        return await self._part(market, number, view, sample or b"")

    async def _settlement(self, market: bytes, number: int) -> AuditedSettlement | None:
        def read(body: bytes) -> bytes | None:
            fields = picked(jsontext.parsed(body, "round"), "round", "settlement")
            return None if fields.member("settlement") is None else fields.octets("settlement", 32)

        digest = await self._api.ask(Call("GET", f"/rounds/{hex_text(market)}/{number}", read))
        if digest is None:
            return None
        try:
            document = jsontext.parsed(await self._raw.settlement(digest), "settlement")
            found, rounds = ListedSettlement.of(document), rounds_of(document)
        except (CommitmentsError, DarkpoolError) as error:
            raise PeerFault(f"settlement {hex_text(digest)}: {error}", peer="venue") from None
        return AuditedSettlement(
            found.signed.encode(),
            rounds,
            found.state.value,
            block=found.block or 0,
            tx_hash=found.tx_hash or b"",
        )


def on_chain(file: RoundFile, rpc_url: str) -> RoundFile:
    """The file with what the vault did under the settlement's id, by a node of one's own choice.

    Raises ChainError, and PeerFault if the committee is not the vault's.
    """
    try:
        info: MarketInfo = file.infos[file.subject.market]
    except DecodeError as error:
        raise PeerFault(str(error), peer="venue") from None
    chain = Chain.rpc(rpc_url, finality=0)
    chain.attach(info.terms.contract)
    check_committee(chain, info.terms, info.signers)
    asked = f"chain {chain.chain_id}, at {int(time.time())}"
    settlement = file.settlement
    if settlement is not None:
        number, block = settlement.signed.settlement.id, settlement.block
        at = chain.settlements(block, block) if block else []
        found = next((s for s in at if s.id == number), None) or chain.landed(number)
        if found is not None:
            try:
                done = SignedSettlement(settlement.signed.domain, settlement_of(found))
            except SettlementRefused as error:
                raise ChainError(f"settlement {number}: the node says what no vault does: {error}") from None
            settlement = AuditedSettlement(
                settlement.payload,
                settlement.rounds,
                settlement.state,
                done.encode(),
                found.place.block,
                found.place.tx_hash,
            )
    return RoundFile(file.made_at, asked, file.markets, file.rounds, settlement, file.orders)

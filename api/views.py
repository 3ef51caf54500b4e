"""What the API answers: plain records of text and integers.

Bytes are "0x" and lower-case hexadecimal digits, addresses carry their checksum, times are unix seconds,
prices are grid levels with their decimal text beside them, quantities are lots.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from api.parameters import AddressText, HashText, HexText, Uint
from darkpool.jsonfields import hex_text
from darkpool.market import RoundState
from darkpool.store.records import (
    BoxRow,
    FillRow,
    FillState,
    OrderRow,
    OrderState,
    RoundRow,
    SettlementRow,
    SettlementState,
)
from darkpool.types import Address, address_hex
from darkpool.windows import netting_ratio


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order as its account sees it: what it said in public, and what became of it."""

    hash: HashText
    sequence: Uint
    market: HashText
    account: AddressText
    nonce: Uint
    first_round: Uint
    time_in_force: Uint
    valid_until: Uint
    accepted_at: Uint
    state: OrderState
    reason: str
    ended_round: Uint | None
    ended_sequence: Uint | None
    replaced_by: HashText | None

    @staticmethod
    def of(row: OrderRow) -> OrderView:
        """Of a row."""
        return OrderView(
            hash=hex_text(row.hash),
            sequence=row.sequence,
            market=hex_text(row.market),
            account=address_hex(Address(row.account)),
            nonce=row.nonce,
            first_round=row.first_round,
            time_in_force=row.time_in_force,
            valid_until=row.valid_until,
            accepted_at=row.accepted_at,
            state=row.state,
            reason=row.reason,
            ended_round=row.ended_round,
            ended_sequence=row.ended_sequence,
            replaced_by=None if row.replaced_by is None else hex_text(row.replaced_by),
        )


@dataclass(frozen=True, slots=True)
class RoundView:
    """One auction. What is not known yet is null. Levels are of the terms with that hash, texts are decimals.

    settlement: digest of the settlement it is in.
    """

    market: HashText
    number: Uint
    state: RoundState
    reference: Uint
    reference_price: str
    source: str
    opened_at: Uint
    terms_hash: HashText
    sealed_at: Uint | None
    orders: Uint | None
    accounts: Uint | None
    root: HashText | None
    digest: HashText | None
    price: Uint | None
    price_text: str | None
    volume: Uint | None
    settlement: HashText | None
    reason: str

    @staticmethod
    def of(row: RoundRow) -> RoundView:
        """Of a row."""
        return RoundView(
            market=hex_text(row.market),
            number=row.number,
            state=row.state,
            reference=row.reference,
            reference_price=row.reference_price,
            source=row.source,
            opened_at=row.opened_at,
            terms_hash=hex_text(row.terms_hash),
            sealed_at=row.sealed_at,
            orders=row.orders,
            accounts=row.accounts,
            root=None if row.root is None else hex_text(row.root),
            digest=None if row.digest is None else hex_text(row.digest),
            price=row.price,
            price_text=row.price_text,
            volume=row.volume,
            settlement=None if row.settlement is None else hex_text(row.settlement),
            reason=row.reason,
        )


@dataclass(frozen=True, slots=True)
class FillView:
    """An account's net of a round in signed lots; `boxes`: its totals, sealed to it by each member."""

    market: HashText
    round: Uint
    sequence: Uint
    net: int
    state: FillState
    boxes: dict[str, HexText]

    @staticmethod
    def of(row: FillRow, boxes: list[BoxRow]) -> FillView:
        """Of a row and the boxes of its round."""
        sealed = {str(box.member): hex_text(box.box) for box in boxes}
        return FillView(hex_text(row.market), row.round, row.sequence, row.net, row.state, sealed)


@dataclass(frozen=True, slots=True)
class SettledRound:
    """A round of a settlement."""

    market: HashText
    round: Uint


@dataclass(frozen=True, slots=True)
class FlowView:
    """What a settlement moves of a token, in quanta: traded by its rounds, and left after netting.

    ratio: quanta traded for each that moves, null if all cancels out.
    """

    token: AddressText
    symbol: str
    gross: int
    net: int
    ratio: float | None


def flows_of(row: SettlementRow) -> list[tuple[Address, int, int]]:
    """Token, gross and net of each token of a settlement."""
    return [(Address(bytes.fromhex(token)), gross, net) for token, gross, net in json.loads(row.flows)]


@dataclass(frozen=True, slots=True)
class SettlementView:
    """A settlement on its way to the chain; payload: its canonical bytes, the signatures inside.

    sealed_at: of its oldest round; tx_hash, block, gas: of the operator's own transaction.
    """

    digest: HashText
    id: Uint
    sequence: Uint
    state: SettlementState
    rounds: list[SettledRound]
    flows: list[FlowView]
    created_at: Uint
    sealed_at: Uint
    payload: HexText
    tx_hash: HashText | None
    block: Uint | None
    gas: Uint | None

    @staticmethod
    def of(row: SettlementRow, symbols: Mapping[Address, str]) -> SettlementView:
        """Of a row; symbols: of the tokens by contract."""
        return SettlementView(
            digest=hex_text(row.digest),
            id=row.id,
            sequence=row.sequence,
            state=row.state,
            rounds=[SettledRound("0x" + market, number) for market, number in json.loads(row.rounds)],
            flows=[
                FlowView(address_hex(token), symbols.get(token, ""), gross, net, netting_ratio(gross, net))
                for token, gross, net in flows_of(row)
            ],
            created_at=row.created_at,
            sealed_at=row.sealed_at,
            payload=hex_text(row.payload),
            tx_hash=None if row.tx_hash is None else hex_text(row.tx_hash),
            block=row.block,
            gas=row.gas,
        )

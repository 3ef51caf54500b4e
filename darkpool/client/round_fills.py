"""What the account's orders got in a round, from what the members signed; the venue only carries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from commitments.errors import DecodeError
from darkpool.certificates import check_settled
from darkpool.client.answers import FillRecord, MarketInfo, RoundRecord, SettlementRecord
from darkpool.client.own_order import OwnOrder
from darkpool.draft import fill_key
from darkpool.errors import ConfigError, DarkpoolError, PeerFault
from darkpool.listing import ListedOrder, RoundResult, SealedList
from darkpool.message import Message
from darkpool.netting import open_totals, token_index, transcript_hash
from darkpool.order import Terms
from darkpool.sealed_view import SealedListView
from darkpool.settlement import Settlement
from darkpool.snapshot import read_pending
from darkpool.store.records import FillState
from darkpool.types import Address, Lots, Nonce, Quanta, RoundId, Tick
from darkpool.wallet import Fill, assign


@dataclass(frozen=True, slots=True)
class OrderFill:
    """What one order got; `price` in quote quanta per lot, the same for all of a round."""

    own: OwnOrder
    filled: Lots = field(repr=False)
    price: Quanta

    @property
    def remainder(self) -> Lots:
        """Lots still wanted."""
        return Fill(self.own.order, self.filled).remainder


@dataclass(frozen=True, slots=True)
class RoundFills:
    """An account's part in a crossing round. Provisional until settled; busted if the settlement is void."""

    market: bytes
    round: int
    sealed_at: int
    state: FillState
    fills: tuple[OrderFill, ...] = field(repr=False)


def own_hashes(sealed: SealedListView, account: Address) -> list[bytes]:
    """The account's orders of a sealed list, in arrival order: a leaf begins with account and nonce."""
    return [leaf[-32:] for leaf in sealed.leaves if leaf[:20] == account]


def round_fills(
    info: MarketInfo,
    account: Address,
    seed: bytes,
    record: FillRecord,
    found: RoundRecord,
    sealed: SealedListView,
    settlement: SettlementRecord,
    orders: Sequence[OwnOrder],
) -> RoundFills:
    """The fills of a round. `orders`: the account's of the sealed list, in its order.

    Steps:
    1. the list is of this round, its leaves have its root, and the orders are the account's of it;
    2. 2t+1 members signed the settlement; it is of this root, price and volume, and has the account's net;
    3. it spends all of the account's orders of the list, as a result must;
    4. the boxes open to the same totals, signed by their members, whose difference is the net;
    5. the totals dealt to the orders by price and arrival, the rule the committee used.

    Raises PeerFault naming what does not hold.
    """
    if not orders or found.price is None or found.volume is None:
        raise PeerFault(f"round {record.round}: a fill without orders or price", peer="venue")
    terms = orders[0].terms_then(info.terms)
    _check_list(record, sealed, orders)  # 1
    signed = _settlement(info, settlement)  # 2
    result = RoundResult(
        crossed=True, price=Tick(found.price), volume=Lots(found.volume), nets={account: record.net}
    )
    _check_settlement(terms, account, record, sealed, result, signed)
    spent = {(row.account, row.word * 256 + bit) for row in signed.nullifiers for bit in _bits(row.mask)}
    if any((account, own.nonce) not in spent for own in orders):  # 3
        raise PeerFault(
            f"round {record.round}: the settlement spends not all of the orders", peer="committee"
        )
    digest = sealed.digest(terms.domain)  # 4
    key = fill_key(terms, account, seed)
    totals = open_totals(info.signers, terms.domain, key, record.boxes, digest, account)
    totals.check_net(record.net)
    price = terms.market.grid.price(result.price)
    dealt = assign([own.order for own in orders], result, totals)  # 5
    return RoundFills(
        record.market,
        record.round,
        sealed.sealed_at,
        record.state,
        tuple(OrderFill(own, fill.filled, price) for own, fill in zip(orders, dealt, strict=True)),
    )


def _check_list(record: FillRecord, sealed: SealedListView, orders: Sequence[OwnOrder]) -> None:
    if (sealed.market, sealed.round) != (record.market, record.round):
        raise PeerFault(f"round {record.round}: the sealed list is of another", peer="venue")
    sealed.check_leaves()
    account = Address(orders[0].statement.account)
    if own_hashes(sealed, account) != [own.hash for own in orders]:
        raise PeerFault(f"round {record.round}: the orders are not those of the sealed list", peer="venue")


def _settlement(info: MarketInfo, record: SettlementRecord) -> Settlement:
    try:
        pending = read_pending(Message.decode(record.payload))
        check_settled(pending.settlement, info.terms.domain, pending.signatures, info.signers)
    except (DarkpoolError, DecodeError) as error:
        raise PeerFault(f"settlement: {error}", peer="venue") from None
    return pending.settlement


def _check_settlement(
    terms: Terms,
    account: Address,
    record: FillRecord,
    sealed: SealedListView,
    result: RoundResult,
    settlement: Settlement,
) -> None:
    listed = SealedList(
        RoundId(sealed.round),
        sealed.market,
        Tick(sealed.reference),
        sealed.sealed_at,
        cast("tuple[ListedOrder, ...]", sealed.leaves),  # the transcript counts them, no more
        sealed.root,
        sealed.terms_hash,
    )
    try:
        transcript = transcript_hash(terms, listed, result)
    except ConfigError:  # a price that is not on the grid
        transcript = b""
    same = (sealed.sealed_at, sealed.root, transcript)
    if (settlement.sealed_at, settlement.root, settlement.transcript) != same:
        raise PeerFault(
            f"round {record.round}: the members signed another list, price or volume", peer="venue"
        )
    deltas: Mapping[tuple[int, Address], int] = {(d.token, d.account): d.amount for d in settlement.deltas}
    moved = deltas.get((token_index(terms, terms.market.base), account), 0)
    if moved != record.net * terms.market.lot:
        raise PeerFault(f"round {record.round}: the members signed another net", peer="venue")


def _bits(mask: int) -> list[Nonce]:
    return [Nonce(bit) for bit in range(256) if mask >> bit & 1]

"""What the account's orders got in a round, from what the members signed; the venue only carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from commitments.errors import CommitmentsError
from darkpool.certificates import check_result, result_digest
from darkpool.client.answers import FillRecord, MarketInfo
from darkpool.client.own_order import OwnOrder
from darkpool.draft import fill_key
from darkpool.errors import DarkpoolError, PeerFault
from darkpool.listing import ListedOrder, RoundResult, SealedList
from darkpool.message import Message
from darkpool.netting import Signers, open_totals
from darkpool.order import Terms
from darkpool.results import read_result, result_signatures
from darkpool.sealed_view import SealedListView
from darkpool.store.records import FillState
from darkpool.types import Address, Lots, Nonce, Quanta, RoundId, Tick
from darkpool.wallet import Fill, assign
from darkpool.windows import Cleared, cleared_round


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
    sealed: SealedListView,
    certified: bytes,
    orders: Sequence[OwnOrder],
) -> RoundFills:
    """The fills of a round. `certified`: its result; `orders`: the account's of the list, in its order.

    Steps:
    1. the list is of this round, its leaves have its root, and the orders are the account's of it;
    2. 2t+1 members signed the result of this list, whose price, volume and nets are in what they signed; it
       has the account's net, and spends all of the account's orders of the list;
    3. the boxes open to the same totals, signed by their members, whose difference is the net;
    4. the totals dealt to the orders by price and arrival, the rule the committee used.

    Raises PeerFault naming what does not hold.
    """
    if not orders:
        raise PeerFault(f"round {record.round}: a fill without orders", peer="venue")
    _check_list(record, sealed, orders)  # 1
    terms, signers = info.terms_of(orders[0].statement), info.tenures.at(sealed.sealed_at).signers
    digest = sealed.digest(terms.domain)
    message, result = _read_result(sealed, certified)  # 2
    if not result.crossed:
        raise PeerFault(f"round {record.round}: nothing crossed, and there is a fill", peer="venue")
    _check_signed(terms, signers, sealed, message, result)
    if result.nets.get(account) != record.net:
        raise PeerFault(f"round {record.round}: the members signed another net", peer="venue")
    key = fill_key(terms, account, seed)  # 3
    totals = open_totals(signers, terms.domain, key, record.boxes, digest, account)
    totals.check_net(record.net)
    price = terms.market.grid.price(result.price)
    dealt = assign([own.order for own in orders], result, totals)  # 4
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


def signed_result(terms: Terms, signers: Signers, sealed: SealedListView, certified: bytes) -> RoundResult:
    """The result in those bytes, of that list. Raises PeerFault unless 2t+1 members signed it."""
    message, result = _read_result(sealed, certified)
    _check_signed(terms, signers, sealed, message, result)
    return result


def _read_result(sealed: SealedListView, certified: bytes) -> tuple[Message, RoundResult]:
    try:
        message = Message.decode(certified)
        return message, read_result(message)
    except CommitmentsError as error:
        raise PeerFault(f"round {sealed.round}: {error}", peer="venue") from None


def _check_signed(
    terms: Terms, signers: Signers, sealed: SealedListView, message: Message, result: RoundResult
) -> None:
    try:
        cleared = cleared_of(terms, sealed, result) if result.crossed else None
        digest = result_digest(terms.domain, sealed.digest(terms.domain), cleared)
        check_result(digest, result_signatures(message), signers)
    except (DarkpoolError, CommitmentsError) as error:
        raise PeerFault(f"round {sealed.round}: {error}", peer="venue") from None


def cleared_of(terms: Terms, sealed: SealedListView, result: RoundResult) -> Cleared:
    """What a crossing result of that list comes to. Raises as `cleared_round`."""
    listed = SealedList(
        RoundId(sealed.round),
        sealed.market,
        Tick(sealed.reference),
        sealed.sealed_at,
        cast("tuple[ListedOrder, ...]", sealed.leaves),  # the transcript counts them, no more
        sealed.root,
        sealed.terms_hash,
        sealed.audit_root,
    )
    spent = ((Address(leaf[:20]), Nonce(int.from_bytes(leaf[20:28]))) for leaf in sealed.leaves)
    return cleared_round(terms, listed, spent, result, sealed.sealed_at)

"""Real sealed orders of several accounts, markets and days, and sealed lists the members signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from commitments import merkle
from commitments.pedersen import Opening
from compliance.view_keys import Scope
from darkpool.draft import Collateral, Draft, Standing, draft
from darkpool.eip712 import address_of
from darkpool.order import Order, SealedOrder, Terms
from darkpool.sealed_view import SealedListView
from darkpool.types import Address, Nonce, RoundId
from tests.venue_support import finish, key_of, seats, signatures_of, some_terms

DAY: Final = 20_833
DAY_SECONDS: Final = 86_400
TERMS: Final = some_terms()
OTHER_MARKET: Final = some_terms(id=b"\x09" * 32)
RICH: Final = Collateral(Opening(1 << 60, 12_345), 1)


def account_of(name: str) -> Address:
    return address_of(key_of(name))


def seed_of(name: str) -> bytes:
    return key_of(name)[::-1]


def market_of(name: str, terms: Terms = TERMS) -> Scope:
    """The account's market in the key tree."""
    return Scope(terms.chain_id, terms.contract, account_of(name), terms.market.id)


def drafted(name: str, order: Order, day: int = DAY, nonce: int = 0, terms: Terms = TERMS) -> Draft:
    standing = Standing(RoundId(1), day * DAY_SECONDS)
    return draft(terms, account_of(name), seed_of(name), Nonce(nonce), order, standing, RICH, RICH)


def sealed(name: str, order: Order, day: int = DAY, nonce: int = 0, terms: Terms = TERMS) -> SealedOrder:
    return finish(drafted(name, order, day, nonce, terms), terms, key_of(name))


def a_list(
    orders: Sequence[SealedOrder],
    number: int = 1,
    sealed_at: int = DAY * DAY_SECONDS + 3_600,
    terms: Terms = TERMS,
    members: Sequence[int] = (1, 2, 3),
) -> SealedListView:
    """The list of those orders as the venue publishes it, signed by those members."""
    leaves = tuple(order.leaf for order in orders)
    view = SealedListView(
        market=terms.market.id,
        round=number,
        reference=2,
        sealed_at=sealed_at,
        root=merkle.root(leaves),
        terms_hash=terms.hash,
        audit_root=merkle.EMPTY_ROOT,
        leaves=leaves,
        sequences=tuple(range(len(orders))),
        signatures={},
    )
    return signed(view, terms, members)


def signed(view: SealedListView, terms: Terms = TERMS, members: Sequence[int] = (1, 2, 3)) -> SealedListView:
    signatures = signatures_of(view.digest(terms.domain), members)
    indices = [seat.index for seat in seats() if seat.index in members]
    return replace(view, signatures=dict(zip(indices, signatures, strict=True)))

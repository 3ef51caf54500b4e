"""What a venue shows of itself: markets, status, an account's collateral, a sealed list."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from darkpool.errors import OrderRefused
from darkpool.instrument import Instrument
from darkpool.market import Round
from darkpool.message import Message
from darkpool.order import Terms
from darkpool.results import certified
from darkpool.sealed_view import SealedListView
from darkpool.state import VenueState
from darkpool.store.venue_store import VenueStore
from darkpool.submitter import Standing
from darkpool.types import Address


@dataclass(slots=True)
class MarketView:
    """A market as it stands: terms, units, its latest round, when it is sealed next (unix seconds).

    live: whether it gets new rounds.
    """

    terms: Terms
    instrument: Instrument
    round: Round | None = None
    next_seal_at: int | None = None
    live: bool = True
    seal_now: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


@dataclass(frozen=True, slots=True)
class Status:
    """What does not work, each a reason or empty, and how far log and settlements are.

    settlement: why the oldest settlement does not land, as far as it is known; sent: where it stands.
    """

    halted: str
    database: str
    chain: str
    committee: str
    log_size: int
    log_root: bytes
    unsettled_rounds: int
    pending_settlements: int
    settlement: str
    voided_rounds: int
    sent: Standing | None = None


@dataclass(frozen=True, slots=True)
class TokenCollateral:
    """An account's F of a token, 48 bytes, and what is public: balance and unsettled nets, in quanta."""

    token: Address
    commitment: bytes
    version: int
    balance: int
    pending_debit: int
    pending_credit: int


@dataclass(frozen=True, slots=True)
class CollateralView:
    """What an account's next order is proven against."""

    known: bool
    halted: bool
    reasons: tuple[str, ...]
    lowest_unused: int
    used_above: frozenset[int]
    tokens: tuple[TokenCollateral, ...]


def collateral_of(state: VenueState, account: Address) -> CollateralView:
    """The account's commitments, balances and nonces."""
    ledger = state.ledger
    nonces = ledger.nonces.get(account)
    requests = ledger.halted.get(account, set())
    reasons = [f"{kind} {number} is pending on chain" for kind, number in sorted(requests)]
    if account in ledger.halted and not requests:
        reasons = ["its rounds have not all ended"]
    tokens = []
    for index, token in enumerate(state.tokens if nonces is not None else ()):
        free = ledger.of(account, token)
        moves = (delta for cleared in state.not_final for delta in cleared.deltas)
        pending = [d.amount for d in moves if (d.account, d.token) == (account, index)]
        tokens.append(
            TokenCollateral(
                token,
                free.current.encode(),
                free.version,
                ledger.balances.get((account, token), 0),
                -sum(a for a in pending if a < 0),
                sum(a for a in pending if a > 0),
            )
        )
    return CollateralView(
        nonces is not None,
        account in ledger.halted,
        tuple(reasons),
        nonces.lowest_unused if nonces is not None else 0,
        frozenset(nonces.used_above) if nonces is not None else frozenset(),
        tuple(tokens),
    )


def sealed_list_of(store: VenueStore, market: bytes, number: int) -> SealedListView:
    """A sealed list as the members signed it; without signatures until the round has ended.

    Raises OrderRefused for a round that was not sealed, StoreError.
    """
    row = store.round(market, number)
    if row is None or row.root is None or row.sealed_at is None or row.seal_sequence is None:
        raise OrderRefused(f"round: {number} was not sealed", "list the rounds", "round-unknown")
    listed = store.sealed_orders(market, number)
    roots: Mapping[str, str] = {}
    if row.result_sequence is not None:
        roots = Message.decode(store.entry(row.result_sequence)).fields.get("roots", {})
    return SealedListView(
        market,
        number,
        row.reference,
        row.sealed_at,
        row.root,
        row.terms_hash,
        Message.decode(store.entry(row.seal_sequence)).octets("audit_root", 32),
        tuple(leaf for _, leaf in listed),
        tuple(sequence for sequence, _ in listed),
        {int(index): bytes.fromhex(signature) for index, signature in roots.items()},
    )


def certified_result_of(store: VenueStore, market: bytes, number: int) -> bytes:
    """A round's result with the members' signatures of it, canonical bytes (results.py).

    Raises OrderRefused for a round without one, StoreError.
    """
    row = store.round(market, number)
    if row is None or row.result_sequence is None:
        raise OrderRefused(f"round: {number} has no result", "list the rounds", "round-unknown")
    return certified(Message.decode(store.entry(row.result_sequence))).encode()

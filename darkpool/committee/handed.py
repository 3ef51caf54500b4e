"""Orders handed to a member because the operator would not take them (protocol, section 11).

The member acknowledges only what is durable. From then on the order must show up in the log, or the operator
must name a reason; a member with one that waits too long signs no sealed list.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from commitments.encoding import Reader
from commitments.order_statement import Statement
from darkpool import eip712
from darkpool.admission import screened, unproven
from darkpool.committee.seat import Seat
from darkpool.errors import Busy, OrderRefused
from darkpool.message import Message
from darkpool.order import order_hash
from darkpool.state import VenueState
from darkpool.store.member_store import MemberStore
from darkpool.store.records import HandedRow, HandedState
from darkpool.types import Address, Nonce, Signature

MAX_WAITING: Final = 1_000
MAX_WAITING_OF_ONE: Final = 32  # of one account
PATIENCE_SECONDS: Final = 60
_PAGE: Final = 64
_MAX_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A member's promise that an order of that hash will be logged, or refused with a reason."""

    order: bytes
    time: int
    signature: Signature


def acknowledgement_digest(domain: eip712.Domain, order: bytes, at: int) -> bytes:
    """What the member signs, EIP-712."""
    return eip712.digest(domain, "Handed(bytes32 order,uint64 time)", (order, at))


class Handed:
    """The orders handed to this member that are not settled one way or the other."""

    def __init__(self, seat: Seat, state: VenueState, store: MemberStore) -> None:
        self._seat, self._state, self._store = seat, state, store
        # By hash, when each came; what waits is little, and must be looked at for every entry.
        self._waiting = {
            row.hash: (row.received_at, Address(Statement.read(Reader(row.raw)).account))
            for row in store.waiting(MAX_WAITING)
        }

    @property
    def count(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def index(self) -> int:
        """The member's."""
        return self._seat.index

    def row(self, digest: bytes) -> HandedRow | None:
        """What became of an order handed to this member. Raises StoreError."""
        return self._store.handed(digest)

    def take(self, raw: bytes) -> Acknowledgement:
        """Screen an order, keep it durably, acknowledge it. Raises OrderRefused, Busy, StoreError."""
        now = int(time.time())
        statement = screened(self._state.markets, raw, now)
        account, digest = Address(statement.account), order_hash(raw)
        terms = self._state.markets[statement.market]
        self._state.ledger.check_may_trade(account)
        row = self._store.handed(digest)
        if row is None or row.state is HandedState.REFUSED:  # what stood against it may have passed
            self._state.ledger.nonces[account].check(Nonce(statement.nonce))
            mine = sum(owner == account for _, owner in self._waiting.values())
            if len(self._waiting) >= MAX_WAITING or mine >= MAX_WAITING_OF_ONE:
                raise Busy("member: too many handed orders wait already", 5)
            for refusal in unproven(terms.key, [raw]).values():  # nothing is kept that could never be logged
                raise refusal
            row = HandedRow(digest, raw, now)
            self._store.hand(row)
            self._waiting[digest] = (now, account)
        signed = acknowledgement_digest(terms.domain, digest, row.received_at)
        return Acknowledgement(digest, row.received_at, eip712.sign_digest(signed, self._seat.signing_key))

    async def waiting(self, _request: Message) -> Message:
        """Some that wait, oldest first, for the operator to log or refuse."""
        return Message("handed", {}, [row.raw for row in self._store.waiting(_PAGE)])

    async def refused(self, request: Message) -> Message:
        """The operator names why an order is not logged; its trader can read it here."""
        digest, reason = request.octets("order", 32), request.text("reason", _MAX_REASON)
        if digest in self._waiting:
            self._store.mark(digest, HandedState.REFUSED, reason or "no reason given")
            del self._waiting[digest]
        return Message("ok")

    def logged(self, hashes: Iterable[bytes]) -> None:
        """Entries were appended with these orders."""
        for digest in hashes:
            if digest in self._waiting:
                self._store.mark(digest, HandedState.LOGGED, "")
                del self._waiting[digest]

    @property
    def late(self) -> int:
        """How many the operator has left waiting for too long."""
        return self._older(PATIENCE_SECONDS)

    def check_patience(self) -> None:
        """Raises OrderRefused if the operator ignored, for as long again, that some were late."""
        if self._older(2 * PATIENCE_SECONDS):
            raise OrderRefused(
                f"sign: orders handed to this member wait for more than {2 * PATIENCE_SECONDS} s",
                "log them, or name a reason for each",
            )

    def _older(self, seconds: int) -> int:
        return sum(time.time() - at > seconds for at, _ in self._waiting.values())

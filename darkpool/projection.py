"""From what entries did to the rows that are read: orders, rounds, settlements, fills, receipts, events.

The log is the truth; these rows can be made from it again. Each entry is taken in once, in order.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from darkpool.book import End, Ended, cancel_all_digest, cancel_digest
from darkpool.effects import Effects
from darkpool.engine import Committed
from darkpool.errors import DarkpoolError
from darkpool.jsonfields import hex_text
from darkpool.listing import ListedOrder
from darkpool.log import Watch
from darkpool.market import Market, Round, RoundState
from darkpool.message import Message
from darkpool.receipt import Kind, Receipt
from darkpool.signed_settlement import SignedSettlement
from darkpool.state import VenueState
from darkpool.store.database import StoreError
from darkpool.store.records import (
    BoxRow,
    EventRow,
    FillRow,
    FillState,
    OrderRow,
    OrderState,
    ReceiptRow,
    RoundRow,
    SealedRow,
    SettlementRow,
    SettlementState,
)
from darkpool.store.venue_store import Changes, VenueStore
from darkpool.types import Address, Nonce, PrivateKey, Tick
from darkpool.windows import Cleared, Pending

log = logging.getLogger("darkpool.projection")

_KINDS: Final = {
    "order": Kind.ORDER,
    "replace": Kind.REPLACE,
    "cancel": Kind.CANCEL,
    "cancel_all": Kind.CANCEL_ALL,
}


@dataclass(slots=True)
class _Rows:
    """Rows not written yet, by key: a later state of one replaces the earlier."""

    orders: dict[bytes, OrderRow] = field(default_factory=dict)
    rounds: dict[tuple[bytes, int], RoundRow] = field(default_factory=dict)
    settlements: dict[bytes, SettlementRow] = field(default_factory=dict)
    fills: dict[tuple[bytes, int, bytes], FillRow] = field(default_factory=dict)
    sealed: list[SealedRow] = field(default_factory=list)
    boxes: list[BoxRow] = field(default_factory=list)
    receipts: list[ReceiptRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)

    def changes(self) -> Changes:
        return Changes(
            orders=list(self.orders.values()),
            rounds=list(self.rounds.values()),
            sealed=self.sealed,
            settlements=list(self.settlements.values()),
            fills=list(self.fills.values()),
            boxes=self.boxes,
            events=self.events,
            receipts=self.receipts,
        )


class Projector:
    """Writes the read model of one store. Call it in the store's thread only.

    `publish` is told of events once they are written; `price_text` is the decimal price of a market's level;
    `fold` folds the log again, from its latest snapshot. While rows cannot be written, `behind` says why.
    """

    def __init__(
        self,
        store: VenueStore,
        state: VenueState,
        operator_key: PrivateKey,
        publish: Callable[[Sequence[EventRow]], None],
        price_text: Callable[[Market, Tick], str],
        fold: Callable[[Watch], object],
    ) -> None:
        self._store, self._state, self._key = store, state, operator_key
        self._publish, self._price_text, self._fold = publish, price_text, fold
        self._rows = _Rows()
        self._up_to = store.projected()
        self._lost = False  # an entry was not taken in, and the state has gone on
        self._broken = False  # nor can it be by this program: to try again before a restart is of no use
        self.behind = ""

    def __call__(self, committed: Sequence[Committed]) -> bool:
        """Take in entries that are in the log, while the state is as after the last of them.

        Whether all are written by now.
        """
        for one in committed:
            self.take(one)
        self.flush()
        return not self.behind

    def take(self, one: Committed) -> None:
        """Take in one entry, to be written with the next flush. Raises nothing, as `flush`."""
        if self._lost or one.sequence < self._up_to:
            return
        if one.sequence > self._up_to:
            self._lost, self.behind = True, f"entry {self._up_to} is missing"
            return
        try:
            self._take(one)
            self._up_to = one.sequence + 1
        except StoreError as error:  # of a row it was to change
            self._lost, self.behind = True, error.message
        except Exception as error:
            log.exception("the read model stops before entry %d", one.sequence)
            self._lost = self._broken = True
            self.behind = f"entry {one.sequence} cannot be taken in ({type(error).__name__})"

    def flush(self) -> None:
        """Write what waits. Raises nothing: the log has it all."""
        try:
            if self._lost and not self._broken:
                self._take_again()
            if self._lost:
                return
            events = []
            if self._store.projected() < self._up_to:  # else all is written, or was, and we were not told
                events = self._store.project(self._up_to, self._rows.changes())
        except DarkpoolError as error:
            self.behind = error.message
            log.warning("the read model is behind: %s", error)
            return
        self.behind, self._rows = "", _Rows()
        self._publish(events)

    def _take_again(self) -> None:
        """All entries that are not written, each with the state as it was. Raises as `fold`."""

        def watch(state: VenueState, sequence: int, root: bytes, entry: Message, effects: Effects) -> None:
            self._state = state
            self.take(Committed(sequence, root, entry, effects))

        self._up_to, self._rows, self._lost, now = self._store.projected(), _Rows(), False, self._state
        try:
            self._fold(watch)
        except Exception:
            self._lost = True
            raise
        finally:
            self._state = now

    # --- rows as they are, written or not -------------------------------------------------------------

    def _round(self, market: bytes, number: int) -> RoundRow:
        row = self._rows.rounds.get((market, number)) or self._store.round(market, number)
        if row is None:
            raise StoreError(f"read model: round {number} is missing", "make it again from the log")
        return row

    def _order(self, order: ListedOrder) -> OrderRow:
        row = self._rows.orders.get(order.hash) or self._store.order(order.hash)
        return row or _order_row(order, 0)

    # --- one entry ----------------------------------------------------------------------------------

    def _take(self, one: Committed) -> None:
        entry, effects, at = one.entry, one.effects, one.entry.integer("time")
        for order in effects.accepted:
            self._rows.orders[order.hash] = _order_row(order, at)
            self._tell(at, order.account, "order", {"order": hex_text(order.hash), "state": "standing"})
        if entry.op in _KINDS:
            receipt = receipt_of(self._state, one, self._key)
            self._rows.receipts.append(
                ReceiptRow(receipt.subject, one.sequence, json.dumps(receipt.as_json()))
            )
        by = effects.accepted[0].hash if effects.accepted and entry.op == "replace" else None
        for ended in effects.ended:
            self._end(one, ended, by)
        for market_round in effects.rounds:
            self._advance(one, market_round)
        for account in effects.halted:
            self._tell(at, account, "account", {"state": "halted"})
        self._take_settlements(one)
        for account in effects.resumed:
            self._tell(at, account, "account", {"state": "resumed"})

    def _take_settlements(self, one: Committed) -> None:
        effects, at = one.effects, one.entry.integer("time")
        if effects.cleared is not None:
            self._cleared(one, effects.cleared)
        if effects.window is not None:
            self._window(one, effects.window)
        for pending in effects.settled:
            self._end_settlement(pending, SettlementState.SETTLED)
            for cleared in pending.rounds:
                self._end_round(at, cleared, RoundState.SETTLED, FillState.SETTLED)
        for pending in effects.void:
            self._end_settlement(pending, SettlementState.VOID)
        for cleared in effects.busted:
            self._end_round(at, cleared, RoundState.VOID, FillState.BUSTED)

    def _end(self, one: Committed, ended: Ended, by: bytes | None) -> None:
        order = ended.order
        book = self._state.books[order.statement.market]
        number = None if book.round is None else int(book.round.id)
        self._rows.orders[order.hash] = replace(
            self._order(order),
            state=OrderState(ended.end),
            reason=ended.reason,
            ended_round=number,
            ended_sequence=one.sequence,
            replaced_by=by if ended.end is End.REPLACED else None,
        )
        data = {"order": hex_text(order.hash), "state": ended.end, "reason": ended.reason, "round": number}
        self._tell(one.entry.integer("time"), order.account, "order", data)

    def _advance(self, one: Committed, market_round: Round) -> None:
        entry, at = one.entry, one.entry.integer("time")
        market, number = market_round.market.id, market_round.id
        state = self._state
        if market_round.state is RoundState.OPEN:
            row = RoundRow(
                market,
                number,
                RoundState.OPEN,
                market_round.reference,
                self._price_text(market_round.market, market_round.reference),
                entry.text("source", 200),
                at,
                one.sequence,
                state.books[market].terms.hash,
            )
        else:
            row = replace(self._round(market, number), state=market_round.state, reason=one.effects.reason)
        sealed = state.books[market].sealed
        if market_round.state is RoundState.SEALED and sealed is not None:
            row = replace(
                row,
                reference=market_round.reference,
                reference_price=self._price_text(market_round.market, market_round.reference),
                terms_hash=state.books[market].terms.hash,
                sealed_at=sealed.sealed_at,
                orders=len(sealed.orders),
                accounts=len(sealed.accounts),
                root=sealed.root,
                digest=sealed.digest(state.books[market].terms.domain),
                seal_sequence=one.sequence,
            )
            self._rows.sealed += [
                SealedRow(market, number, position, order.sequence, order.leaf)
                for position, order in enumerate(sealed.orders)
            ]
        result = one.effects.result
        if result is not None:
            row = replace(row, result_sequence=one.sequence)
            if result.crossed:
                text = self._price_text(market_round.market, result.price)  # of the grid as it is now
                row = replace(row, price=result.price, price_text=text, volume=result.volume)
        self._rows.rounds[market, number] = row
        self._tell_round(at, row)

    def _cleared(self, one: Committed, cleared: Cleared) -> None:
        entry, at, result = one.entry, one.entry.integer("time"), one.effects.result
        if result is None:
            return
        market, number = cleared.market, int(cleared.round)
        boxes = iter(entry.blobs[entry.integer("signatures") :])
        for account, net in result.nets.items():
            self._rows.boxes += [
                BoxRow(market, number, account, member, box)
                for member, box in zip(entry.fields["boxed"], boxes, strict=False)
            ]
            self._rows.fills[market, number, account] = FillRow(market, number, account, one.sequence, net)
            self._tell_fill(at, account, market, number, FillState.PROVISIONAL)

    def _window(self, one: Committed, pending: Pending) -> None:
        signed, at = SignedSettlement(self._state.domain, pending.settlement), one.entry.integer("time")
        self._rows.settlements[signed.digest] = SettlementRow(
            signed.digest,
            pending.settlement.id,
            one.sequence,
            signed.encode(),
            created_at=at,
            sealed_at=pending.settlement.sealed_at,
            rounds=json.dumps([[cleared.market.hex(), cleared.round] for cleared in pending.rounds]),
            flows=json.dumps([[self._state.tokens[f.token].hex(), f.gross, f.net] for f in pending.flows]),
        )
        for cleared in pending.rounds:
            row = self._round(cleared.market, cleared.round)
            row = replace(row, state=RoundState.SETTLING, settlement=signed.digest)
            self._rows.rounds[row.market, row.number] = row
            self._tell_round(at, row)

    def _end_settlement(self, pending: Pending, state: SettlementState) -> None:
        digest = SignedSettlement(self._state.domain, pending.settlement).digest
        row = self._rows.settlements.get(digest) or self._store.settlement(digest)
        if row is not None:
            self._rows.settlements[digest] = replace(row, state=state)

    def _end_round(self, at: int, cleared: Cleared, state: RoundState, fills: FillState) -> None:
        market, number = cleared.market, int(cleared.round)
        row = replace(self._round(market, number), state=state)
        self._rows.rounds[market, number] = row
        self._tell_round(at, row)
        written = {(f.market, f.round, f.account): f for f in self._store.round_fills(market, number)}
        waiting = {k: f for k, f in self._rows.fills.items() if k[:2] == (market, number)}
        for key, fill in (written | waiting).items():
            self._rows.fills[key] = replace(fill, state=fills)
            self._tell_fill(at, fill.account, market, number, fills)

    # --- events -------------------------------------------------------------------------------------

    def _tell(self, at: int, account: bytes | None, kind: str, data: Mapping[str, object]) -> None:
        self._rows.events.append(EventRow(at, account, kind, json.dumps(data, sort_keys=True)))

    def _tell_round(self, at: int, row: RoundRow) -> None:
        data: dict[str, object] = {"market": hex_text(row.market), "round": row.number, "state": row.state}
        data["reference"] = row.reference_price
        if row.price_text is not None:
            data["price"] = row.price_text
        if row.volume is not None:
            data["volume"] = row.volume
        if row.reason:
            data["reason"] = row.reason
        self._tell(at, None, "round", data)

    def _tell_fill(self, at: int, account: bytes, market: bytes, number: int, state: FillState) -> None:
        self._tell(at, account, "fill", {"market": hex_text(market), "round": number, "state": state})


def _order_row(order: ListedOrder, at: int) -> OrderRow:
    s = order.statement
    return OrderRow(
        order.hash,
        order.sequence,
        s.market,
        order.account,
        order.nonce,
        s.first_round,
        s.time_in_force,
        s.valid_until,
        at,
    )


def receipt_of(state: VenueState, one: Committed, key: PrivateKey) -> Receipt:
    """The operator's receipt for an order, replacement or cancellation that is in the log."""
    entry = one.entry
    if one.effects.accepted:
        order = one.effects.accepted[0]
        book, subject, account = state.books[order.statement.market], order.hash, order.account
    else:
        book, account = state.book(entry), Address(entry.octets("account", 20))
        subject = _wish_digest(state, entry)
    receipt = Receipt(
        kind=_KINDS[entry.op],
        subject=subject,
        market=book.terms.market.id,
        account=account,
        sequence=one.sequence,
        size=one.sequence + 1,
        root=one.root,
        round=0 if book.round is None else book.round.id,
        time=entry.integer("time"),
        policy=book.terms.policy_hash,
    )
    return receipt.signed(book.terms.domain, key)


def _wish_digest(state: VenueState, entry: Message) -> bytes:
    terms, account = state.book(entry).terms, Address(entry.octets("account", 20))
    if entry.op == "cancel":
        return cancel_digest(terms, account, Nonce(entry.integer("nonce")))
    return cancel_all_digest(terms, account, Nonce(entry.integer("below")))

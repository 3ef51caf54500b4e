"""The compliance desk: which orders may be in a running venue's books, decided by the policy in force.

screen   before an order's proof is looked at: is it worth it?
admit    before orders get their place in the log: decided for good, on record, durably
check    in the log's turn: was it decided by what is in force now?
releases before a round is sealed, and after every change: who may stand no longer?
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from compliance.audit_record import Kind, Record
from compliance.facts import Facts
from compliance.hooks import NotScreened, Plugins
from compliance.policy_decision import Builtin, Decision
from compliance.recorder import Recorder
from darkpool.book import Book
from darkpool.engine import Committed, Draft
from darkpool.errors import DarkpoolError, OrderRefused
from darkpool.jsonfields import hex_text
from darkpool.listing import ListedOrder
from darkpool.market import Market
from darkpool.screening import PolicyTerms, Release
from darkpool.types import Address, address_hex
from darkpool.windows import Pending

VENUE: Final = "venue"
HALTED: Final = "halted by the operator"
NO_HANDLE: Final = "lacks a handle that the policy demands"
UNSCREENED: Final = "a plugin of the venue objects"
_HINT: Final = "`darkpool access`, or GET /v1/accounts/{account}/access, says what is allowed"
SIGN_SECONDS: Final = 60
_AT_ONCE: Final = 64  # decisions between two looks at what else is to be done

log = logging.getLogger("darkpool.desk")


class Desk:
    """Screens a venue (darkpool/screening.py) by `facts`, and writes down what it decided."""

    def __init__(self, facts: Facts, recorder: Recorder, plugins: Plugins) -> None:
        self.facts: Final = facts
        self.recorder: Final = recorder
        self.plugins: Final = plugins
        self._admitted: tuple[int, frozenset[bytes]] = (0, frozenset())
        self._swept: dict[bytes, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def segments(self, market: str) -> Mapping[str, PolicyTerms]:
        """The segments of a market with what the policy adds to their terms."""
        return self.facts.segments(market)

    async def register(self, account: Address) -> None:
        """Asks the plugins. Raises OrderRefused."""
        if sentences := await self.plugins.objections("register", account=account):
            raise _refused(sentences, "plugin")

    # --- orders on their way ------------------------------------------------------------------------

    async def screen(self, order: ListedOrder, book: Book, others: int) -> None:
        """Policy, segment, handles, plugins. A refusal is on record, durably, before it is raised."""
        market = book.terms.market
        decision = self.facts.decide(order.account, market.instrument, self.recorder.now, others)
        refusal = objection(decision, order, market)
        if refusal is None:
            try:
                sentences = await self.plugins.objections(
                    "submit", account=order.account, market=market.instrument, order=order.hash
                )
                refusal = _refused(sentences, "plugin") if sentences else None
            except NotScreened as error:
                refusal = error
        if refusal is not None:
            await self.recorder.write([self._record(decision, order, market, refusal)])
            raise refusal

    async def admit(self, drafts: Sequence[Draft], books: Mapping[bytes, Book]) -> dict[int, OrderRefused]:
        """The refused by position; every decision is on record, durably."""
        refused: dict[int, OrderRefused] = {}
        more: Counter[tuple[bytes, Address]] = Counter()
        hashes, version = set(), self.facts.version
        for position, draft in enumerate(drafts):
            order = draft.order
            if order is None or (book := books.get(order.statement.market)) is None:
                continue  # the log refuses it
            key = (order.statement.market, order.account)
            others = book.open_orders(order.account) + more[key] - (draft.op == "replace")
            market = book.terms.market
            decision = self.facts.decide(order.account, market.instrument, self.recorder.now, others)
            refusal = objection(decision, order, market)
            if self.facts.policy is not None or refusal is not None:
                self.recorder.note(self._record(decision, order, market, refusal))
            if refusal is not None:
                refused[position] = refusal
                continue
            more[key] += draft.op != "replace"
            hashes.add(order.hash)
        await self.recorder.flush()
        self._admitted = version, frozenset(hashes)
        return refused

    def check(self, draft: Draft, books: Mapping[bytes, Book]) -> None:
        """Raises OrderRefused for an order or a seal that was screened by what is no longer in force."""
        version, order = self.facts.version, draft.order
        if order is not None:
            if self._admitted[0] != version or order.hash not in self._admitted[1]:
                raise NotScreened("order", "what is allowed has just changed")
        elif draft.op == "seal":
            market = bytes.fromhex(draft.fields["market"])
            if self._swept.get(market) != version or books[market].terms.policy_hash != self.facts.hash:
                raise NotScreened("seal", "the policy has just changed")

    def _record(
        self, decision: Decision, order: ListedOrder, market: Market, refusal: OrderRefused | None
    ) -> Record:
        body: dict[str, object] = {
            "market": market.name,
            "order": hex_text(order.hash),
            "nonce": order.nonce,
            "allowed": refusal is None,
            "revocations": self._sequences(),
            "decision": decision.as_json(),
        }
        if refusal is not None:
            body |= {"code": refusal.code, "why": refusal.message}
        now = self.recorder.now
        return Record(Kind.DECISION, now, VENUE, hex_text(order.hash), order.account, body=body)

    def _sequences(self) -> dict[str, int]:
        return {address_hex(issuer): number for issuer, number in self.facts.sequences.items()}

    # --- orders that stand --------------------------------------------------------------------------

    async def releases(self, book: Book, *, sealing: bool) -> list[Release]:
        """Those whom policy, blocks or, before a seal, plugins have no place for; exactly those.

        The decisions are on record, durably. Raises NotScreened while plugins give no answer, StoreError.
        """
        version, market, now = self.facts.version, book.terms.market, self.recorder.now
        objected = await self._objected(book) if sealing else {}
        found: dict[str, list[ListedOrder]] = {}
        unsealed = {o.sequence for o in book.unsealed}
        earlier: Counter[Address] = Counter()
        for count, order in enumerate(book.standing):
            if count % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            decision = self.facts.decide(order.account, market.instrument, now, earlier[order.account])
            reason = self.reason(decision, order, market)
            if not reason and order.account in objected:
                reason = UNSCREENED
            if not reason or order.sequence not in unsealed:
                earlier[order.account] += 1
                continue
            found.setdefault(reason, []).append(order)
            body = {"market": market.name, "reason": reason, "decision": decision.as_json()}
            if reason == UNSCREENED:
                body["why"] = objected[order.account]
            self.recorder.note(
                Record(Kind.RELEASE, now, VENUE, hex_text(order.hash), order.account, body=body)
            )
        if not found:
            self._swept[market.id] = version
            return []
        await self.recorder.flush()
        return [Release(tuple(orders), reason) for reason, orders in found.items()]

    async def _objected(self, book: Book) -> dict[Address, str]:
        accounts = tuple(dict.fromkeys(o.account for o in book.unsealed))
        market_round = book.current_round
        return await self.plugins.objected(book.terms.market.name, market_round.id, accounts)

    def reason(self, decision: Decision, order: ListedOrder, market: Market) -> str:
        """Why a standing order may stand no longer, for everybody; empty if it may.

        A handle more than is owed does no harm.
        """
        if decision.rules == (Builtin.BLOCKED,):
            return HALTED
        if not decision.allowed or decision.segment != market.segment:
            return f"the policy {decision.policy.hex()[:8]} has no place for it"
        owed = {key.encode() for key in decision.auditor_keys}
        given = {key.encode() for key in order.statement.auditor_keys}
        return "" if owed <= given else NO_HANDLE

    def stop(self, book: Book) -> str:
        """A block that came after the list was sealed stops its clearing."""
        if book.sealed is None:
            return ""
        market = book.terms.market.instrument
        stopped = (self.facts.stopping(market, account) for account in book.sealed.accounts)
        return HALTED if any(block is not None for block in stopped) else ""

    # --- what happened ------------------------------------------------------------------------------

    def told(self, done: Sequence[Committed], chain_time: int) -> None:
        """Writes down seals with their clocks, and settlements that are final; signs the log."""
        records = []
        for one in done:
            if one.entry.op == "seal":
                body: dict[str, Any] = {
                    "market": one.entry.fields["market"],
                    "round": one.entry.fields["round"],
                    "sealed_at": one.entry.fields["time"],
                    "chain_time": chain_time,
                    "policy": hex_text(self.facts.hash),
                }
                records.append(Record(Kind.CLOCK, self.recorder.now, VENUE, body=body))
            for state, ended in (("settled", one.effects.settled), ("void", one.effects.void)):
                for pending in ended:
                    records.append(self._settlement(pending, state))
                    self._begin(self._tell(pending, state))
        if records:
            self.recorder.note(*records)
            self._begin(self._sign())

    def _settlement(self, pending: Pending, state: str) -> Record:
        rounds = [[cleared.market.hex(), int(cleared.round)] for cleared in pending.rounds]
        body: dict[str, Any] = {"state": state, "rounds": rounds}
        return Record(Kind.SETTLEMENT, self.recorder.now, VENUE, str(pending.settlement.id), body=body)

    async def _tell(self, pending: Pending, state: str) -> None:
        accounts = tuple(dict.fromkeys(d.account for c in pending.rounds for d in c.deltas))
        try:
            await self.plugins.ask("settle", number=pending.settlement.id, state=state, accounts=accounts)
        except NotScreened as error:
            log.warning("%s", error)

    async def keep_signed(self) -> None:
        """Signs the audit log every SIGN_SECONDS: with nothing to seal it would stand unsigned."""
        while True:
            await asyncio.sleep(SIGN_SECONDS)
            await self._sign()

    async def _sign(self) -> None:
        try:
            await self.recorder.sign()
        except DarkpoolError as error:
            log.warning("the audit log is behind: %s", error)  # the next flush has it

    def _begin(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def objection(decision: Decision, order: ListedOrder, market: Market) -> OrderRefused | None:
    """Why an order may not be placed in that market under a decision about its account, if so."""
    if not decision.allowed:
        rule = decision.rules[0] if decision.rules else str(Builtin.ERROR)
        code = "operator-block" if rule == Builtin.BLOCKED else "policy-denied"
        return _refused([reason.sentence for reason in decision.reasons], rule, code)
    if decision.segment != market.segment:
        return OrderRefused(
            f"segment: this account trades in {decision.segment}, the order is for {market.segment}",
            "fetch the account's access and seal for its own market",
            "wrong-segment",
            {"segment": str(decision.segment)},
        )
    if order.statement.policy_hash != decision.policy:
        return OrderRefused(
            "policy_hash: another policy is in force by now",
            "fetch the market's terms and seal anew",
            "terms-mismatch",
        )
    owed = [key.encode() for key in decision.auditor_keys]
    if [key.encode() for key in order.statement.auditor_keys] != owed:
        names = ", ".join(auditor.name for auditor in decision.auditors) or "no auditor"
        return OrderRefused(
            f"auditor_keys: the order must carry handles for {names}, and for nobody else",
            "fetch the account's access and seal with the keys that it owes",
            "handle-missing",
            {"auditors": names},
        )
    return None


def _refused(sentences: Sequence[str], rule: str, code: str = "policy-denied") -> OrderRefused:
    return OrderRefused(" ".join(sentences), _HINT, code, {"rule": rule})

"""Everything a trader can do at a venue, put together from the parts. Coroutines are of steps.py."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from darkpool.book import cancel_all_digest, cancel_digest
from darkpool.client.access import Access
from darkpool.client.account_state import AccountState
from darkpool.client.answers import MarketInfo
from darkpool.client.connection import Connection
from darkpool.client.disputes import Disputes
from darkpool.client.family import Family, families
from darkpool.client.funds import Funds, tokens_of
from darkpool.client.history import History
from darkpool.client.intent import Wanted, intent_of, renewal
from darkpool.client.own_order import OwnOrder
from darkpool.client.prover import Prover
from darkpool.client.round_fills import RoundFills
from darkpool.client.submission import Outcome, Placed, Submission, check_receipt
from darkpool.client.trader_home import TraderHome
from darkpool.client.venue_api import VenueApi, VenueRefused
from darkpool.eip712 import sign_digest
from darkpool.errors import DarkpoolError, OrderRefused, PeerFault
from darkpool.inclusion import check_inclusion
from darkpool.instrument import TokenUnits
from darkpool.keystore import Keystore
from darkpool.market import RoundState
from darkpool.order import TimeInForce
from darkpool.receipt import Kind, Receipt
from darkpool.store.records import OrderState
from darkpool.types import Address, Nonce, Quanta


@dataclass(frozen=True, slots=True)
class Balance:
    """A token of the account, in quanta: on chain, of that free to lock, and what is not settled yet."""

    units: TokenUnits
    balance: Quanta
    free: Quanta = field(repr=False)
    pending_debit: Quanta
    pending_credit: Quanta


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found again, from the keystore and the venue's data. set_aside: as `Trading.set_aside`."""

    families: tuple[Family, ...] = field(repr=False)
    fills: tuple[RoundFills, ...] = field(repr=False)
    balances: tuple[Balance, ...] = field(repr=False)
    receipts: int
    set_aside: tuple[int, ...]


class Trading:
    """One account at one venue. `rpc_url`: of the trader's own node, to check the venue by."""

    def __init__(
        self, keystore: Keystore, home: TraderHome, prover: Prover, rpc_url: str | None = None
    ) -> None:
        self.api: Final = VenueApi(keystore.private_key)
        self.connection: Final = Connection(self.api, home, rpc_url)
        self.history: Final = History(self.connection, keystore, home)
        self.funds: Final = Funds(self.connection, keystore)
        self.disputes: Final = Disputes(self.connection, keystore, home)
        self._submission = Submission(self.connection, self.history, keystore, home, prover)
        self._keystore, self._home = keystore, home
        self.set_aside: tuple[int, ...] = ()
        """Families, by root, with something left and not renewed, as the folder came without its past."""

    @property
    def ended(self) -> frozenset[int]:
        """Families of which the trader wants nothing renewed."""
        return self._home.ended

    async def connect(self, *, read_only: bool, send: bool = True) -> None:
        """Meet the venue, and with `send` end what was on its way.

        Raises as VenueApi, ConfigError, ChainError.
        """
        await self.connection.refresh()
        if not read_only:
            if send:
                await self._submission.flush()
            await self._take_up()

    async def _take_up(self) -> None:
        """A folder without its past does not know what was cancelled, so it renews nothing that is left.

        That is what waits, and what a sealed round may leave: for that a cancellation comes too late, and
        only the folder it came from knows.
        """
        if self._home.has_past:
            return
        state, now = await self.history.state(), int(time.time())
        found = (await self.families()).values()
        left = tuple(f.root for f in found if f.waiting(now) or self._may_leave(f))
        self._home.recovered(state.answer.highest_used + 1, now, left)
        self.set_aside = left

    def _may_leave(self, family: Family) -> bool:
        record = family.latest.record
        if record.state is not OrderState.STANDING or record.time_in_force == TimeInForce.ROUND:
            return False
        state = self.connection.info(record.market).round_state
        return state in {RoundState.SEALED, RoundState.CLEARING}

    # --- placing ------------------------------------------------------------------------------------

    async def submit(self, wanted: Sequence[Wanted]) -> list[Outcome]:
        """One outcome each, in order; later ones are proven against what earlier ones leave.

        An order whose reference was used before is not placed again: if it says the same, its outcome is that
        of the first. What is unanswered is sent first. Raises what leaves that in doubt.
        """
        await self.connection.refresh()
        await self._submission.flush()
        await self.connection.ask_access()
        known = await self._by_reference() if any(w.reference for w in wanted) else {}
        outcomes: list[Outcome | None] = []
        intents = []
        for want in wanted:
            try:
                info = self.connection.market(want.market)
                intent = intent_of(want, info)
                if want.reference in known:
                    outcomes.append(await self._again(known[want.reference], want, info))
                    continue
            except DarkpoolError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
                intents.append(intent)
        done = iter(await self._submission.submit(intents))
        return [next(done) if outcome is None else outcome for outcome in outcomes]

    async def _by_reference(self) -> dict[str, Family]:
        return {f.members[0].own.reference: f for f in (await self.families()).values()}

    async def _again(self, family: Family, want: Wanted, info: MarketInfo) -> Placed:
        first = family.members[0].own
        same = intent_of(want, info)
        if (first.statement.market, first.statement.terms_hash) == (same.market, same.terms_hash):
            said = (first.order.side, first.order.level, first.order.quantity)
            asked = (same.order.side, same.order.level, same.order.quantity)
            times = (first.statement.time_in_force, first.statement.valid_until)
            if said == asked and times == (same.time_in_force, same.valid_until):
                return Placed(family.root, first.hash, await self.receipt(first.hash))
        raise OrderRefused(
            "reference: another order has it already", "use a reference for one order only", "reference-used"
        )

    async def replace(self, root: int, wanted: Wanted) -> Placed:
        """Put another order of the same market in the place of one that stands; it keeps its name.

        Raises VenueRefused (order-sealed while its round is cleared), OrderRefused, and as VenueApi.
        """
        await self.connection.refresh()
        await self._submission.flush()
        await self.connection.ask_access()
        family = await self.family(root)
        known = family.latest
        info = self.connection.info(known.record.market)
        intent = intent_of(replace(wanted, market=info.name, reference=known.own.reference), info)
        if known.record.state is not OrderState.STANDING:
            raise _not_standing(root, known.record.state)
        intent = replace(intent, root=Nonce(root), replaces=known.own)
        (outcome,) = await self._submission.submit([intent])
        if isinstance(outcome, DarkpoolError):
            raise outcome
        return outcome

    # --- cancelling ---------------------------------------------------------------------------------

    async def cancel(self, root: int) -> Receipt | None:
        """Take an order out, and renew nothing of it; the receipt, or None if it did not stand.

        Then only a remainder was waiting, or the order was unanswered and the venue does not have it: it is
        not sent again. Raises VenueRefused of code order-sealed: what is left after its round is not renewed.
        OrderRefused if it has ended.
        """
        await self.connection.refresh()
        unanswered = [own for own in self.unanswered() if own.root == root]
        for own in unanswered:
            try:
                receipt = await self._cancelled(own)
            except VenueRefused as refused:
                if refused.code != "order-not-standing":
                    raise
                self._home.refused(own.hash)
            else:
                self._home.refused(own.hash)
                return receipt
        family = (await self.families()).get(root)
        if family is None and unanswered:
            return None
        family = await self.family(root)
        known = family.latest
        if known.record.state is not OrderState.STANDING:
            if not unanswered and not family.waiting(int(time.time()), self._home.ended):
                raise _not_standing(root, known.record.state)
            self._home.end(root)
            return None
        return await self._cancelled(known.own)

    async def _cancelled(self, own: OwnOrder) -> Receipt:
        self._home.end(own.root)
        info = self.connection.info(own.statement.market)
        digest = cancel_digest(info.terms, self._keystore.address, own.nonce)
        signature = sign_digest(digest, self._keystore.private_key)
        receipt = await self.api.cancel(info.terms.market.id, own.nonce, signature)
        self._keep(receipt, Kind.CANCEL, digest, info)
        self._home.cancelled(own.root)
        return receipt

    async def cancel_all(self, market: str = "") -> list[Receipt]:
        """Take every unsealed order of a market out, or of all markets, and renew nothing of any.

        One receipt for each market where some stood. What is unanswered is not sent again.
        """
        await self.connection.refresh()
        chosen = self.connection.named(market) or [self.connection.market(market)]
        markets = {info.terms.market.id for info in chosen}
        open_families = [f for f in (await self.families()).values() if f.latest.record.market in markets]
        unanswered = self.unanswered()
        now, below = int(time.time()), self._home.next_nonce
        for family in open_families:
            below = max(below, family.latest.own.nonce + 1)
            if family.latest.record.state is OrderState.STANDING or family.waiting(now, self._home.ended):
                self._home.end(family.root)
        receipts = []
        for info in chosen:
            digest = cancel_all_digest(info.terms, self._keystore.address, Nonce(below))
            signature = sign_digest(digest, self._keystore.private_key)
            try:
                receipt = await self.api.cancel_all(info.terms.market.id, below, signature)
            except VenueRefused as refused:
                if refused.code != "order-not-standing":
                    raise
            else:
                self._keep(receipt, Kind.CANCEL_ALL, digest, info)
                receipts.append(receipt)
            for own in unanswered:
                if own.statement.market == info.terms.market.id:
                    self._home.refused(own.hash)
        return receipts

    def _keep(self, receipt: Receipt, kind: Kind, digest: bytes, info: MarketInfo) -> None:
        check_receipt(receipt, kind, digest, self._keystore.address, info)
        self._home.keep_receipt(receipt)

    # --- renewing -----------------------------------------------------------------------------------

    async def due(self) -> list[int]:
        """Families of which something is to be re-submitted, by root."""
        now, ended = int(time.time()), self._home.ended
        return [root for root, f in (await self.families()).items() if f.waiting(now, ended)]

    async def renew(self, root: int) -> Placed | None:
        """Re-submit what is left of a family, if that is still so. Raises OrderRefused, and as VenueApi.

        Once, whatever happens: the new order's note names the root, so with it the family waits no more, and
        until its answer is known it is in the outbox.
        """
        await self.connection.refresh()
        await self._submission.flush()
        await self.connection.ask_access()
        found = (await self.families()).get(root)
        if found is None:
            return None
        lots = found.waiting(int(time.time()), self._home.ended)
        if not lots:
            return None
        info = self.connection.info(found.latest.record.market)
        (outcome,) = await self._submission.submit([renewal(found.latest.own, lots, info)])
        if isinstance(outcome, DarkpoolError):
            raise outcome
        return outcome

    # --- looking ------------------------------------------------------------------------------------

    async def families(self) -> dict[int, Family]:
        """All orders ever accepted, as the trader knows them, by root."""
        return families(await self.history.orders())

    def unanswered(self) -> list[OwnOrder]:
        """Orders signed here that have no answer yet; the venue may have them or not."""
        return self._submission.unanswered()

    async def family(self, root: int) -> Family:
        """One of them. Raises OrderRefused of code order-unknown."""
        found = (await self.families()).get(root)
        if found is None:
            raise OrderRefused(f"order: none of the name {root}", "list your orders", "order-unknown")
        return found

    async def fills(self) -> list[RoundFills]:
        """The account's part in every crossing round, checked against what the members signed."""
        return await self.history.fills()

    async def balances(self) -> list[Balance]:
        """Every token, checked against the orders, and against the chain if it can be asked."""
        return self._balances(await self.history.state())

    def _balances(self, state: AccountState) -> list[Balance]:
        units: dict[Address, TokenUnits] = tokens_of(self.connection.markets.values())
        return [
            Balance(
                units[row.token],
                row.balance,
                Quanta(state.free[row.token].opening.value),
                row.pending_debit,
                row.pending_credit,
            )
            for row in state.answer.tokens
            if row.token in units
        ]

    async def access(self) -> list[Access]:
        """What the account may do in each market, by the policy in force."""
        await self.connection.refresh()
        return await self.api.access()

    async def present(self, credential: bytes) -> None:
        """Present a credential about this account. Raises VenueRefused naming the check that failed."""
        await self.connection.refresh()
        await self.api.present(credential)

    async def receipt(self, subject: bytes) -> Receipt:
        """The operator's receipt for an own order, from this folder or the venue; checked."""
        kept = self._home.receipt(subject)
        if kept is not None:
            return kept
        found = await self.api.receipt(subject)
        if found is None:
            raise PeerFault(f"it has no receipt for order {subject.hex()}", peer="venue")
        receipt = found.receipt
        check_receipt(
            receipt, receipt.kind, subject, self._keystore.address, self.connection.info(receipt.market)
        )
        self._home.keep_receipt(receipt)
        return receipt

    async def check_inclusion(self, order: bytes) -> str:
        """What became of an own order, by its receipt, the log and the sealed lists, in a sentence.

        Raises PeerFault with what does not hold, which with the receipt is evidence.
        """
        receipt = await self.receipt(order)
        evidence = await self.api.evidence(order)
        sealed = None
        for number in (receipt.round, receipt.round + 1):
            try:
                found = await self.api.sealed(receipt.market, number)
            except VenueRefused as refused:
                if refused.code != "round-unknown":
                    raise
                break
            later = bool(found.signatures) and receipt.sequence < max(found.sequences, default=-1)
            if receipt.subject in found.hashes or later:
                sealed = found
                break
        await self.connection.refresh()  # who signed may have taken office since we last looked
        info = self.connection.info(receipt.market)
        return check_inclusion(receipt, evidence, sealed, info.terms, info.tenures, info.operator)

    async def recover(self) -> Recovered:
        """Everything again: orders, fills, balances, receipts.

        In a folder without its past nonces go on above what the venue knows, and no remainder is renewed.
        """
        await self.connection.refresh()
        await self._take_up()
        state = await self.history.state()
        found = await self.families()
        hashes = [known.own.hash for family in found.values() for known in family.members]
        for digest in hashes:
            await self.receipt(digest)
        fills = await self.history.fills()
        balances = tuple(self._balances(state))
        return Recovered(tuple(found.values()), tuple(fills), balances, len(hashes), self.set_aside)


def _not_standing(root: int, state: OrderState) -> OrderRefused:
    return OrderRefused(
        f"order: {root} is {state}, it does not stand", "look at your orders", "order-not-standing"
    )

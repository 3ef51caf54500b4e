"""Orders on their way: drafted against what is free, signed once, kept until answered, sent in order.

    reserve nonces (durable) -> draft -> prove and sign -> outbox (durable) -> send -> check receipt -> keep

An order is in the outbox before it is sent and leaves it with its receipt or its refusal; one that got
neither is sent again before anything else is placed, which is the same order to the venue. Orders in one go
are each drafted against the F that the one before leaves; from the first refusal on they are refused
together, and drafted anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from commitments.encoding import Reader
from commitments.errors import CommitmentsError
from commitments.order_statement import Statement
from darkpool.book import cancel_digest
from darkpool.client.account_state import AccountState
from darkpool.client.answers import MarketInfo
from darkpool.client.connection import Connection
from darkpool.client.history import History
from darkpool.client.intent import Intent
from darkpool.client.outgoing import Outgoing
from darkpool.client.own_order import OwnOrder, open_order
from darkpool.client.prover import Job, Prover
from darkpool.client.steps import Sleep, Work
from darkpool.client.trader_home import TraderHome
from darkpool.client.venue_api import HALTED, VenueRefused
from darkpool.draft import Collateral, Draft, Standing, draft
from darkpool.eip712 import sign_digest
from darkpool.errors import ConfigError, DarkpoolError, OrderRefused, PeerFault
from darkpool.keystore import Keystore
from darkpool.market import RoundState
from darkpool.order import TimeInForce
from darkpool.receipt import Kind, Receipt
from darkpool.types import Address, Nonce, RoundId

CHUNK: Final = 32
"""Orders signed in one go: so many nonces are lost for a day if the first is refused."""

_TRIES: Final = 5
_PAUSE: Final = 0.3
_ROUND_PAUSE: Final = 3.0
# What a new draft against the present state of things may mend.
_AGAIN: Final = frozenset({"collateral-decreased", "nonce-used", "nonce-beyond-window", "round-closed"})

log = logging.getLogger("darkpool.client")


@dataclass(frozen=True, slots=True)
class Placed:
    """An accepted order. root: the name of its family, by which to ask for it."""

    root: int
    hash: bytes
    receipt: Receipt = field(repr=False)


Outcome: TypeAlias = Placed | DarkpoolError


class Submission:
    """Signs and sends for one account. Coroutines are of steps.py; never two at once."""

    def __init__(
        self, connection: Connection, history: History, keystore: Keystore, home: TraderHome, prover: Prover
    ) -> None:
        self._connection, self._history = connection, history
        self._keystore, self._home, self._prover = keystore, home, prover
        self._state: AccountState | None = None
        self._free: dict[Address, Collateral] = {}

    async def flush(self) -> None:
        """Send what has no answer yet; then each is accepted or gone. Raises what leaves one in doubt."""
        self._home.check_writable()
        for outgoing in self._home.outgoing():
            root = self._own(outgoing).root
            try:
                await self._deliver(outgoing)
            except DarkpoolError as error:
                if _in_doubt(error):
                    raise _kept(error, root) from None
                self._home.refused(outgoing.hash)
                log.warning("order %d had no answer, was sent again and is refused: %s", root, error)

    def unanswered(self) -> list[OwnOrder]:
        """Orders signed that have no answer yet, oldest first; the venue may have them or not."""
        return [self._own(outgoing) for outgoing in self._home.outgoing()]

    def _own(self, outgoing: Outgoing) -> OwnOrder:
        try:
            statement = Statement.read(Reader(outgoing.raw))
        except CommitmentsError as error:
            raise ConfigError(
                f"outbox: {outgoing.hash.hex()}.order is no order: {error}",
                "move it away; the venue never had it",
            ) from None
        info = self._connection.info(statement.market)
        return open_order(outgoing.raw, info.terms, self._keystore.address, self._keystore.seed)

    async def submit(self, intents: Sequence[Intent]) -> list[Outcome]:
        """One outcome each, in order. Only what concerns none in particular is raised.

        Nothing is sent behind an order in doubt: what it could lock depends on that one.
        """
        outcomes: list[Outcome] = []
        tries = 1
        while len(outcomes) < len(intents):
            part = await self._some(intents[len(outcomes) : len(outcomes) + CHUNK])
            last = part[-1]
            if isinstance(last, OrderRefused):
                self._state = None  # what we predicted is not so
                intent = intents[len(outcomes) + len(part) - 1]
                again = last.code in _AGAIN or await self._under_another_key(intent, last)
                if again and tries < _TRIES:
                    tries = tries + 1 if len(part) == 1 else 1
                    part.pop()
                    await Sleep(_ROUND_PAUSE if last.code == "round-closed" else _PAUSE)
                else:
                    tries = 1
            outcomes += part
            if isinstance(last, DarkpoolError) and _in_doubt(last):
                outcomes += [_unsent() for _ in intents[len(outcomes) :]]
        return outcomes

    async def _under_another_key(self, intent: Intent, refused: OrderRefused) -> bool:
        """Whether the committee's key was changed meanwhile, and nothing else of the terms."""
        if refused.code != "terms-mismatch":
            return False
        await self._connection.refresh()
        info = self._connection.info(intent.market)
        return info.terms.hash != intent.terms_hash and info.same_but_key(intent.terms_hash)

    async def _some(self, intents: Sequence[Intent]) -> list[Outcome]:
        """The outcomes of at least the first, up to one that went wrong."""
        await self._connection.refresh()
        signed: list[tuple[Intent, Draft]] = []
        predicted = self._state is not None
        try:
            await self._prepare(fresh=any(i.replaces is not None for i in intents))
            self._draft(intents, signed)
        except OrderRefused as refused:
            if not signed and predicted:  # of F we know what it is at least: look how much it is
                self._state = None
                return await self._some(intents)
            if not signed:
                return [refused]
        jobs = [
            Job(done, self._connection.info(intent.market).terms, self._keystore.private_key)
            for intent, done in signed
        ]
        raws = await Work(lambda: self._prover(jobs))
        return await self._send(signed, raws)

    async def _prepare(self, *, fresh: bool) -> None:
        if self._state is None or fresh:
            self._state = await self._history.state()
            self._free = dict(self._state.free)

    def _draft(self, intents: Sequence[Intent], signed: list[tuple[Intent, Draft]]) -> None:
        """Fill `signed`, as far as the collateral goes. Raises OrderRefused for the first that cannot be."""
        if self._state is None:
            raise AssertionError("drafted before the state is known")
        answer, now = self._state.answer, int(time.time())
        if not answer.known:
            raise OrderRefused(
                "account: it has no final deposit", "deposit first, and wait for finality", "account-unknown"
            )
        nonces = self._home.reserve(len(intents), answer.lowest_unused, answer.used_above, now)
        try:
            for intent, nonce in zip(intents, nonces, strict=True):
                if signed and intent.replaces is not None:
                    return  # proven against what is current: alone
                signed.append((intent, self._one(intent, nonce, now)))
        finally:
            self._home.unsigned(nonces[len(signed) :])

    def _one(self, intent: Intent, nonce: Nonce, now: int) -> Draft:
        info = self._connection.info(intent.market)
        market = info.terms.market
        if not info.same_but_key(intent.terms_hash):
            raise OrderRefused(
                f"market {info.name}: its terms have just changed",
                "look at them, and submit anew",
                "terms-mismatch",
            )
        if not info.round or (
            intent.time_in_force is TimeInForce.ROUND and info.round_state is not RoundState.OPEN
        ):
            raise OrderRefused("round: none is open", "wait for the next one", "round-closed")
        frees = []
        for place, token in enumerate((market.base, market.quote)):
            free = self._free[token]
            if intent.replaces is not None:
                free = Collateral(free.opening + intent.replaces.locked[place], free.version)
            need = intent.locks(info)[place]
            if need > free.opening.value:
                units = (info.instrument.base, info.instrument.quote)[place]
                raise OrderRefused(
                    f"collateral: the order locks more {units.symbol} than is free",
                    "see `darkpool balance`; deposit more, or cancel orders",
                    "collateral-short",
                )
            frees.append(free)
        access = self._connection.access.get(market.instrument)
        keys = None if access is None else access.owed(info)
        standing = Standing(RoundId(info.round), now, intent.time_in_force, intent.valid_until, keys)
        account, seed = self._keystore.address, self._keystore.seed
        done = draft(info.terms, account, seed, nonce, intent.noted(nonce), standing, frees[0], frees[1])
        for token, free, lock in zip((market.base, market.quote), frees, done.locked, strict=True):
            self._free[token] = Collateral(free.opening - lock, free.version + 1)
        return done

    async def _send(self, signed: Sequence[tuple[Intent, Draft]], raws: Sequence[bytes]) -> list[Outcome]:
        going = [Outgoing(raw, self._wish(intent)) for (intent, _), raw in zip(signed, raws, strict=True)]
        for outgoing in going:
            self._home.put(outgoing)
        outcomes: list[Outcome] = []
        for (intent, done), outgoing in zip(signed, going, strict=True):
            root = done.statement.nonce if intent.root is None else intent.root
            try:
                receipt = await self._deliver(outgoing)
            except DarkpoolError as error:
                self._state = None
                doubt = _in_doubt(error)
                for unsent in going[len(outcomes) + doubt :]:
                    self._home.refused(unsent.hash)
                return [*outcomes, _kept(error, root) if doubt else error]
            outcomes.append(Placed(root, outgoing.hash, receipt))
        return outcomes

    def _wish(self, intent: Intent) -> tuple[Nonce, bytes] | None:
        if intent.replaces is None:
            return None
        terms, nonce = self._connection.info(intent.market).terms, intent.replaces.nonce
        digest = cancel_digest(terms, self._keystore.address, nonce)
        return nonce, sign_digest(digest, self._keystore.private_key)

    async def _deliver(self, outgoing: Outgoing) -> Receipt:
        """Send it; the receipt, checked and kept."""
        api, statement = self._connection.api, Statement.read(Reader(outgoing.raw))
        info = self._connection.info(statement.market)
        try:
            if outgoing.replaces is None:
                receipt = await api.submit(outgoing.raw)
            else:
                receipt = await api.replace(outgoing.raw, *outgoing.replaces)
        except VenueRefused as refused:
            # A venue that stops says so as well, and may have written the order before.
            if refused.code != HALTED or (kept := await api.receipt(outgoing.hash)) is None:
                raise
            receipt = kept.receipt
        kind = Kind.ORDER if outgoing.replaces is None else Kind.REPLACE
        check_receipt(receipt, kind, outgoing.hash, self._keystore.address, info)
        if receipt.policy != statement.policy_hash:
            raise PeerFault("receipt: it names another policy than the order", peer="operator")
        self._home.accepted(outgoing, receipt)
        return receipt


def _in_doubt(error: DarkpoolError) -> bool:
    """Whether the order may be accepted all the same: the venue did not say no to it. Halted is a no."""
    if isinstance(error, VenueRefused):
        return error.status >= 500 and error.code != HALTED  # noqa: PLR2004
    return not isinstance(error, OrderRefused)


def _unsent() -> OrderRefused:
    return OrderRefused(
        "order: not sent, for one before it has no answer", "send it again once that is known", "not-sent"
    )


def _kept(error: DarkpoolError, root: int) -> DarkpoolError:
    """The error of an order in doubt, with a hint that says so."""
    error.hint = (
        f"order {root} may still be placed: it is kept, and sent again by the next command that places one. "
        f"`darkpool order status` says what became of it, `darkpool order cancel {root}` takes it back"
    )
    return error


def check_receipt(receipt: Receipt, kind: Kind, subject: bytes, account: Address, info: MarketInfo) -> None:
    """Raises PeerFault unless the operator promises just this."""
    receipt.check(info.terms.domain, info.operator)
    promised = (receipt.kind, receipt.subject, receipt.account, receipt.market)
    if promised != (kind, subject, account, info.terms.market.id):
        raise PeerFault("receipt: it is not for what was sent", peer="operator")

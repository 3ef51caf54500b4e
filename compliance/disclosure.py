"""Disclosure at a running venue: accounts grant and revoke, auditors ask, accounts see who did.

A venue checks what it can without the auditor's key, and records a query before it answers it. What it
answers is where to look: it learns the scope of a query, never what the auditor reads.

A query is refused by the name of the check that failed: of a grant as compliance/grant_checks.py has them,
and `other-market`; of a policy `auditor-not-named`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from commitments import sealing
from compliance.disclosure_answer import MAX_ORDERS, MAX_ROUNDS, Answer, ListedRound, VenueOrder
from compliance.disclosure_query import Basis, Query, QueryReceipt
from compliance.grant_checks import check_grant
from compliance.grant_revocations import Revocation, revoked_at
from compliance.grants import NODE_BYTES, Check, Grant, GrantRefused
from compliance.view_keys import MAX_NODES, NO_END
from darkpool import eip712
from darkpool.admission import DAY_SLACK_SECONDS
from darkpool.errors import OrderRefused
from darkpool.jsonfields import hex_text
from darkpool.store.disclosure_store import DisclosureStore
from darkpool.store.records import DisclosureQueryRow, GrantRevocationRow, GrantRow
from darkpool.store.venue_store import VenueStore
from darkpool.types import Address, PrivateKey, Signature, address_hex
from darkpool.venue_views import CollateralView, MarketView, Status

T = TypeVar("T")

MAX_LIVE_GRANTS: Final = 256
"""Of one account, that have not expired."""

ANSWERED: Final = "answered"
OTHER_MARKET: Final = "other-market"
NOT_NAMED: Final = "auditor-not-named"
_DAY: Final = 86_400
_MAX_TIME: Final = (1 << 63) - 1

_Found: TypeAlias = tuple[tuple[ListedRound, ...], tuple[VenueOrder, ...]]
_NOTHING: Final[_Found] = ((), ())


class Recorder(Protocol):
    """Writes into the audit log; what it returns from is durable. The account sees it from `visible_at` on.

    kind: grant, revocation or query; actor: who did it; visible_at: unix seconds, 0 for at once.
    """

    def __call__(
        self, kind: str, actor: str, body: Mapping[str, object], *, account: Address, visible_at: int
    ) -> Awaitable[None]:
        """Raises whatever kept it from being written."""


class DisclosingVenue(Protocol):
    """What is asked of a venue."""

    @property
    def markets(self) -> Mapping[bytes, MarketView]:
        """By id."""

    def status(self) -> Status:
        """How it stands."""

    async def read(self, read: Callable[[VenueStore], T]) -> T:
        """A read, or a write, of its database."""

    async def collateral(self, account: Address) -> CollateralView:
        """The account as it stands."""


@dataclass(frozen=True, slots=True)
class NamedAuditor:
    """An auditor that the policy names.

    account: which signs its queries; visible_after: seconds until an account sees that it was asked about.
    """

    account: Address
    visible_after: int


@dataclass(frozen=True, slots=True)
class KeptGrant:
    """A grant with when it came, its place in the list, and its revocation if there is one."""

    grant: Grant
    received_at: int
    position: int
    revocation: Revocation | None


class Disclosure:
    """Of one venue. `operator` signs receipts; auditors: those the policy names, by name."""

    def __init__(
        self,
        venue: DisclosingVenue,
        operator: PrivateKey,
        record: Recorder,
        auditors: Mapping[str, NamedAuditor] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._venue, self._operator, self._record, self._clock = venue, operator, record, clock
        self.auditors: Final[dict[str, NamedAuditor]] = dict(auditors or {})
        self._writes = asyncio.Lock()

    @property
    def now(self) -> int:
        """Unix seconds."""
        return int(self._clock())

    @property
    def domain(self) -> eip712.Domain:
        """Of the venue's vault."""
        return next(iter(self._venue.markets.values())).terms.domain

    async def _store(self, work: Callable[[DisclosureStore], T]) -> T:
        return await self._venue.read(lambda store: work(DisclosureStore(store.database)))

    # --- grants -------------------------------------------------------------------------------------

    async def grant(self, grant: Grant) -> bool:
        """Keep a grant; whether it is new. The same again changes nothing.

        1. known already; 2. of this vault, signed, neither expired nor early; 3. of a market and a
        log of this venue; 4. a box that could hold its days and no more than may be handed over; 5. by an
        account with a final deposit and few enough grants. Raises OrderRefused, StoreError.
        """
        header, now = grant.header, self.now
        async with self._writes:
            kept = await self._store(lambda store: store.grant(header.id))
            if kept is not None:  # 1
                if kept.payload != grant.encode():
                    raise _grant_refused(Check.MALFORMED, "its id is another grant's", "make another one")
                return False
            with _refusing():
                check_grant(grant, self.domain, now)  # 2
            self._check_here(grant)  # 3, 4
            if not (await self._venue.collateral(header.account)).known:  # 5
                raise OrderRefused(
                    f"account: {address_hex(header.account)} has no final deposit here",
                    "grant at the venue you trade at",
                    "account-unknown",
                )
            if await self._store(lambda s: s.live_grants(header.account, now)) >= MAX_LIVE_GRANTS:
                raise OrderRefused(
                    f"grants: {MAX_LIVE_GRANTS} of this account have not expired, no more may be",
                    "grant more days at once, or wait until some have expired",
                    "grants-exceeded",
                    {"limit": MAX_LIVE_GRANTS},
                )
            await self._record(
                "grant", address_hex(header.account), _described(grant), account=header.account, visible_at=0
            )
            row = GrantRow(
                header.id,
                header.account,
                header.auditor.account,
                min(header.expires, _MAX_TIME),
                now,
                grant.encode(),
            )
            return await self._store(lambda store: store.add_grant(row, MAX_LIVE_GRANTS, now))

    def _check_here(self, grant: Grant) -> None:
        header = grant.header
        if header.market not in self._venue.markets:
            raise OrderRefused(
                f"market: {hex_text(header.market)} is none of this venue",
                "list the markets",
                "market-unknown",
            )
        size = self._venue.status().log_size
        if header.position > size:
            raise _grant_refused(
                Check.MALFORMED, f"its position {header.position} is beyond the log's {size} entries"
            )
        all_time = header.first_day == 0 and header.last_day == NO_END
        days = 1 if all_time else header.last_day - header.first_day + 1
        nodes, rest = divmod(len(grant.box) - sealing.BOX_OVERHEAD, NODE_BYTES)
        if rest or not days <= nodes <= MAX_NODES:
            raise _grant_refused(
                Check.INCOMPLETE if nodes < days else Check.BOX,
                f"its box has room for {max(nodes, 0)} keys, its days need {days}, {MAX_NODES} may be",
            )

    async def revoke(self, grant_id: bytes, revocation: Revocation) -> bool:
        """Keep a revocation; whether it changes anything: one at an earlier time takes the place of another.

        Raises OrderRefused of code grant-unknown, or if its account did not sign it; StoreError.
        """
        async with self._writes:
            kept = await self._kept(grant_id)
            if kept is None:
                raise _unknown(grant_id)
            header = kept.grant.header
            if revocation.grant != grant_id:
                raise _grant_refused(Check.MALFORMED, "the revocation is of another grant")
            if (revocation.domain, revocation.account) != (header.domain, header.account):
                raise _grant_refused(Check.REVOCATION, "it is of another vault or account")
            with _refusing():
                revoked_at(header, [revocation])
            if kept.revocation is not None and kept.revocation.at <= revocation.at:
                return False
            await self._record(
                "revocation",
                address_hex(header.account),
                {"grant": hex_text(grant_id), "at": revocation.at},
                account=header.account,
                visible_at=0,
            )
            row = GrantRevocationRow(grant_id, header.account, revocation.at, self.now, revocation.encode())
            return await self._store(lambda store: store.revoke(row))

    async def _kept(self, grant_id: bytes) -> KeptGrant | None:
        row = await self._store(lambda store: store.grant(grant_id))
        return None if row is None else (await self._with_revocations([row]))[0]

    async def _with_revocations(self, rows: Sequence[GrantRow]) -> list[KeptGrant]:
        held = await self._store(lambda store: store.revocations([row.id for row in rows]))
        return [
            KeptGrant(
                Grant.decode(row.payload),
                row.received_at,
                row.position,
                Revocation.decode(held[row.id].payload) if row.id in held else None,
            )
            for row in rows
        ]

    async def grants_of(self, account: Address, after: int, limit: int) -> list[KeptGrant]:
        """An account's own grants, oldest first, from the first position above `after`."""
        return await self._with_revocations(
            await self._store(lambda store: store.grants(account=account, after=after, limit=limit))
        )

    async def grants_to(self, auditor: Address, after: int, limit: int) -> list[KeptGrant]:
        """Grants to an auditor's account, as `grants_of`."""
        return await self._with_revocations(
            await self._store(lambda store: store.grants(auditor=auditor, after=after, limit=limit))
        )

    # --- queries ------------------------------------------------------------------------------------

    async def query(self, auditor: Address, query: Query) -> Answer:
        """Record a query by the auditor that signed it, then answer it.

        Raises OrderRefused of code query-refused, with the check that failed, which is on record too if the
        query was about somebody; StoreError.
        """
        kept, now = None, self.now
        if query.basis is Basis.GRANT:
            kept = await self._kept(query.grant)
            if kept is None:
                raise _unknown(query.grant)
            account, visible_at, actor = kept.grant.header.account, 0, address_hex(auditor)
        else:
            named = self.auditors.get(query.authority)
            if named is None or named.account != auditor:
                problem = f"{address_hex(auditor)} is not auditor {query.authority!r} of the policy"
                raise _query_refused(NOT_NAMED, problem, "ask under the name that the policy has")
            account, visible_at, actor = query.account, now + named.visible_after, query.authority
        refusal, found = self._refusal(auditor, query, kept, now), _NOTHING
        if refusal is None:
            try:
                found = await self._listed(query, account)
            except OrderRefused as refused:
                refusal = refused
        outcome = ANSWERED if refusal is None else str(refusal.facts["check"])
        row = DisclosureQueryRow(
            at=now,
            visible_at=visible_at,
            auditor=auditor,
            account=account,
            basis=query.basis.value,
            grant=query.grant or None,
            authority=query.authority,
            legal_reference=query.legal_reference,
            market=query.market,
            first_day=query.first_day,
            last_day=query.last_day,
            outcome=outcome,
        )
        row = await self._store(lambda store: store.add_query(row))
        body = {**query.as_json(), "number": row.number, "signed_by": address_hex(auditor)}
        await self._record(
            "query", actor, {**body, "outcome": outcome}, account=account, visible_at=visible_at
        )
        if refusal is not None:
            raise refusal
        return self._answer(row, query, kept, found)

    def _refusal(
        self, auditor: Address, query: Query, kept: KeptGrant | None, now: int
    ) -> OrderRefused | None:
        """Why a query is not answered, if so."""
        if query.market not in self._venue.markets:
            return _query_refused(OTHER_MARKET, "it is none of this venue", "list the markets")
        if kept is None:
            return None
        header, revocation = kept.grant.header, kept.revocation
        if header.auditor.account != auditor:
            return _query_refused(Check.AUDITOR, "the grant is to another auditor", "sign as that auditor")
        if header.market != query.market:
            return _query_refused(OTHER_MARKET, "the grant is of another market", "ask for its own")
        try:
            check_grant(kept.grant, self.domain, now, query.days, [] if revocation is None else [revocation])
        except GrantRefused as refused:
            return _query_refused(refused.check, refused.message, refused.hint)
        return None

    async def _listed(self, query: Query, account: Address) -> _Found:
        """The market's rounds that the days are seen from, and the account's orders in them.

        Raises OrderRefused if there are too many.
        """
        start = query.first_day * _DAY - DAY_SLACK_SECONDS
        end = (query.last_day + 1) * _DAY + DAY_SLACK_SECONDS

        def read(store: DisclosureStore) -> _Found:
            rows = store.rounds_between(query.market, start, end, MAX_ROUNDS + 1)
            since = rows[0].open_sequence if rows and rows[0].number > 1 else 0
            orders = store.orders_between(account, query.market, since, end, MAX_ORDERS + 1)
            for name, count, limit in (
                ("rounds", len(rows), MAX_ROUNDS),
                ("orders", len(orders), MAX_ORDERS),
            ):
                if count > limit:
                    raise _query_refused(Check.RANGE, f"over {limit} {name}", "ask for fewer days at once")
            rounds = (
                ListedRound(
                    r.number, r.state, r.settlement or b"", tuple(map(Signature, store.abandonment(r)))
                )
                for r in rows
            )
            return tuple(rounds), tuple(VenueOrder.of(order) for order in orders)

        return await self._store(read)

    def _answer(self, row: DisclosureQueryRow, query: Query, kept: KeptGrant | None, found: _Found) -> Answer:
        receipt = QueryReceipt(row.number, row.at, Address(row.auditor), query.hash, bytes(32))
        answer = Answer(
            query,
            receipt,
            None if kept is None else kept.grant,
            () if kept is None or kept.revocation is None else (kept.revocation,),
            *found,
        )
        named = replace(receipt, answer=answer.hash)
        return replace(answer, receipt=named.signed(self.domain, self._operator))

    async def accesses(self, account: Address, after: int, limit: int) -> list[DisclosureQueryRow]:
        """Queries about an account that it may see by now, oldest first, from the number above `after`."""
        now = self.now
        return await self._store(lambda store: store.queries(account, now, after=after, limit=limit))


def _described(grant: Grant) -> dict[str, Any]:
    """What the record says of a grant: its header, and not its box, which is only for the auditor."""
    document = grant.as_json()
    return {name: value for name, value in document.items() if name not in {"box", "signature"}}


@contextmanager
def _refusing() -> Iterator[None]:
    """Turns GrantRefused into the venue's refusal."""
    try:
        yield
    except GrantRefused as error:
        raise _grant_refused(error.check, error.message, error.hint) from None


def _grant_refused(check: str, problem: str, hint: str = "make it with the client") -> OrderRefused:
    return OrderRefused(problem, hint, "grant-refused", {"check": str(check)})


def _query_refused(check: str, problem: str, hint: str) -> OrderRefused:
    return OrderRefused(f"query, {check}: {problem}", hint, "query-refused", {"check": str(check)})


def _unknown(grant_id: bytes) -> OrderRefused:
    return OrderRefused(f"grant: {hex_text(grant_id)} is unknown", "list the grants", "grant-unknown")

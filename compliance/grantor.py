"""An account's side of disclosure: what it grants, takes back, hands over, and who asked about it.

A grant holds keys of days that have begun, so that revoking it still bites: further days are granted as they
begin (`extend`), or at once (`ahead`), which no revocation can take back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from compliance.auditor import Auditor
from compliance.disclosure_api import Access, DisclosureApi, HeldGrant
from compliance.grant_checks import GrantState, listed_grants
from compliance.grant_revocations import Revocation
from compliance.grants import Grant, Header
from compliance.view_keys import Scope, ViewKey
from darkpool.client.history import KnownOrder
from darkpool.client.trading import Trading
from darkpool.errors import ConfigError, OrderRefused
from darkpool.jsonfields import hex_text
from darkpool.keystore import Keystore
from darkpool.store.records import OrderState

DAY_SECONDS: Final = 86_400
DEFAULT_LIFE_DAYS: Final = 90


class Ahead(Enum):
    """Whether a grant may hold keys of days to come, which no revocation can take back."""

    NO = "no"
    YES = "yes"


@dataclass(frozen=True, slots=True)
class OwnGrant:
    """A grant of the account with what it is good for now; revoked_at: unix seconds, None if it was not."""

    header: Header
    state: GrantState
    revoked_at: int | None


class Grantor:
    """Of one account at one venue. Coroutines are of steps.py; raise as VenueApi, ConfigError, PeerFault."""

    def __init__(self, trading: Trading, keystore: Keystore) -> None:
        self._trading, self._keystore = trading, keystore
        self.api: Final = DisclosureApi(trading.api, keystore.address)

    async def grant(
        self,
        auditor: Auditor,
        market: str,
        days: tuple[int, int],
        purpose: str,
        *,
        expires: int = 0,
        ahead: Ahead = Ahead.NO,
    ) -> Grant:
        """Issue a grant of a market for days (first and last, UTC since 1970-01-01), and hand it in.

        Of days to come it holds none, unless `ahead`. expires: unix seconds, 0 for 90 days from now.
        """
        now = int(time.time())
        info = self._trading.connection.listed(market)
        first, last = days
        today = now // DAY_SECONDS
        if ahead is Ahead.NO:
            if first > today:
                raise ConfigError(
                    "grant: its first day has not begun", "grant it when it has, or give --ahead"
                )
            last = min(last, today)
        size = await self.api.log_size()
        header = Header(
            info.terms.domain,
            self._keystore.address,
            info.terms.market.id,
            first,
            last,
            auditor,
            purpose,
            now,
            expires or now + DEFAULT_LIFE_DAYS * DAY_SECONDS,
            size,
        )
        standing = await self._standing(info.terms.market.id, first)
        grant = Grant.issue(header, self._keystore.seed, self._keystore.private_key, standing)
        await self.api.grant(grant)
        return grant

    async def extend(self, grant_id: bytes, last_day: int | None, *, ahead: Ahead = Ahead.NO) -> Grant:
        """The next grant of the same auditor, market, purpose and expiry.

        Of the days after those granted so far up to `last_day`, or today. Raises OrderRefused if none is.
        """
        held = await self._own(grant_id)
        header, today = held.header, int(time.time()) // DAY_SECONDS
        same = [
            own.header
            for own in await self.own()
            if (own.header.market, own.header.auditor, own.header.purpose)
            == (header.market, header.auditor, header.purpose)
            and own.state is not GrantState.REVOKED
        ]
        first = max(h.last_day for h in [header, *same]) + 1
        last = today if last_day is None else last_day
        if first > (last if ahead is Ahead.YES else min(last, today)):
            raise OrderRefused(
                "grant: no further day of it has begun", "extend it tomorrow, or give --ahead and --to-day"
            )
        market = self._trading.connection.info(header.market).name
        expires = header.expires if header.expires > time.time() else 0
        return await self.grant(
            header.auditor, market, (first, last), header.purpose, expires=expires, ahead=ahead
        )

    async def own(self) -> list[OwnGrant]:
        """The account's grants, oldest first. Raises PeerFault for one it never signed."""
        now = int(time.time())
        return [
            OwnGrant(row.header, row.state, row.revoked_at)
            for row in listed_grants(*_apart(await self.api.grants("grantor")), now)
            if row.header.account == self._keystore.address
        ]

    async def revoke(self, grant_id: bytes) -> Revocation:
        """Take a grant back, from now on."""
        held = await self._own(grant_id)
        revocation = Revocation.issue(held.header, int(time.time()), self._keystore.private_key)
        await self.api.revoke(revocation)
        return revocation

    async def accesses(self) -> list[Access]:
        """Who asked about the account, oldest first."""
        return await self.api.accesses()

    async def _own(self, grant_id: bytes) -> OwnGrant:
        for own in await self.own():
            if own.header.id == grant_id:
                return own
        raise OrderRefused(f"grant: {hex_text(grant_id)} is none of yours", "see `darkpool disclose list`")

    def key(self, market: str, day: int | None = None, nonce: int | None = None) -> ViewKey:
        """The node of the account's key tree for the account, a market, a day of it, or an order. Secret."""
        connection = self._trading.connection
        domain, account = connection.any.terms.domain, self._keystore.address
        scope = Scope(domain.chain_id, domain.contract, account)
        if market:
            scope = replace(scope, market=connection.listed(market).terms.market.id)
        if day is not None or nonce is not None:
            scope = replace(scope, day=day, nonce=nonce)
        return ViewKey.of(self._keystore.seed, scope)

    async def _standing(self, market: bytes, first_day: int) -> list[tuple[int, int]]:
        """(day, nonce) of earlier orders in a list sealed since that day began, or that may come into one."""
        found = []
        for known in await self._trading.history.orders():
            if known.record.market == market and known.own.statement.utc_day < first_day:
                last = _last_round(known)
                if last is None or await self._sealed_since(market, last, first_day * DAY_SECONDS):
                    found.append((known.own.statement.utc_day, int(known.own.nonce)))
        return found

    async def _sealed_since(self, market: bytes, number: int, start: int) -> bool:
        sealed_at = (await self._trading.api.round(market, number)).sealed_at
        return sealed_at is None or sealed_at >= start


def _last_round(known: KnownOrder) -> int | None:
    """The round in which an order ended, the last whose list may have it; None while it stands."""
    return None if known.record.state is OrderState.STANDING else known.record.ended_round


def _apart(held: Iterable[HeldGrant]) -> tuple[list[Grant], list[Revocation]]:
    rows = list(held)
    return [row.grant for row in rows], [row.revocation for row in rows if row.revocation is not None]

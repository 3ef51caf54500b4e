"""A plain venue with a compliance desk: policies, credentials, and orders sent by real clients."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import httpx

from api.app import create_app
from commitments.auditor_key import KeyContext, SecretKey, register
from commitments.params import GROUP_ORDER
from compliance.audit_log import Logged
from compliance.audit_record import Kind
from compliance.credential_revocations import RevocationList
from compliance.credentials import Claim, Credential
from compliance.desk_open import open_office
from compliance.hooks import Plugins
from compliance.office import Applied, Office
from compliance.policy import Policy
from darkpool import eip712
from darkpool.book import Book
from darkpool.client.trader import AsyncTrader
from darkpool.config import FILE, MarketSettings
from darkpool.deployment import Deployment
from darkpool.eip712 import keccak256
from darkpool.engine import Closed
from darkpool.files import write_whole
from darkpool.market import Grid, RoundState
from darkpool.order import Terms
from darkpool.screening import PolicyTerms
from darkpool.segments import Segments
from darkpool.store.audit_store import AuditFilter
from darkpool.sweep import release
from darkpool.types import Address, PrivateKey, address_hex
from tests.client.plain_venue import OPERATOR, PlainVenue, plain_venue
from tests.compliance.policy_support import Document, toml

ISSUER_KEY: Final = PrivateKey(b"\x71" * 32)
OTHER_ISSUER_KEY: Final = PrivateKey(b"\x72" * 32)
VENUE: Final = b"\x02" * 32
MARKET: Final = "WETH-USDC"
OPERATOR_NAME: Final = "officer"
HOUR: Final = 3_600


@cache
def auditor_secret(name: str) -> SecretKey:
    return SecretKey(1 + int.from_bytes(sha256(name.encode()).digest()) % (GROUP_ORDER - 1))


@dataclass
class DeskVenue:
    """The venue, its office, and the hands of issuers and officers."""

    plain: PlainVenue
    office: Office
    stack: AsyncExitStack

    @property
    def domain(self) -> eip712.Domain:
        return self.plain.view.terms.domain

    def auditor(self, name: str, **more: object) -> dict[str, object]:
        """An [[auditor]] table with its proof for this venue."""
        secret = auditor_secret(name)
        context = KeyContext(self.domain.chain_id, self.domain.contract, VENUE, name)
        proof = register(secret, context).encode()
        key = "0x" + secret.public.encode().hex()
        return {"name": name, "title": f"Auditor {name}", "key": key, "proof": "0x" + proof.hex(), **more}

    def document(self, **tables: object) -> Document:
        """A policy.toml for the venue's one market, which allows everybody with a credential."""
        issuers = [
            {
                "name": name,
                "title": "An issuer",
                "address": address_hex(eip712.address_of(key)),
                "revocations_max_age_hours": 1,
            }
            for name, key in (("kyc", ISSUER_KEY), ("bank", OTHER_ISSUER_KEY))
        ]
        base: Document = {
            "policy": {
                "id": "test",
                "version": 1,
                "note": "Now.",
                "markets": [MARKET],
                "jurisdictions": ["US", "US-NY", "DE"],
                "classes": ["pro", "retail"],
            },
            "issuer": issuers,
            "allow": [
                {"id": "all", "reason": "All.", "markets": ["*"], "jurisdictions": ["*"], "classes": ["*"]}
            ],
        }
        return {**base, **tables}

    def policy(self, value: Document, lists: Mapping[str, str] | None = None, **cedar: str) -> Policy:
        files = {"policy.toml": toml(value)}
        files |= {f"lists/{name}.txt": text.encode() for name, text in (lists or {}).items()}
        return Policy(files | {f"{name}.cedar": text.encode() for name, text in cedar.items()})

    async def apply(self, value: Document, lists: Mapping[str, str] | None = None, **cedar: str) -> Applied:
        done = await self.office.apply(self.policy(value, lists, **cedar), OPERATOR_NAME)
        for view in self.plain.venue.markets.values():
            book = self.plain.engine.state.books[view.terms.market.id]
            if view.live and book.round is None:
                view.round = await self.plain.engine.open(view.terms.market.id, self._middle(), "test")
        return done

    def _middle(self) -> Any:  # noqa: ANN401
        return self.plain.view.terms.market.grid.levels // 2

    def credential(
        self,
        account: Address,
        code: str = "US",
        investor: str = "pro",
        *,
        serial: int = 7,
        life: int = HOUR,
        key: PrivateKey = ISSUER_KEY,
    ) -> Credential:
        now = int(time.time())
        claim = Claim(account, code, investor, now - 60, now + life, serial, eip712.address_of(key))
        return Credential(claim, self.domain).signed(key)

    def revocations(
        self, sequence: int = 1, serials: Iterable[int] = (), key: PrivateKey = ISSUER_KEY, age: int = 0
    ) -> RevocationList:
        issuer, at = eip712.address_of(key), int(time.time()) - age
        return RevocationList(issuer, self.domain, sequence, at, tuple(sorted(serials))).signed(key)

    async def publish(self, serials: Iterable[int] = (), key: PrivateKey = ISSUER_KEY) -> int:
        """The issuer's next list; its number."""
        number = self.office.facts.sequences.get(eip712.address_of(key), 0) + 1
        await self.office.publish(encoded(self.revocations(number, serials, key)))
        return number

    @asynccontextmanager
    async def trader(self, name: str, code: str = "US", investor: str = "pro") -> AsyncIterator[AsyncTrader]:
        """A trader with deposits and a credential (none for an empty jurisdiction)."""
        async with self.plain.trader(name) as trader:
            if trader.address not in self.plain.engine.state.ledger.nonces:
                await self.plain.deposit(trader)
            if code:
                await trader.present(encoded(self.credential(trader.address, code, investor)))
            yield trader

    def records(self, kind: Kind | None = None) -> list[Logged]:
        """Of the audit log, oldest first."""
        found = self.office.desk.recorder.log.records(AuditFilter(kind=kind))
        return found[::-1]

    async def restart(self) -> None:
        """The operator is killed and started again, with its desk."""
        await self.plain.restart()
        self.plain.venue.markets = {}
        await self.open()
        await self.stack.enter_async_context(self.plain.venue.intake)

    async def open(self) -> None:
        venue = self.plain.venue
        self.office = await open_office(self.stack, venue, self.plain.folder, VENUE, self.domain)
        venue.segments = Segments(venue, self._terms)
        await venue.segments.open()
        self.plain.transport = httpx.ASGITransport(create_app(venue, office=self.office))

    def write_folder(self, url: str) -> None:
        """What the operator's commands look for in the venue's folder."""
        terms, folder = self.plain.view.terms, self.plain.folder
        deployment = Deployment(
            VENUE,
            terms.chain_id,
            terms.contract,
            terms.tokens,
            self.plain.venue.tenures.first.key,
            self.plain.venue.tenures.first.signers,
            terms.settle_window,
        )
        deployment.save(folder)
        write_whole(folder / "operator.key", OPERATOR.hex() + "\n", 0o600)
        write_whole(folder / FILE, f"[api]\nport = {url.rpartition(':')[2]}\n", 0o600)

    def _terms(self, _: MarketSettings, name: str, policy: PolicyTerms, grid: Grid | None) -> Terms:
        plain = self.plain.view.terms
        market_id = b"\x03" * 32 if name == MARKET else keccak256(VENUE + name.encode())
        market = replace(plain.market, id=market_id, name=name, grid=grid or plain.market.grid)
        return replace(plain, market=market, policy_hash=policy.hash, auditor_keys=policy.auditor_keys)

    def later(self, seconds: int) -> None:
        """The venue's desk believes it is so much later."""
        self.office.desk.recorder._clock = lambda: time.time() + seconds

    async def cleared(self) -> None:
        """Nothing stands, nothing is blocked, nobody else is asked, and it is now."""
        self.plug()
        self.later(0)
        self.plain.committee.aborts = False
        for block in self.office.blocks():
            await self.office.unblock(block.kind, block.subject, "the next test", OPERATOR_NAME)
        for book in self.plain.venue.books:
            await release(self.plain.engine, book, book.unsealed, "the next test begins")

    async def close(self, segment: str = "") -> Closed:
        """Seal and clear the market of a segment, and open its next round."""
        name = f"{MARKET}/{segment}" if segment else MARKET
        (book,) = [b for b in self.plain.venue.books if b.terms.market.name == name]
        market = book.terms.market.id
        try:
            return await self.plain.engine.close(market)
        finally:
            if book.current_round.state is not RoundState.OPEN:
                self.plain.venue.markets[market].round = await self.plain.engine.open(
                    market, self._middle(), "test"
                )

    @property
    def book(self) -> Book:
        """Everybody's, of the venue's one instrument."""
        return self.plain.engine.state.books[self.plain.view.terms.market.id]

    def standing(self) -> dict[Address, list[int]]:
        """Nonces that stand, by account."""
        found: dict[Address, list[int]] = {}
        for book in self.plain.venue.books:
            for order in book.standing:
                found.setdefault(order.account, []).append(order.nonce)
        return found

    def plug(self, *plugins: object, seconds: float = 0.5) -> None:
        """Other plugins from now on."""
        self.office.desk.plugins.close()
        found = Plugins(plugins, seconds)
        object.__setattr__(self.office.desk, "plugins", found)
        self.stack.callback(found.close)


def encoded(document: Credential | RevocationList) -> bytes:
    import json

    return json.dumps(document.as_json()).encode()


@asynccontextmanager
async def desk_venue(folder: Path) -> AsyncIterator[DeskVenue]:
    """A venue whose desk has no policy yet."""
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(plain_venue(folder))
        found = DeskVenue(plain, None, stack)  # type: ignore[arg-type]
        await found.open()
        yield found

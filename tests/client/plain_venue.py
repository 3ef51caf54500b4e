"""The real venue with its API on an embedded chain; only its committee is played here, in the clear.

Members start slowly and clear slowly. This committee opens every note with the traders' seeds, runs the
plain auction, and signs and seals what members would: whoever checks signatures, boxes and roots sees no
difference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, cast

import httpx

from api.app import create_app
from commitments.shamir import share
from darkpool import auction
from darkpool.auction import PlainOrder
from darkpool.certificates import abandon_digest
from darkpool.chain import Chain, Token, VaultTerms
from darkpool.client.own_order import open_order
from darkpool.client.trader import AsyncTrader
from darkpool.client.trader_home import TraderHome
from darkpool.committee.coordinator import Coordinator
from darkpool.committee.outcome import Certificate
from darkpool.committee.seat import Seat, seats_from_primes
from darkpool.committee.sharing import sharing_fields
from darkpool.config import AdmissionSettings, ApiSettings, Settings
from darkpool.eip712 import Domain, address_of, sign_digest
from darkpool.engine import Closed, Engine
from darkpool.errors import DarkpoolError, Unavailable
from darkpool.events import PAGE, Events
from darkpool.keystore import INSECURE_TEST, Keystore
from darkpool.listing import NO_CROSS, RoundResult, SealedList
from darkpool.log import Log, Watch, nobody
from darkpool.market import Market, RoundState
from darkpool.message import Message
from darkpool.netting import Signers, seal_totals
from darkpool.operator import price_text
from darkpool.order import Terms
from darkpool.projection import Projector
from darkpool.settlement import Settlement, ordered_signatures, sign
from darkpool.store.database import Database, sqlite_url
from darkpool.store.records import EventRow
from darkpool.store.venue_store import VenueStore
from darkpool.submitter import FeeLimits, Submitter
from darkpool.sweep import release
from darkpool.tenure import Tenure
from darkpool.threads import Threads
from darkpool.types import Address, PrivateKey, Quanta, Signature, Tick, TokenIndex
from darkpool.venue import Venue
from darkpool.venue_views import MarketView
from tests.commitments_support import primes

OPERATOR: Final = PrivateKey(b"\x0c" * 32)
PASSPHRASE: Final = "correct horse"
URL: Final = "http://venue"
MEMBERS, THRESHOLD = 3, 1


@cache
def seats() -> tuple[Seat, ...]:
    return tuple(seats_from_primes(*primes(), MEMBERS, THRESHOLD))


def signers() -> Signers:
    return Signers(THRESHOLD, {seat.index: seat.signer for seat in seats()})


def settings(**api: Any) -> Settings:  # noqa: ANN401 - fields of its settings
    free = {"requests_per_second": 100_000, "request_burst": 100_000, "orders_per_second": 10_000}
    return Settings(
        api=ApiSettings(**{**free, "order_burst": 10_000, **api}), admission=AdmissionSettings(workers=1)
    )


@dataclass
class PlainCommittee:
    """What the engine asks of a committee. `aborts`: it gives the next list up."""

    read_log: Callable[[int, int], Sequence[bytes]]
    keystores: dict[Address, Keystore]
    signers: Signers = field(default_factory=signers)
    dealt: Sequence[Seat] = field(default_factory=seats)
    staged: dict[str, object] = field(default_factory=dict)
    answers: Callable[[Message], Awaitable[tuple[dict[int, Message], dict[int, DarkpoolError]]]] | None = None
    fault: str = ""
    away: str = ""
    aborts: bool = False
    asked: int = 0  # for signatures of settlements

    def extended(self, *_: int) -> None:
        pass

    def in_office(self, tenure: Tenure) -> None:
        self.signers = tenure.signers

    def check_all_here(self) -> None:
        pass

    async def ready(self, *_: int) -> None:
        pass

    async def caught_up(self, *_: int) -> None:
        pass

    async def sign(self, terms: Terms, sealed: SealedList) -> dict[int, Signature]:
        digest = sealed.digest(terms.domain)
        return {seat.index: sign_digest(digest, seat.signing_key) for seat in self.dealt}

    async def clear(
        self, terms: Terms, sealed: SealedList, digest_of: Callable[[RoundResult], bytes], *_: object
    ) -> Certificate:
        digest = sealed.digest(terms.domain)
        if self.aborts:
            self.aborts = False
            promise = abandon_digest(terms.domain, digest)
            return Certificate(
                None, tuple(sign_digest(promise, s.signing_key) for s in self.dealt), reason="tired"
            )
        outcome = self._outcome(terms, sealed)
        if outcome is None:
            result = NO_CROSS
        else:
            nets = {Address(bytes.fromhex(a)): outcome.base_net(a) for a in sorted(outcome.traded)}
            result = RoundResult(crossed=True, price=outcome.price, volume=outcome.volume, nets=nets)
        signed = tuple(sign_digest(digest_of(result), s.signing_key) for s in self.dealt)
        boxes = {}
        keys = {o.account: o.statement.fill_key for o in sealed.orders}
        for account in result.nets:
            assert outcome is not None
            totals = [side.get(account.hex(), 0) for side in (outcome.bought, outcome.sold)]
            shares = [share(total, MEMBERS, THRESHOLD) for total in totals]
            boxes[account] = {
                s.index: seal_totals(
                    s.signing_key,
                    terms.domain,
                    keys[account],
                    digest,
                    account,
                    (shares[0][s.index], shares[1][s.index]),
                )
                for s in self.dealt
            }
        return Certificate(result, signed, boxes)

    async def settle(self, settlement: Settlement, domain: Domain, _: int) -> tuple[Signature, ...]:
        if self.away:
            raise Unavailable(self.away, "committee")
        self.asked += 1
        signed = [sign(settlement, domain, seat.signing_key) for seat in self.dealt]
        return ordered_signatures(settlement, domain, signed)

    def _outcome(self, terms: Terms, sealed: SealedList) -> auction.Outcome | None:
        plain = []
        for listed in sealed.orders:
            raw = Message.decode(self.read_log(listed.sequence, 1)[0]).blobs[0]
            own = open_order(raw, terms, listed.account, self.keystores[listed.account].seed)
            plain.append(
                PlainOrder(listed.account.hex(), own.order.side, own.order.level, own.order.quantity)
            )
        market = terms.market
        return auction.clear(
            plain, market.grid.levels, sealed.reference, market.pressure_ticks, market.min_volume
        )

    async def ask(self, _: int, request: Message, _seconds: float) -> Message:
        """Its members clear in the clear, so they have no shares to make anew."""
        return Message(request.op, sharing_fields(self.dealt[0].committee))

    async def some(self, request: Message, *_: object) -> tuple[dict[int, Message], dict[int, DarkpoolError]]:
        if self.answers is not None and request.op in {"succeed", "propose"}:
            return await self.answers(request)
        reply = Message(request.op, {"sharing": "", **self.staged})
        return dict.fromkeys(self.signers.addresses, reply), {}

    async def conclude(
        self, terms: Terms, sealed: SealedList, _: Callable[[RoundResult], bytes], reason: str
    ) -> Certificate:
        """No member has a result, so all give the list up."""
        promise = abandon_digest(terms.domain, sealed.digest(terms.domain))
        return Certificate(
            None, tuple(sign_digest(promise, s.signing_key) for s in self.dealt), reason=reason
        )


@dataclass
class PlainVenue:
    """The venue, and the hands of its operator and its chain."""

    folder: Path
    venue: Venue
    chain: Chain
    committee: PlainCommittee
    threads: Threads
    view: MarketView
    transport: httpx.AsyncBaseTransport

    @property
    def engine(self) -> Engine:
        return self.venue.engine

    def keystore(self, name: str, home: TraderHome) -> Keystore:
        """A trader whose secrets follow from the name."""
        secret = sha256(name.encode()).digest()
        if home.keystore.exists():
            return Keystore.open(home.keystore, PASSPHRASE, allow_insecure_test=True)
        keystore = Keystore.create(
            home.keystore, PASSPHRASE, private_key=secret, seed=secret[::-1], cost=INSECURE_TEST
        )
        self.committee.keystores[keystore.address] = keystore
        return keystore

    @asynccontextmanager
    async def trader(
        self,
        name: str,
        folder: str = "",
        *,
        fresh: bool = True,
        **options: Any,  # noqa: ANN401 - of `open`
    ) -> AsyncIterator[AsyncTrader]:
        """A trader with a folder of its own, as `darkpool keygen` leaves it if `fresh`."""
        home = TraderHome(self.folder / f"home-{folder or name}")
        new = not home.keystore.exists()
        keystore = self.keystore(name, home)
        if new and fresh:
            with home.lock():
                home.fresh()
        options = {"transport": self.transport, **options}
        url = options.pop("url", URL)
        async with AsyncTrader.open(url, home, keystore, **options) as trader:
            yield trader

    async def deposit(self, trader: AsyncTrader, base: str = "100", quote: str = "1000000") -> None:
        """Tokens of both kinds from nowhere into the vault, and final."""
        key = self.committee.keystores[trader.address].private_key
        units = (self.view.instrument.base, self.view.instrument.quote)
        amounts = [unit.quanta(text) for unit, text in zip(units, (base, quote), strict=True)]
        await self.threads.chain(self._deposit, key, amounts)
        await self.engine.follow_chain()

    def _deposit(self, key: PrivateKey, amounts: Sequence[Quanta]) -> None:
        self.chain.fund(address_of(key))
        for index, amount in enumerate(amounts):
            if amount:
                self.chain.mint(OPERATOR, TokenIndex(index), address_of(key), amount)
                self.chain.deposit(key, TokenIndex(index), amount)

    async def cleared(self) -> None:
        """The book is empty, and a round is open."""
        book = self.engine.state.books[self.view.terms.market.id]
        await release(self.engine, book, book.unsealed, "the next test begins")
        if self.engine.state.books[self.view.terms.market.id].current_round.state is not RoundState.OPEN:
            await self.open_round()

    async def open_round(self) -> None:
        """The next round, around the middle of the grid."""
        self.view.round = await self.engine.open(self.view.terms.market.id, Tick(32), "test")

    async def close_round(self, *, settle: bool = True) -> Closed:
        """Seal and clear; the settlement lands at once, unless it shall not."""
        closed = await self.engine.close(self.view.terms.market.id)
        self.view.round = self.engine.state.books[self.view.terms.market.id].current_round
        if settle:
            await self.settle()
        return closed

    async def settle(self) -> None:
        """What is unsettled is netted, signed, lands and is final."""
        if self.engine.state.unsettled:
            await self.venue.settling.close_now()
        await self.venue.settling.step()
        await self.engine.follow_chain()

    async def restart(self) -> None:
        """The operator is killed and started again: all it knows is what its database and its chain hold."""
        old = self.venue
        self.venue = await _opened(
            self.folder, old.settings, self.threads, old._store, self.chain, self.committee, old.events
        )
        self.venue.markets = old.markets
        await self.venue.settling.resume()

    @asynccontextmanager
    async def another(self, url: str) -> AsyncIterator[Venue]:
        """A second venue on the same database, which must not be: it has read what is there by now."""
        own = self.venue
        async with AsyncExitStack() as stack:
            threads = Threads()
            stack.callback(threads.close)
            database = await threads.store(Database.open, url)
            stack.callback(database.close)
            venue = await _opened(
                self.folder,
                own.settings,
                threads,
                VenueStore(database),
                self.chain,
                self.committee,
                own.events,
            )
            venue.markets = own.markets
            await stack.enter_async_context(venue.intake)
            yield venue

    async def expire(self) -> None:
        """So much time passes that what has not landed never will."""
        await self.threads.chain(self.chain.advance, self.view.terms.settle_window + 60)
        await self.engine.follow_chain()


@asynccontextmanager
async def plain_venue(
    folder: Path,
    url: str = "",
    **api: Any,  # noqa: ANN401 - settings
) -> AsyncIterator[PlainVenue]:
    """A venue with its first round open; `url` of its database, if not in the folder."""
    chosen = settings(**api)
    async with AsyncExitStack() as stack:
        threads = Threads()
        stack.callback(threads.close)
        chain = await threads.chain(Chain.embedded)
        tokens = await threads.chain(_deploy, chain, chosen)
        database = await threads.store(Database.open, url or sqlite_url(folder / "venue.db"))
        stack.callback(database.close)
        store = VenueStore(database)

        async def read_events(after: int, account: Address | None) -> Sequence[EventRow]:
            return await threads.store(lambda: store.events(after=after, account=account, limit=PAGE))

        events = Events(read_events, chosen.api.stream_queue)
        stack.callback(events.close)

        committee = PlainCommittee(store.entries, {})
        venue = await _opened(folder, chosen, threads, store, chain, committee, events)
        terms = await threads.chain(_terms, chosen, chain, tokens)
        await venue.engine.add_market(terms)
        view = MarketView(terms, chosen.instrument(chosen.market[0]))
        venue.markets[terms.market.id] = view
        await stack.enter_async_context(venue.intake)
        await venue.engine.follow_chain()
        transport = httpx.ASGITransport(create_app(venue))
        plain = PlainVenue(folder, venue, chain, committee, threads, view, transport)
        await plain.open_round()
        yield plain


async def _opened(
    folder: Path,
    chosen: Settings,
    threads: Threads,
    store: VenueStore,
    chain: Chain,
    committee: PlainCommittee,
    events: Events,
) -> Venue:
    """The venue of what the database holds."""

    def fold(watch: Watch) -> Log:
        return Log.open(store, seats()[0].committee.key, signers(), watch)

    log = await threads.store(fold, nobody)
    text = partial(price_text, chosen)
    projector = Projector(store, log.state, OPERATOR, events.publish, text, fold)
    submitter = Submitter(chain, OPERATOR, FeeLimits())
    engine = Engine(log, chain, cast("Coordinator", committee), submitter, threads, projector)
    return Venue(chosen, folder, engine, threads, store, projector, events, OPERATOR)


def _terms(chosen: Settings, chain: Chain, tokens: tuple[Address, ...]) -> Terms:
    instrument = chosen.instrument(chosen.market[0])
    market = Market(
        id=b"\x03" * 32,
        name=instrument.name,
        base=tokens[0],
        quote=tokens[1],
        lot=instrument.lot,
        grid=chosen.grid(chosen.market[0]),
        min_accounts=2,
        min_orders=2,
    )
    return Terms(
        chain_id=chain.chain_id,
        contract=chain.vault,
        venue=b"\x02" * 32,
        market=market,
        key=seats()[0].committee.key,
        policy_hash=bytes(32),
        tokens=tokens,
        settle_window=chain.settle_window(),
    )


def _deploy(chain: Chain, chosen: Settings) -> tuple[Address, ...]:
    chain.fund(address_of(OPERATOR), 10**20)
    tokens = [chain.deploy_token(OPERATOR, t.name, t.symbol, t.decimals) for t in chosen.token]
    quanta = [chosen.units(t.symbol).quantum for t in chosen.token]
    members = tuple(sorted(signers().addresses.values()))
    kinds = tuple(Token(t, q) for t, q in zip(tokens, quanta, strict=True))
    chain.deploy_vault(OPERATOR, VaultTerms(members, THRESHOLD, kinds))
    return tuple(tokens)

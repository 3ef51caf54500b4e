"""What the routes ask of a venue, over a real store and log; orders and wishes are accepted unseen."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from commitments.merkle import EMPTY_ROOT, Tree
from darkpool import eip712
from darkpool.committee.seat import Seat, seats_from_primes
from darkpool.config import ApiSettings, Settings
from darkpool.effects import Effects
from darkpool.engine import Committed
from darkpool.errors import DarkpoolError, OrderRefused
from darkpool.instrument import Instrument, TokenUnits
from darkpool.market import Grid, Market, Round
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.order import Terms, order_hash
from darkpool.receipt import Kind, Receipt
from darkpool.sealed_view import SealedListView
from darkpool.store.database import Database, sqlite_url
from darkpool.store.records import AccountRow, EventRow, ReceiptRow
from darkpool.store.venue_store import VenueStore
from darkpool.submitter import Standing
from darkpool.succeeding import VaultProposal
from darkpool.tenure import Tenure, Tenures
from darkpool.tenure_file import Planned
from darkpool.types import Address, PrivateKey, Quanta, RoundId, Signature, Tick
from tests.commitments_support import primes

T = TypeVar("T")
NOW: Final = 1_800_000_000
OPERATOR: Final = PrivateKey(b"\x0c" * 32)
ADA, BEN = PrivateKey(b"\x11" * 32), PrivateKey(b"\x12" * 32)
BASE, QUOTE = Address(b"\xb0" * 20), Address(b"\xc0" * 20)
MARKET: Final = b"\x03" * 32
WETH = TokenUnits.parse("WETH", 18, "0.000000001")
USDC = TokenUnits.parse("USDC", 6, "0.000001")


@cache
def seats() -> tuple[Seat, ...]:
    return tuple(seats_from_primes(*primes(), 3, 1))


@cache
def terms() -> Terms:
    instrument = Instrument.parse("WETH-USDC", WETH, USDC, "0.01", "0.05")
    market = Market(
        id=MARKET,
        name="WETH-USDC",
        base=BASE,
        quote=QUOTE,
        lot=instrument.lot,
        grid=Grid.centred(instrument.price("2000.00"), instrument.tick, 8),
    )
    return Terms(
        chain_id=31_337,
        contract=Address(b"\x01" * 20),
        venue=b"\x02" * 32,
        market=market,
        key=seats()[0].committee.key,
        policy_hash=b"\x06" * 32,
        tokens=(BASE, QUOTE),
        settle_window=600,
    )


@dataclass
class MarketStandIn:
    terms: Terms
    instrument: Instrument
    round: Round | None
    next_seal_at: int | None
    live: bool = True


@dataclass
class Status:
    halted: str = ""
    database: str = ""
    chain: str = ""
    committee: str = ""
    log_size: int = 0
    log_root: bytes = bytes(32)
    unsettled_rounds: int = 0
    pending_settlements: int = 0
    settlement: str = ""
    voided_rounds: int = 0
    sent: Standing | None = None


@dataclass
class TokenStandIn:
    token: Address
    commitment: bytes
    version: int
    balance: Quanta
    pending_debit: int = 0
    pending_credit: int = 0


@dataclass
class CollateralStandIn:
    known: bool = True
    halted: bool = False
    reasons: tuple[str, ...] = ()
    lowest_unused: int = 3
    used_above: frozenset[int] = frozenset({5})
    tokens: tuple[TokenStandIn, ...] = (TokenStandIn(BASE, b"\xaa" * 48, 2, Quanta(7)),)


class EventsStandIn:
    """Streams what the store has, then ends."""

    def __init__(self, venue: StandIn) -> None:
        self._venue = venue

    async def subscribe(self, account: Address | None, after: int | None) -> AsyncGenerator[EventRow, None]:
        rows = await self._venue.read(lambda store: store.events(after=after or 0, account=account))
        for row in rows:
            yield row


@dataclass
class StandIn:
    """`answer`: an error that every wish meets."""

    store: VenueStore
    settings: Settings
    answer: DarkpoolError | None = None
    found: Status = field(default_factory=Status)
    halts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        instrument = Instrument.parse("WETH-USDC", WETH, USDC, "0.01", "0.05")
        market_round = Round(RoundId(7), terms().market, Tick(4))
        self.markets = {MARKET: MarketStandIn(terms(), instrument, market_round, NOW + 5)}
        signers = Signers(1, {seat.index: seat.signer for seat in seats()})
        self.tenures = Tenures((Tenure(signers, terms().key),))
        self.operator = eip712.address_of(OPERATOR)
        self.events = EventsStandIn(self)
        self.settling = self
        self.tree = Tree()

    def status(self) -> Status:
        self.found.log_size = self.tree.size
        self.found.log_root = self.tree.root()
        return self.found

    async def read(self, work: Callable[[VenueStore], T]) -> T:
        return await asyncio.to_thread(work, self.store)

    def _refuse(self) -> None:
        if self.answer is not None:
            raise self.answer

    def log(self, entry: bytes) -> int:
        self.store.append(self.tree.size, [entry])
        return self.tree.append(entry)

    def _received(self, kind: Kind, subject: bytes, account: Address, entry: Message) -> Receipt:
        self._refuse()
        sequence = self.log(entry.encode())
        receipt = Receipt(
            kind=kind,
            subject=subject,
            market=MARKET,
            account=account,
            sequence=sequence,
            size=self.tree.size,
            root=self.tree.root(),
            round=7,
            time=int(time.time()),
            policy=terms().policy_hash,
        ).signed(terms().domain, OPERATOR)
        row = ReceiptRow(subject, sequence, json.dumps(receipt.as_json()))
        self.store.save_receipts([row])
        return receipt

    async def submit(self, raw: bytes) -> Receipt:
        if len(raw) < 65:
            raise OrderRefused("order: cut short", "send all of it", "order-malformed")
        entry = Message("order", {"market": MARKET.hex()}, [raw])
        return self._received(Kind.ORDER, order_hash(raw), eip712.address_of(ADA), entry)

    async def replace(self, raw: bytes, nonce: int, signature: bytes) -> Receipt:
        entry = Message("replace", {"nonce": nonce, "signature": signature.hex()}, [raw])
        return self._received(Kind.REPLACE, order_hash(raw), eip712.address_of(ADA), entry)

    async def cancel(self, market: bytes, account: Address, nonce: int, signature: bytes) -> Receipt:
        fields = {"market": market.hex(), "nonce": nonce, "signature": signature.hex()}
        return self._received(Kind.CANCEL, b"\x55" * 32, account, Message("cancel", fields))

    async def cancel_all(self, market: bytes, account: Address, below: int, signature: bytes) -> Receipt:
        fields = {"market": market.hex(), "below": below, "signature": signature.hex()}
        return self._received(Kind.CANCEL_ALL, b"\x56" * 32, account, Message("cancel_all", fields))

    async def register(self, account: Address, signature: bytes) -> None:
        self._refuse()
        self.store.register(AccountRow(account, NOW, signature))

    async def collateral(self, account: Address) -> CollateralStandIn:
        self._refuse()
        return CollateralStandIn(known=account == eip712.address_of(ADA))

    async def seal_now(self, market: bytes) -> None:
        self._refuse()
        self.halts.append(f"sealed {market.hex()}")

    async def halt(self, reason: str) -> None:
        self._refuse()
        self.halts.append(reason)

    async def resume(self) -> None:
        self._refuse()
        self.halts.append("resumed")

    async def sealed_list(self, market: bytes, number: int) -> SealedListView:
        rows = self.store.sealed_orders(market, number)
        row = self.store.round(market, number)
        assert row is not None
        return SealedListView(
            market=market,
            round=number,
            reference=row.reference,
            sealed_at=row.sealed_at or 0,
            root=row.root or b"",
            terms_hash=row.terms_hash,
            audit_root=EMPTY_ROOT,
            leaves=tuple(leaf.rjust(284, b"\0") for _, leaf in rows),
            sequences=tuple(sequence for sequence, _ in rows),
            signatures={1: b"\x01" * 65},
        )

    async def certified_result(self, market: bytes, number: int) -> bytes:
        row = self.store.round(market, number)
        if row is None or row.price is None:
            raise OrderRefused("round: it has no result", "list the rounds", "round-unknown")
        return b"certified %d" % number

    async def close_now(self) -> None:
        self._refuse()
        self.halts.append("settling")

    async def propose_committee(self, planned: Planned) -> VaultProposal:
        self._refuse()
        members = tuple(sorted(planned.tenure.signers.addresses.values()))
        guardian = planned.guardian or eip712.address_of(OPERATOR)
        return VaultProposal(2, members, 1, guardian, (Signature(b"\x01" * 65),) * 3)

    async def change_committee(self, planned: Planned) -> Committed:
        self._refuse()
        entry = Message("committee", planned.tenure.fields())
        return Committed(self.log(entry.encode()), self.tree.root(), entry, Effects())

    async def raw_order(self, order: bytes) -> bytes | None:
        row = self.store.order(order)
        return None if row is None else Message.decode(self.store.entry(row.sequence)).blobs[0]

    async def inclusion(self, sequence: int, size: int) -> tuple[list[bytes], bytes]:
        return list(self.tree.inclusion(sequence, size)), self.tree.root(size)


@cache
def blank() -> bytes:
    """A database with its tables, made once: migrations take longer than a test."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "blank.db"
        Database.open(sqlite_url(path)).close()
        return path.read_bytes()


def stand_in(folder: Path, **api: int) -> StandIn:
    path = folder / "venue.db"
    path.write_bytes(blank())
    free = {"requests_per_second": 100_000, "request_burst": 100_000}
    settings = Settings(api=ApiSettings.model_validate({**free, **api}))
    return StandIn(VenueStore(Database.open(sqlite_url(path))), settings)

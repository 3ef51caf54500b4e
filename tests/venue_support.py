"""A venue in the clear, for the tests of `darkpool`: insecure-test keys, terms, traders, sealed orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from commitments.paillier import Packing
from commitments.shamir import share
from darkpool import auction
from darkpool.account import Ledger
from darkpool.auction import PlainOrder
from darkpool.book import NO_CROSS, Book, RoundResult, SealedList, cancel_digest
from darkpool.committee.seat import Seat, seats_from_primes
from darkpool.draft import Collateral, Draft, Standing
from darkpool.eip712 import sign_digest
from darkpool.errors import OrderRefused
from darkpool.market import Grid, Market, Round, Side
from darkpool.netting import Signers, seal_totals
from darkpool.order import Order, SealedOrder, Terms, TimeInForce
from darkpool.types import Address, Lots, Nonce, PrivateKey, Quanta, RoundId, Signature, Tick
from darkpool.wallet import Fill, Wallet
from tests.commitments_support import primes

NOW: Final = 1_800_000_000
CHAIN_ID: Final = 31_337
CONTRACT: Final = Address(b"\x01" * 20)
BASE: Final = Address(b"\xb0" * 20)
QUOTE: Final = Address(b"\xc0" * 20)
NAMES: Final = ("ada", "ben", "cyd")
MEMBERS, THRESHOLD = 3, 1
RICH: Final = Quanta(10**15)


@cache
def seats(members: int = MEMBERS, threshold: int = THRESHOLD) -> tuple[Seat, ...]:
    """A committee under the published small primes; made once."""
    return tuple(seats_from_primes(*primes(), members, threshold))


def a_market(**changes: Any) -> Market:  # noqa: ANN401 - fields of a market
    """Four levels at 1,000, 1,010, 1,020, 1,030 quote quanta per lot of 7 base quanta."""
    market = Market(
        id=b"\x03" * 32,
        name="BASE/QUOTE",
        base=BASE,
        quote=QUOTE,
        lot=Quanta(7),
        grid=Grid(Quanta(1_000), Quanta(10), 4),
    )
    return replace(market, **changes)


def some_terms(**market: Any) -> Terms:  # noqa: ANN401 - fields of a market
    """The terms of that market."""
    return Terms(
        chain_id=CHAIN_ID,
        contract=CONTRACT,
        venue=b"\x02" * 32,
        market=a_market(**market),
        key=seats()[0].committee.key,
        policy_hash=b"\x06" * 32,
        tokens=(Address(b"\xa0" * 20), BASE, QUOTE),
        settle_window=600,
    )


def signers() -> Signers:
    """The committee as a wallet knows it."""
    return Signers(THRESHOLD, {seat.index: seat.signer for seat in seats()})


def key_of(name: str) -> PrivateKey:
    """A trader's wallet key; the seed is its reverse."""
    return PrivateKey(name.encode().rjust(32, b"\x11"))


def buy(level: int, quantity: int, reference: str = "") -> Order:
    return Order(Side.BUY, Tick(level), Lots(quantity), reference)


def sell(level: int, quantity: int, reference: str = "") -> Order:
    return Order(Side.SELL, Tick(level), Lots(quantity), reference)


def finish(draft: Draft, terms: Terms, key: PrivateKey) -> SealedOrder:
    """Sealed, proven, signed under the terms' domain, whatever its statement says."""
    return draft.finish(terms.key, terms.chain_id, terms.contract, key)


def with_statement(draft: Draft, **changes: Any) -> Draft:  # noqa: ANN401 - fields of a statement
    """The draft of an honest prover who means another statement."""
    statement = replace(draft.statement, **changes)
    count = Packing(statement.levels, seats()[0].committee.key.bits).ciphertexts
    randomness = (draft.witness.randomness * count)[:count]
    return replace(draft, statement=statement, witness=replace(draft.witness, randomness=randomness))


@dataclass
class Venue:
    """A book with its traders, round 1 open. Clearing is in the clear: `orders` knows them all."""

    terms: Terms = field(default_factory=some_terms)
    names: Sequence[str] = NAMES
    rich: Quanta = RICH
    book: Book = field(init=False)
    wallets: dict[str, Wallet] = field(init=False)
    orders: dict[bytes, Order] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.book = Book(self.terms, Ledger())
        self.wallets = {n: Wallet(self.terms, signers(), key_of(n), key_of(n)[::-1]) for n in self.names}
        for name in self.names:
            for token in (BASE, QUOTE):
                if self.rich:
                    self.deposit(name, token, self.rich)
        self.open(1)

    def name_of(self, account: Address) -> str:
        return next(n for n, w in self.wallets.items() if w.address == account)

    def open(self, number: int, reference: int = 2) -> None:
        self.book.open_round(Round(RoundId(number), self.terms.market, Tick(reference)))

    def deposit(self, name: str, token: Address, amount: Quanta) -> None:
        self.book.ledger.deposit(self.wallets[name].address, token, amount)
        self.wallets[name].deposited(token, amount)

    def draft(
        self,
        name: str,
        order: Order,
        time_in_force: TimeInForce = TimeInForce.GOOD_TILL_CANCELLED,
        valid_until: int = 0,
    ) -> Draft:
        standing = Standing(self.book.current_round.id, NOW, time_in_force, valid_until)
        return self.wallets[name].draft(order, standing)

    def sealed(self, name: str, draft: Draft) -> SealedOrder:
        return finish(draft, self.terms, key_of(name))

    def answer(self, raw: bytes, now: int = NOW) -> SealedOrder | OrderRefused:
        (answer,) = self.book.admit([raw], now)
        return answer

    def place(self, name: str, order: Order, **standing: Any) -> SealedOrder:  # noqa: ANN401
        """An honest order that must be accepted."""
        draft = self.draft(name, order, **standing)
        sealed = self.sealed(name, draft)
        answer = self.answer(sealed.raw)
        assert isinstance(answer, SealedOrder), answer
        self.wallets[name].accepted(order, draft)
        self.orders[answer.hash] = order
        return answer

    def seal(self, now: int = NOW) -> SealedList:
        sealed = self.book.seal(now)
        assert sealed is not None
        return sealed

    def cancel(self, order: SealedOrder) -> SealedOrder:
        name = self.name_of(order.account)
        digest = cancel_digest(self.terms, order.account, order.nonce)
        gone = self.book.cancel(order.account, order.nonce, sign_digest(digest, key_of(name)))
        self.wallets[name].released([order.nonce])
        return gone

    def outcome(self, sealed: SealedList) -> auction.Outcome | None:
        """The plain auction over the list."""
        market = self.terms.market
        plain = [
            PlainOrder(
                o.account.hex(),
                self.orders[o.hash].side,
                self.orders[o.hash].level,
                self.orders[o.hash].quantity,
            )
            for o in sealed.orders
        ]
        return auction.clear(
            plain, market.grid.levels, sealed.reference, market.pressure_ticks, market.min_volume
        )

    def finish(self, sealed: SealedList) -> tuple[RoundResult, dict[str, list[Fill]]]:
        """The round's end in book and wallets, by the plain auction; what each trader believes it got."""
        outcome = self.outcome(sealed)
        result = result_of(outcome)
        before = {o.hash: o for o in self.book.standing}
        consumed = {o.hash for o in self.book.finish(result)}
        fills: dict[str, list[Fill]] = {}
        digest = sealed.digest(self.terms.domain)
        for account in result.nets:
            name, wallet = self.name_of(account), self.wallets[self.name_of(account)]
            assert outcome is not None
            bought, sold = (side.get(account.hex(), 0) for side in (outcome.bought, outcome.sold))
            boxes = boxes_for(wallet, digest, bought, sold)
            nonces = {o.nonce for o in sealed.orders if o.account == account}
            fills[name] = wallet.cleared(sealed.round, digest, result, boxes, nonces)
        standing = {o.hash for o in self.book.standing}
        for gone in before.keys() - standing - consumed:
            self.wallets[self.name_of(before[gone].account)].released([before[gone].nonce])
        return result, fills

    def abort(self) -> None:
        for order in self.book.abort():
            self.wallets[self.name_of(order.account)].released([order.nonce])

    def settled(self, number: RoundId, *, final: bool = True) -> None:
        (self.book.settled if final else self.book.void)(number)
        for wallet in self.wallets.values():
            (wallet.settled if final else wallet.void)(number)

    def check(self) -> None:
        """The key invariant: every wallet's openings open the book's commitments, with its versions."""
        for name, wallet in self.wallets.items():
            for token in (BASE, QUOTE):
                free, mine = self.book.ledger.of(wallet.address, token), wallet._free[token]
                assert mine.opening.commitment() == free.current, f"{name}: F differs"
                assert mine.version == free.version, f"{name}: version differs"
                assert mine.opening.value >= 0, f"{name}: F is negative"


def result_of(outcome: auction.Outcome | None) -> RoundResult:
    """What a clearing would reveal of it."""
    if outcome is None:
        return NO_CROSS
    nets = {Address(bytes.fromhex(a)): outcome.base_net(a) for a in sorted(outcome.traded)}
    return RoundResult(True, outcome.price, outcome.volume, nets)


def boxes_for(wallet: Wallet, digest: bytes, bought: int, sold: int) -> dict[int, bytes]:
    """What the members would seal to the wallet."""
    shares = [share(total, MEMBERS, THRESHOLD) for total in (bought, sold)]
    public = wallet._fill_key.public
    return {
        seat.index: seal_totals(
            seat.signing_key,
            wallet.terms.domain,
            public,
            digest,
            wallet.address,
            (shares[0][seat.index], shares[1][seat.index]),
        )
        for seat in seats()
    }


def signature(name: str, digest: bytes) -> Signature:
    return sign_digest(digest, key_of(name))


def collateral_of(wallet: Wallet) -> Mapping[Address, Collateral]:
    """The wallet's openings as they are now."""
    return dict(wallet._free)


def nonces(orders: Sequence[SealedOrder]) -> list[Nonce]:
    return [o.nonce for o in orders]

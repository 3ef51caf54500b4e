"""Insecure-test keys, terms, traders and sealed orders for the tests of `darkpool`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from commitments.paillier import Packing, PublicKey
from commitments.shamir import share
from darkpool import auction
from darkpool.committee.seat import Seat, seats_from_primes
from darkpool.draft import Collateral, Draft
from darkpool.eip712 import sign_digest
from darkpool.listing import NO_CROSS, ListedOrder, RoundResult
from darkpool.market import Grid, Market, Side
from darkpool.netting import Signers, seal_totals
from darkpool.order import Order, SealedOrder, Terms
from darkpool.tenure import Tenure, Tenures
from darkpool.types import Address, Lots, Nonce, PrivateKey, Quanta, Signature, Tick
from darkpool.wallet import Wallet
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


def first_committee() -> tuple[PublicKey, Signers]:
    """Key and signers of those seats."""
    return seats()[0].committee.key, signers()


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


def tenures(terms: Terms | None = None) -> Tenures:
    """That committee as the only one the venue ever had; `terms` may name another key."""
    return Tenures((Tenure(signers(), seats()[0].committee.key if terms is None else terms.key),))


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


def signatures_of(digest: bytes, members: Sequence[int] = (1, 2, 3)) -> list[Signature]:
    """Those members' signatures."""
    return [sign_digest(digest, seat.signing_key) for seat in seats() if seat.index in members]


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


def nonces(orders: Sequence[ListedOrder]) -> list[Nonce]:
    return [o.nonce for o in orders]

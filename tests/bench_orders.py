"""Orders: sealed, decoded and verified alone and in batches, summed."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from functools import partial as partial_of

from commitments.params import PRODUCTION
from darkpool.admission import screened, unproven
from darkpool.committee.seat import Seat
from darkpool.draft import Standing
from darkpool.market import Grid, Market, Side
from darkpool.netting import Signers
from darkpool.order import Order, SealedOrder, Terms
from darkpool.types import Address, Lots, PrivateKey, Quanta, RoundId, Tick
from darkpool.wallet import Wallet
from tests.bench_scale import Scale
from tests.figures import Figure, Part, Series, median_ms

LEVELS = 64
_ALONE_RUNS = 15


def terms_of(seats: Sequence[Seat]) -> Terms:
    """A market of 64 levels under the seats' key."""
    base, quote = Address(b"\x01" * 20), Address(b"\x02" * 20)
    grid = Grid.centred(Quanta(1_000), Quanta(1), LEVELS)
    market = Market(b"\x03" * 32, "BENCH", base, quote, Quanta(1), grid)
    key = seats[0].committee.key
    return Terms(1, Address(b"\x04" * 20), b"\x05" * 32, market, key, b"\x06" * 32, (base, quote), 3600)


class Trader:
    """One rich account; every order it seals is proven against what those before it left."""

    def __init__(self, terms: Terms, seats: Sequence[Seat]) -> None:
        signers = Signers(1, {seat.index: seat.signer for seat in seats})
        self.terms, self._rng = terms, random.Random(7)
        self._wallet = Wallet(terms, signers, PrivateKey(b"\x11" * 32), b"\x12" * 32)
        for token in (terms.market.base, terms.market.quote):
            self._wallet.deposited(token, Quanta(1 << 50))
        self.sealed: list[SealedOrder] = []

    def seal(self) -> None:
        rng, terms = self._rng, self.terms
        order = Order(Side(rng.randrange(2)), Tick(rng.randrange(LEVELS)), Lots(rng.randrange(1, 10_000)))
        draft = self._wallet.draft(order, Standing(RoundId(1), int(time.time())))
        self._wallet.accepted(order, draft)
        key = self._wallet.private_key
        self.sealed.append(draft.finish(terms.key, terms.chain_id, terms.contract, key))


def admit(terms: Terms, raws: Sequence[bytes]) -> None:
    """What the venue and every member do with orders from outside. Raises OrderRefused."""
    now = int(time.time())
    for raw in raws:
        screened({terms.market.id: terms}, raw, now)
    for refusal in unproven(terms.key, raws).values():
        raise refusal


def orders(scale: Scale, seats: Sequence[Seat]) -> Part:
    """Seal, decode and verify, sum."""
    terms = terms_of(seats)
    production = scale.profile is PRODUCTION
    trader = Trader(terms, seats)
    trader.seal()  # builds the tables, which is not what is measured
    seal_ms = median_ms(max(scale.batches), trader.seal)
    figures = [
        Figure("seal, prove and sign an order", seal_ms, "ms", 30 if production else None),
        Figure("size of an order", len(trader.sealed[0].raw), "bytes"),
    ]
    raws = [order.raw for order in trader.sealed]
    targets = {1: 30, 128: 5} if production else {}
    verified, summed = [], []
    for count in scale.batches:
        runs = _ALONE_RUNS if count == 1 else scale.runs
        each = median_ms(runs, partial_of(admit, terms, raws[:count])) / count
        label = "alone" if count == 1 else f"in a batch of {count}"
        figures.append(Figure(f"decode and verify {label}, per order", each, "ms", targets.get(count)))
        verified.append((count, each * count))
        summed.append((count, _sum_ms(scale.runs, trader, count)))
    target = 0.08 if production else None
    figures.append(Figure("sum, per order", summed[-1][1] / summed[-1][0], "ms", target))
    return Part(
        figures,
        [
            Series(
                "verifying a batch", "orders", "ms", tuple(verified), "below 1: a batch shares its fixed part"
            ),
            Series("summing", "orders", "ms", tuple(summed), "1: one multiplication an order and ciphertext"),
        ],
    )


def _sum_ms(runs: int, trader: Trader, count: int) -> float:
    key, parts = trader.terms.key, range(trader.terms.packing.ciphertexts)
    ciphertexts = [order.sent.ciphertexts for order in trader.sealed[:count]]
    return median_ms(runs, lambda: [key.product(c[j] for c in ciphertexts) for j in parts])

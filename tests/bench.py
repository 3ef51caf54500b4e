"""`make bench`: speed and memory at production size, as a table with a machine line; `--json` for machines.

Every figure is the median of several runs in one process on this machine; targets are those of the issue that
asked for them, shown beside what was measured and not enforced.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial as partial_of
from pathlib import Path
from statistics import median

from rich.console import Console

from commitments.paillier import PublicKey, fresh_randomness
from commitments.params import PRODUCTION
from commitments.threshold import combine, partial, verify_openings
from darkpool.admission import screened, unproven
from darkpool.auction import PlainOrder
from darkpool.committee.seat import Seat, ceremony
from darkpool.draft import Standing
from darkpool.house import open_house
from darkpool.market import Grid, Market, Side
from darkpool.netting import Signers
from darkpool.order import Order, SealedOrder, Terms
from darkpool.plan import Options
from darkpool.run import MEMBERS, THRESHOLD, Run, RunReport
from darkpool.types import Address, Lots, PrivateKey, Quanta, RoundId, Tick
from darkpool.wallet import Wallet
from tests.bench_service import FULL, service
from tests.encrypted import plan_of
from tests.figures import Figure, figures_table, machine

LEVELS = 64
ROUND_ORDERS, ROUND_ACCOUNTS = 200, 20
BATCHES = (1, 8, 32, 128)


def _median_ms(runs: int, step: Callable[[], object]) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - started))
    return median(times)


def _terms(key: PublicKey) -> Terms:
    base, quote = Address(b"\x01" * 20), Address(b"\x02" * 20)
    grid = Grid.centred(Quanta(1_000), Quanta(1), LEVELS)
    market = Market(b"\x03" * 32, "BENCH", base, quote, Quanta(1), grid)
    return Terms(1, Address(b"\x04" * 20), b"\x05" * 32, market, key, b"\x06" * 32, (base, quote), 3600)


def _wallet(terms: Terms, seat: Seat) -> Wallet:
    wallet = Wallet(terms, Signers(1, {seat.index: seat.signer}), PrivateKey(b"\x11" * 32), b"\x12" * 32)
    for token in (terms.market.base, terms.market.quote):
        wallet.deposited(token, Quanta(1 << 50))
    return wallet


def orders(seats: list[Seat]) -> list[Figure]:
    """Seal, decode, verify alone and in batches, sum."""
    seat = seats[0]
    key = seat.committee.key
    terms = _terms(key)
    wallet = _wallet(terms, seat)
    rng = random.Random(7)
    sealed: list[SealedOrder] = []

    def seal() -> None:
        order = Order(Side(rng.randrange(2)), Tick(rng.randrange(LEVELS)), Lots(rng.randrange(1, 10_000)))
        draft = wallet.draft(order, Standing(RoundId(1), int(time.time())))
        wallet.accepted(order, draft)
        sealed.append(draft.finish(key, terms.chain_id, terms.contract, wallet.private_key))

    seal()  # builds the tables, which is not what is measured
    seal_ms = _median_ms(max(BATCHES), seal)
    figures = [
        Figure("seal, prove and sign an order", seal_ms, "ms", 60),
        Figure("size of an order", len(sealed[0].raw), "bytes"),
    ]
    raws = [order.raw for order in sealed]

    def admit(count: int) -> None:
        now = int(time.time())
        for raw in raws[:count]:
            screened({terms.market.id: terms}, raw, now)
        for refusal in unproven(key, raws[:count]).values():
            raise refusal

    for count in BATCHES:
        per_order = _median_ms(5 if count > 1 else 15, partial_of(admit, count)) / count
        label = "alone" if count == 1 else f"in a batch of {count}"
        figures.append(
            Figure(f"decode and verify {label}, per order", per_order, "ms", 40 if count == 1 else 12)
        )
    ciphertexts = [order.sent.ciphertexts for order in sealed]
    parts = range(terms.packing.ciphertexts)
    total = _median_ms(5, lambda: [key.product(c[j] for c in ciphertexts) for j in parts])
    figures.append(Figure("sum, per order", total / len(ciphertexts), "ms", 0.2))
    return figures


def openings(seats: list[Seat]) -> list[Figure]:
    """Partial decryption, combination, and checking somebody else's openings."""
    committee = seats[0].committee
    key = committee.key
    c = key.encrypt(secrets.randbelow(int(key.n)), fresh_randomness())
    partials = {seat.index: partial(committee, seat.share, c) for seat in seats[: THRESHOLD + 1]}
    opening = combine(committee, c, partials)
    many = [(c, opening)] * 20
    return [
        Figure("partial decryption", _median_ms(9, lambda: partial(committee, seats[0].share, c)), "ms"),
        Figure("combination, with its check", _median_ms(9, lambda: combine(committee, c, partials)), "ms"),
        Figure(
            "checking an opening, in a batch of 20",
            _median_ms(5, lambda: verify_openings(key, many)) / 20,
            "ms",
        ),
    ]


def a_round(seats: list[Seat]) -> list[Figure]:
    """200 orders of 20 accounts through three members on this machine, and everybody's peak memory."""
    rng = random.Random(11)
    book = []
    for number in range(ROUND_ORDERS):
        side = Side(rng.randrange(2))
        lean = 1 if side is Side.BUY else -1
        level = Tick(LEVELS // 2 + lean * rng.randrange(-12, 8))
        book.append(
            PlainOrder(f"desk-{number % ROUND_ACCOUNTS:02d}", side, level, Lots(rng.randrange(1, 5_000)))
        )
    prepared = plan_of(LEVELS, [(Tick(LEVELS // 2), book)])

    async def run(home: Path) -> RunReport:
        async with open_house(seats, home) as house:
            return await Run(prepared, Options("0.01", PRODUCTION, levels=LEVELS)).execute(house)

    with tempfile.TemporaryDirectory(prefix="dp-bench-") as folder:
        report = asyncio.run(run(Path(folder)))
    (outcome,) = report.rounds
    (settled,) = report.settlements
    statuses = [status.fields for status in report.members.values()]
    mebibyte = 1 << 20
    return [
        Figure(
            f"round of {ROUND_ORDERS} orders, {ROUND_ACCOUNTS} accounts: sealed list to signatures",
            outcome.closed.seconds,
            "s",
            20,
        ),
        Figure("settlement of that round", settled.receipt.gas_used, "gas"),
        Figure("peak memory of a member", max(s["peak_bytes"] for s in statuses) / mebibyte, "MiB", 600),
        Figure(
            "peak memory of an evaluator",
            max(s["evaluator_peak_bytes"] for s in statuses) / mebibyte,
            "MiB",
            600,
        ),
        Figure(
            "peak memory of operator, chain and traders in one process",
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "MiB",
            600,
        ),
    ]


def the_service(seats: list[Seat]) -> list[Figure]:
    """Enough orders for its memory to show whether it grows."""
    return service(seats, FULL)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    started = time.perf_counter()
    sys.stderr.write("key ceremony at 3072 bits …\n")
    seats = ceremony(PRODUCTION, MEMBERS, THRESHOLD)
    figures = [Figure("key ceremony, two processes, once", time.perf_counter() - started, "s")]
    for measure in (orders, openings, a_round, the_service):
        sys.stderr.write(f"{measure.__name__} …\n")
        figures += measure(seats)
    if arguments.json:
        print(json.dumps({"machine": machine(), "figures": [asdict(f) for f in figures]}))
        return
    caption = "profile production (3072 bits), T = 64, n = 3, t = 1; medians"
    Console().print(figures_table(figures, caption))


if __name__ == "__main__":
    main()

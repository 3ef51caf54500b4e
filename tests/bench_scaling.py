"""Workers side by side: orders verified and sums opened by one and two of them, and a model of more.

A batch has a parallel part, which workers do, and a serial part, which the process that asks does: it
screens, ships, checks against the state, writes the log; of an opening, it ships and checks. Both are
measured alone, in processor seconds, plus the wall time of the log's write. The model is Amdahl's: an order
takes s + p / w with w workers, as if the asking process did nothing while they work. In a venue it does, so
1 / s is the rate that nothing exceeds.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial as partial_of
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Final

from commitments.paillier import fresh_randomness
from commitments.params import PRODUCTION
from commitments.threshold import combine, partial, verify_openings
from darkpool import work
from darkpool.admission import Tentative, screened
from darkpool.chain_events import ChainEvent
from darkpool.committee.seat import Seat
from darkpool.committee.spread import Combination, Masked, spread
from darkpool.listing import ListedOrder
from darkpool.message import Message, terms_message
from darkpool.netting import Signers
from darkpool.order import Terms
from darkpool.state import VenueState
from darkpool.store.database import Database, sqlite_url
from darkpool.store.log_store import LogStore
from darkpool.types import Address, Quanta
from darkpool.workers import Processes, Workers, present, refusals
from darkpool.workers_ray import Ray
from tests.bench_orders import Trader, terms_of
from tests.bench_scale import Scale
from tests.figures import Figure, Part, Series
from tests.ray_cluster import local_cluster

MEASURED: Final = (1, 2)
MODELLED: Final = (1, 2, 4, 8, 16, 32, 64)
_SECONDS: Final = 600.0
_SUMS_PER_RUN: Final = 16


def scaling(scale: Scale, seats: Sequence[Seat]) -> Part:
    """Orders, then openings."""
    figures: list[Figure] = []
    series: list[Series] = []
    _of_orders(scale, seats, figures, series)
    _of_openings(scale, seats, figures, series)
    return Part(figures, series, [f"Model: s + p / w, {__name__}; 1 and 2 workers are measured beside it."])


def _of_orders(scale: Scale, seats: Sequence[Seat], figures: list[Figure], series: list[Series]) -> None:
    terms = terms_of(seats)
    batch = 32 if scale.profile is PRODUCTION else 4
    trader = Trader(terms, seats)
    for _ in range(2 * batch):
        trader.seal()
    raws = [order.raw for order in trader.sealed]
    batches = [raws[:batch], raws[batch:]] * (2 * scale.runs)
    orders = batch * len(batches)

    async def verify(workers: Workers) -> None:
        found = await asyncio.gather(*(refusals(workers, terms.key, part) for part in batches))
        if any(found):
            raise AssertionError("an order of the benchmark was refused")

    with tempfile.TemporaryDirectory(prefix="dp-bench-") as folder:
        serial = _asking(raws, batch, terms, seats, Path(folder)) / len(raws)
    requests = [work.orders_request(terms.key, part) for part in batches[:2]]
    parallel = _seconds(3, lambda: [work.answered(request) for request in requests]) / (2 * batch)
    figures += [
        Figure("orders: serial part, per order", 1000 * serial, "ms"),
        Figure("orders: parallel part, per order", 1000 * parallel, "ms"),
    ]
    rates = {}
    for name, opened in _kinds(terms):
        for count in MEASURED:
            with opened(count) as workers:
                rates[name, count] = orders / asyncio.run(_working(workers, verify))
            figures.append(Figure(f"orders verified by {count} of {name}", rates[name, count], "per s"))
        points = tuple((float(count), rates[name, count]) for count in MEASURED)
        series.append(Series(f"orders by {name}, measured", "workers", "per s", points))
    modelled = tuple((float(w), 1 / (serial + parallel / w)) for w in MODELLED)
    series.append(Series("orders, model", "workers", "per s", modelled, "s + p / w an order"))
    figures.append(Figure("orders: the asking process alone allows", 1 / serial, "per s"))


def _of_openings(scale: Scale, seats: Sequence[Seat], figures: list[Figure], series: list[Series]) -> None:
    committee = seats[0].committee
    items = [_masked(seats) for _ in range(_SUMS_PER_RUN)]
    openings = [(c, combine(committee, c, partials)) for c, partials in items]
    shipping = _seconds(3, lambda: [Message.decode(work.combine_request(committee, *item)) for item in items])
    checking = _seconds(3, partial_of(verify_openings, committee.key, openings))
    serial = (shipping + checking) / len(items)
    parallel = _seconds(3, lambda: [combine(committee, *item) for item in items]) / len(items)
    figures += [
        Figure("openings: serial part, each", 1000 * serial, "ms"),
        Figure("openings: parallel part, each", 1000 * parallel, "ms"),
    ]
    repeated = items * max(1, scale.runs // 2)

    async def opened(_: Workers) -> None:
        await spread(Combination(committee), repeated)

    points = []
    for count in MEASURED:
        workers = Processes(committee.key, count, _SECONDS)
        points.append((float(count), len(repeated) / asyncio.run(_working(workers, opened))))
        figures.append(Figure(f"sums opened by {count} of processes", points[-1][1], "per s"))
    series.append(Series("openings by processes, measured", "workers", "per s", tuple(points)))
    modelled = tuple((float(w), 1 / (serial + parallel / w)) for w in MODELLED)
    series.append(Series("openings, model", "workers", "per s", modelled, "s + p / w each"))


async def _working(workers: Workers, job: Callable[[Workers], Awaitable[None]]) -> float:
    """Seconds of a job, once the workers are warm."""
    async with present(workers):
        await job(workers)
        started = time.perf_counter()
        await job(workers)
        return time.perf_counter() - started


def _kinds(terms: Terms) -> Iterator[tuple[str, Callable[[int], AbstractContextManager[Workers]]]]:
    @contextmanager
    def processes(count: int) -> Iterator[Workers]:
        yield Processes(terms.key, count, _SECONDS)

    @contextmanager
    def nodes(count: int) -> Iterator[Workers]:
        with local_cluster(count) as cluster:
            yield Ray(terms.key, Processes(terms.key, 1, _SECONDS), _SECONDS, cluster.address)

    yield "processes", processes
    if find_spec("ray") is not None:
        yield "Ray nodes", nodes


def _asking(raws: Sequence[bytes], batch: int, terms: Terms, seats: Sequence[Seat], folder: Path) -> float:
    """Seconds of all that the venue's process does itself to admit the orders, in batches."""
    state, store = _venue(raws, terms, seats, folder)
    parts = [raws[i : i + batch] for i in range(0, len(raws), batch)]
    answers = [work.answered(work.orders_request(terms.key, part)) for part in parts]
    now, written = int(time.time()), 0.0
    started = time.process_time()
    for part, answer in zip(parts, answers, strict=True):
        for raw in part:
            screened(state.markets, raw, now)
        orders = [ListedOrder.read(raw, state.key) for raw in part]
        request = work.orders_request(terms.key, part)
        work.read_refusals(work.read_answer(request, answer), len(part))
        entries = [Message("order", {"time": now}, [raw]) for raw in part]
        tentative = Tentative(state.ledger)
        changes = [state.checked(e, o, tentative) for e, o in zip(entries, orders, strict=True)]
        data = [entry.encode() for entry in entries]
        size = store.size()
        since, used = time.perf_counter(), time.process_time()
        store.append(size, data)
        written += time.perf_counter() - since - (time.process_time() - used)
        for i, change in enumerate(changes):
            change(size + i)
    return time.process_time() - started + written


def _venue(
    raws: Sequence[bytes], terms: Terms, seats: Sequence[Seat], folder: Path
) -> tuple[VenueState, LogStore]:
    """A log in which the orders' account is rich and its round open."""
    key, signers = terms.key, Signers(1, {seat.index: seat.signer for seat in seats})
    state, store = VenueState(key, signers), LogStore(Database.open(sqlite_url(folder / "log.db")))
    account = ListedOrder.read(raws[0], key).account
    market = {"market": terms.market.id.hex()}
    for entry in (
        terms_message(terms, 1),
        Message("chain", {"time": 1, "block": 0, "at": 1, "hash": bytes(32).hex(), "events": _rich(account)}),
        Message("open", {"time": 1, **market, "round": 1, "reference": 2, "source": "given"}),
    ):
        size = store.size()
        store.append(size, [entry.encode()])
        state.checked(entry)(size)
    return state, store


def _rich(account: Address) -> list[object]:
    return [ChainEvent("deposit", account, token, Quanta(1 << 50)).row() for token in (0, 1)]


def _masked(seats: Sequence[Seat]) -> Masked:
    committee = seats[0].committee
    c = committee.key.encrypt(secrets.randbits(committee.key.bits - 8), fresh_randomness())
    return c, {seat.index: partial(committee, seat.share, c) for seat in seats[: committee.threshold + 1]}


def _seconds(runs: int, step: Callable[[], object]) -> float:
    """Median processor seconds: what else the machine does meanwhile does not count."""
    found = []
    for _ in range(runs):
        started = time.process_time()
        step()
        found.append(time.process_time() - started)
    return median(found)

"""An auditor's report at production size: `python -m tests.bench_audit`, or with a number of orders.

One account's day in lists of 200: every list checked, every order opened and checked against its commitments,
the report written. The orders are real ones under the published 3072-bit key; making them takes longer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rich.console import Console

from compliance.audit_check import audit
from compliance.audit_file import AuditedRound, AuditFile, answer_json, sealed_json
from compliance.disclosure_answer import ListedRound, VenueOrder
from compliance.opening_pool import OpeningPool
from compliance.report_html import page
from darkpool.client.prover import Job, Prover
from darkpool.listing import NO_CROSS
from darkpool.market import Grid, RoundState
from darkpool.order import SealedOrder, Terms
from darkpool.store.records import OrderState
from darkpool.types import Quanta
from tests.commitments_support import published_key
from tests.compliance import audited
from tests.compliance.audit_support import DAY, DAY_SECONDS, a_list, drafted
from tests.figures import Figure, figures_table
from tests.venue_support import buy, key_of, sell, some_terms

LISTED: Final = 200
LEVELS: Final = 64


def auditor_report(orders: int = 1_000) -> list[Figure]:
    """Seconds to verify and report so many orders with all processors, and one by one in this process."""
    terms = replace(
        some_terms(lot=Quanta(10), grid=Grid(Quanta(1_000), Quanta(10), LEVELS)),
        key=published_key("production"),
    )
    file = _file(terms, _orders(terms, orders))
    data = file.encode()
    with OpeningPool() as pool:
        started = time.perf_counter()
        done = audit(AuditFile.decode(data), audited.AUDITOR.account, audited.BOX, opener=pool)
        html = page(done)
        seconds = time.perf_counter() - started
    if done.report is None or len(done.report.opened) != orders or not html:
        raise SystemExit(f"not all opened: {[c for c in done.checks if c.problem]}")
    return [
        Figure(f"verify and report {orders} orders", seconds, "s", 15.0 * orders / 1_000),
        Figure("of that, an order", 1_000 * seconds / orders, "ms"),
        Figure("audit file", len(data) / 1e6, "MB"),
    ]


def _orders(terms: Terms, count: int) -> list[SealedOrder]:
    """Sealed and proven on all processors."""
    drafts = (
        drafted("ada", (buy if i % 2 else sell)(i % LEVELS, 1 + i, f"order {i}"), DAY, i, terms)
        for i in range(count)
    )
    prover = Prover(2)
    raws = prover([Job(draft, terms, key_of("ada")) for draft in drafts])
    prover.close()
    return [SealedOrder.decode(raw, terms.key) for raw in raws]


def _file(terms: Terms, orders: Sequence[SealedOrder]) -> AuditFile:
    """Lists that do not cross, and one after the day that closes it."""
    parts = [orders[start : start + LISTED] for start in range(0, len(orders), LISTED)]
    views = [
        a_list(part, number, DAY * DAY_SECONDS + 60 * number, terms)
        for number, part in enumerate([*parts, orders[:1]], 1)
    ]
    views[-1] = a_list(orders[:1], len(views), (DAY + 1) * DAY_SECONDS + 90, terms)
    market = audited.market_json(terms)
    rounds = [
        AuditedRound(terms.market.id, view.round, sealed_json(view), audited.certified(view, NO_CROSS, terms))
        for view in views
    ]
    answer = replace(
        audited.an_answer(b""),
        rounds=tuple(ListedRound(view.round, RoundState.NO_CROSS) for view in views),
        orders=tuple(
            VenueOrder(o.hash, i, o.nonce, DAY * DAY_SECONDS, OrderState.STANDING, "", None, b"")
            for i, o in enumerate(orders)
        ),
    )
    return AuditFile(
        audited.NOW,
        "chain 31337",
        answer_json(audited.answered(answer)),
        {terms.market.id: market},
        tuple(rounds),
        (),
        {order.hash: order.raw for order in orders},
    ).signed(audited.EVE)


if __name__ == "__main__":
    given = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    Console().print(figures_table(auditor_report(given), "auditor"))

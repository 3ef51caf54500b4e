"""Figures for Prometheus, in the app's own registry. Labels: routes, states, parts, tokens, never whose."""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.venue import symbols_of
from api.views import flows_of
from darkpool.errors import DarkpoolError
from darkpool.market import RoundState
from darkpool.store.records import OrderState, SettlementState
from darkpool.store.venue_store import VenueStore
from darkpool.venue import Venue

S = TypeVar("S", bound=StrEnum)

_BUCKETS: Final = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 3.0, 10.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT"})


class Metrics:
    """Counters of requests, and gauges that are read when somebody asks."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self.requests = Counter(
            "darkpool_http_requests", "Requests", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "darkpool_http_seconds",
            "Time to answer",
            ["route", "method"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._orders = self._gauge("orders", "Orders by state", "state")
        self._rounds = self._gauge("rounds", "Rounds by state", "state")
        self._settlements = self._gauge("settlements", "Settlements by state", "state")
        self._well = self._gauge("well", "1 if the part works", "part")
        self._entries = self._gauge("log_entries", "Entries of the log")
        self._pending = self._gauge("pending_settlements", "Settlements not final")
        self._unsettled = self._gauge("unsettled_rounds", "Rounds with a result that no settlement has yet")
        self._voided = self._gauge("voided_rounds", "Rounds ever whose fills were busted")
        self._attempts = self._gauge("settlement_attempts", "Transactions sent for the oldest settlement")
        self._fee = self._gauge("settlement_fee_wei", "The most the oldest settlement offers per gas")
        self._flows = self._gauge(
            "window_quanta", "Quanta of the latest settlement, traded and left", "token", "kind"
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"darkpool_{name}", text, labels, registry=self.registry)

    async def rendered(self, venue: Venue) -> bytes:
        """The text of all figures; those of the database as they last were, if it is away."""
        status = venue.status()
        self._entries.set(status.log_size)
        self._pending.set(status.pending_settlements)
        self._unsettled.set(status.unsettled_rounds)
        self._voided.set(status.voided_rounds)
        self._attempts.set(status.sent.attempts if status.sent else 0)
        self._fee.set(status.sent.fee if status.sent else 0)
        for part in ("halted", "database", "chain", "committee", "settlement"):
            label = "venue" if part == "halted" else part
            self._well.labels(label).set(not getattr(status, part))
        try:
            counts = await venue.read(VenueStore.counts)
            latest = await venue.read(lambda store: store.settlements(limit=1))
        except DarkpoolError:
            self._well.labels("database").set(0)
        else:
            _set(self._orders, OrderState, counts.orders)
            _set(self._rounds, RoundState, counts.rounds)
            _set(self._settlements, SettlementState, counts.settlements)
            symbols = symbols_of(venue)
            for token, gross, net in (flow for row in latest for flow in flows_of(row)):
                self._flows.labels(symbols.get(token, "other"), "gross").set(gross)
                self._flows.labels(symbols.get(token, "other"), "net").set(net)
        return generate_latest(self.registry)


def _set(gauge: Gauge, states: type[S], counts: Mapping[S, int]) -> None:
    for state in states:
        gauge.labels(state.value).set(counts.get(state, 0))


class Measured:
    """Counts and times each request by its route's template."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.monotonic()
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.requests.labels(route, method, str(message["status"])).inc()
                self._metrics.seconds.labels(route, method).observe(time.monotonic() - start)
            await send(message)

        await self._app(scope, receive, counted)

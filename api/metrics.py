"""Figures for Prometheus, in a registry of the app's own. Labels are routes, states and parts, never names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from darkpool.errors import DarkpoolError
from darkpool.market import RoundState
from darkpool.store.records import OrderState, SettlementState
from darkpool.store.venue_store import VenueStore

if TYPE_CHECKING:
    from darkpool.venue import Venue

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

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"darkpool_{name}", text, labels, registry=self.registry)

    async def rendered(self, venue: Venue) -> bytes:
        """The text of all figures; those of the database as they last were, if it is away."""
        status = venue.status()
        self._entries.set(status.log_size)
        self._pending.set(status.pending_settlements)
        for part in ("halted", "database", "chain", "committee"):
            label = "venue" if part == "halted" else part
            self._well.labels(label).set(not getattr(status, part))
        try:
            counts = await venue.read(VenueStore.counts)
        except DarkpoolError:
            self._well.labels("database").set(0)
        else:
            for gauge, states, found in (
                (self._orders, OrderState, counts.orders),
                (self._rounds, RoundState, counts.rounds),
                (self._settlements, SettlementState, counts.settlements),
            ):
                for state in states:
                    gauge.labels(state.value).set(found.get(state, 0))
        return generate_latest(self.registry)


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

"""For whoever runs the venue: is the process up, can it work, and figures for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response, status
from prometheus_client import CONTENT_TYPE_LATEST

from api.metrics import Metrics
from api.problems import refusals
from api.venue import VenueOf

health_router = APIRouter(tags=["operations"])
metrics_router = APIRouter(tags=["operations"])


@dataclass(frozen=True, slots=True)
class Health:
    """The process answers."""

    status: str


@health_router.get("/health", responses=refusals(parameters=False))
async def health() -> Health:
    """Always well while the process is up."""
    return Health("up")


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is wrong with each part, or nothing; `ready`: orders can be admitted."""

    ready: bool
    halted: str
    database: str
    chain: str
    committee: str
    pending_settlements: int
    log_size: int


@health_router.get(
    "/ready",
    responses={
        503: {"model": Readiness, "description": "Orders cannot be admitted now"},
        **refusals(parameters=False),
    },
)
async def ready(response: Response, venue: VenueOf) -> Readiness:
    """Whether orders can be admitted; away chain or committee only keep rounds from ending."""
    found = venue.status()
    admits = not found.halted and not found.database
    if not admits:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return Readiness(
        ready=admits,
        halted=found.halted,
        database=found.database,
        chain=found.chain,
        committee=found.committee,
        pending_settlements=found.pending_settlements,
        log_size=found.log_size,
    )


@metrics_router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **refusals(parameters=False),
    },
)
async def metrics(request: Request, venue: VenueOf) -> Response:
    """In the text format of Prometheus. No figure names an account or an order."""
    found: Metrics = request.app.state.metrics
    return Response(await found.rendered(venue), media_type=CONTENT_TYPE_LATEST)

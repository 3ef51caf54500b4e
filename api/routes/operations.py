"""For whoever runs the venue: is the process up, can it work, and figures for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response, status
from prometheus_client import CONTENT_TYPE_LATEST

from api.metrics import Metrics
from api.parameters import HashText, Uint
from api.problems import refusals
from api.venue import VenueOf
from darkpool.jsonfields import hex_text
from darkpool.submitter import Standing

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
class Submission:
    """Where the oldest signed settlement stands at the head of the chain.

    confirmations: from its block on, 0 before it has one. Until then: attempts: transactions sent for it,
    tx_hash: of the latest, fee: the most it offers per gas, in wei.
    """

    tx_hash: HashText | None
    confirmations: Uint
    attempts: Uint
    fee: Uint

    @staticmethod
    def of(standing: Standing) -> Submission:
        """Of a standing."""
        tx_hash = standing.tx_hash if standing.receipt is None else standing.receipt.tx_hash
        text = None if tx_hash is None else hex_text(tx_hash)
        return Submission(text, standing.confirmations, standing.attempts, standing.fee)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is wrong with each part, or nothing; `ready`: orders can be admitted.

    settlement: why the oldest settlement does not land; voided_rounds: rounds ever whose fills were busted.
    """

    ready: bool
    halted: str
    database: str
    chain: str
    committee: str
    settlement: str
    unsettled_rounds: int
    pending_settlements: int
    voided_rounds: int
    submission: Submission | None
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
        settlement=found.settlement,
        unsettled_rounds=found.unsettled_rounds,
        pending_settlements=found.pending_settlements,
        voided_rounds=found.voided_rounds,
        submission=None if found.sent is None else Submission.of(found.sent),
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

"""Server-sent events: round states for all, fills for their account; resumable by id."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.callers import PRIVATE_CODES, SIGNED, OwnerOf
from api.parameters import Number
from api.problems import RETRY_SECONDS, refusals
from api.venue import VenueOf
from darkpool.errors import Busy
from darkpool.store.records import EventRow

router = APIRouter(tags=["events"])

Opened: TypeAlias = list[AsyncGenerator[EventRow, None]]
LastEventId: TypeAlias = Annotated[
    Number | None, Header(description="id of the last event seen; without it, new events only")
]


async def stream_slot(request: Request, venue: VenueOf) -> AsyncIterator[Opened]:
    """One of the streams open at once; what is opened in it is closed at its end. Raises Busy.

    A reader that leaves while something is being sent to it leaves the generators behind, suspended.
    """
    opened: Opened = []
    state, most = request.app.state, venue.settings.api.max_streams
    if state.streams >= most:
        raise Busy(f"events: {most} streams are open", RETRY_SECONDS)
    state.streams += 1
    try:
        yield opened
    finally:
        state.streams -= 1
        for rows in opened:
            await rows.aclose()


SlotOf: TypeAlias = Annotated[Opened, Depends(stream_slot)]


def _event(row: EventRow) -> ServerSentEvent:
    return ServerSentEvent(id=str(row.id), event=row.kind, data={"at": row.at, **json.loads(row.data)})


@router.get(
    "/events",
    response_class=EventSourceResponse,
    responses=refusals("busy", "database-away"),
)
async def public_events(
    venue: VenueOf, slot: SlotOf, last_event_id: LastEventId = None
) -> AsyncIterator[ServerSentEvent]:
    """The states of rounds, as they change."""
    slot.append(rows := venue.events.subscribe(None, last_event_id))
    async for row in rows:
        yield _event(row)


@router.get(
    "/accounts/{account}/events",
    response_class=EventSourceResponse,
    responses=refusals(*PRIVATE_CODES, "not-the-account", "busy"),
    openapi_extra=SIGNED,
)
async def own_events(
    account: OwnerOf, venue: VenueOf, slot: SlotOf, last_event_id: LastEventId = None
) -> AsyncIterator[ServerSentEvent]:
    """The states of rounds and the account's own fills: provisional, settled, busted."""
    slot.append(rows := venue.events.subscribe(account, last_event_id))
    async for row in rows:
        yield _event(row)

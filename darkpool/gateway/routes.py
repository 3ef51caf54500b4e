"""The gateway's routes: side, quantity and price in, fills out; plain JSON for programs in any language.

Numbers are decimal texts, so nothing is rounded on the way. An order's id is its own for good: renewals and
replacements keep it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field

from darkpool.client.trader import AsyncTrader
from darkpool.client.views import (
    View,
    balance_view,
    fill_views,
    market_view,
    order_views,
    placed_view,
    wanted,
)
from darkpool.errors import Busy, OrderRefused
from darkpool.gateway.hub import MAX_LISTENERS, Hub
from darkpool.jsonfields import MAX_UINT64

router = APIRouter()

_RETRY_SECONDS: Final = 5
_Decimal = Annotated[str, Field(min_length=1, max_length=40)]
OrderId: TypeAlias = Annotated[int, Path(ge=0, le=MAX_UINT64)]
MarketName: TypeAlias = Annotated[str, Query(max_length=64)]


def _trader(request: Request) -> AsyncTrader:
    trader: AsyncTrader = request.app.state.trader
    return trader


def _hub(request: Request) -> Hub:
    """The hub, if somebody else may listen. Raises Busy."""
    hub: Hub = request.app.state.hub
    if hub.full:
        raise Busy(f"events: {MAX_LISTENERS} are listening", _RETRY_SECONDS)
    return hub


TraderOf: TypeAlias = Annotated[AsyncTrader, Depends(_trader)]
HubOf: TypeAlias = Annotated[Hub, Depends(_hub)]


class OrderBody(BaseModel):
    """An order. price: null trades at any price of the grid; valid_until: unix seconds, with gtt only."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    side: Annotated[str, Field(max_length=8, description="buy or sell")]
    quantity: Annotated[_Decimal, Field(description="decimal of base tokens, 0 for a decoy")]
    price: Annotated[_Decimal | None, Field(description="decimal of quote tokens per base token")] = None
    time_in_force: Annotated[str, Field(max_length=8, description="round, gtt or gtc")] = "gtc"
    valid_until: Annotated[int | None, Field(ge=1, le=MAX_UINT64)] = None


class NewOrder(OrderBody):
    """A new order. reference: your own name for it, by which it is placed once however often it is sent."""

    market: Annotated[str, Field(max_length=64, description="may be left out if there is only one")] = ""
    reference: Annotated[str, Field(max_length=64)] = ""


async def _views(trader: AsyncTrader) -> list[View]:
    unanswered = trader.unanswered()  # first: what is answered meanwhile is in the orders
    families, now = (await trader.orders()).values(), int(time.time())
    return order_views(families, unanswered, trader.markets, now, trader.ended)


@router.post("/orders", status_code=HTTPStatus.CREATED)
async def submit(body: NewOrder, trader: TraderOf) -> View:
    """Seal an order here and submit it. Sent again under its reference, it has the same answer."""
    want = wanted(
        body.market,
        body.side,
        body.quantity,
        body.price,
        body.time_in_force,
        body.valid_until,
        body.reference,
    )
    return placed_view(await trader.submit(want))


@router.get("/orders")
async def list_orders(
    trader: TraderOf, state: Annotated[str | None, Query(max_length=16)] = None
) -> list[View]:
    """All orders, or those of one state: standing, renewing, unanswered, filled, cancelled and so on."""
    return [view for view in await _views(trader) if state in {None, view["state"]}]


@router.get("/orders/{order_id}")
async def show_order(order_id: OrderId, trader: TraderOf) -> View:
    """One order."""
    for view in await _views(trader):
        if view["id"] == str(order_id):
            return view
    raise OrderRefused(f"order: none of the id {order_id}", "GET /orders lists them", "order-unknown")


@router.delete("/orders/{order_id}")
async def cancel(order_id: OrderId, trader: TraderOf) -> View:
    """Take an order out of the book; nothing of it is renewed. sequence: the log entry, if it stood."""
    receipt = await trader.cancel(order_id)
    return {"id": str(order_id), "sequence": None if receipt is None else receipt.sequence}


@router.delete("/orders")
async def cancel_all(trader: TraderOf, market: MarketName = "") -> dict[str, list[int]]:
    """Take every unsealed order out of the book, or out of one market's; nothing is renewed."""
    return {"sequences": [receipt.sequence for receipt in await trader.cancel_all(market)]}


@router.post("/orders/{order_id}/replace")
async def replace(order_id: OrderId, body: OrderBody, trader: TraderOf) -> View:
    """Put another order in the place of one that stands, in one step; it keeps its id."""
    want = wanted("", body.side, body.quantity, body.price, body.time_in_force, body.valid_until, "")
    return placed_view(await trader.replace(order_id, want))


@router.get("/fills")
async def list_fills(trader: TraderOf) -> list[View]:
    """What orders got: provisional, settled, or busted if the settlement is void."""
    return [v for f in await trader.fills() for v in fill_views(f, trader.markets[f.market])]


@router.get("/balance")
async def show_balance(trader: TraderOf) -> list[View]:
    """What the vault holds, and what of it is free."""
    return [balance_view(balance) for balance in await trader.balances()]


@router.get("/markets")
async def list_markets(trader: TraderOf) -> list[View]:
    """Markets, their units and grids, and their latest rounds."""
    await trader.refresh()
    return [market_view(info) for info in trader.markets.values()]


@router.get("/events", response_class=EventSourceResponse)
async def events(hub: HubOf) -> AsyncIterator[ServerSentEvent]:
    """Rounds, orders and fills as they happen from now on."""
    async for kind, data in hub.listen():
        yield ServerSentEvent(event=kind, data=data)

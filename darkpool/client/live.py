"""What happens, as it happens, in the trader's own terms; and remainders renewed when they fall due."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final, TypeAlias

from darkpool.client.event_stream import Event
from darkpool.client.trader import RENEW_DELAY, AsyncTrader
from darkpool.client.views import fill_views, order_view
from darkpool.errors import DarkpoolError
from darkpool.jsonfields import hex_text
from darkpool.market import RoundState

Told: TypeAlias = tuple[str, dict[str, Any]]

RENEW_SECONDS: Final = 60.0
"""Remainders are looked for at least so often, should an event get lost."""

log = logging.getLogger("darkpool.client")


class Live:
    """The events of one trader; with `renew`, what is left of its orders is re-submitted meanwhile."""

    def __init__(self, trader: AsyncTrader, *, renew: bool, delay: tuple[float, float] = RENEW_DELAY) -> None:
        self._trader, self._renew, self._delay = trader, renew, delay
        self._due = asyncio.Event()
        self._due.set()
        self._warned_of = b""

    async def events(self) -> AsyncIterator[Told]:
        """(kind, plain values) for ever: round, order, fill, account; warning, if a settlement is false."""
        renewals = asyncio.create_task(self._renewals())
        try:
            async for event in self._trader.watch():
                if event.kind in {"order", "fill"}:
                    self._due.set()
                for told in await self._told(event):
                    yield told
        finally:
            renewals.cancel()
            with suppress(asyncio.CancelledError):
                await renewals

    async def _renewals(self) -> None:
        while self._renew:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._due.wait()
            self._due.clear()
            try:
                await self._trader.renew(self._delay)
            except DarkpoolError as error:
                log.warning("renewal: %s", error)
                self._due.set()
                await asyncio.sleep(self._delay[1] + 1)

    async def _told(self, event: Event) -> list[Told]:
        markets = self._trader.markets
        try:
            if event.kind == "order":
                hashes = {
                    hex_text(known.own.hash): family
                    for family in (await self._trader.orders()).values()
                    for known in family.members
                }
                family = hashes.get(str(event.data.get("order")))
                if family is None:
                    return []
                info, now = markets[family.latest.record.market], int(time.time())
                return [("order", dict(order_view(family, info, now, self._trader.ended)))]
            if event.kind == "fill":
                return [
                    ("fill", dict(row))
                    for found in await self._trader.fills()
                    if (hex_text(found.market), found.round)
                    == (event.data.get("market"), event.data.get("round"))
                    for row in fill_views(found, markets[found.market])
                ]
            told: list[Told] = [(event.kind, {"at": event.data.get("at"), **_plain(event, markets)})]
            return told + await self._warned(event)
        except DarkpoolError as error:
            log.warning("%s: %s", event.kind, error)
            return [("error", {"message": error.message, "hint": error.hint})]

    async def _warned(self, event: Event) -> list[Told]:
        """What to tell if the settlement that was made of a round contradicts the account's own orders."""
        if event.kind != "round" or event.data.get("state") != RoundState.SETTLED:
            return []
        market, number = str(event.data.get("market")), event.data.get("round")
        found = next((m for m in self._trader.markets if hex_text(m) == market), None)
        if found is None or not isinstance(number, int):
            return []
        record, evidence = await self._trader.look(found, number)
        if evidence is None or record.transcript == self._warned_of:
            return []
        self._warned_of = record.transcript
        text = f"settlement {record.id} did to this account what no fills of its orders could have done"
        hint = f"run `darkpool contest --settlement {record.id}` at once: what was taken may leave soon"
        return [("warning", {"message": text, "hint": hint, "settlement": record.id})]


def _plain(event: Event, markets: Any) -> dict[str, Any]:  # noqa: ANN401
    """An event's own data, with the market's name for its id."""
    data = {name: value for name, value in event.data.items() if isinstance(value, str | int)}
    for market, info in markets.items():
        if data.get("market") == hex_text(market):
            data["market"] = info.name
    return data

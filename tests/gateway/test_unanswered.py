"""An order in doubt as a program sees it: listed as unanswered, taken back by DELETE, sent with the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.client.carriers import submits
from tests.client.test_crashes import impatient
from tests.gateway.conftest import Desk, Play, Stage
from tests.gateway.test_gateway import BUY, fetched, is_problem, post


@asynccontextmanager
async def in_doubt(stage: Stage, name: str) -> AsyncIterator[Desk]:
    """A desk whose order 0 got no answer; the venue is there again, and does not have it."""
    async with stage.desk(name) as desk:
        await stage.venue.deposit(desk.trader)
        impatient(desk.trader)

        async def lose(request: httpx.Request) -> None:
            if submits(request):
                raise httpx.ReadError("lost")

        desk.trader._shell.http.event_hooks = {"request": [lose]}
        answer = await desk.http.post("/orders", json=BUY)
        is_problem(answer, 503, "venue-away")
        assert "order 0 may still be placed" in answer.json()["hint"]
        desk.trader._shell.http.event_hooks = {}
        yield desk


def test_it_is_listed_as_unanswered(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with in_doubt(stage, "ann") as ann:
            (order,) = await fetched(ann, "/orders")
            assert (order["id"], order["state"], order["remaining"]) == ("0", "unanswered", "1")
            assert await fetched(ann, "/orders/0") == order
            assert await fetched(ann, "/orders?state=unanswered") == [order]
            assert await fetched(ann, "/orders?state=standing") == []

    play(scenario)


@pytest.mark.parametrize("path", ["/orders/0", "/orders"])
def test_delete_takes_it_back(play: Play, path: str) -> None:
    async def scenario(stage: Stage) -> None:
        async with in_doubt(stage, f"bob{len(path)}") as bob:
            assert (await bob.http.delete(path)).status_code == 200
            assert await fetched(bob, "/orders") == []
            placed = await post(bob, BUY)
            assert [order["id"] for order in await fetched(bob, "/orders")] == [placed["id"]]

    play(scenario)


def test_it_is_sent_before_the_next_is_placed(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with in_doubt(stage, "cyd") as cyd:
            await post(cyd, BUY)
            assert [o["state"] for o in await fetched(cyd, "/orders")] == ["standing", "standing"]

    play(scenario)


def test_what_a_halted_venue_refuses_is_not_listed_or_sent(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.desk("dan") as dan:
            await stage.venue.deposit(dan.trader)
            await stage.venue.venue.halt("lunch")
            try:
                is_problem(await dan.http.post("/orders", json=BUY), 503, "venue-halted")
                assert await fetched(dan, "/orders") == []
            finally:
                await stage.venue.venue.resume()
            placed = await post(dan, BUY)
            assert [order["id"] for order in await fetched(dan, "/orders")] == [placed["id"]]

    play(scenario)

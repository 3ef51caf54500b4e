"""The database fails in the middle of a write: what was kept is found, what was not is done again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkpool.client.trader import AsyncTrader
from darkpool.client.venue_api import ORDER_TYPE
from darkpool.errors import Unavailable
from darkpool.market import RoundState
from darkpool.message import Message
from darkpool.projection import Projector
from darkpool.store.database import StoreError
from darkpool.store.log_store import LogStore
from darkpool.store.records import EventRow
from darkpool.store.venue_store import VenueStore
from tests.client.conftest import Play
from tests.client.plain_venue import URL, PlainVenue, plain_venue
from tests.client.test_trading import buy, sell


async def two_traders(v: PlainVenue, ada: AsyncTrader, ben: AsyncTrader) -> None:
    await v.deposit(ada)
    await v.deposit(ben)
    await ada.submit(buy("0.50", "2000.05"))


def failing_once(monkeypatch: pytest.MonkeyPatch, method: str, *, after: bool) -> list[str]:
    """The store's method fails at its next call, before or after it did its work; says which calls failed."""
    owner = LogStore if method == "append" else VenueStore
    real, failed = getattr(owner, method), list[str]()

    def once(*arguments: Any) -> object:  # noqa: ANN401  # whatever it takes
        if failed:
            return real(*arguments)
        failed.append(method)
        if after:
            real(*arguments)
        raise StoreError("database: it went")

    monkeypatch.setattr(owner, method, once)
    return failed


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", ["append", pytest.param("project", marks=pytest.mark.slow)])
def test_an_order_whose_write_is_in_doubt_is_logged_once(
    play: Play, monkeypatch: pytest.MonkeyPatch, method: str, after: bool
) -> None:
    name = f"{method} {after}"

    async def scenario(v: PlainVenue) -> None:
        async with v.trader(f"ada {name}") as ada, v.trader(f"ben {name}") as ben:
            await two_traders(v, ada, ben)
            size = v.engine.log.size
            failed = failing_once(monkeypatch, method, after=after)
            placed = await ben.submit(sell("0.30"))  # asks again if it is told to
            assert failed
            assert v.engine.log.size == size + 1 == await v.venue.read(LogStore.size)
            assert (placed.receipt.sequence, placed.receipt.root) == (size, v.engine.log.root)
            await v.venue.catch_up()
            kept = await v.venue.read(lambda store: store.receipt(placed.hash))
            assert kept is not None
            assert await ben.receipt(placed.hash) == placed.receipt
            await v.close_round()
            assert len(await ben.fills()) == 1

    play(scenario)


def test_an_order_the_read_model_lacks_is_not_taken_for_another(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "lacking"

    async def scenario(v: PlainVenue) -> None:
        async with v.trader(f"ada {name}") as ada, v.trader(f"ben {name}") as ben:
            await two_traders(v, ada, ben)

            def away(*_: object) -> Sequence[object]:
                raise StoreError("database: it went")

            with monkeypatch.context() as gone:
                gone.setattr(VenueStore, "project", away)
                placed = await ben.submit(sell("0.30"))
                assert v.venue.status().database
                entry = await v.venue.read(lambda store: store.entry(placed.receipt.sequence))
                (raw,) = Message.decode(entry).blobs
                async with httpx.AsyncClient(base_url=URL, transport=v.transport) as client:
                    headers = {"Content-Type": ORDER_TYPE}
                    answer = await client.post("/v1/orders", content=raw, headers=headers)
                    assert (answer.status_code, answer.json()["type"]) == (
                        503,
                        "urn:darkpool:problem:database-away",
                    )
            async with httpx.AsyncClient(base_url=URL, transport=v.transport) as client:
                answer = await client.post("/v1/orders", content=raw, headers=headers)
                assert answer.status_code == 201
                assert answer.json() == placed.receipt.as_json()
            assert not v.venue.status().database

    play(scenario)


@pytest.mark.parametrize("method", ["round", "order", "settlement", "round_fills"])
def test_rows_that_could_not_be_made_are_made_again_from_the_log(
    play: Play, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    name = method

    async def scenario(v: PlainVenue) -> None:
        async with v.trader(f"ada {name}") as ada, v.trader(f"ben {name}") as ben:
            await two_traders(v, ada, ben)
            await ben.submit(sell("0.30"))
            failed = failing_once(monkeypatch, method, after=False)
            await v.close_round()
            await v.venue.catch_up()
            assert failed
            assert not v.venue.status().database
            (row, *_) = await v.venue.read(lambda store: store.rounds(v.view.terms.market.id, limit=1))
            assert row.state is RoundState.SETTLED
            assert [f.state for f in await ada.fills()] == [f.state for f in await ben.fills()] == ["settled"]
            assert await v.venue.read(VenueStore.projected) == v.engine.log.size

    play(scenario)


def prices_told(rows: Sequence[EventRow], number: int) -> list[str]:
    """Of a round, by its events."""
    data = [json.loads(row.data) for row in rows if row.kind == "round"]
    return [d["price"] for d in data if d["round"] == number and "price" in d]


def test_rows_made_again_after_a_change_of_terms_have_the_prices_of_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with plain_venue(tmp_path) as v, v.trader("ada") as ada, v.trader("ben") as ben:
            await two_traders(v, ada, ben)
            await ben.submit(sell("0.30"))

            def away(*_: object) -> object:
                raise StoreError("database: it went")

            with monkeypatch.context() as gone:
                gone.setattr(VenueStore, "round", away)
                await v.close_round(settle=False)
                grid = v.view.terms.market.grid
                await v.venue.change_terms(v.view, replace(grid, levels=2))
                assert v.venue.status().database
            await v.venue.catch_up()
            assert not v.venue.status().database
            await v.settle()
            events = await v.venue.read(lambda store: store.events())
            assert prices_told(events, 1) == ["2000.00"] * 3
            assert [f.state for f in await ada.fills()] == ["settled"]

    asyncio.run(scenario())


def test_a_venue_whose_read_model_stopped_goes_on_says_so_and_mends_it_at_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with plain_venue(tmp_path) as v, v.trader("ada") as ada, v.trader("ben") as ben:
            await two_traders(v, ada, ben)
            placed = await ben.submit(sell("0.30"))
            entry = await v.venue.read(lambda store: store.entry(placed.receipt.sequence))

            def wrong(*_: object) -> None:
                raise KeyError("of this version of darkpool")

            with monkeypatch.context() as broken:
                broken.setattr(Projector, "_cleared", wrong)
                await v.close_round(settle=False)
            await v.venue.settling.close_now()
            with pytest.raises(StoreError, match="there is none of digest"):
                await v.venue.settling.step()  # there is no row to note it in
            assert v.chain.next_id() == 2  # it has landed all the same
            await v.engine.follow_chain()
            assert "cannot be taken in (KeyError)" in v.venue.status().database
            await v.open_round()
            with pytest.raises(Unavailable, match="read model: behind"):
                await v.venue.submit(Message.decode(entry).blobs[0])
            await v.restart()
            await v.engine.add_market(v.view.terms)
            assert not v.venue.status().database
            assert await v.venue.read(VenueStore.projected) == v.engine.log.size
            assert [f.state for f in await ada.fills()] == ["settled"]

    asyncio.run(scenario())

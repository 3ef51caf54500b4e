"""Segments are markets of their own: nothing crosses between them, and who moves leaves what it had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from darkpool.client.access import Access
from darkpool.client.intent import Wanted
from darkpool.errors import OrderRefused
from darkpool.market import RoundState, Side
from darkpool.scheduler import Scheduler
from darkpool.segments import market_name
from tests.compliance.conftest import Desk
from tests.compliance.desk_support import DeskVenue, encoded
from tests.compliance.policy_support import Document
from tests.venue_support import some_terms

BUY, SELL = Wanted(Side.BUY, "0.01", market="WETH-USDC"), Wanted(Side.SELL, "0.01", market="WETH-USDC")


def split(v: DeskVenue) -> Document:
    return v.document(
        segment=[{"name": "us", "jurisdictions": ["US"]}, {"name": "eu", "jurisdictions": ["DE"]}]
    )


def test_a_name_has_its_segment_in_it() -> None:
    for name, parts in (("WETH-USDC", ("WETH-USDC", "all")), ("WETH-USDC/us", ("WETH-USDC", "us"))):
        market = replace(some_terms().market, name=name)
        assert (market.instrument, market.segment) == parts
        assert market_name(*parts) == name


def test_accounts_of_two_segments_never_meet(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada, v.trader("ben", "DE") as ben, v.trader("cat") as cat:
            await ada.submit(BUY)
            done = await v.apply(split(v))
            assert done.released == 1  # the market of everybody is gone
            live = {view.terms.market.name for view in v.plain.venue.markets.values() if view.live}
            assert live == {"WETH-USDC/us", "WETH-USDC/eu"}
            assert len(v.plain.venue.markets) == 3  # the old one stays listed, for what was traded there
            with pytest.raises(OrderRefused, match="its segment is gone"):
                await v.plain.venue.seal_now(b"\x03" * 32)
            await ada.submit(BUY)
            await ben.submit(SELL)
            await cat.submit(BUY)
            names = {b.terms.market.name: {o.account for o in b.standing} for b in v.plain.venue.books}
            assert names == {
                "WETH-USDC": set(),
                "WETH-USDC/us": {ada.address, cat.address},
                "WETH-USDC/eu": {ben.address},
            }
            closed = await v.close("us")
            assert closed.certificate is not None
            assert closed.certificate.result is not None
            assert not closed.certificate.result.crossed  # who would sell is in the other segment
            with pytest.raises(OrderRefused, match="1 orders of 1 accounts"):
                await v.close("eu")
            (access,) = await ben.access()
            assert access.segment == "eu"
            assert access.market_id != b"\x03" * 32
            # A client that would trade next door is refused by the venue.
            (us,) = [m for m in ben.markets.values() if m.name == "WETH-USDC/us"]
            monkeypatch.setattr(Access, "owed", lambda *_: ())
            monkeypatch.setattr(type(ben._trading.connection), "_own", lambda _, info: info.name == us.name)
            with pytest.raises(OrderRefused) as refused:
                await ben.submit(SELL)
            assert (refused.value.code, refused.value.facts["segment"]) == ("wrong-segment", "eu")

    desk(scenario)


@pytest.mark.slow
def test_who_moves_to_another_segment_leaves_the_orders_it_had(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(split(v))
        await v.publish()
        async with v.trader("ada") as ada, v.trader("ben") as ben:
            await ada.submit(BUY)
            await ben.submit(BUY)
            await ada.present(encoded(v.credential(ada.address, "DE")))
            with pytest.raises(OrderRefused, match="1 orders of 1 accounts"):
                await v.close("us")
            assert set(v.standing()) == {ben.address}
            await ada.submit(BUY)
            (eu,) = [b for b in v.plain.venue.books if b.terms.market.segment == "eu"]
            assert [o.account for o in eu.standing] == [ada.address]

    desk(scenario)


def test_the_list_of_markets_tells_segments_apart(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        import httpx

        await v.apply(split(v))
        async with httpx.AsyncClient(transport=v.plain.transport, base_url="http://venue") as client:
            rows = (await client.get("/v1/markets")).json()
            found = {(r["name"], r["instrument"], r["segment"], r["live"]) for r in rows}
            assert found == {
                ("WETH-USDC", "WETH-USDC", "all", False),
                ("WETH-USDC/us", "WETH-USDC", "us", True),
                ("WETH-USDC/eu", "WETH-USDC", "eu", True),
            }
            await v.apply(v.document())
            rows = (await client.get("/v1/markets")).json()
            assert {r["name"] for r in rows if r["live"]} == {"WETH-USDC"}

    desk(scenario)


@pytest.mark.slow
def test_a_market_that_closes_while_its_round_is_sealed_still_ends_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada, v.trader("ben") as ben:
            await ada.submit(BUY)
            await ben.submit(BUY)
            market, sign, started = v.book.terms.market.id, v.plain.committee.sign, set[bytes]()

            async def meanwhile(*arguments: object) -> object:
                done = await v.office.apply(v.policy(split(v)), "officer")
                assert done.released == 0  # they are sealed
                scheduler = Scheduler(v.plain.venue)
                await scheduler._markets()
                started.update(scheduler._rounds_of)
                await scheduler.__aexit__()
                return await sign(*arguments)  # type: ignore[arg-type]

            monkeypatch.setattr(v.plain.committee, "sign", meanwhile)
            closed = await v.plain.engine.close(market)
            monkeypatch.undo()
            assert closed.certificate is not None
            assert market in started  # so a venue that starts again ends it, too
            assert not v.plain.venue.markets[market].live
            segments = v.plain.venue.segments
            assert segments is not None
            await segments.follow()
            assert not v.standing()
            await v.apply(v.document())
            if v.book.current_round.state is not RoundState.OPEN:
                await v.plain.open_round()

    desk(scenario)

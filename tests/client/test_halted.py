"""An order that a halted venue refuses is refused for good; one it took before the halt keeps its receipt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from darkpool.client.steps import Unreachable
from darkpool.client.venue_api import ORDER_TYPE, VenueRefused
from darkpool.store.records import OrderState
from tests.client.carriers import Breaking, Carrier, Killed, answer, submits
from tests.client.conftest import Play
from tests.client.plain_venue import URL, PlainVenue
from tests.client.test_crashes import dying, impatient
from tests.client.test_trading import buy

HALT = b'{"type": "urn:darkpool:problem:venue-halted", "detail": "venue: it is stopping", "hint": "wait"}'


@asynccontextmanager
async def halted(v: PlainVenue) -> AsyncIterator[None]:
    await v.venue.halt("lunch")
    try:
        yield
    finally:
        await v.venue.resume()


def test_a_refused_order_leaves_the_outbox_and_is_never_sent(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("ann") as ann:
            await v.deposit(ann)
            async with halted(v):
                with pytest.raises(VenueRefused) as caught:
                    await ann.submit(buy("1"))
                assert "may still be placed" not in caught.value.hint
            assert ann.unanswered() == []
            other = await ann.submit(buy("2"))
            assert list(await ann.orders()) == [other.root]
        async with v.trader("ann") as ann:
            assert list(await ann.orders()) == [other.root]

    play(scenario)


def test_one_without_an_answer_that_was_not_taken_goes_too(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("bob") as bob:
            await v.deposit(bob)
        with pytest.raises(Killed):
            async with v.trader("bob", transport=dying(v, sent=False)) as bob:
                await bob.submit(buy("1"))
        async with halted(v), v.trader("bob") as bob:
            assert bob.unanswered() == []
        assert "order 0 had no answer, was sent again and is refused: venue: halted: lunch" in caplog.messages
        async with v.trader("bob") as bob:
            assert await bob.orders() == {}

    play(scenario)


def test_one_that_was_taken_before_the_halt_gets_its_receipt(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("cid") as cid:
            await v.deposit(cid)
        with pytest.raises(Killed):
            async with v.trader("cid", transport=dying(v, sent=True)) as cid:
                await cid.submit(buy("1", reference="r"))
        async with halted(v), v.trader("cid") as cid:
            assert cid.unanswered() == []
            (family,) = (await cid.orders()).values()
            kept = cid._trading._home.receipt(family.latest.own.hash)
            assert kept is not None
            assert (await cid.submit(buy("1", reference="r"))).receipt == kept

    play(scenario)


def test_a_venue_that_stops_while_it_writes_is_asked_for_the_receipt(play: Play) -> None:
    class Stopping(Carrier):
        """Passes orders on, and says halted all the same."""

        async def carry(self, request: httpx.Request) -> httpx.Response:
            response = await super().carry(request)
            if not submits(request):
                return response
            await response.aread()
            return answer(HALT, 503)

    async def scenario(v: PlainVenue) -> None:
        async with v.trader("dan", transport=Stopping(v.transport)) as dan:
            await v.deposit(dan)
            placed = await dan.submit(buy("1"))
            assert placed.receipt.subject == placed.hash
            assert dan.unanswered() == []

    play(scenario)


def test_a_halt_after_an_answer_that_was_lost_leaves_it_in_doubt(play: Play) -> None:
    class LostThenHalted(Breaking):
        async def carry(self, request: httpx.Request) -> httpx.Response:
            if submits(request) and self.seen.count(("POST", "/v1/orders")) > 1:
                return answer(HALT, 503)
            return await super().carry(request)

    async def scenario(v: PlainVenue) -> None:
        carrier = LostThenHalted(v.transport, submits, httpx.ReadError("lost"), sent=True)
        async with v.trader("eva", transport=carrier) as eva:
            await v.deposit(eva)
            impatient(eva)
            with pytest.raises(Unreachable) as caught:
                await eva.submit(buy("1"))
            assert "order 0 may still be placed" in caught.value.hint
            assert [own.root for own in eva.unanswered()] == [0]
        async with v.trader("eva") as eva:
            assert list(await eva.orders()) == [0]

    play(scenario)


# --- the venue ------------------------------------------------------------------------------------------


def test_the_venue_repeats_its_receipt_while_halted_and_takes_nothing_new(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("fay") as fay:
            await v.deposit(fay)
            placed = await fay.submit(buy("1"))
            raw = fay._trading._home.order(placed.hash)
            with pytest.raises(Killed):
                async with v.trader("fay", "fay-2", transport=dying(v, sent=False)) as second:
                    await second.submit(buy("2"))
            (new,) = [outgoing.raw for outgoing in second._trading._home.outgoing()]
            headers = {"Content-Type": ORDER_TYPE}
            async with halted(v), httpx.AsyncClient(base_url=URL, transport=v.transport) as client:
                again = await client.post("/v1/orders", content=raw, headers=headers)
                refused = await client.post("/v1/orders", content=new, headers=headers)
            assert (again.status_code, again.json()) == (201, placed.receipt.as_json())
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:darkpool:problem:venue-halted")

    play(scenario)


def test_an_order_that_is_being_taken_in_at_the_halt_has_its_receipt_both_times(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("gus") as gus:
            await v.deposit(gus)
        with pytest.raises(Killed):
            async with v.trader("gus", transport=dying(v, sent=False)) as gus:
                await gus.submit(buy("1"))
        (raw,) = [outgoing.raw for outgoing in gus._trading._home.outgoing()]
        first = asyncio.ensure_future(v.venue.submit(raw))
        while not v.venue.intake.size:
            assert not first.done()
            await asyncio.sleep(0)
        async with halted(v):
            assert await v.venue.submit(raw) == await first

    play(scenario)


def test_a_cancellation_waits_for_the_order_that_is_being_taken_in(play: Play) -> None:
    """Else it would find nothing to cancel, and the order would stand a moment later."""

    async def scenario(v: PlainVenue) -> None:
        async with v.trader("hal") as hal:
            await v.deposit(hal)
        with pytest.raises(Killed):
            async with v.trader("hal", transport=dying(v, sent=False)) as hal:
                await hal.submit(buy("1"))
        async with v.trader("hal", send=False) as hal:
            (order,) = hal.unanswered()
            (raw,) = [outgoing.raw for outgoing in hal._trading._home.outgoing()]
            first = asyncio.ensure_future(v.venue.submit(raw))
            while not v.venue.intake.size:
                assert not first.done()
                await asyncio.sleep(0)
            receipt = await hal.cancel(order.root)
            assert receipt is not None
            assert receipt.sequence > (await first).sequence
            (family,) = (await hal.orders()).values()
            assert family.latest.record.state is OrderState.CANCELLED

    play(scenario)

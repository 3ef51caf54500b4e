"""An order in doubt is kept and shown, sent before anything else is placed, and taken back at a word."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from darkpool.client.outgoing import Outgoing
from darkpool.client.steps import Unreachable
from darkpool.client.trader import AsyncTrader
from darkpool.client.venue_api import VenueRefused
from darkpool.client.views import View, order_views
from darkpool.errors import ConfigError
from darkpool.receipt import Kind
from tests.client.carriers import Breaking, Carrier, answer, replaces, submits
from tests.client.conftest import Play
from tests.client.plain_venue import PlainVenue
from tests.client.test_crashes import impatient
from tests.client.test_trading import NO_DELAY, buy, sell


@asynccontextmanager
async def in_doubt(v: PlainVenue, name: str, *, sent: bool) -> AsyncIterator[AsyncTrader]:
    """A trader whose order 0 got no answer, and who does not send it by itself now."""
    async with v.trader(name) as trader:
        await v.deposit(trader)
    carrier = Breaking(v.transport, submits, httpx.ReadError("lost"), sent=sent)
    async with v.trader(name, transport=carrier) as trader:
        impatient(trader)
        with pytest.raises(Unreachable):
            await trader.submit(buy("1", reference="mine"))
    async with v.trader(name, send=False) as trader:
        yield trader


async def shown(trader: AsyncTrader) -> list[View]:
    unanswered = trader.unanswered()
    families = (await trader.orders()).values()
    return order_views(families, unanswered, trader.markets, int(time.time()), trader.ended)


def problem(code: str) -> bytes:
    return f'{{"type": "urn:darkpool:problem:{code}", "detail": "no", "hint": "later"}}'.encode()


@pytest.mark.parametrize("code", ["database-away", "chain-away", "committee-away", "something-new"])
def test_a_503_of_another_kind_is_a_doubt(play: Play, code: str) -> None:
    class Away(Carrier):
        async def carry(self, request: httpx.Request) -> httpx.Response:
            return answer(problem(code), 503) if submits(request) else await super().carry(request)

    async def scenario(v: PlainVenue) -> None:
        async with v.trader(code) as trader:
            await v.deposit(trader)
        async with v.trader(code, transport=Away(v.transport)) as trader:
            impatient(trader)
            with pytest.raises(VenueRefused) as caught:
                await trader.submit(buy("1"))
            assert caught.value.code == code
            for part in ("order 0 may still be placed", "order status", "order cancel 0"):
                assert part in caught.value.hint
            assert [own.root for own in trader.unanswered()] == [0]
        async with v.trader(code) as trader:
            assert list(await trader.orders()) == [0]

    play(scenario)


def test_a_refusal_is_no_doubt(play: Play) -> None:
    class Refusing(Carrier):
        async def carry(self, request: httpx.Request) -> httpx.Response:
            return answer(problem("book-full"), 429) if submits(request) else await super().carry(request)

    async def scenario(v: PlainVenue) -> None:
        async with v.trader("no", transport=Refusing(v.transport)) as trader:
            await v.deposit(trader)
            with pytest.raises(VenueRefused) as caught:
                await trader.submit(buy("1"))
            assert (caught.value.hint, trader.unanswered()) == ("later", [])

    play(scenario)


@pytest.mark.parametrize("sent", [False, True])
def test_it_is_listed_as_unanswered_unless_the_venue_lists_it(play: Play, sent: bool) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with in_doubt(v, f"ada-{sent}", sent=sent) as ada:
            (view,) = await shown(ada)
            assert [view[k] for k in ("id", "reference", "side", "quantity", "price", "remaining")] == [
                *("0", "mine", "buy", "1", "2000.00", "1")
            ]
            assert view["state"] == ("standing" if sent else "unanswered")
            assert [own.root for own in ada.unanswered()] == [0]

    play(scenario)


def test_it_is_sent_before_anything_else_is_placed(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with in_doubt(v, "ben", sent=False) as ben:
            await ben.submit(buy("2"))
            views = await shown(ben)
            assert [(v["id"], v["state"]) for v in views] == [("0", "standing"), ("1", "standing")]

    play(scenario)


def test_while_it_stays_in_doubt_nothing_else_is_placed(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with in_doubt(v, "cyd", sent=False):
            pass
        carrier = Breaking(v.transport, submits, httpx.ConnectError("away"), sent=False)
        async with v.trader("cyd", transport=carrier, send=False) as cyd:
            impatient(cyd)
            for wish in (cyd.submit(buy("2")), cyd.replace(0, buy("2"))):
                with pytest.raises(Unreachable) as caught:
                    await wish
                assert "order 0 may still be placed" in caught.value.hint
            assert [own.root for own in cyd.unanswered()] == [0]
            assert cyd._trading._home.next_nonce == 1

    play(scenario)


@pytest.mark.parametrize("sent", [False, True])
def test_cancel_takes_it_back(play: Play, sent: bool) -> None:
    async def scenario(v: PlainVenue) -> None:
        name = f"dot-{sent}"
        async with in_doubt(v, name, sent=sent) as dot:
            receipt = await dot.cancel(0)
            assert (None if receipt is None else receipt.kind) == (Kind.CANCEL if sent else None)
            assert dot.unanswered() == []
        async with v.trader(name) as dot:
            assert [f.latest.record.state for f in (await dot.orders()).values()] == ["cancelled"] * sent
            assert [b.free for b in await dot.balances()] == [100 * 10**9, 10**12]

    play(scenario)


@pytest.mark.parametrize("sent", [False, True])
def test_cancel_all_takes_it_back(play: Play, sent: bool) -> None:
    async def scenario(v: PlainVenue) -> None:
        name = f"eli-{sent}"
        async with in_doubt(v, name, sent=sent) as eli:
            assert [r.kind for r in await eli.cancel_all()] == [Kind.CANCEL_ALL] * sent
            assert eli.unanswered() == []
        async with v.trader(name) as eli:
            assert [f.latest.record.state for f in (await eli.orders()).values()] == ["cancelled"] * sent

    play(scenario)


def test_cancelling_a_replacement_in_doubt_takes_out_the_order_it_was_to_replace(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("fay") as fay:
            await v.deposit(fay)
            await fay.submit(buy("1"))
        carrier = Breaking(v.transport, replaces, httpx.ReadError("lost"), sent=False)
        async with v.trader("fay", transport=carrier) as fay:
            impatient(fay)
            with pytest.raises(Unreachable):
                await fay.replace(0, buy("2"))
            assert [(v["id"], v["state"]) for v in await shown(fay)] == [
                ("0", "standing"),
                ("0", "unanswered"),
            ]
        async with v.trader("fay", send=False) as fay:
            assert await fay.cancel(0) is not None
        async with v.trader("fay") as fay:
            (family,) = (await fay.orders()).values()
            assert [m.record.state for m in family.members] == ["cancelled"]

    play(scenario)


def test_cancelling_a_renewal_in_doubt_ends_the_family(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("gil") as gil, v.trader("hal") as hal:
            await v.deposit(gil)
            await v.deposit(hal)
            await gil.submit(buy("1"))
            await hal.submit(sell("0.4"))
            await v.close_round()
            await v.open_round()
        carrier = Breaking(v.transport, submits, httpx.ReadError("lost"), sent=False)
        async with v.trader("gil", transport=carrier) as gil:
            impatient(gil)
            with pytest.raises(Unreachable):
                await gil.renew(NO_DELAY)
        async with v.trader("gil", send=False) as gil:
            assert await gil.cancel(0) is None
        async with v.trader("gil") as gil:
            assert await gil.renew(NO_DELAY) == []
            assert len((await gil.orders())[0].members) == 1

    play(scenario)


def test_an_outbox_file_that_holds_no_order_is_named(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("ivy") as ivy:
            ivy._trading._home.put(Outgoing(b"\x01" * 99))
            with pytest.raises(ConfigError, match="is no order"):
                ivy.unanswered()

    play(scenario)

"""A folder without its past cannot know what was cancelled: nothing left over comes back by itself."""

from __future__ import annotations

import asyncio
import time

import pytest

from darkpool.client.intent import Wanted
from darkpool.client.trader import AsyncTrader
from darkpool.client.venue_api import VenueRefused
from darkpool.client.views import set_aside_text
from darkpool.errors import ConfigError
from darkpool.market import RoundState, Side
from darkpool.order import TimeInForce
from tests.client.conftest import Play
from tests.client.plain_venue import PlainVenue
from tests.client.test_trading import NO_DELAY, buy, sell

ONCE = Wanted(Side.BUY, "1", "2000.00", time_in_force=TimeInForce.ROUND)


async def partly_filled(v: PlainVenue, trader: AsyncTrader, other: AsyncTrader) -> int:
    """A family of which 0.6 is left, by root; the next round is open."""
    await v.deposit(trader)
    await v.deposit(other)
    placed = await trader.submit(buy("1"))
    await other.submit(sell("0.4"))
    await v.close_round()
    await v.open_round()
    return placed.root


async def states(trader: AsyncTrader) -> list[str]:
    now = int(time.time())
    return [f.state(now, trader.ended) for f in (await trader.orders()).values()]


def test_a_cancelled_remainder_does_not_come_back_after_a_recovery(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("ann") as ann, v.trader("bob") as bob:
            root = await partly_filled(v, ann, bob)
            assert await ann.cancel(root) is None
        async with v.trader("ann", "ann-empty", fresh=False) as again:
            found = await again.recover()
            assert found.set_aside == again.set_aside == (root,)
            assert await again.renew(NO_DELAY) == []
            assert await states(again) == ["consumed"]
        async with v.trader("ann", "ann-empty") as again:
            assert again.set_aside == ()
            assert again.ended == {root}
            assert await again.renew(NO_DELAY) == []

    play(scenario)


@pytest.mark.parametrize("first", ["submit", "cancel_all", "renew"])
def test_nor_by_whatever_is_done_first_in_an_empty_folder(play: Play, first: str) -> None:
    async def scenario(v: PlainVenue) -> None:
        name = f"cid-{first}"
        async with v.trader(name) as cid, v.trader(f"dan-{first}") as dan:
            root = await partly_filled(v, cid, dan)
            await cid.cancel(root)
        async with v.trader(name, f"{name}-empty", fresh=False) as again:
            if first == "submit":
                await again.submit(buy("0.01"))
            elif first == "cancel_all":
                await again.cancel_all()
            assert await again.renew(NO_DELAY) == []
            assert again.set_aside == (root,)
            assert len((await again.orders())[root].members) == 1

    play(scenario)


def test_a_folder_with_its_past_renews_as_ever(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("gus") as gus, v.trader("hal") as hal:
            root = await partly_filled(v, gus, hal)
        async with v.trader("gus") as gus:
            assert (await gus.recover()).set_aside == ()
            assert [placed.root for placed in await gus.renew(NO_DELAY)] == [root]

    play(scenario)


def test_what_stands_in_an_open_round_is_not_set_aside(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("ida") as ida, v.trader("jon") as jon:
            await v.deposit(ida)
            await v.deposit(jon)
            placed = await ida.submit(buy("1"))
            async with v.trader("ida", "ida-empty", fresh=False) as again:
                assert again.set_aside == ()
                await jon.submit(sell("0.4"))
                await v.close_round()
                await v.open_round()
                assert [p.root for p in await again.renew(NO_DELAY)] == [placed.root]

    play(scenario)


def test_what_a_sealed_round_may_leave_is_set_aside(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation comes too late for it, and then only the folder knows that nothing is to be renewed."""

    async def scenario(v: PlainVenue) -> None:
        async with v.trader("kim") as kim, v.trader("lea") as lea:
            await v.deposit(kim)
            await v.deposit(lea)
            placed = await kim.submit(buy("1"))
            await kim.submit(ONCE)
            await lea.submit(sell("0.4"))
            clear, sealed, go_on = v.committee.clear, asyncio.Event(), asyncio.Event()

            async def slow(*arguments: object) -> object:
                sealed.set()
                await go_on.wait()
                return await clear(*arguments)  # type: ignore[arg-type] # as they came

            monkeypatch.setattr(v.committee, "clear", slow)
            closing = asyncio.ensure_future(v.close_round())
            await sealed.wait()
            v.view.round = v.engine.state.books[v.view.terms.market.id].current_round
            assert v.view.round.state is RoundState.SEALED
            with pytest.raises(VenueRefused, match="sealed round"):
                await kim.cancel(placed.root)
        async with v.trader("kim", "kim-empty", fresh=False) as again:
            assert again.set_aside == (placed.root,)
            go_on.set()
            await closing
            await v.open_round()
            assert await again.renew(NO_DELAY) == []

    play(scenario)


def test_reading_alone_settles_nothing(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("max") as max_, v.trader("ned") as ned:
            await partly_filled(v, max_, ned)
        async with v.trader("max", "max-empty", fresh=False, read_only=True) as reader:
            assert await states(reader) == ["renewing"]
            with pytest.raises(ConfigError, match="reading only"):
                await reader.recover()
        async with v.trader("max", "max-empty") as again:
            assert again.set_aside == (0,)

    play(scenario)


def test_the_text_names_what_is_not_renewed_within_a_bound() -> None:
    assert "orders 3, 5, for" in set_aside_text([3, 5])
    long = set_aside_text(range(1000))
    assert "19 and 980 more" in long
    assert len(long) < 400

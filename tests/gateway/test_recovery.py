"""A gateway in a folder that lost its past renews nothing of before, and says so."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from darkpool.client.trader_home import TraderHome
from darkpool.gateway.serve import serve
from tests.gateway.conftest import Play, Stage
from tests.gateway.test_gateway import BUY, SELL, fetched, post


async def cancelled_remainder(stage: Stage, name: str) -> str:
    """The id of an order of which 0.6 were left and cancelled."""
    v = stage.venue
    async with v.trader(name) as trader:
        await v.deposit(trader)
    async with stage.desk(f"{name}-other") as other:
        await v.deposit(other.trader)
        async with stage.desk(name) as desk:
            placed = await post(desk, BUY)
        await post(other, SELL)
        await v.close_round()
        await v.open_round()
    async with v.trader(name) as trader:  # before any gateway can renew it
        assert await trader.cancel(int(placed["id"])) is None
    return str(placed["id"])


def test_a_cancelled_remainder_is_not_renewed(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        left = await cancelled_remainder(stage, "ann")
        async with stage.desk("ann", "ann-empty", fresh=False) as ann:
            new = await post(ann, BUY)
            await ann.until("order", id=new["id"], state="standing")
            await ann.trader.renew((0.0, 0.0))
            order = await fetched(ann, f"/orders/{left}")
            assert (order["state"], order["remaining"], order["filled"]) == ("consumed", "0", "0.4")
            assert len((await ann.trader.orders())[int(left)].members) == 1

    play(scenario)


def test_the_log_names_it(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(stage: Stage) -> None:
        left = await cancelled_remainder(stage, "bob")
        home = TraderHome(stage.venue.folder / "home-bob-empty")
        keystore = stage.venue.keystore("bob", home)
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await serve(
                    stage.url, home, keystore, None, host="127.0.0.1", port=0, allow_remote=False, workers=1
                )
        assert any(f"not renewed: what is left of orders {left}, for" in line for line in caplog.messages)

    play(scenario)

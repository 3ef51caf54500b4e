"""The blocking client over a real socket: the same logic in the other shell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from api.app import create_app
from darkpool.client.shells import Blocking, base_url
from darkpool.client.steps import Unreachable
from darkpool.client.submission import Placed
from darkpool.client.trader import Trader
from darkpool.client.trader_home import TraderHome
from darkpool.client.venue_api import VenueApi, VenueRefused
from darkpool.errors import ConfigError, OrderRefused
from darkpool.keystore import Keystore
from darkpool.receipt import Kind
from tests.client.conftest import Play
from tests.client.plain_venue import PlainVenue
from tests.client.serving import served
from tests.client.test_trading import buy, sell


async def beside(v: PlainVenue, name: str, scenario: Callable[[str, TraderHome, Keystore], None]) -> None:
    """Runs it in a thread, with a trader who has deposited."""
    async with v.trader(name) as trader:
        await v.deposit(trader)
    home = TraderHome(v.folder / f"home-{name}")
    async with served(create_app(v.venue)) as url:
        await asyncio.to_thread(scenario, url, home, v.keystore(name, home))


def test_a_trader_that_blocks_does_all_the_same(play: Play) -> None:
    def scenario(url: str, home: TraderHome, keystore: Keystore) -> None:
        with Trader.open(url, home, keystore) as trader:
            events = trader.watch(last=0)
            assert next(events).kind == "round"
            placed = trader.submit(buy("1", reference="r"))
            assert trader.submit(buy("1", reference="r")) == placed
            many = trader.submit_many([sell("1", "2001.00"), buy("9999")])
            assert [type(o) for o in many] == [Placed, OrderRefused]
            assert trader.replace(placed.root, buy("2")).root == placed.root
            assert "replaced" in trader.check_inclusion(placed.hash)
            assert trader.receipt(placed.hash) == placed.receipt
            assert [b.free for b in trader.balances()] == [99 * 10**9, 996_000 * 10**6]
            cancelled = trader.cancel(placed.root)
            assert cancelled is not None
            assert [r.kind for r in trader.cancel_all()] == [Kind.CANCEL_ALL]
            assert (trader.fills(), trader.renew()) == ([], [])
            assert trader.recover().receipts == 3
            assert {e.kind for e, _ in zip(events, range(4), strict=False)} == {"order"}
            with pytest.raises(OrderRefused, match="locks more"):
                trader.submit(buy("9999"))
            with pytest.raises(ConfigError, match="no RPC URL"):
                trader.collect("USDC")

    play(lambda v: beside(v, "sync", scenario))


def test_nobody_at_the_url_is_told_apart_from_somebody_else(play: Play) -> None:
    def scenario(url: str, _home: TraderHome, _keystore: Keystore) -> None:
        api = VenueApi(patience=0.1)
        with Blocking("http://127.0.0.1:9") as shell, pytest.raises(Unreachable):
            shell.run(api.markets())
        with Blocking(f"{url}/other") as shell, pytest.raises(VenueRefused, match="no such path"):
            shell.run(api.markets())

    play(lambda v: beside(v, "away", scenario))


@pytest.mark.parametrize(
    "url",
    ["", "venue", "ftp://venue", "http://", "http://venue?x", "http://venue#x", "//venue", "http:venue"],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="not the URL of a venue"):
        base_url(url)


def test_proving_in_other_processes_is_the_same(play: Play, tmp_path: Path) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("par", str(tmp_path.name), workers=1) as trader:
            await v.deposit(trader)
            outcomes = await trader.submit_many([buy("1"), buy("2"), sell("1", "2001.00")])
            assert all(isinstance(o, Placed) for o in outcomes)

    play(scenario)

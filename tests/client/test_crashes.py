"""Whatever moment the client dies at, an order is placed once, and no nonce gets two contents."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from commitments.encoding import Reader
from commitments.order_statement import Statement
from darkpool.client.intent import Wanted
from darkpool.client.steps import Unreachable
from darkpool.client.trader import AsyncTrader
from darkpool.client.trader_home import TraderHome
from darkpool.client.venue_api import VenueApi
from darkpool.errors import OrderRefused
from darkpool.market import Side
from tests.client.carriers import Breaking, Killed, replaces, submits
from tests.client.conftest import Play
from tests.client.plain_venue import PlainVenue
from tests.client.test_trading import NO_DELAY, buy, sell

ROOT = Path(__file__).resolve().parents[2]


def dying(v: PlainVenue, *, sent: bool) -> Breaking:
    return Breaking(v.transport, submits, Killed(), sent=sent)


def impatient(trader: AsyncTrader) -> None:
    api: VenueApi = trader._trading.api
    api._patience = 0.3


@pytest.mark.parametrize("sent", [False, True])
def test_killed_between_write_and_answer_the_order_is_placed_once(play: Play, sent: bool) -> None:
    async def scenario(v: PlainVenue) -> None:
        name = f"amy-{sent}"
        async with v.trader(name) as amy:
            await v.deposit(amy)
        with pytest.raises(Killed):
            async with v.trader(name, transport=dying(v, sent=sent)) as amy:
                await amy.submit(buy("1", reference="r"))
        assert len(list((v.folder / f"home-{name}" / "outbox").iterdir())) == 1
        async with v.trader(name) as amy:
            assert len(await amy.orders()) == 1
            assert not list((v.folder / f"home-{name}" / "outbox").iterdir())
            assert (await amy.submit(buy("1", reference="r"))).root == 0
            assert (await amy.submit(buy("1"))).root == 1

    play(scenario)


@pytest.mark.parametrize("sent", [False, True])
def test_killed_in_a_replacement_it_happens_once(play: Play, sent: bool) -> None:
    async def scenario(v: PlainVenue) -> None:
        name = f"bob-{sent}"
        async with v.trader(name) as bob:
            await v.deposit(bob)
            await bob.submit(buy("1"))
        with pytest.raises(Killed):
            async with v.trader(name, transport=Breaking(v.transport, replaces, Killed(), sent=sent)) as bob:
                await bob.replace(0, buy("2"))
        async with v.trader(name) as bob:
            (family,) = (await bob.orders()).values()
            assert [m.record.state.value for m in family.members] == ["replaced", "standing"]

    play(scenario)


@pytest.mark.parametrize("sent", [False, True])
def test_killed_in_a_renewal_the_remainder_is_placed_once(play: Play, sent: bool) -> None:
    async def scenario(v: PlainVenue) -> None:
        name = f"cal-{sent}"
        async with v.trader(name) as cal, v.trader(f"dan-{sent}") as dan:
            await v.deposit(cal)
            await v.deposit(dan)
            await cal.submit(buy("1"))
            await dan.submit(sell("0.4"))
            await v.close_round()
            await v.open_round()
        with pytest.raises(Killed):
            async with v.trader(name, transport=dying(v, sent=sent)) as cal:
                await cal.renew(NO_DELAY)
        async with v.trader(name) as cal:
            assert await cal.renew(NO_DELAY) == []
            (family,) = (await cal.orders()).values()
            assert (len(family.members), family.quantity, family.filled) == (2, 100, 40)

    play(scenario)


def test_an_answer_that_is_lost_is_asked_for_again(play: Play) -> None:
    class Once(Breaking):
        async def carry(self, request: httpx.Request) -> httpx.Response:
            try:
                return await super().carry(request)
            finally:
                if submits(request):
                    self._when = lambda _: False

    async def scenario(v: PlainVenue) -> None:
        carrier = Once(v.transport, submits, httpx.ReadError("lost"), sent=True)
        async with v.trader("eli", transport=carrier) as eli:
            await v.deposit(eli)
            await eli.submit(buy("1"))
            assert carrier.seen.count(("POST", "/v1/orders")) == 2
            assert len(await eli.orders()) == 1

    play(scenario)


def test_an_order_without_an_answer_stays_in_the_outbox_and_those_behind_it_were_never_sent(
    play: Play,
) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("flo") as flo:
            await v.deposit(flo)
        carrier = Breaking(v.transport, submits, httpx.ConnectError("away"), sent=False)
        async with v.trader("flo", transport=carrier) as flo:
            impatient(flo)
            outcomes = await flo.submit_many([buy("1"), buy("2"), buy("3")])
            assert [type(o) for o in outcomes] == [Unreachable, OrderRefused, OrderRefused]
            assert [own.root for own in flo.unanswered()] == [0]
        async with v.trader("flo") as flo:
            (family,) = (await flo.orders()).values()
            assert family.quantity == 100
            assert (await flo.submit(buy("1"))).root > 0

    play(scenario)


def test_no_nonce_is_signed_for_twice_over_many_deaths(play: Play) -> None:
    """Every order that ever left the client, by nonce: one content each."""

    async def scenario(v: PlainVenue) -> None:
        sent: dict[int, set[bytes]] = {}

        class Recording(Breaking):
            async def carry(self, request: httpx.Request) -> httpx.Response:
                if submits(request):
                    body = await request.aread()
                    sent.setdefault(Statement.read(Reader(body)).nonce, set()).add(body)
                return await super().carry(request)

        async with v.trader("gil") as gil:
            await v.deposit(gil)
        for death in range(6):
            count = 0

            def when(request: httpx.Request, limit: int = death % 3) -> bool:
                nonlocal count
                count += submits(request)
                return submits(request) and count > limit

            carrier = Recording(v.transport, when, Killed(), sent=death % 2 == 0)
            with pytest.raises(Killed):
                async with v.trader("gil", transport=carrier) as gil:
                    await gil.submit_many([buy("0.01"), sell("0.01", "2001.00"), buy("0.02"), buy("0.03")])
        last = Recording(v.transport, lambda _: False, Killed(), sent=False)
        async with v.trader("gil", transport=last) as gil:
            orders = await gil.orders()
        assert all(len(contents) == 1 for contents in sent.values())
        assert sum(len(f.members) for f in orders.values()) == len(sent)

    play(scenario)


def test_a_nonce_reserved_before_a_kill_is_gone(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from darkpool.client.trader_home import TraderHome
home = TraderHome(Path(sys.argv[1]))
with home.lock():
    home.fresh()
    for _ in range(5):
        print(*home.reserve(2, 0, (), 86400 * 100), flush=True)
    sys.stdin.read()
"""
    folder = tmp_path / "home"
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    used = [int(n) for _ in range(5) for n in child.stdout.readline().split()]
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.communicate()
    home = TraderHome(folder)
    with home.lock():
        assert used == list(range(10))
        assert home.reserve(2, 0, (), 86400 * 100) == [10, 11]


def test_wanted_shows_nothing_of_an_order() -> None:
    assert repr(Wanted(Side.BUY, "31.41", "2718.28", reference="secret")).count("3141") == 0
    for part in ("BUY", "31.41", "2718.28", "secret"):
        assert part not in repr(Wanted(Side.BUY, "31.41", "2718.28", reference="secret"))

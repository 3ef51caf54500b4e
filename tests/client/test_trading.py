"""A trader at a real venue: everything it shows follows from the keystore and what the venue has."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest

from darkpool.client.family import Family
from darkpool.client.intent import Wanted
from darkpool.client.submission import Placed
from darkpool.client.trader import AsyncTrader
from darkpool.client.venue_api import VenueRefused
from darkpool.client.views import View, balance_view, fill_views, order_view
from darkpool.errors import ConfigError, OrderRefused
from darkpool.market import Side
from darkpool.order import TimeInForce
from darkpool.receipt import Kind
from tests.client.conftest import Play
from tests.client.plain_venue import PlainVenue

NO_DELAY = (0.0, 0.0)


def buy(quantity: str, price: str | None = "2000.00", reference: str = "") -> Wanted:
    return Wanted(Side.BUY, quantity, price, reference=reference)


def sell(quantity: str, price: str | None = "2000.00", reference: str = "") -> Wanted:
    return Wanted(Side.SELL, quantity, price, reference=reference)


async def shown(trader: AsyncTrader) -> tuple[list[View], list[View], list[View]]:
    """All a trader sees: orders, fills, balances."""
    families: Iterable[Family] = (await trader.orders()).values()
    now = int(time.time())
    orders = [order_view(f, trader.markets[f.latest.record.market], now, trader.ended) for f in families]
    fills = [v for f in await trader.fills() for v in fill_views(f, trader.markets[f.market])]
    return orders, fills, [balance_view(b) for b in await trader.balances()]


def test_two_traders_cross_and_a_copy_of_the_keystore_finds_everything_again(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("ada") as ada, v.trader("ben") as ben:
            await v.deposit(ada)
            await v.deposit(ben)
            placed = await ada.submit(buy("0.50", "2000.05", "desk-7"))
            await ben.submit(sell("0.30", None))
            await v.close_round(settle=False)
            ((order,), (fill,), balances) = await shown(ada)
            assert (order["state"], order["filled"], order["remaining"]) == ("renewing", "0.3", "0.2")
            assert (fill["quantity"], fill["price"], fill["state"]) == ("0.3", "2000.00", "provisional")
            assert fill["reference"] == order["reference"] == "desk-7"
            assert balances[1] == {
                "token": "USDC",
                "balance": "1000000",
                "free": "999400",
                "pending_debit": "600",
                "pending_credit": "0",
            }
            await v.settle()
            ((order,), (fill,), balances) = await shown(ada)
            assert fill["state"] == "settled"
            assert [b["free"] for b in balances] == ["100.3", "999400"]
            ((sold,), (got,), _) = await shown(ben)
            assert (sold["state"], got["side"], got["quantity"]) == ("filled", "sell", "0.3")
            assert "sealed in round" in await ada.check_inclusion(placed.hash)
            before = await shown(ada)
        async with v.trader("ada", "empty", fresh=False) as again:
            found = await again.recover()
            assert found.receipts == 1
            ((order,), *rest) = await shown(again)
            assert [[{**order, "state": "renewing", "remaining": "0.2"}], *rest] == [*before]
            assert (await again.receipt(placed.hash)) == placed.receipt
            assert (await again.submit(buy("0.01"))).root == 1 + 16

    play(scenario)


def test_orders_of_one_go_are_proven_each_against_what_the_one_before_leaves(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("cyd") as cyd:
            await v.deposit(cyd, "10", "10000")
            outcomes = await cyd.submit_many([buy("1"), sell("2"), buy("2", "1999.00"), buy("9"), sell("8")])
            kinds = [type(o).__name__ for o in outcomes]
            assert kinds == ["Placed", "Placed", "Placed", "OrderRefused", "Placed"]
            assert isinstance(outcomes[3], OrderRefused)
            assert outcomes[3].code == "collateral-short"
            assert [b.free for b in await cyd.balances()] == [0, 4_002_000_000]

    play(scenario)


def test_what_another_client_of_the_account_did_is_taken_in_and_the_order_drafted_anew(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("dot") as dot, v.trader("dot", "second", fresh=False) as other:
            await v.deposit(dot)
            first = await dot.submit(buy("1"))
            second = await other.submit(buy("2"))
            third = await dot.submit(sell("3"))  # what it predicted is two orders old
            assert [first.root, second.root] == [0, 16]
            assert third.root > 16
            assert len(await dot.orders()) == 3

    play(scenario)


def test_an_order_sent_twice_under_one_reference_is_placed_once(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("eve") as eve:
            await v.deposit(eve)
            first = await eve.submit(buy("1", reference="r"))
            assert await eve.submit(buy("1", reference="r")) == first
            for other in (buy("2", reference="r"), sell("1", reference="r"), buy("1", "1999.95", "r")):
                with pytest.raises(OrderRefused, match="another order has it"):
                    await eve.submit(other)
            assert len(await eve.orders()) == 1
        async with v.trader("eve", "copy", fresh=False) as copy:
            assert await copy.submit(buy("1", reference="r")) == first

    play(scenario)


@pytest.mark.parametrize(
    "wanted,code",
    [
        (buy("1.005"), "bad-order"),
        (buy("-1"), "bad-order"),
        (buy("1e3"), "bad-order"),
        (buy("1", "2000.01"), "bad-order"),
        (buy("1", "9999.00"), "bad-order"),
        (buy("1", "nan"), "bad-order"),
        (buy("1", reference="x" * 44), "bad-reference"),
        (buy("1", reference="a\nb"), "bad-reference"),
        (Wanted(Side.BUY, "1", valid_until=5), "order-times"),
        (Wanted(Side.BUY, "1", time_in_force=TimeInForce.GOOD_TILL_TIME), "order-times"),
        (Wanted(Side.BUY, "1", time_in_force=TimeInForce.GOOD_TILL_TIME, valid_until=5), "order-times"),
        (buy("1"), "account-unknown"),
    ],
)
def test_an_order_that_cannot_be_is_refused_and_nothing_left_behind(
    play: Play, wanted: Wanted, code: str
) -> None:
    async def scenario(v: PlainVenue) -> None:
        name = "fay" if code != "account-unknown" else "poor"
        async with v.trader(name) as fay:
            if name == "fay" and not (await fay.balances()):
                await v.deposit(fay)
            with pytest.raises(OrderRefused) as caught:
                await fay.submit(wanted)
            assert caught.value.code == code
            assert not list((v.folder / f"home-{name}" / "outbox").iterdir())
            assert await fay.orders() == {}

    play(scenario)


def test_an_unknown_market_is_named(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("gus") as gus:
            with pytest.raises(ConfigError, match="'NO-SUCH' is none"):
                await gus.submit(Wanted(Side.BUY, "1", market="NO-SUCH"))

    play(scenario)


def test_cancel_takes_an_order_out_with_a_receipt(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("hal") as hal:
            await v.deposit(hal)
            placed = await hal.submit(buy("1"))
            receipt = await hal.cancel(placed.root)
            assert receipt is not None
            assert receipt.kind is Kind.CANCEL
            assert [b.free for b in await hal.balances()] == [100 * 10**9, 10**12]
            assert "cancelled by its account" in await hal.check_inclusion(placed.hash)
            with pytest.raises(OrderRefused, match="is cancelled"):
                await hal.cancel(placed.root)
            with pytest.raises(OrderRefused, match="none of the name"):
                await hal.cancel(99)

    play(scenario)


def test_cancel_all_takes_every_order_out(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("ida") as ida:
            await v.deposit(ida)
            await ida.submit_many([buy("1"), sell("1", "2001.00"), buy("0")])
            (receipt,) = await ida.cancel_all()
            assert receipt.kind is Kind.CANCEL_ALL
            states = {f.latest.record.state.value for f in (await ida.orders()).values()}
            assert states == {"cancelled"}
            assert (await ida.submit(buy("1"))).root == 3

    play(scenario)


def test_replace_is_proven_with_the_old_lock_and_keeps_the_name(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("joy") as joy:
            await v.deposit(joy, "1", "2000")
            placed = await joy.submit(buy("1", "1999.00"))
            replaced = await joy.replace(placed.root, buy("1", "2000.00"))  # needs the old lock
            assert replaced.root == placed.root
            assert replaced.receipt.kind is Kind.REPLACE
            (family,) = (await joy.orders()).values()
            assert [m.record.state.value for m in family.members] == ["replaced", "standing"]
            with pytest.raises(OrderRefused, match="locks more"):
                await joy.replace(placed.root, buy("1", "2000.05"))
            assert (await joy.balances())[1].free == 0
            again = await joy.replace(placed.root, sell("1", "2001.00"))
            assert again.root == placed.root
            await joy.cancel(placed.root)
            with pytest.raises(OrderRefused, match="is cancelled"):
                await joy.replace(placed.root, buy("1"))

    play(scenario)


def test_remainders_are_renewed_once_by_whoever_looks_first(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("kim") as kim, v.trader("lea") as lea:
            await v.deposit(kim)
            await v.deposit(lea)
            placed = await kim.submit(buy("1", reference="mine"))
            await lea.submit(sell("0.4"))
            await v.close_round()
            await v.open_round()
            async with v.trader("kim", "kim-copy") as copy:
                (renewed,) = await copy.renew(NO_DELAY)
                assert renewed.root == placed.root
                assert await copy.renew(NO_DELAY) == []
            assert await kim.renew(NO_DELAY) == []
            (order,), _, _ = await shown(kim)
            assert (order["quantity"], order["remaining"], order["reference"]) == ("1", "0.6", "mine")
            await kim.cancel(placed.root)
            assert await kim.renew(NO_DELAY) == []

    play(scenario)


def test_a_remainder_whose_order_is_cancelled_before_its_renewal_is_not_renewed(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("max") as max_, v.trader("ned") as ned:
            await v.deposit(max_)
            await v.deposit(ned)
            placed = await max_.submit(buy("1"))
            await ned.submit(sell("0.4"))
            await v.close_round()
            await v.open_round()
            assert await max_.cancel(placed.root) is None
            assert await max_.renew(NO_DELAY) == []
            with pytest.raises(OrderRefused, match="is consumed"):
                await max_.cancel(placed.root)
        async with v.trader("max") as max_:
            assert await max_.renew(NO_DELAY) == []

    play(scenario)


def test_orders_of_an_aborted_round_are_renewed_but_not_those_released_otherwise(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("oda") as oda, v.trader("pat") as pat:
            await v.deposit(oda)
            await v.deposit(pat)
            stays = await oda.submit(buy("1"))
            once = await oda.submit(Wanted(Side.BUY, "2", "2000.00", time_in_force=TimeInForce.ROUND))
            await pat.submit(sell("1"))
            v.committee.aborts = True
            await v.close_round()
            await v.open_round()
            assert "which was aborted" in await oda.check_inclusion(stays.hash)
            (renewed,) = await oda.renew(NO_DELAY)
            assert renewed.root == stays.root
            assert (await oda.orders())[once.root].latest.record.state.value == "released"
            await v.engine.add_market(v.view.terms)  # releases everything
            assert await oda.renew(NO_DELAY) == []

    play(scenario)


def test_an_order_for_this_round_waits_for_one_to_open(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("sue") as sue, v.trader("tim") as tim:
            await v.deposit(sue)
            await v.deposit(tim)
            await sue.submit(buy("1"))
            await tim.submit(sell("1"))
            await v.close_round()
            placed = await sue.submit(buy("1"))  # good till cancelled: taken between rounds
            assert isinstance(placed, Placed)
            await v.open_round()
            await sue.submit(Wanted(Side.BUY, "1", "1999.00", time_in_force=TimeInForce.ROUND))

    play(scenario)


def test_a_folder_in_use_is_not_opened_for_trading_but_may_be_read(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("uma") as uma:
            await v.deposit(uma)
            with pytest.raises(ConfigError, match="another darkpool client"):
                async with v.trader("uma"):
                    pass
            async with v.trader("uma", read_only=True) as reader:
                assert len(await reader.balances()) == 2
                with pytest.raises(ConfigError, match="reading only"):
                    await reader.submit(buy("1"))

    play(scenario)


def test_a_refusal_of_the_venue_keeps_its_status_code_and_facts(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("vic") as vic:
            await v.deposit(vic)
            await v.venue.halt("lunch")
            try:
                with pytest.raises(VenueRefused) as caught:
                    await vic.submit(buy("1"))
            finally:
                await v.venue.resume()
            assert (caught.value.code, caught.value.status) == ("venue-halted", 503)

    play(scenario)


# The chain's clock is ahead from here on: this test is the last.
def test_a_void_settlement_busts_its_fills_and_gives_the_debit_back(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("quy") as quy, v.trader("rex") as rex:
            await v.deposit(quy)
            await v.deposit(rex)
            await quy.submit(buy("1"))
            await rex.submit(sell("1"))
            await v.close_round(settle=False)
            assert (await quy.balances())[1].pending_debit == 2_000 * 10**6
            await v.expire()
            _, (fill,), balances = await shown(quy)
            assert fill["state"] == "busted"
            assert [b["free"] for b in balances] == ["100", "1000000"]

    play(scenario)

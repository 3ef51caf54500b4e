"""Rounds, sealed lists and settlements as anybody reads them."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest

from api.body import ORDER_TYPE
from darkpool.market import RoundState
from darkpool.sealed_view import SealedListView
from darkpool.store.records import RoundRow, SealedRow, SettlementRow, SettlementState
from darkpool.store.venue_store import Changes
from tests.api.http import is_problem
from tests.api.stand_in import BASE, MARKET, NOW, QUOTE, StandIn, terms
from tests.api.test_private import filled

pytestmark = pytest.mark.anyio
MARKET_TEXT = "0x" + MARKET.hex()
ROUNDS = f"/v1/rounds/{MARKET_TEXT}"
ROUNDS_OF = json.dumps([[MARKET.hex(), 1]])
FLOWS = json.dumps([[BASE.hex(), 30, 20], [QUOTE.hex(), 1 << 70, 0]])  # eight rounds may pass 64 bits


@pytest.fixture(autouse=True)
def told(venue: StandIn) -> None:
    """Six orders; rounds 1 (settled), 2 (sealed), 3 (open); two settlements."""
    filled(venue, 5)
    venue.log(b"seal")

    def a_round(number: int, state: RoundState, **known: int | bytes | str) -> RoundRow:
        return RoundRow(MARKET, number, state, 4, "2000.00", "last", NOW, 0, terms().hash, **known)  # type: ignore[arg-type]

    rounds = [
        a_round(
            1,
            RoundState.SETTLED,
            sealed_at=NOW,
            orders=2,
            root=b"\x01" * 32,
            price=5,
            price_text="2000.05",
            volume=9,
            settlement=b"\x01" * 32,
        ),
        a_round(2, RoundState.SEALED, sealed_at=NOW, orders=1, root=b"\x02" * 32),
        a_round(3, RoundState.OPEN),
    ]
    sealed = [SealedRow(MARKET, 1, i, i + 1, (i + 1).to_bytes(32)) for i in range(2)]
    settlements = [
        SettlementRow(bytes([n]) * 32, 1, n, b"payload", NOW, NOW, ROUNDS_OF, FLOWS, state)
        for n, state in ((1, SettlementState.VOID), (2, SettlementState.PENDING))
    ]
    changes = Changes(rounds=rounds, sealed=sealed, settlements=settlements)
    venue.store.project(venue.tree.size, changes)


async def test_rounds_come_newest_first_in_pages(client: httpx.AsyncClient) -> None:
    page = (await client.get(f"{ROUNDS}?limit=2")).json()
    assert ([r["number"] for r in page["items"]], page["next"]) == ([3, 2], 2)
    page = (await client.get(f"{ROUNDS}?limit=2&before=2")).json()
    assert ([r["number"] for r in page["items"]], page["next"]) == ([1], None)


async def test_a_round_shows_its_result_in_levels_and_decimals(client: httpx.AsyncClient) -> None:
    found = (await client.get(f"{ROUNDS}/1")).json()
    assert (found["state"], found["price"], found["price_text"], found["volume"]) == (
        "settled",
        5,
        "2000.05",
        9,
    )
    found = (await client.get(f"{ROUNDS}/3")).json()
    assert (found["state"], found["price"], found["price_text"], found["root"]) == ("open", None, None, None)


async def test_a_price_of_an_older_grid_is_the_decimal_it_was(
    client: httpx.AsyncClient, venue: StandIn
) -> None:
    row = venue.store.round(MARKET, 1)
    assert row is not None
    venue.log(b"terms")
    older = replace(row, number=4, terms_hash=bytes(32), price=255, price_text="1.05")
    without = replace(older, number=5, price_text=None)  # of an earlier version of darkpool
    venue.store.project(venue.tree.size, Changes(rounds=[older, without]))
    for number, text in ((4, "1.05"), (5, None)):
        found = (await client.get(f"{ROUNDS}/{number}")).json()
        assert (found["price"], found["price_text"]) == (255, text)


async def test_a_sealed_list_reads_as_one(client: httpx.AsyncClient) -> None:
    view = SealedListView.from_json((await client.get(f"{ROUNDS}/1/sealed")).json())
    assert view.hashes == tuple(n.to_bytes(32) for n in (1, 2))
    assert view.sequences == (1, 2)
    is_problem(await client.get(f"{ROUNDS}/3/sealed"), "round-unknown")


async def test_orders_of_a_sealed_list_are_public_and_others_are_not(client: httpx.AsyncClient) -> None:
    found = await client.get(f"{ROUNDS}/1/orders/0x{(1).to_bytes(32).hex()}")
    assert (found.content, found.headers["content-type"]) == (bytes([1]) * 100, ORDER_TYPE)
    for number, order in ((1, 3), (2, 1), (3, 1)):
        path = f"{ROUNDS}/{number}/orders/0x{order.to_bytes(32).hex()}"
        is_problem(await client.get(path), "order-unknown")


async def test_settlements_are_named_by_digest(client: httpx.AsyncClient) -> None:
    page = (await client.get("/v1/settlements?limit=1")).json()
    assert ([s["state"] for s in page["items"]], page["next"]) == (["pending"], 2)
    page = (await client.get("/v1/settlements?before=2")).json()
    assert ([s["state"] for s in page["items"]], page["next"]) == (["void"], None)
    found = (await client.get("/v1/settlements/0x" + "01" * 32)).json()
    assert (found["id"], found["payload"], found["tx_hash"]) == (1, "0x" + b"payload".hex(), None)
    assert found["rounds"] == [{"market": "0x" + MARKET.hex(), "round": 1}]
    base, quote = found["flows"]
    assert (base["token"].lower(), base["symbol"]) == ("0x" + BASE.hex(), "WETH")
    assert (base["gross"], base["net"], base["ratio"]) == (30, 20, 1.5)
    assert (quote["gross"], quote["net"], quote["ratio"]) == (1 << 70, 0, None)
    assert (await client.get(f"{ROUNDS}/1")).json()["settlement"] == found["digest"]


async def test_a_certified_result_is_shown_once_there_is_one(client: httpx.AsyncClient) -> None:
    found = (await client.get(f"{ROUNDS}/1/result")).json()
    assert found == {"payload": "0x" + b"certified 1".hex()}
    is_problem(await client.get(f"{ROUNDS}/2/result"), "round-unknown")


async def test_an_entry_leads_to_the_root(client: httpx.AsyncClient, venue: StandIn) -> None:
    head = (await client.get("/v1/log")).json()
    assert head == {"size": 7, "root": "0x" + venue.tree.root().hex()}
    found = (await client.get("/v1/log/2/inclusion")).json()
    assert (found["size"], found["root"]) == (7, head["root"])
    found = (await client.get("/v1/log/2/inclusion?size=3")).json()
    assert found["path"] == ["0x" + node.hex() for node in venue.tree.inclusion(2, 3)]
    for path in ("/v1/log/7/inclusion", "/v1/log/2/inclusion?size=2", "/v1/log/2/inclusion?size=8"):
        is_problem(await client.get(path), "entry-unknown")

"""Health, readiness, figures and event streams."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from api.callers import client_key
from darkpool.eip712 import address_of
from darkpool.errors import OrderRefused, Unavailable
from darkpool.evm import Receipt
from darkpool.store.records import EventRow, SettlementRow
from darkpool.store.venue_store import Changes
from darkpool.submitter import GWEI, Standing
from darkpool.types import address_hex
from tests.api.http import authorization, is_problem, serving, signed
from tests.api.stand_in import ADA, BASE, BEN, OPERATOR, QUOTE, StandIn, stand_in
from tests.api.test_private import OWN, filled, order_row

pytestmark = pytest.mark.anyio


async def test_health_is_about_the_process_alone(client: httpx.AsyncClient, venue: StandIn) -> None:
    venue.found.database = venue.found.halted = "gone"
    assert (await client.get("/v1/health")).json() == {"status": "up"}


@pytest.mark.parametrize(
    "part, status", [("halted", 503), ("database", 503), ("chain", 200), ("committee", 200)]
)
async def test_readiness_names_the_part_and_fails_if_orders_cannot_be_admitted(
    client: httpx.AsyncClient, venue: StandIn, part: str, status: int
) -> None:
    assert (await client.get("/v1/ready")).json()["ready"] is True
    setattr(venue.found, part, "gone")
    response = await client.get("/v1/ready")
    assert (response.status_code, response.json()["ready"]) == (status, status == 200)
    assert response.json()[part] == "gone"


async def test_the_oldest_settlement_shows_how_far_it_is(client: httpx.AsyncClient, venue: StandIn) -> None:
    assert (await client.get("/v1/ready")).json()["submission"] is None
    venue.found.sent = Standing(tx_hash=b"\x07" * 32, attempts=2, fee=3 * GWEI)
    sent = {"tx_hash": "0x" + "07" * 32, "confirmations": 0, "attempts": 2, "fee": 3 * GWEI}
    assert (await client.get("/v1/ready")).json()["submission"] == sent
    text = (await client.get("/metrics")).text
    assert "darkpool_settlement_attempts 2.0" in text
    assert "darkpool_settlement_fee_wei 3e+09" in text
    venue.found.sent = Standing(landed=True, receipt=Receipt(b"\x08" * 32, 120_000, 9), confirmations=2)
    landed = {"tx_hash": "0x" + "08" * 32, "confirmations": 2, "attempts": 0, "fee": 0}
    assert (await client.get("/v1/ready")).json()["submission"] == landed


async def test_metrics_count_and_name_nobody(client: httpx.AsyncClient, venue: StandIn) -> None:
    filled(venue, 3)
    order = f"/v1/orders/0x{(1).to_bytes(32).hex()}"
    await signed(client, ADA, "GET", order)
    await client.get("/v1/nothing")
    venue.found.chain = "gone"
    text = (await client.get("/metrics")).text
    assert 'darkpool_http_requests_total{method="GET",route="/orders/{order}",status="200"} 1.0' in text
    assert 'darkpool_http_requests_total{method="GET",route="none",status="404"} 1.0' in text
    assert 'darkpool_orders{state="standing"} 2.0' in text
    assert 'darkpool_orders{state="expired"} 0.0' in text
    assert 'darkpool_well{part="chain"} 0.0' in text
    assert 'darkpool_well{part="database"} 1.0' in text
    assert "darkpool_log_entries 4.0" in text
    labels = {
        label for found in re.findall(r"\{([^}]*(?:\{[^}]*\})?[^}]*)\}", text) for label in found.split(",")
    }
    assert not [label for label in labels if re.search("0x[0-9a-fA-F]{8}", label)]
    assert address_hex(address_of(ADA)) not in text


async def test_what_is_not_settled_shows(client: httpx.AsyncClient, venue: StandIn) -> None:
    venue.found.unsettled_rounds, venue.found.pending_settlements, venue.found.voided_rounds = 3, 2, 1
    venue.found.settlement = "settlement 4: fees: too high"
    found = (await client.get("/v1/ready")).json()
    names = ("ready", "unsettled_rounds", "pending_settlements", "voided_rounds", "settlement")
    assert [found[name] for name in names] == [True, 3, 2, 1, "settlement 4: fees: too high"]
    venue.log(b"window")
    flows = json.dumps([[BASE.hex(), 30, 20], [QUOTE.hex(), 400, 0]])
    row = SettlementRow(b"\x01" * 32, 1, 0, b"", 1, 1, "[]", flows)
    venue.store.project(1, Changes(settlements=[row]))
    text = (await client.get("/metrics")).text
    for line in (
        "darkpool_unsettled_rounds 3.0",
        "darkpool_pending_settlements 2.0",
        "darkpool_voided_rounds 1.0",
        'darkpool_well{part="settlement"} 0.0',
        'darkpool_window_quanta{kind="gross",token="WETH"} 30.0',
        'darkpool_window_quanta{kind="net",token="WETH"} 20.0',
        'darkpool_window_quanta{kind="net",token="USDC"} 0.0',
    ):
        assert line in text


async def test_the_operator_may_close_a_window(client: httpx.AsyncClient, venue: StandIn) -> None:
    response = await signed(client, OPERATOR, "POST", "/v1/operator/settle")
    assert (response.status_code, venue.halts) == (204, ["settling"])
    is_problem(await signed(client, ADA, "POST", "/v1/operator/settle"), "not-the-operator")
    venue.answer = OrderRefused("settle: no round is unsettled", "wait", "nothing-unsettled")
    is_problem(await signed(client, OPERATOR, "POST", "/v1/operator/settle"), "nothing-unsettled")


async def test_metrics_are_answered_without_a_database(client: httpx.AsyncClient, venue: StandIn) -> None:
    async def away(_: object) -> object:
        raise Unavailable("gone", "database")

    venue.read = away  # type: ignore[method-assign,assignment]
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert 'darkpool_well{part="database"} 0.0' in response.text
    is_problem(await signed(client, ADA, "GET", f"{OWN}/orders"), "database-away")


async def test_unusual_methods_share_one_label(client: httpx.AsyncClient) -> None:
    for method in ("BREW", "WHEN", "PROPFIND"):
        await client.request(method, "/v1/markets")
    text = (await client.get("/metrics")).text
    assert 'method="other",route="/markets",status="405"} 3.0' in text
    assert "BREW" not in text


def told(venue: StandIn) -> None:
    venue.log(b"entry")
    rows = [
        EventRow(10, None, "round", '{"round": 1, "state": "open"}'),
        EventRow(11, address_of(ADA), "fill", '{"state": "provisional"}'),
        EventRow(12, address_of(BEN), "fill", '{"state": "busted"}'),
        EventRow(13, None, "round", '{"round": 1, "state": "sealed"}'),
    ]
    venue.store.project(1, Changes(events=rows, orders=[order_row(0)]))


async def ids(client: httpx.AsyncClient, path: str, last: str = "") -> list[int]:
    headers = {"Last-Event-ID": last} if last else {}
    if path.startswith(OWN):
        headers["Authorization"] = authorization(ADA, "GET", path)
    response = await client.get(path, headers=headers)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    return [int(found) for found in re.findall("^id: (.*)$", response.text, re.MULTILINE)]


async def test_events_are_public_or_the_accounts_own(client: httpx.AsyncClient, venue: StandIn) -> None:
    told(venue)
    assert await ids(client, "/v1/events") == [1, 4]
    assert await ids(client, f"{OWN}/events") == [1, 2, 4]
    text = (await client.get("/v1/events")).text
    assert 'event: round\ndata: {"at": 10, "round": 1, "state": "open"}\nid: 1\n' in text


async def test_a_stream_resumes_after_the_last_event_seen(client: httpx.AsyncClient, venue: StandIn) -> None:
    told(venue)
    assert await ids(client, "/v1/events", "1") == [4]
    assert await ids(client, f"{OWN}/events", "2") == [4]


@pytest.mark.parametrize("value", ["", "-1", "x", "1.0", str(1 << 64), "0x1", "9" * 4000])
async def test_a_malformed_last_event_id_is_refused(client: httpx.AsyncClient, value: str) -> None:
    response = await client.get("/v1/events", headers={"Last-Event-ID": value})
    assert is_problem(response, "bad-parameter")["parameter"] == "header.last-event-id"


async def test_streams_are_bounded_and_given_back(tmp_path: Path) -> None:
    venue = stand_in(tmp_path, max_streams=1)
    async with serving(venue) as client:
        for _ in range(3):
            assert (await client.get("/v1/events")).status_code == 200
        app = client._transport.app  # type: ignore[attr-defined]
        app.state.streams = 1
        is_problem(await client.get("/v1/events"), "busy")
        assert app.state.streams == 1


@pytest.mark.parametrize(
    "host, key",
    [
        ("127.0.0.1", "127.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
async def test_one_customer_is_one_client(host: str, key: str) -> None:
    assert client_key(host) == key

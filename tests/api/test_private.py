"""Signed requests over HTTP: whose they are, once each, and what an account reads of itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx
import pytest

from commitments.merkle import verify_entry
from darkpool.eip712 import address_of
from darkpool.inclusion import Evidence
from darkpool.message import Message
from darkpool.store.records import BoxRow, FillRow, FillState, OrderRow, OrderState
from darkpool.store.venue_store import Changes
from darkpool.types import PrivateKey, address_hex
from tests.api.http import authorization, is_problem, serving, signed
from tests.api.stand_in import ADA, BEN, MARKET, OPERATOR, StandIn, stand_in

pytestmark = pytest.mark.anyio
ACCOUNT: Final = address_of(ADA)
OWN: Final = f"/v1/accounts/{address_hex(ACCOUNT)}"
MARKET_TEXT: Final = "0x" + MARKET.hex()


def order_row(number: int, account: bytes = ACCOUNT) -> OrderRow:
    return OrderRow(
        hash=number.to_bytes(32),
        sequence=number,
        market=MARKET,
        account=account,
        nonce=number,
        first_round=1,
        time_in_force=2,
        valid_until=0,
        accepted_at=5,
        state=OrderState.STANDING if number % 2 else OrderState.CANCELLED,
    )


def filled(venue: StandIn, count: int) -> None:
    """So many orders of Ada, one of Ben, two fills of Ada."""
    for number in range(count + 1):
        venue.log(Message("order", {"number": number}, [bytes([number]) * 100]).encode())
    orders = [order_row(n) for n in range(count)] + [order_row(count, address_of(BEN))]
    fills = [FillRow(MARKET, n, ACCOUNT, n, net, FillState.PROVISIONAL) for n, net in ((1, -5), (2, 9))]
    boxes = [BoxRow(MARKET, 1, ACCOUNT, member, bytes([member]) * 4) for member in (1, 2)]
    venue.store.project(count + 1, Changes(orders=orders, fills=fills, boxes=boxes))


@pytest.mark.parametrize(
    "path", [f"{OWN}/collateral", f"{OWN}/orders", f"{OWN}/fills", "/v1/orders/0x" + "01" * 32]
)
async def test_private_reads_need_a_signature(client: httpx.AsyncClient, path: str) -> None:
    is_problem(await client.get(path), "bad-authorization")
    for header in ("", "Bearer abc", "Darkpool", "Darkpool account=0x"):
        is_problem(await client.get(path, headers={"Authorization": header}), "bad-authorization")


async def test_an_account_reads_its_collateral(client: httpx.AsyncClient) -> None:
    body = (await signed(client, ADA, "GET", f"{OWN}/collateral")).json()
    assert (body["known"], body["lowest_unused"], body["used_above"]) == (True, 3, [5])
    assert body["tokens"][0]["commitment"] == "0x" + "aa" * 48


@pytest.mark.parametrize("what", ["collateral", "orders", "fills", "events"])
async def test_nobody_reads_another_account(client: httpx.AsyncClient, what: str) -> None:
    for key in (BEN, OPERATOR):
        is_problem(await signed(client, key, "GET", f"{OWN}/{what}"), "not-the-account")


async def test_a_request_is_good_for_one_use(client: httpx.AsyncClient) -> None:
    target = f"{OWN}/collateral"
    headers = {"Authorization": authorization(ADA, "GET", target)}
    assert (await client.get(target, headers=headers)).status_code == 200
    is_problem(await client.get(target, headers=headers), "request-replayed")


async def test_of_many_uses_at_once_one_is_answered(client: httpx.AsyncClient) -> None:
    target = f"{OWN}/collateral"
    headers = {"Authorization": authorization(ADA, "GET", target)}
    answers = await asyncio.gather(*(client.get(target, headers=headers) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [401] * 7


@pytest.mark.parametrize("life", [0, -1, -1000, 3600])
async def test_an_expired_request_is_refused(client: httpx.AsyncClient, life: int) -> None:
    target = f"{OWN}/collateral"
    headers = {"Authorization": authorization(ADA, "GET", target, life=life)}
    is_problem(await client.get(target, headers=headers), "request-expired")


@pytest.mark.parametrize(
    "method, target, body",
    [
        ("POST", f"{OWN}/orders", b""),
        ("GET", f"{OWN}/fills", b""),
        ("GET", f"{OWN}/orders?limit=5", b""),
        ("GET", f"{OWN}/orders?", b""),
        ("GET", f"{OWN}/orders", b"x"),
    ],
)
async def test_what_was_not_signed_is_refused(
    client: httpx.AsyncClient, method: str, target: str, body: bytes
) -> None:
    headers = {"Authorization": authorization(ADA, method, target, body)}
    is_problem(await client.get(f"{OWN}/orders", headers=headers), "bad-signature")


async def test_the_signature_covers_the_target_as_it_was_sent(client: httpx.AsyncClient) -> None:
    target = f"{OWN}/orders?limit=5&state=standing&note=%20a"
    assert (await signed(client, ADA, "GET", target)).status_code == 200


async def test_head_is_signed_as_get(client: httpx.AsyncClient) -> None:
    headers = {"Authorization": authorization(ADA, "GET", f"{OWN}/collateral")}
    response = await client.head(f"{OWN}/collateral", headers=headers)
    assert (response.status_code, response.content) == (200, b"")


async def test_orders_come_in_pages_and_by_state(client: httpx.AsyncClient, venue: StandIn) -> None:
    filled(venue, 7)
    seen: list[int] = []
    target = f"{OWN}/orders?limit=3"
    while target:
        page = (await signed(client, ADA, "GET", target)).json()
        seen += [item["sequence"] for item in page["items"]]
        target = "" if page["next"] is None else f"{OWN}/orders?limit=3&after={page['next']}"
    assert seen == list(range(7))
    page = (await signed(client, ADA, "GET", f"{OWN}/orders?state=standing&market={MARKET_TEXT}")).json()
    assert [item["nonce"] for item in page["items"]] == [1, 3, 5]
    page = (await signed(client, ADA, "GET", f"{OWN}/orders?state=standing&state=cancelled")).json()
    assert len(page["items"]) == 7
    page = (await signed(client, ADA, "GET", f"{OWN}/orders?market=0x{'04' * 32}")).json()
    assert page == {"items": [], "next": None}


@pytest.mark.parametrize(
    "query", ["state=open", "state=", "limit=0", "after=x", "market=3", "state=standing&" * 7]
)
async def test_malformed_filters_are_refused(client: httpx.AsyncClient, query: str) -> None:
    is_problem(await signed(client, ADA, "GET", f"{OWN}/orders?{query}"), "bad-parameter")


async def test_an_address_with_a_wrong_checksum_is_refused(client: httpx.AsyncClient) -> None:
    target = f"/v1/accounts/0x{'aB' * 20}/orders"
    is_problem(await signed(client, ADA, "GET", target), "bad-parameter")


async def test_fills_come_with_their_boxes(client: httpx.AsyncClient, venue: StandIn) -> None:
    filled(venue, 3)
    page = (await signed(client, ADA, "GET", f"{OWN}/fills")).json()
    assert [(f["round"], f["net"], f["state"]) for f in page["items"]] == [
        (1, -5, "provisional"),
        (2, 9, "provisional"),
    ]
    assert page["items"][0]["boxes"] == {"1": "0x01010101", "2": "0x02020202"}
    page = (await signed(client, ADA, "GET", f"{OWN}/fills?limit=1")).json()
    assert page["next"] == 1


async def test_an_order_is_shown_to_its_account_only(client: httpx.AsyncClient, venue: StandIn) -> None:
    filled(venue, 3)
    mine, bens = (f"/v1/orders/0x{n.to_bytes(32).hex()}" for n in (1, 3))
    assert (await signed(client, ADA, "GET", mine)).json()["state"] == "standing"
    for key, path in ((ADA, bens), (BEN, mine), (ADA, "/v1/orders/0x" + "77" * 32)):
        is_problem(await signed(client, key, "GET", path), "order-unknown")
        is_problem(await signed(client, key, "GET", f"{path}/evidence"), "order-unknown")


async def test_evidence_leads_to_the_root_of_the_log(client: httpx.AsyncClient, venue: StandIn) -> None:
    filled(venue, 5)
    ended = replace(order_row(1), state=OrderState.CANCELLED, ended_sequence=4)
    venue.log(b"one more")
    venue.store.project(7, Changes(orders=[ended]))
    body = (await signed(client, ADA, "GET", f"/v1/orders/0x{(1).to_bytes(32).hex()}/evidence")).json()
    evidence = Evidence.from_json(body)
    assert (evidence.size, evidence.root) == (7, venue.tree.root())
    verify_entry(evidence.entry, 1, 7, evidence.path, evidence.root)
    verify_entry(evidence.ending, 4, 7, evidence.ending_path, evidence.root)


async def test_an_account_that_asks_too_often_must_wait(tmp_path: Path) -> None:
    async with serving(stand_in(tmp_path, requests_per_second=1, request_burst=4)) as client:
        client_limits = [(await signed(client, ADA, "GET", f"{OWN}/orders")).status_code for _ in range(6)]
    assert client_limits == [200] * 4 + [429] * 2


async def test_only_the_operator_operates(client: httpx.AsyncClient, venue: StandIn) -> None:
    json = {"content-type": "application/json"}
    for key, expected in ((ADA, 403), (OPERATOR, 204)):
        answers = [
            await signed(client, key, "POST", f"/v1/operator/markets/{MARKET_TEXT}/seal"),
            await signed(client, key, "POST", "/v1/operator/halt", b'{"reason": "tests"}', **json),
            await signed(client, key, "POST", "/v1/operator/resume"),
        ]
        assert [a.status_code for a in answers] == [expected] * 3
    is_problem(await client.post("/v1/operator/resume"), "bad-authorization")
    is_problem(await signed(client, ADA, "POST", "/v1/operator/resume"), "not-the-operator")
    assert venue.halts == [f"sealed {MARKET.hex()}", "tests", "resumed"]


@pytest.mark.parametrize("reason", [b'""', b'"\\n"', b"1", b'"' + b"a" * 201 + b'"', b"null"])
async def test_a_halt_needs_a_reason_that_can_be_shown(
    client: httpx.AsyncClient, venue: StandIn, reason: bytes
) -> None:
    body = b'{"reason": ' + reason + b"}"
    kind = {"content-type": "application/json"}
    answer = await signed(client, OPERATOR, "POST", "/v1/operator/halt", body, **kind)
    is_problem(answer, "body-malformed")
    assert venue.halts == []


async def test_the_operator_cannot_seal_an_unknown_market(client: httpx.AsyncClient) -> None:
    target = f"/v1/operator/markets/0x{'04' * 32}/seal"
    is_problem(await signed(client, OPERATOR, "POST", target), "market-unknown")


async def test_no_secret_of_a_key_is_in_a_header() -> None:
    header = authorization(PrivateKey(b"\x11" * 32), "GET", "/")
    assert "11" * 32 not in header

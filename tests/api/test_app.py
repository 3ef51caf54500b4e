"""Markets, orders, wishes, bodies and unknown paths over HTTP: more that is refused than accepted."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.body import ORDER_TYPE
from commitments.merkle import verify_entry
from darkpool.eip712 import address_of
from darkpool.errors import Busy, ChainError, DarkpoolError, OrderRefused, PeerFault, Unavailable
from darkpool.message import Message, read_terms
from darkpool.order import order_hash
from darkpool.receipt import Kind, Receipt
from darkpool.store.database import StoreError
from darkpool.types import address_hex
from tests.api.http import is_problem, serving
from tests.api.stand_in import ADA, MARKET, OPERATOR, StandIn, stand_in, terms

pytestmark = pytest.mark.anyio
RAW = bytes(range(256)) * 8
BINARY = {"Content-Type": ORDER_TYPE}
JSON = {"Content-Type": "application/json"}
SIGNATURE = "0x" + "1b" * 65
MARKET_TEXT = "0x" + MARKET.hex()
ACCOUNT = address_hex(address_of(ADA))


async def test_a_market_says_all_a_client_needs(client: httpx.AsyncClient) -> None:
    (item,) = (await client.get("/v1/markets")).json()
    assert (item["id"], item["lot"], item["tick"], item["base"]) == (MARKET_TEXT, "0.01", "0.05", "WETH")
    assert item["round"] == {"number": 7, "state": "open", "reference": 4, "reference_price": "2000.00"}
    detail = (await client.get(f"/v1/markets/{MARKET_TEXT}")).json()
    assert detail["summary"] == item
    assert (detail["lowest_price"], detail["highest_price"]) == ("1999.80", "2000.15")
    assert detail["operator"] == address_hex(address_of(OPERATOR))
    assert len(detail["committee"]["members"]) == 3
    message = Message.decode(bytes.fromhex(detail["terms"][2:]))
    assert read_terms(message, terms().key).hash.hex() == item["terms_hash"][2:]
    assert detail["committee"]["modulus"] == "0x" + terms().key.encode().hex()


@pytest.mark.parametrize("form", ["binary", "json"])
async def test_an_order_is_answered_with_a_receipt(client: httpx.AsyncClient, form: str) -> None:
    body, headers = RAW, BINARY
    if form == "json":
        body, headers = json.dumps({"order": base64.b64encode(RAW).decode()}).encode(), JSON
    response = await client.post("/v1/orders", content=body, headers=headers)
    assert response.status_code == 201
    receipt = Receipt.from_json(response.json())
    receipt.check(terms().domain, address_of(OPERATOR))
    assert (receipt.kind, receipt.subject) == (Kind.ORDER, order_hash(RAW))
    assert response.headers["location"] == f"/v1/orders/0x{receipt.subject.hex()}"
    kept = (await client.get(f"/v1/receipts/0x{receipt.subject.hex()}")).json()
    assert Receipt.from_json(kept["receipt"]) == receipt
    path = [bytes.fromhex(node[2:]) for node in kept["path"]]
    entry = Message("order", {"market": MARKET.hex()}, [RAW]).encode()
    verify_entry(entry, receipt.sequence, receipt.size, path, receipt.root)


async def test_wishes_are_answered_with_receipts(client: httpx.AsyncClient) -> None:
    wish = {"market": MARKET_TEXT, "account": ACCOUNT, "signature": SIGNATURE}
    cancelled = await client.post("/v1/orders/cancellations", json={**wish, "nonce": 4})
    assert Receipt.from_json(cancelled.json()).kind is Kind.CANCEL
    cancelled = await client.post("/v1/orders/mass-cancellations", json={**wish, "below": 1 << 60})
    assert Receipt.from_json(cancelled.json()).kind is Kind.CANCEL_ALL
    replacement = {"order": base64.b64encode(RAW).decode(), "signature": SIGNATURE}
    replaced = await client.put("/v1/orders/4/replacement", json=replacement)
    assert replaced.status_code == 200
    assert Receipt.from_json(replaced.json()).kind is Kind.REPLACE
    assert (
        await client.post("/v1/accounts", json={"account": ACCOUNT, "signature": SIGNATURE})
    ).status_code == 204


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/octet-stream",
        "application/xml",
        "multipart/form-data",
        "application/vnd.darkpool.order2",
    ],
)
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/orders/cancellations", "/v1/accounts"])
async def test_another_content_type_is_refused(client: httpx.AsyncClient, kind: str, path: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    is_problem(await client.post(path, content=RAW, headers=headers), "content-type")


async def test_a_binary_order_is_no_wish(client: httpx.AsyncClient) -> None:
    for method, path in (("POST", "/v1/orders/cancellations"), ("PUT", "/v1/orders/4/replacement")):
        is_problem(await client.request(method, path, content=RAW, headers=BINARY), "content-type")


async def test_a_content_type_may_have_parameters(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "Application/VND.darkpool.order; v=1"}
    assert (await client.post("/v1/orders", content=RAW, headers=headers)).status_code == 201


async def streamed(pieces: int, read: list[int]) -> AsyncIterator[bytes]:
    for i in range(pieces):
        read.append(i)
        yield bytes(10_000)


async def test_an_oversize_body_is_refused_while_it_streams(
    client: httpx.AsyncClient, venue: StandIn
) -> None:
    limit = venue.settings.api.max_body_bytes
    read: list[int] = []
    response = await client.post("/v1/orders", content=streamed(10_000, read), headers=BINARY)
    assert is_problem(response, "body-too-large")["limit"] == limit
    assert len(read) <= limit // 10_000 + 2
    response = await client.post("/v1/orders", content=bytes(limit + 1), headers=BINARY)
    is_problem(response, "body-too-large")


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "٣"])
async def test_an_odd_content_length_is_refused(client: httpx.AsyncClient, length: str) -> None:
    headers = [(b"content-type", ORDER_TYPE.encode()), (b"content-length", length.encode())]
    is_problem(await client.post("/v1/orders", content=b"", headers=headers), "body-too-large")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'"order"',
        b"{}",
        b'{"order": 1}',
        b'{"order": null}',
        b'{"order": "%%%"}',
        b'{"order": "YQ"}',
        b'{"order": "YQ==", "more": 1}',
        b'{"order": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"order": "\\u00e9"}',
    ],
)
async def test_a_json_order_that_is_none_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    is_problem(await client.post("/v1/orders", content=body, headers=JSON), "body-malformed")


WISH: dict[str, Any] = {"market": MARKET_TEXT, "account": ACCOUNT, "nonce": 4, "signature": SIGNATURE}


@pytest.mark.parametrize(
    "name, value",
    [
        ("market", "0x03"),
        ("market", MARKET.hex()),
        ("market", None),
        ("account", "0x" + "aB" * 20),
        ("account", 7),
        ("nonce", -1),
        ("nonce", 1 << 64),
        ("nonce", "4"),
        ("nonce", 4.0),
        ("nonce", True),
        ("signature", SIGNATURE + "00"),
        ("signature", SIGNATURE.upper()),
    ],
)
async def test_a_malformed_wish_is_refused_by_field(
    client: httpx.AsyncClient, name: str, value: object
) -> None:
    response = await client.post("/v1/orders/cancellations", json={**WISH, name: value})
    assert is_problem(response, "body-malformed")["detail"].startswith(f"{name}: ")


@pytest.mark.parametrize("name", WISH)
async def test_an_incomplete_wish_is_refused(client: httpx.AsyncClient, name: str) -> None:
    wish = {key: value for key, value in WISH.items() if key != name}
    response = await client.post("/v1/orders/cancellations", json=wish)
    assert f"lacks {name}" in is_problem(response, "body-malformed")["detail"]


@pytest.mark.parametrize(
    "error, code",
    [
        (OrderRefused("a", "b", "order-malformed"), "order-malformed"),
        (OrderRefused("a", "b", "order-unproven"), "order-unproven"),
        (OrderRefused("a", "b", "nonce-used", {"lowest_unused": 9}), "nonce-used"),
        (OrderRefused("a", "b", "round-closed"), "round-closed"),
        (OrderRefused("a", "b", "account-unknown"), "account-unknown"),
        (OrderRefused("a", "b", "account-halted"), "account-halted"),
        (OrderRefused("a", "b", "quota-exceeded"), "quota-exceeded"),
        (OrderRefused("a", "b", "bad-signature"), "bad-signature"),
        (OrderRefused("a", "b", "no-such-code-anywhere"), "refused"),
        (Busy("queue: full", 3), "busy"),
        (Unavailable("halted: tests", "venue"), "venue-halted"),
        (Unavailable("gone", "database"), "database-away"),
        (Unavailable("gone", "chain"), "chain-away"),
        (Unavailable("gone", "committee"), "committee-away"),
        (StoreError("database: cannot append"), "database-away"),
        (ChainError("node: gone"), "chain-away"),
        (PeerFault("gone", peer="member 2"), "committee-away"),
    ],
)
async def test_each_refusal_has_its_problem(
    client: httpx.AsyncClient, venue: StandIn, error: DarkpoolError, code: str
) -> None:
    venue.answer = error
    response = await client.post("/v1/orders", content=RAW, headers=BINARY)
    is_problem(response, code)
    if isinstance(error, Busy):
        assert response.headers["retry-after"] == "3"
    assert venue.tree.size == 0


async def test_a_decreased_collateral_comes_with_what_to_prove_against(
    client: httpx.AsyncClient, venue: StandIn
) -> None:
    facts: dict[str, str | int] = {"token": "base", "commitment": "ab" * 48, "version": 7}
    venue.answer = OrderRefused("collateral: spent", "prove anew", "collateral-decreased", facts)
    body = is_problem(await client.post("/v1/orders", content=RAW, headers=BINARY), "collateral-decreased")
    assert {name: body[name] for name in facts} == facts


async def test_facts_never_hide_a_problems_own_members(client: httpx.AsyncClient, venue: StandIn) -> None:
    venue.answer = OrderRefused("a", "b", "nonce-used", {"status": 200, "type": "x", "detail": "y"})
    is_problem(await client.post("/v1/orders", content=RAW, headers=BINARY), "nonce-used")


async def test_our_own_failure_shows_an_id_and_nothing_else(
    client: httpx.AsyncClient, venue: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    venue.answer = DarkpoolError("seed abandon abandon")
    detail = is_problem(await client.post("/v1/orders", content=RAW, headers=BINARY), "internal")["detail"]
    assert "abandon" not in detail
    number = detail.rsplit(" ", 1)[1]
    assert any(number in record.getMessage() for record in caplog.records)
    venue.markets.clear()
    venue.status = None  # type: ignore[assignment,method-assign]  # a fault in our own code
    response = await client.get("/v1/log")
    assert "NoneType" not in response.text
    is_problem(response, "internal")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/markets", "/v1/markets/", "/v1/nothing", "/docs", "/redoc", "/v1/../etc/passwd"]
)
async def test_an_unknown_path_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
    is_problem(await client.get(path), "not-found")


@pytest.mark.parametrize(
    "method, path, allow",
    [
        ("DELETE", "/v1/markets", "GET, HEAD"),
        ("POST", "/v1/log", "GET, HEAD"),
        ("GET", "/v1/orders", "POST"),
        ("HEAD", "/v1/events", "GET, HEAD"),
        ("OPTIONS", "/v1/markets", "GET, HEAD"),
        ("PATCH", "/v1/orders", "POST"),
        ("TRACE", "/metrics", "GET, HEAD"),
    ],
)
async def test_a_method_that_is_not_taken_names_those_that_are(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    response = await client.request(method, path)
    assert response.headers["allow"] == allow
    if method == "HEAD":
        assert response.status_code == 405
    else:
        is_problem(response, "method-not-allowed")


async def test_head_answers_as_get_without_the_body(client: httpx.AsyncClient) -> None:
    for path in ("/v1/markets", "/v1/health", "/v1/nothing"):
        full, head = await client.get(path), await client.head(path)
        assert head.status_code == full.status_code
        assert head.headers["content-length"] == str(len(full.content))
        assert head.content == b""


@pytest.mark.parametrize(
    "path, parameter",
    [
        ("/v1/markets/0x03", "path.market"),
        ("/v1/markets/" + MARKET.hex(), "path.market"),
        ("/v1/markets/0x" + "AB" * 32, "path.market"),
        (f"/v1/rounds/{MARKET_TEXT}/-1", "path.number"),
        (f"/v1/rounds/{MARKET_TEXT}/+1", "path.number"),
        (f"/v1/rounds/{MARKET_TEXT}/1.0", "path.number"),
        (f"/v1/rounds/{MARKET_TEXT}/1_0", "path.number"),
        (f"/v1/rounds/{MARKET_TEXT}/٣", "path.number"),
        (f"/v1/rounds/{MARKET_TEXT}/{1 << 64}", "path.number"),
        (f"/v1/rounds/{MARKET_TEXT}/{'9' * 5000}", "path.number"),
        (f"/v1/rounds/{MARKET_TEXT}?limit=0", "query.limit"),
        (f"/v1/rounds/{MARKET_TEXT}?limit=501", "query.limit"),
        (f"/v1/rounds/{MARKET_TEXT}?limit=", "query.limit"),
        (f"/v1/rounds/{MARKET_TEXT}?before=x", "query.before"),
        (f"/v1/rounds/{MARKET_TEXT}/7/orders/0x", "path.order"),
        ("/v1/settlements?before=-1", "query.before"),
        ("/v1/settlements/0x1", "path.digest"),
        ("/v1/receipts/0x", "path.subject"),
        ("/v1/log/x/inclusion", "path.sequence"),
        ("/v1/log/0/inclusion?size=x", "query.size"),
    ],
)
async def test_a_malformed_parameter_is_named(client: httpx.AsyncClient, path: str, parameter: str) -> None:
    response = await client.get(path)
    assert is_problem(response, "bad-parameter")["parameter"] == parameter
    assert len(response.content) < 600


@pytest.mark.parametrize(
    "path, code",
    [
        ("/v1/markets/0x" + "04" * 32, "market-unknown"),
        ("/v1/rounds/0x" + "04" * 32, "market-unknown"),
        (f"/v1/rounds/{MARKET_TEXT}/1", "round-unknown"),
        (f"/v1/rounds/{MARKET_TEXT}/{(1 << 64) - 1}", "round-unknown"),
        (f"/v1/rounds/{MARKET_TEXT}/1/sealed", "round-unknown"),
        (f"/v1/rounds/{MARKET_TEXT}/1/orders/0x" + "01" * 32, "order-unknown"),
        ("/v1/settlements/0x" + "01" * 32, "settlement-unknown"),
        ("/v1/receipts/0x" + "01" * 32, "receipt-unknown"),
        ("/v1/log/0/inclusion", "entry-unknown"),
        ("/v1/log/0/inclusion?size=1", "entry-unknown"),
    ],
)
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, path: str, code: str) -> None:
    is_problem(await client.get(path), code)


async def test_unknown_query_parameters_are_ignored(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/markets?color=blue")).status_code == 200


async def test_a_client_that_asks_too_often_must_wait(tmp_path: Path) -> None:
    async with serving(stand_in(tmp_path, requests_per_second=1, request_burst=3)) as client:
        answers = await asyncio.gather(*(client.get("/v1/health") for _ in range(6)))
        assert sorted(a.status_code for a in answers) == [200] * 3 + [429] * 3
        is_problem(next(a for a in answers if a.status_code == 429), "rate-limited")


async def test_no_cross_origin_access_is_granted(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/markets", headers={"Origin": "https://elsewhere.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]

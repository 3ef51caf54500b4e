"""The gateway as a program sees it: plain JSON, a token, one order however often it is sent."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkpool.errors import ConfigError
from darkpool.gateway.guard import MAX_BODY, token_of
from darkpool.gateway.serve import listening
from tests.client.serving import served
from tests.gateway.conftest import TOKEN, Desk, Play, Stage

BUY = {"side": "buy", "quantity": "1", "price": "2000.00"}
SELL = {"side": "sell", "quantity": "0.4"}


async def post(desk: Desk, body: object, path: str = "/orders") -> Any:  # noqa: ANN401 - JSON
    answer = await desk.http.post(path, json=body)
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


async def fetched(desk: Desk, path: str) -> Any:  # noqa: ANN401 - JSON
    answer = await desk.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def is_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:darkpool:problem:{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["hint"]


def test_an_order_is_filled_renewed_and_replaced_under_one_id(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        v = stage.venue
        async with stage.desk("ann") as ann, stage.desk("bea") as bea:
            await v.deposit(ann.trader)
            await v.deposit(bea.trader)
            placed = await post(ann, {**BUY, "reference": "desk-7"})
            await post(bea, SELL)
            await ann.until("order", id=placed["id"], state="standing")
            await v.close_round()
            await v.open_round()
            fill = await ann.until("fill", id=placed["id"], state="settled")
            assert (fill["side"], fill["quantity"], fill["price"]) == ("buy", "0.4", "2000.00")
            renewed = await ann.until("order", id=placed["id"], remaining="0.6", state="standing")
            assert renewed["hash"] != placed["hash"]
            order = await fetched(ann, f"/orders/{placed['id']}")
            assert (order["quantity"], order["filled"], order["reference"]) == ("1", "0.4", "desk-7")
            assert await fetched(ann, "/orders?state=standing") == [order]
            assert await fetched(ann, "/orders?state=filled") == []
            assert (await fetched(ann, "/fills"))[0]["state"] == "settled"
            replaced = await post(ann, {**BUY, "quantity": "2"}, f"/orders/{placed['id']}/replace")
            assert replaced["id"] == placed["id"]
            balances = {b["token"]: b for b in await fetched(ann, "/balance")}
            assert (balances["WETH"]["balance"], balances["USDC"]["free"]) == ("100.4", "995200")
            gone = (await ann.http.delete(f"/orders/{placed['id']}")).json()
            assert gone["sequence"] > replaced["sequence"]
            (market,) = await fetched(ann, "/markets")
            assert (market["name"], market["lot"], market["round_state"]) == ("WETH-USDC", "0.01", "open")

    play(scenario)


def test_a_reference_is_placed_once_also_when_sent_at_the_same_moment(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.desk("cat") as cat:
            await stage.venue.deposit(cat.trader)
            body = {**BUY, "reference": "once"}
            answers = await asyncio.gather(*(post(cat, body) for _ in range(5)))
            assert all(answer == answers[0] for answer in answers)
            is_problem(await cat.http.post("/orders", json={**body, "quantity": "2"}), 409, "reference-used")
        async with stage.desk("cat") as cat:
            assert await post(cat, body) == answers[0]
            assert len(await fetched(cat, "/orders")) == 1

    play(scenario)


def test_everything_is_cancelled_at_a_word(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.desk("dee") as dee:
            await stage.venue.deposit(dee.trader)
            for _ in range(3):
                await post(dee, BUY)
            (entry,) = (await dee.http.delete("/orders")).json()["sequences"]
            assert entry > 0
            assert {o["state"] for o in await fetched(dee, "/orders")} == {"cancelled"}
            assert (await dee.http.delete("/orders?market=WETH-USDC")).json() == {"sequences": []}

    play(scenario)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"bearer {TOKEN}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN[:-1]}",
    ],
)
def test_without_the_token_nothing_is_answered(play: Play, authorization: str | None) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.desk("eva") as eva:
            headers = {} if authorization is None else {"Authorization": authorization}
            transport = httpx.ASGITransport(eva.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as stranger:
                for method, path in (
                    ("GET", "/orders"),
                    ("POST", "/orders"),
                    ("DELETE", "/orders"),
                    ("GET", "/events"),
                    ("GET", "/openapi.json"),
                    ("GET", "/none"),
                ):
                    answer = await stranger.request(method, path, headers=headers, content=b"x" * 10**6)
                    is_problem(answer, 401, "bad-token")
                    assert answer.headers["www-authenticate"] == "Bearer"

    play(scenario)


@pytest.mark.parametrize(
    "body,code",
    [
        (b"", "bad-parameter"),
        (b"{", "bad-parameter"),
        (b"[]", "bad-parameter"),
        ({}, "bad-parameter"),
        ({**BUY, "more": 1}, "bad-parameter"),
        ({**BUY, "quantity": 1}, "bad-parameter"),
        ({**BUY, "quantity": "1" * 41}, "bad-parameter"),
        ({**BUY, "price": 2000}, "bad-parameter"),
        ({**BUY, "valid_until": "5"}, "bad-parameter"),
        ({**BUY, "valid_until": 1 << 64}, "bad-parameter"),
        ({**BUY, "market": "NONE"}, "bad-parameter"),
        ({**BUY, "side": "short"}, "bad-order"),
        ({**BUY, "time_in_force": "ever"}, "bad-order"),
        ({**BUY, "quantity": "-1"}, "bad-order"),
        ({**BUY, "quantity": "1.001"}, "bad-order"),
        ({**BUY, "quantity": "NaN"}, "bad-order"),
        ({**BUY, "price": "2000.01"}, "bad-order"),
        ({**BUY, "price": "1e3"}, "bad-order"),
        ({**BUY, "valid_until": 5}, "order-times"),
        ({**BUY, "time_in_force": "gtt"}, "order-times"),
        ({**BUY, "reference": "x" * 44}, "bad-reference"),
    ],
)
def test_an_order_that_cannot_be_is_refused_by_the_field(play: Play, body: object, code: str) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.desk("flo") as flo:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = {"Content-Type": "application/json"}
            is_problem(await flo.http.post("/orders", content=content, headers=headers), 400, code)

    play(scenario)


def test_other_refusals_have_their_status(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.desk("gus") as gus:
            is_problem(await gus.http.post("/orders", json=BUY), 403, "account-unknown")
            await stage.venue.deposit(gus.trader)
            short = {**BUY, "quantity": "100000"}
            is_problem(await gus.http.post("/orders", json=short), 409, "collateral-short")
            is_problem(await gus.http.get("/orders/7"), 404, "order-unknown")
            is_problem(await gus.http.delete("/orders/7"), 404, "order-unknown")
            is_problem(await gus.http.get("/orders/x"), 400, "bad-parameter")
            is_problem(await gus.http.get("/none"), 404, "not-found")
            is_problem(await gus.http.put("/orders"), 405, "method-not-allowed")
            big = await gus.http.post("/orders", content=b"x" * (MAX_BODY + 1))
            is_problem(big, 413, "body-too-large")
            placed = await post(gus, BUY)
            await gus.http.delete(f"/orders/{placed['id']}")
            again = await gus.http.delete(f"/orders/{placed['id']}")
            is_problem(again, 409, "order-not-standing")
            await stage.venue.venue.halt("lunch")
            try:
                is_problem(await gus.http.post("/orders", json=BUY), 503, "venue-halted")
            finally:
                await stage.venue.venue.resume()

    play(scenario)


def test_a_venue_that_is_away_is_503_and_the_order_is_not_lost(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.desk("hal") as hal:
            await stage.venue.deposit(hal.trader)
            hal.trader._trading.api._patience = 0.1
            await hal.trader._shell.http.aclose()
            hal.trader._shell.http = httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False)  # type: ignore[misc]
            is_problem(await hal.http.post("/orders", json=BUY), 503, "venue-away")

    play(scenario)


def test_events_stream_over_a_socket(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.desk("ivy") as ivy, served(ivy.app) as url:
            await stage.venue.deposit(ivy.trader)
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with (
                httpx.AsyncClient(headers=headers, trust_env=False, timeout=20) as client,
                client.stream("GET", f"{url}/events") as response,
            ):
                assert response.headers["content-type"].startswith("text/event-stream")
                placed = await post(ivy, BUY)
                lines = response.aiter_lines()
                async for line in lines:
                    if line.startswith("data: "):
                        assert json.loads(line.removeprefix("data: "))["id"] == placed["id"]
                        break

    play(scenario)


# --- token and address ----------------------------------------------------------------------------------


def test_the_token_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.token"
    token = token_of(path)
    assert len(token) == 64
    assert token_of(path) == token
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read it"):
        token_of(path)
    path.chmod(0o600)
    for text in ("", "short\n", "x" * 300):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"gateway\.token"):
            token_of(path)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "no host", ""])  # noqa: S104
def test_an_address_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(ConfigError):
        listening(host, 0, allow_remote=False).close()


def test_loopback_is_taken_and_a_port_once() -> None:
    with listening("localhost", 0, allow_remote=False) as first:
        first.listen()
        with pytest.raises(ConfigError, match="already in use"):
            listening("127.0.0.1", first.getsockname()[1], allow_remote=False).close()
    listening("0.0.0.0", 0, allow_remote=True).close()  # noqa: S104

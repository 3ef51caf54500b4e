"""Queries over HTTP: answered with where to look, refused by name, on record, and seen by their account."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from compliance.disclosure_answer import Answer
from compliance.grant_revocations import Revocation
from darkpool.eip712 import address_of
from darkpool.jsonfields import hex_text
from darkpool.market import RoundState
from darkpool.message import Message
from darkpool.store.records import OrderRow, OrderState, RoundRow
from darkpool.store.venue_store import Changes
from darkpool.types import PrivateKey, address_hex
from tests.api.http import is_problem
from tests.api.stand_in import ADA, BEN, MARKET, OPERATOR, StandIn, stand_in, terms
from tests.compliance.disclosure_venue import (
    ACCOUNT,
    AUDITOR,
    EVE,
    GRANT_TYPE,
    NOW,
    TODAY,
    Venue,
    a_grant,
    anyio_backend,
    app,
    venue,
)

__all__ = ["anyio_backend", "app", "venue"]  # fixtures


pytestmark = pytest.mark.anyio


def filled(venue: StandIn) -> list[OrderRow]:
    """Rounds yesterday, twice today and just after; orders of ada before, in and after today, one of ben."""
    for number in range(30):
        venue.log(Message("x", {"number": number}).encode())
    start = TODAY * 86_400
    times = {
        1: start - 90_000,
        2: start - 600,
        3: start + 60,
        4: start + 900,
        5: start + 86_400 + 61,
        6: start + 90_000,
    }
    rounds = [
        RoundRow(
            MARKET,
            n,
            RoundState.NO_CROSS,
            4,
            "2000",
            "x",
            at,
            5 * n - 5,
            b"\x01" * 32,
            at,
            1,
            1,
            b"\x02" * 32,
            b"\x03" * 32,
            settlement=b"\x44" * 32 if n == 3 else None,
        )
        for n, at in times.items()
    ]
    rounds.append(RoundRow(MARKET, 7, RoundState.OPEN, 4, "2000", "x", start + 90_500, 29, b"\x01" * 32))

    def order(number: int, at: int, ended: int | None, account: bytes = ACCOUNT) -> OrderRow:
        state = OrderState.STANDING if ended is None else OrderState.CONSUMED
        row = OrderRow(number.to_bytes(32), number, MARKET, account, number, 1, 2, 0, at, state)
        return replace(row, ended_sequence=ended, ended_round=None if ended is None else 1)

    rows = [
        order(1, start - 95_000, 3),  # ended before the lists that the day is seen from
        order(2, start - 95_000, 17),  # stood into the day
        order(3, start + 70, 18),
        order(4, start + 80, None),
        order(5, start + 86_400 + 300, None),  # of the next day
        order(6, start + 70, 18, address_of(BEN)),
    ]
    venue.store.project(30, Changes(orders=rows, rounds=rounds))
    return rows


# --- queries ------------------------------------------------------------------------------------------


async def test_a_query_is_answered_with_where_to_look_and_a_receipt(venue: Venue) -> None:
    rows = filled(venue.inner)
    await venue.post(a_grant())
    found = await venue.ask(EVE)
    assert found.status_code == 200, found.text
    answer = Answer.from_json(found.json())
    answer.receipt.check(
        terms().domain, address_of(OPERATOR), AUDITOR.account, answer.query.hash, answer.hash
    )
    assert [r.round for r in answer.rounds] == [2, 3, 4, 5]
    assert [r.settlement for r in answer.rounds] == [b"", b"\x44" * 32, b"", b""]
    assert [o.hash for o in answer.orders] == [rows[1].hash, rows[2].hash, rows[3].hash]
    assert answer.grant is not None
    assert answer.revocations == ()
    (row,) = await venue.accesses()
    assert (row["outcome"], row["auditor"]) == ("answered", address_hex(AUDITOR.account))
    assert (row["grant"], row["first_day"], row["last_day"]) == (hex_text(b"\x31" * 32), TODAY, TODAY)
    kind, actor, body, _ = venue.records.kept[-1]
    assert (kind, actor, body["outcome"]) == ("query", address_hex(AUDITOR.account), "answered")
    assert body["number"] == answer.receipt.number == row["number"]


async def test_the_days_before_the_first_round_are_seen_from_it(venue: Venue) -> None:
    filled(venue.inner)
    await venue.post(made := a_grant(first_day=TODAY - 3, id=b"\x33" * 32))
    answer = Answer.from_json(
        (await venue.ask(EVE, grant=hex_text(made.header.id), first_day=TODAY - 3)).json()
    )
    assert [r.round for r in answer.rounds] == [1, 2, 3, 4, 5]
    assert len(answer.orders) == 4


QUERIES: dict[str, tuple[PrivateKey, dict[str, Any], str]] = {
    "another auditor": (BEN, {}, "other-auditor"),
    "the account itself": (ADA, {}, "other-auditor"),
    "days before": (EVE, {"first_day": TODAY - 2}, "outside-its-days"),
    "days after": (EVE, {"last_day": TODAY + 1}, "outside-its-days"),
    "another market": (EVE, {"market": "0x" + "04" * 32}, "other-market"),
}


async def test_a_query_out_of_scope_is_refused_by_name_and_on_record(venue: Venue) -> None:
    await venue.post(a_grant())
    for key, changes, check in QUERIES.values():
        assert is_problem(await venue.ask(key, **changes), "query-refused")["check"] == check
        row = (await venue.accesses())[-1]
        assert (row["outcome"], row["auditor"]) == (check, address_hex(address_of(key)))
        assert venue.records.kept[-1][2]["outcome"] == check
    assert len(await venue.accesses()) == len(QUERIES)


async def test_a_revoked_or_expired_grant_is_refused_from_then_on(venue: Venue) -> None:
    made = a_grant()
    await venue.post(made)
    await venue.revoke(Revocation.issue(made.header, NOW + 5, ADA))
    assert (await venue.ask(EVE)).status_code == 200
    venue.now += 5
    assert is_problem(await venue.ask(EVE), "query-refused")["check"] == "revoked"
    yesterday = await venue.ask(EVE, first_day=TODAY - 1, last_day=TODAY - 1)
    assert Answer.from_json(yesterday.json()).revocations[0].at == NOW + 5
    venue.now = NOW + 10_000
    assert is_problem(await venue.ask(EVE), "query-refused")["check"] == "expired"
    outcomes = [row["outcome"] for row in await venue.accesses()]
    assert outcomes == ["answered", "revoked", "answered", "expired"]


async def test_an_unknown_grant_is_refused_and_is_about_nobody(venue: Venue) -> None:
    is_problem(await venue.ask(EVE), "grant-unknown")
    assert venue.records.kept == []


MALFORMED: list[dict[str, Any]] = [
    {"basis": "right"},
    {"basis": None},
    {"grant": "0x31"},
    {"grant": None},
    {"market": 3},
    {"first_day": -1},
    {"first_day": TODAY + 1},
    {"last_day": 1 << 32},
    {"last_day": "2026-11-01"},
    {"first_day": 1.5},
    {"first_day": True},
    {"extra": 1},
    {"account": address_hex(ACCOUNT)},
]


async def test_a_malformed_query_is_refused(venue: Venue) -> None:
    await venue.post(a_grant())
    for changes in MALFORMED:
        is_problem(await venue.ask(EVE, **changes), "body-malformed")
    assert await venue.accesses() == []


async def test_a_query_must_be_signed_and_json(venue: Venue) -> None:
    is_problem(await venue.client.post("/v1/audit/queries", json={}), "bad-authorization")
    is_problem(await venue.ask_raw(EVE, b"not json"), "body-malformed")
    is_problem(await venue.ask_raw(EVE, b"[" * 5_000), "body-malformed")


def by_policy(**changes: Any) -> bytes:  # noqa: ANN401 - of the body
    body = {
        "basis": "policy",
        "auditor": "examiner",
        "legal_reference": "file 17/2026",
        "account": address_hex(ACCOUNT),
        "market": hex_text(MARKET),
        "first_day": TODAY,
        "last_day": TODAY,
    }
    return json.dumps({**body, **changes}).encode()


async def test_a_query_by_policy_is_seen_by_its_account_only_later(venue: Venue) -> None:
    filled(venue.inner)
    found = await venue.ask_raw(EVE, by_policy())
    answer = Answer.from_json(found.json())
    assert (answer.grant, len(answer.orders), len(answer.rounds)) == (None, 3, 4)
    assert await venue.accesses() == []
    venue.now += 3_599
    assert await venue.accesses() == []
    venue.now += 1
    (row,) = await venue.accesses()
    assert (row["basis"], row["authority"], row["legal_reference"]) == ("policy", "examiner", "file 17/2026")
    kind, actor, _, visible_at = venue.records.kept[-1]
    assert (kind, actor, visible_at) == ("query", "examiner", NOW + 3_600)


async def test_a_query_by_policy_needs_the_auditor_the_policy_names(venue: Venue) -> None:
    for key, changes in ((BEN, {}), (EVE, {"auditor": "somebody"}), (ADA, {})):
        body = is_problem(await venue.ask_raw(key, by_policy(**changes)), "query-refused")
        assert body["check"] == "auditor-not-named"
    for changes in (
        {"legal_reference": ""},
        {"legal_reference": "x" * 257},
        {"legal_reference": "two\nlines"},
        {"auditor": ""},
        {"auditor": "x" * 65},
        {"account": "0x12"},
    ):
        is_problem(await venue.ask_raw(EVE, by_policy(**changes)), "body-malformed")
    assert venue.records.kept == []


async def test_too_many_rounds_are_refused_by_name(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(venue.inner)
    await venue.post(a_grant())
    monkeypatch.setattr("compliance.disclosure.MAX_ROUNDS", 3)
    assert is_problem(await venue.ask(EVE), "query-refused")["check"] == "outside-its-days"
    assert [row["outcome"] for row in await venue.accesses()] == ["outside-its-days"]


async def test_the_abandonment_of_a_round_is_found_in_the_log(venue: Venue) -> None:
    start = TODAY * 86_400
    entries = [Message("x", {}), Message("seal", {}), Message("order", {}, [b"raw"])]
    entries += [Message("abort", {"market": "04" * 32}, [b"other"]), Message("order", {}, [b"raw"])]
    entries += [Message("abort", {"market": MARKET.hex()}, [b"\x01" * 65, b"\x02" * 65])]
    for entry in entries:
        venue.inner.log(entry.encode())
    row = RoundRow(
        MARKET,
        1,
        RoundState.ABORTED,
        4,
        "2000",
        "x",
        start,
        0,
        b"\x01" * 32,
        start,
        1,
        1,
        b"\x02" * 32,
        b"\x03" * 32,
    )
    venue.inner.store.project(6, Changes(rounds=[replace(row, seal_sequence=1)]))
    await venue.post(a_grant())
    answer = Answer.from_json((await venue.ask(EVE)).json())
    assert answer.rounds[0].abandoned == (b"\x01" * 65, b"\x02" * 65)


async def test_a_venue_without_disclosure_says_so(tmp_path: Path) -> None:
    inner = stand_in(tmp_path)
    transport = httpx.ASGITransport(create_app(inner))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://venue") as client:
        found = await client.post(
            "/v1/grants", content=a_grant().encode(), headers={"Content-Type": GRANT_TYPE}
        )
        is_problem(found, "disclosure-away")
    inner.store.database.close()

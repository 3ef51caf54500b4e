"""A venue behind its API that takes grants and queries, at a time of its own; ada's grant to eve."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from compliance.auditor import Auditor, box_key
from compliance.disclosure import Disclosure, NamedAuditor
from compliance.grant_revocations import Revocation
from compliance.grants import Grant, Header
from darkpool.eip712 import address_of
from darkpool.jsonfields import hex_text
from darkpool.types import PrivateKey, address_hex
from tests.api.http import signed
from tests.api.stand_in import ADA, MARKET, OPERATOR, StandIn, stand_in, terms
from tests.compliance.disclosing import Records

ACCOUNT = address_of(ADA)
EVE = PrivateKey(b"\x13" * 32)
BOX = box_key(b"\x07" * 32)
AUDITOR = Auditor(address_of(EVE), BOX.public)
SEED = b"\x21" * 32
NOW = 1_800_000_000
TODAY = NOW // 86_400
OWN = f"/v1/accounts/{address_hex(ACCOUNT)}"
GRANT_TYPE = "application/vnd.darkpool.grant"
REVOCATION_TYPE = "application/vnd.darkpool.grant-revocation"


@dataclass
class Venue:
    """A venue that records what it is told to, at a time of its own."""

    inner: StandIn
    records: Records
    service: Disclosure
    client: httpx.AsyncClient
    now: int = NOW

    async def post(self, grant: Grant) -> httpx.Response:
        return await self.client.post(
            "/v1/grants", content=grant.encode(), headers={"Content-Type": GRANT_TYPE}
        )

    async def revoke(self, revocation: Revocation, grant: bytes | None = None) -> httpx.Response:
        path = f"/v1/grants/{hex_text(grant or revocation.grant)}/revocation"
        return await self.client.post(
            path, content=revocation.encode(), headers={"Content-Type": REVOCATION_TYPE}
        )

    async def ask(self, key: PrivateKey, **changes: Any) -> httpx.Response:  # noqa: ANN401 - of the body
        body: dict[str, Any] = {
            "basis": "grant",
            "grant": hex_text(a_grant().header.id),
            "market": hex_text(MARKET),
        }
        body |= {"first_day": TODAY, "last_day": TODAY, **changes}
        return await self.ask_raw(key, json.dumps(body).encode())

    async def ask_raw(self, key: PrivateKey, body: bytes) -> httpx.Response:
        return await signed(
            self.client, key, "POST", "/v1/audit/queries", body, **{"Content-Type": "application/json"}
        )

    async def accesses(self, key: PrivateKey = ADA) -> list[dict[str, Any]]:
        found = await signed(self.client, key, "GET", f"{OWN}/disclosures")
        assert found.status_code == 200, found.text
        items: list[dict[str, Any]] = found.json()["items"]
        return items


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """Made once: every test gives it a venue of its own."""
    inner = stand_in(tmp_path_factory.mktemp("app"))
    yield create_app(inner)  # type: ignore[arg-type]
    inner.store.database.close()


@pytest.fixture
async def venue(app: FastAPI, tmp_path: Path) -> AsyncIterator[Venue]:
    inner, records = stand_in(tmp_path), Records()
    named = {"examiner": NamedAuditor(AUDITOR.account, 3_600)}
    made: list[Venue] = []
    service = Disclosure(inner, OPERATOR, records, named, lambda: made[0].now)  # type: ignore[arg-type]
    app.state.venue, app.state.disclosure = inner, service
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://venue") as client:
        made.append(Venue(inner, records, service, client))
        yield made[0]
    inner.store.database.close()


def a_header(**changes: Any) -> Header:  # noqa: ANN401 - fields of a header
    fields: dict[str, Any] = {
        "domain": terms().domain,
        "account": ACCOUNT,
        "market": MARKET,
        "first_day": TODAY - 1,
        "last_day": TODAY,
        "auditor": AUDITOR,
        "purpose": "annual audit",
        "issued_at": NOW - 5,
        "expires": NOW + 10_000,
        "position": 0,
        "id": b"\x31" * 32,
    }
    return Header(**{**fields, **changes})


def a_grant(key: PrivateKey = ADA, **changes: Any) -> Grant:  # noqa: ANN401 - fields of a header
    return Grant.issue(a_header(account=address_of(key), **changes), SEED, key)

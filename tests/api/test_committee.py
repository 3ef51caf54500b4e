"""The operator's routes for a change of committee: what they take, and what they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from darkpool.eip712 import address_of
from darkpool.errors import DarkpoolError, OrderRefused, PeerFault, Unavailable
from darkpool.tenure import Tenure, read_tenures
from darkpool.tenure_file import Planned
from darkpool.types import Address, address_hex
from tests.api.http import is_problem, signed
from tests.api.stand_in import ADA, MARKET, OPERATOR, StandIn, terms

pytestmark = pytest.mark.anyio

PROPOSE, CHANGE = "/v1/operator/committee/propose", "/v1/operator/committee"
GUARDIAN = Address(b"\x77" * 20)
JSON = {"Content-Type": "application/json"}


def body(
    venue: StandIn, guardian: Address | None = None, changes: Mapping[str, object] = MappingProxyType({})
) -> bytes:
    now = venue.tenures.current
    text = Planned(Tenure(now.signers, now.key, 1), guardian).encode()
    return json.dumps({**json.loads(text), **changes}).encode()


async def test_a_market_shows_the_committee_and_those_before_it(
    client: httpx.AsyncClient, venue: StandIn
) -> None:
    (item,) = (await client.get("/v1/markets")).json()
    assert item["key_epoch"] == 0
    found = (await client.get(f"/v1/markets/0x{MARKET.hex()}")).json()["committee"]
    history = tuple(bytes.fromhex(entry[2:]) for entry in found["history"])
    assert read_tenures(history, terms().domain, terms().venue) == venue.tenures
    assert found["key_epoch"] == 0


@pytest.mark.parametrize("guardian", [None, GUARDIAN])
async def test_a_proposal_comes_signed(
    client: httpx.AsyncClient, venue: StandIn, guardian: Address | None
) -> None:
    sent = body(venue, guardian)
    found = (await signed(client, OPERATOR, "POST", PROPOSE, sent, **JSON)).json()
    addresses = sorted(venue.tenures.current.signers.addresses.values())
    assert found == {
        "epoch": 2,
        "members": [address_hex(a) for a in addresses],
        "threshold": 1,
        "guardian": address_hex(guardian or address_of(OPERATOR)),
        "signatures": ["0x" + "01" * 65] * 3,
    }


async def test_a_change_is_answered_with_its_entry(client: httpx.AsyncClient, venue: StandIn) -> None:
    size = venue.tree.size
    found = (await signed(client, OPERATOR, "POST", CHANGE, body(venue), **JSON)).json()
    assert found == {"key_epoch": 1, "sequence": size, "released": 0}


@pytest.mark.parametrize("path", [PROPOSE, CHANGE])
@pytest.mark.parametrize(
    "error, code",
    [
        (OrderRefused("key_epoch: 1 where 2 is next", "sign it anew"), "refused"),
        (OrderRefused("round 5 is still sealed", "wait", "round-sealed"), "round-sealed"),
        (Unavailable("2/3 members signed", "committee"), "committee-away"),
        (PeerFault("no reply", peer="member 2"), "committee-away"),
    ],
)
async def test_what_stands_against_it_is_said(
    client: httpx.AsyncClient,
    venue: StandIn,
    path: str,
    error: DarkpoolError,
    code: str,
) -> None:
    venue.answer = error
    is_problem(await signed(client, OPERATOR, "POST", path, body(venue), **JSON), code)


@pytest.mark.parametrize("path", [PROPOSE, CHANGE])
async def test_only_the_operator_may(client: httpx.AsyncClient, venue: StandIn, path: str) -> None:
    is_problem(await signed(client, ADA, "POST", path, body(venue), **JSON), "not-the-operator")
    is_problem(await client.post(path, content=body(venue), headers=JSON), "bad-authorization")
    is_problem(await signed(client, OPERATOR, "POST", path, body(venue)), "content-type")
    large = body(venue, changes={"more": "0" * (1 << 20)})
    is_problem(await signed(client, OPERATOR, "POST", path, large, **JSON), "body-too-large")


@pytest.mark.parametrize("path", [PROPOSE, CHANGE])
@pytest.mark.parametrize(
    "changes",
    [
        {"members": {}},
        {"members": {"1": "0x12"}},
        {"members": [1]},
        {"threshold": 0},
        {"modulus": "f"},
        {"modulus": 5},
        {"key_epoch": "1"},
        {"guardian": "0x"},
        {"guardian": 7},
        {"more": 1},
    ],
)
async def test_other_bodies_are_refused(
    client: httpx.AsyncClient, venue: StandIn, path: str, changes: dict[str, Any]
) -> None:
    sent = body(venue, changes=changes)
    is_problem(await signed(client, OPERATOR, "POST", path, sent, **JSON), "body-malformed")
    assert not venue.tree.size

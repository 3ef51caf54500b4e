"""The routes of the compliance desk: policies, access, credentials, lists, blocks; each bad input by name."""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from darkpool.eip712 import address_of
from darkpool.request import sign_request
from darkpool.types import PrivateKey, address_hex
from tests.api.http import is_problem
from tests.client.plain_venue import OPERATOR
from tests.compliance.conftest import Desk, desk, desk_stage
from tests.compliance.desk_support import DeskVenue, encoded
from tests.compliance.policy_support import toml

__all__ = ["desk", "desk_stage"]
ADA = PrivateKey(b"\x21" * 32)
ACCOUNT = address_hex(address_of(ADA))


class Caller:
    """Asks the venue's API, signed by some key or none."""

    def __init__(self, v: DeskVenue, http: httpx.AsyncClient) -> None:
        self._v, self._http = v, http

    async def __call__(
        self, method: str, path: str, body: object = None, key: PrivateKey | None = None
    ) -> httpx.Response:
        import time

        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        if key is not None:
            headers["Authorization"] = sign_request(
                key, self._v.domain, method, path, data, int(time.time()) + 30
            )
        return await self._http.request(method, path, content=data, headers=headers)


@asynccontextmanager
async def asking(v: DeskVenue) -> AsyncIterator[Caller]:
    async with httpx.AsyncClient(transport=v.plain.transport, base_url="http://venue") as http:
        yield Caller(v, http)


def files(value: Any, **more: bytes) -> dict[str, Any]:  # noqa: ANN401
    found = {"policy.toml": toml(value), **{k.replace("__", "/") + ".txt": d for k, d in more.items()}}
    return {"files": {name: b2a_base64(data, newline=False).decode() for name, data in found.items()}}


def test_a_policy_is_applied_by_the_operator_and_read_by_everybody(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        async with asking(v) as ask:
            value = v.document(
                auditor=[v.auditor("sec")],
                disclosure=[
                    {
                        "id": "r",
                        "reason": "R.",
                        "auditors": ["sec"],
                        "visible_after_hours": 1,
                        "jurisdictions": ["US"],
                    }
                ],
            )
            path = "/v1/operator/policies"
            is_problem(await ask("POST", path, files(value)), "bad-authorization")
            is_problem(await ask("POST", path, files(value), ADA), "not-the-operator")
            done = (await ask("POST", path, files(value), OPERATOR)).json()
            assert done["policy"]["hash"] == "0x" + v.policy(value).hash.hex()
            current = (await ask("GET", "/v1/policies/current")).json()
            assert current == done["policy"]
            assert current["auditors"][0]["name"] == "sec"
            detail = (await ask("GET", f"/v1/policies/{current['hash']}")).json()
            assert detail["files"] == files(value)["files"]
            is_problem(await ask("GET", "/v1/policies/0x" + "11" * 32), "policy-unknown")
            is_problem(await ask("GET", "/v1/policies/12"), "bad-parameter")

    desk(scenario)


def test_each_bad_policy_is_refused_with_file_and_line(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        async with asking(v) as ask:
            path = "/v1/operator/policies"
            listed = v.document(
                list=[{"name": "bad", "kind": "addresses", "title": "Bad"}],
                forbid=[{"id": "f", "reason": "R.", "list": "bad"}],
            )
            broken = v.document()
            broken["policy"]["version"] = 0
            for body, file, line in (
                (files(listed, lists__bad=b"# one\n0x12\n"), "lists/bad.txt", 2),
                (files(broken), "policy.toml", 3),
                (files(v.document(), stray=b""), "stray.txt", None),
                (files(listed), "lists/bad.txt", None),
            ):
                found = is_problem(await ask("POST", path, body, OPERATOR), "policy-invalid")
                assert (found["file"], found.get("line")) == (file, line)
                assert file in found["detail"]
            for body in (
                {},
                {"files": []},
                {"files": {}},
                {"files": {"policy.toml": "§"}},
                {"files": 1, "x": 1},
            ):
                is_problem(await ask("POST", path, body, OPERATOR), "body-malformed")
            is_problem(await ask("POST", path, b" " * (3 << 20), OPERATOR), "body-too-large")
            many = {"files": {f"r{i}.cedar": "" for i in range(200)}}
            is_problem(await ask("POST", path, many, OPERATOR), "body-malformed")
            assert v.office.facts.hash == v.policy(v.document()).hash

    desk(scenario)


def test_access_and_credentials_are_an_accounts_own(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with asking(v) as ask:
            path = f"/v1/accounts/{ACCOUNT}"
            is_problem(await ask("GET", f"{path}/access"), "bad-authorization")
            is_problem(await ask("GET", f"{path}/access", None, OPERATOR), "not-the-account")
            (market,) = (await ask("GET", f"{path}/access", None, ADA)).json()
            assert market["reasons"] == [
                {
                    "rule": "credential-missing",
                    "sentence": "The policy demands a credential, and none was presented.",
                }
            ]
            assert (market["market_id"], market["segment"], market["allowed"]) == (None, None, False)
            credential = encoded(v.credential(address_of(ADA)))
            is_problem(await ask("PUT", f"{path}/credential", credential, OPERATOR), "not-the-account")
            is_problem(await ask("PUT", f"{path}/credential", b"{}", ADA), "credential-malformed")
            foreign = v.credential(address_of(OPERATOR))
            is_problem(await ask("PUT", f"{path}/credential", encoded(foreign), ADA), "credential-subject")
            done = await ask("PUT", f"{path}/credential", credential, ADA)
            assert done.json()["jurisdiction"] == "US"
            (market,) = (await ask("GET", f"{path}/access", None, ADA)).json()
            assert (market["allowed"], market["segment"], market["auditor_keys"]) == (True, "all", [])
            assert market["market_id"] == "0x" + "03" * 32
            assert market["policy_hash"] == "0x" + v.office.facts.hash.hex()

    desk(scenario)


def test_revocation_lists_come_from_registered_issuers_only(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        async with asking(v) as ask:
            path, number = "/v1/revocation-lists", await v.publish()
            stranger = encoded(v.revocations(1, key=PrivateKey(b"\x77" * 32)))
            is_problem(await ask("POST", path, stranger), "issuer-unknown")
            for spoilt in (
                encoded(v.revocations(number - 1)),
                encoded(v.revocations(number, [5])),
                encoded(v.revocations(number + 1, age=-3600)),
                json.dumps({**v.revocations(number + 1).as_json(), "sequence": number + 2}).encode(),
                b"{}",
            ):
                is_problem(await ask("POST", path, spoilt), "refused")
            assert v.office.facts.sequences[address_of_issuer(v)] == number
            done = await ask("POST", path, encoded(v.revocations(number + 1, [9])))
            assert done.json()["sequence"] == number + 1
            same = await ask("POST", path, done.request.content)
            assert same.json() == done.json()

    desk(scenario)


def address_of_issuer(v: DeskVenue) -> Any:  # noqa: ANN401
    return v.revocations().issuer


def test_blocks_are_the_operators(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        async with asking(v) as ask:
            body = {"kind": "account", "subject": ACCOUNT.lower(), "reason": "because"}
            is_problem(await ask("POST", "/v1/operator/block", body, ADA), "not-the-operator")
            assert (await ask("POST", "/v1/operator/block", body, OPERATOR)).json() == {"released": 0}
            (found,) = (await ask("GET", "/v1/operator/blocks", None, OPERATOR)).json()
            assert (found["subject"], found["reason"]) == (ACCOUNT, "because")
            assert found["actor"] == address_hex(address_of(OPERATOR))
            for spoilt, code in (
                ({**body, "kind": "venue"}, "bad-block"),
                ({**body, "subject": "0x1"}, "bad-block"),
                ({**body, "reason": ""}, "body-malformed"),
                ({**body, "reason": "x" * 201}, "body-malformed"),
                ({**body, "reason": "a\nb"}, "body-malformed"),
                ({**body, "more": 1}, "body-malformed"),
                ({"kind": "account"}, "body-malformed"),
            ):
                is_problem(await ask("POST", "/v1/operator/block", spoilt, OPERATOR), code)
            assert (await ask("POST", "/v1/operator/unblock", body, OPERATOR)).json() == []
            is_problem(await ask("POST", "/v1/operator/unblock", body, OPERATOR), "block-unknown")
            cancel = "/v1/operator/markets/WETH-USDC/mass-cancel"
            assert (await ask("POST", cancel, {"reason": "x"}, OPERATOR)).json() == {"released": 0}
            other = "/v1/operator/markets/WBTC-USDC/mass-cancel"
            is_problem(await ask("POST", other, {"reason": "x"}, OPERATOR), "market-unknown")

    desk(scenario)


def test_what_the_operator_does_by_hand_is_on_record(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        async with asking(v) as ask:
            await ask("POST", "/v1/operator/halt", {"reason": "maintenance"}, OPERATOR)
            await ask("POST", "/v1/operator/resume", None, OPERATOR)
            await ask("POST", "/v1/operator/settle", None, OPERATOR)
            done = [each.record for each in v.records()[-3:]]
            assert [r.subject for r in done] == ["halt", "resume", "settle"]
            assert done[0].body == {"reason": "maintenance"}
            assert {r.actor for r in done} == {address_hex(address_of(OPERATOR))}

    desk(scenario)


@pytest.mark.parametrize("path", ["/v1/policies/current", "/v1/policies/0x" + "11" * 32])
def test_a_venue_without_a_desk_says_so(desk: Desk, path: str) -> None:
    async def scenario(v: DeskVenue) -> None:
        from api.app import create_app

        transport = httpx.ASGITransport(create_app(v.plain.venue))
        async with httpx.AsyncClient(transport=transport, base_url="http://venue") as http:
            is_problem(await http.get(path), "compliance-away")

    desk(scenario)

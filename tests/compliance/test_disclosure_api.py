"""Grants, revocations, queries and accesses over HTTP: what a venue keeps, refuses, records and answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from compliance.disclosure import MAX_LIVE_GRANTS
from compliance.grant_revocations import Revocation
from compliance.grants import Grant, Header
from darkpool.eip712 import Domain, address_of
from darkpool.jsonfields import hex_text
from darkpool.types import address_hex
from tests.api.http import is_problem, signed
from tests.api.stand_in import ADA, BEN, terms
from tests.compliance.disclosure_venue import (
    ACCOUNT,
    AUDITOR,
    EVE,
    GRANT_TYPE,
    NOW,
    OWN,
    TODAY,
    Venue,
    a_grant,
    a_header,
    anyio_backend,
    app,
    venue,
)

__all__ = ["anyio_backend", "app", "venue"]  # fixtures


pytestmark = pytest.mark.anyio


# --- grants -------------------------------------------------------------------------------------------


async def test_a_grant_is_kept_once_and_recorded_before_it_is_acknowledged(venue: Venue) -> None:
    first, again = await venue.post(a_grant()), await venue.post(venue_grant := a_grant())
    assert (first.status_code, first.json()["created"]) == (201, True)
    assert venue_grant.header.id == a_grant().header.id
    is_problem(again, "grant-refused")  # the same id, sealed anew: other bytes
    (kept,) = (await signed(venue.client, ADA, "GET", f"{OWN}/grants")).json()["items"]
    stored = Grant.from_json(kept["grant"])
    repeated = await venue.post(stored)
    assert (repeated.status_code, repeated.json()["created"]) == (201, False)
    ((kind, actor, body, visible_at),) = venue.records.kept
    assert (kind, actor, visible_at) == ("grant", address_hex(ACCOUNT), 0)
    assert body["purpose"] == "annual audit"
    assert not {"box", "signature"} & body.keys()


async def test_json_and_binary_say_the_same(venue: Venue) -> None:
    made = a_grant()
    found = await venue.client.post("/v1/grants", json=made.as_json())
    assert found.status_code == 201
    assert (await venue.post(made)).json()["created"] is False


async def test_what_cannot_be_recorded_is_not_kept(venue: Venue) -> None:
    venue.records.fails = True
    is_problem(await venue.post(a_grant()), "internal")
    venue.records.fails = False
    assert (await signed(venue.client, ADA, "GET", f"{OWN}/grants")).json()["items"] == []
    await venue.post(made := a_grant())
    venue.records.fails = True
    is_problem(await venue.revoke(Revocation.issue(made.header, NOW, ADA)), "internal")
    is_problem(await venue.ask(EVE), "internal")
    venue.records.fails = False
    (kept,) = (await signed(venue.client, ADA, "GET", f"{OWN}/grants")).json()["items"]
    assert kept["revocation"] is None


REFUSED: dict[str, tuple[Callable[[], Grant], str, str]] = {
    "another vault": (
        lambda: a_grant(domain=Domain(1, terms().contract)),
        "grant-refused",
        "other-vault",
    ),
    "another's signature": (
        lambda: replace(a_grant(), signature=a_grant(BEN).signature),
        "grant-refused",
        "signature",
    ),
    "a changed header": (
        lambda: replace(a_grant(), header=a_header(last_day=TODAY + 1)),
        "grant-refused",
        "signature",
    ),
    "a changed box": (lambda: replace(a_grant(), box=a_grant().box), "grant-refused", "signature"),
    "expired": (lambda: a_grant(issued_at=NOW - 9, expires=NOW), "grant-refused", "expired"),
    "ahead of the clock": (lambda: a_grant(issued_at=NOW + 61), "grant-refused", "not-yet-issued"),
    "beyond the log": (lambda: a_grant(position=1_000), "grant-refused", "malformed"),
    "too small a box": (
        lambda: resealed(a_header(first_day=TODAY - 9), a_grant().box),
        "grant-refused",
        "incomplete",
    ),
    "a box of an odd size": (
        lambda: resealed(a_header(), a_grant().box + b"\0"),
        "grant-refused",
        "tampered-box",
    ),
    "another market": (lambda: a_grant(market=b"\x04" * 32), "market-unknown", ""),
    "an account without deposit": (lambda: a_grant(BEN), "account-unknown", ""),
}


def resealed(header: Header, box: bytes) -> Grant:
    """Signed by its account, with a box that is not its own."""
    from darkpool.eip712 import sign_digest

    bare = Grant(header, box, a_grant().signature)
    return replace(bare, signature=sign_digest(bare.digest(), ADA))


async def test_a_grant_that_does_not_hold_is_refused_by_the_check_that_failed(venue: Venue) -> None:
    for case, (make, code, check) in REFUSED.items():
        body = is_problem(await venue.post(make()), code)
        assert body.get("check", "") == check, case
    assert venue.records.kept == []


async def test_every_field_of_a_grant_is_signed(venue: Venue) -> None:
    document = a_grant().as_json()
    changed: dict[str, Any] = {
        "format": "darkpool-order",
        "version": 2,
        "chain_id": 1,
        "contract": address_hex(ACCOUNT),
        "id": "0x" + "32" * 32,
        "account": address_hex(address_of(BEN)),
        "market": "0x" + "05" * 32,
        "first_day": TODAY,
        "last_day": TODAY + 1,
        "auditor": replace(AUDITOR, account=ACCOUNT).export(),
        "purpose": "another purpose",
        "issued_at": NOW - 6,
        "expires": NOW + 10_001,
        "position": 1,
        "box": document["box"][:8] + "AAAA" + document["box"][12:],
        "signature": "0x" + "11" * 65,
    }
    assert changed.keys() == document.keys()
    for name, value in changed.items():
        found = await venue.client.post("/v1/grants", json={**document, name: value})
        assert found.status_code in {400, 409}, (name, found.text)
        assert found.json()["check"] in {"malformed", "signature", "other-vault"}, (name, found.text)
    for name in document:
        short = {k: v for k, v in document.items() if k != name}
        assert (
            name in is_problem(await venue.client.post("/v1/grants", json=short), "body-malformed")["detail"]
        )


async def test_bytes_that_are_no_grant_are_refused(venue: Venue) -> None:
    raw = a_grant().encode()
    for bad in (b"", raw[:-1], raw + b"\0", b"\xff" * len(raw)):
        found = await venue.client.post("/v1/grants", content=bad, headers={"Content-Type": GRANT_TYPE})
        is_problem(found, "body-malformed")
    is_problem(await venue.client.post("/v1/grants", content=raw), "content-type")


async def test_an_account_has_so_many_live_grants_and_no_more(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_LIVE_GRANTS == 256
    monkeypatch.setattr("compliance.disclosure.MAX_LIVE_GRANTS", 2)
    for number in (1, 2):
        assert (await venue.post(a_grant(id=bytes([number]) * 32))).status_code == 201
    is_problem(await venue.post(a_grant(id=b"\x03" * 32)), "grants-exceeded")
    venue.now += 20_000  # both have expired
    late = a_grant(id=b"\x03" * 32, issued_at=venue.now, expires=venue.now + 9)
    assert (await venue.post(late)).status_code == 201


async def test_grants_come_in_pages_to_their_account_and_their_auditor_alone(venue: Venue) -> None:
    for number in range(1, 6):
        await venue.post(a_grant(id=bytes([number]) * 32))
    for key, own, side in (
        (ADA, OWN, "grantor"),
        (EVE, f"/v1/accounts/{address_hex(AUDITOR.account)}", "auditor"),
    ):
        seen, target = [], f"{own}/grants?as={side}&limit=2"
        while target:
            page = (await signed(venue.client, key, "GET", target)).json()
            seen += [Grant.from_json(item["grant"]).header.id[0] for item in page["items"]]
            target = f"{own}/grants?as={side}&limit=2&after={page['next']}" if page["next"] else ""
        assert seen == [1, 2, 3, 4, 5]
    is_problem(await signed(venue.client, EVE, "GET", f"{OWN}/grants"), "not-the-account")
    is_problem(await venue.client.get(f"{OWN}/grants"), "bad-authorization")
    is_problem(await signed(venue.client, EVE, "GET", f"{OWN}/disclosures"), "not-the-account")
    is_problem(await signed(venue.client, ADA, "GET", f"{OWN}/grants?as=owner"), "bad-parameter")


# --- revocations --------------------------------------------------------------------------------------


async def test_the_earliest_revocation_counts(venue: Venue) -> None:
    made = a_grant()
    await venue.post(made)
    for at, changed in ((NOW + 5, True), (NOW + 9, False), (NOW + 5, False), (NOW, True)):
        found = await venue.revoke(Revocation.issue(made.header, at, ADA))
        assert found.json() == {"grant": hex_text(made.header.id), "changed": changed}
    (kept,) = (await signed(venue.client, ADA, "GET", f"{OWN}/grants")).json()["items"]
    assert kept["revocation"]["at"] == NOW
    assert [kind for kind, *_ in venue.records.kept] == ["grant", "revocation", "revocation"]


async def test_only_its_account_revokes_a_grant(venue: Venue) -> None:
    made = a_grant()
    await venue.post(made)
    forged = Revocation.issue(made.header, NOW, BEN)
    assert is_problem(await venue.revoke(forged), "grant-refused")["check"] == "forged-revocation"
    other = replace(Revocation.issue(made.header, NOW, ADA), account=address_of(BEN))
    assert is_problem(await venue.revoke(other), "grant-refused")["check"] == "forged-revocation"
    later = replace(Revocation.issue(made.header, NOW, ADA), at=NOW + 1)
    assert is_problem(await venue.revoke(later), "grant-refused")["check"] == "forged-revocation"
    elsewhere = Revocation.issue(replace(made.header, id=b"\x77" * 32), NOW, ADA)
    is_problem(await venue.revoke(elsewhere), "grant-unknown")
    assert is_problem(await venue.revoke(elsewhere, made.header.id), "grant-refused")["check"] == "malformed"
    path = f"/v1/grants/{hex_text(made.header.id)}/revocation"
    is_problem(await venue.client.post(path, json={}), "body-malformed")

"""Orders at a venue's desk: each is decided, on record before it counts, and refused by the rule's words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from compliance.audit_record import Kind
from compliance.credential_check import CredentialRefused
from compliance.hooks import NotScreened
from darkpool.client.access import Access
from darkpool.client.intent import Wanted
from darkpool.client.venue_api import VenueRefused
from darkpool.engine import Draft
from darkpool.errors import OrderRefused, PeerFault
from darkpool.market import Side
from darkpool.store.database import StoreError
from darkpool.types import Address
from tests.compliance.conftest import Desk
from tests.compliance.desk_support import DeskVenue, encoded

BUY, SELL = Wanted(Side.BUY, "0.01"), Wanted(Side.SELL, "0.01")
DUTY = {
    "id": "records",
    "reason": "R.",
    "jurisdictions": ["US"],
    "auditors": ["sec"],
    "visible_after_hours": 1,
}


def test_an_order_is_decided_and_the_decision_is_in_the_log_before_the_order(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document(auditor=[v.auditor("sec")], disclosure=[DUTY]))
        number = await v.publish()
        before = len(v.records(Kind.DECISION))
        async with v.trader("ada") as ada:
            placed = await ada.submit(BUY)
            (entry,) = v.records(Kind.DECISION)[before:]
            body: dict[str, Any] = dict(entry.record.body)
            assert entry.record.subject == "0x" + placed.hash.hex()
            assert entry.record.account == ada.address
            assert body["allowed"] is True
            assert body["decision"]["policy"] == "0x" + v.office.facts.hash.hex()
            assert body["decision"]["reasons"] == [{"rule": "all", "sentence": "All."}]
            assert list(body["decision"]["auditors"]) == ["sec"]
            assert list(body["revocations"].values()) == [number]
            (access,) = await ada.access()
            assert (access.allowed, access.segment) == (True, "all")
            assert placed.receipt.policy == access.policy_hash

    desk(scenario)


def test_without_a_credential_nothing_is_allowed_and_access_says_why(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("noone", code="") as trader:
            with pytest.raises(OrderRefused, match="none was presented") as refused:
                await trader.submit(BUY)
            assert (refused.value.code, refused.value.facts["rule"]) == (
                "policy-denied",
                "credential-missing",
            )
            (access,) = await trader.access()
            assert not access.allowed
            assert access.reasons[0][0] == "credential-missing"
            await trader.present(encoded(v.credential(trader.address)))
            await trader.submit(BUY)

    desk(scenario)


def test_the_venue_refuses_whatever_the_client_thinks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list, a handle that is missing, a handle too many: each by the venue, by name, on record."""

    async def refusal(v: DeskVenue, name: str, keys: Callable[[Any], Any], code: str = "US") -> VenueRefused:
        monkeypatch.setattr(Access, "owed", lambda _, info: keys(info))
        async with v.trader(name, code) as trader:
            before = len(v.records(Kind.DECISION))
            with pytest.raises(VenueRefused) as refused:
                await trader.submit(BUY)
            (entry,) = v.records(Kind.DECISION)[before:]
            assert (entry.record.account, entry.record.body["allowed"]) == (trader.address, False)
            assert entry.record.body["code"] == refused.value.code
            assert trader.address not in v.standing()
            return refused.value

    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document(auditor=[v.auditor("sec")], disclosure=[DUTY]))
        await v.publish()
        none = await refusal(v, "ada", lambda _: ())
        assert (none.code, none.facts["auditors"]) == ("handle-missing", "sec")
        more = await refusal(v, "ben", lambda info: info.terms.auditor_keys, "DE")
        assert (more.code, more.facts["auditors"]) == ("handle-missing", "no auditor")
        async with v.trader("cat") as mallory:
            listed = "0x" + mallory.address.hex()
        await v.apply(
            v.document(
                list=[{"name": "bad", "kind": "addresses", "title": "Bad"}],
                forbid=[{"id": "sanctioned", "reason": "The account is sanctioned.", "list": "bad"}],
            ),
            {"bad": listed},
        )
        denied = await refusal(v, "cat", lambda _: ())
        assert (denied.code, denied.facts["rule"]) == ("policy-denied", "sanctioned")
        assert "The account is sanctioned." in denied.message

    desk(scenario)


def test_a_credential_that_expires_or_a_list_that_gets_old_ends_what_stands(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada, v.trader("ben") as ben:
            await ben.present(encoded(v.credential(ben.address, life=600)))
            await ada.submit(BUY)
            await ben.submit(SELL)
            v.later(700)
            with pytest.raises(OrderRefused) as refused:
                await v.close()
            assert refused.value.code == "minima-not-met"
            assert set(v.standing()) == {ada.address}
            reasons = {f.latest.record.reason for f in (await ben.orders()).values()}
            assert f"the policy {v.office.facts.hash.hex()[:8]} has no place for it" in reasons
            release = v.records(Kind.RELEASE)[-1].record
            assert release.account == ben.address
            assert dict(release.body)["decision"]["reasons"][0]["rule"] == "credential-expired"  # type: ignore[index]
            v.later(3_700)
            with pytest.raises(OrderRefused, match="0 orders"):
                await v.close()
            assert not v.standing()

    desk(scenario)


def test_a_revocation_takes_the_standing_orders_of_its_account_and_no_others(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada, v.trader("ben") as ben:
            await ben.present(encoded(v.credential(ben.address, serial=99)))
            await ada.submit(BUY)
            await ben.submit(SELL)
            number = await v.publish([99])
            assert set(v.standing()) == {ada.address}
            with pytest.raises(OrderRefused, match="revoked"):
                await ben.submit(SELL)
            assert v.records(Kind.REVOCATION)[-1].record.subject == str(number)
            with pytest.raises(OrderRefused, match=f"number {number - 1}, but {number} is held"):
                await v.office.publish(encoded(v.revocations(number - 1)))
            with pytest.raises(OrderRefused, match="two lists"):
                await v.office.publish(encoded(v.revocations(number, [1])))
            await v.publish()  # the issuer stands by it again
            await ben.submit(SELL)

    desk(scenario)


def test_an_order_whose_decision_cannot_be_recorded_is_not_in_the_log(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada:
            recorder, size = v.office.desk.recorder, v.plain.engine.log.size

            async def away(_: object) -> range:
                raise StoreError("database: away")

            works, recorder._run = recorder._run, away
            ada._trading.api._patience = 0
            with pytest.raises((VenueRefused, PeerFault)):
                await ada.submit(BUY)
            assert v.plain.engine.log.size == size
            assert not v.standing()
            recorder._run = works
            await ada.submit(BUY)
            assert list(v.standing()) == [ada.address]

    desk(scenario)


@pytest.mark.slow
def test_an_evaluation_that_errs_denies(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada:
            await ada.submit(BUY)
            policy = v.office.current.policy

            def broken(*_: object) -> None:
                raise RuntimeError("cedar is gone")

            monkeypatch.setattr(policy.engine, "decide", broken)
            v.office.facts._cache.clear()
            with pytest.raises(OrderRefused) as refused:
                await ada.submit(BUY)
            assert refused.value.facts["rule"] == "evaluation-error"
            with pytest.raises(OrderRefused, match="0 orders"):
                await v.close()  # and what stands may stand no longer
            monkeypatch.undo()

    desk(scenario)


def test_what_was_decided_before_a_change_is_not_written_after_it(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada:
            await ada.submit(BUY)
        engine, found = v.plain.engine, v.office.desk
        book = v.book
        (order,) = book.standing
        late = Draft("order", {}, [b""], order)
        await found.admit([late], engine.state.books)
        found.check(late, engine.state.books)
        v.office.facts._changed()
        with pytest.raises(NotScreened):
            found.check(late, engine.state.books)
        seal = Draft("seal", {"market": book.terms.market.id.hex()})
        with pytest.raises(NotScreened):
            found.check(seal, engine.state.books)
        assert await found.releases(book, sealing=True) == []
        found.check(seal, engine.state.books)

    desk(scenario)


@pytest.mark.parametrize(
    "change, check",
    [
        (lambda d: d.update(chain_id=1), "credential-foreign"),
        (lambda d: d.update(contract="0x" + "cc" * 20), "credential-foreign"),
        (lambda d: d.update(jurisdiction="DE"), "credential-signature"),
        (lambda d: d.update(serial=8), "credential-signature"),
        (lambda d: d.update(issuer="0x" + "11" * 20), "credential-issuer"),
        (lambda d: d.update(subject="0x" + "11" * 20), "credential-signature"),
        (lambda d: d.pop("serial"), "credential-malformed"),
        (lambda d: d.update(more=1), "credential-malformed"),
        (lambda d: d.update(expires=d["issued"]), "credential-malformed"),
        (lambda d: d.update(jurisdiction="us"), "credential-malformed"),
    ],
)
def test_a_credential_with_one_field_changed_is_refused_by_name(
    desk: Desk, change: Callable[[dict[str, Any]], Any], check: str
) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        account = Address(b"\x41" * 20)
        document = dict(v.credential(account).as_json())
        change(document)
        with pytest.raises(CredentialRefused) as refused:
            await v.office.present(account, json.dumps(document).encode())
        assert refused.value.code == check
        assert v.office.facts.credential(account) is None

    desk(scenario)


def test_a_credential_changed_in_the_database_counts_for_nothing(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        account = Address(b"\x43" * 20)
        good = v.credential(account)
        forged = replace(good, claim=replace(good.claim, jurisdiction="DE"))
        for held, allowed in ((good, True), (forged, False)):
            v.office.facts.take_credential(held)
            assert v.office.facts.decide(account, "WETH-USDC", v.office.desk.recorder.now).allowed is allowed
        decision = v.office.facts.decide(account, "WETH-USDC", v.office.desk.recorder.now)
        assert decision.rules == ("credential-signature",)

    desk(scenario)


def test_a_credential_about_somebody_else_is_refused(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        with pytest.raises(CredentialRefused) as refused:
            await v.office.present(Address(b"\x41" * 20), encoded(v.credential(Address(b"\x42" * 20))))
        assert refused.value.code == "credential-subject"

    desk(scenario)

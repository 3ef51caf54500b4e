"""Policies at a running venue: applied, changed while orders stand, kept over a restart, or refused whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from compliance.audit_record import Kind
from compliance.desk import Desk as TheDesk
from compliance.facts import Facts
from compliance.office import Office
from compliance.policy_toml import PolicyError
from darkpool.client.intent import Wanted
from darkpool.market import Side
from darkpool.store.audit_store import AuditStore
from darkpool.store.compliance_store import ComplianceStore
from tests.compliance.conftest import Desk
from tests.compliance.desk_support import VENUE, DeskVenue, encoded
from tests.compliance.policy_support import Document, toml

BUY, SELL = Wanted(Side.BUY, "0.01"), Wanted(Side.SELL, "0.01")
US_DUTY = {
    "id": "us-records",
    "reason": "R.",
    "jurisdictions": ["US"],
    "auditors": ["sec"],
    "visible_after_hours": 1,
}
DE_DUTY = {
    "id": "de-records",
    "reason": "R.",
    "jurisdictions": ["DE"],
    "auditors": ["bafin"],
    "visible_after_hours": 1,
}


def test_a_round_crosses_under_a_policy_and_each_order_carries_what_its_account_owes(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        auditors = [v.auditor("sec"), v.auditor("bafin")]
        await v.apply(v.document(auditor=auditors, disclosure=[US_DUTY, DE_DUTY]))
        await v.publish()
        async with v.trader("ada") as ada, v.trader("ben", "DE") as ben:
            await ada.submit(BUY)
            await ben.submit(SELL)
            book = v.book
            keys = {o.account: o.statement.auditor_keys for o in book.standing}
            by_name = {a.name: a.key for a in v.office.current.policy.config.auditors}
            assert keys == {ada.address: (by_name["sec"],), ben.address: (by_name["bafin"],)}
            assert set(book.terms.auditor_keys) == set(by_name.values())
            clocks = len(v.records(Kind.CLOCK))
            size = v.office.desk.recorder.log.size
            closed = await v.close()
            assert closed.certificate is not None
            assert closed.certificate.result is not None
            assert closed.certificate.result.crossed
            assert v.plain.engine.state.audit_size == size  # of all that was decided before the seal
            await v.plain.settle()
            await asyncio.gather(*v.office.desk._tasks)
            assert len(v.records(Kind.CLOCK)) == clocks + 1
            store = AuditStore(v.plain.venue._store.database)
            (signed,) = store.checkpoints(0, 10)[-1:]  # with the seal at the latest
            assert size < signed.size <= v.office.desk.recorder.log.size
            settlement = v.records(Kind.SETTLEMENT)[-1].record
            assert settlement.body["state"] == "settled"

    desk(scenario)


def test_a_change_takes_exactly_the_orders_it_has_no_place_for(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with (
            v.trader("ada") as ada,
            v.trader("ben", "DE") as ben,
            v.trader("cat", "DE", "retail") as cat,
        ):
            for trader in (ada, ben, cat):
                await trader.submit(BUY)
            assert len(v.standing()) == 3
            no_retail = {"id": "no-retail", "reason": "No retail.", "classes": ["retail"]}
            done = await v.apply(v.document(forbid=[no_retail]))
            assert (done.released, done.waiting) == (1, ())
            assert set(v.standing()) == {ada.address, ben.address}
            book = v.book
            assert book.terms.policy_hash == v.office.facts.hash
            # A duty that only some owe takes theirs; who owes nothing new rolls on.
            done = await v.apply(v.document(auditor=[v.auditor("sec")], disclosure=[US_DUTY]))
            assert done.released == 1
            assert set(v.standing()) == {ben.address}
            ended = list((await ada.orders()).values())[-1].latest.record
            assert ended.reason == "lacks a handle that the policy demands"
            await ada.submit(SELL)
            # A duty that is gone takes nobody's.
            assert (await v.apply(v.document())).released == 0
            closed = await v.close()
            assert len(closed.sealed.orders) == 2

    desk(scenario)


@pytest.mark.slow
def test_an_account_over_a_limit_keeps_its_earlier_orders(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada:
            placed = [await ada.submit(BUY) for _ in range(3)]
            limit = {"id": "two", "reason": "Two at most.", "max_open_orders": 2}
            assert (await v.apply(v.document(limit=[limit]))).released == 1
            book = v.book
            assert [o.hash for o in book.standing] == [p.hash for p in placed[:2]]

    desk(scenario)


@pytest.mark.slow
def test_the_policy_of_before_is_in_force_after_a_restart(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document(auditor=[v.auditor("sec")], disclosure=[US_DUTY]))
        await v.publish()
        async with v.trader("ada") as ada:
            await ada.submit(BUY)
            ada_address = ada.address
        await v.office.block("account", "0x" + "11" * 20, "court order", "officer")
        facts, size = v.office.facts, v.office.desk.recorder.log.size
        root, entries = v.office.desk.recorder.log.root, v.plain.engine.log.size
        await v.restart()
        again = v.office.facts
        assert again.hash == facts.hash
        assert again.sequences == facts.sequences
        assert again.credential(ada_address) == facts.credential(ada_address)
        assert [b.subject for b in v.office.blocks()] == ["0x" + "11" * 20]
        assert v.office.desk.recorder.log.size == size + 1  # that it was in force at the start
        assert v.office.desk.recorder.log.records()[0].record.body == {"what": "in force at start"}
        assert root != v.office.desk.recorder.log.root
        assert v.plain.engine.log.size == entries  # terms are as they were: no entry
        assert list(v.standing()) == [ada_address]

    desk(scenario)


def test_a_venue_that_never_had_a_policy_begins_with_that_of_its_settings(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(v: DeskVenue) -> None:
        value = v.document(auditor=[v.auditor("sec")], disclosure=[US_DUTY])
        (tmp_path / "policy.toml").write_bytes(toml(value))
        monkeypatch.setattr(ComplianceStore, "policy", lambda *_: None)
        fresh = Office(
            v.plain.venue, TheDesk(Facts(v.domain), v.office.desk.recorder, v.office.desk.plugins), VENUE
        )
        await fresh.load(tmp_path)
        assert fresh.facts.hash == v.policy(value).hash
        assert v.records(Kind.POLICY)[-1].record.actor == "settings"
        no_proof(value)
        (tmp_path / "policy.toml").write_bytes(toml(value))
        with pytest.raises(PolicyError, match="no proof"):
            await fresh.load(tmp_path)
        monkeypatch.undo()
        await v.apply(v.document())  # what the next test finds in the database

    desk(scenario)


def no_proof(document: Document) -> None:
    document["auditor"][0].pop("proof")


def other_venue(document: Document) -> None:
    from commitments.auditor_key import KeyContext, register
    from tests.compliance.desk_support import auditor_secret

    context = KeyContext(31_337, b"\x01" * 20, b"\x09" * 32, "sec")
    document["auditor"][0]["proof"] = "0x" + register(auditor_secret("sec"), context).encode().hex()


def other_key(document: Document) -> None:
    document["auditor"][0]["key"] = document["auditor"][1]["key"]
    document["auditor"][1:] = []
    document["disclosure"] = document["disclosure"][:1]


def cut_proof(document: Document) -> None:
    document["auditor"][0]["proof"] = document["auditor"][0]["proof"][:-2]


def other_market(document: Document) -> None:
    document["policy"]["markets"] = ["WBTC-USDC"]


def long_segment(document: Document) -> None:
    document["segment"] = [{"name": "s" * 60, "jurisdictions": ["US"]}]


def unknown_key(document: Document) -> None:
    document["allow"][0]["side"] = "buy"


@pytest.mark.parametrize(
    "spoil, problem",
    [
        (no_proof, "auditor sec: no proof that anybody holds its key"),
        (other_venue, "registered for another chain, contract or venue"),
        (other_key, "proof: proof: it is of another key"),
        (cut_proof, "proof"),
        (other_market, "names none of the venue's markets"),
        (long_segment, "at most 64 characters"),
        (unknown_key, "side: no such key"),
    ],
)
def test_a_policy_with_a_fault_changes_nothing(
    desk: Desk, spoil: Callable[[Document], None], problem: str
) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        before = v.office.facts.hash, v.plain.engine.log.size, v.office.desk.recorder.log.size
        value = v.document(auditor=[v.auditor("sec"), v.auditor("bafin")], disclosure=[US_DUTY, DE_DUTY])
        spoil(value)
        with pytest.raises(PolicyError) as refused:
            await v.apply(value)
        assert problem in refused.value.message
        assert refused.value.file == "policy.toml"
        after = v.office.facts.hash, v.plain.engine.log.size, v.office.desk.recorder.log.size
        assert after == before

    desk(scenario)


def test_a_market_whose_round_is_sealed_follows_when_it_is_over(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada, v.trader("ben") as ben:
            await ada.submit(BUY)
            await ben.submit(BUY)
            clear = v.plain.committee.clear
            seen = []

            async def meanwhile(*arguments: object) -> object:
                value = v.document()
                value["policy"]["version"] = 2
                seen.append(await v.office.apply(v.policy(value), "officer"))
                return await clear(*arguments)  # type: ignore[arg-type]

            monkeypatch.setattr(v.plain.committee, "clear", meanwhile)
            closed = await v.close()
            assert seen[0].waiting == ("WETH-USDC",)
            assert closed.certificate is not None
            assert closed.certificate.result is not None  # what was sealed under the old one is finished
            segments = v.plain.venue.segments
            assert segments is not None
            assert not segments.settled
            await segments.follow()
            assert segments.settled
            assert v.book.terms.policy_hash == v.office.facts.hash

    desk(scenario)


def test_the_credential_an_account_presents_again_is_kept_once(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        async with v.trader("ada", code="") as ada:
            data = encoded(v.credential(ada.address))
            await ada.present(data)
            before = len(v.records(Kind.CREDENTIAL))
            await ada.present(data)
            assert len(v.records(Kind.CREDENTIAL)) == before

    desk(scenario)

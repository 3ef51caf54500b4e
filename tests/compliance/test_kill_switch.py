"""The kill switch: whatever is blocked places nothing more, and what it had leaves; all of it on record."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from compliance.audit_record import Kind
from darkpool.client.intent import Wanted
from darkpool.errors import OrderRefused
from darkpool.market import Side
from darkpool.types import Address, address_hex
from tests.compliance.conftest import Desk
from tests.compliance.desk_support import MARKET, OTHER_ISSUER_KEY, DeskVenue, encoded

BUY, SELL = Wanted(Side.BUY, "0.01"), Wanted(Side.SELL, "0.01")


def issuer(_: Address) -> str:
    from darkpool.eip712 import address_of

    return address_hex(address_of(OTHER_ISSUER_KEY))


@pytest.mark.parametrize(
    "kind, subject, others_stay",
    [
        ("account", address_hex, True),
        pytest.param("jurisdiction", lambda _: "US", True, marks=pytest.mark.slow),
        pytest.param("issuer", issuer, True, marks=pytest.mark.slow),
        ("market", lambda _: MARKET, False),
    ],
)
def test_a_block_takes_what_it_names_and_nothing_else(
    desk: Desk, kind: str, subject: Callable[[Address], str], others_stay: bool
) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        await v.publish(key=OTHER_ISSUER_KEY)
        async with v.trader("ada") as ada, v.trader("ben", "DE") as ben:
            await ada.present(encoded(v.credential(ada.address, "US-NY", key=OTHER_ISSUER_KEY)))
            await ada.submit(BUY)
            await ben.submit(SELL)
            released = await v.office.block(kind, subject(ada.address), "court order 7", "officer")
            assert released == (1 if others_stay else 2)
            assert set(v.standing()) == ({ben.address} if others_stay else set())
            with pytest.raises(OrderRefused, match="court order 7") as refused:
                await ada.submit(BUY)
            assert refused.value.code == "operator-block"
            halt = v.records(Kind.HALT)[-1].record
            assert (halt.actor, halt.subject) == ("officer", subject(ada.address))
            assert halt.body == {"what": "block", "kind": kind, "reason": "court order 7"}
            ended = list((await ada.orders()).values())[-1].latest.record
            assert ended.reason == "halted by the operator"
            await v.office.unblock(kind, subject(ada.address), "lifted", "officer")
            await ada.submit(BUY)

    desk(scenario)


def test_a_round_that_is_sealed_but_not_cleared_is_aborted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada, v.trader("ben") as ben:
            await ada.submit(BUY)
            await ben.submit(SELL)
            sign = v.plain.committee.sign

            async def meanwhile(*arguments: object) -> object:
                await v.office.block("account", address_hex(ada.address), "fraud", "officer")
                return await sign(*arguments)  # type: ignore[arg-type]

            monkeypatch.setattr(v.plain.committee, "sign", meanwhile)
            closed = await v.close()
            monkeypatch.undo()
            assert closed.certificate is not None
            assert closed.certificate.result is None
            assert not v.standing()  # an abort releases every order
            await ben.submit(SELL)

    desk(scenario)


@pytest.mark.slow
def test_a_mass_cancellation_takes_every_order_of_a_market(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada, v.trader("ben") as ben:
            await ada.submit(BUY)
            await ada.submit(BUY)
            await ben.submit(SELL)
            assert await v.office.mass_cancel(MARKET, "wrong reference price", "officer") == 3
            assert not v.standing()
            record = v.records(Kind.RELEASE)[-1].record
            assert record.body == {"what": "mass cancel", "reason": "wrong reference price"}
            await ada.submit(BUY)  # it is no block
            assert await v.office.mass_cancel(MARKET, "again", "officer") == 1
            assert await v.office.mass_cancel(MARKET, "again", "officer") == 0

    desk(scenario)


@pytest.mark.parametrize(
    "kind, subject, problem",
    [
        ("venue", MARKET, "kind: not one of"),
        ("market", "WBTC-USDC", "subject: not a market"),
        ("market", f"{MARKET}/us", "subject: not a market"),
        ("jurisdiction", "us", "subject: not an ISO 3166"),
        ("jurisdiction", "USA", "subject: not an ISO 3166"),
        ("account", "0x12", "subject: not 0x"),
        ("account", "0xAb" + "12" * 19, "subject: not 0x"),
        ("issuer", "kyc", "subject: not 0x"),
    ],
)
def test_a_block_of_nothing_is_refused_by_name(desk: Desk, kind: str, subject: str, problem: str) -> None:
    async def scenario(v: DeskVenue) -> None:
        with pytest.raises(OrderRefused, match=problem) as refused:
            await v.office.block(kind, subject, "because", "officer")
        assert refused.value.code == "bad-block"
        assert not v.office.blocks()

    desk(scenario)


def test_what_is_not_blocked_cannot_be_freed(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        with pytest.raises(OrderRefused) as refused:
            await v.office.unblock("jurisdiction", "US", "because", "officer")
        assert refused.value.code == "block-unknown"

    desk(scenario)


def test_a_block_beats_an_order_whose_proof_is_being_verified(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada:
            verified = v.plain.venue.intake._verified

            async def meanwhile(raws: Sequence[bytes]) -> dict[int, OrderRefused]:
                await v.office.block("account", address_hex(ada.address), "just now", "officer")
                return await verified(raws)

            monkeypatch.setattr(v.plain.venue.intake, "_verified", meanwhile)
            size = v.plain.engine.log.size
            with pytest.raises(OrderRefused, match="just now") as refused:
                await ada.submit(BUY)
            monkeypatch.undo()
            assert refused.value.code == "operator-block"
            assert v.plain.engine.log.size == size
            assert v.records(Kind.DECISION)[-1].record.body["allowed"] is False

    desk(scenario)

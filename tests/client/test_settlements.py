"""Rounds wait, are netted, signed, sent: through kills of the operator at each step, and members away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkpool.client.trader import AsyncTrader
from darkpool.config import RoundSettings, SettlementSettings
from darkpool.eip712 import sign_digest
from darkpool.errors import OrderRefused, Unavailable
from darkpool.market import RoundState
from darkpool.settlement import ordered_signatures, sign
from darkpool.settling import Settling
from darkpool.signed_settlement import SignedSettlement
from darkpool.store.database import StoreError
from darkpool.store.records import FillState, SettlementRow, SettlementState
from darkpool.types import PrivateKey, Signature
from darkpool.windows import estimated_gas
from tests.client.plain_venue import PlainVenue, plain_venue, seats
from tests.client.test_trading import buy, sell


class Pair:
    """Two traders with deposits at a venue of their own."""

    def __init__(self, v: PlainVenue, ada: AsyncTrader, ben: AsyncTrader) -> None:
        self.v, self.ada, self.ben = v, ada, ben

    async def cross(self, quantity: str = "0.10", *, back: bool = False) -> None:
        """A round in which ada buys from ben, or sells back."""
        buyer, seller = (self.ben, self.ada) if back else (self.ada, self.ben)
        await buyer.submit(buy(quantity))
        await seller.submit(sell(quantity))
        await self.v.close_round(settle=False)
        await self.v.open_round()

    async def fills(self) -> list[FillState]:
        return [found.state for found in await self.ada.fills()]

    async def rows(self) -> list[SettlementRow]:
        return await self.v.venue.read(lambda store: store.settlements())

    async def rounds(self) -> list[RoundState]:
        market = self.v.view.terms.market.id
        found = await self.v.venue.read(lambda store: store.rounds(market))
        return [row.state for row in reversed(found)][:-1]


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    async with plain_venue(folder) as v, v.trader("ada") as ada, v.trader("ben") as ben:
        await v.deposit(ada)
        await v.deposit(ben)
        yield Pair(v, ada, ben)


# --- kills ------------------------------------------------------------------------------------------

STEPS = ("result", "window", "signed", "kept", "sent")


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_after_any_step_changes_nothing_of_what_is_settled(tmp_path: Path, step: str) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            await p.cross()
            await p.cross()
            settling, engine, number = p.v.venue.settling, p.v.engine, p.v.chain.next_id()
            if step != "result":
                await settling.close_now()
            if step in {"signed", "kept", "sent"}:
                await engine.sign_pending()
            if step in {"kept", "sent"}:
                await settling._keep()
            if step == "sent":
                await settling._submit()
            await p.v.restart()
            if step in {"kept", "sent"}:
                p.v.committee.away = "members [2] are away"  # their signatures are at hand
            await p.v.settle()
            assert p.v.chain.next_id() == number + 1
            assert p.v.engine.state.not_final == []
            assert p.v.committee.asked == (2 if step == "signed" else 1)
            assert await p.fills() == [FillState.SETTLED] * 2
            assert await p.rounds() == [RoundState.SETTLED] * 2
            (row,) = await p.rows()
            assert (row.state, len(json.loads(row.rounds))) == (SettlementState.SETTLED, 2)

    asyncio.run(scenario())


def damaged(signed: SignedSettlement, how: str) -> bytes:
    """What a database might give back instead of the settlement with its signatures."""
    first, *others = signed.signatures
    stranger = sign_digest(signed.digest, PrivateKey(b"\x77" * 32))
    flipped = Signature(bytes([first[0] ^ 1]) + first[1:])
    another = replace(signed.settlement, id=signed.settlement.id + 1)
    payloads = {
        "too few": replace(signed, signatures=tuple(others)).encode(),
        "not a member's": replace(signed, signatures=(stranger, *others)).encode(),
        "a bit": replace(signed, signatures=(flipped, *others)).encode(),
        "of another": SignedSettlement(
            signed.domain,
            another,
            ordered_signatures(
                another, signed.domain, [sign(another, signed.domain, seat.signing_key) for seat in seats()]
            ),
        ).encode(),
        "no message": b"\x00" * 40,
    }
    return payloads[how]


@pytest.mark.parametrize(
    "how",
    [
        "too few",
        "of another",
        *(pytest.param(how, marks=pytest.mark.slow) for how in ("not a member's", "a bit", "no message")),
    ],
)
def test_signatures_that_the_database_spoilt_are_asked_for_again(tmp_path: Path, how: str) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            await p.cross()
            await p.v.venue.settling.close_now()
            await p.v.engine.sign_pending()
            await p.v.venue.settling._keep()
            (row,) = await p.rows()
            spoilt = damaged(SignedSettlement.decode(row.payload), how)
            await p.v.venue.read(lambda store: store.update_settlement(row.digest, payload=spoilt))
            await p.v.restart()
            assert p.v.engine.signatures == {}
            await p.v.settle()
            assert p.v.committee.asked == 2
            assert [r.payload for r in await p.rows()] == [row.payload]
            assert await p.fills() == [FillState.SETTLED]

    asyncio.run(scenario())


def test_signatures_that_could_not_be_kept_are_kept_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            await p.cross()
            await p.v.venue.settling.close_now()

            async def away(*_: object, **__: object) -> None:
                raise StoreError("database: away")

            with monkeypatch.context() as patched:
                patched.setattr(Settling, "_note", away)
                with pytest.raises(StoreError):
                    await p.v.venue.settling.step()
            assert p.v.venue.status().settlement == "database: away"
            assert p.v.chain.next_id() == 2  # it needed no database to land
            await p.v.settle()
            (row,) = await p.rows()
            assert len(SignedSettlement.decode(row.payload).signatures) == 3
            assert p.v.committee.asked == 1

    asyncio.run(scenario())


def test_a_venue_that_may_write_no_more_still_lands_what_is_signed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            await p.cross()
            await p.v.venue.settling.close_now()
            await p.cross()
            await p.v.engine.sign_pending()
            p.v.engine.halt("a member holds another log")
            with pytest.raises(Unavailable, match="another log"):
                await with_settings(p.v, rounds=1).step()
            assert p.v.chain.next_id() == 2
            assert len(p.v.engine.state.unsettled) == 1

    asyncio.run(scenario())


# --- what is settled --------------------------------------------------------------------------------


def test_a_settlement_of_several_rounds_shows_what_it_nets_and_anyone_can_check_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            await p.cross("0.30")
            await p.cross("0.10", back=True)
            assert await p.rounds() == [RoundState.CLEARED] * 2
            assert await p.fills() == [FillState.PROVISIONAL] * 2
            await p.v.venue.settling.close_now()
            assert await p.rounds() == [RoundState.SETTLING] * 2
            await p.v.settle()
            (row,) = await p.rows()
            signed = SignedSettlement.decode(row.payload)
            signed.check(set(p.v.chain.members()), p.v.chain.quorum())
            assert signed.digest == row.digest
            terms = p.v.view.terms
            lots = {market: gross for market, gross, _ in json.loads(row.flows)}
            assert lots[terms.market.base.hex()] == 40 * terms.market.lot  # 0.40 in lots of 0.01
            nets = {token: net for token, _, net in json.loads(row.flows)}
            assert nets[terms.market.base.hex()] == 20 * terms.market.lot
            assert (await p.ada.balances())[0].balance == p.v.view.instrument.base.quanta("100.2")
            found = await p.v.venue.read(lambda store: store.rounds(terms.market.id))
            assert [r.settlement for r in found][1:] == [row.digest] * 2

    asyncio.run(scenario())


def test_what_does_not_land_is_void_by_itself_and_everybody_is_told(tmp_path: Path) -> None:
    """One round in a settlement that is never signed, one in none."""

    async def scenario() -> None:
        async with pair(tmp_path) as p:
            before = [b.free for b in await p.ada.balances()]
            await p.cross()
            await p.v.venue.settling.close_now()
            await p.cross()
            p.v.committee.away = "members [2] are away"
            with pytest.raises(Unavailable):
                await p.v.venue.settling.step()
            status = p.v.venue.status()
            assert (status.unsettled_rounds, status.pending_settlements, status.voided_rounds) == (1, 1, 0)
            assert status.settlement == "members [2] are away"
            await p.v.expire()
            status = p.v.venue.status()
            assert (status.unsettled_rounds, status.pending_settlements, status.voided_rounds) == (0, 0, 2)
            assert status.settlement == ""
            assert await p.fills() == [FillState.BUSTED] * 2
            assert await p.rounds() == [RoundState.VOID] * 2
            assert [row.state for row in await p.rows()] == [SettlementState.VOID]
            events = await p.v.venue.read(lambda store: store.events(account=p.ada.address))
            told = [json.loads(e.data) for e in events if e.kind == "fill"]
            assert [t["state"] for t in told] == ["provisional"] * 2 + ["busted"] * 2
            assert [b.free for b in await p.ada.balances()] == before

    asyncio.run(scenario())


def test_what_is_signed_is_submitted_though_members_hang_over_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_: object) -> tuple[Signature, ...]:
        return await asyncio.Future()

    async def scenario() -> None:
        async with pair(tmp_path) as p:
            for signed in (True, False):
                await p.cross()
                await p.v.venue.settling.close_now()
                if signed:
                    await p.v.engine.sign_pending()
            monkeypatch.setattr(p.v.committee, "settle", hangs)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await p.v.venue.settling.step()
            assert p.v.chain.next_id() == 2

    asyncio.run(scenario())


# --- when a window closes ---------------------------------------------------------------------------


NEVER: dict[str, Any] = {"rounds": 8, "seconds": 86_400, "gas": 15_000_000}


def with_settings(v: PlainVenue, bound: int = 8, **changes: int) -> Settling:
    chosen = v.venue.settings.model_copy(
        update={
            "settlement": SettlementSettings.model_construct(**{**NEVER, **changes}),
            "rounds": RoundSettings(max_unsettled_rounds=bound),
        }
    )
    return Settling(v.engine, chosen, v.venue.read)


def test_a_window_closes_by_count_age_size_or_need(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            eager = with_settings(p.v, rounds=1, seconds=0, gas=1)
            assert not eager.due
            with pytest.raises(OrderRefused, match="no round is unsettled"):
                await eager.close_now()
            await p.cross()
            await p.cross()
            assert not with_settings(p.v).due
            assert with_settings(p.v, rounds=2).due
            assert not with_settings(p.v, rounds=3).due
            assert with_settings(p.v, bound=2).due
            assert with_settings(p.v, seconds=0).due
            waiting = p.v.engine.state.unsettled
            assert with_settings(p.v, gas=estimated_gas(waiting)).due
            assert not with_settings(p.v, gas=estimated_gas(waiting) + 1).due
            p.v.engine.state.unsettled = [replace(waiting[0], at=waiting[0].at - 86_400), *waiting[1:]]
            assert with_settings(p.v).due
            p.v.engine.state.unsettled = waiting
            settling = with_settings(p.v, rounds=2)
            await settling.step()
            assert p.v.chain.next_id() == 2
            assert not settling.due

    asyncio.run(scenario())

"""What a venue shows of a settlement that was in a block and is in none any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from darkpool.errors import ChainError
from darkpool.settlement import Settlement
from darkpool.store.records import SettlementState
from darkpool.submitter import GWEI, Standing, Submitter
from darkpool.types import Signature
from tests.client.test_settlements import pair

SENT = Standing(tx_hash=b"\x07" * 32, attempts=2, fee=3 * GWEI)


def stuck(monkeypatch: pytest.MonkeyPatch, standing: Standing) -> None:
    """The chain of the tests mines at once, and forgets nothing."""

    def step(_: Submitter, settlement: Settlement, signatures: Sequence[Signature]) -> Standing:
        assert signatures
        assert settlement.id == 1
        return standing

    monkeypatch.setattr(Submitter, "step", step)


def test_it_is_submitted_then_pending_then_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            await p.cross()
            await p.v.venue.settling.close_now()
            await p.v.venue.settling.step()
            (landed,) = await p.rows()
            assert landed.state is SettlementState.SUBMITTED
            assert None not in {landed.tx_hash, landed.block, landed.gas}
            with monkeypatch.context() as patched:
                stuck(patched, SENT)
                await p.v.venue.settling.step()
            (away,) = await p.rows()
            assert away.state is SettlementState.PENDING
            assert {away.tx_hash, away.block, away.gas} == {None}
            assert p.v.venue.status().sent == SENT
            await p.v.venue.settling.step()
            assert await p.rows() == [landed]
            sent = p.v.venue.status().sent
            assert sent is not None
            assert sent.confirmations == 1
            await p.v.settle()
            (row,) = await p.rows()
            assert (row.state, row.tx_hash) == (SettlementState.SETTLED, landed.tx_hash)

    asyncio.run(scenario())


def test_a_restart_does_not_believe_what_was_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            await p.cross()
            await p.v.venue.settling.close_now()
            await p.v.venue.settling.step()
            await p.v.restart()
            with monkeypatch.context() as patched:
                stuck(patched, SENT)
                await p.v.venue.settling.step()
            assert [row.state for row in await p.rows()] == [SettlementState.PENDING]
            await p.v.settle()
            assert [row.state for row in await p.rows()] == [SettlementState.SETTLED]

    asyncio.run(scenario())


def test_why_it_does_not_land_is_in_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            await p.cross()
            await p.v.venue.settling.close_now()
            with monkeypatch.context() as patched:
                stuck(patched, Standing(trouble="the vault is paused"))
                with pytest.raises(ChainError):
                    await p.v.venue.settling.step()
            assert p.v.venue.status().settlement == "settlement 1: the vault is paused"
            await p.v.settle()
            assert p.v.venue.status().settlement == ""

    asyncio.run(scenario())

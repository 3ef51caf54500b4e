"""The venue changes its committee, and its traders go on: no new folder, no word from their owners."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from api.app import create_app
from commitments.params import INSECURE_TEST
from commitments.threshold import safe_prime
from compliance.audit_outcome import Outcome
from compliance.round_client import RoundClient
from compliance.round_verify import verify_round
from darkpool.cli import committee as commands
from darkpool.cli.app import app
from darkpool.client.account_state import check_committee
from darkpool.client.shells import Concurrent
from darkpool.client.trader import AsyncTrader
from darkpool.committee.home import SEAT
from darkpool.committee.seat import Seat, seats_from_primes
from darkpool.committee.staging import stage
from darkpool.committee.succession import propose, succeed
from darkpool.config import FILE
from darkpool.deployment import Deployment
from darkpool.errors import ConfigError, DarkpoolError
from darkpool.files import write_whole
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.store.records import FillState, OrderState
from darkpool.tenure import Tenure
from darkpool.tenure_file import Planned
from tests.client.carriers import Carrier, Lying, submits
from tests.client.plain_venue import OPERATOR, THRESHOLD, URL, PlainVenue, plain_venue, seats
from tests.client.serving import served
from tests.client.test_trading import buy, sell

Scenario = Callable[[PlainVenue], Awaitable[None]]


@cache
def others() -> tuple[Seat, ...]:
    half = INSECURE_TEST.modulus_bits // 2
    return tuple(seats_from_primes(safe_prime(half), safe_prime(half), 3, THRESHOLD))


def rotated() -> list[Seat]:
    """The same members under another key."""
    return [replace(o, signing_key=s.signing_key) for o, s in zip(others(), seats(), strict=True)]


def played(folder: Path, scenario: Scenario) -> None:
    async def play() -> None:
        async with plain_venue(folder) as v:
            await scenario(v)

    asyncio.run(play())


def planned(v: PlainVenue, dealt: Sequence[Seat]) -> Planned:
    """Those in office next."""
    addresses = {seat.index: seat.signer for seat in dealt}
    number = v.venue.tenures.current.key_epoch + 1
    return Planned(Tenure(Signers(THRESHOLD, addresses), dealt[0].committee.key, number))


def with_plan(v: PlainVenue, dealt: Sequence[Seat], plan: Planned | None) -> None:
    """Members that have that plan in their folders answer as they do."""
    state, chain, shares = v.engine.state, v.chain, b""
    if plan is not None:
        members = set(plan.tenure.signers.addresses.values())
        scale = int(plan.tenure.key == state.key and plan.tenure.signers != state.signers)
        for seat in (seat for seat in dealt if seat.signer in members):
            at_hand = others() if plan.tenure.key != seats()[0].committee.key else seats()
            mine = replace(at_hand[seat.index - 1], signing_key=seat.signing_key)
            public = replace(mine.committee, epoch=plan.tenure.key_epoch, scale=scale)
            shares = public.digest
            stage(replace(mine, committee=public), home(v, seat), plan.tenure.plan.hash)

    async def answers(request: Message) -> tuple[dict[int, Message], dict[int, DarkpoolError]]:
        found, missing = dict[int, Message](), dict[int, DarkpoolError]()
        for number, seat in enumerate(dealt):
            try:
                if request.op == "propose":
                    found[number] = await v.threads.chain(propose, seat, state, plan, chain, request)
                else:
                    at = home(v, seat)
                    found[number] = await v.threads.chain(succeed, seat, state, plan, chain, at, request)
            except DarkpoolError as error:
                missing[number] = error
        return found, missing

    v.committee.answers = answers
    if plan is not None:
        following = plan.tenure
        said = {"epoch": following.key_epoch, "key_id": following.key.key_id.hex()}
        v.committee.staged = {**said, "sharing": shares.hex()}


def home(v: PlainVenue, seat: Seat) -> Path:
    """Where a member has what it staged."""
    folder = v.folder / seat.signer.hex()
    folder.mkdir(exist_ok=True)
    return folder / SEAT


async def changed(v: PlainVenue, dealt: Sequence[Seat]) -> None:
    """The next committee takes office in the log."""
    plan = planned(v, dealt)
    with_plan(v, [*v.committee.dealt, *(s for s in dealt if s not in v.committee.dealt)], plan)
    await v.venue.change_committee(plan)
    v.committee.dealt = dealt


async def crossed(v: PlainVenue, ada: AsyncTrader, ben: AsyncTrader) -> None:
    await ada.submit(buy("0.50"))
    await ben.submit(sell("0.50"))
    await v.close_round(settle=False)
    await v.open_round()


def test_a_new_key_releases_orders_and_traders_go_on_where_they_are(tmp_path: Path) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("ada") as ada, v.trader("ben") as ben:
            await v.deposit(ada)
            await v.deposit(ben)
            await crossed(v, ada, ben)
            stands = await ada.submit(buy("1"))
            free = [b.free for b in await ada.balances()]
            await changed(v, rotated())
            await v.settle()  # of the round before, by the same signers
            await audited(v, 1)

            assert [b.free for b in await ada.balances()] > free
            record = (await ada.orders())[stands.root].latest.record
            assert (record.state, record.reason) == (OrderState.RELEASED, "new committee key")
            assert "because the committee has a new key" in await ada.check_inclusion(stands.hash)
            await crossed(v, ada, ben)  # sealed to the new key, without a word
            await v.settle()
            assert [f.state for f in await ada.fills()] == [FillState.SETTLED] * 2
            await audited(v, 1, 2)
        async with v.trader("ada", "again", fresh=False) as again:  # a new folder sees all of it
            await again.recover()
            assert len(await again.fills()) == 2
            assert "new key" in await again.check_inclusion(stands.hash)
        before = v.venue.tenures
        await v.restart()
        assert v.venue.tenures == before
        assert v.engine.state.key == rotated()[0].committee.key

    played(tmp_path, scenario)


def test_a_member_is_replaced_on_chain_and_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(v: PlainVenue) -> None:
        data = written(v)
        async with v.trader("ada") as ada, v.trader("ben") as ben, served(create_app(v.venue)) as url:
            write_whole(data / FILE, f"[api]\nport = {url.rpartition(':')[2]}\n", 0o600)
            await v.deposit(ada)
            await v.deposit(ben)
            await crossed(v, ada, ben)
            await v.settle()
            stands = await ada.submit(buy("1"))
            present = [*seats()[:2], others()[2]]
            plan = planned(v, present)
            file = data / "next-committee.json"
            said = await run("plan", file, data)
            assert (said["key_epoch"], said["next"]) == (1, "change")
            write_whole(file, plan.encode(), 0o600)
            with_plan(v, seats(), plan)
            monkeypatch.setattr(commands, "attached", lambda _: v.chain)  # whose node is this process
            said = await run("propose", file, data)
            assert said["epoch"] == 2
            with_plan(v, [*seats(), others()[2]], plan)
            await run("change", file, data, code=1)  # the vault comes first

            v.chain.advance(said["ready_at"] - v.chain.now())
            ahead = v.chain.now() - time.time()
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() + ahead)
            v.chain.evm._lead = 0  # the clock on the wall has gone as far by now
            assert (await run("activate", None, data))["epoch"] == 2
            assert "another one than this venue's" in await v.engine.handover()
            said = await run("change", file, data)
            assert (said["key_epoch"], said["released"]) == (1, 0)
            v.committee.dealt = present
            await run("change", file, data, code=1)  # it is done

            assert (await ada.orders())[stands.root].latest.record.state is OrderState.STANDING
            await ben.submit(sell("0.25"))
            await v.close_round()
            assert [f.state for f in await ada.fills()] == [FillState.SETTLED] * 2
            assert v.chain.next_id() == 3
            info = next(iter(ada.markets.values()))
            check_committee(v.chain, info.terms, info.signers)
            await audited(v, 1, 2)
        liar = Lying(v.transport, "/markets/", of_another_first)
        with pytest.raises(ConfigError, match="committee"):
            async with v.trader("ada", transport=liar):
                pass

    played(tmp_path, scenario)


class Turning(Carrier):
    """The key changes while an order is on its way."""

    def __init__(self, v: PlainVenue) -> None:
        super().__init__(v.transport)
        self._v, self.turned = v, False

    async def carry(self, request: httpx.Request) -> httpx.Response:
        if submits(request) and not self.turned:
            self.turned = True
            await changed(self._v, rotated())
        return await super().carry(request)


def test_an_order_on_its_way_is_sealed_anew_for_the_new_key(tmp_path: Path) -> None:
    async def scenario(v: PlainVenue) -> None:
        turning = Turning(v)
        async with v.trader("ada", transport=turning) as ada:
            await v.deposit(ada)
            placed = await ada.submit(buy("1"))
        assert turning.turned
        (order,) = v.engine.state.books[v.view.terms.market.id].standing
        assert order.hash == placed.hash
        assert order.statement.key_id == rotated()[0].committee.key.key_id
        assert [path for _, path in turning.seen].count("/v1/orders") == 2

    played(tmp_path, scenario)


async def run(name: str, file: Path | None, data: Path, code: int = 0) -> dict[str, Any]:
    """What a command of the operator's says."""
    files = [] if file is None else [str(file)]
    arguments = ["operator", "committee", name, *files, "--data", str(data), "--json"]
    done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert done.exit_code == code, done.output
    return {} if code else dict(json.loads(done.stdout))


def written(v: PlainVenue) -> Path:
    """The operator's folder."""
    data, terms, first = v.folder / "operator", v.view.terms, v.venue.tenures.first
    data.mkdir()
    Deployment(
        terms.venue,
        terms.chain_id,
        terms.contract,
        terms.tokens,
        first.key,
        first.signers,
        terms.settle_window,
    ).save(data)
    write_whole(data / "operator.key", OPERATOR.hex() + "\n", 0o600)
    return data


def of_another_first(body: dict[str, Any]) -> dict[str, Any]:
    """The true committee in office, but the one before it is made up: by who could forge all of the past."""
    first, last = (Message.decode(bytes.fromhex(entry[2:])) for entry in body["committee"]["history"])
    forged = replace(first, fields={**first.fields, "members": last.fields["members"]})
    return {
        **body,
        "committee": {"history": ["0x" + forged.encode().hex()]},
        "summary": {**body["summary"], "key_epoch": 0},
    }


async def audited(v: PlainVenue, *numbers: int) -> None:
    """Those rounds verify, from what is public, each by the committee of its time."""
    for number in numbers:
        async with Concurrent(URL, v.transport) as shell:
            name = v.view.terms.market.name
            file = await shell.run(RoundClient(lambda _done, _of: None).gather(name, number))
        failed = [c for c in verify_round(file) if c.outcome is not Outcome.HOLDS]
        assert [(c.name, c.outcome) for c in failed] == [("chain", Outcome.INCOMPLETE)]

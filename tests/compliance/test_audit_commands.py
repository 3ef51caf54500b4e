"""An auditor at a real venue: one day of one market of one account, and by attempt nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from api.app import create_app
from compliance.audit_check import audit
from compliance.audit_file import AuditFile
from compliance.audit_outcome import Audit, Outcome
from compliance.auditor import box_key
from compliance.auditor_client import AuditorClient
from compliance.disclosure_query import Basis, Query
from compliance.grant_checks import open_grant
from compliance.grantor import Ahead, Grantor
from compliance.grants import Grant
from compliance.opening import Reason, Refusal, open_order
from darkpool.cli.app import app
from darkpool.client.connection import Connection
from darkpool.client.steps import Work
from darkpool.client.trader_home import TraderHome
from darkpool.client.venue_api import VenueRefused
from darkpool.errors import DarkpoolError
from darkpool.keystore import Keystore
from tests.client.carriers import Carrier, Lying, answer
from tests.client.plain_venue import PASSPHRASE, PlainVenue, plain_venue
from tests.client.serving import served
from tests.client.test_trading import buy, sell
from tests.compliance.disclosing import (
    DAY_SECONDS,
    Disclosing,
    asked,
    auditor_keystore,
    disclosing,
    grantor,
    later,
)


@dataclass
class Scene:
    """Ann traded today, in two rounds, and once tomorrow, which closes today. Eve audits today."""

    at: Disclosing
    folder: Path
    eve: Keystore
    today: int
    grant: Grant
    ahead: Grant
    file: AuditFile
    run: asyncio.Runner

    @property
    def venue(self) -> PlainVenue:
        return self.at.venue

    def client(self, **options: Any) -> AuditorClient:  # noqa: ANN401 - of the client
        return AuditorClient(self.eve, TraderHome(self.folder), **options)

    def gather(self, query: Query, at: Disclosing | None = None, seconds: int = 600) -> AuditFile:
        with later(DAY_SECONDS + seconds):
            client = self.client()
            found: AuditFile = self.run.run(asked(at or self.at, client.gather(query)))
        return found

    def query(self, **changes: Any) -> Query:  # noqa: ANN401 - fields of a query
        fields: dict[str, Any] = {"market": self.grant.header.market, "grant": self.grant.header.id}
        days = {"first_day": self.today, "last_day": self.today}
        return Query(Basis.GRANT, **{**fields, **days, **changes})

    def verified(self, file: AuditFile) -> Audit:
        return audit(file, self.eve.address, box_key(self.eve.seed))


def by_the_chain(client: AuditorClient, venue: PlainVenue) -> AuditorClient:
    """The auditor's own node is the venue's chain."""

    async def on_chain(_: Connection, work: Callable[[Any], Any], info: object = None) -> Any:  # noqa: ANN401, ARG001
        return await Work(lambda: work(venue.chain))

    client.connection._rpc_url = "embedded"
    client.connection.on_chain = partial(on_chain, client.connection)  # type: ignore[method-assign]
    return client


async def a_day(at: Disclosing, folder: Path, today: int) -> tuple[Keystore, Grant, Grant, AuditFile]:
    v = at.venue
    async with v.trader("ann", transport=at.transport) as ann, v.trader("bob", transport=at.transport) as bob:
        await v.deposit(ann)
        await v.deposit(bob)
        await ann.submit(buy("1", reference="desk-7"))
        await ann.submit(buy("0.5", "1999.00"))
        await bob.submit(sell("0.4"))
        await v.close_round()
        await v.open_round()
        await ann.submit(buy("0.3", "1998.50"))
        await bob.submit(sell("0.2", "2001.00"))
        await v.close_round()
        eve = auditor_keystore(folder)
        client = by_the_chain(AuditorClient(eve, TraderHome(folder)), v)
        giving = grantor(ann, v.committee.keystores[ann.address])
        made: Grant = await ann._run(giving.grant(client.auditor, "", (today, today + 3), "annual audit"))
        ahead: Grant = await ann._run(
            giving.grant(client.auditor, "", (today, today + 1), "two days", ahead=Ahead.YES)
        )
        with later(DAY_SECONDS + 300):
            await v.threads.chain(v.chain.advance, DAY_SECONDS + 400)
            await v.engine.follow_chain()
            await v.open_round()
            await ann.submit(buy("0.1"))
            await bob.submit(sell("0.1"))
            await v.close_round()
            query = Query(Basis.GRANT, made.header.market, today, today, grant=made.header.id)
            file: AuditFile = await asked(at, client.gather(query))
    return eve, made, ahead, file


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("disclosing")
    with asyncio.Runner() as runner:
        context = plain_venue(folder)
        venue = runner.run(context.__aenter__())
        at = disclosing(venue)
        # Midnight must not pass in the middle of the day.
        left = DAY_SECONDS - time.time() % DAY_SECONDS
        with later(left + 3_600):
            today = int(time.time()) // DAY_SECONDS
            found = runner.run(a_day(at, folder / "eve", today))
            yield Scene(at, folder / "eve", found[0], today, *found[1:], runner)
        runner.run(context.__aexit__(None, None, None))


# --- what it opens --------------------------------------------------------------------------------------


def test_the_day_is_complete_true_and_as_the_chain_has_it(scene: Scene) -> None:
    done = scene.verified(AuditFile.decode(scene.file.encode()))
    assert {c.name: c.outcome for c in done.checks if c.outcome is not Outcome.HOLDS} == {}, done.checks
    assert done.exit_code == 0
    assert done.report is not None
    assert [(o.quantity, o.order.level) for o in done.report.opened][:1] == [(100, 32)]
    assert len(done.report.opened) == 3
    assert {n.settlement for n in done.nets} == {1, 2}
    assert all(n.rounds == n.chain for n in done.nets)


def test_it_holds_only_days_that_have_begun(scene: Scene) -> None:
    assert (scene.grant.header.first_day, scene.grant.header.last_day) == (scene.today, scene.today)
    assert scene.ahead.header.last_day == scene.today + 1


def test_nothing_else_opens(scene: Scene) -> None:
    """With the keys of the grant, every other order of every sealed list: the next day's, and bob's."""
    keys = open_grant(scene.grant, box_key(scene.eve.seed))
    venue = scene.venue
    terms = venue.view.terms
    opened, closed = 0, set()
    for number in (1, 2, 3):
        sealed = scene.run.run(venue.venue.sealed_list(terms.market.id, number))
        for leaf in sealed.leaves:
            raw = scene.run.run(venue.venue.raw_order(leaf[-32:]))
            assert raw is not None
            try:
                open_order(raw, terms, keys)
                opened += 1
            except Refusal as refusal:
                closed.add((leaf[:20] == scene.grant.header.account, refusal.reason))
    assert closed == {(True, Reason.OUT_OF_SCOPE), (False, Reason.OUT_OF_SCOPE)}
    assert opened >= 3


@pytest.mark.parametrize(
    "changes,check",
    [
        ({"first_day": -1}, "outside-its-days"),
        ({"last_day": 1}, "outside-its-days"),
        ({"market": b"\x07" * 32}, "other-market"),
    ],
)
def test_the_venue_answers_nothing_else(scene: Scene, changes: dict[str, Any], check: str) -> None:
    moved = {k: scene.today + v if isinstance(v, int) else v for k, v in changes.items()}
    client = scene.client()
    with later(DAY_SECONDS + 600):
        scene.run.run(asked(scene.at, client.connection.refresh()))
        with pytest.raises(VenueRefused) as refused:
            scene.run.run(asked(scene.at, client.api.query(scene.query(**moved))))
    assert (refused.value.code, refused.value.facts["check"]) == ("query-refused", check)


def test_without_a_node_the_chain_is_open(scene: Scene) -> None:
    done = scene.verified(scene.gather(scene.query()))
    assert [c.name for c in done.checks if c.outcome is not Outcome.HOLDS] == ["chain"]
    assert done.exit_code == 1


def test_a_grant_ahead_opens_the_next_day_too(scene: Scene) -> None:
    query = scene.query(grant=scene.ahead.header.id, last_day=scene.today + 1)
    done = scene.verified(scene.gather(query))
    assert done.report is not None
    assert len(done.report.opened) == 4
    assert [c.name for c in done.checks if c.outcome is Outcome.INCOMPLETE] == ["lists", "chain"]


# --- a venue that lies ------------------------------------------------------------------------------------


def lied_to(scene: Scene, path: str, alter: Callable[[Any], Any]) -> Audit:
    at = Disclosing(
        scene.at.venue, scene.at.records, scene.at.service, Lying(scene.at.transport, path, alter)
    )
    return scene.verified(scene.gather(scene.query(), at))


def test_withheld_bytes_and_lists_are_named(scene: Scene) -> None:
    hidden = next(iter(scene.file.orders))
    kept = {h: raw for h, raw in scene.file.orders.items() if h != hidden}
    done = scene.verified(replace(scene.file, orders=kept).signed(scene.eve.private_key))
    found = next(c for c in done.checks if c.name == f"order 0x{hidden.hex()}")
    assert (found.what, found.by, done.exit_code) == ("missing", "venue", 3)

    def shorter(body: Any) -> Any:  # noqa: ANN401 - JSON
        return {**body, "leaves": body["leaves"][:-1], "sequences": body["sequences"][:-1]}

    done = lied_to(scene, r"/rounds/0x\w+/1/sealed$", shorter)
    assert next(c for c in done.checks if c.name == "lists").by == "operator"
    assert done.exit_code == 3


@pytest.mark.parametrize(
    "path,check,by",
    [
        (r"/rounds/0x\w+/1/orders/", "orders", "venue"),
        (r"/rounds/0x\w+/2/sealed$", "lists", "venue"),
        (r"/rounds/0x\w+/1/result$", "results", "venue"),
        (r"/settlements/", "settlements", "venue"),
    ],
)
def test_what_the_venue_does_not_hand_out_is_named(scene: Scene, path: str, check: str, by: str) -> None:
    transport = Refusing(scene.at.transport, path, 404)
    done = scene.verified(scene.gather(scene.query(), replace(scene.at, transport=transport)))
    found = next(c for c in done.checks if c.outcome is Outcome.FAILS)
    assert (found.name, found.by) == (check, by)


def test_a_venue_that_is_busy_withholds_nothing(scene: Scene) -> None:
    transport = Refusing(scene.at.transport, r"/rounds/0x\w+/1/orders/", 409)
    with pytest.raises(VenueRefused):
        scene.gather(scene.query(), replace(scene.at, transport=transport))


class Refusing(Carrier):
    """Answers some paths with a problem of that status."""

    def __init__(self, inner: httpx.AsyncBaseTransport, path: str, status: int) -> None:
        super().__init__(inner)
        self._path, self._status = path, status

    async def carry(self, request: httpx.Request) -> httpx.Response:
        if not re.search(self._path, request.url.path):
            return await super().carry(request)
        problem = {"type": "urn:darkpool:problem:refused", "detail": "no", "hint": "never"}
        return answer(json.dumps(problem).encode(), self._status)


def test_a_false_price_is_named(scene: Scene) -> None:
    def other(body: Any) -> Any:  # noqa: ANN401 - JSON
        return {"payload": body["payload"].replace("7072696365223a33", "7072696365223a32")}  # "price":3_

    done = lied_to(scene, r"/rounds/0x\w+/1/result$", other)
    assert next(c for c in done.checks if c.name == "results").outcome is Outcome.FAILS


# --- what the account sees ----------------------------------------------------------------------------------


def test_the_account_sees_who_asked_and_revokes(scene: Scene) -> None:
    async def sees() -> None:
        v = scene.venue
        async with v.trader("ann", transport=scene.at.transport, read_only=True) as ann:
            giving: Grantor = grantor(ann, v.committee.keystores[ann.address])
            seen = await ann._run(giving.accesses())
            assert seen[0].auditor == scene.eve.address
            assert (seen[0].first_day, seen[0].outcome) == (scene.today, "answered")
            await ann._run(giving.revoke(scene.ahead.header.id))
            states = {own.header.id: own.state.value for own in await ann._run(giving.own())}
            assert states == {scene.grant.header.id: "active", scene.ahead.header.id: "revoked"}

    with later(DAY_SECONDS + 700):
        scene.run.run(sees())
        client = scene.client()
        listed = scene.run.run(asked(scene.at, client.grants()))
    assert [one.failed for one in listed] == [None, "revoked"]
    query = scene.query(grant=scene.ahead.header.id, first_day=scene.today + 1, last_day=scene.today + 1)
    with pytest.raises(VenueRefused, match="revoked"):
        scene.gather(query, seconds=800)


def test_extending_grants_the_days_that_have_begun(scene: Scene) -> None:
    async def extended() -> Grant:
        v = scene.venue
        async with v.trader("ann", transport=scene.at.transport, read_only=True) as ann:
            giving = grantor(ann, v.committee.keystores[ann.address])
            made: Grant = await ann._run(giving.extend(scene.grant.header.id, None))
            with pytest.raises(DarkpoolError, match="no further day of it has begun"):
                await ann._run(giving.extend(scene.grant.header.id, None))
            return made

    with later(DAY_SECONDS + 800):
        made = scene.run.run(extended())
    assert (made.header.first_day, made.header.last_day) == (scene.today + 1, scene.today + 1)
    assert made.header.purpose == "annual audit"


# --- the commands -------------------------------------------------------------------------------------------


def command(scene: Scene, *arguments: str | Path, code: int = 0) -> str:
    """A command of the auditor's, in this process: what it prints."""
    environment = {"DARKPOOL_PASSPHRASE": PASSPHRASE, "COLUMNS": "80"}
    done = CliRunner().invoke(app, [*map(str, arguments), "--home", str(scene.folder)], env=environment)
    if isinstance(done.exception, DarkpoolError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keystores of these tests cost nothing to open."""
    real = Keystore.open.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Keystore, "open", classmethod(lambda cls, path, word: real(cls, path, word, allow_insecure_test=True))
    )


@pytest.mark.usefixtures("allowed")
def test_the_commands_query_verify_and_report(scene: Scene, tmp_path: Path) -> None:
    saved = tmp_path / "day.audit"

    async def serving() -> str:
        async with served(create_app(scene.venue.venue, serving=scene.at.service)) as url:
            at = ("--venue", url)
            grants = await asyncio.to_thread(command, scene, "audit", "grants", *at)
            assert "good" in grants
            assert max(map(len, grants.splitlines())) <= 80
            which = ("--grant", "0x" + scene.grant.header.id.hex()[:8], "--save", saved)
            day = ("--from", when(scene.today), "--to-day", when(scene.today))
            return await asyncio.to_thread(
                partial(command, code=1), scene, "audit", "query", *which, *day, *at
            )

    with later(DAY_SECONDS + 900):
        printed = scene.run.run(serving())
    assert "chain: no node of the chain was asked" in printed
    assert "3 orders opened" in printed
    assert max(map(len, printed.splitlines()[1:-1])) <= 80
    view = json.loads(command(scene, "audit", "verify", saved, "--json", code=1))
    assert [row["result"] for row in view["checks"][:-1]] == ["holds"] * 8
    assert "0.4" in command(scene, "audit", "report", saved, code=1)
    assert command(scene, "audit", "report", saved, "--format", "csv", code=1).count("desk-7") == 1
    assert "PARF" in command(scene, "audit", "report", saved, "--format", "csv", "--layout", "rts24", code=1)
    assert "<script" not in command(scene, "audit", "report", saved, "--format", "html", code=1)
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(DarkpoolError) as refused:
        command(scene, "audit", "verify", saved)
    assert refused.value.exit_code == 3


def when(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(day * DAY_SECONDS))

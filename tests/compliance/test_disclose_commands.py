"""The account's commands at a real venue: grant, extend, list, revoke, key, accesses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.app import create_app
from compliance.auditor import Auditor, box_key
from compliance.grant_checks import open_grant
from compliance.grants import Grant
from compliance.view_keys import Level, ViewKey, covering
from darkpool.cli.app import app
from darkpool.cli.times import day_of, day_text, expiry_of, time_text
from darkpool.errors import ConfigError, DarkpoolError, OrderRefused
from darkpool.keystore import Keystore
from darkpool.types import address_hex
from tests.client.plain_venue import PASSPHRASE, PlainVenue, plain_venue
from tests.client.serving import served
from tests.client.test_trading import buy, sell
from tests.compliance.disclosing import DAY_SECONDS, Disclosing, disclosing, later

BOX = box_key(b"\x07" * 32)


@dataclass
class Desk:
    """Ann, who has an order from today that stands tomorrow, when her commands run."""

    at: Disclosing
    url: str
    home: Path
    account: Keystore
    today: int
    runner: asyncio.Runner

    @property
    def venue(self) -> PlainVenue:
        return self.at.venue

    def run(self, *arguments: str, code: int = 0) -> str:
        """A command, in a thread of this process, while the venue serves; what it prints."""
        environment = {"DARKPOOL_PASSPHRASE": PASSPHRASE, "COLUMNS": "80"}
        words = ["disclose", *arguments, "--home", str(self.home), "--venue", self.url]
        work: Callable[[], Any] = lambda: CliRunner().invoke(app, words, env=environment)  # noqa: E731
        done = self.runner.run(asyncio.to_thread(work))
        if isinstance(done.exception, DarkpoolError):
            raise done.exception
        assert done.exit_code == code, done.output
        found: str = done.stdout
        return found

    def grant(self, *arguments: str) -> dict[str, Any]:
        days = ("--from", day_text(self.today + 1), "--to-day", day_text(self.today + 3))
        auditor = Auditor(self.account.address, BOX.public).export()
        made = self.run("grant", "--to", auditor, *days, "--purpose", "a test", *arguments, "--json")
        found: dict[str, Any] = json.loads(made)
        return found

    def kept(self, grant: str) -> Grant:
        """As the venue has it."""
        rows = self.runner.run(self.at.service.grants_of(self.account.address, 0, 100))
        return next(r.grant for r in rows if "0x" + r.grant.header.id.hex() == grant)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    real = Keystore.open.__func__  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patched, asyncio.Runner() as runner:
        patched.setattr(
            Keystore,
            "open",
            classmethod(lambda cls, path, word, **_: real(cls, path, word, allow_insecure_test=True)),
        )
        stack = AsyncExitStack()
        v = runner.run(stack.enter_async_context(plain_venue(folder)))
        at = disclosing(v)
        with later(DAY_SECONDS - time.time() % DAY_SECONDS + 3_600):
            today = int(time.time()) // DAY_SECONDS
            account = runner.run(traded(v, at))
            with later(DAY_SECONDS):
                runner.run(tomorrow(v))
                url = runner.run(stack.enter_async_context(served(create_app(v.venue, serving=at.service))))
                yield Desk(at, url, folder / "home-ann", account, today, runner)
                runner.run(stack.aclose())


async def traded(v: PlainVenue, at: Disclosing) -> Keystore:
    async with v.trader("ann", transport=at.transport) as ann, v.trader("bob", transport=at.transport) as bob:
        await v.deposit(ann)
        await v.deposit(bob)
        await ann.submit(buy("1"))
        await bob.submit(sell("1"))
        await v.close_round()
        await v.open_round()
        await ann.submit(buy("0.3", "1998.50"))
        await bob.submit(sell("0.2", "2001.00"))
        return v.committee.keystores[ann.address]


async def tomorrow(v: PlainVenue) -> None:
    await v.threads.chain(v.chain.advance, DAY_SECONDS)
    await v.engine.follow_chain()
    await v.close_round()
    await v.open_round()


def test_a_grant_holds_the_days_that_have_begun_and_what_stood_in_them(desk: Desk) -> None:
    made = desk.grant()
    assert (made["first_day"], made["last_day"]) == (day_text(desk.today + 1), day_text(desk.today + 1))
    grant = desk.kept(made["id"])
    keys = open_grant(grant, BOX)
    assert [(k.scope.level, k.scope.day) for k in keys] == [
        (Level.DAY, desk.today + 1),
        (Level.ORDER, desk.today),
    ]
    standing = (desk.today, keys[1].scope.nonce or 0)
    assert keys == covering(desk.account.seed, grant.header.scope, desk.today + 1, desk.today + 1, [standing])
    assert grant.header.expires - grant.header.issued_at == 90 * DAY_SECONDS


def test_ahead_it_holds_days_to_come_and_expires_when_it_says(desk: Desk) -> None:
    until = day_text(desk.today + 9)
    made = desk.grant("--ahead", "--expires", until, "--market", "WETH-USDC")
    grant = desk.kept(made["id"])
    assert [k.scope.day for k in open_grant(grant, BOX)] == [desk.today + n for n in (1, 2, 3, 0)]
    assert grant.header.expires == (desk.today + 10) * DAY_SECONDS


def test_it_says_in_words_what_was_granted(desk: Desk) -> None:
    auditor = Auditor(desk.account.address, BOX.public).export()
    text = desk.run(
        *("grant", "--to", auditor, "--from", day_text(desk.today), "--to-day", day_text(desk.today + 2)),
        *("--purpose", "the yearly check"),
    )
    assert f"may see this account's orders in WETH-USDC of {day_text(desk.today)}" in text
    assert "the yearly check" in text
    assert "`darkpool disclose extend` grants them" in text


def test_list_shows_every_grant_within_eighty_columns(desk: Desk) -> None:
    made = {desk.grant()["id"], desk.grant("--ahead")["id"]}
    text = desk.run("list")
    assert max(map(len, text.splitlines())) <= 80
    rows = json.loads(desk.run("list", "--json"))
    assert made <= {row["id"] for row in rows}
    assert {row["state"] for row in rows} <= {"active", "revoked"}


def test_revoking_is_by_any_beginning_of_the_id_that_is_one_grants(desk: Desk) -> None:
    made = desk.grant()
    text = desk.run("revoke", made["id"][:12])
    assert "is revoked from" in text
    assert "cannot take back" in text
    states = {row["id"]: row["state"] for row in json.loads(desk.run("list", "--json"))}
    assert states[made["id"]] == "revoked"
    for bad, error in (("0x12", ConfigError), ("grant", ConfigError), ("0x" + "00" * 32, OrderRefused)):
        with pytest.raises(error):
            desk.run("revoke", bad)


def test_no_further_day_can_be_granted_before_it_begins(desk: Desk) -> None:
    made = desk.grant("--purpose", "extended")
    with pytest.raises(OrderRefused, match="no further day"):
        desk.run("extend", made["id"])
    more = json.loads(
        desk.run("extend", made["id"], "--ahead", "--to-day", day_text(desk.today + 4), "--json")
    )
    assert (more["first_day"], more["last_day"]) == (day_text(desk.today + 2), day_text(desk.today + 4))
    auditor = Auditor(desk.account.address, BOX.public).export()
    with pytest.raises(ConfigError, match="has not begun"):
        desk.run(
            *("grant", "--to", auditor, "--from", day_text(desk.today + 2)),
            *("--to-day", day_text(desk.today + 3), "--purpose", "early"),
        )


@pytest.mark.parametrize(
    "arguments,level",
    [
        ((), Level.ACCOUNT),
        (("--market", "WETH-USDC"), Level.MARKET),
        (("--market", "WETH-USDC", "--day", "2026-11-01"), Level.DAY),
        (("--market", "WETH-USDC", "--day", "2026-11-01", "--nonce", "3"), Level.ORDER),
    ],
)
def test_a_view_key_comes_alone_and_with_a_warning_beside_it(
    desk: Desk, arguments: tuple[str, ...], level: Level
) -> None:
    key = ViewKey.parse(desk.run("key", *arguments).strip())
    assert key.scope.level is level
    assert key == ViewKey.of(desk.account.seed, key.scope)


@pytest.mark.parametrize("arguments", [("--day", "2026-11-01"), ("--market", "WETH-USDC", "--nonce", "3")])
def test_a_view_key_leaves_no_level_out(desk: Desk, arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="a level is left out"):
        desk.run("key", *arguments)


def test_accesses_name_who_asked_and_what_came_of_it(desk: Desk) -> None:
    from compliance.disclosure_query import Basis, Query

    made = desk.kept(desk.grant()["id"])
    day = made.header.first_day
    query = Query(Basis.GRANT, made.header.market, day, day, grant=made.header.id)
    desk.runner.run(desk.at.service.query(desk.account.address, query))
    with pytest.raises(OrderRefused):
        desk.runner.run(desk.at.service.query(made.header.auditor.account[::-1], query))  # type: ignore[arg-type]
    rows = json.loads(desk.run("accesses", "--json"))[-2:]
    assert [row["outcome"] for row in rows] == ["answered", "other-auditor"]
    assert rows[0]["auditor"] == address_hex(desk.account.address)
    assert (rows[0]["market"], rows[0]["first_day"]) == ("WETH-USDC", day_text(day))
    text = desk.run("accesses")
    assert "answered" in text
    assert max(map(len, text.splitlines())) <= 85


@pytest.mark.parametrize(
    "text", ["", "2026-13-01", "2026-1-1", "20261101", "2026-W01-1", "1969-12-31", "now"]
)
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--from"):
        day_of(text, "--from")


def test_days_and_times_read_as_they_are_written() -> None:
    assert day_text(day_of("2026-11-01", "--from")) == "2026-11-01"
    assert expiry_of("1970-01-01") == DAY_SECONDS
    assert expiry_of("") == 0
    assert time_text(1 << 63) == f"{1 << 63} s"
    assert day_text(1 << 31) == f"day {1 << 31}"


def test_what_cannot_be_meant_is_refused_before_the_venue_is_asked(desk: Desk) -> None:
    good = Auditor(desk.account.address, BOX.public).export()
    for to, first, last in (
        ("dpaudit1nonsense", "2026-11-01", "2026-11-01"),
        (good, "yesterday", "2026-11-01"),
        (good, "2026-11-02", "2026-11-01"),
    ):
        with pytest.raises(ConfigError):
            desk.run("grant", "--to", to, "--from", first, "--to-day", last, "--purpose", "x")
    with pytest.raises(ConfigError, match="purpose"):
        desk.run("grant", "--to", good, "--from", "2026-11-01", "--to-day", "2026-11-01", "--purpose", "")

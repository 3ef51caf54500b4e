"""Contests answered by a member's copy of the log, which says what the venue would; no other log is taken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from commitments.params import INSECURE_TEST
from darkpool import arbiter, contest
from darkpool.chain import Chain
from darkpool.cli.app import app
from darkpool.client.logged import LoggedRounds, finished
from darkpool.client.refuting import refutation
from darkpool.client.steps import Sleep
from darkpool.committee.home import DATABASE, Home
from darkpool.contest import SettledRecord
from darkpool.errors import ConfigError, Unavailable
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.store.database import Database, sqlite_url
from darkpool.store.log_store import LogStore
from darkpool.store.rows import MAX_PAGE
from darkpool.tenure import Tenure
from darkpool.tenure_file import FIRST, Planned
from tests.client.plain_venue import PASSPHRASE, PlainVenue, seats, signers
from tests.client.test_disputes import at_venue, case_of, false_denials_are_refuted, settled
from tests.client.test_settlements import Pair, pair
from tests.encrypted import seats as seats_of

KEY = seats()[0].committee.key


def member_home(v: PlainVenue) -> Path:
    """Of member 1, which has taken in the venue's log."""
    home = v.folder / "member-1"
    Home(signers()).save(home, seats()[0])
    copied(home / DATABASE, v.engine.log.store.entries(0, MAX_PAGE)).database.close()
    return home


async def tells_what_the_venue_tells(p: Pair, source: LoggedRounds, record: SettledRecord) -> None:
    venue = at_venue(p)
    there, here = (
        await p.ada._run(venue.rounds(record.transcript)),
        finished(source.rounds(record.transcript)),
    )
    assert list(here) == list(there)
    assert source.vault == venue.vault
    (found,) = here
    for leaf in found.leaves:
        assert finished(source.order(found.words, leaf[-32:])) == await p.ada._run(
            venue.order(found.words, leaf[-32:])
        )
    terms = p.v.view.terms
    assert (source.terms(terms.hash), source.terms(bytes(32))) == (terms.preimage, None)
    for transcript in (bytes(32), record.transcript[::-1]):
        with pytest.raises(Unavailable, match="no settlement"):
            finished(source.rounds(transcript))


async def answers_from_the_command_line(
    p: Pair, record: SettledRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ben denies his order of another settlement; the venue's API is not asked."""
    said = contest.evidence(replace(await case_of(p, record), listed=()), p.ben.address, {})
    assert said is not None
    key = p.v.committee.keystores[p.ben.address].private_key
    await p.v.threads.chain(arbiter.contest, p.v.chain, key, said)
    monkeypatch.setattr(Chain, "rpc", lambda *_, **__: p.v.chain)
    monkeypatch.setenv("DARKPOOL_PASSPHRASE", PASSPHRASE)
    monkeypatch.setattr(
        "darkpool.keystore.Keystore.open", lambda *_, **__: p.v.committee.keystores[p.ada.address]
    )
    home = await p.v.threads.store(member_home, p.v)

    def run(*options: str) -> list[dict[str, object]]:
        arguments = ["refute", "--member", str(home), "--home", str(p.v.folder / "home-ada"), "--json"]
        done = CliRunner().invoke(app, [*arguments, "--venue", "http://127.0.0.1:1", *options])
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in done.output.splitlines()]

    (row,) = await p.v.threads.chain(run, "--dry-run")
    assert (row["settlement"], "transaction" in row) == (record.id, False)
    assert "nonce" in str(row["shown"])
    (row,) = await p.v.threads.chain(run)
    assert "transaction" in row
    standing = await p.v.threads.chain(arbiter.standing, p.v.chain, record.id, p.ben.address)
    assert standing.closed
    assert await p.v.threads.chain(run) == []


def test_a_members_log_answers_as_the_venue_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as p:
            store = LogStore(Database.as_it_is(sqlite_url(tmp_path / "venue.db")))
            source = LoggedRounds(store, KEY, signers())
            source.follow()
            record = await settled(p, 0)
            with pytest.raises(Unavailable):
                finished(source.rounds(record.transcript))
            source.follow()
            await tells_what_the_venue_tells(p, source, record)
            await false_denials_are_refuted(p, source, record, await case_of(p, record))
            found = arbiter.Contested(record.id, p.ada.address, 0, 1, (), ())
            other = replace(record, transcript=bytes(32))
            with pytest.raises(Unavailable):
                finished(refutation(source, found, other))
            second = await settled(p, 0)
            await answers_from_the_command_line(p, second, monkeypatch)
            await a_log_of_others_is_refused(store, tmp_path)
            store.database.close()

    asyncio.run(scenario())


async def a_log_of_others_is_refused(store: LogStore, folder: Path) -> None:
    strangers = Signers(1, {i: a[::-1] for i, a in signers().addresses.items()})  # type: ignore[misc]
    with pytest.raises(ConfigError, match="none of this committee's"):
        LoggedRounds(store, KEY, strangers).follow()
    entries = store.entries(0, 200)
    at = next(i for i, data in enumerate(entries) if Message.decode(data).op == "seal")
    seal = Message.decode(entries[at])
    for number, wrong in enumerate(
        (
            [*entries[:at], b"\0"],
            entries[: at - 1] + entries[at:],
            [*entries[:at], Message("seal", {**seal.fields, "round": 7}).encode()],
        )
    ):
        with pytest.raises(ConfigError, match=r"log: entry \d+ is none"):
            LoggedRounds(copied(folder / f"{number}.db", wrong), KEY, signers()).follow()


def copied(path: Path, entries: Sequence[bytes]) -> LogStore:
    store = LogStore(Database.open(sqlite_url(path)))
    store.append(0, entries)
    return store


def test_an_empty_log_has_no_vault_and_a_home_that_joined_nobody_is_refused(tmp_path: Path) -> None:
    source = LoggedRounds(copied(tmp_path / "empty.db", []), KEY, signers())
    source.follow()
    with pytest.raises(Unavailable, match="no market"):
        assert source.vault
    with pytest.raises(ConfigError), LoggedRounds.of_member(tmp_path):
        pass
    Home(None).save_settings(tmp_path)
    with pytest.raises(ConfigError, match="not joined"), LoggedRounds.of_member(tmp_path):
        pass


def test_a_home_with_a_later_seat_is_read_from_the_committee_its_venue_began_with(tmp_path: Path) -> None:
    home, began = tmp_path / "member-1", Tenure(signers(), KEY)
    Home(signers()).save(home, seats_of(INSECURE_TEST, len(signers().addresses))[0])
    (home / FIRST).write_text(Planned(began).encode())
    copied(home / DATABASE, []).database.close()
    with LoggedRounds.of_member(home) as source:
        assert (source._state.key, source._state.signers) == (began.key, began.signers)


def test_what_asks_for_something_is_not_finished() -> None:
    async def asking() -> None:
        await Sleep(1)

    with pytest.raises(AssertionError):
        finished(asking())

"""The trader's commands at a real venue, as processes: what they say of orders left over or unanswered."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from darkpool.client.steps import Unreachable
from darkpool.client.trader import AsyncTrader
from darkpool.client.trader_home import TraderHome
from darkpool.keystore import Keystore
from tests.client.carriers import Breaking, submits
from tests.client.conftest import Play
from tests.client.plain_venue import PASSPHRASE, URL, PlainVenue
from tests.client.serving import served
from tests.client.test_commands import darkpool
from tests.client.test_crashes import impatient
from tests.client.test_recovery import partly_filled
from tests.client.test_trading import buy

Run = Callable[..., subprocess.CompletedProcess[str]]


def keys(v: PlainVenue, folder: Path) -> tuple[TraderHome, Keystore]:
    """A trader as `darkpool keygen` makes one; its backup lies in `paper` beside."""
    made = darkpool("keygen", "--home", folder, "--backup", folder.with_name("paper"))
    assert made.returncode == 0, made.stderr
    home = TraderHome(folder)
    keystore = Keystore.open(home.keystore, PASSPHRASE)
    v.committee.keystores[keystore.address] = keystore
    return home, keystore


async def commands(v: PlainVenue, scenario: Callable[[Run], None]) -> None:
    """Runs it in a thread, with the command line pointed at the venue."""
    async with served(create_app(v.venue)) as url:

        def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
            done = darkpool(*arguments, "--venue", url)
            assert done.returncode == code, done.stderr
            return done

        await asyncio.to_thread(scenario, run)


@pytest.mark.slow
def test_recover_names_what_is_not_renewed(play: Play, tmp_path: Path) -> None:
    async def scenario(v: PlainVenue) -> None:
        home, keystore = await asyncio.to_thread(keys, v, tmp_path / "home")
        async with (
            AsyncTrader.open(URL, home, keystore, transport=v.transport) as ann,
            v.trader("bob") as bob,
        ):
            root = await partly_filled(v, ann, bob)
            await ann.cancel(root)
        secrets = tmp_path / "paper"
        files = ("--seed-file", secrets / "seed.hex", "--key-file", secrets / "key.hex")

        def recover(run: Run) -> None:
            copy = ("--home", tmp_path / "copy")
            done = run("recover", *files, *copy, "--json")
            assert json.loads(done.stdout)["not_renewed"] == [str(root)]
            assert f"not renewed: what is left of orders {root}, for" in done.stderr
            again = run("recover", *copy, "--json")
            assert (json.loads(again.stdout)["not_renewed"], again.stderr) == ([], "")
            assert json.loads(run("order", "status", *copy, "--json").stdout)[0]["state"] == "consumed"

        await commands(v, recover)

    play(scenario)


@pytest.mark.slow
def test_what_has_no_answer_is_shown_and_taken_back(play: Play, tmp_path: Path) -> None:
    async def scenario(v: PlainVenue) -> None:
        home, keystore = await asyncio.to_thread(keys, v, tmp_path / "home")
        carrier = Breaking(v.transport, submits, httpx.ReadError("lost"), sent=False)
        async with AsyncTrader.open(URL, home, keystore, transport=carrier) as ann:
            await v.deposit(ann)
            impatient(ann)
            with pytest.raises(Unreachable):
                await ann.submit(buy("1"))

        def take_back(run: Run) -> None:
            at = ("--home", tmp_path / "home")
            shown = run("order", "status", *at).stdout
            assert "unanswered" in shown
            assert max(map(len, shown.splitlines())) <= 80
            assert (
                "order 0 is taken back: the venue does not have it" in run("order", "cancel", "0", *at).stdout
            )
            assert json.loads(run("order", "status", *at, "--json").stdout) == []
            assert run("order", "cancel-all", *at).stdout == "there was nothing to cancel\n"
            assert json.loads(run("order", "cancel-all", *at, "--json").stdout) == {"sequences": []}
            run("order", "submit", "buy", "1", "1999.00", *at)
            assert "all unsealed orders are cancelled, log entry" in run("order", "cancel-all", *at).stdout
            assert "order: 1 is cancelled" in run("order", "cancel", "1", *at, code=1).stderr

        await commands(v, take_back)

    play(scenario)

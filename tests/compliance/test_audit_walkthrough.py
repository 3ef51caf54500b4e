"""The auditor's ten minutes in docs/audit-guide.md, command by command, at a venue that traded yesterday."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.app import create_app
from darkpool.client.trader import AsyncTrader
from darkpool.client.trader_home import TraderHome
from darkpool.keystore import Keystore
from tests.client.plain_venue import PASSPHRASE, URL, PlainVenue, plain_venue
from tests.client.serving import served
from tests.client.test_trading import buy, sell
from tests.compliance.disclosing import DAY_SECONDS, Disclosing, disclosing, later

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "audit-guide.md"


def steps() -> Iterator[tuple[str, str]]:
    """Each command with the answer below it."""
    for block in re.findall(r"^```console\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = step.partition("\n")
            yield command, answer


async def yesterday(v: PlainVenue, at: Disclosing, folder: Path) -> None:
    home = TraderHome(folder / "account")
    account = Keystore.create(home.keystore, PASSPHRASE)
    v.committee.keystores[account.address] = account
    with home.lock():
        home.fresh()
    async with (
        AsyncTrader.open(URL, home, account, transport=at.transport) as ann,
        v.trader("bob", transport=at.transport) as bob,
    ):
        await v.deposit(ann)
        await v.deposit(bob)
        await ann.submit(buy("1"))
        await ann.submit(buy("0.5", "1999.00"))
        await bob.submit(sell("0.4"))
        await v.close_round()


async def today(v: PlainVenue, at: Disclosing) -> None:
    """A round that does not cross closes the day."""
    await v.threads.chain(v.chain.advance, DAY_SECONDS)
    await v.engine.follow_chain()
    await v.open_round()
    async with v.trader("bob", transport=at.transport) as bob, v.trader("cy", transport=at.transport) as cy:
        await v.deposit(cy)
        await bob.submit(sell("0.1", "2001.00"))
        await cy.submit(buy("0.1", "1999.00"))
        await v.close_round()


def shifted(folder: Path, seconds: float) -> dict[str, str]:
    """An environment in which programs of ours, and `date`, take it to be so much later."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "sitecustomize.py").write_text(
        f"import time\nreal = time.time\ntime.time = lambda: real() + {seconds}\n"
    )
    date = tools / "date"
    date.write_text(
        f"#!/bin/bash\nnow=$(( $(/bin/date +%s) + {int(seconds)} ))\n"
        '[[ "$*" == *yesterday* ]] && now=$((now - 86400))\nexec /bin/date -u -d "@$now" +%F\n'
    )
    date.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(tools),
        "DARKPOOL_PASSPHRASE": PASSPHRASE,
        "COLUMNS": "80",
    }


def run(command: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.anyio
async def test_every_command_of_the_guide_answers_as_it_says(tmp_path: Path) -> None:
    context = plain_venue(tmp_path)
    v = await context.__aenter__()
    at = disclosing(v)
    morning = DAY_SECONDS - time.time() % DAY_SECONDS + 3_600  # midnight must not pass in between
    with later(morning):
        await yesterday(v, at, tmp_path)
    environment, done = shifted(tmp_path, morning + DAY_SECONDS), 0
    with later(morning + DAY_SECONDS):
        await today(v, at)
        async with served(create_app(v.venue, serving=at.service)) as url:
            environment["DARKPOOL_VENUE_URL"] = url
            for command, answer in steps():
                printed = await asyncio.to_thread(run, command, tmp_path, environment)
                pattern = ".*".join(map(re.escape, answer.strip().split("…")))
                assert re.fullmatch(pattern, printed, re.DOTALL), f"{command}\n{printed}"
                done += 1
    await context.__aexit__(None, None, None)
    assert done == GUIDE.read_text().count("\n$ ")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

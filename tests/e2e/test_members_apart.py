"""Five members as services of their own, at addresses of their own; the venue has committee.json alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from darkpool.cli.app import app
from darkpool.committee.directory import COMMITTEE
from darkpool.committee.joining import INTRODUCTION
from darkpool.deployment import Deployment
from darkpool.types import address_hex
from tests.anvil import running_anvil
from tests.e2e.test_exit import VenueOnChain, rpc
from tests.e2e.test_two_traders import Desk
from tests.fellowship import free_ports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
MEMBERS = range(1, 6)
COMMAND = (sys.executable, "-c", "from darkpool.cli import main; main()")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def darkpool(*words: str | Path) -> dict[str, Any]:
    """What the command prints with --json."""
    done = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    return dict(json.loads(done.stdout))


@dataclass
class Apart(VenueOnChain):
    """A venue whose members live in homes beside its folder, each at an address of its own."""

    indices: range = MEMBERS
    codes: set[str] = field(default_factory=set)
    _processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def home(self, index: int) -> Path:
        return self.folder.parent / f"home-{index}"

    def start(self) -> None:
        """The ceremony, at the first start."""
        out = self.folder.parent / "dealt"
        if not out.exists():
            for index in self.indices:
                place = ("--host", f"127.0.0.{index + 1}", "--port", str(free_ports(1)[0]))
                darkpool("member", "init", self.home(index), *place)
            files = [self.home(index) / INTRODUCTION for index in self.indices]
            options = ("--data", self.folder, "--out", out, "--profile", "insecure-test")
            self.codes.add(darkpool("operator", "committee", "deal", *files, *options)["code"])
            for index in self.indices:
                said = darkpool(
                    "member", "join", self.home(index), out / f"seat-{index}.sealed", out / COMMITTEE
                )
                self.codes.add(said["code"])
            with (self.folder / "darkpool.toml").open("a") as file:
                file.write(f'[committee]\nfile = "{out / COMMITTEE}"\n')
        super().start()

    def serve(self, index: int) -> None:
        """Start a member, which follows the venue's vault at the same node."""
        self._processes[index] = subprocess.Popen(
            [*COMMAND, "member", "serve", self.home(index)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )

    def end(self, index: int, how: signal.Signals) -> int:
        """Have a member end; its exit code."""
        process = self._processes.pop(index)
        process.send_signal(how)
        return process.wait(SECONDS)

    def member(self, index: int, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """A member's status, once it is so."""
        ends = time.monotonic() + SECONDS
        while not until(found := darkpool("member", "status", self.home(index))):
            assert time.monotonic() < ends, found
        return found

    @contextmanager
    def members(self) -> Iterator[None]:
        """All, for the length of the block; and any other served in it."""
        with ExitStack() as stack:
            stack.callback(lambda: [self.end(index, signal.SIGKILL) for index in list(self._processes)])
            for index in self.indices:
                self.follow(index)
                self.serve(index)
            yield

    def follow(self, index: int) -> None:
        """Have a member check the chain by itself."""
        vault = address_hex(self._deployed().vault)
        darkpool("member", "follow", self.home(index), "--rpc-url", self.chain_url, "--vault", vault)

    def _deployed(self) -> Deployment:
        ends = time.monotonic() + SECONDS
        while (found := Deployment.load(self.folder)) is None or self.ready() is None:
            assert time.monotonic() < ends, (self.folder / "up.log").read_text()[-2000:]
            time.sleep(0.1)
        return found


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Apart]:
    with running_anvil() as url:
        rpc(url, "evm_setIntervalMining", 1)
        with Apart(tmp_path / "venue", {"DARKPOOL_CHAIN__RPC_URL": url}, chain_url=url) as found:
            yield found


@pytest.mark.timeout(600)
def test_five_members_apart_clear_a_round_and_are_missed_by_name(venue: Apart, tmp_path: Path) -> None:
    assert len(venue.codes) == 1
    with venue.members():
        venue.wait()
        for index in MEMBERS:
            links = {"coordinator", *(f"member {i}" for i in MEMBERS if i != index)}
            found = venue.member(index, lambda s: set(s["links"].values()) == {"connected"})
            assert set(found["links"]) == links
        ada, ben = (Desk(venue, tmp_path / name) for name in ("ada", "ben"))
        for desk in (ada, ben):
            desk.funded()
        ada.json("order", "submit", "buy", "0.50", "2000.05")
        sold = ben.json("order", "submit", "sell", "0.30")
        ben.until("fills", id=sold["id"], state="settled")

        # One that ends is missed by name, and found again.
        assert venue.end(5, signal.SIGTERM) == 0
        gone = venue.member(1, lambda s: s["links"]["member 5"] != "connected")
        assert gone["links"]["member 4"] == "connected"
        ends = time.monotonic() + SECONDS
        while "member 5: does not listen (Connection refused)" not in ((venue.ready() or {})["committee"]):
            assert time.monotonic() < ends, venue.ready()
        venue.serve(5)
        venue.wait()
        venue.member(5, lambda s: s["links"]["member 1"] == s["links"]["coordinator"] == "connected")

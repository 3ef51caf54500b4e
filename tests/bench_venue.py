"""A venue for the benchmark of the service: deployed, rich accounts, their orders sealed; its processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from darkpool.chain import Chain
from darkpool.committee.home import DATABASE, Home
from darkpool.committee.seat import Seat
from darkpool.config import FILE, Settings
from darkpool.convening import convened, member_home
from darkpool.deployment import Deployment, deploy, operator_key
from darkpool.eip712 import address_of
from darkpool.message import terms_message
from darkpool.order import Terms
from darkpool.run import MEMBERS, THRESHOLD
from darkpool.types import TokenIndex
from tests.anvil import running_anvil
from tests.bench_load import DEPOSIT, account_key, sealed_orders

ACCOUNTS = 64
FIRST_ENTRIES = 3  # of a log: market, chain, open
_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.05
_SETTINGS = """
[venue]
profile = "{profile}"
members = {members}
threshold = {threshold}
[api]
port = {port}
requests_per_second = 100000
request_burst = 100000
orders_per_second = 10000
order_burst = 10000
[chain]
rpc_url = "{rpc}"
finality_blocks = 0
[rounds]
interval_seconds = 86400
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """A deployed venue with rich accounts and orders for each, none of them sent."""

    folder: Path
    rpc_url: str
    settings: Settings
    deployment: Deployment
    seats: Sequence[Seat]
    accounts: Sequence[Sequence[bytes]]

    @property
    def port(self) -> int:
        return self.settings.api.port

    @property
    def terms(self) -> Terms:
        return self.deployment.terms(self.settings, self.settings.market[0])

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return bytes(answer.read())


@contextmanager
def prepared(seats: Sequence[Seat], profile: str, orders: int) -> Iterator[Bench]:
    """Chain, deployment, deposits, sealed orders."""
    with (
        running_anvil() as rpc_url,
        tempfile.TemporaryDirectory(prefix="dp-bench-") as home,
    ):
        folder = Path(home)
        text = _SETTINGS.format(
            profile=profile, members=MEMBERS, threshold=THRESHOLD, port=_free_port(), rpc=rpc_url
        )
        (folder / FILE).write_text(text)
        settings = Settings.load(folder)
        chain, key = Chain.rpc(rpc_url, 0), operator_key(folder)
        chain.fund(address_of(key), 10**20)
        found = convened(folder, settings, key, lambda _: None, seats)
        deployment = deploy(folder, settings, chain, found.committee.key, found.signers, key)
        say("deposits")
        for number in range(ACCOUNTS):
            _deposit(chain, number)
        say(f"sealing {orders} orders")
        terms = deployment.terms(settings, settings.market[0])
        entry = terms_message(terms, 0).encode()
        modulus, each = int(deployment.key.n), orders // ACCOUNTS
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            jobs = [pool.submit(sealed_orders, modulus, entry, i, each) for i in range(ACCOUNTS)]
            accounts = [job.result() for job in jobs]
        yield Bench(folder, rpc_url, settings, deployment, seats, accounts)


def _deposit(chain: Chain, number: int) -> None:
    key = account_key(number)
    chain.fund(address_of(key))
    for token in range(len(chain.tokens)):
        chain.mint(key, TokenIndex(token), address_of(key), DEPOSIT)
        chain.deposit(key, TokenIndex(token), DEPOSIT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(what: str) -> None:
    sys.stderr.write(f"{what} …\n")


@contextmanager
def _process(bench: Bench, name: str, *argv: str, **environment: str) -> Iterator[int]:
    """A process of the venue's for the length of the block; its id."""
    with (bench.folder / f"{name}.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *argv],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
        )
    try:
        yield process.pid
    except RuntimeError:
        sys.stderr.write((bench.folder / f"{name}.log").read_text()[-2_000:])
        raise
    finally:
        process.communicate()  # its standard input ends, and so does it


@contextmanager
def serving(bench: Bench, url: str) -> Iterator[int]:
    """The venue's process over that database, with the deposits taken in; its id."""
    argv = ("api.serve", str(bench.folder))
    with _process(bench, "venue", *argv, DARKPOOL_DATABASE__URL=url) as pid:
        until(lambda: entries_of(bench) >= FIRST_ENTRIES)
        yield pid


@contextmanager
def members(bench: Bench, seats: Sequence[Seat]) -> Iterator[list[Path]]:
    """Those members' processes; their homes."""
    with ExitStack() as stack:
        homes = [member_home(bench.folder, seat.index) for seat in seats]
        for home in homes:
            (home / DATABASE).unlink(missing_ok=True)
            Home(bench.deployment.signers, bench.rpc_url, bench.deployment.vault).save_settings(home)
            argv = ("darkpool.committee.node", str(home))
            stack.enter_context(_process(bench, home.name, *argv))
        yield homes


def entries_of(bench: Bench) -> int:
    return int(json.loads(bench.get("/v1/log"))["size"])


def until(done: Callable[[], bool]) -> None:
    ends = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < ends:
        with suppress(OSError):  # it does not listen yet
            if done():
                return
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"not there after {_WAIT_SECONDS:g} s")

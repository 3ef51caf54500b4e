"""`darkpool up`: every process of a venue, set up once and kept running."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from darkpool import devnet
from darkpool.chain import Chain
from darkpool.committee.directory import COMMITTEE, Directory
from darkpool.committee.home import Home
from darkpool.committee.members import Members
from darkpool.config import Settings
from darkpool.convening import LOOPBACK, convened, member_home, member_ports
from darkpool.deployment import Deployment, deploy, operator_key
from darkpool.errors import ChainError, ConfigError
from darkpool.progress import Progress
from darkpool.store.database import Database
from darkpool.supervise import Supervised, Supervisor

START_SECONDS: Final = 60.0
PORT_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Running:
    """A venue that is up. `supervisor.wait()` raises when a part is given up."""

    deployment: Deployment
    api: str
    rpc_url: str
    member_ports: tuple[int, ...]
    supervisors: tuple[Supervisor, ...]

    @property
    def pids(self) -> dict[str, int]:
        """The processes by name."""
        return {name: pid for s in self.supervisors for name, pid in s.pids.items()}

    async def wait(self) -> None:
        """Wait for the first part that is given up. Raises ConfigError, which names it."""
        waits = [asyncio.create_task(s.wait()) for s in self.supervisors]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waits:
                task.cancel()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One supervisor a folder. Raises ConfigError if there is another."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(f"{folder}: a venue is up here already", "end it, or use another folder") from None
    try:
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def up(
    folder: Path, settings: Settings, progress: Progress, *, flow: bool = False
) -> AsyncIterator[Running]:
    """The venue of a folder, set up if it is new, for the length of the block.

    flow: with somebody to trade with (flow.py), who makes test tokens: on a chain of our own only.
    Raises ConfigError, ChainError; ConfigError if it is not ready within START_SECONDS.
    """
    if flow and settings.chain.rpc_url:
        raise ConfigError("flow: it makes test tokens, which chain.rpc_url may not have", "leave out --flow")
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(folder))
        await _free_ports(folder, settings, progress)
        database = await asyncio.to_thread(Database.open, settings.database_url(folder))
        database.close()  # it can be reached, and has its tables
        outer: list[Supervisor] = []
        rpc_url = settings.chain.rpc_url
        if not rpc_url:
            ours = stack.enter_context(devnet.keeping(folder))
            program, rpc_url = devnet.program(folder, settings.chain.block_seconds)
            if ours:  # else `darkpool devnet up` keeps it
                outer.append(await stack.enter_async_context(Supervisor([program])))
        chain = await connected(rpc_url, settings.chain.finality_blocks, progress)
        key = operator_key(folder)
        found = await asyncio.to_thread(
            convened, folder, settings, key, lambda tested: progress("key ceremony", tested, None)
        )
        deployment = await asyncio.to_thread(
            deploy, folder, settings, chain, found.committee.key, found.signers, key
        )
        ports = () if settings.committee.file else tuple(orders for orders, _ in member_ports(settings))
        homes = [member_home(folder, i) for i in range(1, len(ports) + 1)]
        for home, port in zip(homes, ports, strict=True):
            following = Home(
                found.signers, rpc_url, deployment.vault, settings.chain.finality_blocks, port, LOOPBACK
            )
            following.save_settings(home)
        members = await stack.enter_async_context(Members(homes))
        api = Supervised(
            name="venue",
            argv=(sys.executable, "-m", "api.serve", str(folder)),
            log=folder / "venue.log",
            # Not among its arguments, which every user of the machine can read: the URL may hold a password.
            environment={**devnet.PYTHONPATH, "DARKPOOL_CHAIN__RPC_URL": rpc_url},
        )
        venue = await stack.enter_async_context(Supervisor([api]))
        running = Running(deployment, settings.api_url, rpc_url, ports, (*outer, members, venue))
        await _answering(running, settings, progress)
        if flow:
            desks = Supervised(
                name="flow",
                argv=(sys.executable, "-m", "darkpool.flow", str(folder / "flow"), settings.api_url),
                log=folder / "flow.log",
                environment={**devnet.PYTHONPATH, "DARKPOOL_CHAIN__RPC_URL": rpc_url},
            )
            traders = await stack.enter_async_context(Supervisor([desks]))
            running = replace(running, supervisors=(*running.supervisors, traders))
        yield running


async def _free_ports(folder: Path, settings: Settings, progress: Progress) -> None:
    """Raises ConfigError for a port that stays taken."""
    api = settings.api
    wanted = [(api.host, api.port)] if api.port else []
    if not settings.committee.file:
        planned = member_ports(settings)
        wanted += [(LOOPBACK, orders) for orders, _ in planned if orders]
        if (folder / COMMITTEE).exists():
            wanted += [(m.host, m.port) for m in Directory.load(folder / COMMITTEE).members]
        elif api.port:
            wanted += [(LOOPBACK, links) for _, links in planned]
    hint = (
        "the API takes api.port, member i takes orders at that + i and the other members' links at what "
        "committee.json says, at first api.port + 16 + i; give another one with --port"
    )
    for host, port in wanted:
        await free_port(host, port, hint, progress)


async def free_port(host: str, port: int, hint: str, progress: Progress) -> None:
    """Wait for a port: those of a venue that was killed are free soon. Raises ConfigError if it is not."""
    started = time.monotonic()
    while not _is_free(host, port):
        seconds = time.monotonic() - started
        if seconds > PORT_SECONDS:
            raise ConfigError(f"port {port}: in use on {host}", hint)
        progress("waiting for ports", int(seconds), None)
        await asyncio.sleep(_POLL_SECONDS)


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


async def connected(rpc_url: str, finality: int, progress: Progress) -> Chain:
    """The chain of a node that may be just starting. Raises ConfigError, ChainError after START_SECONDS."""
    started = time.monotonic()
    ends = started + START_SECONDS
    while True:
        progress("chain", int(time.monotonic() - started), None)
        try:
            return await asyncio.to_thread(Chain.rpc, rpc_url, finality)
        except ChainError as error:
            if time.monotonic() > ends:
                where = urlsplit(rpc_url)
                raise ChainError(
                    f"chain: no answer at {where.hostname}:{where.port} in {START_SECONDS:g} s", error.message
                ) from None
        await asyncio.sleep(_POLL_SECONDS)


async def _answering(running: Running, settings: Settings, progress: Progress) -> None:
    """Wait until the API says that it is ready, and shows our markets. Raises ConfigError.

    Members that run elsewhere are not waited for.
    """
    import httpx

    url = settings.api_url
    market_id = running.deployment.market_id
    failed = asyncio.create_task(running.wait())
    started = time.monotonic()
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        while time.monotonic() - started < START_SECONDS:
            if failed.done():
                failed.result()
            try:
                answer = await client.get(f"{url}/v1/ready")
                met = settings.committee.file or not answer.json()["committee"]
                if answer.status_code == 200 and met:  # noqa: PLR2004
                    markets = (await client.get(f"{url}/v1/markets")).json()
                    ours = [m["id"] == "0x" + market_id(m["name"]).hex() for m in markets]
                    if ours and all(ours):
                        failed.cancel()
                        return
            except (httpx.HTTPError, ValueError, KeyError, TypeError):
                pass
            progress("venue", int(time.monotonic() - started), None)
            await asyncio.sleep(_POLL_SECONDS)
    failed.cancel()
    raise ConfigError(f"venue: not ready after {START_SECONDS:g} s", "read venue.log in the data folder")

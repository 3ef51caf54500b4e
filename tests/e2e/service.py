"""`darkpool up` as a process of its own, and the processes below it, to be killed one by one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

START_SECONDS = 90.0
PROFILE = "insecure-test"
_SETTINGS = """
[venue]
profile = "{profile}"
[api]
port = {port}
requests_per_second = 10000
request_burst = 10000
[rounds]
interval_seconds = 1
random_seconds = 1
clear_timeout = 20
"""
# What a command line shows of each kind of process; the first that fits.
_KINDS: Mapping[str, str] = {
    "api.serve": "venue",
    "darkpool.committee.node": "member",
    "evaluator_child": "evaluator",
    "multiprocessing.spawn": "worker",
    "darkpool.devnet": "devnet",
    "anvil": "anvil",
}
EVERY_KIND = (*dict.fromkeys(_KINDS.values()), "up")


@dataclass
class Service:
    """A venue in a folder; `environment` wins over its settings. Use it as a context manager."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = self.port or int(probe.getsockname()[1])
        self.folder.mkdir(mode=0o700)
        text = _SETTINGS.format(profile=PROFILE, port=self.port)
        (self.folder / "darkpool.toml").write_text(text)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{(self.folder / 'chain.port').read_text()}"

    def start(self) -> None:
        """Start it, without waiting."""
        with (self.folder / "up.log").open("ab") as output:
            self._up = subprocess.Popen(
                [Path(sys.executable).with_name("darkpool"), "up", "--data", self.folder, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
            )

    def stop(self) -> None:
        """Ask it to end, and wait until all of it has."""
        below = self.processes()
        self._up.send_signal(signal.SIGINT)
        try:
            self._up.wait(30)
        except subprocess.TimeoutExpired:
            self._up.kill()
            self._up.wait()
        _wait_for_end([pid for pids in below.values() for pid in pids])

    def ready(self) -> dict[str, Any] | None:
        """What it says of its parts; None if it does not answer."""
        try:
            return dict(httpx.get(f"{self.url}/v1/ready", timeout=5, trust_env=False).json())
        except (httpx.HTTPError, ValueError):
            return None

    def whole(self) -> bool:
        """Whether nothing is away."""
        found = self.ready()
        return found is not None and found["ready"] and not found["committee"] and not found["chain"]

    def wait(self) -> None:
        """Wait until nothing is away."""
        ends = time.monotonic() + START_SECONDS
        while not self.whole():
            if time.monotonic() > ends or self._up.poll() is not None:
                raise AssertionError(
                    f"not up: {self.ready()}\n{(self.folder / 'up.log').read_text()[-2000:]}"
                )
            time.sleep(0.1)

    def processes(self) -> dict[str, list[int]]:
        """The living processes by kind."""
        found = defaultdict(list, {"up": [self._up.pid]})
        for pid in _below(self._up.pid):
            with suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                kind = next((kind for sign, kind in _KINDS.items() if sign in command), None)
                # supervise_child becomes anvil; the tracker of a pool is no worker of it
                if kind is not None and "supervise_child" not in command:
                    found[kind].append(pid)
        return found

    def kill(self, pid: int) -> None:
        """SIGKILL a process of ours. The one above all is started again, which nobody else would do."""
        if pid != self._up.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return
        self._up.kill()
        self._up.wait()
        self.start()


def _below(root: int) -> list[int]:
    children = defaultdict(list)
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (place / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children[int(parent)].append(int(place.name))
    found, waiting = [], [root]
    while waiting:
        mine = children[waiting.pop()]
        found += mine
        waiting += mine
    return found


def _wait_for_end(pids: Sequence[int]) -> None:
    ends = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > ends:
            raise AssertionError("processes of the venue outlive it")
        time.sleep(0.05)

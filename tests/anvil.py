"""Finds and runs anvil, the shared test chain, where there is one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_TIMEOUT = 20


def anvil_path() -> str:
    """The binary: DARKPOOL_ANVIL, PATH, or node_modules. Without one the test skips, or fails if required."""
    installed = Path(__file__).parent.parent / "node_modules" / ".bin"
    found = os.environ.get("DARKPOOL_ANVIL") or shutil.which("anvil") or shutil.which("anvil", path=installed)
    if found:
        return found
    message = "no anvil: set DARKPOOL_ANVIL, or run `make anvil`"
    if os.environ.get("DARKPOOL_REQUIRE_ANVIL") == "1":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running_anvil(*options: str, port: int = 0) -> Iterator[str]:
    """The URL of a new chain that mines a block for every transaction, unless its options say otherwise."""
    binary = anvil_path()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [binary, "--host", "127.0.0.1", "--port", str(port), "--silent", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"anvil did not start: exit {process.poll()}")
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)

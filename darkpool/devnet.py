"""The development chain of a venue's data folder.

    chain/        its state, which survives its death (devnet_child.py)
    chain.port    its port on 127.0.0.1, the same at every start, since traders have its URL
    chain.lock    held by whoever keeps it running: `darkpool up`, or `darkpool devnet up`

So `darkpool up` uses the chain that `darkpool devnet up` keeps running, and else runs it itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from darkpool.errors import ConfigError
from darkpool.files import write_whole
from darkpool.supervise import Supervised

HOME: Final = "chain"
PORT: Final = "chain.port"
FIRST_PORT: Final = 8545
_LOCK: Final = "chain.lock"
_ROOT: Final = Path(__file__).resolve().parents[1]
_NPM: Final = _ROOT / "node_modules" / ".bin"
PYTHONPATH: Final = {"PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
"""For children, which must find this package wherever they start."""


def anvil_path() -> str:
    """The binary: DARKPOOL_ANVIL, PATH, or node_modules. Raises ConfigError if there is none."""
    found = os.environ.get("DARKPOOL_ANVIL") or shutil.which("anvil") or shutil.which("anvil", path=_NPM)
    if not found:
        raise ConfigError(
            "anvil: not found",
            "run `make anvil` (npm on Linux x86-64), set DARKPOOL_ANVIL, or give chain.rpc_url",
        )
    return found


@contextmanager
def keeping(folder: Path) -> Iterator[bool]:
    """Whether the chain of a venue's folder is ours to run for the length of the block, or another's."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def program(folder: Path, block_seconds: int) -> tuple[Supervised, str]:
    """What runs the chain of a venue's folder, and its URL. Raises ConfigError without anvil or a port."""
    home = folder / HOME
    home.mkdir(mode=0o700, exist_ok=True)
    port = port_of(folder)
    arguments = (sys.executable, "-m", "darkpool.devnet_child", anvil_path(), str(home), str(port))
    return Supervised(
        name="chain",
        argv=(*arguments, str(block_seconds)),
        log=folder / "chain.log",
        environment=PYTHONPATH,
    ), url_of(port)


def url_of(port: int) -> str:
    """Where it answers."""
    return f"http://127.0.0.1:{port}"


def port_of(folder: Path, wanted: int | None = None) -> int:
    """The port of the folder's chain; at the first call `wanted`, or if that is None one that is free.

    Raises ConfigError if it has another one already, or none is free.
    """
    path = folder / PORT
    if path.exists():
        port = int(path.read_text("ascii"))
        if wanted not in {None, port}:
            raise ConfigError(
                f"chain: the port of this folder's is {port}, not {wanted}",
                f"leave out --port, as traders have its URL; or end it, and write {wanted} into {path}",
            )
        return port
    for candidate in (FIRST_PORT, 0) if wanted is None else (wanted,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            port = int(probe.getsockname()[1])
        write_whole(path, str(port), 0o600)
        return port
    if wanted is not None:
        raise ConfigError(f"port {wanted}: in use on 127.0.0.1", "give another one with --port")
    raise ConfigError("chain: no free port on 127.0.0.1", "give chain.rpc_url")

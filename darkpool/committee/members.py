"""The committee's processes on this machine: one a seat, started again when it ends (ADR 5)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from darkpool.committee.transport import socket_path
from darkpool.errors import ConfigError
from darkpool.supervise import Supervised, Supervisor

LOG: Final = "member.log"
MODULE: Final = "darkpool.committee.node"
MAX_SOCKET_PATH: Final = 107  # bytes: the system's law
_ROOT: Final = Path(__file__).resolve().parents[2]


class Members(Supervisor):
    """`python -m MODULE HOME SOCKETS` for every home that holds a seat (seat.json); see Supervisor.

    Programs are named by their homes ("member-1"), and log there. `sockets` is the folder they meet in: it
    exists, nobody else may enter it (mode 0700), and its path is short.
    `modules` names each member's program, which tests replace by faulty ones. Raises ConfigError for a folder
    that will not do.
    """

    def __init__(
        self,
        homes: Sequence[Path],
        sockets: Path,
        modules: Sequence[str] | None = None,
        *,
        restart: bool = True,
    ) -> None:
        if any(len(os.fsencode(socket_path(sockets, i + 1))) > MAX_SOCKET_PATH for i in range(len(homes))):
            raise ConfigError(
                f"{sockets}: its sockets' paths are longer than {MAX_SOCKET_PATH} bytes", "use a shorter path"
            )
        if sockets.stat().st_mode & 0o077:
            raise ConfigError(f"{sockets}: others may enter it", f"run chmod 700 {sockets}")
        # Members import this very package, also from a clone that is not installed.
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        programs = [
            Supervised(
                name=home.name,
                argv=(sys.executable, "-m", module, str(home), str(sockets)),
                log=home / LOG,
                environment={"PYTHONPATH": path},
            )
            for home, module in zip(homes, modules or [MODULE] * len(homes), strict=True)
        ]
        super().__init__(programs, restart=restart)

"""The committee's processes on this machine: one a seat, started again when it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from darkpool.supervise import Supervised, Supervisor

LOG: Final = "member.log"
MODULE: Final = "darkpool.committee.node"
_ROOT: Final = Path(__file__).resolve().parents[2]


class Members(Supervisor):
    """`python -m MODULE HOME ARGUMENTS` for every home that holds a seat (seat.json); see Supervisor.

    Programs are named by their homes ("member-1"), and log there. `arguments`: where they meet, unless their
    homes say so (node.py). `modules` names each member's program, which tests replace by faulty ones.
    """

    def __init__(
        self,
        homes: Sequence[Path],
        arguments: Sequence[str] = (),
        modules: Sequence[str] | None = None,
        *,
        restart: bool = True,
    ) -> None:
        # Members import this very package, also from a clone that is not installed.
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        programs = [
            Supervised(
                name=home.name,
                argv=(sys.executable, "-m", module, str(home), *arguments),
                log=home / LOG,
                environment={"PYTHONPATH": path},
            )
            for home, module in zip(homes, modules or [MODULE] * len(homes), strict=True)
        ]
        super().__init__(programs, restart=restart)

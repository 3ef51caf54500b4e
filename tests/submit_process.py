"""`darkpool settle submit` that kills itself with SIGKILL: `python -m tests.submit_process STEP ARGUMENTS`.

STEP is empty, or `before-` or `after-` and a method of `Evm`: the first call of it is the last thing it does.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from darkpool.cli import main as darkpool
from darkpool.evm import Evm


def main(step: str, arguments: list[str]) -> None:
    when, _, method = step.partition("-")
    if method:
        original = getattr(Evm, method)

        def fatal(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the method takes
            if when == "after":
                original(*given, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(Evm, method, fatal)
    sys.argv = ["darkpool", "settle", "submit", *arguments]
    darkpool()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

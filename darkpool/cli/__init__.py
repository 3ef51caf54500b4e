"""The `darkpool` command: data to stdout, progress to stderr, `--json` for machines.

Exit codes: 0 done, 1 refused, 2 usage, 3 a peer's fault, 4 ours. An error is one line, a blank line, a hint.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the heavy imports wait until a command needs them."""
    import signal

    from darkpool.cli.app import app
    from darkpool.errors import DarkpoolError

    # To be told to stop is to stop in order: members end, and folders that hold their keys are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except DarkpoolError as error:
        sys.stderr.write(error.rendered() + "\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)

"""Become a program that ends with its parent: `python -m darkpool.supervise_child PARENT_PID PROGRAM …`.

For programs that do not watch their standard input (parent.py), such as anvil. The kernel is told to kill
this process when its parent dies, which survives exec (prctl(2), PR_SET_PDEATHSIG), and then the program
takes its place under the same process id. Exit code 2 if the program cannot be started.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
_CANNOT_START: Final = 2


def main(arguments: list[str]) -> int:
    """Does not return unless the program cannot be started, or the parent has died already."""
    if len(arguments) < 2 or not arguments[0].isdecimal():  # noqa: PLR2004
        sys.stderr.write("usage: python -m darkpool.supervise_child PARENT_PID PROGRAM [ARGUMENT...]\n")
        return _CANNOT_START
    parent, *program = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)) != 0:
        sys.stderr.write(f"error: prctl: {os.strerror(ctypes.get_errno())}\n")
        return _CANNOT_START
    if os.getppid() != int(parent):  # it died before the kernel was told
        return _CANNOT_START
    try:
        os.execvp(program[0], program)  # noqa: S606  an argument list of our own, no shell
    except OSError as error:
        sys.stderr.write(f"error: {program[0]} cannot be started: {error.strerror}\n")
        return _CANNOT_START


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

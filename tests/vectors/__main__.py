"""Command: `python -m tests.vectors --check` or `--write`; exit 0 done, 1 refused, 2 usage."""

from __future__ import annotations

import argparse
import sys

from tests.vectors import VectorMismatchError, orders, primitives

FAMILIES = (*primitives.FAMILIES, *orders.FAMILIES)


def main(arguments: list[str]) -> int:
    """Checks every file, or freezes those that are absent. A file that exists is never written."""
    parser = argparse.ArgumentParser(prog="python -m tests.vectors", description=main.__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="compare the frozen files with the code")
    action.add_argument("--write", action="store_true", help="freeze the files that are absent")
    return write() if parser.parse_args(arguments).write else check()


def check() -> int:
    """One line a file; 1 if any does not hold."""
    failed = 0
    for family in FAMILIES:
        try:
            print(f"{family.file}: {family.check_all()} hold")
        except VectorMismatchError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = 1
    return failed


def write() -> int:
    """Freezes absent files; 1 if there was nothing to do."""
    absent = [family for family in FAMILIES if not family.path.exists()]
    for family in absent:
        family.write()
        print(f"{family.file}: frozen")
    if not absent:
        print("error: every file exists, and frozen vectors are never regenerated", file=sys.stderr)
        print("\nhint: a changed format takes a new version and a new file", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A child that ends with its parent: real processes, whose standard input ends or who get SIGTERM."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIMIT = 20
CHILD = """
import asyncio
from darkpool import parent

async def work():
    print("working", flush=True)
    try:
        WORK
    finally:
        print("cleaned up", flush=True)

asyncio.run(parent.while_it_lives(work()))
"""
FOREVER = "await asyncio.Event().wait()"


def child(work: str = FOREVER, stdin: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD.replace("WORK", work)],
        cwd=ROOT,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_ends_when_its_standard_input_does() -> None:
    with child() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.stdin.write("what the parent says is nothing to it" * 30_000)  # more than a pipe holds
        process.stdin.flush()
        assert process.poll() is None
        assert process.communicate(timeout=LIMIT) == ("cleaned up\n", "")
        assert process.returncode == 0


def test_it_ends_by_sigterm() -> None:
    with child() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0
        assert process.stdout.read() == "cleaned up\n"


def test_a_parent_that_is_no_pipe_is_gone() -> None:
    with child(stdin=subprocess.DEVNULL) as process:
        assert process.communicate(timeout=LIMIT)[0] == "working\ncleaned up\n"
        assert process.returncode == 0


def test_work_that_is_done_ends_it_too() -> None:
    with child("pass") as process:
        assert process.wait(LIMIT) == 0


@pytest.mark.parametrize("work", ["raise ValueError(7)", "await asyncio.sleep(0); raise ValueError(7)"])
def test_what_goes_wrong_in_the_work_is_raised(work: str) -> None:
    with child(work) as process:
        assert process.wait(LIMIT) == 1
        assert process.stderr is not None
        assert "ValueError: 7" in process.stderr.read()


def test_an_interrupt_ends_the_work_properly() -> None:
    with child() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) != 0
        assert process.stdout.read() == "cleaned up\n"

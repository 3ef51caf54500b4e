"""A successor waits for its predecessor's end, and workers do not outlive the process they work for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from darkpool.alone import alone
from tests.commitments_support import primes

WORKERS = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from commitments.paillier import public_key
from darkpool import work, workers

if __name__ == "__main__":
    request = work.warm(public_key(int(sys.argv[1])))
    pool = ProcessPoolExecutor(2, get_context("spawn"), initializer=workers.begin)
    for future in [pool.submit(work.answered, request) for _ in range(8)]:
        future.result()
    print(*pool._processes, flush=True)
    sys.stdin.read()
"""
HOLDER = """
import sys
from pathlib import Path
from darkpool.alone import alone

with alone(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_the_next_one_comes_in_when_the_one_inside_is_killed(tmp_path: Path) -> None:
    lock, inside = tmp_path / "lock", threading.Event()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"in\n"

        def successor() -> None:
            with alone(lock):
                inside.set()

        thread = threading.Thread(target=successor)
        thread.start()
        assert not inside.wait(0.2)
        holder.send_signal(signal.SIGKILL)
        thread.join(10)
        assert inside.is_set()
    with alone(lock):
        assert lock.stat().st_mode & 0o077 == 0


def test_the_workers_of_a_process_that_is_killed_end(tmp_path: Path) -> None:
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    modulus = str(primes()[0] * primes()[1])
    with subprocess.Popen(
        [sys.executable, str(script), modulus],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    ) as process:
        assert process.stdout is not None
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert workers
        process.send_signal(signal.SIGKILL)
    ends = time.monotonic() + 10
    while alive := [pid for pid in workers if _lives(pid)]:
        assert time.monotonic() < ends, alive
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

"""The one process that speaks to a Ray cluster: `python -m darkpool.workers_ray_child ADDRESS`.

Requests come on standard input, each as length (4), number (8) and bytes; answers go to standard output as
length (4), number (8), whether it was done (1), and answer or reason. The first has number 0 and the
processors of the cluster (4). It ends when standard input does, and needs no secret.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Any, BinaryIO, Final

from darkpool import work
from darkpool.workers_ray import READY

_RETRIES: Final = 2  # on another node, of work whose node is lost
_CANNOT: Final = 2
_LOOK_SECONDS: Final = 5.0


class Answers:
    """Writes answers, each whole; Ray's threads call it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, Lock()

    def write(self, number: int, body: bytes, *, done: bool = True) -> None:
        """One answer."""
        head = len(body).to_bytes(4, "big") + number.to_bytes(8, "big") + bytes([done])
        with self._lock:
            self._stream.write(head + body)
            self._stream.flush()

    def ended(self, number: int, future: Future[bytes]) -> None:
        """A task of the cluster has ended."""
        error = future.exception()
        if error is None:
            self.write(number, future.result())
        else:
            self.write(number, f"{type(error).__name__}: {error}".encode()[-1_000:], done=False)


def _look(address: str) -> None:
    """Ray itself asks for a minute or more whether there is one. Raises OSError."""
    host, separator, port = address.rpartition(":")
    if separator:
        socket.create_connection((host, int(port)), _LOOK_SECONDS).close()


def main(arguments: list[str]) -> int:
    """Pass requests on until standard input ends. Exit code 2 for wrong arguments or no cluster."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m darkpool.workers_ray_child ADDRESS\n")
        return _CANNOT
    (address,) = arguments
    answers = Answers(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # whatever prints, it is no answer
    try:
        _look(address)
        import ray

        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        sys.stderr.write(f"error: no cluster at {address}: {error}\n")
        return _CANNOT
    task = ray.remote(num_cpus=1, max_retries=_RETRIES)(work.answered_alike)
    untyped: Any = ray
    processors = untyped.cluster_resources().get("CPU", 0)
    answers.write(READY, int(processors).to_bytes(4, "big"))
    requests = sys.stdin.buffer
    while len(head := requests.read(12)) == 12:  # noqa: PLR2004
        request = requests.read(int.from_bytes(head[:4], "big"))
        number = int.from_bytes(head[4:], "big")
        reference = task.remote(work.code_hash(), request)
        reference.future().add_done_callback(partial(answers.ended, number))
    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

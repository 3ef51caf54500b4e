"""A Ray cluster of this machine alone: `python -m tests.ray_cluster NODES`, each node with one processor.

It writes its address, then reads lines: "remove" takes the last node away, anything else or the end of input
ends it. A program of its own, because what Ray imports warns, and warnings are errors in tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

_STORE = 96 << 20


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A cluster that runs. `address`: "HOST:PORT"."""

    address: str
    _input: IO[str]
    _output: IO[str]

    def remove_node(self) -> None:
        """Kill the node that came last, with whatever it is at."""
        self._input.write("remove\n")
        self._input.flush()
        assert self._output.readline() == "removed\n"

    def end(self) -> None:
        """Kill all of it."""
        self._input.write("end\n")
        self._input.flush()
        assert self._output.readline() == "ended\n"


@contextmanager
def local_cluster(nodes: int) -> Iterator[LocalCluster]:
    """For the length of the block."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ray_cluster", str(nodes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        try:
            yield LocalCluster(program.stdout.readline().strip(), program.stdin, program.stdout)
        finally:
            program.stdin.close()
            program.stdout.read()


def main(nodes: int) -> None:
    """Run it until told otherwise."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from ray.cluster_utils import Cluster

    sizes: dict[str, Any] = {"num_cpus": 1, "object_store_memory": _STORE}
    cluster: Any = Cluster(initialize_head=True, head_node_args={**sizes, "include_dashboard": False})
    others = [cluster.add_node(**sizes) for _ in range(nodes - 1)]
    cluster.wait_for_nodes()
    print(cluster.address, file=output, flush=True)
    for line in sys.stdin:
        if line != "remove\n":
            break
        cluster.remove_node(others.pop(), allow_graceful=False)
        print("removed", file=output, flush=True)
    cluster.shutdown()
    print("ended", file=output, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""The demo's faulty member: `python -m darkpool.committee.faulty HOME SOCKETS`.

For `darkpool demo --faulty-member`, which names the fault in DARKPOOL_DEMO_FAULT; without it, and with the
home of a member that keeps keys of its own, it refuses to start. It is the real member but for one thing: in
the first step in which something is decrypted it sends a wrong share of that, nothing, or dies.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from gmpy2 import mpz

from commitments import threshold
from commitments.paillier import Ciphertext
from commitments.threshold import Committee, KeyShare
from darkpool.committee import node, opening
from darkpool.committee.complaints import PARTIALS
from darkpool.committee.home import KEYS
from darkpool.committee.steps import Heard, Steps
from darkpool.errors import EXIT_USAGE

VARIABLE: Final = "DARKPOOL_DEMO_FAULT"


class Fault(StrEnum):
    """What is wrong with it."""

    WRONG_PARTIAL = "wrong-partial"
    SILENT = "silent"
    DEAD = "dead"


def _lies() -> None:
    """Twice the partial decryption that is due."""
    honest = threshold.partial

    def wrong(committee: Committee, share: KeyShare, c: Ciphertext) -> mpz:
        return 2 * honest(committee, share, c) % committee.key.n

    vars(opening)["partial"] = wrong


def _stops(*, dead: bool) -> None:
    """In place of its partial decryptions."""
    honest = Steps._exchange  # noqa: SLF001 - the member in every other step

    async def exchange(
        self: Steps, step: str, out: Mapping[int, bytes], receiver: int | None = None
    ) -> dict[int, Heard]:
        if step.endswith(PARTIALS):
            if dead:
                os._exit(1)
            await asyncio.Event().wait()
        return await honest(self, step, out, receiver)

    Steps._exchange = exchange  # type: ignore[method-assign] # noqa: SLF001


def main(arguments: Sequence[str]) -> int:
    """Run the member with its fault. Exit code 2 unless the demo has started it."""
    fault = os.environ.get(VARIABLE)
    if fault not in set(Fault) or not arguments or (Path(arguments[0]) / KEYS).exists():
        sys.stderr.write("error: this is the demo's faulty member; run darkpool demo --faulty-member 2\n")
        return EXIT_USAGE
    if fault == Fault.WRONG_PARTIAL:
        _lies()
    else:
        _stops(dead=fault == Fault.DEAD)
    return node.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

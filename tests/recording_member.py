"""A real member that also writes down every frame it sends or receives: `python -m tests.recording_member`.

`frames.bin` in its home holds, per frame: direction length and text, kind, body length and body.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from darkpool.committee import node

RECORD = "frames.bin"


def frames(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """(direction, kind, body) of every frame in a record."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        length = data[at]
        direction = data[at + 1 : at + 1 + length].decode()
        at += 1 + length
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 5], "big")
        yield direction, kind, data[at + 5 : at + 5 + size]
        at += 5 + size


if __name__ == "__main__":
    with (Path(sys.argv[1]) / RECORD).open("ab") as record:

        def tap(direction: str, kind: int, body: bytes) -> None:
            name = direction.encode()
            record.write(bytes([len(name)]) + name + bytes([kind]) + len(body).to_bytes(4, "big") + body)
            record.flush()

        sys.exit(node.main(sys.argv[1:], tap=tap))

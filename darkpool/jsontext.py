"""JSON from outside, of bounded depth.

The interpreter's recursion limit is no defence: py_ecc and py-evm raise it for the whole process when they
are imported, and a document nested beyond the stack then ends the process instead of raising.
"""

from __future__ import annotations

import json
import re
from typing import Final

from commitments.errors import DecodeError

MAX_DEPTH: Final = 16
_OTHERS: Final = bytes(set(range(256)) - set(b"[]{}"))
# Never fails once it has begun, so the scan is linear whatever the text.
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def parsed(data: bytes, what: str) -> object:
    """The value of a JSON text in UTF-8. Raises DecodeError naming `what`, and never quotes the text."""
    depth = deepest = 0
    for bracket in _STRING.sub(b"", data).translate(None, _OTHERS):
        depth = depth + 1 if bracket in b"[{" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise DecodeError(what, f"nested deeper than {MAX_DEPTH}")
    try:
        return json.loads(data.decode())
    except ValueError:
        raise DecodeError(what, "not JSON") from None

"""Reads the vectors of standards that lie in `tests/vectors/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "vectors"


def vectors(name: str) -> list[dict[str, Any]]:
    """The rows of a published vector file."""
    rows: list[dict[str, Any]] = json.loads((HERE / name).read_text("ascii"))["vectors"]
    return rows

"""The answers of docs/contract-review.md name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
REVIEW = HERE.parent.parent / "docs" / "contract-review.md"


def test_every_answer_names_tests_that_exist() -> None:
    existing = {
        name
        for path in HERE.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    rows = [line for line in REVIEW.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30
    for row in rows:
        named = set(re.findall(r"`(test_\w+)`", row.split("|")[-2]))
        assert named, row
        assert named <= existing, named - existing

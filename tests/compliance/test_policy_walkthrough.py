"""The compliance officer's ten minutes in docs/compliance-policy.md, command by command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "compliance-policy.md"


def steps() -> Iterator[tuple[str, str]]:
    """Each command with the answer below it."""
    for block in re.findall(r"^```console\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = step.partition("\n")
            yield command, answer


@pytest.mark.slow
def test_every_command_of_the_guide_answers_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    tools = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "DARKPOOL_PASSPHRASE": "a long secret",
    }
    done = 0
    for command, answer in steps():
        run = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        pattern = ".+".join(map(re.escape, answer.strip().split("…")))
        assert re.fullmatch(pattern, run.stdout.strip()), f"{command}\n{run.stdout}"
        done += 1
    assert done == GUIDE.read_text().count("\n$ ")

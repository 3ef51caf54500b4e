"""The compliance officer's ten minutes in docs/compliance-policy.md, command by command."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.app import create_app
from tests.client.serving import served
from tests.compliance.desk_support import desk_venue

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "compliance-policy.md"


ONLINE = "## At a running venue\n"


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Each command with the answer below it."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = step.partition("\n")
            yield command, answer


def walk(text: str, folder: Path, **more: str) -> int:
    """Run the commands in the folder; how many there are."""
    tools = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "DARKPOOL_PASSPHRASE": "a long secret",
        **more,
    }
    done = 0
    for command, answer in steps(text):
        run = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=folder,
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
    return done


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_of_the_guide_answers_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    alone, _, rest = GUIDE.read_text().partition(ONLINE)
    online, heading, last = rest.partition("\n## ")
    done = walk(alone + heading + last, tmp_path)

    async def at_a_venue() -> int:
        data = tmp_path / "data"
        data.mkdir()
        async with desk_venue(data) as v, served(create_app(v.plain.venue, office=v.office)) as url:
            v.write_folder(url)
            places = {"DARKPOOL_DATA": str(data), "DARKPOOL_VENUE_URL": url}
            return await asyncio.to_thread(walk, online, tmp_path, **places)

    done += asyncio.run(at_a_venue())
    assert done == GUIDE.read_text().count("\n$ ")

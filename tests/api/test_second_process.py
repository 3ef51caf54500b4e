"""Two processes of the API on one PostgreSQL: the second is refused, and follows when the first is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from commitments.params import INSECURE_TEST
from tests.bench_load import load
from tests.bench_venue import Bench, entries_of, prepared, serving
from tests.databases import fresh_url
from tests.encrypted import seats

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CREATED = 201


def moved(bench: Bench, folder: Path) -> Bench:
    """The same venue on another machine: a copy of its folder, another port."""
    shutil.copytree(bench.folder, folder, ignore=shutil.ignore_patterns("*.lock", "*.log"))
    text = (folder / "darkpool.toml").read_text()
    port = bench.port + 1
    (folder / "darkpool.toml").write_text(text.replace(f"port = {bench.port}", f"port = {port}"))
    api = bench.settings.api.model_copy(update={"port": port})
    return replace(bench, folder=folder, settings=bench.settings.model_copy(update={"api": api}))


def test_the_second_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    with (
        fresh_url("postgresql", tmp_path) as url,
        prepared(seats(INSECURE_TEST), "insecure-test", 128) as bench,
        serving(bench, url) as pid,
    ):
        other = moved(bench, tmp_path / "other")
        first, second = bench.accounts[:1], bench.accounts[1:2]
        said = tmp_path / "said"
        with (
            said.open("wb") as output,
            subprocess.Popen(
                [sys.executable, "-m", "api.serve", str(other.folder)],
                stdin=subprocess.PIPE,  # it would end with it
                stderr=output,
                env={**os.environ, "DARKPOOL_DATABASE__URL": url},
            ) as process,
        ):
            assert process.wait(120) == 2
        assert "another venue works with it" in said.read_text()
        assert url not in said.read_text()
        _, answers = load(bench.port, first, None)
        assert [answer.status for answer in answers] == [CREATED] * len(first[0])
        size = entries_of(bench)
        os.kill(pid, signal.SIGKILL)
        with serving(other, url):
            assert entries_of(other) == size
            _, again = load(other.port, [*first, *second], None)
            assert {answer.status for answer in again} <= {200, CREATED}
            assert entries_of(other) == size + len(second[0])
            receipts = {json.dumps(json.loads(a.body), sort_keys=True) for a in answers}
            assert receipts <= {json.dumps(json.loads(a.body), sort_keys=True) for a in again}

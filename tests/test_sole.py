"""One venue a database: who comes second waits, and is refused; who dies makes room."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkpool.errors import ConfigError
from darkpool.store.database import StoreError
from darkpool.store.sole import Sole
from tests.databases import KINDS, disconnect, fresh_url

HOLDER = """
import sys
from darkpool.store.sole import Sole

sole = Sole.take(sys.argv[1], 0)
print("in", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def server_url(tmp_path: Path) -> Iterator[str]:
    with fresh_url("postgresql", tmp_path) as found:
        yield found


def test_another_process_is_refused_until_this_one_is_killed(url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"in\n"
        with pytest.raises(ConfigError, match="another venue") as refused:
            Sole.take(url, 0.3)
        assert "database.url" in refused.value.hint
        taken = threading.Event()

        def successor() -> None:
            Sole.take(url, 20).release()
            taken.set()

        thread = threading.Thread(target=successor)
        thread.start()
        assert not taken.is_set()
        holder.send_signal(signal.SIGKILL)
        thread.join(20)
        assert taken.is_set()


def test_it_is_kept_until_it_is_released(url: str) -> None:
    first, second = Sole.take(url, 0), Sole(url)
    first.check()
    assert not second.taken()
    first.release()
    assert second.taken()
    with pytest.raises(ConfigError, match="taken it over"):
        first.check()
    second.release()
    first.check()
    first.release()


def test_a_lost_connection_is_noticed_and_the_right_taken_again(server_url: str) -> None:
    sole = Sole.take(server_url, 0)
    with disconnect(server_url):
        pass
    sole.check()
    assert not Sole(server_url).taken()
    with disconnect(server_url):
        pass
    other = Sole.take(server_url, 0)
    with pytest.raises(ConfigError, match="taken it over"):
        sole.check()
    other.release()


def test_other_databases_of_a_server_are_not_locked(server_url: str, tmp_path: Path) -> None:
    with fresh_url("postgresql", tmp_path) as other:
        for sole in [Sole.take(one, 0) for one in (server_url, other)]:
            sole.release()


@pytest.mark.parametrize("bad", ["postgresql://u:secret@127.0.0.1:1/x", "sqlite:////nowhere/at/all.db"])
def test_no_server_and_no_folder_are_errors_that_show_no_password(bad: str) -> None:
    with pytest.raises(StoreError) as refused:
        Sole.take(bad, 0)
    assert "secret" not in str(refused.value)
    with pytest.raises(ConfigError):
        Sole.take("sqlite://", 0)

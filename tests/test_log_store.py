"""The log on disk: no gap, no fork, nothing acknowledged is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from commitments.merkle import leaf_hash
from darkpool.store.database import Database, StoreError
from darkpool.store.log_store import MAX_HASHES, LogStore
from darkpool.store.rows import MAX_PAGE
from tests.databases import KINDS, fresh_url

# Appends numbered entries, one to three at a time, and says so after each batch, until it is killed.
WRITER = """
import sys
from darkpool.store.database import Database
from darkpool.store.log_store import LogStore
store = LogStore(Database.open(sys.argv[1]))
size = store.size()
while True:
    batch = [b"entry %d" % n for n in range(size, size + 1 + size % 3)]
    store.append(size, batch)
    size += len(batch)
    print(size, flush=True)
"""


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def log(url: str) -> Iterator[LogStore]:
    database = Database.open(url)
    yield LogStore(database)
    database.close()


def test_an_empty_log(log: LogStore) -> None:
    assert log.size() == 0
    assert log.entries(0, 10) == []
    assert log.leaf_hashes(0, 10) == []
    assert log.checkpoint() is None


def test_entries_come_back_in_order_after_reopening(url: str, log: LogStore) -> None:
    entries = [b"", b"\x00", b"\xff" * (1 << 20), b"same", b"same"]
    log.append(0, entries[:2])
    log.append(2, [])
    log.append(2, entries[2:])
    log.database.close()
    again = LogStore(Database.open(url))
    assert again.size() == 5
    assert again.entries(0, MAX_PAGE) == entries
    assert again.entries(1, 2) == entries[1:3]
    assert again.entries(5, 1) == []
    assert again.entry(4) == b"same"
    assert again.leaf_hashes(0, MAX_HASHES) == [leaf_hash(entry) for entry in entries]
    assert again.leaf_hashes(3, 1) == [leaf_hash(b"same")]
    again.database.close()


@pytest.mark.parametrize("entries", [[], [b"x"], [b"x", b"y", b"z"]])
def test_a_gap_or_overlap_is_refused_and_adds_nothing(log: LogStore, entries: list[bytes]) -> None:
    log.append(0, [b"a", b"b"])
    for first in (-1, 0, 1, 3, 1 << 63, 1 << 64):
        with pytest.raises(StoreError, match=f"entry {first} is no continuation, the log has 2") as refused:
            log.append(first, entries)
        assert refused.value.hint
    assert log.entries(0, 10) == [b"a", b"b"]


def test_an_entry_that_is_not_there(log: LogStore) -> None:
    log.append(0, [b"a"])
    for sequence in (-1, 1, 2, 1 << 63, 1 << 64, -(1 << 64)):
        with pytest.raises(StoreError, match=f"no entry {sequence}"):
            log.entry(sequence)


def test_a_page_out_of_bounds_is_the_callers_fault(log: LogStore) -> None:
    for limit in (-1, 0, MAX_PAGE + 1):
        with pytest.raises(ValueError, match=f"limit is {limit}"):
            log.entries(0, limit)
    for count in (-1, 0, MAX_HASHES + 1):
        with pytest.raises(ValueError, match=f"limit is {count}"):
            log.leaf_hashes(0, count)


def test_two_writers_never_fork_the_log(url: str) -> None:
    turns = 40
    start = threading.Barrier(2)
    acknowledged: dict[int, bytes] = {}
    refusals: list[str] = []

    def write(name: bytes) -> None:
        start.wait()
        store = LogStore(Database.open(url))
        done = 0
        while done < turns:
            size = store.size()
            batch = [b"%s %d" % (name, done), b"%s %d again" % (name, done)]
            try:
                store.append(size, batch)
            except StoreError as error:
                refusals.append(error.message)
                continue
            acknowledged.update({size: batch[0], size + 1: batch[1]})
            done += 1
        store.database.close()

    threads = [threading.Thread(target=write, args=(name,), daemon=True) for name in (b"one", b"two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = LogStore(Database.open(url))
    assert log.size() == 4 * turns
    assert dict(enumerate(log.entries(0, MAX_PAGE))) == acknowledged
    assert all("no continuation" in r or "UniqueViolation" in r for r in refusals)
    log.database.close()


def test_the_key_refuses_a_second_entry_of_one_number(log: LogStore) -> None:
    log.append(0, [b"a"])

    def fork() -> None:
        with log.database.writing("fork") as connection:
            connection.execute(text("INSERT INTO entries VALUES (0, :b, :b)"), {"b": b"x"})

    with pytest.raises(StoreError, match="cannot fork") as refused:
        fork()
    assert "something else writes" in refused.value.hint
    assert log.entries(0, 10) == [b"a"]


def test_a_killed_writer_loses_nothing_it_acknowledged(url: str) -> None:
    size = 0
    for lines in (1, 40, 7):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        first = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        rest, errors = writer.communicate()
        assert errors == ""
        # The last line may be cut short; every whole one was acknowledged.
        acknowledged = int(("".join(first) + rest).rpartition("\n")[0].splitlines()[-1])
        log = LogStore(Database.open(url))
        assert log.size() >= acknowledged > size
        size = log.size()
        found = [entry for start in range(0, size, MAX_PAGE) for entry in log.entries(start, MAX_PAGE)]
        assert found == [b"entry %d" % n for n in range(size)]
        assert log.leaf_hashes(0, size) == [leaf_hash(entry) for entry in found]
        log.database.close()


class TestCheckpoints:
    def test_the_newest_two_are_kept(self, url: str, log: LogStore) -> None:
        log.append(0, [b"a", b"b", b"c"])
        for sequence in (0, 1, 2, 3):
            log.save_checkpoint(sequence, b"state %d" % sequence)
        log.database.close()
        again = LogStore(Database.open(url))
        assert again.checkpoint() == (3, b"state 3")
        assert again.checkpoint(below=3) == (2, b"state 2")
        assert again.checkpoint(below=2) is None
        assert again.checkpoint(below=1 << 64) == (3, b"state 3")
        again.database.close()

    def test_one_of_the_same_size_is_replaced(self, log: LogStore) -> None:
        log.append(0, [b"a"])
        log.save_checkpoint(1, b"old")
        log.save_checkpoint(1, b"new")
        assert log.checkpoint() == (1, b"new")
        assert log.checkpoint(below=1) is None

    def test_an_older_one_is_not_kept_beside_two_newer(self, log: LogStore) -> None:
        log.append(0, [b"a", b"b", b"c"])
        for sequence in (2, 3, 1):
            log.save_checkpoint(sequence, b"")
        assert log.checkpoint(below=2) is None

    def test_of_entries_that_are_not_there(self, log: LogStore) -> None:
        log.append(0, [b"a"])
        log.save_checkpoint(1, b"kept")
        for sequence in (-1, 2, 1 << 63):
            with pytest.raises(StoreError, match=f"checkpoint: of {sequence} entries, the log has 1"):
                log.save_checkpoint(sequence, b"")
        assert log.checkpoint() == (1, b"kept")

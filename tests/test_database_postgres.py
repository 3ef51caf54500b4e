"""What only a database server can do: lose the connection, or have a default that loses commits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from darkpool.store.database import Database, StoreError
from darkpool.store.log_store import LogStore
from tests.databases import database_name, disconnect, fresh_url


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with fresh_url("postgresql", tmp_path) as found:
        yield found


@pytest.fixture
def store(url: str) -> Iterator[LogStore]:
    database = Database.open(url)
    yield LogStore(database)
    database.close()


def test_commits_wait_for_the_disk_and_nothing_waits_for_ever(url: str) -> None:
    with disconnect(url) as server:
        server.execute(f"ALTER DATABASE {database_name(url)} SET synchronous_commit = off".encode())
    database = Database.open(url)
    with database.reading("look") as connection:
        shown = {
            name: connection.scalar(text(f"SHOW {name}"))
            for name in ("synchronous_commit", "statement_timeout", "lock_timeout")
        }
    database.close()
    assert shown == {"synchronous_commit": "on", "statement_timeout": "1min", "lock_timeout": "15s"}


def test_a_connection_lost_while_idle_is_made_anew(url: str, store: LogStore) -> None:
    store.append(0, [b"x"])
    with disconnect(url):
        pass
    store.append(1, [b"y"])
    assert store.entries(0, 10) == [b"x", b"y"]


def test_a_connection_lost_in_a_transaction_keeps_nothing(url: str, store: LogStore) -> None:
    def fail() -> None:
        with store.database.writing("lose the connection") as connection:
            connection.execute(text("INSERT INTO entries VALUES (0, :b, :b)"), {"b": b"x"})
            with disconnect(url):
                pass
            connection.execute(text("SELECT 1"))

    with pytest.raises(StoreError, match="cannot lose the connection"):
        fail()
    assert store.size() == 0
    store.append(0, [b"x"])


def test_a_connection_lost_before_the_commit_keeps_nothing(url: str, store: LogStore) -> None:
    def fail() -> None:
        with store.database.writing("lose the connection") as connection:
            connection.execute(text("INSERT INTO entries VALUES (0, :b, :b)"), {"b": b"x"})
            with disconnect(url):
                pass

    with pytest.raises(StoreError, match="cannot lose the connection"):
        fail()
    assert store.size() == 0


def test_a_server_that_allows_no_connection_is_an_error_until_it_does(url: str, store: LogStore) -> None:
    name = database_name(url)
    with disconnect(url) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        with disconnect(url), pytest.raises(StoreError):
            store.append(0, [b"x"])
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    store.append(0, [b"x"])

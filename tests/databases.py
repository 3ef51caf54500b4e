"""Fresh databases for tests: SQLite always, PostgreSQL where one is reachable."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from darkpool.store.database import sqlite_url

KINDS = ("sqlite", "postgresql")
SERVER = os.environ.get("DARKPOOL_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")


@contextmanager
def fresh_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database, dropped afterwards.

    Without a PostgreSQL server the test skips, or fails if one is required.
    """
    if kind == "sqlite":
        yield sqlite_url(folder / "store.db")
        return
    name = f"darkpool_{secrets.token_hex(8)}"
    with _server() as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield f"{SERVER}/{name}"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def disconnect(url: str) -> Iterator[psycopg.Connection]:
    """Ends every connection to that PostgreSQL database; gives one to the server."""
    with _server() as server:
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            (database_name(url),),
        )
        yield server


def database_name(url: str) -> str:
    """The last part of a URL of `fresh_url`."""
    return url.rpartition("/")[2]


def _server() -> psycopg.Connection:
    try:
        return psycopg.connect(f"{SERVER}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        message = "no PostgreSQL: start one on 127.0.0.1:5432, or set DARKPOOL_TEST_POSTGRES to its URL"
        if os.environ.get("DARKPOOL_REQUIRE_POSTGRES") == "1":
            pytest.fail(message)
        pytest.skip(message)

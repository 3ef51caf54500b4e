"""One database, SQLite or PostgreSQL: its connections, transactions, layout and errors."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from darkpool.errors import ConfigError, DarkpoolError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

MAX_URL: Final = 2048
_CONNECT_SECONDS: Final = 10
_LOCK_SECONDS: Final = 15  # for another process to finish its write
_STATEMENT_SECONDS: Final = 60
_MIGRATION_LOCK: Final = 0x6461726B706F6F6C  # "darkpool": any number that nobody else locks
_URL_HINT: Final = "write sqlite:///path, or postgresql://user@host:5432/name"
_REACHABLE: Final = "the database must be reachable and writable"


class StoreError(DarkpoolError):
    """The database did not do what was asked; nothing of the operation is kept, with one exception.

    If the connection broke while a write was being confirmed, only the database knows whether it was kept:
    ask it (`size()`, `projected()`) before writing on. The next call connects anew.
    """

    def __init__(self, message: str, hint: str = _REACHABLE) -> None:
        super().__init__(message, hint)


class Database:
    """An open database at the newest layout. Every write is on disk when its transaction has ended.

    Any thread may use it; SQLite and the log let one writer in at a time.
    """

    __slots__ = ("_engine", "_writer")

    def __init__(self, engine: Engine) -> None:
        self._engine: Final = engine
        self._writer: Final = engine.execution_options(darkpool_writes=True)

    @classmethod
    def open(cls, url: str) -> Self:
        """Connects to "sqlite:///path" or "postgresql://…", and brings the layout up to date.

        Processes may open one database at once. Raises ConfigError for any other URL, StoreError.
        """
        engine = _connected(url)
        if engine.dialect.name == "sqlite":
            _make_private(Path(engine.url.database or ""))
        database = cls(engine)
        try:
            database._migrate()
        except StoreError:
            database.close()
            raise
        return database

    @classmethod
    def as_it_is(cls, url: str) -> Self:
        """Connects and leaves the layout alone: to read beside a running venue. Raises ConfigError."""
        return cls(_connected(url))

    def close(self) -> None:
        """Ends its connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self, operation: str) -> Iterator[Connection]:
        """One transaction that only reads. Raises StoreError naming the operation."""
        with self._transaction(self._engine, operation) as connection:
            yield connection

    @contextmanager
    def writing(self, operation: str) -> Iterator[Connection]:
        """One transaction: all of the block, durably, or after any error nothing. Raises StoreError."""
        with self._transaction(self._writer, operation) as connection:
            yield connection

    @contextmanager
    def _transaction(self, engine: Engine, operation: str) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OverflowError) as error:
            self._engine.dispose()
            # The text of the cause may hold the URL, and the rows.
            raise StoreError(f"database: cannot {operation} ({_cause(error)})", _hint(error)) from None

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        with self.writing("bring its tables up to date") as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            config = Config()
            config.set_main_option("script_location", "darkpool.store:migrations")
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError:
                raise StoreError(
                    "database: its tables are not of this program's making",
                    "use the version of darkpool that wrote it last, or another database",
                ) from None


def sqlite_url(path: Path) -> str:
    """The URL of a database in a file of this machine."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def parsed_url(text: str) -> URL:
    """A URL of a database we can use. Raises ConfigError, which quotes nothing of it."""
    try:
        url = make_url(text) if len(text) <= MAX_URL else None
    except (ArgumentError, ValueError):
        url = None  # a URL may hold a password, so no part of it is quoted, here or below
    if url is None:
        raise ConfigError(f"database url: not a URL of at most {MAX_URL} characters", _URL_HINT)
    if url.drivername in {"postgresql", "postgres", "postgresql+psycopg"} and url.database:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise ConfigError("database url: neither sqlite nor postgresql with a database", _URL_HINT)
    if url.database in {None, "", ":memory:"} or url.query or url.host:
        raise ConfigError("database url: sqlite without a file would lose orders", _URL_HINT)
    return url


def _connected(url: str) -> Engine:
    try:
        return _engine(parsed_url(url))
    except ArgumentError:
        raise ConfigError("database url: it asks for what there is not", _URL_HINT) from None


def _engine(url: URL) -> Engine:
    sqlite = url.drivername == "sqlite"
    arguments: dict[str, Any] = (
        {"timeout": _LOCK_SECONDS}
        if sqlite
        else {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": 1000 * _STATEMENT_SECONDS}
    )
    engine = create_engine(
        url, connect_args=arguments, pool_pre_ping=not sqlite, hide_parameters=True, echo=False
    )
    event.listen(engine, "connect", _prepare_sqlite if sqlite else _prepare_postgresql)
    if sqlite:
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(path: Path) -> None:
    """The file is its owner's alone, and so are those that SQLite makes beside it, which follow its mode."""
    with suppress(OSError):  # what cannot be opened, the connection will say
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin later than we say, and not for every statement
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # Alone of all statements this one does not wait when another process does the same.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads before it writes must take the write lock first, or it fails when it is late.
    writes = connection.get_execution_options().get("darkpool_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(connection: DBAPIConnection, _record: object) -> None:
    connection.execute("SET synchronous_commit = on")  # whatever the server's default
    connection.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'")
    connection.execute(f"SET lock_timeout = '{_LOCK_SECONDS}s'")
    connection.commit()


def _cause(error: Exception) -> str:
    """What the driver calls it, and no more."""
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return f"{type(cause).__name__} {code}" if code else type(cause).__name__


def _hint(error: Exception) -> str:
    if isinstance(error, IntegrityError):
        return "something else writes to this database: give each venue and member its own"
    return _REACHABLE

"""One venue a database: a second one, wherever it runs, is refused while the first lives.

The log cannot fork in any case: an entry is refused unless it continues what is there (log_store.py). But two
venues would follow each other's entries, open rounds twice and take the members from each other. SQLite: a
lock on a file beside it, which the kernel gives back. PostgreSQL: an advisory lock that a connection of its
own holds, which the server gives back when that ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import Final, Self

import psycopg

from darkpool.errors import ConfigError
from darkpool.store.database import StoreError, parsed_url

WAIT_SECONDS: Final = 30.0
"""For a venue that was killed: with its machine too, the server notices within 25 seconds."""

_LOCK: Final = 0x6461726B76656E75  # "darkvenu": any number that nobody else locks
_POLL_SECONDS: Final = 0.2
_CONNECT_SECONDS: Final = 10
_OPTIONS: Final = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"


class Sole:
    """The right to be the venue of a database, held until `release`."""

    def __init__(self, url: str) -> None:
        self._url = parsed_url(url)
        self._file: int | None = None
        self._connection: psycopg.Connection | None = None

    @classmethod
    def take(cls, url: str, seconds: float = WAIT_SECONDS) -> Self:
        """Wait until nobody else is. Raises ConfigError if somebody still is after so long, StoreError."""
        sole = cls(url)
        ends = time.monotonic() + seconds
        while not sole.taken():
            if time.monotonic() > ends:
                raise ConfigError(
                    "database: another venue works with it",
                    "end that one, or give this venue a database.url of its own",
                )
            time.sleep(_POLL_SECONDS)
        return sole

    def taken(self) -> bool:
        """Whether it is ours; it is taken if nobody has it. Raises StoreError if the server does not answer.

        Ask now and then: with the connection the right is lost, and somebody else may have it by now.
        """
        if self._url.drivername == "sqlite":
            return self._file is not None or self._locked_file()
        if self._connection is not None:
            try:
                self._connection.execute("SELECT 1")
            except psycopg.Error:
                self.release()
            else:
                return True
        return self._locked_server()

    def check(self) -> None:
        """Raises ConfigError if somebody else is by now, StoreError if the server does not answer."""
        if not self.taken():
            raise ConfigError("database: another venue has taken it over", "see why the connection was lost")

    def release(self) -> None:
        """Let the next one be."""
        if self._file is not None:
            os.close(self._file)
        if self._connection is not None:
            self._connection.close()
        self._file = self._connection = None

    def _locked_file(self) -> bool:
        path = f"{self._url.database}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"database: cannot lock it ({error.strerror})") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._file = descriptor
        return True

    def _locked_server(self) -> bool:
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            connection = psycopg.connect(
                url, autocommit=True, connect_timeout=_CONNECT_SECONDS, options=_OPTIONS
            )
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
        except psycopg.Error as error:
            # Its text may hold the URL.
            raise StoreError(f"database: cannot lock it ({type(error).__name__})") from None
        if row is None or not row[0]:
            connection.close()
            return False
        self._connection = connection
        return True

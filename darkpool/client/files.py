"""Files of the trader's folder: whole or not at all, durable before they count, for their owner only."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from darkpool.errors import ConfigError
from darkpool.files import settle


def make_folder(path: Path) -> None:
    """A folder of mode 0700, with those above it. Raises ConfigError if it is no such folder."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: no folder: {error.strerror}", "choose another --home") from None
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise ConfigError(f"{path}: others may use it", f"run chmod 700 {path}, or choose another --home")


def write_file(path: Path, data: bytes) -> None:
    """The whole file under its name instead of what was there; on disk on return. Raises ConfigError."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        settle(path.parent)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}", "make room, or fix it") from None


def read_file(path: Path, limit: int) -> bytes | None:
    """The bytes of a regular file, None if there is none. Raises ConfigError beyond the limit."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", "check the path") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # of a directory fdopen makes no file
        os.close(descriptor)
        raise ConfigError(f"{path}: not a regular file", "check the path")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ConfigError(f"{path}: over {limit} bytes", "check the path")
    return data

"""Files that are there whole or not at all, and files that are read only up to a bound."""

from __future__ import annotations

import os
from pathlib import Path

from darkpool.errors import ConfigError


def write_whole(path: Path, text: str, mode: int) -> None:
    """The file under its name or nothing, durable; whatever the umask, nobody else's if `mode` says so."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w") as file:
        if not mode & 0o077:  # also if somebody left one of that name
            os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)


def settle(folder: Path) -> None:
    """Make names in the folder as durable as what they name. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def bounded(path: Path, limit: int, hint: str = "give another path") -> bytes:
    """A file of at most so many bytes. Raises ConfigError with that hint."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint) from None
    if len(data) > limit:
        raise ConfigError(f"{path}: over {limit} bytes", hint)
    return data

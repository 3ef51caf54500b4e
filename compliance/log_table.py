"""The table of discrete logarithms on disk: read if it is good, built and written if it is not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from commitments.discrete_log import DEFAULT_BITS, MAX_BITS, Table
from commitments.errors import DecodeError
from darkpool.errors import ConfigError

_MAX_FILE_BYTES: Final = 16 << MAX_BITS
_CACHED: Final = "logarithms.table"


def load_table(path: Path, bits: int = DEFAULT_BITS, progress: Callable[[int], None] | None = None) -> Table:
    """The table of 2^bits steps at `path`; a missing, damaged or differently sized one is replaced.

    `progress` is called with the number of steps built so far, and never if the file is good. Nothing in the
    file is secret. Raises ConfigError if it can be neither read nor written, ParameterError for bits outside
    14 to 24.
    """
    try:
        table = _read(path)
        if table is None or table.bits != bits:
            table = Table.build(bits, progress)
            _replace(path, table.encode())
    except OSError as error:
        raise ConfigError(
            f"table of logarithms: {path}: {error.strerror}", "name a file in a folder you may write to"
        ) from None
    return table


def cached_table(progress: Callable[[int], None] | None = None) -> Table:
    """The table in the user's cache folder ($XDG_CACHE_HOME, or ~/.cache). Raises ConfigError."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(cache).expanduser() / "darkpool"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cache: {folder}: {error.strerror}", "set XDG_CACHE_HOME to a folder you may write to"
        ) from None
    return load_table(folder / _CACHED, progress=progress)


def _read(path: Path) -> Table | None:
    try:
        with path.open("rb") as file:
            return Table.decode(file.read(_MAX_FILE_BYTES))
    except (FileNotFoundError, DecodeError):
        return None


def _replace(path: Path, data: bytes) -> None:
    # Under another name first: a reader never meets half a table.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise

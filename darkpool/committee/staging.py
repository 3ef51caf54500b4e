"""From one seat to the next in two phases, so that after a crash every member has the old or the new.

    stage     the next seat is on disk, beside the present one; the member says so
    commit    the log has the next committee in office: its seat replaces the present one, which is erased
    withdraw  all did not stage theirs, or the log did not take the entry: the next seat is erased

The entry is written only when all n have staged: one member in the next epoch and one in the old cannot work
together. `withdraw` is never said once it may have been written.

seat.next.json   the staged seat
seat.old.json    the seat before, for the moment it takes to erase it
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from darkpool.committee.seat import Seat, settle
from darkpool.errors import ConfigError

NEXT: Final = ".next.json"
_OLD: Final = ".old.json"


def stage(seat: Seat, path: Path) -> None:
    """Keep a seat beside the one in `path` until `commit`, in place of one kept so before.

    Only after this may a member say that it has the next seat. Raises ConfigError.
    """
    following = path.with_suffix(NEXT)
    _erase(following.with_suffix(".tmp"))  # left by a crash
    _erase(following)
    seat.save(following)


def staged(path: Path) -> bool:
    """Whether a seat waits beside the one in `path`."""
    return path.with_suffix(NEXT).exists()


def commit(path: Path, digest: bytes) -> Seat:
    """Put the staged seat of that sharing (`Committee.digest`) into `path` and erase the one before.

    For when all members have theirs staged. Idempotent, and resumable after a crash at any point. Raises
    ConfigError if neither the staged nor the present seat is of that sharing.
    """
    following, old = path.with_suffix(NEXT), path.with_suffix(_OLD)
    if not path.exists() or Seat.load(path).committee.digest != digest:
        if Seat.load(following).committee.digest != digest:
            raise ConfigError(
                f"{following.name}: the seat of another change", "let the members agree on the change again"
            )
        if old.exists() and not (path.exists() and old.samefile(path)):
            _erase(old)
        if path.exists() and not old.exists():
            old.hardlink_to(path)  # a name by which to erase it once it is replaced
        following.replace(path)
        settle(path.parent)
    _erase(old)
    return Seat.load(path)


def withdraw(path: Path) -> None:
    """Erase what was staged beside `path`, if anything: for when the members gave the change up."""
    _erase(path.with_suffix(NEXT))


def _erase(path: Path) -> None:
    """Overwrite and unlink. Flash drives, snapshots and copy-on-write file systems may keep the old bytes.

    Only an encrypted volume whose key can be destroyed promises more.
    """
    if not path.exists():
        return
    with path.open("r+b") as file:
        file.write(os.urandom(os.fstat(file.fileno()).st_size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    settle(path.parent)

"""From one seat to the next in two phases, so that after a crash every member has the old or the new.

    stage     the next seat is on disk, beside the present one; the member says so
    promise   the member is about to sign the staged one into office: it keeps it while its word may be used
    commit    the log has the next committee in office: its seat replaces the present one, which is erased
    withdraw  all did not stage theirs, or the log did not take the entry: the next seat is erased

The entry is written only when all n have staged: one member in the next epoch and one in the old cannot work
together. `withdraw` is not to be said once it may have been written, and is refused after a promise.

seat.next.json         the staged seat
seat.next.about.json   what it is for: {"sharing": "…", "plan": "…", "until": 0}
seat.old.json          the seat before, for the moment it takes to erase it
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError
from darkpool.committee.seat import Seat
from darkpool.errors import ConfigError
from darkpool.files import settle, write_whole
from darkpool.jsontext import parsed
from darkpool.message import Message

NEXT: Final = ".next.json"
_ABOUT: Final = ".next.about.json"
_OLD: Final = ".old.json"
_MAX_ABOUT: Final = 1 << 10
_BY_HAND: Final = "erase it and the staged seat by hand, unless the log has that seat in office"


@dataclass(frozen=True, slots=True)
class Staged:
    """A seat that waits.

    plan: hash of the committee (`Tenure.plan`) that it was made for, zero if nobody said; until: the log's
    time, unix seconds, up to which its member has promised to keep it.
    """

    seat: Seat
    plan: bytes
    until: int


def stage(seat: Seat, path: Path, plan: bytes = bytes(32), now: int = 0) -> None:
    """Keep a seat beside the one in `path` until `commit`, in place of one kept so before.

    Only after this may a member say that it has the next seat. `plan`, `now`: as `Staged`, `check_free`.
    Raises ConfigError.
    """
    check_free(path, now)
    following = path.with_suffix(NEXT)
    _erase(following.with_suffix(".tmp"))  # left by a crash
    _erase(following)
    _write_about(path, Staged(seat, plan, 0))
    seat.save(following)


def kept(path: Path) -> Staged | None:
    """The seat that waits beside the one in `path`, if any. Raises ConfigError."""
    if not staged(path):
        return None
    seat, (sharing, plan, until) = Seat.load(path.with_suffix(NEXT)), _about(path)
    if sharing != seat.committee.digest:
        raise ConfigError(f"{path.with_suffix(_ABOUT).name}: of another seat than the staged one", _BY_HAND)
    return Staged(seat, plan, until)


def promise(path: Path, until: int) -> None:
    """Keep the staged seat up to that time of the log, whoever asks: before the member signs.

    Raises ConfigError, also if there is none.
    """
    found = kept(path)
    if found is None:
        raise ConfigError("seat: none is staged", "let the members agree on the change again")
    _write_about(path, replace(found, until=max(until, found.until)))


def check_free(path: Path, now: int) -> None:
    """Raises ConfigError while a promise holds at that time of the log, unix seconds."""
    until = _about(path)[2] if staged(path) else 0
    if until and now <= until:
        raise ConfigError(
            f"seat: this member has signed the staged one into office, and keeps it until {until}; the log is"
            f" at {now}",
            "have the log take the entry, or wait until the log is past that time",
        )


def _about(path: Path) -> tuple[bytes, bytes, int]:
    """Sharing, plan and time in the file. Raises ConfigError."""
    about = path.with_suffix(_ABOUT)
    try:
        with about.open("rb") as file:
            fields = parsed(file.read(_MAX_ABOUT), about.name)
        said = Message("about", fields if isinstance(fields, dict) else {})
        return said.octets("sharing", 32), said.octets("plan", 32), said.integer("until")
    except OSError as error:
        raise ConfigError(f"{about.name}: {error.strerror}", _BY_HAND) from None
    except CommitmentsError as error:
        raise ConfigError(f"{about.name}: {error}", _BY_HAND) from None


def _write_about(path: Path, staged: Staged) -> None:
    fields = {"sharing": staged.seat.committee.digest.hex(), "plan": staged.plan.hex(), "until": staged.until}
    write_whole(path.with_suffix(_ABOUT), json.dumps(fields), 0o600)
    settle(path.parent)


def staged(path: Path) -> bool:
    """Whether a seat waits beside the one in `path`."""
    return path.with_suffix(NEXT).exists()


def unfinished(path: Path) -> bool:
    """Whether a crash kept `commit` from erasing the seat before."""
    return path.with_suffix(_OLD).exists()


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
    if not following.exists():
        path.with_suffix(_ABOUT).unlink(missing_ok=True)
    if old.exists() and not old.samefile(path):
        _erase(old)
    return Seat.load(path)


def withdraw(path: Path, now: int = 0) -> None:
    """Erase what was staged beside `path`, if anything: for when the members gave the change up.

    Raises ConfigError as `check_free`.
    """
    check_free(path, now)
    _erase(path.with_suffix(NEXT))
    path.with_suffix(_ABOUT).unlink(missing_ok=True)


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

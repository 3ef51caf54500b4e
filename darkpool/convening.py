"""The committee of a data folder: its own members on this machine, or one whose members run elsewhere.

    committee.json     public: who the members are (committee/directory.py), unless the settings name another
    tls.key, tls.crt   what members know the venue by
    member-1 …         secret: one home for each member of its own (committee/home.py)

Its own members introduce themselves, are dealt to and join as any others; but one user owns them all.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Sequence
from math import comb
from pathlib import Path
from typing import Final

from commitments.errors import VerificationError
from commitments.params import MAX_MASK_SETS, PROFILES, Profile
from darkpool.committee.certificate import CERTIFICATE, Identity
from darkpool.committee.directory import COMMITTEE, Directory
from darkpool.committee.home import SEAT, Home
from darkpool.committee.introduction import Introduction
from darkpool.committee.joining import deal, init, join, write_public
from darkpool.committee.seat import Seat, ceremony
from darkpool.committee.tls import Tls
from darkpool.config import Settings
from darkpool.errors import ConfigError, PeerFault
from darkpool.settlement import MAX_MEMBERS
from darkpool.types import PrivateKey

LOOPBACK: Final = "127.0.0.1"
_LINKS_ABOVE_ORDERS: Final = 16  # for there are at most so many members
_MAX_PORT: Final = 65_535


def member_home(folder: Path, index: int) -> Path:
    """Where member `index` lives."""
    return folder / f"member-{index}"


def member_ports(settings: Settings) -> list[tuple[int, int]]:
    """Of our own members in order: where each takes orders by hand, and links.

    Member i takes orders at the API's port + i, and links at that + 16; if the API's is 0, no orders, and
    links at whatever is free now. Raises ConfigError.
    """
    api, members = settings.api.port, range(1, settings.venue.members + 1)
    if not api:
        return [(0, port) for port in _free_ports(len(members))]
    if api + _LINKS_ABOVE_ORDERS + members[-1] > _MAX_PORT:
        raise ConfigError(
            f"api.port: {api} leaves members no ports above it",
            f"give one up to {_MAX_PORT - _LINKS_ABOVE_ORDERS - members[-1]}",
        )
    return [(api + i, api + i + _LINKS_ABOVE_ORDERS) for i in members]


def operator_identity(folder: Path) -> Identity:
    """What members know the venue by, made at the first call. Raises ConfigError."""
    return Identity.load(folder) if (folder / CERTIFICATE).exists() else Identity.create(folder)


def directory_of(folder: Path, settings: Settings) -> Directory:
    """The committee's directory. Raises ConfigError if there is none yet."""
    return Directory.load(Path(settings.committee.file) if settings.committee.file else folder / COMMITTEE)


def meeting_of(folder: Path, settings: Settings) -> Tls:
    """Where the venue meets the members. Raises ConfigError."""
    return Tls(Identity.load(folder), directory_of(folder, settings))


def convened(
    folder: Path,
    settings: Settings,
    key: PrivateKey,
    progress: Callable[[int], None],
    seats: Sequence[Seat] | None = None,
) -> Directory:
    """The committee of a folder; unless the settings name another one, dealt at the first call.

    `key`: the dealer's, who is the operator here and must be trusted to forget. `progress` is told how many
    candidates for primes were tested. `seats` instead of a ceremony: somebody else has dealt them.
    Raises ConfigError.
    """
    if settings.committee.file:
        return directory_of(folder, settings)
    members, threshold = settings.venue.members, settings.venue.threshold
    homes = [member_home(folder, i) for i in range(1, members + 1)]
    if (folder / COMMITTEE).exists():
        found = Directory.load(folder / COMMITTEE)
        if (found.committee.members, found.committee.threshold) != (members, threshold):
            raise ConfigError(
                f"venue.members: {members} with threshold {threshold}, but another committee was dealt",
                "restore the settings, or use a new folder",
            )
        if missing := [home.name for home in homes if not (home / SEAT).exists()]:
            raise ConfigError(f"{folder}: the seats of {', '.join(missing)} are missing", "restore a backup")
        return found
    if any((home / SEAT).exists() for home in homes) and (folder / "venue.json").exists():
        raise ConfigError(
            f"{folder}: there is no {COMMITTEE}: made by an earlier version, or lost",
            "use a new folder, or restore the file from a backup",
        )
    for home in homes:  # of a ceremony that was interrupted
        shutil.rmtree(home, ignore_errors=True)
    introductions = [
        init(home, LOOPBACK, port, Home(None, port=orders))
        for home, (orders, port) in zip(homes, member_ports(settings), strict=True)
    ]
    dealt = seats or ceremony(PROFILES[settings.venue.profile], members, threshold, progress)
    directory, sealed = deal(introductions, dealt, operator_identity(folder).certificate, key)
    for index, home in enumerate(homes, 1):
        join(home, sealed[index], directory.encode())
    write_public(folder / COMMITTEE, directory.encode())
    return directory


def dealt_apart(
    folder: Path,
    out: Path,
    introductions: Sequence[Introduction],
    threshold: int,
    profile: Profile,
    key: PrivateKey,
    progress: Callable[[int], None],
    epoch: int = 0,
) -> Directory:
    """Deal to members that run elsewhere: committee.json and seat-I.sealed in a new folder.

    `folder` is the venue's, whose certificate is made if it has none; `key` is the dealer's; `epoch` is above
    0 for a key that takes over from another.
    Raises ConfigError; PeerFault if two introductions are of one member.
    """
    members = len(introductions)
    if members < 2 * threshold + 1 or members > MAX_MEMBERS or comb(members, threshold) > MAX_MASK_SETS:
        raise ConfigError(
            f"{members} introductions with threshold {threshold}: from 2 * threshold + 1 to {MAX_MEMBERS}, "
            f"and at most {MAX_MASK_SETS} sets of `threshold` of them",
            "for example 4 members and 1",
        )
    try:
        out.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror}", "give a new folder with --out") from None
    identity = operator_identity(folder)
    seats = ceremony(profile, members, threshold, progress, epoch=epoch)
    try:
        directory, sealed = deal(introductions, seats, identity.certificate, key)
    except VerificationError as error:
        raise PeerFault(f"introductions: {error}", "have each member make its own") from None
    for index, data in sealed.items():
        (out / f"seat-{index}.sealed").write_bytes(data)
    write_public(out / COMMITTEE, directory.encode())
    return directory


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()

"""A member's owner agrees that another member is replaced: a new committee.json, and a plan (tenure_file.py).

Both come from somebody else. They must say the same; whoever signs as before must be as before in
committee.json, or its links could be led to a stranger; and the key must be the present one. What is left is
for the owner to see: who comes for whom, another venue's certificate, another guardian of the vault.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError
from darkpool.committee import staging
from darkpool.committee.directory import COMMITTEE, Directory
from darkpool.committee.home import SEAT
from darkpool.committee.introduction import Introduction
from darkpool.committee.joining import keep_first, own_index, read_directory, write_public
from darkpool.committee.seat import Seat
from darkpool.errors import ConfigError, PeerFault
from darkpool.files import settle, write_whole
from darkpool.jsontext import parsed
from darkpool.tenure_file import NEXT, Planned, planned

BEFORE: Final = "committee.json.before"


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the owner agrees to. replaced: by index, who goes and who comes."""

    directory: Directory
    plan: Planned
    replaced: dict[int, tuple[Introduction, Introduction]]
    other_venue: bool


def read_plan(data: bytes) -> Planned:
    """A next-committee.json from somebody else. Raises PeerFault."""
    try:
        return planned(parsed(data, NEXT))
    except (CommitmentsError, ConfigError) as error:
        raise PeerFault(
            f"{NEXT}: {error}", "get it by darkpool operator committee plan", "operator"
        ) from None


def agreement(folder: Path, data: bytes, plan: Planned) -> Agreement:
    """What a committee.json and a plan would change for the member in that home; nothing is written.

    Raises ConfigError for what it must not agree to, PeerFault for a file that is none.
    """
    if staging.staged(folder / SEAT):
        raise ConfigError(
            "seat: the next one is staged already, for a change that is under way",
            "let the operator end that change or begin it anew, which gives it up; then agree",
        )
    following = read_directory(data)
    index = own_index(folder, following)
    present, seat = Directory.load(folder / COMMITTEE), Seat.load(folder / SEAT)
    if index != seat.index:
        raise ConfigError(f"{COMMITTEE}: this is member {seat.index}, and {index} in it", "compare the two")
    if following.committee != present.committee or following.committee.key != seat.committee.key:
        raise ConfigError(
            f"{COMMITTEE}: its key, threshold or verification values are not those of the present one",
            "make it by darkpool operator committee replace; a new key is dealt, and joined",
        )
    tenure, due = plan.tenure, seat.committee.epoch + 1
    if (tenure.signers, tenure.key) != (following.signers, following.committee.key):
        raise ConfigError(
            f"{NEXT}: its members, threshold or key are not those of {COMMITTEE}",
            "have it written by darkpool operator committee plan --committee",
        )
    if tenure.key_epoch != due:
        raise ConfigError(f"{NEXT}: of key epoch {tenure.key_epoch}; {due} is next", "have it planned anew")
    pairs = enumerate(zip(present.members, following.members, strict=True), 1)
    changed = {i: (before, after) for i, (before, after) in pairs if before != after}
    if posing := [i for i, (before, after) in changed.items() if before.signer == after.signer]:
        raise ConfigError(
            f"{COMMITTEE}: members {posing} sign as before, with another certificate or at another place",
            "who moves is replaced: with a new home, by an introduction of its own",
        )
    return Agreement(following, plan, changed, following.coordinator != present.coordinator)


def agree(folder: Path, agreed: Agreement) -> None:
    """Put both files into the home; what was there is kept as committee.json.before. Repeated, the same.

    A member that runs must be started anew. Raises ConfigError.
    """
    keep_first(folder)
    present, before = folder / COMMITTEE, folder / BEFORE
    if agreed.directory.hash != Directory.load(present).hash:
        before.unlink(missing_ok=True)
        os.link(present, before)
        write_public(present, agreed.directory.encode())
        settle(folder)
    write_whole(folder / NEXT, agreed.plan.encode(), 0o600)

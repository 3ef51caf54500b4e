"""How a member comes to its seat: it introduces itself, the dealer seals a seat to it, it joins.

    init    certificate, keys, introduction.json
    deal    committee.json, and a sealed seat for every introduction
    join    the sealed seat is opened, checked against committee.json, and stored
    succeed a place in a running committee is taken; the share comes from the other members

Under a new key members are dealt to again, and join what comes next (`join_next`).

A sealed seat is the dealer's signature (65 bytes) over SHA-256 of the rest, and an HPKE box to the key of the
member's introduction, bound to its index and to the hash of committee.json.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError, DecodeError, VerificationError
from commitments.sealing import BOX_OVERHEAD, MAX_BOX_BYTES, box_open, box_seal
from darkpool import eip712
from darkpool.committee import staging
from darkpool.committee.certificate import Certificate, Identity
from darkpool.committee.directory import COMMITTEE, Directory
from darkpool.committee.home import SEAT, Home, Keys
from darkpool.committee.introduction import MAX_INTRODUCTION, Introduction
from darkpool.committee.seat import Seat
from darkpool.errors import ConfigError, PeerFault
from darkpool.files import bounded, write_whole
from darkpool.jsontext import parsed
from darkpool.tenure import Tenure
from darkpool.tenure_file import FIRST, NEXT, Planned, planned
from darkpool.types import PrivateKey

INTRODUCTION: Final = "introduction.json"
FOLLOWING: Final = "committee.next.json"
MAX_SEALED: Final = eip712.SIGNATURE_BYTES + BOX_OVERHEAD + MAX_BOX_BYTES
_BOX_LABEL: Final = b"darkpool/v1/sealed-seat"
_SIGNED_LABEL: Final = b"darkpool/v1/dealers-signature"


def init(folder: Path, host: str, port: int, home: Home) -> Introduction:
    """Make a member's home: mode 0700, with keys and settings. Raises ConfigError, also if there is one."""
    if (folder / INTRODUCTION).exists():
        raise ConfigError(f"{folder}: a member lives here already", "use a new folder")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", "give another folder") from None
    identity, keys = Identity.create(folder), Keys.create(folder)
    made = Introduction.signed(host, port, identity.certificate, keys.box.public, keys.signing_key)
    home.save_settings(folder)
    write_public(folder / INTRODUCTION, made.encode())
    return made


def deal(
    introductions: Sequence[Introduction], seats: Sequence[Seat], coordinator: Certificate, key: PrivateKey
) -> tuple[Directory, dict[int, bytes]]:
    """The directory, and by index the sealed seats, all bound to each other.

    `key` is the dealer's. Raises VerificationError if two introductions are of one member.
    """
    directory = Directory(seats[0].committee, tuple(introductions), coordinator, eip712.address_of(key))
    sealed = {}
    for seat in seats:
        info = _info(seat.index)
        box = box_seal(directory.member(seat.index).box, seat.dealt(), info, directory.hash)
        sealed[seat.index] = eip712.sign_digest(_signed(info, directory, box), key) + box
    return directory, sealed


def join(folder: Path, sealed: bytes, data: bytes, first: bytes | None = None) -> Directory:
    """Take the seat in the committee of that committee.json. Repeated with the same, nothing changes.

    `first`: the venue's first-committee.json, for a newcomer under a later key. Raises ConfigError if the
    home is not in that committee or has another seat, PeerFault if the dealer's work is wrong.
    """
    directory, seat = _joined(folder, sealed, data)
    if (folder / SEAT).exists() and Directory.load(folder / COMMITTEE).hash != directory.hash:
        raise ConfigError(f"{folder}: it has a seat in another committee", "use a new folder")
    if first is not None:
        keep_first(folder, read_first(first))
    elif directory.committee.epoch and not (folder / FIRST).exists():
        raise ConfigError(
            f"{COMMITTEE}: of key epoch {directory.committee.epoch}, so the venue began with another one",
            f"give its {FIRST} with --first",
        )
    write_public(folder / COMMITTEE, data)
    replace(Home.load(folder), signers=directory.signers).save(folder, seat)
    return directory


def join_next(folder: Path, sealed: bytes, data: bytes) -> Directory:
    """Take a seat under the key that follows the present one, in use once the log has it in office.

    Until then it waits beside the present one (staging.py). To join is to agree: next-committee.json is
    written. Raises as `join`, and ConfigError if that key may not follow.
    """
    directory, seat = _joined(folder, sealed, data)
    present, following = Seat.load(folder / SEAT), seat.committee
    if seat.index != present.index or following.key == present.committee.key:
        raise ConfigError(
            f"{COMMITTEE}: not a new key for member {present.index}", "deal one to the same members"
        )
    if following.epoch <= present.committee.epoch:
        raise ConfigError(
            f"{COMMITTEE}: of key epoch {following.epoch}, the present is {present.committee.epoch}",
            "have it dealt with a higher --epoch",
        )
    if directory.coordinator != Directory.load(folder / COMMITTEE).coordinator:
        raise ConfigError(
            f"{COMMITTEE}: another venue leads it than the present one",
            "have it dealt with the venue's own data folder",
        )
    keep_first(folder)
    plan = Planned(Tenure(directory.signers, following.key, following.epoch))
    staging.stage(seat, folder / SEAT, plan.tenure.hash, int(time.time()))
    write_public(folder / FOLLOWING, data)
    write_whole(folder / NEXT, plan.encode(), 0o600)
    return directory


def succeed(folder: Path, data: bytes, first: bytes) -> Directory:
    """Take a place in a running committee, as the successor of a member: its share comes from the others.

    `first`: the venue's first-committee.json. Repeated with the same, nothing changes. Raises ConfigError if
    the home is not in that committee.json or has a seat, PeerFault if a file is wrong.
    """
    directory, began = read_directory(data), read_first(first)
    own_index(folder, directory)
    if (folder / SEAT).exists():
        raise ConfigError(f"{folder}: it has a seat already", "a successor needs a new folder")
    keep_first(folder, began)
    write_public(folder / COMMITTEE, data)
    replace(Home.load(folder), signers=began.tenure.signers).save_settings(folder)
    return directory


def directory_for(folder: Path, seat: Seat) -> Directory:
    """The committee.json of a home; that of the next key, for good, once its seat is of that key.

    Raises ConfigError.
    """
    following = folder / FOLLOWING
    if following.exists() and Directory.load(following).committee.key == seat.committee.key:
        following.replace(folder / COMMITTEE)
    return Directory.load(folder / COMMITTEE)


def read_directory(data: bytes) -> Directory:
    """That of a file's bytes. Raises PeerFault."""
    try:
        return Directory.parse(data)
    except CommitmentsError as error:
        raise PeerFault(f"{COMMITTEE}: {error}", "get it from the dealer again", "dealer") from None


def own_index(folder: Path, directory: Directory) -> int:
    """Which member of it lives here. Raises ConfigError if none does, or not as it introduced itself."""
    index = directory.who(Identity.load(folder).certificate.der)
    if not index or directory.member(index) != own_introduction(folder):
        raise ConfigError(
            f"{COMMITTEE}: this member is not in it as {INTRODUCTION} says",
            "give the dealer the introduction.json of this home",
        )
    return index


def keep_first(folder: Path, began: Planned | None = None) -> None:
    """Write down whom the venue began with: seats of later keys do not say. Raises ConfigError.

    `began`: None for the committee that the home has joined, under the key of its seat.
    """
    kept = Planned.load(folder / FIRST)
    if kept is not None and began is not None and not kept.same(began.tenure):
        raise ConfigError(f"{FIRST}: the folder has another one already", "compare the two")
    if kept is not None:
        return
    if began is None:
        signers = Home.load(folder).signers
        if signers is None:
            raise ConfigError(f"{folder}: it has not joined a committee", "run darkpool member join")
        began = Planned(Tenure(signers, Seat.load(folder / SEAT).committee.key))
    write_whole(folder / FIRST, began.encode(), 0o600)


def read_first(data: bytes) -> Planned:
    """A first-committee.json. Raises PeerFault if it is none."""
    try:
        found = planned(parsed(data, FIRST))
        if found.tenure.key_epoch:
            raise DecodeError("key_epoch", f"{found.tenure.key_epoch}; the first committee's is 0")
    except (CommitmentsError, ConfigError) as error:
        raise PeerFault(
            f"{FIRST}: {error}", "get it by darkpool operator committee first", "operator"
        ) from None
    return found


def own_introduction(folder: Path) -> Introduction:
    """Raises ConfigError."""
    return read_introduction(folder / INTRODUCTION)


def read_introduction(path: Path) -> Introduction:
    """That in a file. Raises ConfigError if there is none, PeerFault if it is not as its member made it."""
    try:
        return Introduction.parse(bounded(path, MAX_INTRODUCTION))
    except CommitmentsError as error:
        raise PeerFault(f"{path}: {error}", "have the member send it again") from None


def _joined(folder: Path, sealed: bytes, data: bytes) -> tuple[Directory, Seat]:
    """A committee.json and the seat that was dealt to this home with it. Raises ConfigError, PeerFault."""
    keys, directory = Keys.load(folder), read_directory(data)
    return directory, _opened(sealed, directory, own_index(folder, directory), keys)


def _opened(sealed: bytes, directory: Directory, index: int, keys: Keys) -> Seat:
    """Raises PeerFault unless the dealer sealed it to this member, for this committee."""
    signature, box = sealed[: eip712.SIGNATURE_BYTES], sealed[eip712.SIGNATURE_BYTES :]
    info = _info(index)
    try:
        eip712.check_signer(_signed(info, directory, box), signature, directory.dealer)
        seat = Seat.joined(box_open(keys.box, box, info, directory.hash), keys.signing_key)
    except VerificationError:
        raise PeerFault(
            f"sealed seat: not the dealer's for member {index} of committee {directory.code}",
            "give the seat-I.sealed and the committee.json that were made together",
            "dealer",
        ) from None
    except (CommitmentsError, ConfigError) as error:
        raise PeerFault(f"sealed seat: {error}", "have the committee dealt again", "dealer") from None
    if seat.index != index or seat.committee != directory.committee:
        raise PeerFault(
            "sealed seat: its index, key or verification values are not committee.json's",
            "have the committee dealt again",
            "dealer",
        )
    return seat


def _info(index: int) -> bytes:
    return _BOX_LABEL + index.to_bytes(1, "big")


def _signed(info: bytes, directory: Directory, box: bytes) -> bytes:
    return sha256(_SIGNED_LABEL + info + directory.hash + box).digest()


def write_public(path: Path, data: bytes) -> None:
    """The file under its name or nothing, for everybody to read whatever the umask."""
    write_whole(path, data.decode("ascii"), 0o644)
    path.chmod(0o644)

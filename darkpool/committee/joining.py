"""How a member comes to its seat: it introduces itself, the dealer seals a seat to it, it joins.

    init    certificate, keys, introduction.json
    deal    committee.json, and a sealed seat for every introduction
    join    the sealed seat is opened, checked against committee.json, and stored

A sealed seat is the dealer's signature (65 bytes) over SHA-256 of the rest, and an HPKE box to the key of the
member's introduction, bound to its index and to the hash of committee.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError, VerificationError
from commitments.sealing import BOX_OVERHEAD, MAX_BOX_BYTES, box_open, box_seal
from darkpool import eip712
from darkpool.committee.certificate import Certificate, Identity
from darkpool.committee.directory import COMMITTEE, Directory
from darkpool.committee.home import SEAT, Home, Keys, write_private
from darkpool.committee.introduction import MAX_INTRODUCTION, Introduction
from darkpool.committee.seat import Seat
from darkpool.errors import ConfigError, PeerFault
from darkpool.types import PrivateKey

INTRODUCTION: Final = "introduction.json"
MAX_SEALED: Final = eip712.SIGNATURE_BYTES + BOX_OVERHEAD + MAX_BOX_BYTES
_BOX_LABEL: Final = b"darkpool/v1/sealed-seat"
_SIGNED_LABEL: Final = b"darkpool/v1/sealed-seat-by-dealer"


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


def join(folder: Path, sealed: bytes, data: bytes) -> Directory:
    """Take the seat in the committee of that committee.json. Repeated with the same, nothing changes.

    Raises ConfigError if the home is not in it or has another seat, PeerFault if the dealer's work is wrong.
    """
    keys, identity, settings = Keys.load(folder), Identity.load(folder), Home.load(folder)
    try:
        directory = Directory.parse(data)
    except CommitmentsError as error:
        raise PeerFault(f"{COMMITTEE}: {error}", "get it from the dealer again", "dealer") from None
    index = directory.who(identity.certificate.der)
    if not index or directory.member(index) != own_introduction(folder):
        raise ConfigError(
            f"{COMMITTEE}: this member is not in it as {INTRODUCTION} says",
            "give the dealer the introduction.json of this home",
        )
    seat = _opened(sealed, directory, index, keys)
    if (folder / SEAT).exists() and (
        Directory.load(folder / COMMITTEE).hash != directory.hash or Seat.load(folder / SEAT).index != index
    ):
        raise ConfigError(f"{folder}: it has a seat in another committee", "use a new folder")
    write_public(folder / COMMITTEE, data)
    home = Home(
        directory.signers, settings.rpc_url, settings.vault, settings.finality, settings.port, settings.host
    )
    home.save(folder, seat)
    return directory


def own_introduction(folder: Path) -> Introduction:
    """Raises ConfigError."""
    return read_introduction(folder / INTRODUCTION)


def read_introduction(path: Path) -> Introduction:
    """That in a file. Raises ConfigError if there is none, PeerFault if it is not as its member made it."""
    try:
        return Introduction.parse(bounded(path, MAX_INTRODUCTION))
    except CommitmentsError as error:
        raise PeerFault(f"{path}: {error}", "have the member send it again") from None


def bounded(path: Path, limit: int) -> bytes:
    """A file of at most so many bytes. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "give another path") from None
    if len(data) > limit:
        raise ConfigError(f"{path}: more than {limit} bytes", "give the right file")
    return data


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
    """As write_private, for everybody to read."""
    write_private(path, data.decode("ascii"))
    path.chmod(0o644)

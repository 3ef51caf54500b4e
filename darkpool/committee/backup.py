"""A member's secrets in one file under a passphrase, for the day its disk is lost.

    file    {format, version, what is public of the seat, kdf, cipher, sealed}
    key     scrypt, as keystore.py
    sealed  AES-256-GCM(key, the files of the home; everything else in the file)

What is public can be read without the passphrase, but is believed only with it. A backup is of one epoch:
once the members have changed their shares it opens nothing any more, and while others keep theirs of that
epoch it is as dangerous as they are. So make a new one after each change, and destroy the one before.

The database is not in it. A member restored without member.db does not know which lists it had signed, so the
old one must be gone for good, and the new one follows the log before it takes part in a round.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from commitments.encoding import Reader, Writer
from commitments.errors import CommitmentsError, DecodeError, VerificationError
from commitments.sealing import NOTE_OVERHEAD, open_, seal
from darkpool import jsontext
from darkpool.committee.certificate import CERTIFICATE, KEY
from darkpool.committee.directory import COMMITTEE
from darkpool.committee.home import KEYS, SEAT, SETTINGS
from darkpool.committee.joining import INTRODUCTION
from darkpool.committee.seat import Seat
from darkpool.committee.staging import staged
from darkpool.errors import ConfigError
from darkpool.files import bounded, settle
from darkpool.keystore import (
    COSTS,
    INSECURE_TEST,
    MIN_PASSPHRASE_BYTES,
    SALT_BYTES,
    STANDARD,
    KeystoreError,
    ScryptCost,
    passphrase_bytes,
    read_private,
    stretch,
    write_new,
)
from darkpool.message import Message
from darkpool.tenure_file import FIRST

FORMAT: Final = "darkpool-member-backup"
VERSION: Final = 1
FILES: Final = (SEAT, KEYS, KEY, CERTIFICATE, INTRODUCTION, COMMITTEE, SETTINGS, FIRST)
"""Of a home, as far as they are there; the seat must be."""
MAX_FILE: Final = 1 << 19  # of a home
MAX_CONTENT: Final = 1 << 20
MAX_BACKUP: Final = 2 * MAX_CONTENT + (1 << 12)
_MAX_NAME: Final = 32
_MAX_TEXT: Final = 32


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backup says of its seat without a passphrase; byte strings in hexadecimal."""

    member: int
    members: int
    threshold: int
    epoch: int
    signer: str
    key_id: str
    sharing: str

    @staticmethod
    def of(seat: Seat) -> Summary:
        """That of a seat."""
        committee = seat.committee
        return Summary(
            seat.index,
            committee.members,
            committee.threshold,
            committee.epoch,
            seat.signer.hex(),
            committee.key.key_id.hex(),
            committee.digest.hex(),
        )

    def fields(self) -> dict[str, int | str]:
        """As in the file."""
        return {name: getattr(self, name) for name in self.__slots__}


def backup(home: Path, file: Path, passphrase: str, *, cost: ScryptCost = STANDARD) -> Summary:
    """Write the secrets of a home into a new file; the member may be running.

    Raises ConfigError if the home has no seat or one that is about to change, KeystoreError if the file
    exists or cannot be written, or the passphrase has fewer than 8 or more than 1024 bytes.
    """
    secret = passphrase_bytes(passphrase, MIN_PASSPHRASE_BYTES)
    seat = Seat.load(home / SEAT)
    if staged(home / SEAT):
        raise ConfigError(
            f"{home}: a change of shares is under way, after which this backup is worth nothing",
            "wait for its end, or withdraw it",
        )
    content = {
        name: bounded(home / name, MAX_FILE, "check the member's home")
        for name in FILES
        if (home / name).exists()
    }
    summary, salt = Summary.of(seat), secrets.token_bytes(SALT_BYTES)
    writer = Writer().uint(len(content), 1)
    for name, data in content.items():
        writer.var(name.encode()).var(data)
    head = _head(summary, salt, cost)
    sealed = seal(stretch(secret, salt, cost), bytes(writer), _encode(head), MAX_CONTENT)
    write_new(file, _encode({**head, "sealed": sealed.hex()}))
    return summary


def restore(
    file: Path, home: Path, passphrase: str, *, epoch: int = 0, allow_insecure_test: bool = False
) -> Summary:
    """Make a member's home of a backup; whole, or not at all.

    `epoch`: the one the other members or their log report, if known; an older backup is refused. Raises
    KeystoreError for a file that is not exactly a backup, a wrong passphrase, a changed byte or one that is
    too old, ConfigError if the home exists.
    """
    secret = passphrase_bytes(passphrase, 1)
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise ConfigError(f"{home}: there is something already", "restore into a new folder")
    summary, salt, cost, sealed = _decode(file, read_private(file, MAX_BACKUP))
    if cost is INSECURE_TEST and not allow_insecure_test:
        raise KeystoreError(f"{file}: made at the cost insecure-test, which protects nothing")
    try:
        head = _encode(_head(summary, salt, cost))
        content = _read_content(open_(stretch(secret, salt, cost), sealed, head, MAX_CONTENT))
    except VerificationError:
        raise KeystoreError(
            f"{file}: this passphrase does not open it",
            "check its case and the keyboard layout; if it is right, the file was changed: take another copy",
        ) from None
    except DecodeError as error:
        raise _malformed(file, error) from None
    if summary.epoch < epoch:
        raise KeystoreError(
            f"{file}: of epoch {summary.epoch}, and the committee is in {epoch}: this share opens nothing",
            "take a later backup; without one, the members make a new seat by replacing this member",
        )
    _write_home(home, content, summary)
    return summary


# --- the home ---------------------------------------------------------------------------------------


def _write_home(home: Path, content: dict[str, bytes], summary: Summary) -> None:
    """Under another name first, and looked at there: a home that exists is a whole one."""
    making = home.with_name(f".{home.name[:64]}.{secrets.token_hex(8)}.tmp")
    try:
        making.mkdir(mode=0o700, parents=True)
        for name, data in content.items():
            write_new(making / name, data)
        if Summary.of(Seat.load(making / SEAT)) != summary:
            raise ConfigError(f"{home}: the seat inside is not the one the backup names", "take another copy")
        making.rename(home)  # over an empty folder at most
        settle(home.parent)
    except OSError as error:
        raise ConfigError(f"{home}: {error.strerror}", "give another folder") from None
    finally:
        if making.exists():
            for left in making.iterdir():
                left.unlink()
            making.rmdir()


# --- the file's form --------------------------------------------------------------------------------


def _head(summary: Summary, salt: bytes, cost: ScryptCost) -> dict[str, Any]:
    """All that is not sealed, which the seal binds."""
    kdf = {"name": "scrypt", "cost": cost.name, "n": cost.n, "r": cost.r, "p": cost.p, "salt": salt.hex()}
    head = {"format": FORMAT, "version": VERSION, **summary.fields()}
    return {**head, "kdf": kdf, "cipher": "aes-256-gcm"}


def _encode(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode("ascii")


def _decode(file: Path, data: bytes) -> tuple[Summary, bytes, ScryptCost, bytes]:
    """Summary, salt, cost and sealed content of a file that is exactly as `backup` writes it."""
    try:
        document = jsontext.parsed(data, "backup")
        if not isinstance(document, dict) or not isinstance(document.get("kdf"), dict):
            raise DecodeError("backup", "not an object with a kdf")  # noqa: TRY301
        message, kdf = Message("backup", document), Message("kdf", document["kdf"])
        summary = Summary(
            message.integer("member"),
            message.integer("members"),
            message.integer("threshold"),
            message.integer("epoch"),
            message.octets("signer", 20).hex(),
            message.octets("key_id", 32).hex(),
            message.octets("sharing", 32).hex(),
        )
        cost = COSTS.get(kdf.text("cost", _MAX_TEXT))
        if cost is None:
            raise DecodeError("kdf.cost", f"not one of {', '.join(COSTS)}")  # noqa: TRY301
        salt, sealed = kdf.octets("salt", SALT_BYTES), message.octets("sealed")
        if len(sealed) > MAX_CONTENT + NOTE_OVERHEAD:
            raise DecodeError("sealed", f"over {MAX_CONTENT} bytes")  # noqa: TRY301
        if _encode({**_head(summary, salt, cost), "sealed": sealed.hex()}) != data:
            raise DecodeError("backup", f"not as version {VERSION} of this program writes it")  # noqa: TRY301
    except DecodeError as error:
        raise _malformed(file, error) from None
    return summary, salt, cost, sealed


def _read_content(data: bytes) -> dict[str, bytes]:
    """Raises DecodeError; by whoever knows the passphrase, so only mistakes are to be expected."""
    reader = Reader(data)
    count = reader.uint("files", 1, len(FILES))
    content = {}
    for _ in range(count):
        name = reader.var("name", _MAX_NAME).decode("ascii", "replace")
        content[name] = reader.var("file", MAX_FILE)
    reader.end("content")
    if len(content) != count or SEAT not in content or not set(content) <= set(FILES):
        raise DecodeError("content", "other files than a member's")
    return content


def _malformed(file: Path, error: CommitmentsError) -> KeystoreError:
    return KeystoreError(f"{file}: {error}", "take another copy of the backup")

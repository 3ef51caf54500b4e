"""Authorities that share an auditor's key: what everybody may know of them, and each one's share on disk.

A dealer's ceremony (commitments/auditor_shares.py) makes one public file and one share a member. Both are
JSON in one canonical spelling. A share file holds the public part too, and its share under AES-256-GCM with a
key that scrypt makes of its holder's passphrase, bound to all else in the file.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from commitments import sealing
from commitments.auditor_key import KeyContext, Registration, SecretKey, register, verify
from commitments.auditor_shares import Share, Sharing, deal
from commitments.encoding import Writer
from commitments.errors import CommitmentsError, DecodeError, VerificationError
from compliance.auditor import Auditor
from compliance.disclosure_query import printable
from compliance.policy_parse import is_name
from darkpool import jsontext
from darkpool.client.files import read_file
from darkpool.eip712 import Domain
from darkpool.errors import ConfigError
from darkpool.jsonfields import Fields, hex_text, read_hex
from darkpool.keystore import STANDARD
from darkpool.types import Address, address_hex

FORMAT: Final = "darkpool-authority"
SHARE_FORMAT: Final = "darkpool-authority-share"
VERSION: Final = 1
LABEL_AUTHORITY_FILE: Final = b"darkpool/v1/authority-file"
MAX_FILE: Final = 1 << 15
MAX_TITLE: Final = 200
MIN_PASSPHRASE_BYTES: Final = 8
MAX_PASSPHRASE_BYTES: Final = 1024

_MAX_PART: Final = 1 << 12  # bytes of a registration, a sharing, a share
_SALT_BYTES: Final = 32
_SCRYPT_MEMORY: Final = 1 << 28
_NAMES: Final = ("format", "version", "title", "auditor", "operator", "registration", "sharing")
_SHARE_NAMES: Final = ("format", "version", "index", "authority", "salt", "sealed")


@dataclass(frozen=True, slots=True)
class Authority:
    """The public side of a key that authorities share.

    auditor: who asks them, and to whom their answers are sealed; operator: who signs that a query is on
    record; title: for people.
    """

    auditor: Auditor
    operator: Address
    title: str
    registration: Registration
    sharing: Sharing

    @property
    def name(self) -> str:
        """As the policy calls it."""
        return self.registration.context.authority

    @property
    def domain(self) -> Domain:
        """Of the vault it is for."""
        context = self.registration.context
        return Domain(context.chain_id, Address(context.contract))

    def check(self) -> None:
        """Raises VerificationError unless the sharing is of the key whose possession is proven."""
        context = self.registration.context
        verify(self.registration, context.chain_id, context.contract, context.venue)
        if self.registration.key != self.sharing.key:
            raise VerificationError("registration", "it is of another key than the sharing")
        self.sharing.check()

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "title": self.title,
            "auditor": self.auditor.export(),
            "operator": address_hex(self.operator),
            "registration": hex_text(self.registration.encode()),
            "sharing": hex_text(self.sharing.encode()),
        }

    @staticmethod
    def from_json(value: object) -> Authority:
        """The authority of such an object, checked. Raises DecodeError naming the field."""
        fields = Fields(value, "authority", _NAMES)
        if fields.text("format") != FORMAT:
            raise DecodeError("format", f"not {FORMAT}")
        fields.uint("version", VERSION, VERSION)
        try:
            auditor = Auditor.parse(fields.text("auditor"))
        except ConfigError as error:
            raise DecodeError("auditor", error.message) from None
        found = Authority(
            auditor,
            fields.address("operator"),
            printable(fields, "title", MAX_TITLE),
            Registration.decode(_octets(fields, "registration")),
            Sharing.decode(_octets(fields, "sharing")),
        )
        try:
            found.check()
        except VerificationError as error:
            raise DecodeError(error.equation, error.problem) from None
        return found

    def encode(self) -> bytes:
        """The public file."""
        return _text(self.as_json())

    @staticmethod
    def load(path: Path) -> Authority:
        """The authority of a public file. Raises ConfigError naming the field that is malformed."""
        data = _read(path)
        try:
            found = Authority.from_json(jsontext.parsed(data, "file"))
            if found.encode() != data:
                raise DecodeError("file", "not in its canonical form")
        except CommitmentsError as error:
            raise _malformed(path, "public file", error) from None
        return found


@dataclass(frozen=True, slots=True)
class Member:
    """One of the authorities, with its share. Secret."""

    authority: Authority
    share: Share = field(repr=False)

    def encode(self, passphrase: str) -> bytes:
        """The share file, which takes a moment. Raises ConfigError for a passphrase too short or too long."""
        secret, salt = _passphrase(passphrase), secrets.token_bytes(_SALT_BYTES)
        head = _head(self.authority, self.share.index, salt)
        sealed = sealing.seal(_stretch(secret, salt), self.share.encode(), _associated(head))
        return _text({**head, "sealed": hex_text(sealed)})

    @staticmethod
    def shown(path: Path) -> tuple[Authority, int]:
        """What is public of a share file: the authority, and the member's index. Raises ConfigError."""
        head, _ = _share_file(path)
        return Authority.from_json(head["authority"]), head["index"]

    @staticmethod
    def load(path: Path, passphrase: str) -> Member:
        """The member of the file: form, who may read it, passphrase, share. Raises ConfigError."""
        head, sealed = _share_file(path)
        if path.stat().st_mode & 0o077:
            raise ConfigError(
                f"{path}: others may read it",
                f"run chmod 600 {path}, and take it that somebody has a copy to guess passphrases on",
            )
        key = _stretch(_passphrase(passphrase, 1), read_hex(head["salt"], "salt", _SALT_BYTES))
        authority = Authority.from_json(head["authority"])
        try:
            share = Share.decode(sealing.open_(key, sealed, _associated(head)))
            share.check(authority.sharing)
            if share.index != head["index"]:
                raise VerificationError("share", "it is another member's")
        except CommitmentsError:
            raise ConfigError(
                f"{path}: this passphrase does not open it",
                "check its case and the keyboard layout; if it is right, restore the file from a backup",
            ) from None
        return Member(authority, share)


def dealt(
    secret: SecretKey,
    context: KeyContext,
    auditor: Auditor,
    operator: Address,
    title: str,
    members: int,
    threshold: int,
) -> tuple[Authority, tuple[Member, ...]]:
    """The dealer's ceremony: any threshold + 1 of the members read orders. Forget `secret` after it.

    Raises ParameterError unless 0 <= threshold < members <= 16, ConfigError for a name or title that none
    can be.
    """
    sharing, shares = deal(secret, members, threshold)
    if not is_name(context.authority):
        raise ConfigError("name: not one a policy can have", "use 1 to 63 of a-z 0-9 -, the first no -")
    authority = Authority(auditor, operator, title, register(secret, context), sharing)
    try:
        Authority.from_json(authority.as_json())
    except DecodeError as error:
        raise ConfigError(f"authority, {error}", "correct it") from None
    return authority, tuple(Member(authority, share) for share in shares)


def shown(path: Path) -> tuple[Authority, int | None]:
    """What is public of either file; the member's index if it is a share. Raises ConfigError."""
    try:
        document = jsontext.parsed(_read(path), "file")
    except DecodeError as error:
        raise _malformed(path, "file", error) from None
    if isinstance(document, dict) and document.get("format") == SHARE_FORMAT:
        return Member.shown(path)
    return Authority.load(path), None


# --- the files ----------------------------------------------------------------------------------------


def _share_file(path: Path) -> tuple[dict[str, Any], bytes]:
    """All of a share file but what is sealed, and that. Raises ConfigError."""
    data = _read(path)
    try:
        fields = Fields(jsontext.parsed(data, "file"), "file", _SHARE_NAMES)
        if fields.text("format") != SHARE_FORMAT:
            raise DecodeError("format", f"not {SHARE_FORMAT}")
        fields.uint("version", VERSION, VERSION)
        authority = Authority.from_json(fields.member("authority"))
        index = fields.uint("index", len(authority.sharing.verification_keys), 1)
        head = _head(authority, index, fields.octets("salt", _SALT_BYTES))
        sealed = _octets(fields, "sealed")
        if _text({**head, "sealed": hex_text(sealed)}) != data:
            raise DecodeError("file", "not in its canonical form")
    except CommitmentsError as error:
        raise _malformed(path, "share", error) from None
    return head, sealed


def _head(authority: Authority, index: int, salt: bytes) -> dict[str, Any]:
    names = {"format": SHARE_FORMAT, "version": VERSION, "index": index}
    return {**names, "authority": authority.as_json(), "salt": hex_text(salt)}


def _associated(head: dict[str, Any]) -> bytes:
    """Everything public in the file, so that no part of it can be exchanged."""
    return bytes(Writer().var(LABEL_AUTHORITY_FILE).var(json.dumps(head, sort_keys=True).encode()))


def _stretch(secret: bytes, salt: bytes) -> bytes:
    cost = STANDARD
    return hashlib.scrypt(
        secret, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=_SCRYPT_MEMORY, dklen=sealing.KEY_BYTES
    )


def _passphrase(text: str, least: int = MIN_PASSPHRASE_BYTES) -> bytes:
    """One spelling of what the keyboard gave. Raises ConfigError."""
    data = unicodedata.normalize("NFC", text).encode("utf-8", "replace")
    if not least <= len(data) <= MAX_PASSPHRASE_BYTES:
        raise ConfigError(
            f"passphrase: {len(data)} bytes; allowed are {least} to {MAX_PASSPHRASE_BYTES}",
            "several random words are easy to keep and hard to guess",
        )
    return data


def _text(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode()


def _octets(fields: Fields, name: str) -> bytes:
    text = fields.text(name)
    if len(text) > 2 * _MAX_PART:
        raise DecodeError(name, f"above {_MAX_PART} bytes")
    return read_hex(text, name, max(len(text) - 2, 0) // 2)


def _read(path: Path) -> bytes:
    data = read_file(path, MAX_FILE)
    if data is None:
        raise ConfigError(f"{path}: not found", "check the path")
    return data


def _malformed(path: Path, what: str, error: CommitmentsError) -> ConfigError:
    return ConfigError(f"{path}: no {what} as `audit authority deal` writes it: {error}", "take the original")

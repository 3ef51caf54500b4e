"""Notes that carry signatures: text, an empty line, one line a signature.

    <text, which ends with a newline>

    — <name> base64(key id (4) || signature)

    key id    SHA-256(name || 0x0A || 0x01 || public key)[0:4]
    vkey      <name>+<hex of key id>+base64(0x01 || public key)

Signatures are Ed25519 (RFC 8032) over the text. Source: c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from Crypto.Signature import eddsa

from commitments.errors import DecodeError, VerificationError

if TYPE_CHECKING:
    from Crypto.PublicKey.ECC import EccKey

MAX_NOTE_BYTES: Final = 1 << 17
MAX_SIGNATURES: Final = 16
MAX_NAME: Final = 256
MAX_SIGNATURE_BYTES: Final = 8192
"""Of one line. Cosigners of other kinds may have signed too, post-quantum ones with nearly 5 kB."""

SEED_BYTES: Final = 32

_ED25519: Final = b"\x01"
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_DASH: Final = "\u2014 "


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line. Whose it is depends on name and key id together."""

    name: str
    key_id: bytes
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Note:
    """A note as read; nothing in it is true before `NoteVerifier.check`."""

    text: str
    signatures: tuple[NoteSignature, ...]

    @staticmethod
    def read(data: bytes) -> Note:
        """The note of its bytes.

        1. at most MAX_NOTE_BYTES, UTF-8, no control character but newlines; 2. the last empty line parts text
        and signatures; 3. 1 to MAX_SIGNATURES lines, each of exactly its form. Raises DecodeError.
        """
        if len(data) > MAX_NOTE_BYTES:  # 1
            raise DecodeError("note", f"{len(data)} bytes are above the limit {MAX_NOTE_BYTES}")
        whole = _decoded(data)
        text, gap, lines = whole.rpartition("\n\n")  # 2
        if not gap or not text.strip("\n"):
            raise DecodeError("note", "no text and signatures with an empty line between them")
        if not lines.endswith("\n"):
            raise DecodeError("note", "its last line does not end")
        signatures = lines[:-1].split("\n")
        if len(signatures) > MAX_SIGNATURES:  # 3
            raise DecodeError("note", f"{len(signatures)} signatures are above the limit {MAX_SIGNATURES}")
        return Note(text + "\n", tuple(map(_signature, signatures)))


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """Whose signature to look for: a name and a public key, 32 bytes."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_name("name", self.name)
        try:
            _imported(self.public)
        except ValueError:
            raise DecodeError("public key", "not a point of Ed25519") from None

    @property
    def key_id(self) -> bytes:
        """Four bytes that point to the key, and prove nothing."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(named).digest()[:_ID_BYTES]

    @property
    def vkey(self) -> str:
        """The key as text."""
        key = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @staticmethod
    def read(vkey: str) -> NoteVerifier:
        """The verifier of such a text. Raises DecodeError."""
        name, _, rest = vkey[: 2 * MAX_NAME].partition("+")
        _, _, key = rest.partition("+")
        decoded = read_base64("verifier key", key)
        if len(decoded) != 1 + _KEY_BYTES or decoded[:1] != _ED25519:
            raise DecodeError("verifier key", "not name+id+key with an Ed25519 key")
        found = NoteVerifier(name, decoded[1:])
        if found.vkey != vkey:
            raise DecodeError("verifier key", "its id is not that of its name and key")
        return found

    def check(self, note: Note) -> None:
        """Checks that this key signed the note.

        Lines of other names or other key ids are ignored; every line of this name and id must hold, and one
        must be there. Raises VerificationError.
        """
        mine = [s for s in note.signatures if (s.name, s.key_id) == (self.name, self.key_id)]
        if not mine:
            raise VerificationError("signature", f"there is none by {self.vkey}")
        scheme = eddsa.new(_imported(self.public), "rfc8032")
        for signature in mine:
            try:
                scheme.verify(note.text.encode(), signature.signature)
            except ValueError:
                raise VerificationError("signature", f"the one by {self.vkey} does not hold") from None


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """A name and a secret seed, 32 bytes."""

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_name("name", self.name)
        if len(self.seed) != SEED_BYTES:
            raise DecodeError("seed", f"{len(self.seed)} bytes, not {SEED_BYTES}")

    @property
    def verifier(self) -> NoteVerifier:
        """Who checks what this one signs."""
        key = eddsa.import_private_key(self.seed).public_key()
        return NoteVerifier(self.name, key.export_key(format="raw"))

    def sign(self, text: str) -> str:
        """The note of that text with one signature. Raises DecodeError for a text no note may have."""
        if not text.endswith("\n") or not text.strip("\n"):
            raise DecodeError("note", "its text is empty or does not end with a newline")
        _decoded(text.encode())
        signature = eddsa.new(eddsa.import_private_key(self.seed), "rfc8032").sign(text.encode())
        line = base64.b64encode(self.verifier.key_id + signature).decode()
        return f"{text}\n{_DASH}{self.name} {line}\n"


def check_name(field: str, name: str) -> None:
    """Raises DecodeError unless it is 1 to MAX_NAME printable characters, none of them a space or a plus."""
    if not 0 < len(name) <= MAX_NAME or not name.isprintable() or "+" in name or " " in name:
        raise DecodeError(field, f"not 1 to {MAX_NAME} printable characters without spaces and plus signs")


def read_base64(field: str, text: str) -> bytes:
    """The bytes of a text in base64, of which there is one. Raises DecodeError naming the field."""
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except ValueError:
        data = b""
    if base64.b64encode(data).decode() != text or not text:
        raise DecodeError(field, "not base64 with padding")
    return data


def _decoded(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise DecodeError("note", "not UTF-8") from None
    if any(c < " " and c != "\n" for c in text):
        raise DecodeError("note", "it has control characters")
    return text


def _signature(line: str) -> NoteSignature:
    what = "signature line"
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise DecodeError(what, "not a dash, a name and a signature")
    check_name(what, name)
    data = read_base64(what, encoded)
    if not _ID_BYTES < len(data) <= MAX_SIGNATURE_BYTES:
        raise DecodeError(what, f"{len(data)} bytes; due are 5 to {MAX_SIGNATURE_BYTES}")
    return NoteSignature(name, data[:_ID_BYTES], data[_ID_BYTES:])


def _imported(public: bytes) -> EccKey:
    if len(public) != _KEY_BYTES:
        raise ValueError(f"{len(public)} bytes")
    return eddsa.import_public_key(public)

"""The trader's keystore: an Ethereum private key and a seed in one encrypted file.

    file    {format, version, address, kdf: {name, cost, n, r, p, salt}, cipher, sealed}
    key     scrypt(NFC(passphrase) in UTF-8, salt; n, r, p), 32 bytes
    sealed  AES-256-GCM(key, private key || seed; everything else in the file)

JSON in ASCII, byte strings in lower-case hexadecimal. The file is written whole or not at all, readable by
its owner only, and never over another. It protects against who copies the file, not against who runs code as
the owner: CPython cannot promise that secrets leave memory.

Source: RFC 7914 (scrypt), NIST SP 800-38D (GCM).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from commitments.encoding import Writer
from commitments.errors import VerificationError
from commitments.sealing import NOTE_OVERHEAD, open_, seal
from darkpool.eip712 import GROUP_ORDER, address_of, fresh_key
from darkpool.errors import ConfigError
from darkpool.files import settle
from darkpool.types import Address, PrivateKey, address_hex, parse_address

LABEL_KEYSTORE: Final = b"darkpool/v1/keystore"

FORMAT: Final = "darkpool-keystore"
VERSION: Final = 1
SEED_BYTES: Final = 32
SALT_BYTES: Final = 32
MAX_FILE_BYTES: Final = 4096
MIN_PASSPHRASE_BYTES: Final = 8
MAX_PASSPHRASE_BYTES: Final = 1024

_KEY_BYTES: Final = 32
_SECRETS_BYTES: Final = _KEY_BYTES + SEED_BYTES
_SCRYPT_MEMORY: Final = 1 << 28  # OpenSSL's limit, in bytes; the standard cost takes half of it
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*")


class KeystoreError(ConfigError):
    """A keystore that cannot be made or opened: its owner must give another path, passphrase or file."""


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """What one guess of the passphrase costs: 128 * n * r bytes of memory, touched p times."""

    name: str
    n: int
    r: int
    p: int


STANDARD: Final = ScryptCost("standard", 1 << 17, 8, 1)  # 128 MiB, about 0.4 s
INSECURE_TEST: Final = ScryptCost("insecure-test", 1 << 4, 8, 1)  # tests only: protects nothing
COSTS: Final = {cost.name: cost for cost in (STANDARD, INSECURE_TEST)}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Keystore:
    """An opened keystore: `private_key` and `seed` are 32 secret bytes each, never shown by `repr`."""

    path: Path
    address: Address
    private_key: PrivateKey = field(repr=False)
    seed: bytes = field(repr=False)

    def __repr__(self) -> str:
        return f"Keystore(path={str(self.path)!r}, address={address_hex(self.address)})"

    @classmethod
    def create(
        cls,
        path: Path,
        passphrase: str,
        *,
        private_key: bytes | None = None,
        seed: bytes | None = None,
        cost: ScryptCost = STANDARD,
    ) -> Keystore:
        """A new keystore file, of fresh secrets from the operating system or of the 32-byte ones given.

        Raises KeystoreError if the path exists or cannot be written, the passphrase has fewer than 8 or more
        than 1024 bytes of UTF-8, or a given secret is not one.
        """
        secret = passphrase_bytes(passphrase, MIN_PASSPHRASE_BYTES)
        key = fresh_key()
        if private_key is not None:
            if len(private_key) != _KEY_BYTES or not 0 < int.from_bytes(private_key, "big") < GROUP_ORDER:
                raise KeystoreError("private key: not 32 bytes of a number below the order of secp256k1")
            key = PrivateKey(private_key)
        seed = secrets.token_bytes(SEED_BYTES) if seed is None else seed
        if len(seed) != SEED_BYTES:
            raise KeystoreError(f"seed: {len(seed)} bytes, not {SEED_BYTES}")
        if os.path.lexists(path):
            raise _exists(path)
        address = address_of(key)
        salt = secrets.token_bytes(SALT_BYTES)
        sealed = seal(stretch(secret, salt, cost), key + seed, _associated(address, salt, cost))
        write_new(path, _encode(address, salt, cost, sealed))
        return cls(path, address, key, seed)

    @classmethod
    def open(cls, path: Path, passphrase: str, *, allow_insecure_test: bool = False) -> Keystore:
        """The keystore in the file. Steps: the file itself, its form, its cost, the passphrase, its contents.

        Raises KeystoreError for a file that is missing, readable by others, over 4096 bytes or not exactly of
        this format; for one of cost `insecure-test` unless allowed; for a wrong passphrase or a changed file.
        """
        secret = passphrase_bytes(passphrase, 1)
        address, salt, cost, sealed = _decode(path, read_private(path, MAX_FILE_BYTES))
        if cost is INSECURE_TEST and not allow_insecure_test:
            raise KeystoreError(
                f"{path}: its passphrase is stretched at the cost insecure-test, which protects nothing",
                "create a new keystore and move the funds to it",
            )
        try:
            opened = open_(stretch(secret, salt, cost), sealed, _associated(address, salt, cost))
        except VerificationError:
            raise KeystoreError(
                f"{path}: this passphrase does not open it",
                "check its case and the keyboard layout; if it is right, restore the file from a backup, "
                "because it was changed",
            ) from None
        key, seed = PrivateKey(opened[:_KEY_BYTES]), opened[_KEY_BYTES:]
        if address_of(key) != address:
            raise KeystoreError(
                f"{path}: address: not that of the private key inside", "restore it from a backup"
            )
        return cls(path, address, key, seed)


# --- cryptography -----------------------------------------------------------------------------------


def passphrase_bytes(text: str, least: int) -> bytes:
    """One spelling of what the keyboard gave, in bytes; `least` to 1024 of them, or KeystoreError."""
    try:
        encoded = unicodedata.normalize("NFC", text).encode("utf-8")
    except UnicodeEncodeError:
        raise KeystoreError("passphrase: not valid Unicode text", "type it again") from None
    if not least <= len(encoded) <= MAX_PASSPHRASE_BYTES:
        raise KeystoreError(
            f"passphrase: {len(encoded)} bytes; allowed are {least} to {MAX_PASSPHRASE_BYTES}",
            "several random words are easy to keep and hard to guess",
        )
    return encoded


def stretch(secret: bytes, salt: bytes, cost: ScryptCost) -> bytes:
    """The AES-256 key of a passphrase."""
    return hashlib.scrypt(
        secret, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=_SCRYPT_MEMORY, dklen=_KEY_BYTES
    )


def _associated(address: Address, salt: bytes, cost: ScryptCost) -> bytes:
    """Everything public in the file, so that no part of it can be exchanged."""
    writer = Writer().var(LABEL_KEYSTORE).uint(VERSION, 4).fixed(address, 20).fixed(salt, SALT_BYTES)
    return bytes(writer.var(cost.name.encode()).uint(cost.n, 8).uint(cost.r, 4).uint(cost.p, 4))


# --- the file's form --------------------------------------------------------------------------------


def _encode(address: Address, salt: bytes, cost: ScryptCost, sealed: bytes) -> bytes:
    kdf = {"name": "scrypt", "cost": cost.name, "n": cost.n, "r": cost.r, "p": cost.p, "salt": salt.hex()}
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "address": address_hex(address),
        "kdf": kdf,
        "cipher": "aes-256-gcm",
        "sealed": sealed.hex(),
    }
    return (json.dumps(fields, indent=2) + "\n").encode("ascii")


def _decode(path: Path, data: bytes) -> tuple[Address, bytes, ScryptCost, bytes]:
    """Address, salt, cost and sealed secrets of a file; exactly the fields `_encode` writes, no others."""
    try:
        parsed = json.loads(
            data.decode("ascii"),
            object_pairs_hook=_unique,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except (ValueError, RecursionError):
        raise _malformed(path, "file", "not the JSON of a keystore") from None
    outer = _object(path, "file", parsed, ("format", "version", "address", "kdf", "cipher", "sealed"))
    _equal(path, "format", outer["format"], FORMAT)
    if type(outer["version"]) is not int or outer["version"] != VERSION:
        raise KeystoreError(
            f"{path}: version: only {VERSION} is known here", "open it with the release that wrote it"
        )
    _equal(path, "cipher", outer["cipher"], "aes-256-gcm")
    kdf = _object(path, "kdf", outer["kdf"], ("name", "cost", "n", "r", "p", "salt"))
    _equal(path, "kdf.name", kdf["name"], "scrypt")
    cost = COSTS.get(kdf["cost"]) if isinstance(kdf["cost"], str) else None
    if cost is None:
        raise _malformed(path, "kdf.cost", f"not one of {', '.join(COSTS)}")
    for name in ("n", "r", "p"):  # named costs only: a file cannot make us fill memory or skimp
        _equal(path, f"kdf.{name}", kdf[name], getattr(cost, name))
    if not isinstance(outer["address"], str):
        raise _malformed(path, "address", "not text")
    try:
        address = parse_address(outer["address"])
    except ConfigError as error:
        raise _malformed(path, "address", error.message) from None
    _equal(path, "address", outer["address"], address_hex(address))
    salt = _bytes(path, "kdf.salt", kdf["salt"], SALT_BYTES)
    return address, salt, cost, _bytes(path, "sealed", outer["sealed"], _SECRETS_BYTES + NOTE_OVERHEAD)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field twice")
    return fields


def _refuse_number(_text: str) -> NoReturn:
    raise ValueError("only integers")


def _object(path: Path, name: str, value: object, fields: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(fields):
        raise _malformed(path, name, f"not an object of exactly the fields {', '.join(fields)}")
    return value


def _equal(path: Path, name: str, value: object, expected: str | int) -> None:
    if type(value) is not type(expected) or value != expected:  # True == 1, but is no 1
        raise _malformed(path, name, f"not {expected!r}")


def _bytes(path: Path, name: str, value: object, length: int) -> bytes:
    if not isinstance(value, str) or len(value) != 2 * length or not _HEX.fullmatch(value):
        raise _malformed(path, name, f"not {2 * length} lower-case hexadecimal digits")
    return bytes.fromhex(value)


def _malformed(path: Path, name: str, problem: str) -> KeystoreError:
    return KeystoreError(f"{path}: {name}: {problem}", "restore the keystore from a backup")


# --- the file itself --------------------------------------------------------------------------------


def read_private(path: Path, limit: int) -> bytes:
    """A regular file of at most `limit` bytes that only its owner can reach. Raises KeystoreError."""
    try:
        # O_NONBLOCK: a named pipe must not hang us before it can be refused.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeystoreError(
            f"{path}: cannot be read: {error.strerror}", "check the path, or create a keystore"
        ) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeystoreError(f"{path}: not a regular file", "check the path")
        if status.st_mode & 0o077:
            raise KeystoreError(
                f"{path}: others can read or change it (mode {stat.S_IMODE(status.st_mode):04o})",
                f"run chmod 600 {path}, and take it that somebody has a copy to guess passphrases on",
            )
        data = os.read(descriptor, limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise KeystoreError(f"{path}: over {limit} bytes, too long for what it should be", "check the path")
    return data


def write_new(path: Path, data: bytes) -> None:
    """The whole file under its name or nothing, for its owner only, and never over another.

    A hard link, not a rename, gives the name: it fails if the name is taken, without a race. Raises
    KeystoreError.
    """
    temporary = path.with_name(f".{path.name[:64]}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.link(temporary, path)
        finally:
            temporary.unlink()
        settle(path.parent)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise KeystoreError(
            f"{path}: cannot be written: {error.strerror}",
            "choose a directory that exists, is yours, and can hold hard links",
        ) from None


def _exists(path: Path) -> KeystoreError:
    return KeystoreError(
        f"{path}: exists already, and is never overwritten",
        "choose another path, or move the file away",
    )

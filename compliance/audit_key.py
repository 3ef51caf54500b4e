"""The key that signs checkpoints of the audit log: a file of the venue's folder, for its owner only."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from compliance.signed_note import SEED_BYTES, NoteSigner
from darkpool.client.files import read_file, write_file
from darkpool.errors import ConfigError

FILE: Final = "audit.key"
_MAX_BYTES: Final = 2 * SEED_BYTES + 1


def origin_of(venue: bytes) -> str:
    """The name of a venue's audit log; `venue` is its identity, 32 bytes."""
    return f"darkpool/audit/{venue.hex()}"


def audit_signer(folder: Path, venue: bytes) -> NoteSigner:
    """The signer of the venue's audit log; its key is made at the first call. Raises ConfigError."""
    if not (folder / FILE).exists():
        write_file(folder / FILE, secrets.token_bytes(SEED_BYTES).hex().encode() + b"\n")
    return present_signer(folder, venue)


def present_signer(folder: Path, venue: bytes) -> NoteSigner:
    """The same, of a key that is there. Raises ConfigError if there is none, or others may read it."""
    path = folder / FILE
    data = read_file(path, _MAX_BYTES)
    if data is None:
        raise ConfigError(f"{path}: not found", "the venue makes it when it first keeps an audit log")
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others may read it", f"run chmod 600 {path}")
    try:
        seed = bytes.fromhex(data.decode("ascii").strip())
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise ConfigError(f"{path}: not a key", "restore it from a backup")
    return NoteSigner(origin_of(venue), seed)

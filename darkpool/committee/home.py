"""A member's home folder: who it is, whom it sits with, its node of the chain, its database.

tls.key, tls.crt     secret, public: what its links are known by (certificate.py)
keys.json            secret: its signing key, and the seed of the key that opens its sealed seat
introduction.json    public: what it tells the others before there is a committee (introduction.py)
member.json          settings: a node's URL and the vault, if it follows a chain itself; where it takes orders
                     by hand, port 0 for nowhere; once it has joined, the members' signing addresses
committee.json       public: the committee it has joined (directory.py)
committee.next.json, seat.next.json
                     the same of a committee that is to take over, until it has (joining.py, staging.py)
next-committee.json, first-committee.json
                     public: whom its owner wants to come next; whom the venue began with (tenure_file.py)
seat.json            secret: key share, mask keys, signing key (seat.py)
member.db            its copy of the log, and how far it went with each sealed list
member.log, member.lock, status.sock

Members that one user runs together over Unix sockets have neither keys, introduction nor committee.json.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from commitments.errors import CommitmentsError
from commitments.sealing import KEY_BYTES, BoxKey
from darkpool.chain import Chain
from darkpool.committee.seat import Seat
from darkpool.eip712 import address_of, fresh_key
from darkpool.errors import ConfigError
from darkpool.files import write_whole
from darkpool.jsontext import parsed
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.store.database import Database, sqlite_url
from darkpool.store.member_store import MemberStore
from darkpool.types import Address, PrivateKey, address_hex, parse_address

SEAT: Final = "seat.json"
SETTINGS: Final = "member.json"
KEYS: Final = "keys.json"
DATABASE: Final = "member.db"
_MAX_FILE: Final = 1 << 16
_MAX_URL: Final = 2_048
_MAX_HOST: Final = 253


@dataclass(frozen=True, slots=True)
class Home:
    """What a member needs besides its keys. `rpc_url` may hold a password and is not shown.

    `signers`: None until it has joined a committee. `host` and `port`: where it takes orders by hand.
    """

    signers: Signers | None
    rpc_url: str = field(default="", repr=False)
    vault: Address | None = None
    finality: int = 0
    port: int = 0
    host: str = "127.0.0.1"

    def save(self, folder: Path, seat: Seat) -> None:
        """Make the folder, mode 0700, with seat and settings. An earlier seat stays and must be this one.

        Raises ConfigError.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / SEAT).exists():
            seat.save(folder / SEAT)
        elif Seat.load(folder / SEAT).signer != seat.signer:
            raise ConfigError(f"{folder.name}: another member lives here", "use a new folder")
        self.save_settings(folder)

    def save_settings(self, folder: Path) -> None:
        """Write member.json."""
        signers = self.signers or Signers(0, {})
        document = {
            "signers": {str(i): address_hex(a) for i, a in signers.addresses.items()},
            "threshold": signers.threshold,
            "rpc_url": self.rpc_url,
            "vault": "" if self.vault is None else address_hex(self.vault),
            "finality": self.finality,
            "port": self.port,
            "host": self.host,
        }
        write_whole(folder / SETTINGS, json.dumps(document, indent=2) + "\n", 0o600)

    @staticmethod
    def load(folder: Path) -> Home:
        """The settings in a folder. Raises ConfigError."""
        try:
            document = _document(folder / SETTINGS)
            message = Message("home", document)
            addresses = {int(i): parse_address(a) for i, a in document["signers"].items()}
            threshold, vault = message.integer("threshold"), message.text("vault", 42)
            return Home(
                Signers(threshold, addresses) if threshold else None,
                message.text("rpc_url", _MAX_URL),
                parse_address(vault) if vault else None,
                message.integer("finality"),
                message.integer("port", 0, 65_535),
                message.text("host", _MAX_HOST),
            )
        except (OSError, CommitmentsError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{SETTINGS}: not a member's settings ({type(error).__name__})",
                "make the member's home again",
            ) from None

    def chain(self) -> Chain | None:
        """The chain by the member's own node. Raises ChainError; ConfigError if it lacks the vault."""
        if not self.rpc_url:
            return None
        if self.vault is None:
            raise ConfigError(
                f"{SETTINGS}: it has a node, but does not know the vault",
                "run darkpool member follow with the address the operator names",
            )
        chain = Chain.rpc(self.rpc_url, self.finality)
        chain.attach(self.vault)
        return chain


@dataclass(frozen=True, slots=True)
class Keys:
    """What a member signs with and opens its sealed seat with. Secret; not shown."""

    signing_key: PrivateKey = field(repr=False)
    box_seed: bytes = field(repr=False)

    @property
    def box(self) -> BoxKey:
        """The key that opens its sealed seat."""
        return BoxKey.derive(self.box_seed)

    @classmethod
    def create(cls, folder: Path) -> Self:
        """New ones, in keys.json."""
        made = cls(fresh_key(), os.urandom(KEY_BYTES))
        document = {"signing_key": made.signing_key.hex(), "box_seed": made.box_seed.hex()}
        write_whole(folder / KEYS, json.dumps(document) + "\n", 0o600)
        return made

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Those of a folder. Raises ConfigError, which never quotes the file."""
        path = folder / KEYS
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"{path}: others may read it", f"run chmod 600 {path}")
            message = Message("keys", _document(path))
            key = PrivateKey(message.octets("signing_key", 32))
            address_of(key)
            return cls(key, message.octets("box_seed", KEY_BYTES))
        except (OSError, CommitmentsError, TypeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a member's keys"
            raise ConfigError(f"{path}: {reason}", "run darkpool member init, or restore a backup") from None


def _document(path: Path) -> dict[str, Any]:
    """Raises OSError, DecodeError, TypeError."""
    with path.open("rb") as file:
        document = parsed(file.read(_MAX_FILE), path.name)
    if not isinstance(document, dict):
        raise TypeError
    return document


def open_store(folder: Path) -> MemberStore:
    """The member's database. Raises StoreError."""
    return MemberStore(Database.open(sqlite_url(folder / DATABASE)))

"""A member's home folder: its seat, whom it sits with, its node of the chain, its database.

seat.json      secret: key share, mask keys, signing key (seat.py)
member.json    the other members' signing addresses; a node's URL and the vault, if it follows a chain itself;
the port at which it takes orders by hand, 0 for none
member.db      its copy of the log, and how far it went with each sealed list
member.log
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError
from darkpool.chain import Chain
from darkpool.committee.seat import Seat
from darkpool.errors import ConfigError
from darkpool.jsontext import parsed
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.store.database import Database, sqlite_url
from darkpool.store.member_store import MemberStore
from darkpool.types import Address, address_hex, parse_address

SEAT: Final = "seat.json"
SETTINGS: Final = "member.json"
DATABASE: Final = "member.db"
_MAX_FILE: Final = 1 << 16
_MAX_URL: Final = 2_048


@dataclass(frozen=True, slots=True)
class Home:
    """What a member needs besides its seat. `rpc_url` may hold a password and is not shown."""

    signers: Signers
    rpc_url: str = field(default="", repr=False)
    vault: Address | None = None
    finality: int = 0
    port: int = 0

    def save(self, folder: Path, seat: Seat) -> None:
        """Make the folder, mode 0700, with seat and settings. An earlier seat stays and must be this one.

        Raises ConfigError.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / SEAT).exists():
            seat.save(folder / SEAT)
        elif Seat.load(folder / SEAT).signer != seat.signer:
            raise ConfigError(f"{folder.name}: another member lives here", "use a new folder")
        document = {
            "signers": {str(i): address_hex(a) for i, a in self.signers.addresses.items()},
            "threshold": self.signers.threshold,
            "rpc_url": self.rpc_url,
            "vault": "" if self.vault is None else address_hex(self.vault),
            "finality": self.finality,
            "port": self.port,
        }
        temporary = folder / f"{SETTINGS}.tmp"
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(document, indent=2) + "\n")
        temporary.replace(folder / SETTINGS)

    @staticmethod
    def load(folder: Path) -> Home:
        """The settings in a folder. Raises ConfigError."""
        try:
            with (folder / SETTINGS).open("rb") as file:
                data = file.read(_MAX_FILE)
            document = parsed(data, SETTINGS)
            if not isinstance(document, dict) or not isinstance(document.get("signers"), dict):
                raise ConfigError(f"{SETTINGS}: not a member's settings", "make the member's home again")
            message = Message("home", document)
            addresses = {int(i): parse_address(a) for i, a in document["signers"].items()}
            vault = message.text("vault", 42)
            return Home(
                Signers(message.integer("threshold", 1), addresses),
                message.text("rpc_url", _MAX_URL),
                parse_address(vault) if vault else None,
                message.integer("finality"),
                message.integer("port", 0, 65_535),
            )
        except (OSError, CommitmentsError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{SETTINGS}: not a member's settings ({type(error).__name__})",
                "make the member's home again",
            ) from None

    def chain(self) -> Chain | None:
        """The chain by the member's own node. Raises ChainError, ConfigError."""
        if not self.rpc_url or self.vault is None:
            return None
        chain = Chain.rpc(self.rpc_url, self.finality)
        chain.attach(self.vault)
        return chain


def open_store(folder: Path) -> MemberStore:
    """The member's database. Raises StoreError."""
    return MemberStore(Database.open(sqlite_url(folder / DATABASE)))

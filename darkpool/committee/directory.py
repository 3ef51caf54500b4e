"""committee.json: who the members are and how each is known. Public; the dealer writes it, nobody changes it.

Members compare its hash, of which `code` is the first eight bytes: who has the same file sees the same
committee. It holds key epoch and verification values as dealt; seats know of later ones (seat.py).
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from commitments.errors import CommitmentsError, DecodeError, VerificationError
from commitments.paillier import public_key
from commitments.threshold import MAX_EPOCH, Committee
from darkpool import jsontext
from darkpool.committee.certificate import Certificate
from darkpool.committee.introduction import Introduction
from darkpool.committee.meeting import Group
from darkpool.committee.sharing import hex_number
from darkpool.committee.transport import COORDINATOR
from darkpool.errors import ConfigError
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.settlement import MAX_MEMBERS
from darkpool.types import Address

COMMITTEE: Final = "committee.json"
MAX_DIRECTORY: Final = 1 << 18  # bytes
_CODE_BYTES: Final = 8
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Directory:
    """A committee and where it meets. Raises VerificationError if two in it are one.

    `members` in order of their index, from 1; `coordinator`: the venue's certificate; `dealer`: the address
    that signs sealed seats (joining.py).
    """

    committee: Committee
    members: Sequence[Introduction]
    coordinator: Certificate
    dealer: Address

    def __post_init__(self) -> None:
        if len(self.members) != self.committee.members:
            raise VerificationError(
                "members", f"{len(self.members)} introductions for {self.committee.members} members"
            )
        _distinct("certificate", [*(m.certificate for m in self.members), self.coordinator])
        _distinct("signer", (m.signer for m in self.members))
        _distinct("box", (m.box for m in self.members))
        _distinct("host and port", ((m.host, m.port) for m in self.members))

    @property
    def group(self) -> Group:
        """The committee as HELLO says it."""
        return Group.of(self.committee)

    @property
    def signers(self) -> Signers:
        """The committee as accounts know it."""
        addresses = {i: m.signer for i, m in enumerate(self.members, 1)}
        return Signers(self.committee.threshold, addresses)

    @property
    def hash(self) -> bytes:
        """SHA-256 of the file, 32 bytes."""
        return sha256(self.encode()).digest()

    @property
    def code(self) -> str:
        """What members compare: the first eight bytes of the hash, in groups."""
        digits = self.hash[:_CODE_BYTES].hex()
        return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))

    def member(self, index: int) -> Introduction:
        """Member `index`."""
        return self.members[index - 1]

    def certificate(self, index: int) -> Certificate:
        """That of a member, or of the coordinator."""
        return self.coordinator if index == COORDINATOR else self.member(index).certificate

    def who(self, der: bytes) -> int | None:
        """Whose certificate this is: a member's index, COORDINATOR, or nobody's."""
        indices = range(COORDINATOR, len(self.members) + 1)
        return next((i for i in indices if self.certificate(i).der == der), None)

    def replaced(self, index: int, successor: Introduction) -> Directory:
        """The same with another at that index. Raises ConfigError, VerificationError."""
        if index not in self.committee.indices:
            raise ConfigError(f"member {index}: not from 1 to {self.committee.members}", "give one of those")
        members = [*self.members]
        members[index - 1] = successor
        return replace(self, members=tuple(members))

    def encode(self) -> bytes:
        """The file."""
        document = {
            "version": _VERSION,
            "modulus": f"{int(self.committee.key.n):x}",
            "threshold": self.committee.threshold,
            "epoch": self.committee.epoch,
            "values": [f"{int(value):x}" for value in self.committee.values],
            "coordinator": self.coordinator.der.hex(),
            "dealer": self.dealer.hex(),
            "members": [member.fields() for member in self.members],
        }
        return (json.dumps(document, indent=2) + "\n").encode("ascii")

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """That of a file's bytes, every introduction verified. Raises DecodeError, VerificationError."""
        if len(data) > MAX_DIRECTORY:
            raise DecodeError(COMMITTEE, f"{len(data)} bytes; at most {MAX_DIRECTORY} are allowed")
        document = jsontext.parsed(data, COMMITTEE)
        if not isinstance(document, dict):
            raise DecodeError(COMMITTEE, "not an object")
        message = Message("committee", document)
        if message.integer("version") != _VERSION:
            raise DecodeError("version", f"{message.integer('version')}, expected {_VERSION}")
        members = [Introduction.read(m) for m in _few("members", document.get("members"))]
        values = tuple(hex_number("values", v) for v in _few("values", document.get("values")))
        committee = Committee(
            public_key(int(hex_number("modulus", document.get("modulus")))),
            len(members),
            message.integer("threshold", 1),
            values,
            message.integer("epoch", 0, MAX_EPOCH),
        )
        coordinator = Certificate.parse(message.octets("coordinator"))
        found = cls(committee, members, coordinator, Address(message.octets("dealer", 20)))
        if found.encode() != data:
            raise DecodeError(COMMITTEE, "not as the dealer writes it")
        return found

    @classmethod
    def load(cls, path: Path) -> Self:
        """That of a file. Raises ConfigError."""
        try:
            with path.open("rb") as file:
                return cls.parse(file.read(MAX_DIRECTORY + 1))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", "give the dealer's committee.json") from None
        except CommitmentsError as error:
            raise ConfigError(f"{path}: {error}", "get the file from the dealer again") from None


def _few(name: str, value: object) -> list[object]:
    if not isinstance(value, list) or len(value) > MAX_MEMBERS:
        raise DecodeError(name, f"not a list of at most {MAX_MEMBERS}")
    return value


def _distinct(name: str, values: Iterable[Hashable]) -> None:
    seen: set[Hashable] = set()
    for value in values:
        if value in seen:
            raise VerificationError(name, "two of the committee have the same one")
        seen.add(value)

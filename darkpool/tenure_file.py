"""A committee as a JSON file: the one that comes next, as operator and members each keep it; or the first.

    next-committee.json    whom a member helps into office; the file is its owner's consent
    first-committee.json   whom the venue began with, once its log has another: where reading it begins

    {"key_epoch": 1, "threshold": 1, "members": {"1": "0x…", …}, "modulus": "…", "guardian": "0x…"}

`guardian` may be left out: then the vault keeps the one it has. Of which shares a committee is it does not
say: they are not made yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError, DecodeError
from darkpool.errors import ConfigError
from darkpool.jsontext import parsed
from darkpool.message import Message
from darkpool.tenure import NO_SHARING, Tenure, read_tenure
from darkpool.types import Address, address_hex, parse_address

NEXT: Final = "next-committee.json"
FIRST: Final = "first-committee.json"
MAX_FILE: Final = 1 << 14
_NAMES: Final = frozenset({"key_epoch", "threshold", "members", "modulus"})


@dataclass(frozen=True, slots=True)
class Planned:
    """A committee in a file. guardian: whom the vault gets with it; None: whom it has."""

    tenure: Tenure
    guardian: Address | None = None

    def encode(self) -> str:
        """The file's text."""
        fields = self.tenure.fields()
        del fields["at"], fields["sharing"]
        fields["members"] = {str(i): address_hex(a) for i, a in self.tenure.signers.addresses.items()}
        if self.guardian is not None:
            fields["guardian"] = address_hex(self.guardian)
        return json.dumps(fields, indent=2) + "\n"

    def same(self, tenure: Tenure) -> bool:
        """Whether that is the committee, whenever it takes office and whatever its shares."""
        return self.tenure.plan == tenure.plan

    @staticmethod
    def load(path: Path) -> Planned | None:
        """What the file says; None if there is none. Raises ConfigError."""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", "make it readable") from None
        try:
            if len(data) > MAX_FILE:
                raise DecodeError("committee", f"above {MAX_FILE} bytes")
            return planned(parsed(data, path.name))
        except (CommitmentsError, ConfigError) as error:
            raise ConfigError(
                f"{path}: {error}", "write it as `darkpool operator committee plan` does"
            ) from None


def planned(document: object) -> Planned:
    """The committee of such an object, with exactly its keys. Raises DecodeError, ConfigError."""
    if not isinstance(document, Mapping) or set(document) - {"guardian"} != _NAMES:
        raise DecodeError("committee", f"not an object of {', '.join(sorted(_NAMES))}, and maybe guardian")
    members = document["members"]
    if not isinstance(members, Mapping) or not all(isinstance(a, str) for a in members.values()):
        raise DecodeError("members", "not an object of addresses")
    named = {index: parse_address(address).hex() for index, address in members.items()}
    guardian = document.get("guardian")
    if guardian is not None and not isinstance(guardian, str):
        raise DecodeError("guardian", "not an address")
    tenure = read_tenure(
        Message("committee", {**document, "members": named, "at": 0, "sharing": NO_SHARING.hex()})
    )
    return Planned(tenure, None if guardian is None else parse_address(guardian))

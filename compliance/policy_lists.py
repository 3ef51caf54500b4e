"""Lists of a policy: text files of addresses or of countries, one entry a line.

A line is an entry, a comment that begins with #, or blank; an entry may be followed by a comment. Addresses
are 0x and 40 hexadecimal digits (mixed case carries the checksum of EIP-55). Countries are ISO 3166-1
alpha-2 codes, or subdivisions of ISO 3166-2: "IR", "UA-43". An entry that occurs twice is refused: somebody
edited the list without looking.

The *version* of a list is the SHA-256 of its entries, addresses in lower case, sorted, each followed by a
newline. So order, comments, blank lines and case do not change it, and `sort list.txt | sha256sum` gives it
for a plain file of lower-case entries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from compliance.policy_toml import PolicyError, quoted
from darkpool.errors import ConfigError
from darkpool.types import ADDRESS_BYTES, Address, parse_address

MAX_LIST_BYTES: Final = 16 * 2**20
MAX_ENTRIES: Final = 200_000

_CODE: Final = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?")


def is_code(text: str) -> bool:
    """Whether it is written like a country or one of its subdivisions."""
    return _CODE.fullmatch(text) is not None


def country(code: str) -> str:
    """The country of a country or subdivision."""
    return code.partition("-")[0]


class ListKind(StrEnum):
    """What a list names: accounts, or jurisdictions."""

    ADDRESSES = "addresses"
    COUNTRIES = "countries"


@dataclass(frozen=True, slots=True)
class NamedList:
    """A list of a policy. version: 32 bytes; entries in their canonical text."""

    name: str
    kind: ListKind
    version: bytes
    entries: frozenset[str] = field(repr=False)

    def hits(self, account: Address, jurisdiction: str) -> bool:
        """Whether the account, or its jurisdiction or the country of that, is on it."""
        if self.kind is ListKind.ADDRESSES:
            return account_text(account) in self.entries
        return not self.entries.isdisjoint((jurisdiction, country(jurisdiction)))


def account_text(account: Address) -> str:
    """An address as lists and rules write it: 0x and 40 lower-case digits. Raises ConfigError otherwise."""
    if len(account) != ADDRESS_BYTES:
        raise ConfigError(f"account: {len(account)} bytes, not {ADDRESS_BYTES}")
    return "0x" + account.hex()


def read_list(file: str, data: bytes, name: str, kind: ListKind) -> NamedList:
    """The list of a file's bytes. Raises PolicyError with the line."""
    if len(data) > MAX_LIST_BYTES:
        raise PolicyError(file, None, f"over {MAX_LIST_BYTES} bytes", "split the list")
    canonical = _CANONICAL[kind]
    lines: dict[str, int] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            text = line.partition(b"#")[0].decode("ascii").strip()
            entry = canonical(text) if text else ""
        except UnicodeDecodeError:
            raise PolicyError(file, number, "not ASCII", "only comments may have other letters") from None
        except ConfigError as error:
            raise PolicyError(file, number, error.message, "one entry a line, comments behind #") from None
        if entry in lines:
            raise PolicyError(
                file, number, f"{entry} is on line {lines[entry]} already", "remove one of them"
            )
        if entry:
            lines[entry] = number
    if len(lines) > MAX_ENTRIES:
        raise PolicyError(file, None, f"{len(lines)} entries; at most {MAX_ENTRIES}", "split the list")
    content = "".join(f"{entry}\n" for entry in sorted(lines))
    return NamedList(name, kind, sha256(content.encode()).digest(), frozenset(lines))


def _address(text: str) -> str:
    return account_text(parse_address(text))


def _code(text: str) -> str:
    if not is_code(text):
        raise ConfigError(f"{quoted(text)} is no ISO 3166 code like IR or UA-43")
    return text


_CANONICAL: Final[Mapping[ListKind, Callable[[str], str]]] = MappingProxyType(
    {ListKind.ADDRESSES: _address, ListKind.COUNTRIES: _code}
)

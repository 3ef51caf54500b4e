"""An entry of the audit log: who did what about whom, when; as canonical JSON, one text a record.

    {"account":…,"actor":…,"at":…,"body":{…},"kind":…,"salt":…,"subject":…,"version":1,"visible_at":…}

ASCII, keys sorted, no spaces, integers only. Its Merkle leaf is SHA-256(0x00 || those bytes). The salt, 16
random bytes, keeps the leaf from saying anything: an entry could be guessed otherwise, and the path of one
person's proof holds the leaves of others.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from commitments.errors import DecodeError
from darkpool.jsonfields import Fields, hex_text
from darkpool.jsontext import MAX_DEPTH, parsed
from darkpool.types import ADDRESS_BYTES, Address

VERSION: Final = 1
MAX_RECORD_BYTES: Final = 1 << 16
MAX_ACTOR: Final = 128
MAX_SUBJECT: Final = 256
MAX_TIME: Final = (1 << 53) - 1
SALT_BYTES: Final = 16

_MAX_INTEGER: Final = 1 << 64
_BODY_DEPTH: Final = MAX_DEPTH - 2  # the record itself, and the line of an export around it
_NAMES: Final = ("account", "actor", "at", "body", "kind", "salt", "subject", "version", "visible_at")


class Kind(StrEnum):
    """What an entry is about. A new kind is a new word here; no word ever changes its meaning."""

    DECISION = "decision"
    GRANT = "grant"
    REVOCATION = "revocation"
    QUERY = "query"
    DISCLOSURE = "disclosure"
    POLICY = "policy"
    SETTLEMENT = "settlement"
    OPERATOR = "operator"
    CLOCK = "clock"
    HALT = "halt"
    RELEASE = "release"
    CREDENTIAL = "credential"


_KINDS: Final = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Record:
    """An entry before it has its place.

    at: unix seconds by the operator's clock; actor: who did it, printable ASCII; subject: what it is about (a
    hash, an id), likewise; account: whom it is about, if it is about one; visible_at: unix seconds from which
    that account may see it, 0 for at once; body: a JSON object without fractions; salt: fresh for each.
    """

    kind: Kind
    at: int
    actor: str
    subject: str = ""
    account: Address | None = None
    visible_at: int = 0
    body: Mapping[str, object] = field(default_factory=dict)
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(SALT_BYTES), repr=False)

    def encode(self) -> bytes:
        """Its bytes. Raises DecodeError naming the field that is out of bounds."""
        _check(self)
        data = json.dumps(
            {
                "account": None if self.account is None else hex_text(self.account),
                "actor": self.actor,
                "at": self.at,
                "body": dict(self.body),
                "kind": self.kind,
                "salt": hex_text(self.salt),
                "subject": self.subject,
                "version": VERSION,
                "visible_at": self.visible_at,
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
        if len(data) > MAX_RECORD_BYTES:
            raise DecodeError("body", f"{len(data)} bytes of a record are above the limit {MAX_RECORD_BYTES}")
        return data

    @staticmethod
    def decode(data: bytes) -> Record:
        """The record of those bytes, and of no others. Raises DecodeError naming the field."""
        if len(data) > MAX_RECORD_BYTES:
            raise DecodeError("record", f"{len(data)} bytes are above the limit {MAX_RECORD_BYTES}")
        found = Record.from_json(parsed(data, "record"))
        if found.encode() != data:
            raise DecodeError("record", "not canonical JSON")
        return found

    @staticmethod
    def from_json(value: object) -> Record:
        """The record of its JSON object. Raises DecodeError naming the field."""
        fields = Fields(value, "record", _NAMES)
        if fields.uint("version") != VERSION:
            raise DecodeError("version", f"not {VERSION}: a later release wrote it")
        kind, account, body = fields.text("kind"), fields.member("account"), fields.member("body")
        if kind not in _KINDS:
            raise DecodeError("kind", "not one this release knows")
        if not isinstance(body, dict):
            raise DecodeError("body", "not a JSON object")
        return Record(
            kind=Kind(kind),
            at=fields.uint("at", MAX_TIME),
            actor=fields.text("actor"),
            subject=fields.text("subject"),
            account=None if account is None else Address(fields.octets("account", ADDRESS_BYTES)),
            visible_at=fields.uint("visible_at", MAX_TIME),
            body=body,
            salt=fields.octets("salt", SALT_BYTES),
        )


def _check(record: Record) -> None:
    _check_text("actor", record.actor, 1, MAX_ACTOR)
    _check_text("subject", record.subject, 0, MAX_SUBJECT)
    for name, time in (("at", record.at), ("visible_at", record.visible_at)):
        if not 0 <= time <= MAX_TIME:
            raise DecodeError(name, f"not unix seconds from 0 to {MAX_TIME}")
    if record.account is not None and len(record.account) != ADDRESS_BYTES:
        raise DecodeError("account", f"{len(record.account)} bytes, not {ADDRESS_BYTES}")
    if record.account is None and record.visible_at:
        raise DecodeError("visible_at", "a time without an account that may see it then")
    if len(record.salt) != SALT_BYTES:
        raise DecodeError("salt", f"{len(record.salt)} bytes, not {SALT_BYTES}")
    _check_value(dict(record.body), _BODY_DEPTH)


def _check_text(name: str, text: str, least: int, most: int) -> None:
    if not least <= len(text) <= most or not (text.isascii() and text.isprintable()):
        raise DecodeError(name, f"not {least} to {most} printable ASCII characters")


def _check_value(value: object, depth: int) -> None:
    if depth == 0:
        raise DecodeError("body", f"nested deeper than {_BODY_DEPTH - 1}")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise DecodeError("body", "a key that is no text")
            _check_value(inner, depth - 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_value(inner, depth - 1)
    elif isinstance(value, int):
        if not -_MAX_INTEGER < value < _MAX_INTEGER:
            raise DecodeError("body", "an integer of more than 64 bits")
    elif value is not None and not isinstance(value, str):
        raise DecodeError("body", f"a {type(value).__name__}, which JSON without fractions does not have")

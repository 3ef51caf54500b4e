"""Grants: an account's signed leave to an auditor to see one market of it from one day to another.

    header   what is granted, to whom, why, until when; everybody may read it
    box      the nodes that open it, HPKE-sealed to the auditor's key and bound to the header
    signature of the account over header and SHA-256(box)

    Grant(bytes32 id,address account,bytes32 market,uint32 firstDay,uint32 lastDay,address auditor,
          bytes32 auditorKey,string purpose,uint64 issuedAt,uint64 expires,uint64 position,bytes32 box)

EIP-712 under the domain of the vault, which binds chain and contract. There is one canonical binary form and
one JSON form. What a reader returns is well formed and no more: compliance/grant_checks.py says whether it
holds, and opens it.
"""

from __future__ import annotations

import binascii
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, TypeVar

from commitments import sealing
from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError
from compliance.auditor import Auditor
from compliance.view_keys import MAX_NODES, NO_END, Level, Scope, ViewKey, covering
from darkpool import eip712
from darkpool.errors import ConfigError, DarkpoolError
from darkpool.jsonfields import MAX_UINT64, Fields, hex_text
from darkpool.types import Address, PrivateKey, Signature, address_hex

T = TypeVar("T")

LABEL_GRANT_BOX: Final = b"darkpool/v1/grant-box"
VERSION: Final = 1
FORMAT: Final = "darkpool-grant"
MAX_PURPOSE_BYTES: Final = 256
NODE_BYTES: Final = 1 + 4 + 8 + sealing.KEY_BYTES  # level, day, nonce, key: one length for every level
MAX_BOX_BYTES: Final = sealing.BOX_OVERHEAD + MAX_NODES * NODE_BYTES

_GRANT_TYPE: Final = (
    "Grant(bytes32 id,address account,bytes32 market,uint32 firstDay,uint32 lastDay,address auditor,"
    "bytes32 auditorKey,string purpose,uint64 issuedAt,uint64 expires,uint64 position,bytes32 box)"
)
_NAMES: Final = (
    "format",
    "version",
    "chain_id",
    "contract",
    "id",
    "account",
    "market",
    "first_day",
    "last_day",
    "auditor",
    "purpose",
    "issued_at",
    "expires",
    "position",
    "box",
    "signature",
)


class Check(StrEnum):
    """What a grant or revocation can fail."""

    MALFORMED = "malformed"
    VAULT = "other-vault"
    SIGNATURE = "signature"
    NOT_YET = "not-yet-issued"
    EXPIRED = "expired"
    RANGE = "outside-its-days"
    REVOKED = "revoked"
    REVOCATION = "forged-revocation"
    AUDITOR = "other-auditor"
    BOX = "tampered-box"
    OVER_SCOPED = "over-scoped"
    INCOMPLETE = "incomplete"


class GrantRefused(DarkpoolError):  # noqa: N818  # named like its siblings in `darkpool.errors`
    """A grant or revocation that does not hold; `check` says which of its checks failed."""

    exit_code = 1

    def __init__(self, check: Check, problem: str, hint: str = "ask the account for another grant") -> None:
        self.check = check
        super().__init__(f"grant, {check}: {problem}", hint)
        self.args = (check, problem, hint)


@dataclass(frozen=True, slots=True)
class Header:
    """What is granted, to whom, why and until when.

    The auditor may see the account's orders of the market signed from first_day to last_day, both included,
    and those signed earlier that still stood then.
    days: UTC days since 1970-01-01, 0 to NO_END for all time; issued_at, expires: unix seconds; position:
    number of entries in the venue's log at the time of issue; id: 32 random bytes.
    Raises ConfigError naming the field out of range.
    """

    domain: eip712.Domain
    account: Address
    market: bytes
    first_day: int
    last_day: int
    auditor: Auditor
    purpose: str
    issued_at: int
    expires: int
    position: int
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def __post_init__(self) -> None:
        purpose = len(self.purpose.encode(errors="replace"))
        for name, holds, limit in (
            ("id", len(self.id) == 32, "32 bytes"),  # noqa: PLR2004
            ("days", 0 <= self.first_day <= self.last_day <= NO_END, "the earlier one first"),
            (
                "purpose",
                0 < purpose <= MAX_PURPOSE_BYTES and self.purpose.isprintable(),
                f"1 to {MAX_PURPOSE_BYTES} bytes of printable text",
            ),
            ("expires", 0 <= self.issued_at < self.expires <= MAX_UINT64, "after it was issued"),
            ("position", 0 <= self.position <= MAX_UINT64, "below 2^64"),
        ):
            if not holds:
                raise ConfigError(f"grant {name}: not {limit}", "write it so")
        _ = self.scope  # checks chain id, contract, account and market

    @property
    def scope(self) -> Scope:
        """The market in the account's key tree."""
        return Scope(self.domain.chain_id, self.domain.contract, self.account, self.market)

    def encode(self) -> bytes:
        """Canonical bytes; also what the box is bound to."""
        s = self.scope
        writer = Writer().uint(VERSION, 2).uint(s.chain_id, 8).fixed(s.contract, 20).fixed(self.id, 32)
        writer.fixed(self.account, 20).fixed(self.market, 32).uint(self.first_day, 4).uint(self.last_day, 4)
        writer.fixed(self.auditor.account, 20).fixed(self.auditor.key, 32).var(self.purpose.encode())
        return bytes(writer.uint(self.issued_at, 8).uint(self.expires, 8).uint(self.position, 8))

    @staticmethod
    def read(reader: Reader) -> Header:
        """Raises DecodeError or ConfigError."""
        if reader.uint("version", 2) != VERSION:
            raise DecodeError("version", f"only {VERSION} is known here")
        domain = read_domain(reader)
        grant_id, account = reader.fixed("id", 32), Address(reader.fixed("account", 20))
        market, first, last = reader.fixed("market", 32), reader.uint("day", 4), reader.uint("day", 4)
        auditor = Auditor(Address(reader.fixed("auditor", 20)), reader.fixed("auditor key", 32))
        try:
            purpose = reader.var("purpose", MAX_PURPOSE_BYTES).decode()
        except UnicodeDecodeError:
            raise DecodeError("purpose", "not UTF-8") from None
        issued_at, expires, position = (reader.uint(n, 8) for n in ("issued_at", "expires", "position"))
        return Header(
            domain, account, market, first, last, auditor, purpose, issued_at, expires, position, grant_id
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """A header with the sealed nodes, signed by the account."""

    header: Header
    box: bytes = field(repr=False)
    signature: Signature = field(repr=False)

    @staticmethod
    def issue(
        header: Header, seed: bytes, private_key: PrivateKey, standing: Collection[tuple[int, int]] = ()
    ) -> Grant:
        """The account holder's grant. `standing`: (day, nonce) of its earlier orders that still stand then.

        Raises ConfigError as `covering`, or if the key is another account's.
        """
        if eip712.address_of(private_key) != header.account:
            raise ConfigError("grant: the key is not the account's", "open the account's keystore")
        keys = covering(seed, header.scope, header.first_day, header.last_day, standing)
        plaintext = b"".join(encode_node(key) for key in keys)
        box = sealing.box_seal(header.auditor.key, plaintext, LABEL_GRANT_BOX, header.encode())
        unsigned = Grant(header, box, Signature(b""))
        return replace(unsigned, signature=eip712.sign_digest(unsigned.digest(), private_key))

    def digest(self) -> bytes:
        """What the account signs, 32 bytes."""
        h = self.header
        days, times = (h.first_day, h.last_day), (h.issued_at, h.expires, h.position)
        purpose = eip712.keccak256(h.purpose.encode())
        who, box = (h.auditor.account, h.auditor.key), sha256(self.box).digest()
        values = (h.id, h.account, h.market, *days, *who, purpose, *times, box)
        return eip712.digest(h.domain, _GRANT_TYPE, values)

    def encode(self) -> bytes:
        """header || length || box || signature."""
        head = self.header.encode()
        writer = Writer().fixed(head, len(head)).var(self.box)
        return bytes(writer.fixed(self.signature, eip712.SIGNATURE_BYTES))

    @staticmethod
    def decode(data: bytes) -> Grant:
        """Strict. Raises GrantRefused (malformed)."""
        return well_formed(lambda: Grant._read(Reader(data)))

    @staticmethod
    def _read(reader: Reader) -> Grant:
        header, box = Header.read(reader), reader.var("box", MAX_BOX_BYTES)
        signature = Signature(reader.fixed("signature", eip712.SIGNATURE_BYTES))
        reader.end("grant")
        return Grant(header, box, signature)

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        h = self.header
        return {
            "format": FORMAT,
            "version": VERSION,
            **domain_json(h.domain),
            "id": hex_text(h.id),
            "account": address_hex(h.account),
            "market": hex_text(h.market),
            "first_day": h.first_day,
            "last_day": h.last_day,
            "auditor": h.auditor.export(),
            "purpose": h.purpose,
            "issued_at": h.issued_at,
            "expires": h.expires,
            "position": h.position,
            "box": binascii.b2a_base64(self.box, newline=False).decode(),
            "signature": hex_text(self.signature),
        }

    @staticmethod
    def from_json(value: object) -> Grant:
        """The grant of such an object, with exactly its keys. Raises GrantRefused (malformed)."""
        return well_formed(lambda: Grant._from_fields(json_fields(value, FORMAT, _NAMES)))

    @staticmethod
    def _from_fields(fields: Fields) -> Grant:
        header = Header(
            domain=json_domain(fields),
            account=fields.address("account"),
            market=fields.octets("market", 32),
            first_day=fields.uint("first_day"),
            last_day=fields.uint("last_day"),
            auditor=Auditor.parse(fields.text("auditor")),
            purpose=fields.text("purpose"),
            issued_at=fields.uint("issued_at"),
            expires=fields.uint("expires"),
            position=fields.uint("position"),
            id=fields.octets("id", 32),
        )
        box = fields.base64("box")
        if len(box) > MAX_BOX_BYTES:
            raise DecodeError("box", f"{len(box)} bytes are above the limit {MAX_BOX_BYTES}")
        return Grant(header, box, Signature(fields.octets("signature", eip712.SIGNATURE_BYTES)))


# --- forms shared with revocations and with the box ---------------------------------------------------


def well_formed(read: Callable[[], T]) -> T:
    """What it reads. Raises GrantRefused (malformed) for what it refuses."""
    try:
        return read()
    except (DecodeError, ConfigError) as error:
        raise GrantRefused(Check.MALFORMED, str(error), "send it as it was made") from None


def read_domain(reader: Reader) -> eip712.Domain:
    """Chain id (8) and contract (20). Raises DecodeError or ConfigError."""
    return eip712.Domain(reader.uint("chain_id", 8), Address(reader.fixed("contract", 20)))


def domain_json(domain: eip712.Domain) -> dict[str, Any]:
    """Its members of a JSON object."""
    return {"chain_id": domain.chain_id, "contract": address_hex(domain.contract)}


def json_domain(fields: Fields) -> eip712.Domain:
    """The domain of such members. Raises DecodeError or ConfigError."""
    return eip712.Domain(fields.uint("chain_id"), fields.address("contract"))


def json_fields(value: object, kind: str, names: tuple[str, ...]) -> Fields:
    """The members of a document of that format. Raises DecodeError."""
    fields = Fields(value, kind, names)
    if fields.text("format") != kind:
        raise DecodeError("format", f"not {kind}")
    fields.uint("version", VERSION, VERSION)
    return fields


def encode_node(key: ViewKey) -> bytes:
    """A node relative to its grant's market: a box cannot speak of another."""
    s = key.scope
    writer = Writer().uint(s.level, 1).uint(s.day or 0, 4).uint(s.nonce or 0, 8)
    return bytes(writer.fixed(key.node.secret, sealing.KEY_BYTES))


def read_node(reader: Reader, market: Scope) -> ViewKey:
    """A node below that market. Raises DecodeError."""
    level = reader.uint("level", 1, Level.ORDER)
    if level < Level.MARKET:
        raise DecodeError("level", "above a market")
    day, nonce = reader.uint("day", 4), reader.uint("nonce", 8)
    if (level < Level.DAY and day) or (level < Level.ORDER and nonce):
        raise DecodeError("node", "names what its level does not have")
    scope = replace(
        market,
        day=day if level >= Level.DAY else None,
        nonce=nonce if level >= Level.ORDER else None,
    )
    return ViewKey(scope, sealing.NodeKey(reader.fixed("key", sealing.KEY_BYTES)))

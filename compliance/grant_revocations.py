"""Revocations: an account takes a grant back, from a day on.

    Revoke(bytes32 grant,address account,uint64 at)        EIP-712, domain of the vault

What a revocation does: from `at` on the grant is refused for the day of `at` and for all later ones, by the
venue and by the auditor's tool, and the refusal is on record. What it cannot do: take back what was seen, nor
keys that were handed over. A grant made ahead of time holds the keys of days to come; who keeps a copy of the
box's content can open those notes, which are public. Whoever wants to stay free to revoke grants days as they
begin, or changes to a new seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, VerificationError
from compliance.grants import (
    VERSION,
    Check,
    GrantRefused,
    Header,
    domain_json,
    json_domain,
    json_fields,
    read_domain,
    well_formed,
)
from darkpool import eip712
from darkpool.jsonfields import Fields, hex_text
from darkpool.types import Address, PrivateKey, Signature, address_hex

FORMAT: Final = "darkpool-grant-revocation"
_TYPE: Final = "Revoke(bytes32 grant,address account,uint64 at)"
_NAMES: Final = ("format", "version", "chain_id", "contract", "grant", "account", "at", "signature")


@dataclass(frozen=True, slots=True)
class Revocation:
    """grant: the id of the grant, 32 bytes; at: unix seconds."""

    domain: eip712.Domain
    grant: bytes
    account: Address
    at: int
    signature: Signature = field(default=Signature(b""), repr=False)

    @staticmethod
    def issue(header: Header, at: int, private_key: PrivateKey) -> Revocation:
        """The account holder's revocation of that grant."""
        unsigned = Revocation(header.domain, header.id, header.account, at)
        return replace(unsigned, signature=eip712.sign_digest(unsigned.digest(), private_key))

    def digest(self) -> bytes:
        """What the account signs, 32 bytes."""
        return eip712.digest(self.domain, _TYPE, (self.grant, self.account, self.at))

    def encode(self) -> bytes:
        """version || chain id || contract || grant || account || at || signature."""
        writer = Writer().uint(VERSION, 2).uint(self.domain.chain_id, 8).fixed(self.domain.contract, 20)
        writer.fixed(self.grant, 32).fixed(self.account, 20).uint(self.at, 8)
        return bytes(writer.fixed(self.signature, eip712.SIGNATURE_BYTES))

    @staticmethod
    def decode(data: bytes) -> Revocation:
        """Strict. Raises GrantRefused (malformed)."""
        return well_formed(lambda: Revocation._read(Reader(data)))

    @staticmethod
    def _read(reader: Reader) -> Revocation:
        if reader.uint("version", 2) != VERSION:
            raise DecodeError("version", f"only {VERSION} is known here")
        domain, grant = read_domain(reader), reader.fixed("grant", 32)
        account, at = Address(reader.fixed("account", 20)), reader.uint("at", 8)
        signature = Signature(reader.fixed("signature", eip712.SIGNATURE_BYTES))
        reader.end("revocation")
        return Revocation(domain, grant, account, at, signature)

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "format": FORMAT,
            "version": VERSION,
            **domain_json(self.domain),
            "grant": hex_text(self.grant),
            "account": address_hex(self.account),
            "at": self.at,
            "signature": hex_text(self.signature),
        }

    @staticmethod
    def from_json(value: object) -> Revocation:
        """The revocation of such an object, with exactly its keys. Raises GrantRefused (malformed)."""
        return well_formed(lambda: Revocation._from_fields(json_fields(value, FORMAT, _NAMES)))

    @staticmethod
    def _from_fields(fields: Fields) -> Revocation:
        return Revocation(
            json_domain(fields),
            fields.octets("grant", 32),
            fields.address("account"),
            fields.uint("at"),
            Signature(fields.octets("signature", eip712.SIGNATURE_BYTES)),
        )


def revoked_at(header: Header, revocations: Iterable[Revocation]) -> int | None:
    """When the grant was taken back first, None if it was not; revocations of others are passed over.

    Raises GrantRefused (forged-revocation) for one of this grant that its account did not sign: somebody is
    lying about it, and which of the two cannot be told from here.
    """
    times = []
    for revocation in revocations:
        if revocation.grant != header.id:
            continue
        due = replace(revocation, domain=header.domain, account=header.account)
        try:
            eip712.check_signer(due.digest(), revocation.signature, header.account)
        except VerificationError as error:
            raise GrantRefused(Check.REVOCATION, str(error), "ask the account what it signed") from None
        times.append(revocation.at)
    return min(times, default=None)

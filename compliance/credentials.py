"""Credentials: what a registered issuer states about an account, as an EIP-712 signature.

    Credential(address subject, string jurisdiction, string investorClass,
               uint64 issued, uint64 expires, uint64 serial, address issuer)

under the domain of the vault it is for, so it counts at one vault on one chain. A policy says which issuers
count and for which jurisdictions. A credential is no secret between holder and venue, but it is about a
person: it belongs in no public log.

Verification fails closed: an issuer whose revocation list is missing or too old vouches for nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from commitments.errors import DecodeError, VerificationError
from compliance.credential_check import MAX_SERIAL, Check, CredentialRefused
from compliance.credential_revocations import Revocations
from compliance.policy_config import Issuer
from compliance.policy_lists import country, is_code
from darkpool import eip712
from darkpool.errors import ConfigError
from darkpool.jsonfields import MAX_UINT64, Fields, hex_text
from darkpool.jsontext import parsed
from darkpool.types import Address, PrivateKey, Signature, address_hex

FORMAT: Final = "darkpool-credential"
VERSION: Final = 1
MAX_BYTES: Final = 2048
MAX_LIFETIME: Final = 5 * 366 * 86_400
"""Longest time from issue to expiry, in seconds."""

_TYPE: Final = (
    "Credential(address subject,string jurisdiction,string investorClass,"
    "uint64 issued,uint64 expires,uint64 serial,address issuer)"
)
_NAMES: Final = (
    "format", "version", "chain_id", "contract", "subject", "jurisdiction", "investor_class",
    "issued", "expires", "serial", "issuer", "signature",
)  # fmt: skip
_CLASS: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Claim:
    """What is stated: the subject, of this jurisdiction and class, from `issued` until before `expires`.

    Times in unix seconds. Raises ConfigError if a part is out of range.
    """

    subject: Address
    jurisdiction: str
    investor_class: str
    issued: int
    expires: int
    serial: int
    issuer: Address

    def __post_init__(self) -> None:
        if not is_code(self.jurisdiction):
            raise ConfigError("jurisdiction: not an ISO 3166 code", "write it like US or US-NY")
        if not _CLASS.fullmatch(self.investor_class):
            raise ConfigError("investor class: not 1 to 63 of a-z 0-9 -", "write it like institutional")
        if not 0 <= self.issued < self.expires <= MAX_UINT64 or self.expires - self.issued > MAX_LIFETIME:
            raise ConfigError(
                f"credential: from {self.issued} to {self.expires} is not above 0 and at most "
                f"{MAX_LIFETIME} seconds",
                "give another expiry",
            )
        if not 0 <= self.serial <= MAX_SERIAL:
            raise ConfigError(f"serial: not from 0 to {MAX_SERIAL}", "give another serial")

    def check(self, issuers: Mapping[Address, Issuer], account: Address, at: int) -> None:
        """What of a claim depends on policy, asker and time alone. Raises CredentialRefused.

        1. the issuer is registered  2. and may speak of the jurisdiction  3. the subject is the account
        4. the time is in its life
        """
        issuer = issuers.get(self.issuer)
        if issuer is None:
            raise CredentialRefused(
                Check.ISSUER,
                f"issuer {address_hex(self.issuer)} is not registered in the policy",
                "get one from a registered issuer",
            )
        own = {self.jurisdiction, country(self.jurisdiction)}
        if issuer.jurisdictions is not None and own.isdisjoint(issuer.jurisdictions):
            raise CredentialRefused(
                Check.SCOPE,
                f"issuer {issuer.name} may not speak of {self.jurisdiction}",
                "get one from an issuer for that jurisdiction",
            )
        if self.subject != account:
            raise CredentialRefused(
                Check.SUBJECT, f"it is about {address_hex(self.subject)}", "present the account's own"
            )
        if at < self.issued:
            raise CredentialRefused(
                Check.EARLY, f"it counts from {self.issued}, now is {at}", "wait, or check the clock"
            )
        if at >= self.expires:
            raise CredentialRefused(
                Check.EXPIRED, f"it expired at {self.expires}, now is {at}", "have it renewed"
            )

    def as_json(self) -> dict[str, str | int]:
        """Its JSON object."""
        return {
            "subject": address_hex(self.subject),
            "jurisdiction": self.jurisdiction,
            "investor_class": self.investor_class,
            "issued": self.issued,
            "expires": self.expires,
            "serial": self.serial,
            "issuer": address_hex(self.issuer),
        }

    @staticmethod
    def from_fields(fields: Fields) -> Claim:
        """The claim among a JSON object's fields. Raises DecodeError."""
        try:
            return Claim(
                subject=fields.address("subject"),
                jurisdiction=fields.text("jurisdiction"),
                investor_class=fields.text("investor_class"),
                issued=fields.uint("issued"),
                expires=fields.uint("expires"),
                serial=fields.uint("serial", MAX_SERIAL),
                issuer=fields.address("issuer"),
            )
        except ConfigError as error:
            raise DecodeError("credential", error.message) from None

    @staticmethod
    def names() -> tuple[str, ...]:
        """The fields of its JSON object."""
        return _NAMES[4:11]


@dataclass(frozen=True, slots=True)
class Credential:
    """A claim for one vault; unsigned until `signed`."""

    claim: Claim
    domain: eip712.Domain
    signature: Signature = field(default=Signature(b""))

    def digest(self) -> bytes:
        """What the issuer signs, 32 bytes."""
        claim = self.claim
        values = (
            claim.subject,
            eip712.keccak256(claim.jurisdiction.encode()),
            eip712.keccak256(claim.investor_class.encode()),
            claim.issued,
            claim.expires,
            claim.serial,
            claim.issuer,
        )
        return eip712.digest(self.domain, _TYPE, values)

    def signed(self, key: PrivateKey) -> Credential:
        """The same under the issuer's key."""
        return replace(self, signature=eip712.sign_digest(self.digest(), key))

    def check_signature(self) -> None:
        """Raises CredentialRefused unless its issuer signed it."""
        try:
            eip712.check_signer(self.digest(), self.signature, self.claim.issuer)
        except VerificationError:
            raise CredentialRefused(
                Check.SIGNATURE, "not signed by its issuer, or changed since", "get it from the issuer again"
            ) from None

    def verify(
        self,
        domain: eip712.Domain,
        issuers: Mapping[Address, Issuer],
        account: Address,
        at: int,
        revocations: Revocations,
    ) -> Claim:
        """The claim, if it counts for the account at that time. Raises CredentialRefused naming the check.

        1. it is for this vault and chain  2. what `Claim.check` checks of the issuer  3. signature
        4. the rest of `Claim.check`  5. it is not revoked, by a list that is fresh enough
        """
        if self.domain != domain:
            raise CredentialRefused(
                Check.FOREIGN,
                f"it is for {address_hex(self.domain.contract)} on chain {self.domain.chain_id}",
                "have it issued for this venue's vault and chain",
            )
        if self.claim.issuer in issuers:  # else the claim's own check says so
            self.check_signature()
        self.claim.check(issuers, account, at)
        revocations.check(issuers[self.claim.issuer], self.claim.serial, at)
        return self.claim

    def as_json(self) -> dict[str, str | int]:
        """Its JSON object: bytes as 0x and lower-case digits, addresses with their checksum."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "chain_id": self.domain.chain_id,
            "contract": address_hex(self.domain.contract),
            **self.claim.as_json(),
            "signature": hex_text(self.signature),
        }

    @staticmethod
    def from_bytes(data: bytes) -> Credential:
        """The credential of a JSON text, not verified yet. Raises CredentialRefused."""
        try:
            return _read(data)
        except DecodeError as error:
            raise CredentialRefused(
                Check.MALFORMED, f"malformed: {error}", "present the issuer's file as it is"
            ) from None


def _read(data: bytes) -> Credential:
    if len(data) > MAX_BYTES:
        raise DecodeError("credential", f"over {MAX_BYTES} bytes")
    fields = Fields(parsed(data, "credential"), "credential", _NAMES)
    if fields.text("format") != FORMAT or fields.uint("version") != VERSION:
        raise DecodeError("format", f"not {FORMAT} version {VERSION}")
    domain = eip712.Domain(fields.uint("chain_id", low=1), fields.address("contract"))
    signature = Signature(fields.octets("signature", eip712.SIGNATURE_BYTES))
    return Credential(Claim.from_fields(fields), domain, signature)

"""Revocation lists: the serials an issuer no longer stands by, numbered and signed under EIP-712.

    RevocationList(address issuer, uint64 sequence, uint64 issued, uint64[] serials)

A later list replaces an earlier one and may be shorter (expired serials can go). A verifier keeps the newest
it has seen and takes no older one, so nobody can bring back what was revoked; how long it trusts a list that
is not renewed is the policy's setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from commitments.errors import DecodeError, VerificationError
from compliance.credential_check import MAX_SERIAL, Check, CredentialRefused
from compliance.policy_config import Issuer
from darkpool import eip712
from darkpool.errors import ConfigError, OrderRefused
from darkpool.jsonfields import Fields, hex_text
from darkpool.jsontext import parsed
from darkpool.types import Address, PrivateKey, Signature, address_hex

FORMAT: Final = "darkpool-revocations"
VERSION: Final = 1
MAX_SERIALS: Final = 100_000
MAX_BYTES: Final = 4 * 2**20

_TYPE: Final = "RevocationList(address issuer,uint64 sequence,uint64 issued,uint64[] serials)"
_NAMES: Final = (
    "format", "version", "chain_id", "contract", "issuer", "sequence", "issued", "serials", "signature",
)  # fmt: skip


class RevocationsRefused(OrderRefused):
    """A revocation list that is not taken; the one held stays."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One list; serials ascending, issued in unix seconds. Unsigned until `signed`. Raises ConfigError."""

    issuer: Address
    domain: eip712.Domain
    sequence: int
    issued: int
    serials: tuple[int, ...] = field(repr=False)
    signature: Signature = field(default=Signature(b""))

    def __post_init__(self) -> None:
        if len(self.serials) > MAX_SERIALS:
            raise ConfigError(
                f"revocations: {len(self.serials)} serials; at most {MAX_SERIALS}", "drop those that expired"
            )
        if list(self.serials) != sorted(set(self.serials)):
            raise ConfigError("revocations: serials are not in ascending order, each once", "sort them")

    def digest(self) -> bytes:
        """What the issuer signs, 32 bytes."""
        serials = eip712.keccak256(b"".join(map(eip712.word, self.serials)))
        return eip712.digest(self.domain, _TYPE, (self.issuer, self.sequence, self.issued, serials))

    def signed(self, key: PrivateKey) -> RevocationList:
        """The same under the issuer's key."""
        return replace(self, signature=eip712.sign_digest(self.digest(), key))

    def check_signature(self) -> None:
        """Raises RevocationsRefused unless its issuer signed it."""
        try:
            eip712.check_signer(self.digest(), self.signature, self.issuer)
        except VerificationError:
            raise RevocationsRefused(
                "revocations: not signed by their issuer, or changed since", "get the issuer's list again"
            ) from None

    def next(self, at: int, serials: Iterable[int]) -> RevocationList:
        """The list that replaces it: these serials more. Unsigned. Raises ConfigError."""
        merged = tuple(sorted({*self.serials, *serials}))
        return RevocationList(self.issuer, self.domain, self.sequence + 1, max(at, self.issued), merged)

    def as_json(self) -> dict[str, str | int | list[int]]:
        """Its JSON object."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "chain_id": self.domain.chain_id,
            "contract": address_hex(self.domain.contract),
            "issuer": address_hex(self.issuer),
            "sequence": self.sequence,
            "issued": self.issued,
            "serials": list(self.serials),
            "signature": hex_text(self.signature),
        }

    @staticmethod
    def from_bytes(data: bytes) -> RevocationList:
        """The list of a JSON text, its signature checked. Raises RevocationsRefused."""
        try:
            found = _read(data)
        except (DecodeError, ConfigError) as error:
            raise RevocationsRefused(
                f"revocations: malformed: {error}", "use the issuer's file as it is"
            ) from None
        found.check_signature()
        return found


class Revocations:
    """The newest list of every issuer, for one vault."""

    def __init__(self, domain: eip712.Domain, lists: Iterable[RevocationList] = ()) -> None:
        self._domain = domain
        self._lists: dict[Address, tuple[RevocationList, frozenset[int]]] = {}
        for each in lists:
            self.take(each)

    def take(self, new: RevocationList) -> None:
        """Hold a list instead of the one before.

        Raises RevocationsRefused if it is for another vault, forged, older than the one held, or another
        list of the same number.
        """
        if new.domain != self._domain:
            raise RevocationsRefused(
                f"revocations: for {address_hex(new.domain.contract)} on chain {new.domain.chain_id}",
                "use the issuer's list for this venue's vault and chain",
            )
        new.check_signature()
        if new.issuer in self._lists:
            held = self._lists[new.issuer][0]
            if new.sequence < held.sequence:
                raise RevocationsRefused(
                    f"revocations: number {new.sequence}, but {held.sequence} is held", "get the newest list"
                )
            if new.sequence == held.sequence and new.digest() != held.digest():
                raise RevocationsRefused(
                    f"revocations: the issuer signed two lists numbered {new.sequence}",
                    "keep both as evidence, and ask the issuer for a newer one",
                )
        self._lists[new.issuer] = new, frozenset(new.serials)

    def check(self, issuer: Issuer, serial: int, at: int) -> None:
        """Raises CredentialRefused if the serial is revoked, or the issuer's list is missing or too old."""
        if issuer.address not in self._lists:
            raise CredentialRefused(
                Check.REVOCATIONS_MISSING,
                f"no revocation list of issuer {issuer.name} is at hand",
                "the venue needs the issuer's list, even an empty one",
            )
        held, serials = self._lists[issuer.address]
        if serial in serials:
            raise CredentialRefused(
                Check.REVOKED,
                f"number {serial} is revoked by list {held.sequence} of issuer {issuer.name}",
                "ask the issuer",
            )
        if at > held.issued + issuer.max_age:
            age = at - held.issued
            raise CredentialRefused(
                Check.REVOCATIONS_STALE,
                f"the revocation list of issuer {issuer.name} is {age} s old; at most {issuer.max_age}",
                "the venue needs a fresh list",
            )

    @property
    def sequences(self) -> Mapping[Address, int]:
        """Number of the list held, by issuer."""
        return {issuer: held.sequence for issuer, (held, _) in self._lists.items()}


def _read(data: bytes) -> RevocationList:
    if len(data) > MAX_BYTES:
        raise DecodeError("revocations", f"over {MAX_BYTES} bytes")
    fields = Fields(parsed(data, "revocations"), "revocations", _NAMES)
    if fields.text("format") != FORMAT or fields.uint("version") != VERSION:
        raise DecodeError("format", f"not {FORMAT} version {VERSION}")
    return RevocationList(
        issuer=fields.address("issuer"),
        domain=eip712.Domain(fields.uint("chain_id", low=1), fields.address("contract")),
        sequence=fields.uint("sequence"),
        issued=fields.uint("issued"),
        serials=tuple(map(_serial, fields.array("serials", MAX_SERIALS))),
        signature=Signature(fields.octets("signature", eip712.SIGNATURE_BYTES)),
    )


def _serial(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SERIAL:
        raise DecodeError("serials", f"not integers from 0 to {MAX_SERIAL}")
    return value

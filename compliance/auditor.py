"""Who may be granted a view: an auditor by its account and its box key, as one text to give away.

Both secrets lie in one keystore (darkpool/keystore.py): the private key signs the auditor's queries, so that
they can be recorded; the box key follows from the seed. The text is Bech32m with the prefix `dpaudit`:
version (1) || account (20) || box key (32). Nothing in it is secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from commitments import sealing
from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError
from commitments.sealing import BoxKey
from compliance import bech32m
from darkpool.errors import ConfigError
from darkpool.types import ADDRESS_BYTES, Address, address_hex

HRP: Final = "dpaudit"
VERSION: Final = 1
LABEL_AUDITOR_BOX: Final = b"darkpool/v1/auditor-box-key"


@dataclass(frozen=True, slots=True)
class Auditor:
    """`account` signs its queries; `key` is the X25519 public key (32 bytes) grants are sealed to.

    Raises ConfigError for an account not of 20 bytes or a key nothing can be sealed to.
    """

    account: Address
    key: bytes

    def __post_init__(self) -> None:
        address_hex(self.account)  # raises for a wrong length
        try:
            sealing.check_public(self.key)
        except DecodeError as error:
            raise ConfigError(f"auditor key: {error.problem}", "ask the auditor for its text") from None

    def export(self) -> str:
        """Its text."""
        writer = Writer().uint(VERSION, 1).fixed(self.account, ADDRESS_BYTES)
        return bech32m.encode(HRP, bytes(writer.fixed(self.key, sealing.PUBLIC_KEY_BYTES)))

    @staticmethod
    def parse(text: str) -> Auditor:
        """The auditor of such a text. Raises ConfigError."""
        try:
            return _read(Reader(bech32m.decode(text, HRP, "auditor")))
        except DecodeError as error:
            raise ConfigError(f"auditor: {error}", "copy it again, from dpaudit1 to its end") from None


def _read(reader: Reader) -> Auditor:
    if reader.uint("version", 1) != VERSION:
        raise DecodeError("version", f"only {VERSION} is known here")
    account = Address(reader.fixed("account", ADDRESS_BYTES))
    key = reader.fixed("key", sealing.PUBLIC_KEY_BYTES)
    reader.end("auditor")
    return Auditor(account, key)


def box_key(seed: bytes) -> BoxKey:
    """The auditor's key for grants. Raises ParameterError for a seed not of 32 bytes."""
    return BoxKey.derive(sealing.derive_path(seed, (LABEL_AUDITOR_BOX, b"")).secret)

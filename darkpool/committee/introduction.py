"""What a member tells the others before there is a committee: where it listens, and its public keys.

introduction.json is public, and signed with the key that will sign for the member; whoever receives one asks
the member for its fingerprint by another way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Self

from commitments.encoding import Writer
from commitments.errors import DecodeError, VerificationError
from commitments.sealing import check_public
from darkpool import eip712, jsontext
from darkpool.committee.certificate import Certificate
from darkpool.message import Message
from darkpool.types import Address, PrivateKey, Signature, address_hex

MAX_INTRODUCTION: Final = 1 << 13  # bytes of the file
MAX_HOST: Final = 253
_INTRODUCTION_LABEL: Final = b"darkpool/v1/introduction"
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:.]+")
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Introduction:
    """A member's address in the network, certificate, signing address and X25519 key for its sealed seat."""

    host: str
    port: int
    certificate: Certificate
    signer: Address
    box: bytes
    signature: Signature

    @classmethod
    def signed(cls, host: str, port: int, certificate: Certificate, box: bytes, key: PrivateKey) -> Self:
        """One's own. Raises DecodeError for a host or port that is none."""
        check_place(host, port)
        digest = _digest(host, port, certificate, box)
        return cls(host, port, certificate, eip712.address_of(key), box, eip712.sign_digest(digest, key))

    @classmethod
    def read(cls, document: object) -> Self:
        """That of a JSON object, verified. Raises DecodeError, VerificationError."""
        if not isinstance(document, dict):
            raise DecodeError("introduction", "not an object")
        message = Message("introduction", document)
        if message.integer("version") != _VERSION:
            raise DecodeError("version", f"{message.integer('version')}, expected {_VERSION}")
        host, port = message.text("host", MAX_HOST), message.integer("port", 1, 65_535)
        check_place(host, port)
        certificate = Certificate.parse(message.octets("certificate"))
        if message.octets("fingerprint", 32) != certificate.fingerprint:
            raise DecodeError("fingerprint", "not that of the certificate")
        box = message.octets("box", 32)
        check_public(box)
        signer = Address(message.octets("signer", 20))
        signature = message.octets("signature", eip712.SIGNATURE_BYTES)
        try:
            eip712.check_signer(_digest(host, port, certificate, box), signature, signer)
        except VerificationError as error:
            raise VerificationError("introduction", str(error)) from None
        found = cls(host, port, certificate, signer, box, Signature(signature))
        if found.fields() != document:
            raise DecodeError("introduction", f"other fields than {', '.join(found.fields())}")
        return found

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """That of a file's bytes. Raises DecodeError, VerificationError."""
        if len(data) > MAX_INTRODUCTION:
            raise DecodeError("introduction", f"{len(data)} bytes; at most {MAX_INTRODUCTION} are allowed")
        found = cls.read(jsontext.parsed(data, "introduction"))
        if found.encode() != data:
            raise DecodeError("introduction", "not as darkpool member init writes it")
        return found

    def fields(self) -> Mapping[str, Any]:
        """The JSON object."""
        return {
            "version": _VERSION,
            "host": self.host,
            "port": self.port,
            "fingerprint": self.certificate.fingerprint.hex(),
            "certificate": self.certificate.der.hex(),
            "signer": self.signer.hex(),
            "box": self.box.hex(),
            "signature": self.signature.hex(),
        }

    def encode(self) -> bytes:
        """The file."""
        return (json.dumps(self.fields(), indent=2) + "\n").encode("ascii")

    def __str__(self) -> str:
        fingerprint = self.certificate.fingerprint.hex()
        return f"{self.host}:{self.port}, signer {address_hex(self.signer)}, certificate {fingerprint}"


def check_place(host: str, port: int) -> None:
    """Raises DecodeError unless a member can be said to listen there."""
    if not _HOST.fullmatch(host) or len(host) > MAX_HOST:
        raise DecodeError("host", f"not an address or a host name of at most {MAX_HOST} characters")
    if not 1 <= port <= 65_535:  # noqa: PLR2004
        raise DecodeError("port", f"{port} is not from 1 to 65535")


def _digest(host: str, port: int, certificate: Certificate, box: bytes) -> bytes:
    writer = Writer().var(_INTRODUCTION_LABEL).var(host.encode("ascii")).uint(port, 2)
    return sha256(bytes(writer.var(certificate.der).fixed(box, 32))).digest()

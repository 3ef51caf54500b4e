"""Certificates of members and of the venue: self-signed, P-256, known by their hash alone.

Who a peer is follows from its certificate being exactly the one in committee.json (directory.py); names and
issuers in it mean nothing. TLS 1.3 shows that the peer has the key.

tls.key    secret: PKCS #8 in PEM, mode 0600
tls.crt    the certificate in PEM
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from commitments.errors import DecodeError, VerificationError
from darkpool.errors import ConfigError
from darkpool.files import write_whole

KEY: Final = "tls.key"
CERTIFICATE: Final = "tls.crt"
MAX_CERTIFICATE: Final = 1_024  # bytes of DER; ours have some 400
_LIFE: Final = timedelta(days=3_650)
_SKEW: Final = timedelta(days=1)  # of a clock that is behind
_MAX_FILE: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Certificate:
    """One in DER, checked: P-256, signed by itself."""

    der: bytes

    @classmethod
    def parse(cls, der: bytes) -> Self:
        """Raises DecodeError for anything else, or more than MAX_CERTIFICATE bytes."""
        if len(der) > MAX_CERTIFICATE:
            raise DecodeError("certificate", f"{len(der)} bytes; at most {MAX_CERTIFICATE} are allowed")
        try:
            found = x509.load_der_x509_certificate(der)
            key = found.public_key()
            found.verify_directly_issued_by(found)
            canonical = found.public_bytes(serialization.Encoding.DER)
        except (ValueError, TypeError, InvalidSignature):
            raise DecodeError("certificate", "not one in DER that is signed by itself") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise DecodeError("certificate", "its key is not on P-256")
        if canonical != der:
            raise DecodeError("certificate", "not canonical")
        return cls(der)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the DER, 32 bytes."""
        return sha256(self.der).digest()

    def check_dates(self, now: datetime) -> None:
        """Raises VerificationError outside of the time it is valid for."""
        found = x509.load_der_x509_certificate(self.der)
        first, last = found.not_valid_before_utc, found.not_valid_after_utc
        if not first <= now <= last:
            raise VerificationError(
                "certificate", f"{short(self.fingerprint)} is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
            )


def short(digest: bytes) -> str:
    """The first four bytes of a hash, for people."""
    return f"{digest[:4].hex()}…"


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and where its key is."""

    folder: Path
    certificate: Certificate

    @classmethod
    def create(cls, folder: Path) -> Self:
        """A new key and its certificate in a folder that has none. Raises ConfigError."""
        if (folder / CERTIFICATE).exists():
            raise ConfigError(f"{folder / CERTIFICATE}: there is a certificate already", "use a new folder")
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_whole(folder / KEY, pem.decode("ascii"), 0o600)
        made = _self_signed(key, datetime.now(UTC) - _SKEW, datetime.now(UTC) + _LIFE)
        shown = made.public_bytes(serialization.Encoding.PEM)
        write_whole(folder / CERTIFICATE, shown.decode("ascii"), 0o600)
        return cls(folder, Certificate.parse(made.public_bytes(serialization.Encoding.DER)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """That of a folder. Raises ConfigError, which never quotes the key."""
        try:
            if (folder / KEY).stat().st_mode & 0o077:
                raise ConfigError(f"{folder / KEY}: others may read it", f"run chmod 600 {folder / KEY}")
            with (folder / CERTIFICATE).open("rb") as file:
                pem = file.read(_MAX_FILE)
            return cls(folder, Certificate.parse(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))))
        except (OSError, ValueError, DecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a certificate of this program"
            raise ConfigError(
                f"{folder / CERTIFICATE}: {reason}", "restore it with its key from a backup"
            ) from None

    def server(self, welcome: Iterable[Certificate]) -> ssl.SSLContext:
        """TLS 1.3 of who is dialled, by holders of these certificates only."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=b"".join(c.der for c in welcome))
        context.num_tickets = 0  # a resumed session would show no certificate
        return context

    def client(self) -> ssl.SSLContext:
        """TLS 1.3 of who dials. The caller must compare the peer's certificate with the one it expects.

        That comparison is stricter than a chain of certificates, and can say what came instead.
        """
        context = self._context(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_cert_chain(self.folder / CERTIFICATE, self.folder / KEY, password=lambda: b"")
        except (OSError, ssl.SSLError):
            raise ConfigError(
                f"{self.folder / KEY}: not the key of {CERTIFICATE}", "restore both from a backup"
            ) from None
        return context


def _self_signed(key: ec.EllipticCurvePrivateKey, first: datetime, last: datetime) -> x509.Certificate:
    public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # A name of its own, as OpenSSL looks certificates up by name.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"darkpool {public.digest.hex()}")])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(public, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )

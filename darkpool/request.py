"""Private requests: signed by an account under EIP-712, expiring, each good for one use.

    Authorization: Darkpool account=0x…,nonce=0x…,expires=…,signature=0x…

The signature covers method, target (path with query, as sent), keccak256 of the body, a fresh 32-byte nonce
and the expiry in unix seconds. Whoever answers remembers the nonces of unexpired requests.
"""

from __future__ import annotations

import re
import secrets
from typing import Final, NamedTuple

from commitments.errors import VerificationError
from darkpool.eip712 import Domain, address_of, check_signer, digest, keccak256, sign_digest
from darkpool.errors import ConfigError, OrderRefused
from darkpool.jsonfields import hex_text
from darkpool.types import Address, PrivateKey, address_hex, parse_address

SCHEME: Final = "Darkpool"
NONCE_BYTES: Final = 32
MAX_HEADER: Final = 512
_TYPE: Final = (
    "Request(address account,string method,string target,bytes32 body,bytes32 nonce,uint64 expires)"
)
# RFC 9110 has scheme and parameter names without regard to case; one form is enough for the parameters.
_HEADER: Final = re.compile(
    r"(?i:darkpool) account=(0x[0-9a-fA-F]{40}),nonce=0x([0-9a-f]{64}),"
    r"expires=(0|[1-9][0-9]{0,19}),signature=0x([0-9a-f]{130})"
)


class Caller(NamedTuple):
    """Who signed a request, the nonce to remember (32 bytes) and until when (unix seconds)."""

    account: Address
    nonce: bytes
    expires: int


def request_digest(domain: Domain, caller: Caller, method: str, target: str, body: bytes) -> bytes:
    """What is signed, 32 bytes; strings enter as their hashes, as EIP-712 has it."""
    hashes = [keccak256(part) for part in (method.encode(), target.encode(), body)]
    return digest(domain, _TYPE, (caller.account, *hashes, caller.nonce, caller.expires))


def sign_request(key: PrivateKey, domain: Domain, method: str, target: str, body: bytes, expires: int) -> str:
    """The value of the Authorization header: the client's side. `expires` in unix seconds."""
    caller = Caller(address_of(key), secrets.token_bytes(NONCE_BYTES), expires)
    signature = sign_digest(request_digest(domain, caller, method, target, body), key)
    return (
        f"{SCHEME} account={address_hex(caller.account)},nonce={hex_text(caller.nonce)},"
        f"expires={expires},signature={hex_text(signature)}"
    )


def check_request(
    header: str, method: str, target: str, body: bytes, now: int, domain: Domain, max_seconds: int
) -> Caller:
    """Who signed the request. Steps: the header's form, its expiry, its signature; replay is the caller's.

    Raises OrderRefused of code bad-authorization, request-expired (also if it would live longer than
    `max_seconds`) or bad-signature.
    """
    caller, signature = _parsed(header)
    if not now < caller.expires <= now + max_seconds:
        raise OrderRefused(
            f"expires: {caller.expires} is not within {max_seconds} s from now ({now})",
            "check the clock, and sign the request anew",
            "request-expired",
            {"now": now, "max_seconds": max_seconds},
        )
    try:
        check_signer(request_digest(domain, caller, method, target, body), signature, caller.account)
    except VerificationError as error:
        raise OrderRefused(
            f"signature: not the account's over this request: {error.problem}",
            "sign method, target, body, nonce and expiry under the vault's domain",
            "bad-signature",
        ) from None
    return caller


def _parsed(header: str) -> tuple[Caller, bytes]:
    match = _HEADER.fullmatch(header) if len(header) <= MAX_HEADER else None
    if match is None:
        raise _malformed("authorization: not of the form due")
    try:
        account = parse_address(match[1])
    except ConfigError as error:
        raise _malformed(f"authorization: {error.message}") from None
    return Caller(account, bytes.fromhex(match[2]), int(match[3])), bytes.fromhex(match[4])


def _malformed(message: str) -> OrderRefused:
    hint = f"send Authorization: {SCHEME} account=0x…,nonce=0x…,expires=…,signature=0x…"
    return OrderRefused(message, hint, "bad-authorization")


def register_digest(domain: Domain, venue: bytes, account: Address) -> bytes:
    """What an account signs to accept the venue, EIP-712."""
    return digest(domain, "Register(address account,bytes32 venue)", (account, venue))

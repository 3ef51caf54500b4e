"""EIP-712 signatures of flat structs, bound to one vault on one chain.

Traders sign sealed orders, members sign sealed roots and settlements, all under the domain
{name "darkpool", version "1", chainId, verifyingContract}. `eth_account`'s own typed-data encoder is the
independent check in the tests; this one exists because it is 40 times faster on the hot path.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from eth_keys.datatypes import PrivateKey, Signature
from eth_keys.exceptions import BadSignature, ValidationError

from darkpool.settlement import Domain, keccak256
from darkpool.types import Address

SIGNATURE_BYTES: Final = 65
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_V_OFFSET: Final = 27


@cache
def type_hash(encoded_type: str) -> bytes:
    """keccak256 of an encodeType string."""
    return keccak256(encoded_type.encode())


@cache
def domain_separator(domain: Domain) -> bytes:
    return domain.separator()


def word(value: int | bytes) -> bytes:
    """32 bytes: an unsigned integer, an address or a bytes32."""
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


def digest(domain: Domain, encoded_type: str, values: Sequence[int | bytes]) -> bytes:
    """What is signed: keccak256(0x1901 || domain separator || hashStruct). Fields are static types only."""
    struct = keccak256(type_hash(encoded_type) + b"".join(word(v) for v in values))
    return keccak256(b"\x19\x01" + domain_separator(domain) + struct)


def sign(message: bytes, private_key: bytes) -> bytes:
    """65 bytes r || s || v (v 27 or 28, s low), deterministic nonce (RFC 6979)."""
    signature = PrivateKey(private_key).sign_msg_hash(message)
    return signature.to_bytes()[:64] + bytes([signature.v + _V_OFFSET])


def recover(message: bytes, signature: bytes) -> Address | None:
    """The signer, or None for anything that is not one canonical signature (low s, v 27 or 28)."""
    if len(signature) != SIGNATURE_BYTES or signature[64] not in (27, 28):
        return None
    if not 0 < int.from_bytes(signature[32:64], "big") <= _HALF_ORDER:
        return None
    try:
        parsed = Signature(signature[:64] + bytes([signature[64] - _V_OFFSET]))
        return Address(parsed.recover_public_key_from_msg_hash(message).to_canonical_address())
    except (BadSignature, ValidationError):
        return None


def address_of(private_key: bytes) -> Address:
    """The account of a private key."""
    return Address(PrivateKey(private_key).public_key.to_canonical_address())

"""EIP-712 signatures of flat structs, bound to one vault on one chain.

Traders sign sealed orders, members sign sealed roots and settlements, all under the domain
{name "darkpool", version "1", chainId, verifyingContract}. `eth_account`'s own typed-data encoder is the
independent check in the tests; this one exists because it is 40 times faster on the hot path.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from Crypto.Hash import keccak

from commitments.errors import ParameterError, VerificationError
from darkpool.errors import ConfigError
from darkpool.types import ADDRESS_BYTES, Address, PrivateKey, Signature, address_hex

SIGNATURE_BYTES: Final = 65
WORD_BYTES: Final = 32
GROUP_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Order of the group of secp256k1."""

_V_OFFSET: Final = 27
_DOMAIN_TYPE: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


def keccak256(data: bytes) -> bytes:
    """The hash of the EVM: 32 bytes."""
    return keccak.new(digest_bits=256, data=data).digest()


def word(value: int | bytes) -> bytes:
    """32 bytes: an unsigned integer below 2^256, an address or a bytes32. Raises ParameterError otherwise."""
    if isinstance(value, int):
        if not 0 <= value < 1 << 8 * WORD_BYTES:
            raise ParameterError("a word is an unsigned integer below 2^256")
        return value.to_bytes(WORD_BYTES)
    if len(value) not in {ADDRESS_BYTES, WORD_BYTES}:
        raise ParameterError(f"a word of {len(value)} bytes; an address has 20, a bytes32 has 32")
    return value.rjust(WORD_BYTES, b"\0")


@cache
def type_hash(encoded_type: str) -> bytes:
    """keccak256 of an encodeType string, 32 bytes."""
    return keccak256(encoded_type.encode())


def struct_hash(encoded_type: str, values: Sequence[int | bytes]) -> bytes:
    """hashStruct, 32 bytes; fields are static types, or stand for others by their hash."""
    return keccak256(type_hash(encoded_type) + b"".join(map(word, values)))


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature counts: one vault on one chain. Raises ConfigError."""

    chain_id: int
    contract: Address

    def __post_init__(self) -> None:
        if not 0 < self.chain_id < 2**256:
            raise ConfigError(f"chain id: {self.chain_id} is not from 1 to 2^256 - 1")
        if len(self.contract) != ADDRESS_BYTES:
            raise ConfigError(f"contract: {len(self.contract)} bytes, not {ADDRESS_BYTES}")

    def separator(self) -> bytes:
        """The domain separator, 32 bytes."""
        return _separator(self)


@lru_cache(maxsize=64)
def _separator(domain: Domain) -> bytes:
    name, version = keccak256(b"darkpool"), keccak256(b"1")
    return struct_hash(_DOMAIN_TYPE, (name, version, domain.chain_id, domain.contract))


def digest(domain: Domain, encoded_type: str, values: Sequence[int | bytes]) -> bytes:
    """What is signed: keccak256(0x1901 || domain separator || hashStruct), 32 bytes."""
    return keccak256(b"\x19\x01" + domain.separator() + struct_hash(encoded_type, values))


# eth_keys takes 0.4 s to import, so it waits until a key or a signature is at hand.


def fresh_key() -> PrivateKey:
    """A uniform private key from the operating system."""
    return PrivateKey((1 + secrets.randbelow(GROUP_ORDER - 1)).to_bytes(32, "big"))


def address_of(private_key: PrivateKey) -> Address:
    """The account a key signs for. Raises ConfigError if the bytes are no key."""
    from eth_keys.main import KeyAPI
    from eth_utils.exceptions import ValidationError

    try:
        return Address(KeyAPI.PrivateKey(private_key).public_key.to_canonical_address())
    except (ValidationError, ValueError):
        # The cause would carry the key.
        raise ConfigError("private key: not 32 bytes that stand for 1 to the group order - 1") from None


def sign_digest(message: bytes, private_key: PrivateKey) -> Signature:
    """A deterministic (RFC 6979) signature of a 32-byte hash: r || s || v, s low, v 27 or 28."""
    from eth_keys.main import KeyAPI

    signature = KeyAPI.PrivateKey(private_key).sign_msg_hash(message)
    return Signature(word(signature.r) + word(signature.s) + bytes([_V_OFFSET + signature.v]))


def recover_digest(message: bytes, signature: bytes) -> Address:
    """The account that signed a 32-byte hash.

    Accepts exactly what the contract accepts: 65 bytes, s at most half the group order (EIP-2), v 27 or 28.
    Raises VerificationError.
    """
    from eth_keys.exceptions import BadSignature
    from eth_keys.main import KeyAPI
    from eth_utils.exceptions import ValidationError

    if len(signature) != SIGNATURE_BYTES:
        raise VerificationError("signature", f"{len(signature)} bytes, not {SIGNATURE_BYTES}")
    r, s, v = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64]), signature[64]
    if not 0 < r < GROUP_ORDER:
        raise VerificationError("signature", "r is not from 1 to the group order - 1")
    if not 0 < s <= GROUP_ORDER // 2:
        raise VerificationError("signature", "s is not from 1 to half the group order")
    if v not in {_V_OFFSET, _V_OFFSET + 1}:
        raise VerificationError("signature", f"v is {v}, not 27 or 28")
    try:
        key = KeyAPI.Signature(vrs=(v - _V_OFFSET, r, s)).recover_public_key_from_msg_hash(message)
    except (BadSignature, ValidationError, ValueError):
        raise VerificationError("signature", "no signer recovers from it") from None
    return Address(key.to_canonical_address())


def check_signer(message: bytes, signature: bytes, signer: Address) -> None:
    """Raises VerificationError unless it is the signer's canonical signature of a 32-byte hash."""
    found = recover_digest(message, signature)
    if found != signer:
        raise VerificationError("signature", f"recovers {address_hex(found)}, not {address_hex(signer)}")

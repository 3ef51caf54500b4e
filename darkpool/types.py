"""Names for the quantities that cross module boundaries, and the text form of addresses.

At run time these are plain `int` and `bytes`; the type checker keeps them apart.
"""

from __future__ import annotations

import re
from typing import Final, NewType

from Crypto.Hash import keccak

from darkpool.errors import ConfigError

Address = NewType("Address", bytes)
"""An Ethereum address: 20 raw bytes."""

TokenIndex = NewType("TokenIndex", int)
"""A token by its place in the vault's list, 0 to 7."""

Quanta = NewType("Quanta", int)
"""An amount of a token in quanta, the smallest unit the vault books; signed where a change is meant."""

Lots = NewType("Lots", int)
"""An order quantity; a lot is a fixed number of base quanta."""

Tick = NewType("Tick", int)
"""A price level by its place on the grid."""

Nonce = NewType("Nonce", int)
"""The number of an order within its account; it is spent once."""

RoundId = NewType("RoundId", int)
"""The number of a round within its market, from 1."""

PrivateKey = NewType("PrivateKey", bytes)
"""A secp256k1 key: 32 raw bytes, big-endian. Secret: never in a message, log or `repr`."""

Signature = NewType("Signature", bytes)
"""A recoverable secp256k1 signature: r (32) || s (32, the lower one) || v (27 or 28)."""

ADDRESS_BYTES: Final = 20
_ADDRESS_TEXT: Final = re.compile(r"0x[0-9a-fA-F]{40}")


def address_hex(address: Address) -> str:
    """The checksummed text of an address (EIP-55): "0x" and 40 digits.

    Raises `ConfigError` if it is not 20 bytes.
    """
    if len(address) != ADDRESS_BYTES:
        raise ConfigError(f"address: {len(address)} bytes, not {ADDRESS_BYTES}")
    digits = address.hex()
    nibbles = keccak.new(digest_bits=256, data=digits.encode()).hexdigest()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) > 7 else digit  # noqa: PLR2004
        for digit, nibble in zip(digits, nibbles, strict=False)
    )


def parse_address(text: str) -> Address:
    """The address written as "0x" and 40 hexadecimal digits.

    Mixed case must carry the right checksum (EIP-55); all lower or all upper case carries none.
    Raises `ConfigError`.
    """
    if not _ADDRESS_TEXT.fullmatch(text):
        raise ConfigError(
            f"address: {text[:48]!r} is not an Ethereum address",
            "write 0x and 40 hexadecimal digits",
        )
    digits = text[2:]
    address = Address(bytes.fromhex(digits))
    if digits not in {digits.lower(), digits.upper()} and text != address_hex(address):
        raise ConfigError(
            f"address: {text} has a wrong checksum",
            "copy it again, or write it in lower case if you are sure",
        )
    return address

"""The domain of EIP-712 as eth_account wants it, for independent checks of what is signed."""

from __future__ import annotations

from typing import Final

DOMAIN_TYPE: Final = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]

"""What a chain is asked to do, and what it answers: fees, transactions, receipts, events, blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from darkpool.types import Address

ETHER: Final = 10**18
"""Wei of an ether."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined, successful transaction; `tx_hash` is 32 bytes, `price` what it paid per gas, in wei."""

    tx_hash: bytes
    gas_used: int
    block: int
    contract: Address | None = None
    price: int = 0


@dataclass(frozen=True, slots=True)
class Fees:
    """What a transaction pays at most per gas, and of that to the block's maker, in wei (EIP-1559)."""

    most: int
    tip: int


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction ready to be posted, and the hash it will be known by."""

    tx_hash: bytes
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded log entry; its place in the chain orders events of one chain."""

    block: int
    log_index: int
    tx_hash: bytes
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """When it was made, unix seconds, and its hash, which names the chain up to it."""

    time: int
    hash: bytes


def ether_text(wei: int) -> str:
    """Wei as a decimal of ether, rounded up to six digits."""
    return f"{-(-wei * 10**6 // ETHER) / 10**6:.6f}"

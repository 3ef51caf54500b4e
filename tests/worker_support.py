"""Orders with one of every fault, for tests of who verifies them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, TypeAlias

from gmpy2 import mpz

from commitments.paillier import Ciphertext
from darkpool.draft import Standing
from darkpool.eip712 import SIGNATURE_BYTES
from darkpool.errors import OrderRefused
from darkpool.types import RoundId
from darkpool.wallet import Wallet
from tests.venue_support import NOW, RICH, buy, finish, key_of, sell, signers, some_terms

Masked: TypeAlias = tuple[Ciphertext, dict[int, mpz]]

TERMS: Final = some_terms()
KEY: Final = TERMS.key


@cache
def good_order(name: str, level: int, quantity: int) -> bytes:
    """An order of an account with deposits."""
    wallet = Wallet(TERMS, signers(), key_of(name), key_of(name)[::-1])
    for token in (TERMS.market.base, TERMS.market.quote):
        wallet.deposited(token, RICH)
    order = buy(level, quantity) if level % 2 else sell(level, quantity)
    return finish(wallet.draft(order, Standing(RoundId(1), NOW)), TERMS, key_of(name)).raw


def mixed_orders() -> list[bytes]:
    """Valid at 0, 2 and 5; of a false proof at 1 and cut at 3 and 4."""
    ada, ben = good_order("ada", 1, 5), good_order("ben", 2, 7)
    broken = bytearray(ada)
    broken[-SIGNATURE_BYTES - 700] ^= 1
    return [ada, bytes(broken), ben, ada[:-1], b"", good_order("cyd", 3, 1)]


def said(refused: Mapping[int, OrderRefused]) -> dict[int, tuple[str, str, str]]:
    """Refusals as they can be compared."""
    return {position: (r.message, r.hint, r.code) for position, r in refused.items()}

"""Orders sealed, proven and signed by one account, with what the account knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from commitments.auditor_key import SecretKey
from commitments.group import Point
from commitments.pedersen import Opening
from compliance.predicates import OwnOrder
from darkpool.draft import Collateral, Standing, draft
from darkpool.eip712 import address_of
from darkpool.order import Order, Terms
from darkpool.types import Address, Nonce, RoundId
from tests.commitments_support import FREE
from tests.venue_support import NOW, finish, key_of, some_terms

SECRETS: Final = (SecretKey(1_001), SecretKey(1_002))


def terms_for(auditors: Sequence[Point] = (), **market: int) -> Terms:
    """Small terms that demand handles for those keys."""
    return replace(some_terms(**market), auditor_keys=tuple(sorted(auditors, key=Point.encode)))


def account_of(name: str) -> Address:
    """The address of that trader."""
    return address_of(key_of(name))


def seal(order: Order, nonce: int, terms: Terms, name: str = "ada") -> OwnOrder:
    """A real order of that trader, funded for anything."""
    base, quote = (Collateral(Opening(FREE, blinding), 1) for blinding in (5, 6))
    made = draft(
        *(terms, account_of(name), key_of(name)[::-1], Nonce(nonce), order),
        *(Standing(first_round=RoundId(1), now=NOW), base, quote),
    )
    return OwnOrder(finish(made, terms, key_of(name)), order, made.witness.blindings)


@cache
def seal_cached(order: Order, nonce: int, auditors: int = 0) -> OwnOrder:
    """As `seal`, made once for tests that only read it; `auditors` counts the keys of SECRETS it serves."""
    return seal(order, nonce, terms_for([secret.public for secret in SECRETS[:auditors]]))

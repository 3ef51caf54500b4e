"""What a book checks of an order: the bytes against the market's terms, then nonces and free collateral.

The proof comes last, in batches (book.py), because it is the dear part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from commitments.errors import DecodeError
from commitments.sealing import check_public
from darkpool.account import FreeCollateral, Ledger
from darkpool.errors import OrderRefused
from darkpool.order import SealedOrder, Terms, TimeInForce
from darkpool.types import Address, Nonce

DAY_SLACK_SECONDS: Final = 60  # around midnight UTC both days are right
_SECONDS_PER_DAY: Final = 86_400


def screened(terms: Terms, raw: bytes, now: int) -> SealedOrder:
    """Stateless checks: encoding, the statement against the market's terms, the signature.

    `now` is in unix seconds. Raises OrderRefused naming the field.
    """
    try:
        order = SealedOrder.decode(raw, terms.key)
    except DecodeError as error:
        raise OrderRefused(str(error), "send the canonical encoding of an order of this market") from None
    _check_terms(order, terms)
    _check_times(order, now)
    try:
        check_public(order.statement.fill_key)
    except DecodeError as error:
        raise OrderRefused(f"fill_key: {error.problem}", "send an X25519 public key") from None
    order.check_signature(terms.domain)
    return order


def _check_terms(order: SealedOrder, terms: Terms) -> None:
    market = terms.market
    expected: dict[str, object] = {
        "chain_id": terms.chain_id,
        "contract": terms.contract,
        "venue": terms.venue,
        "market": market.id,
        "p_0": market.grid.p_0,
        "tick": market.grid.tick,
        "levels": market.grid.levels,
        "lot": market.lot,
        "pressure": market.pressure_ticks,
        "policy_hash": terms.policy_hash,
        "terms_hash": terms.hash,
        "auditor_keys": terms.auditor_keys,
    }
    for name, value in expected.items():
        if getattr(order.statement, name) != value:
            raise OrderRefused(
                f"{name}: not that of market {market.name}", hint="fetch the market's terms and seal anew"
            )


def _check_times(order: SealedOrder, now: int) -> None:
    s = order.statement
    days = {(now + slack) // _SECONDS_PER_DAY for slack in (-DAY_SLACK_SECONDS, DAY_SLACK_SECONDS)}
    if s.utc_day not in days:
        raise OrderRefused(f"utc_day: {s.utc_day} is not today ({now // _SECONDS_PER_DAY})", hint="seal anew")
    if s.time_in_force not in set(TimeInForce):
        raise OrderRefused(f"time_in_force: {s.time_in_force} is unknown", hint="use 0, 1 or 2")
    if (s.time_in_force == TimeInForce.GOOD_TILL_TIME) != (s.valid_until != 0):
        raise OrderRefused("valid_until: belongs to time in force 1, and to no other", hint="set it to 0")
    if s.valid_until and s.valid_until <= now:
        raise OrderRefused(f"valid_until: {s.valid_until} has passed ({now})", hint="choose a later time")


class Tentative:
    """What a batch would do to ledger and nonces, order by order, before anything is accepted."""

    def __init__(self, ledger: Ledger, terms: Terms) -> None:
        self._ledger, self._tokens = ledger, (terms.market.base, terms.market.quote)
        self._free: dict[Address, tuple[FreeCollateral, ...]] = {}
        self.nonces: set[tuple[Address, Nonce]] = set()
        self.orders: Counter[Address] = Counter()

    def of(self, account: Address) -> Iterator[FreeCollateral]:
        """The account's F of base and quote as they would be."""
        if account not in self._free:
            self._free[account] = tuple(self._ledger.of(account, token).copy() for token in self._tokens)
        return iter(self._free[account])

    def lock(self, order: SealedOrder) -> None:
        """As if it were accepted."""
        base, quote = self.of(order.account)
        base.decrease(order.sent.c_base)
        quote.decrease(order.sent.c_quote)
        self.nonces.add((order.account, order.nonce))
        self.orders[order.account] += 1

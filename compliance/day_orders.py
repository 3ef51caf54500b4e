"""Every order of an account in a market on some days, by what the venue publishes for everybody.

Prover and verifier of a predicate take them from here, so that both mean the same orders: those listed in
sealed lists and signed in the days, and earlier ones in lists sealed since they began, as in an audit
(compliance/completeness.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from compliance.completeness import Lists, Report, RoundList, check_lists, examine
from compliance.disclosure_api import DisclosureApi
from compliance.opening import Reason
from darkpool.admission import DAY_SLACK_SECONDS
from darkpool.client.answers import MarketInfo
from darkpool.client.venue_api import VenueRefused
from darkpool.errors import OrderRefused, PeerFault
from darkpool.order import SealedOrder, order_hash
from darkpool.types import Address

MAX_ROUNDS: Final = 20_000
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class DayOrders:
    """The orders, each of the bytes listed and signed by the account, and the lists they are from."""

    orders: tuple[SealedOrder, ...]
    lists: Lists

    @property
    def open_points(self) -> tuple[str, ...]:
        """Why there may be others."""
        found = []
        if not self.lists.closed:
            found.append("a list of these days may still follow: do it again later")
        if self.lists.unsigned:
            numbers = ", ".join(map(str, self.lists.unsigned[:8]))
            found.append(f"no member vouches for the lists of rounds {numbers}")
        return tuple(found)


async def day_orders(
    api: DisclosureApi, info: MarketInfo, account: Address, days: tuple[int, int]
) -> DayOrders:
    """The account's orders of those days (first and last, UTC since 1970-01-01). A coroutine of steps.py.

    Raises OrderRefused if no list of them is sealed, PeerFault for lists or bytes that do not hold, and as
    VenueApi.
    """
    market, rounds = info.terms.market.id, []
    first, last = await _needed(api, info, days)
    if last - first >= MAX_ROUNDS:
        raise OrderRefused(f"days: over {MAX_ROUNDS} rounds", "give fewer days")
    raws: dict[bytes, bytes] = {}
    for number in range(first, last + 1):
        view = await api.api.sealed(market, number)
        rounds.append(RoundList(view))
        for leaf in view.leaves:
            if leaf[:20] == account and leaf[-32:] not in raws:
                raws[leaf[-32:]] = await _bytes(api, market, number, leaf[-32:])
    lists = check_lists(rounds, market, days, info.terms.domain, info.tenures)
    report = examine(lists, account, raws, info.terms, info.tenures, ())
    return DayOrders(_sealed(report, raws, info), lists)


def _sealed(report: Report, raws: dict[bytes, bytes], info: MarketInfo) -> tuple[SealedOrder, ...]:
    """Its orders: without a key none opens, and any that is refused for another reason is a fault."""
    for refusal in report.refusals:
        if refusal.reason is not Reason.OUT_OF_SCOPE:
            raise PeerFault(refusal.message, refusal.hint, "venue")
    return tuple(info.order(raws[finding.hash]) for finding in report.findings)


async def _bytes(api: DisclosureApi, market: bytes, number: int, digest: bytes) -> bytes:
    try:
        raw = await api.order(market, number, digest)
    except VenueRefused as refused:
        raise PeerFault(f"it withholds order {digest.hex()}: {refused.message}", peer="venue") from None
    if order_hash(raw) != digest:
        raise PeerFault(f"the bytes it gives for order {digest.hex()} are of another", peer="venue")
    return raw


async def _needed(api: DisclosureApi, info: MarketInfo, days: tuple[int, int]) -> tuple[int, int]:
    """The first and the last round whose list is needed: sealed before the days, and after them."""
    start, end = days[0] * _DAY - DAY_SLACK_SECONDS, (days[1] + 1) * _DAY + DAY_SLACK_SECONDS
    latest = info.round
    if latest and (await _sealed_at(api, info, latest)) is None:
        latest -= 1
    if not latest:
        raise OrderRefused("days: no list of this market is sealed yet", "do it again later")
    before = await _last_before(api, info, latest, start)
    after = await _last_before(api, info, latest, end)
    return max(before, 1), min(after + 1, latest)


async def _last_before(api: DisclosureApi, info: MarketInfo, latest: int, time: int) -> int:
    """The number of the last list sealed before that time (unix seconds), 0 for none."""
    low, high = 0, latest
    while low < high:
        middle = (low + high + 1) // 2
        sealed_at = await _sealed_at(api, info, middle)
        if sealed_at is None:
            raise PeerFault(f"round {middle} is not sealed, and a later one is", peer="venue")
        low, high = (middle, high) if sealed_at < time else (low, middle - 1)
    return low


async def _sealed_at(api: DisclosureApi, info: MarketInfo, number: int) -> int | None:
    return (await api.api.round(info.terms.market.id, number)).sealed_at

"""The file of a predicate, and which orders prover and verifier take from the lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compliance import day_orders as day_orders_module
from compliance.day_orders import DayOrders, day_orders
from compliance.disclosure_api import DisclosureApi
from compliance.predicate_file import PredicateFile, lots_of, proven, view, words
from compliance.predicates import Predicate, verify
from darkpool import jsontext
from darkpool.admission import DAY_SLACK_SECONDS
from darkpool.client.answers import MarketInfo, RoundRecord
from darkpool.client.venue_api import VenueRefused
from darkpool.errors import ConfigError, OrderRefused, PeerFault
from darkpool.market import RoundState
from darkpool.order import SealedOrder
from darkpool.sealed_view import SealedListView
from darkpool.types import Address
from tests.compliance.audit_support import DAY, DAY_SECONDS, a_list, account_of, seed_of, signed
from tests.compliance.audited import ADA
from tests.compliance.policy_case import LISTS, TERMS, market_json, orders


@cache
def info(latest: int = 3) -> MarketInfo:
    return replace(MarketInfo.of(jsontext.parsed(market_json(), "market")), round=latest)


def views(given_orders: dict[str, SealedOrder] | None = None) -> list[SealedListView]:
    known = given_orders or orders()
    return [
        a_list([known[name] for name in names], number, DAY * DAY_SECONDS + after, TERMS)
        for number, (names, after) in LISTS.items()
    ]


class Published:
    """What a venue publishes of some lists: what is asked of VenueApi and of DisclosureApi."""

    def __init__(self, lists: Sequence[SealedListView], *, opened: int = 0, lost: bytes = b"") -> None:
        self.lists, self.opened, self.lost = {v.round: v for v in lists}, opened, lost
        self.api = self
        self.raws = {order.hash: order.raw for order in orders().values()}
        self.asked = 0

    async def round(self, _: bytes, number: int) -> RoundRecord:
        self.asked += 1
        if number == self.opened:
            return RoundRecord(number, RoundState.OPEN, None, None, None)
        return RoundRecord(number, RoundState.NO_CROSS, self.lists[number].sealed_at, None, None)

    async def sealed(self, _: bytes, number: int) -> SealedListView:
        return self.lists[number]

    async def order(self, _: bytes, __: int, digest: bytes) -> bytes:
        if digest == self.lost:
            raise VenueRefused("unknown", "", "order-unknown")
        return self.raws[digest]


def found(at: Published, days: tuple[int, int] = (DAY, DAY), account: Address = ADA) -> DayOrders:
    latest = max([*at.lists, at.opened])
    return asyncio.run(day_orders(cast("DisclosureApi", at), info(latest), account, days))


def names(day: DayOrders) -> list[str]:
    by_hash = {order.hash: name for name, order in orders().items()}
    return [by_hash[order.hash] for order in day.orders]


# --- which orders ---------------------------------------------------------------------------------------


def test_all_orders_of_the_account_on_the_days_are_taken_from_the_lists() -> None:
    day = found(Published(views(), opened=4))
    assert names(day) == ["bare", "bought", "sold", "decoy"]
    assert day.open_points == ()
    assert names(found(Published(views()), account=account_of("ben"))) == ["ben"]
    assert names(found(Published(views()), (DAY + 1, DAY + 1))) == ["tomorrow"]
    assert found(Published(views()), account=account_of("cyd")).orders == ()


def test_what_may_still_follow_is_said() -> None:
    (point,) = found(Published(views()[:2], opened=3)).open_points
    assert "may still follow" in point
    bare = replace(views()[1], signatures={})
    (point,) = found(Published([views()[0], bare, views()[2]])).open_points
    assert point == "no member vouches for the lists of rounds 2"


@pytest.mark.parametrize(
    "alter,problem",
    [
        (lambda v: replace(v, leaves=v.leaves[:-1], sequences=v.sequences[:-1]), "root"),
        (lambda v: replace(v, sealed_at=v.sealed_at - 1), "not signed by member"),
        (lambda v: replace(v, market=b"\x01" * 32), "another market"),
        (lambda v: replace(v, round=9), "follows"),
        (lambda v: signed(v, TERMS, (1, 2)), "signatures"),
    ],
)
def test_lists_that_do_not_hold_are_the_venues_fault(alter: Any, problem: str) -> None:  # noqa: ANN401
    at = Published(views())
    at.lists[2] = alter(at.lists[2])
    with pytest.raises(PeerFault, match=problem):
        found(at)


def test_withheld_or_exchanged_bytes_are_the_venues_fault() -> None:
    with pytest.raises(PeerFault, match="withholds order"):
        found(Published(views(), lost=orders()["sold"].hash))
    at = Published(views())
    at.raws[orders()["sold"].hash] = orders()["bought"].raw
    with pytest.raises(PeerFault, match="are of another"):
        found(at)
    forged = orders()["sold"].raw[:-1] + bytes([orders()["sold"].raw[-1] ^ 1])
    at.raws[orders()["sold"].hash] = forged
    with pytest.raises(PeerFault, match="signature"):
        found(at)


def test_without_a_sealed_list_there_is_nothing_to_say() -> None:
    with pytest.raises(OrderRefused, match="no list of this market is sealed yet"):
        found(Published([], opened=1))


@given(
    gaps=st.lists(st.integers(0, 20_000), min_size=1, max_size=40),
    first=st.integers(0, 6),
    count=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_the_lists_around_the_days_are_fetched_and_no_others(gaps: list[int], first: int, count: int) -> None:
    start, at = DAY * DAY_SECONDS, 0
    lists = []
    for number, gap in enumerate(gaps, 1):
        at += gap
        lists.append(replace(blank(), round=number, sealed_at=start + at))
    begin = (DAY + first) * DAY_SECONDS - DAY_SLACK_SECONDS
    end = (DAY + first + count + 1) * DAY_SECONDS + DAY_SLACK_SECONDS
    venue = Published(lists)
    low, high = asyncio.run(
        day_orders_module._needed(
            cast("DisclosureApi", venue), info(len(lists)), (DAY + first, DAY + first + count)
        )
    )
    before = [v.round for v in lists if v.sealed_at < begin]
    after = [v.round for v in lists if v.sealed_at >= end]
    assert low == max(before, default=1)
    assert high == min(after, default=len(lists))
    assert venue.asked <= 2 * len(lists).bit_length() + 1


@cache
def blank() -> SealedListView:
    return a_list([], 1, DAY * DAY_SECONDS, TERMS)


# --- the file -------------------------------------------------------------------------------------------


@cache
def made() -> PredicateFile:
    bounds = {"max_buy": "0.001", "max_sell": "0.00000014", "net_low": "-0.000001", "net_high": ""}
    return proven(the_day(), info(), ADA, seed_of("ada"), "position limit", bounds)


def test_a_file_reads_back_and_holds() -> None:
    file = PredicateFile.decode(made().encode())
    assert file == made()
    verify(file.proof, the_day().orders, TERMS.key)
    assert dict(file.predicate.bounds()) == {"max_buy": 100_000, "max_sell": 14, "net_low": -100}


@cache
def the_day() -> DayOrders:
    return found(Published(views()))


P = Predicate
WRONG: dict[str, tuple[Callable[[P], P], str]] = {
    "an order too few": (lambda p: replace(p, orders=p.orders[1:]), "the proof omits it"),
    "an order too many": (lambda p: replace(p, orders=(*p.orders, b"\xff" * 32)), "named, but not given"),
    "another account": (lambda p: replace(p, account=account_of("ben")), "its account is not that"),
    "another market": (lambda p: replace(p, market=bytes(32)), "its market is not that"),
    "another vault": (lambda p: replace(p, contract=bytes(20)), "its contract is not that"),
    "another chain": (lambda p: replace(p, chain_id=1), "its chain_id is not that"),
    "another lot": (lambda p: replace(p, lot=p.lot + 1), "its lot is not that"),
    "a tighter bound": (lambda p: replace(p, max_buy=99_999), "max_buy: the proof does not hold"),
    "a looser bound": (lambda p: replace(p, max_buy=100_001), "max_buy: the proof does not hold"),
    "another side": (lambda p: replace(p, max_buy=14, max_sell=100_000), "the proof does not hold"),
    "a bound the less": (lambda p: replace(p, net_low=None), "the proof does not hold|proofs"),
    "another purpose": (lambda p: replace(p, purpose="all is well"), "the proof does not hold"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_proof_of_something_else_is_refused(kind: str) -> None:
    alter, problem = WRONG[kind]
    bad = replace(made().proof, predicate=alter(made().predicate))
    with pytest.raises(OrderRefused, match=problem):
        verify(bad, the_day().orders, TERMS.key)


def test_the_orders_of_other_days_are_not_those_of_the_proof() -> None:
    for days in ((DAY, DAY + 1), (DAY + 1, DAY + 1), (DAY - 1, DAY)):
        other = found(Published(views()), days)
        if names(other) != names(the_day()):
            with pytest.raises(OrderRefused, match=r"the proof omits it|named, but not given"):
                verify(made().proof, other.orders, TERMS.key)


@given(place=st.integers(0, 1 << 20), flip=st.integers(1, 255))
@settings(max_examples=15, deadline=None)
def test_no_byte_of_a_file_can_be_changed(place: int, flip: int) -> None:
    raw = bytearray(made().encode())
    raw[place % len(raw)] ^= flip
    try:
        file = PredicateFile.decode(bytes(raw))
    except OrderRefused:
        return
    if (file.first_day, file.last_day) != (DAY, DAY):  # which lists are fetched follows from them
        assert file.proof == made().proof
        return
    with pytest.raises(OrderRefused):
        verify(file.proof, the_day().orders, TERMS.key)


@pytest.mark.parametrize("raw", [b"", b"\x00" * 40, made().encode()[:-1], made().encode() + b"\x00"])
def test_the_form_is_strict(raw: bytes) -> None:
    with pytest.raises(OrderRefused, match="predicate"):
        PredicateFile.decode(raw)


def test_days_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(OrderRefused, match="first_day: after the last"):
        PredicateFile.decode(replace(made(), first_day=DAY + 1).encode())


def test_another_keystore_or_no_order_proves_nothing() -> None:
    at = Published(views())
    with pytest.raises(OrderRefused, match="this keystore does not open it"):
        proven(found(at), info(), ADA, seed_of("ben"), "x", {"max_buy": "1"})
    with pytest.raises(OrderRefused, match="no sealed list of these days"):
        proven(found(at, account=account_of("cyd")), info(), ADA, seed_of("ada"), "x", {"max_buy": "1"})


def test_words_say_what_is_proven_and_what_is_not() -> None:
    yes, no = words(made(), info(), ("a list may still follow",))
    assert len(yes) == 4
    assert "at most 0.001 BASE" in yes[1]
    assert "at least -0.000001 BASE" in yes[3]
    assert no[0].endswith("a list may still follow")
    assert any("one side may trade" in line for line in no)
    shown = view(made(), info(), ())
    assert shown["bounds"] == {"max_buy": "0.001", "max_sell": "0.00000014", "net_low": "-0.000001"}
    assert not any("70000" in str(value) or "0.0007" in str(value) for value in shown.values())


@pytest.mark.parametrize("text", ["", "-", "1e3", "0.000000001", "--1", "+1", "1,5", "9" * 19, "∞"])
def test_an_amount_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="net-low"):
        lots_of(text, info().instrument.base, 10, "net-low")

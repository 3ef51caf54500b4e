"""Completeness: an auditor with one day of one market of one account sees exactly those; hiding is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from commitments import merkle
from compliance.auditor import Auditor, box_key
from compliance.completeness import Lists, Report, RoundList, check_consumed, check_lists, examine
from compliance.fills import check_settled, round_fills
from compliance.grant_checks import check_grant, open_grant
from compliance.grants import Grant, Header
from compliance.opening import Reason
from compliance.view_keys import ViewKey, covering
from darkpool.certificates import abandon_digest
from darkpool.errors import ConfigError, PeerFault
from darkpool.listing import RoundResult
from darkpool.order import SealedOrder
from darkpool.tenure import Tenures
from darkpool.types import Lots, Tick
from tests.compliance.audit_support import (
    DAY,
    DAY_SECONDS,
    TERMS,
    a_list,
    account_of,
    market_of,
    sealed,
    seed_of,
    signed,
)
from tests.succession import other_seats
from tests.venue_support import BASE, QUOTE, buy, key_of, sell, signatures_of, tenures

ADA, BEN = account_of("ada"), account_of("ben")
BOX = box_key(b"\x07" * 32)


@cache
def orders() -> dict[str, SealedOrder]:
    """What two accounts sent around one day."""
    return {
        "standing": sealed("ada", buy(1, 11), DAY - 1, 0),
        "yesterday": sealed("ada", buy(1, 12), DAY - 1, 1),
        "first": sealed("ada", buy(2, 13), DAY, 2),
        "second": sealed("ada", sell(3, 14), DAY, 3),
        "late": sealed("ada", buy(0, 15), DAY, 4),
        "tomorrow": sealed("ada", buy(0, 16), DAY + 1, 5),
        "ben": sealed("ben", sell(1, 17), DAY, 0),
    }


def of(*names: str) -> list[SealedOrder]:
    return [orders()[name] for name in names]


def bytes_of(*names: str) -> dict[bytes, bytes]:
    return {order.hash: order.raw for order in of(*names)}


ALL = ("standing", "yesterday", "first", "second", "late", "tomorrow", "ben")


@cache
def rounds() -> tuple[RoundList, ...]:
    """One round the day before, two in the day, one just after it."""
    at = DAY * DAY_SECONDS
    lists = (
        a_list(of("standing", "yesterday"), 4, at - 3_600),
        a_list(of("standing", "ben", "first"), 5, at + 3_600),
        a_list(of("first", "second"), 6, at + 7_200),
        a_list(of("late", "tomorrow"), 7, at + DAY_SECONDS + 90),
    )
    return tuple(map(RoundList, lists))


def checked(lists: tuple[RoundList, ...] | None = None, days: tuple[int, int] = (DAY, DAY)) -> Lists:
    return check_lists(rounds() if lists is None else lists, TERMS.market.id, days, TERMS.domain, tenures())


def keys(*standing: tuple[int, int]) -> tuple[ViewKey, ...]:
    return covering(seed_of("ada"), market_of("ada"), DAY, DAY, standing)


def report(given: dict[bytes, bytes], *standing: tuple[int, int]) -> Report:
    return examine(checked(), ADA, given, TERMS, tenures(), keys(*standing))


# --- exactly what was granted -----------------------------------------------------------------------


def test_an_auditor_sees_exactly_the_day_of_the_market_of_the_account() -> None:
    """By a grant, as an auditor gets it; of two earlier orders only the one that still stood."""
    eve = Auditor(account_of("eve"), BOX.public)
    now = DAY * DAY_SECONDS
    header = Header(TERMS.domain, ADA, TERMS.market.id, DAY, DAY, eve, "a test", now, now + 9, 0)
    grant = Grant.issue(header, seed_of("ada"), key_of("ada"), [(DAY - 1, 0)])
    check_grant(grant, TERMS.domain, now)
    found = examine(checked(), ADA, bytes_of(*ALL), TERMS, tenures(), open_grant(grant, BOX))
    assert {o.nonce: o.quantity for o in found.opened} == {0: 11, 2: 13, 3: 14, 4: 15}
    assert found.complete
    assert found.later == 1
    assert {f.nonce: f.rounds for f in found.findings} == {0: (4, 5), 2: (5, 6), 3: (6,), 4: (7,)}
    assert examine(checked(), BEN, bytes_of(*ALL), TERMS, tenures(), open_grant(grant, BOX)).opened == ()


def test_orders_sealed_to_a_key_that_is_no_more_open_all_the_same() -> None:
    first, other = tenures().first, other_seats()[0].committee.key
    later = Tenures((first, replace(first, key=other, key_epoch=1, since=DAY * DAY_SECONDS * 2)))
    present = replace(TERMS, key=other)
    found = examine(checked(), ADA, bytes_of(*ALL), present, later, keys((DAY - 1, 0)))
    assert found.opened == report(bytes_of(*ALL), (DAY - 1, 0)).opened
    unknown = examine(checked(), ADA, bytes_of(*ALL), present, Tenures((later.current,)), keys((DAY - 1, 0)))
    assert {refusal.reason for refusal in unknown.refusals} == {Reason.OTHER_MARKET}


def test_orders_of_a_list_come_in_its_order() -> None:
    found = report(bytes_of(*ALL), (DAY - 1, 0))
    assert [o.nonce for o in found.in_round(5) or ()] == [0, 2]
    assert report(bytes_of(*ALL)).in_round(5) is None  # the standing order has no key


# --- hidden orders ----------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["standing", "first", "second", "late"])
def test_an_order_nobody_shows_is_found(hidden: str) -> None:
    found = report(bytes_of(*(name for name in ALL if name != hidden)), (DAY - 1, 0))
    (refusal,) = found.refusals
    assert (refusal.order, refusal.reason) == (orders()[hidden].hash, Reason.MISSING)
    assert not found.complete


def test_an_earlier_order_that_stood_and_has_no_key_is_found() -> None:
    (refusal,) = report(bytes_of(*ALL)).refusals
    assert (refusal.order, refusal.reason) == (orders()["standing"].hash, Reason.OUT_OF_SCOPE)


@pytest.mark.parametrize("instead", ["tomorrow", "yesterday", "second"])
def test_other_bytes_cannot_argue_an_order_away(instead: str) -> None:
    """Bytes of an order of another day, in the place of the hidden one."""
    given = {**bytes_of(*ALL), orders()["first"].hash: orders()[instead].raw}
    found = report(given, (DAY - 1, 0))
    (refusal,) = found.refusals
    assert (refusal.order, refusal.reason) == (orders()["first"].hash, Reason.NOT_LISTED)


def test_an_order_left_out_of_a_list_changes_its_root() -> None:
    whole = rounds()[1].sealed
    shorter = replace(whole, leaves=whole.leaves[:-1], sequences=whole.sequences[:-1])
    with pytest.raises(PeerFault, match="do not have its root"):
        checked((rounds()[0], RoundList(shorter), *rounds()[2:]))
    rerooted = replace(shorter, root=merkle.root(shorter.leaves))
    with pytest.raises(PeerFault, match="not signed by member 1"):
        checked((rounds()[0], RoundList(rerooted), *rounds()[2:]))
    unsigned = RoundList(replace(rerooted, signatures={}))
    lists = checked((rounds()[0], unsigned, *rounds()[2:]))
    assert lists.unsigned == (5,)
    assert not examine(lists, ADA, bytes_of(*ALL), TERMS, tenures(), keys((DAY - 1, 0))).complete


# --- lists ------------------------------------------------------------------------------------------


def test_a_list_left_out_is_found() -> None:
    a, b, c, d = rounds()
    for lists, problem in (
        ((a, c, d), "6 follows 4"),
        ((b, c, d), "those before 5 are missing"),
        ((a, b, d, c), "7 follows 5"),
        ((a, b, b, c), "5 follows 5"),
    ):
        with pytest.raises(PeerFault, match=problem):
            checked(lists)
    assert checked().closed
    assert not checked((a, b, c)).closed
    assert not examine(checked((a, b, c)), ADA, bytes_of(*ALL), TERMS, tenures(), keys((DAY - 1, 0))).complete


def test_the_first_round_of_a_market_needs_none_before_it() -> None:
    first = RoundList(a_list(of("first"), 1))
    assert checked((first,)).rounds == (first,)


@pytest.mark.parametrize(
    "lists,days,error",
    [((), (DAY, DAY), ConfigError), (None, (DAY, DAY - 1), ConfigError)],
)
def test_no_days_and_no_lists_are_refused(
    lists: tuple[RoundList, ...] | None, days: tuple[int, int], error: type[Exception]
) -> None:
    with pytest.raises(error, match="audit"):
        checked(lists, days)


@pytest.mark.parametrize(
    "spoil,problem",
    [
        (lambda v: signed(replace(v, market=bytes(32))), "another market"),
        (lambda v: signed(replace(v, sealed_at=1)), "older than the one before"),
        (lambda v: signed(v, members=(1, 2)), "2/3 signatures"),
        (lambda v: replace(v, sealed_at=v.sealed_at + 1), "not signed by member"),
        (lambda v: replace(v, signatures={**v.signatures, 9: v.signatures[1]}), "not signed by member 9"),
    ],
)
def test_a_list_that_is_not_the_members_is_refused(spoil: Callable[..., object], problem: str) -> None:
    a, b, c, d = rounds()
    bad = RoundList(spoil(c.sealed))  # type: ignore[arg-type]
    with pytest.raises(PeerFault, match=problem):
        checked((a, b, bad, d))


def test_an_abandoned_list_is_vouched_for_by_its_abandonment() -> None:
    a, b, c, d = rounds()
    digest = abandon_digest(TERMS.domain, c.sealed.digest(TERMS.domain))
    bare = replace(c.sealed, signatures={})
    promised = RoundList(bare, tuple(signatures_of(digest, (1, 2))))
    assert checked((a, b, promised, d)).unsigned == ()
    with pytest.raises(PeerFault, match="do not have its root"):
        checked((a, b, replace(promised, sealed=replace(bare, leaves=bare.leaves[:1])), d))
    for bad in (signatures_of(digest, (1,)), signatures_of(bytes(32), (1, 2))):
        with pytest.raises(PeerFault, match="abort of round 6"):
            checked((a, b, RoundList(bare, tuple(bad)), d))


# --- consumed orders --------------------------------------------------------------------------------


def test_an_order_that_traded_must_not_be_sealed_again() -> None:
    lists = checked()
    traded = RoundResult(True, Tick(1), Lots(5), {ADA: 5, BEN: -5})
    check_consumed(lists, ADA, {6: traded})
    check_consumed(lists, ADA, {5: replace(traded, nets={BEN: 0})})
    with pytest.raises(PeerFault, match="consumed in round 5 and sealed again"):
        check_consumed(lists, ADA, {5: traded})


# --- false fills ------------------------------------------------------------------------------------


def test_a_false_fill_of_opened_orders_is_caught() -> None:
    opened = report(bytes_of(*ALL), (DAY - 1, 0)).in_round(6)
    assert opened is not None
    true = RoundResult(True, Tick(2), Lots(20), {ADA: 13, BEN: -13})
    assert [(f.opened.nonce, f.filled) for f in round_fills(true, ADA, opened)] == [(2, 13), (3, 0)]
    check_settled([(TERMS, true)], ADA, {BASE: 13 * 7, QUOTE: -13 * 1_020})
    for false in (replace(true, nets={ADA: 14}), replace(true, nets={ADA: -1}), replace(true, price=Tick(3))):
        with pytest.raises(PeerFault, match="false fill"):
            round_fills(false, ADA, opened)
    with pytest.raises(PeerFault, match="false fill: the chain moved 84"):
        check_settled([(TERMS, true)], ADA, {BASE: 12 * 7, QUOTE: -13 * 1_020})

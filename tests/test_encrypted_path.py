"""The encrypted path against the auction in the clear, on random books over several rounds.

`Run` compares price, volume, fills, nets, balances and nullifiers with a plain recomputation and raises if
any differs; here the outcomes are also compared with the rule itself, evaluated once more outside of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkpool.auction import PlainBook, PlainOrder, clear
from darkpool.chain import Chain
from darkpool.market import Side
from darkpool.plan import Options
from darkpool.run import CheckFailed, RoundOutcome, Run, RunReport
from darkpool.types import Lots, RoundId, Tick
from tests.encrypted import INSECURE_TEST, Committee, plan_of, running, seats
from tests.strategies import RandomBook, RandomSession, books, sessions


@pytest.fixture(scope="module")
def committee() -> Iterator[Committee]:
    with running(seats(INSECURE_TEST)) as started:
        yield started


def _options(levels: int, pressure: int, volume: int, *, renew: bool = False) -> Options:
    return Options(
        "0.01", INSECURE_TEST, levels=levels, pressure_ticks=pressure, min_volume=volume, renew=renew
    )


def _run_book(committee: Committee, book: RandomBook) -> None:
    prepared = plan_of(book.levels, [(book.reference, book.orders)])
    report = committee.execute(prepared, _options(book.levels, book.pressure_ticks, book.min_volume))
    if not book.orders:
        assert report.rounds == []  # nothing to seal
        return
    (outcome,) = report.rounds
    expected = clear(book.orders, book.levels, book.reference, book.pressure_ticks, book.min_volume)
    result = outcome.result
    assert result.crossed == (expected is not None)
    if expected is not None:
        assert (result.price, result.volume) == (expected.price, expected.volume)
        assert tuple(lots for _, _, lots in outcome.fills) == expected.fills


def _run_session(committee: Committee, session: RandomSession, *, renew: bool) -> None:
    prepared = plan_of(session.levels, session.rounds)
    options = _options(session.levels, session.pressure_ticks, session.min_volume, renew=renew)
    report = committee.execute(prepared, options)
    _replay(report, session.rounds, options)


def _replay(report: RunReport, rounds: Sequence[tuple[Tick, Sequence[PlainOrder]]], options: Options) -> None:
    plain = PlainBook(options.levels, options.pressure_ticks, Lots(options.min_volume))
    number = 0
    outcomes = {outcome.closed.round.id: outcome for outcome in report.rounds}
    for round_id, (reference, orders) in enumerate(rounds, 1):
        for order in orders:
            number += 1
            plain.add(str(number), order)
        expected = plain.clear(reference)
        fills = outcomes[RoundId(round_id)].fills if RoundId(round_id) in outcomes else ()
        assert {order_id: lots for order_id, _, lots in fills} == expected.fills
        if options.renew:
            plain.renew(expected)


few = settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
many = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(book=books(levels=8, max_orders=8, max_accounts=4))
def test_random_books(committee: Committee, book: RandomBook) -> None:
    _run_book(committee, book)


@pytest.mark.slow
@few
@given(session=sessions(levels=4, max_rounds=3, max_orders=4), renew=st.booleans())
def test_random_sessions_roll_and_renew(committee: Committee, session: RandomSession, renew: bool) -> None:
    _run_session(committee, session, renew=renew)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@many
@given(book=books(max_orders=10))
def test_many_random_books(committee: Committee, book: RandomBook) -> None:
    _run_book(committee, book)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@many
@given(session=sessions(max_rounds=4, max_orders=6), renew=st.booleans())
def test_many_random_sessions(committee: Committee, session: RandomSession, renew: bool) -> None:
    _run_session(committee, session, renew=renew)


def _order(account: str, side: Side, tick: int, lots: int) -> PlainOrder:
    return PlainOrder(account, side, Tick(tick), Lots(lots))


def test_the_marginal_tick_at_both_edges_of_the_grid_and_across_ciphertexts(committee: Committee) -> None:
    # 16 levels are 32 values in 4 ciphertexts of 8: the price and u lie in different ones.
    buys = [_order("A", Side.BUY, 15, 30), _order("B", Side.BUY, 15, 30), _order("C", Side.BUY, 3, 50)]
    book = RandomBook(16, Tick(2), 0, Lots(1), (*buys, _order("D", Side.SELL, 0, 45)))
    _run_book(committee, book)
    sells = [_order("A", Side.SELL, 0, 30), _order("B", Side.SELL, 0, 30), _order("C", Side.SELL, 12, 50)]
    _run_book(committee, RandomBook(16, Tick(12), 0, Lots(1), (*sells, _order("D", Side.BUY, 15, 45))))


def test_the_largest_quantities_do_not_overflow(committee: Committee) -> None:
    most = 2**32 - 1
    orders = [_order(a, Side.BUY, 2, most) for a in "ABC"] + [_order(a, Side.SELL, 1, most) for a in "DE"]
    _run_book(committee, RandomBook(4, Tick(2), 0, Lots(1), tuple(orders)))


def test_a_round_with_nothing_in_it_is_not_cleared(committee: Committee) -> None:
    report = committee.execute(plan_of(4, [(Tick(2), ())]), _options(4, 0, 1))
    assert report.rounds == []
    assert committee.house.engine.state.sealed is None


def test_the_comparison_notices_a_wrong_fill(committee: Committee, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check inside `Run` can fail: one lot more in the plain book and it does."""
    add = PlainBook.add

    def one_more(self: PlainBook, order_id: str, order: PlainOrder) -> None:
        add(self, order_id, PlainOrder(order.account, order.side, order.tick, Lots(order.quantity + 1)))

    monkeypatch.setattr(PlainBook, "add", one_more)
    book = plan_of(4, [(Tick(2), [_order("A", Side.BUY, 2, 5), _order("B", Side.SELL, 2, 5)])])
    with pytest.raises(CheckFailed, match="volume differs"):
        committee.execute(book, _options(4, 0, 1))


def test_the_comparison_reads_the_chain(committee: Committee, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expectations that forget one desk's net do not match what the chain holds."""
    check = Run._check_chain

    def forgetful(self: Run, rounds: Sequence[RoundOutcome], chain: Chain) -> None:
        for desk in self._desks.values():
            desk.nets[0] += 1
        check(self, rounds, chain)

    monkeypatch.setattr(Run, "_check_chain", forgetful)
    book = plan_of(4, [(Tick(2), [_order("A", Side.BUY, 2, 5), _order("B", Side.SELL, 2, 5)])])
    with pytest.raises(CheckFailed, match="balance on chain differs"):
        committee.execute(book, _options(4, 0, 1))

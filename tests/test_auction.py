"""The plain auction against published examples, a second evaluation of the rule, and its invariants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkpool.auction import BookEntry, Outcome, PlainBook, PlainOrder, clear, curves
from darkpool.market import MAX_LOTS, Side
from darkpool.orderfile import Outside, place
from darkpool.types import Lots, Tick
from tests.auction_examples import EDGE, PUBLISHED, Published, parse
from tests.shared_data import AuctionCase, auction_cases
from tests.strategies import RandomBook, RandomSession, books, sessions


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.source)
def test_published_examples(case: Published) -> None:
    levels = 64
    numbers = [int(w) for item in case.orders.split(",") if (w := item.split()[-1]) != "market"]
    bottom = (min([*numbers, case.reference]) + max([*numbers, case.reference])) // 2 - levels // 2
    orders = parse(case.orders, bottom, levels)
    outcome = clear(orders, levels, Tick(case.reference - bottom), case.pressure, Lots(1))
    assert outcome is not None
    assert (bottom + outcome.price, outcome.volume) == (case.price, case.volume)
    if case.filled:
        assert list(outcome.fills) == [int(filled) for filled in case.filled.split()]


def test_xetra_7_nothing_is_executable() -> None:
    orders = parse("buy 80 @ 200, buy 80 @ 199, sell 80 @ 201", 180, 64)
    assert clear(orders, 64, Tick(20), EDGE, Lots(1)) is None


@pytest.mark.parametrize("reference,price", [(199, 200), (200, 200), (203, 201)])
def test_balanced_ticks_between_the_limits_are_candidates_here(reference: int, price: int) -> None:
    # Xetra's example 4 looks at the limits 199 and 202 alone, each with a surplus of 100, and takes 199 for
    # a reference of 199 or 200. All ticks are candidates in our rule, and 200 and 201 have no surplus at all.
    orders = parse("buy 100 @ market, buy 100 @ 199, sell 100 @ market, sell 100 @ 202", 180, 64)
    outcome = clear(orders, 64, Tick(reference - 180), EDGE, Lots(1))
    assert outcome is not None
    assert (180 + outcome.price, outcome.volume) == (price, 100)


@pytest.mark.parametrize("case", auction_cases())
def test_shared_cases(case: AuctionCase) -> None:
    grid = case.grid()
    levels = [place(row, grid) for row in case.rows]
    orders = [
        PlainOrder(row.account, row.side, level, row.quantity)
        for row, level in zip(case.rows, levels, strict=True)
        if not isinstance(level, Outside)
    ]
    assert len(orders) == len(case.rows)
    outcome = clear(orders, grid.levels, case.reference_level(), case.pressure_ticks, Lots(1))
    if case.price is None:
        assert outcome is None
        assert (case.volume, set(case.filled)) == (0, {0})
        return
    assert outcome is not None
    assert (grid.first_tick + outcome.price, outcome.volume) == (case.price, case.volume)
    assert outcome.fills == case.filled


# --- a second evaluation, independent of the first ---------------------------------------------------


def ab_form(book: RandomBook) -> tuple[int, int, Side, int, bool, list[int]] | None:
    """The rule in its a/b form: price, V, long side, u, exact, fills; None below V_min.

    X = D - S falls; a is the last tick where X >= 0 and may be -1, b = a + 1 may be T. Only a, b and the
    plateaus of equal X beside them can win.
    """
    T, ref, L = book.levels, book.reference, book.pressure_ticks
    D, S = running_sums(book)
    X = [d - s for d, s in zip(D, S, strict=True)]
    a = sum(x >= 0 for x in X) - 1
    b = a + 1
    left = (S[a], -X[a]) if a >= 0 else (-1, 0)
    right = (D[b], X[b]) if b < T else (-1, 0)
    V = max(left[0], right[0])
    if book.min_volume > V:
        return None
    lo = X.index(X[a]) if a >= 0 else b
    hi = T - 1 - X[::-1].index(X[b]) if b < T else a
    if left > right:
        price = min(max(ref + (L if X[a] else 0), lo), a)
    elif right > left:
        price = min(max(ref - L, b), hi)
    else:
        price = min(max(ref, lo), hi)
    long = Side.BUY if X[price] >= 0 else Side.SELL
    if long is Side.BUY:
        u = max(i for i in range(T) if D[i] >= V)
        better, exact = D[u + 1] if u + 1 < T else 0, D[u] == V
    else:
        u = min(i for i in range(T) if S[i] >= V)
        better, exact = S[u - 1] if u else 0, S[u] == V
    return price, V, long, u, exact, fills_by_cut(book.orders, price, long, u, V - better)


def running_sums(book: RandomBook) -> tuple[list[int], list[int]]:
    at_tick = {side: [0] * book.levels for side in Side}
    for order in book.orders:
        at_tick[order.side][order.tick] += order.quantity
    demand = list(accumulate(reversed(at_tick[Side.BUY])))[::-1]
    return demand, list(accumulate(at_tick[Side.SELL]))


def fills_by_cut(orders: Sequence[PlainOrder], price: int, long: Side, u: int, spare: int) -> list[int]:
    """One pass in arrival order: `spare` lots are left for the long side's orders at u."""
    fills = []
    for order in orders:
        sign = 1 if order.side is Side.BUY else -1
        last = u if order.side is long else price
        rank = sign * (order.tick - last)
        fill = order.quantity if rank > 0 or (rank == 0 and order.side is not long) else 0
        if rank == 0 and order.side is long:
            fill = Lots(min(spare, order.quantity))
            spare -= fill
        fills.append(fill)
    return [int(fill) for fill in fills]


def run(book: RandomBook) -> Outcome | None:
    return clear(book.orders, book.levels, book.reference, book.pressure_ticks, book.min_volume)


@given(books())
def test_both_evaluations_agree(book: RandomBook) -> None:
    assert agree(book)


def agree(book: RandomBook) -> bool:
    outcome, second = run(book), ab_form(book)
    if outcome is None or second is None:
        return outcome is None and second is None
    first = (outcome.price, outcome.volume, outcome.long_side, outcome.marginal, outcome.exact)
    return first == second[:5] and list(outcome.fills) == second[5]


@pytest.mark.parametrize("pressure", [0, 1, 4])
@pytest.mark.parametrize("reference", range(4))
@pytest.mark.parametrize(
    "orders",
    [
        "sell 5 @ 0, buy 3 @ 3",  # X < 0 everywhere: a = -1
        "sell 5 @ 0, buy 5 @ 3",  # X = 0 everywhere: b = T
        "sell 3 @ 0, buy 5 @ 3",  # X > 0 everywhere: b = T
        "sell 2 @ 0, buy 1 @ 3, sell 1 @ 2",  # a = -1 with a plateau at the bottom edge
        "buy 2 @ 3, sell 1 @ 0, buy 1 @ 1",  # b = T with a plateau at the top edge
        "buy 2 @ 3, buy 2 @ 0, sell 2 @ 0, sell 2 @ 3",  # X = 2, 0, 0, -2: balanced between the limits
        "buy 1 @ 3, buy 1 @ 1, sell 1 @ 0, sell 1 @ 2",  # X = 1, 1, -1, -1: mixed surplus
        "buy 1 @ 0, sell 1 @ 3",  # nothing crosses
        "buy 1 @ 3",
        "sell 1 @ 0",
        "buy 0 @ 3, sell 0 @ 0",
    ],
)
def test_both_evaluations_agree_at_the_edges(orders: str, reference: int, pressure: int) -> None:
    assert agree(RandomBook(4, Tick(reference), pressure, Lots(1), tuple(parse(orders, 0, 4))))


# --- invariants --------------------------------------------------------------------------------------


@given(books())
def test_fills_are_fair(book: RandomBook) -> None:
    outcome = run(book)
    if outcome is None:
        demand, supply = curves(book.orders, book.levels)
        assert all(min(d, s) < book.min_volume for d, s in zip(demand, supply, strict=True))
        return
    filled = list(zip(book.orders, outcome.fills, strict=True))
    for order, fill in filled:
        assert 0 <= fill <= order.quantity
        within = order.tick >= outcome.price if order.side is Side.BUY else order.tick <= outcome.price
        assert within or fill == 0
    for side in Side:
        assert sum(fill for order, fill in filled if order.side is side) == outcome.volume
        queue = [
            (o.tick if side is Side.SELL else -o.tick, k) for k, o in enumerate(book.orders) if o.side is side
        ]
        partial = False
        for _, k in sorted(queue):  # price, then time: after an order that waits nobody trades
            assert not (partial and outcome.fills[k])
            partial = partial or outcome.fills[k] < book.orders[k].quantity
    assert sum(outcome.bought.values()) == sum(outcome.sold.values()) == outcome.volume
    assert sum(map(outcome.base_net, outcome.traded)) == 0


@given(books(), st.data())
def test_decoys_change_nothing(book: RandomBook, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(book.orders)))
    tick = Tick(data.draw(st.integers(0, book.levels - 1)))
    decoy = PlainOrder("zoe", data.draw(st.sampled_from(Side)), tick, Lots(0))
    before, after = run(book), run(replace(book, orders=(*book.orders[:at], decoy, *book.orders[at:])))
    if before is None or after is None:
        assert before is after
        return
    assert after == replace(before, fills=(*before.fills[:at], Lots(0), *before.fills[at:]))


@given(books())
def test_the_mirror_image_clears_at_the_mirrored_price(book: RandomBook) -> None:
    def flip(tick: int) -> Tick:
        return Tick(book.levels - 1 - tick)

    mirrored = replace(
        book,
        reference=flip(book.reference),
        orders=tuple(replace(o, side=o.side.opposite, tick=flip(o.tick)) for o in book.orders),
    )
    outcome, image = run(book), run(mirrored)
    if outcome is None or image is None:
        assert outcome is image
        return
    assert (image.price, image.volume, image.fills) == (flip(outcome.price), outcome.volume, outcome.fills)
    assert (image.bought, image.sold) == (outcome.sold, outcome.bought)


def test_a_plain_order_shows_no_content() -> None:
    assert repr(PlainOrder("ada", Side.BUY, Tick(3), Lots(7))) == "PlainOrder(account='ada')"


@pytest.mark.parametrize(
    "order,levels,reference,pressure,min_volume,named",
    [
        ((0, 1), 1, 0, 0, 1, "levels"),
        ((0, 1), 257, 0, 0, 1, "levels"),
        ((0, 1), 4, 4, 0, 1, "reference"),
        ((0, 1), 4, -1, 0, 1, "reference"),
        ((0, 1), 4, 0, -1, 1, "pressure_ticks"),
        ((0, 1), 4, 0, 0, 0, "min_volume"),
        ((4, 1), 4, 0, 0, 1, "order 0: its tick"),
        ((-1, 1), 4, 0, 0, 1, "order 0: its tick"),
        ((0, -1), 4, 0, 0, 1, "order 0: its quantity"),
        ((0, MAX_LOTS + 1), 4, 0, 0, 1, "order 0: its quantity"),
    ],
)
def test_impossible_inputs_are_refused(
    order: tuple[int, int], levels: int, reference: int, pressure: int, min_volume: int, named: str
) -> None:
    bad = PlainOrder("ada", Side.BUY, Tick(order[0]), Lots(order[1]))
    with pytest.raises(ValueError, match=named):
        clear([bad], levels, Tick(reference), pressure, Lots(min_volume))


# --- several rounds ----------------------------------------------------------------------------------


def ids(entries: Sequence[BookEntry]) -> list[str]:
    return [entry.order_id for entry in entries]


def test_orders_of_accounts_that_traded_are_consumed_and_others_roll() -> None:
    book = PlainBook(levels=8)
    for order_id, account, side, tick, quantity in [
        ("1", "ada", Side.BUY, 5, 10),  # trades 6 of 10
        ("2", "ada", Side.SELL, 7, 4),  # trades nothing, but its account does
        ("3", "ben", Side.BUY, 2, 5),  # rolls
        ("4", "cyd", Side.SELL, 4, 6),  # trades whole
        ("5", "dov", Side.SELL, 6, 3),  # rolls
        ("6", "cyd", Side.BUY, 0, 0),  # a decoy, consumed with its account, never renewed
    ]:
        book.add(order_id, PlainOrder(account, side, Tick(tick), Lots(quantity)))

    first = book.clear(Tick(4))
    assert first.outcome is not None
    assert (first.outcome.price, first.outcome.volume) == (4, 6)
    assert first.fills == {"1": 6, "2": 0, "3": 0, "4": 6, "5": 0, "6": 0}
    assert first.nets(first_tick=100) == {"ada": (6, -624), "cyd": (-6, 624)}
    assert ids(first.consumed) == ["1", "2", "4", "6"]
    assert ids(first.rolled) == ids(book.resting) == ["3", "5"]
    assert [(e.order_id, e.order.quantity) for e in first.remainders] == [("1", 4), ("2", 4)]

    book.add("7", PlainOrder("eve", Side.SELL, Tick(2), Lots(7)))
    book.renew(first)
    assert ids(book.resting) == ["3", "5", "7", "1", "2"]  # renewed at new time priority
    second = book.clear(Tick(4))
    assert second.fills == {"3": 3, "5": 0, "7": 7, "1": 4, "2": 0}
    assert second.outcome is not None
    assert second.outcome.price == 2


def test_below_the_minimum_all_roll_in_their_order() -> None:
    book = PlainBook(levels=4, min_volume=Lots(5))
    book.add("a", PlainOrder("ada", Side.BUY, Tick(3), Lots(4)))
    book.add("b", PlainOrder("ben", Side.SELL, Tick(0), Lots(9)))
    result = book.clear(Tick(1))
    assert (result.outcome, result.consumed, result.remainders) == (None, (), ())
    assert result.fills == {"a": 0, "b": 0}
    assert result.nets(10) == {}
    assert ids(book.resting) == ["a", "b"]


def test_an_account_that_trades_with_itself_has_traded() -> None:
    book = PlainBook(levels=4)
    book.add("a", PlainOrder("ada", Side.BUY, Tick(3), Lots(4)))
    book.add("b", PlainOrder("ada", Side.SELL, Tick(0), Lots(4)))
    result = book.clear(Tick(1))
    assert result.nets(10) == {"ada": (0, 0)}
    assert book.resting == ()


def test_an_id_rests_once() -> None:
    book = PlainBook(levels=4)
    book.add("a", PlainOrder("ada", Side.BUY, Tick(3), Lots(4)))
    with pytest.raises(ValueError, match="order a is in the book already"):
        book.add("a", PlainOrder("ben", Side.BUY, Tick(3), Lots(4)))


@given(sessions(), st.booleans())
def test_a_session_conserves_every_lot(session: RandomSession, renew: bool) -> None:
    book = PlainBook(session.levels, session.pressure_ticks, session.min_volume)
    sent: dict[str, PlainOrder] = {}
    filled: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for number, (reference, arrivals) in enumerate(session.rounds):
        for k, order in enumerate(arrivals):
            sent[f"{number}/{k}"] = order
            book.add(f"{number}/{k}", order)
        before = book.resting
        result = book.clear(reference)
        assert result.entries == before
        assert sorted(ids(result.consumed) + ids(result.rolled)) == sorted(ids(before))
        assert ids(result.rolled) == [i for i in ids(before) if i in ids(result.rolled)]
        filled.update(result.fills)
        for column in (0, 1):
            assert sum(net[column] for net in result.nets(1_000).values()) == 0
        if result.outcome is None:
            assert book.resting == before
        else:
            assert result.outcome.volume >= session.min_volume
            assert not {e.order.account for e in result.rolled} & result.outcome.traded
        if renew:
            book.renew(result)
        else:
            lost.update({e.order_id: e.order.quantity for e in result.remainders})
    resting = {e.order_id: e.order.quantity for e in book.resting}
    for order_id, order in sent.items():
        assert filled[order_id] + resting.get(order_id, 0) + lost[order_id] == order.quantity

"""What fills can have brought an account: never contradicted; anything else, to the last quantum, is.

The model is the market's rule written out: each order trades a part of its quantity, once, in one round where
its limit allows it. Fractions of lots are allowed, as the bound allows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.errors import ParameterError
from darkpool.entitlement import RoundWords, Stake, brought, disproof
from darkpool.types import Lots

P_0, TICK, LEVELS = 5, 3, 4
QUOTE = 0


def a_round(market: int, number: int, level: int, lot: int, base: int) -> RoundWords:
    price = P_0 + level * TICK
    return RoundWords((market, number, 0, 0, 1, price, P_0, TICK, lot, 1, base, QUOTE, 0))


rounds_of_two_markets = st.lists(
    st.tuples(st.sampled_from([1, 2]), st.integers(0, LEVELS - 1)), min_size=1, max_size=3
).map(lambda drawn: [a_round(m, i, level, m + 1, m) for i, (m, level) in enumerate(drawn)])


@st.composite
def books(draw: st.DrawFn, most: int = 3) -> tuple[list[RoundWords], list[Stake]]:
    rounds = draw(rounds_of_two_markets)
    count = draw(st.integers(0, most))
    stakes = [
        Stake(
            draw(st.integers(0, 2 * LEVELS - 1)), Lots(draw(st.integers(0, 3))), draw(st.sampled_from(rounds))
        )
        for _ in range(count)
    ]
    return rounds, stakes


def options(stake: Stake, rounds: Sequence[RoundWords]) -> list[RoundWords]:
    """The rounds it can have traded in, by the rule and not by the code that is tested."""
    limit = P_0 + (stake.slot >> 1) * TICK
    sold = stake.slot % 2 == 1
    return [
        r
        for r in rounds
        if r.market == stake.listed.market and (limit <= r.price if sold else limit >= r.price)
    ]


def moved(fills: Sequence[tuple[Stake, RoundWords, int]]) -> dict[int, int]:
    total = Counter[int]()
    for stake, r, lots in fills:
        sign = -1 if stake.slot % 2 else 1
        total[r.tokens[0]] += sign * lots * r.lot
        total[QUOTE] -= sign * lots * r.price
    return {token: amount for token, amount in total.items() if amount}


@given(books(), st.data())
def test_no_honest_settlement_can_be_contested(
    book: tuple[list[RoundWords], list[Stake]], data: st.DataObject
) -> None:
    rounds, stakes = book
    fills = []
    for stake in stakes:
        open_to = options(stake, rounds)
        if open_to:
            r = data.draw(st.sampled_from(open_to))
            fills.append((stake, r, data.draw(st.integers(0, stake.quantity))))
    deltas = moved(fills)
    assert disproof(deltas, stakes, rounds) is None
    # Nor under any other valuation that somebody could think of.
    valuation = data.draw(st.tuples(*[st.integers(-(2**64), 2**64)] * 8))
    assert brought(valuation, deltas) <= sum(stake.most(valuation, rounds) for stake in stakes)


def reachable(deltas: dict[int, int], stakes: Sequence[Stake], rounds: Sequence[RoundWords]) -> bool:
    """Whether fills of parts of lots, and parts of an order in several rounds, come to those deltas.

    Flow by flow: quantities x[order, round] >= 0, per order at most q. Fourier-Motzkin, with exact fractions.
    """
    variables = [(i, r) for i, stake in enumerate(stakes) for r in options(stake, rounds)]
    n = len(variables)
    rows: list[list[Fraction]] = []  # a . x <= b, as [*a, b]
    for token in {QUOTE, 1, 2, *deltas}:
        row = [Fraction(0)] * (n + 1)
        for j, (i, r) in enumerate(variables):
            row[j] += Fraction(moved([(stakes[i], r, 1)]).get(token, 0))
        row[n] = Fraction(deltas.get(token, 0))
        rows += [row, [-v for v in row]]
    for i, stake in enumerate(stakes):
        row = [Fraction(int(k == i)) for k, _ in variables]
        rows.append([*row, Fraction(stake.quantity)])
    for j in range(n):
        row = [Fraction(0)] * (n + 1)
        row[j] = Fraction(-1)
        rows.append(row)
    for j in range(n):
        upper = [r for r in rows if r[j] > 0]
        lower = [r for r in rows if r[j] < 0]
        rows = [r for r in rows if not r[j]]
        for a, b in product(upper, lower):
            rows.append([x / a[j] - y / b[j] for x, y in zip(a, b, strict=True)])
        rows = [list(r) for r in {tuple(r) for r in rows}]
    return all(row[n] >= 0 for row in rows)


@settings(max_examples=80, deadline=None)
@given(books(most=2), st.data())
def test_every_robbery_beyond_the_bounds_can_be_contested(
    book: tuple[list[RoundWords], list[Stake]], data: st.DataObject
) -> None:
    rounds, stakes = book
    deltas = {token: data.draw(st.integers(-30, 30)) for token in (QUOTE, 1, 2)}
    deltas = {token: amount for token, amount in deltas.items() if amount}
    assert (disproof(deltas, stakes, rounds) is None) == reachable(deltas, stakes, rounds)


@pytest.mark.parametrize(
    "lot, base, quote", [(10**6, QUOTE, 2), (2**63 - 25, 2, QUOTE), (2**63 - 25, 1, QUOTE)]
)
def test_a_forged_round_of_a_book_without_her_orders_does_not_blind(lot: int, base: int, quote: int) -> None:
    """Also where only both tokens together show it: paid for five lots, and got four."""
    r = a_round(1, 1, 2, 7, 1)
    stake = Stake(2 * 3, Lots(5), r)
    words = list(a_round(9, 1, 1, lot, base).words)
    words[11] = quote
    forged = RoundWords(tuple(words))
    short = {1: 4 * 7, QUOTE: -5 * r.price}
    found = disproof(short, [stake], [r, forged])
    assert found is not None
    assert brought(found, short) > stake.most(found, [r, forged])


@pytest.mark.parametrize("token, error", [(1, 1), (1, -1), (QUOTE, 1), (QUOTE, -1)])
def test_a_single_quantum_too_much_or_too_little_is_shown(token: int, error: int) -> None:
    r = a_round(1, 1, 2, 2, 1)
    stake = Stake(2 * 3, Lots(5), r)
    deltas = moved([(stake, r, 4)])
    assert disproof(deltas, [stake], [r]) is None
    assert disproof({**deltas, token: deltas[token] + error}, [stake], [r]) is not None


@pytest.mark.parametrize("place, value", [(5, 2**64), (6, 2**64), (7, 2**64), (8, 2**64), (10, 8), (11, 8)])
def test_nothing_trades_in_a_round_out_of_range(place: int, value: int) -> None:
    r = a_round(1, 1, 2, 2, 1)
    words = list(r.words)
    words[place] = value
    strange = RoundWords(tuple(words))
    stake = Stake(2 * 3, Lots(5), strange)
    assert not strange.allows(stake.slot)
    assert disproof(moved([(replace(stake, listed=r), r, 1)]), [stake], [strange]) is not None


@pytest.mark.parametrize("words", [(0,) * 12, (0,) * 14, (-1, *(0,) * 12), (2**256, *(0,) * 12)])
def test_a_round_has_thirteen_words(words: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError):
        RoundWords(words)


def test_a_stake_does_not_show_what_it_is() -> None:
    assert "quantity" not in repr(Stake(6, Lots(5), a_round(1, 1, 2, 2, 1)))

"""Who plays next: a liar costs attempts, not the list; who charged another never plays with it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkpool.committee.attempts import LISTS_REMEMBERED, Attempts, Past
from darkpool.committee.blame import START, Blame, Charge
from darkpool.committee.rounds import MAX_ATTEMPTS

SOFT = (Charge.ABORTED, Charge.GONE, Charge.OFF)
HARD = tuple(c for c in Charge if c not in SOFT)
NAMED = tuple(c for c in HARD if c is not Charge.SILENT)  # hard also against who answers the operator
COMMITTEES = [(3, 1), (4, 1), (5, 1), (5, 2), (6, 2), (7, 1)]
MOST_ATTRIBUTED = 3  # two that fail, each with one more honest member's charge, and the one without the liar


def charged(charge: Charge, *members: int) -> list[Blame]:
    return [_BLAME[charge, i] for i in members]


_BLAME = {(charge, i): Blame(i, charge, "price") for charge in Charge for i in range(1, 8)}


def failed(quorum: int, *stories: tuple[tuple[int, ...], Mapping[int, Sequence[Blame]]]) -> Attempts:
    attempts = Attempts(quorum)
    for players, reports in stories:
        attempts.failed(players, reports)
    return attempts


# --- one decision -----------------------------------------------------------------------------------


@pytest.mark.parametrize("here", [(1, 2, 3), (3, 1, 4), (5, 4, 3, 2, 1)])
def test_at_first_all_that_are_here_play(here: tuple[int, ...]) -> None:
    assert Attempts(3).players(here) == tuple(sorted(here))


@pytest.mark.parametrize("here", [(), (1,), (1, 2), (2, 4)])
def test_with_fewer_than_it_takes_nobody_plays(here: tuple[int, ...]) -> None:
    assert Attempts(3).players(here) is None
    assert Attempts(5).players((1, 2, 3, 4)) is None


@pytest.mark.parametrize("charge", HARD)
@pytest.mark.parametrize("accuser, accused", [(1, 2), (2, 1), (3, 4), (4, 1)])
def test_accuser_and_accused_never_play_together_again(charge: Charge, accuser: int, accused: int) -> None:
    attempts, everybody = Attempts(3), (1, 2, 3, 4)
    attempts.failed(everybody, {accuser: charged(charge, accused)})
    tried = []
    while (players := attempts.players(everybody)) is not None:
        assert len(players) == 3
        assert not {accuser, accused} <= set(players)
        tried.append(players)
        attempts.failed(players, {})
    assert len(set(tried)) == len(tried) == 2


def test_as_many_as_possible_play() -> None:
    """Of five, one of whom was charged by another, four."""
    attempts = failed(3, ((1, 2, 3, 4, 5), {2: charged(Charge.SHARE, 4)}))
    assert attempts.players(range(1, 6)) == (1, 2, 3, 5)
    assert attempts.players((1, 3, 4, 5)) == (1, 3, 4, 5)
    assert attempts.players((2, 4, 5)) is None


def test_a_set_that_failed_without_a_charge_is_not_tried_again() -> None:
    attempts, seen = Attempts(3), []
    while (players := attempts.players((1, 2, 3, 4))) is not None:
        seen.append(players)
        attempts.failed(players, {i: [] for i in players})
    assert seen == [(1, 2, 3, 4), *combinations((1, 2, 3, 4), 3)]


def test_who_was_gone_is_left_out_where_there_are_others_and_else_tried_once_more() -> None:
    gone = {1: charged(Charge.GONE, 2), 3: charged(Charge.GONE, 2)}
    assert failed(3, ((1, 2, 3, 4), gone)).players((1, 2, 3, 4)) == (1, 3, 4)
    three = failed(3, ((1, 2, 3), gone))
    assert three.players((1, 2, 3)) == (1, 2, 3)
    three.failed((1, 2, 3), gone)
    assert three.players((1, 2, 3)) is None


@pytest.mark.parametrize("charge", [Charge.ABORTED, *HARD])
def test_three_of_three_that_failed_for_another_reason_are_not_tried_again(charge: Charge) -> None:
    attempts = failed(3, ((1, 2, 3), {1: charged(charge, 2), 3: charged(Charge.GONE, 2)}))
    assert attempts.players((1, 2, 3)) is None


def test_an_abort_parts_nobody_for_good() -> None:
    """Whoever found the lie ends the attempt: the others must be able to go on with it."""
    attempts = failed(3, ((1, 2, 3, 4), {i: charged(Charge.ABORTED, 1) for i in (2, 3, 4)}))
    assert attempts.players((1, 2, 3, 4)) == (2, 3, 4)
    assert attempts.players((1, 2, 3)) == (1, 2, 3)


def test_a_charge_with_its_reason_outweighs_who_was_gone_or_gave_up() -> None:
    reports = {1: charged(Charge.SHARE, 4), 2: charged(Charge.ABORTED, 1), 3: charged(Charge.GONE, 1)}
    attempts = failed(3, ((1, 2, 3, 4), reports))
    assert attempts.players((1, 2, 3, 4)) == (1, 2, 3)


@pytest.mark.parametrize("charge", list(Charge))
def test_a_charge_against_who_did_not_play_counts_for_nothing(charge: Charge) -> None:
    """Else a liar could part members by charges about attempts they were not in."""
    attempts = failed(3, ((1, 2, 3), {1: charged(charge, 4)}))
    assert attempts.charged == {}
    assert attempts.players((1, 2, 4)) == (1, 2, 4)


def test_it_says_who_charged_whom_with_what() -> None:
    reports = {
        1: charged(Charge.SHARE, 4),
        2: [*charged(Charge.SHARE, 4), *charged(Charge.ABORTED, 1)],
        4: charged(Charge.PARTIAL, 1),
    }
    attempts = failed(3, ((1, 2, 3, 4), reports))
    assert attempts.summary == "member 4 share at price (says 1, 2); member 1 partial at price (says 4)"


# --- charges that a third member can cause ------------------------------------------------------------


@pytest.mark.parametrize("liar", [1, 2, 3, 4])
def test_silence_is_not_held_against_who_refused_in_time(liar: int) -> None:
    """It may have lost its evaluator by what the liar sent it: then the others wait for it in vain."""
    everybody = (1, 2, 3, 4)
    for victim in everybody:
        honest = tuple(i for i in everybody if i != liar)
        reports = {i: charged(Charge.SILENT, victim) for i in everybody if i != victim}
        attempts = failed(3, (everybody, {**reports, victim: []}))
        if victim == liar:
            continue
        assert attempts.charged == {}
        tried = list[tuple[int, ...]]()
        while (players := attempts.players(everybody)) is not None:
            tried.append(players)
            attempts.failed(players, {})
        assert honest in tried


def test_who_neither_sends_its_part_nor_answers_is_charged_with_it() -> None:
    attempts = failed(3, ((1, 2, 3, 4), {i: charged(Charge.SILENT, 4) for i in (1, 2, 3)}))
    assert attempts.players((1, 2, 3, 4)) == (1, 2, 3)
    assert set(attempts.charged) == {(1, 4), (2, 4), (3, 4)}


@pytest.mark.parametrize("blame", [Blame(2, Charge.SILENT, START), Blame(2, Charge.OFF, START)])
def test_who_is_not_heard_when_evaluators_start_is_suspected_only(blame: Blame) -> None:
    attempts = failed(3, ((1, 2, 3, 4), {1: [blame]}))
    assert attempts.charged == {}
    assert attempts.players((1, 2, 3, 4)) == (1, 3, 4)


def test_pairs_that_do_not_see_each_other_are_parted_while_there_are_others() -> None:
    attempts = Attempts(3)
    attempts.part([(1, 4)])
    assert attempts.players((1, 2, 3, 4)) == (1, 2, 3)
    attempts.failed((1, 2, 3), {})
    assert attempts.players((1, 2, 3, 4)) == (2, 3, 4)


# --- earlier lists -----------------------------------------------------------------------------------


def test_the_next_list_starts_without_who_was_charged_and_forgives_in_the_end() -> None:
    past = Past()
    past.learn(failed(3, ((1, 2, 3, 4), {i: charged(Charge.SHARE, 1) for i in (2, 3)})))
    for _ in range(LISTS_REMEMBERED):
        assert Attempts(3, past=past).players((1, 2, 3, 4)) == (2, 3, 4)
        assert Attempts(3, past=past).players((1, 2, 3)) == (1, 2, 3)
        past.learn(Attempts(3))
    assert Attempts(3, past=past).players((1, 2, 3, 4)) == (1, 2, 3, 4)


@pytest.mark.parametrize("liar", [1, 2, 3, 4])
def test_a_liar_whom_nobody_could_name_costs_attempts_once(liar: int) -> None:
    everybody, past = (1, 2, 3, 4), Past()
    for tried in (list[tuple[int, ...]](), None):
        attempts = Attempts(3, past=past)
        while liar in (players := attempts.players(everybody) or ()):
            attempts.failed(players, {i: [] for i in players})
        past.learn(attempts)
        if tried is None:
            assert attempts.failures == []


# --- against liars ----------------------------------------------------------------------------------


class Play:
    """Attempts of a committee some of whom lie, drawn until one succeeds, nobody is left, or too many failed.

    In every attempt that fails an honest player or more names a liar if `attributed`, and nobody otherwise;
    honest players otherwise say at most who ended it, liars say what they like.
    """

    def __init__(self, data: st.DataObject, n: int, t: int, liars: int, *, attributed: bool) -> None:
        self._data, self._attributed = data, attributed
        self.members = range(1, n + 1)
        self.liars = frozenset(data.draw(st.permutations(self.members))[:liars])
        self.attempts, self.tried = Attempts(2 * t + 1), list[tuple[int, ...]]()

    def run(self) -> bool:
        """Whether an attempt succeeded."""
        while (players := self.attempts.players(self.members)) is not None:
            for accuser, accused in self.attempts.charged:
                assert not {accuser, accused} <= set(players)
            self.tried.append(players)
            if not self.liars & set(players):
                return True
            self.attempts.failed(players, self._reports(players))
            honest = set(self.members) - self.liars
            assert not any({a, b} <= honest for a, b in self.attempts.charged)
        return False

    def _reports(self, players: tuple[int, ...]) -> dict[int, list[Blame]]:
        draw, some = self._data.draw, st.sets(st.sampled_from(players))
        bad, reports = sorted(self.liars & set(players)), dict[int, list[Blame]]()
        honest = [i for i in players if i not in self.liars]
        finders = draw(st.sets(st.sampled_from(honest), min_size=1)) if self._attributed else set[int]()
        for i in honest:
            if i in finders:
                accused = draw(st.sampled_from(bad))
                reports[i] = charged(draw(st.sampled_from(NAMED)), accused)
            else:
                reports[i] = charged(Charge.ABORTED, *(draw(some) - {i}))
        for i in bad:
            charges = NAMED if self._attributed else (Charge.ABORTED,)
            reports[i] = charged(draw(st.sampled_from(charges)), *(draw(some) - {i}))
        return reports


@given(data=st.data(), committee=st.sampled_from([c for c in COMMITTEES if c[0] > 2 * c[1] + 1]))
def test_while_enough_honest_members_are_here_the_list_is_cleared(
    data: st.DataObject, committee: tuple[int, int]
) -> None:
    n, t = committee
    play = Play(data, n, t, min(t, n - 2 * t - 1), attributed=True)
    assert play.run()
    assert len(play.tried) <= MOST_ATTRIBUTED <= MAX_ATTEMPTS


@given(data=st.data(), committee=st.sampled_from(COMMITTEES), attributed=st.booleans())
def test_with_more_liars_than_that_nobody_is_parted_from_an_honest_member_by_one(
    data: st.DataObject, committee: tuple[int, int], *, attributed: bool
) -> None:
    """It may find nobody to play, but ends: what `run` asserts of every attempt holds, and sets run out."""
    n, t = committee
    play = Play(data, n, t, t, attributed=attributed)
    honest = n - len(play.liars)
    assert play.run() == (honest > 2 * t) or not attributed
    assert len(set(play.tried)) == len(play.tried)


# --- every game -------------------------------------------------------------------------------------


class Game:
    """One liar against a committee with t = 1, everything it can do, and its luck with who is first.

    In a failed attempt an honest player names it or nobody does; the others at most say who ended it, or that
    the liar is gone. What it says itself is about one player, or nothing.
    """

    def __init__(self, n: int, liar: int) -> None:
        self.members, self.liar = range(1, n + 1), liar
        self._known: dict[object, int] = {}

    def worst(self, attempts: Attempts) -> int:
        """How many further attempts fail at most, until one without the liar."""
        players = attempts.players(self.members)
        assert players is not None, "nobody is left to play"
        if self.liar not in players:
            return 0
        key = position(attempts)
        if key not in self._known:
            ends = dict[object, Attempts]()
            for reports in self._moves(players):
                after = copy_of(attempts)
                after.failed(players, reports)
                ends.setdefault(position(after), after)
            self._known[key] = 1 + max(self.worst(after) for after in ends.values())
        return self._known[key]

    def _moves(self, players: tuple[int, ...]) -> Iterator[dict[int, list[Blame]]]:
        liar, honest = self.liar, [i for i in players if i != self.liar]
        yield {}
        for first in players:  # it ended the attempt, and could not say why
            yield {i: charged(Charge.ABORTED, first) for i in honest if i != first}
        for finder in honest:
            others = {i: charged(Charge.ABORTED, finder) for i in honest if i != finder}
            yield {**others, finder: charged(Charge.SHARE, liar)}
            yield {finder: charged(Charge.GONE, liar)}
        yield {i: charged(Charge.GONE, liar) for i in honest}
        for one, other in combinations(players, 2):  # two find others off, none of whom need have lied
            finder, second = (next(i for i in honest if i != named) for named in (one, other))
            yield {finder: charged(Charge.OFF, one), second: charged(Charge.OFF, other)}
        for accused in honest:
            for charge in (*SOFT, Charge.SHARE):
                yield {liar: charged(charge, accused)}
                yield {liar: charged(charge, accused), **{i: charged(Charge.ABORTED, liar) for i in honest}}


def copy_of(a: Attempts) -> Attempts:
    """As far as `position` tells."""
    suspected = Counter(a.suspected)
    known = Attempts(
        a.quorum, dict(a.charged), [], set(a._doubted), suspected, set(a._tried), set(a._again), a.past
    )
    assert position(known) == position(a)
    return known


def position(attempts: Attempts) -> object:
    """All that decides what follows."""
    return (
        frozenset(attempts.charged),
        frozenset(attempts._doubted),
        tuple(sorted(attempts.suspected.items())),
        frozenset(attempts._tried),
        frozenset(attempts._again),
    )


def pasts(n: int) -> Iterator[Past]:
    """None, and, of small committees, some in which honest members were suspected, more or less."""
    yield Past()
    if n > 5:
        return
    for counts in (
        [9, 0, 0, 0, 0, 0],
        [0, 9, 9, 0, 0, 0],
        [0, 1, 2, 3, 4, 5],
        [5, 4, 3, 2, 1, 0],
        [0, 0, 0, 0, 9, 9],
    ):
        past = Past()
        past.learn(Attempts(3, suspected=Counter(dict(zip(range(1, n + 1), counts, strict=False)))))
        yield past


@pytest.mark.parametrize("n", [4, 5, 6])
def test_one_liar_is_left_out_before_attempts_run_out_whatever_it_does(n: int) -> None:
    for past in pasts(n):
        worst = {liar: Game(n, liar).worst(Attempts(3, past=past)) for liar in range(1, n + 1)}
        assert max(worst.values()) < MAX_ATTEMPTS, worst

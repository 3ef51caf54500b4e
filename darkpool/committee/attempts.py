"""Who plays in the next attempt at clearing a list, after what was charged in the earlier ones.

Of two members one of whom charges the other, one lies or the link between them is broken: they do not play
together again. So as long as 2t+1 honest members reach one another, and at most t lie, some set of players is
left whose attempt succeeds; false charges only cost attempts, and the number of those is bounded
(rounds.MAX_ATTEMPTS). A member that came back after its connection was lost is left out where there are
enough others, and else tried once more.

Where nobody can say who is at fault, as inside an evaluation, any of the players may be: each is suspected
once, who ended the attempt or broke it once more, and the players least suspected in all are next. With t = 1
and up to six members an honest set is found within MAX_ATTEMPTS, whoever lies (tests/test_attempts.py plays
all games).

Silence is hard only against a member that does not answer the operator either: one that refused in time was
perhaps kept from its part by a third. What earlier lists taught (Past) decides between sets that are alike.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

from darkpool.committee.blame import START, Blame, Charge

LISTS_REMEMBERED: Final = 16
_SOFT: Final = frozenset({Charge.GONE, Charge.ABORTED, Charge.OFF})


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed: who played, and whom each of them charged."""

    players: tuple[int, ...]
    reports: Mapping[int, Sequence[Blame]]


@dataclass(slots=True)
class Past:
    """Who charged whom at the latest lists, and who was suspected; forgiven LISTS_REMEMBERED lists later.

    In memory: a restart forgives all.
    """

    _parted: deque[frozenset[tuple[int, int]]] = field(default_factory=lambda: deque(maxlen=LISTS_REMEMBERED))
    _suspected: deque[Counter[int]] = field(default_factory=lambda: deque(maxlen=LISTS_REMEMBERED))

    def learn(self, attempts: Attempts) -> None:
        """One list more."""
        self._parted.append(frozenset(attempts.charged))
        self._suspected.append(Counter(attempts.suspected))

    def doubts(self, players: tuple[int, ...]) -> tuple[int, int]:
        """How many charged pairs there are among them, then how much they were suspected."""
        pairs = frozenset[tuple[int, int]]().union(*self._parted)
        return _inside(players, pairs), sum(seen[i] for seen in self._suspected for i in players)


@dataclass(slots=True)
class Attempts:
    """The attempts at one list. `quorum` members are needed: 2t+1."""

    quorum: int
    charged: dict[tuple[int, int], Blame] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    _doubted: set[tuple[int, int]] = field(default_factory=set)
    suspected: Counter[int] = field(default_factory=Counter)
    _tried: set[tuple[int, ...]] = field(default_factory=set)
    _again: set[tuple[int, ...]] = field(default_factory=set)
    past: Past = field(default_factory=Past)

    def players(self, here: Sequence[int], evaluating: Sequence[int] = ()) -> tuple[int, ...] | None:
        """The next players among the members that are here, ascending; None if no set is left to be tried.

        Sets of whom nobody charged another, the least doubted first, then those least doubted in the past. Of
        those `evaluating`, who have evaluators among themselves, or else the largest.
        """
        sets = [s for k in range(len(here), self.quorum - 1, -1) for s in combinations(sorted(here), k)]
        left = [s for s in sets if s not in self._tried and not _inside(s, self.charged)]
        ready = tuple(evaluating)
        return min(
            left, key=lambda s: (self._doubts(s), self.past.doubts(s), s != ready, -len(s), s), default=None
        )

    def charge(self, players: tuple[int, ...], reports: Mapping[int, Sequence[Blame]]) -> bool:
        """Keep what players charged one another with and gave a reason for; whether there is any of it."""
        charges = [(i, b) for i, blame in reports.items() for b in blame if b.member in players]
        hard = {(i, b.member): b for i, b in charges if _hard(b, reports)}
        self.charged |= hard
        return bool(hard)

    def failed(self, players: tuple[int, ...], reports: Mapping[int, Sequence[Blame]]) -> None:
        """An attempt failed; whom each of its players charged.

        A charge that names its reason outweighs those that only say who was gone. Whoever ended the attempt
        and said why only told the others.
        """
        self.failures.append(Failure(players, {i: tuple(blame) for i, blame in reports.items()}))
        charges = [(i, b) for i, blame in reports.items() for b in blame if b.member in players]
        hard = self.charge(players, reports)
        gone = {(i, b.member) for i, b in charges if b.charge is Charge.GONE}
        said_why = {i for i, b in charges if b.charge is not Charge.ABORTED}
        aborted = {b.member for _, b in charges if b.charge is Charge.ABORTED} - said_why
        accused = aborted | {b.member for _, b in charges if b.charge in {Charge.SILENT, Charge.OFF}}
        if not hard:
            self._doubted |= gone
        if not hard and not gone:
            # More than t of them do not all lie: then it says nothing about any of them.
            self.suspect((*players, *(accused if len(accused) <= self.quorum // 2 else ())))
        if hard or aborted or not gone or players in self._again:
            self._tried.add(players)
        self._again.add(players)

    def part(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Of each of those pairs one says that it does not see the other."""
        self._doubted.update(pairs)

    def suspect(self, members: Iterable[int]) -> None:
        """Something of theirs went wrong, as the coordinator itself saw."""
        self.suspected.update(members)

    def _doubts(self, players: tuple[int, ...]) -> int:
        return _inside(players, self._doubted) + sum(self.suspected[i] for i in players)

    @property
    def summary(self) -> str:
        """Who was charged with what, and by whom, for people."""
        by_charge: dict[str, list[int]] = {}
        for (accuser, _), blame in sorted(self.charged.items()):
            by_charge.setdefault(str(blame), []).append(accuser)
        return "; ".join(f"{what} (says {', '.join(map(str, who))})" for what, who in by_charge.items())


def _hard(blame: Blame, reports: Mapping[int, object]) -> bool:
    if blame.charge is Charge.SILENT:
        return blame.member not in reports and blame.step != START
    return blame.charge not in _SOFT


def _inside(players: tuple[int, ...], pairs: Iterable[tuple[int, int]]) -> int:
    return sum(a in players and b in players for a, b in pairs)

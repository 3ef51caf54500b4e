"""Before a list is sealed: no member keeps another out, or the list open, by what it says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from darkpool.committee import coordinator
from darkpool.committee.coordinator import Coordinator
from darkpool.committee.meeting import Group, Sockets
from darkpool.errors import Unavailable
from darkpool.message import Message
from tests.member_host import sealed_venue
from tests.players import ALL, committee_of


class Member:
    """Says whom it sees, and starts with whom it likes."""

    connected = True

    def __init__(self, index: int, blind_to: set[int], refuses: int) -> None:
        self._index, self._blind_to, self._refuses = index, blind_to, refuses
        self.asked: list[tuple[int, ...]] = []
        self.cleared: list[tuple[int, ...]] = []

    async def ask(self, request: Message, _seconds: float) -> Message:
        if request.op == "status":
            peers = [i for i in ALL if i != self._index and i not in self._blind_to]
            fields = {"peers": peers, "players": [], "generation": 1, "evaluator": False}
            return Message("status", fields)
        if request.op in {"clear", "outcome"}:
            self.cleared += [tuple(request.fields["members"])] if request.op == "clear" else []
            return Message("refused", {"reason": "no", "retry": False, "blame": []})
        if request.op == "start":
            self.asked.append(tuple(request.fields["members"]))
            if self._refuses in self.asked[-1]:
                return Message("refused", {"reason": "no", "retry": False, "blame": []})
        return Message(request.op)


def ready(
    folder: Path, seen: dict[int, set[int]], refuses: int, monkeypatch: pytest.MonkeyPatch, times: int = 1
) -> tuple[tuple[int, ...], Member]:
    """Who would play at last; `seen`: whom members do not see; no set with `refuses` gets evaluators."""
    monkeypatch.setattr(coordinator, "MEET_SECONDS", 0.05)
    members = {i: Member(i, seen.get(i, set()), refuses) for i in ALL}

    async def read(*_: int) -> list[bytes]:
        return []

    async def go() -> tuple[int, ...]:
        asked = Coordinator(committee_of(4), Sockets(folder, Group(bytes(32), 4, 1)), read, 0)
        await asked.close()
        asked._links.update(members)  # type: ignore[arg-type]

        async def caught_up(_size: int, _seconds: float = 0) -> list[int]:
            return list(ALL)

        monkeypatch.setattr(asked, "caught_up", caught_up)
        players: tuple[int, ...] = ()
        for _ in range(times):
            for member in members.values():
                member.asked.clear()
            players = await asked.ready(1, 1)
        return players

    return asyncio.run(go()), members[refuses % 4 + 1]


@pytest.mark.parametrize("liar", ALL)
def test_one_that_says_it_does_not_see_another_and_refuses_to_start_is_left_out_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, liar: int
) -> None:
    honest = tuple(i for i in ALL if i != liar)
    for victim in honest:
        assert ready(tmp_path, {liar: {victim}}, liar, monkeypatch)[0] == honest


def test_what_the_last_time_taught_is_not_paid_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    players, another = ready(tmp_path, {}, 1, monkeypatch, times=2)
    assert players == (2, 3, 4)
    assert another.asked == [players]


def test_while_no_2t_plus_1_see_each_other_it_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match=r"member 1 is not connected to members \[2\]"):
        ready(tmp_path, {1: {2}, 3: {4}}, 0, monkeypatch)


@pytest.mark.parametrize("blind", ALL)
def test_a_pair_that_does_not_see_each_other_is_not_even_tried_while_there_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: int
) -> None:
    unseen = blind % 4 + 1
    players, another = ready(tmp_path, {blind: {unseen}}, 0, monkeypatch)
    assert not {blind, unseen} <= set(players)
    assert another.asked == [players] * (1 in players)


def test_the_next_list_is_not_cleared_first_by_those_who_failed_at_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could be named: all sets were tried."""
    venue = sealed_venue()
    members = {i: Member(i, set(), 0) for i in ALL}

    async def read(*_: int) -> list[bytes]:
        return []

    async def go() -> None:
        asked = Coordinator(committee_of(4), Sockets(tmp_path, Group(bytes(32), 4, 1)), read, 0)
        await asked.close()
        asked._links.update(members)  # type: ignore[arg-type]
        monkeypatch.setattr(coordinator, "MAX_ATTEMPTS", 1)
        for _ in range(2):
            with pytest.raises(Unavailable, match="no end yet"):
                await asked.clear(venue.terms, venue.sealed_list, lambda _result: bytes(32))

    asyncio.run(go())
    first, second = members[1].cleared
    assert first == ALL
    assert len(second) == 3

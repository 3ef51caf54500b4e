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
from tests.players import ALL, committee_of


class Member:
    """Says whom it sees, and starts with whom it likes."""

    connected = True

    def __init__(self, index: int, blind_to: set[int], refuses: int) -> None:
        self._index, self._blind_to, self._refuses = index, blind_to, refuses
        self.asked: list[tuple[int, ...]] = []

    async def ask(self, request: Message, _seconds: float) -> Message:
        if request.op == "status":
            peers = [i for i in ALL if i != self._index and i not in self._blind_to]
            fields = {"peers": peers, "players": [], "generation": 1, "evaluator": False}
            return Message("status", fields)
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

"""Shares made anew with a liar among the members, or with the operator: those in office fit together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from commitments.resharing import Change
from commitments.threshold import combine, partial
from darkpool.committee import changing
from darkpool.committee.home import SEAT
from darkpool.committee.keylife import ChangeAborted, KeyChange, Parameters
from darkpool.committee.member_changes import Changes
from darkpool.committee.mesh import Mesh
from darkpool.committee.seat import Seat
from darkpool.committee.sharing import sharing_fields
from darkpool.errors import ConfigError, OrderRefused
from darkpool.files import write_whole
from darkpool.message import Message
from darkpool.tenure import MAX_WAIT, NO_SHARING, Tenure
from darkpool.tenure_file import NEXT, Planned
from tests.succession import entry_of, next_seat, refreshed, replaced
from tests.venue_log import Venue
from tests.venue_support import NOW, seats

FOUR = {seat.index: seat for seat in seats(4, 1)}
LIAR = 4


@dataclass
class Holder:
    seat: Seat


class Here:
    """Members of a venue's log, each with its home and its answers."""

    def __init__(self, folder: Path, venue: Venue) -> None:
        self.venue, self.homes, self.changes = venue, dict[int, Path](), dict[int, Changes]()
        self.holders = {seat.index: Holder(seat) for seat in seats()}
        for index, holder in self.holders.items():
            home = self.homes[index] = folder / f"home-{index}"
            home.mkdir()
            holder.seat.save(home / SEAT)
            self.changes[index] = Changes(holder, home, venue.state, Mesh(index, 3), None)

    def stage(self, following: Tenure, plan: Tenure) -> None:
        for index, home in self.homes.items():
            scale = int(following.signers != self.venue.state.signers)
            changing.stage(next_seat(index - 1, following, scale), home, plan.plan.hash)

    def asked(self, index: int, op: str, following: Tenure | None = None) -> Message:
        fields = {} if following is None else following.fields()
        request = Message.decode(Message(op, fields).encode())
        return asyncio.run(asyncio.wait_for(self.changes[index].operations[op](request), 20))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setattr(time, "time", lambda: NOW + 1)
    return Here(tmp_path, Venue(names=("ada",)))


def refresh_confirmed_to(few: Collection[int]) -> dict[int, Seat]:
    """Who finishes one, where the liar confirms to those only."""
    parameters = Parameters(Change(FOUR[1].committee, (), tuple(FOUR)), bytes([len(few)]) * 32)
    who = {i: KeyChange.begin(parameters, seat) for i, seat in FOUR.items()}
    dealt = {i: change.deal() for i, change in who.items()}
    verdicts = {i: c.receive({j: dealt[j][i] for j in who if j != i}) for i, c in who.items()}
    confirmed = {i: c.judge({j: verdicts[j] for j in who if j != i}) for i, c in who.items()}
    ends: dict[int, Seat] = {}
    for i, change in who.items():
        heard = {j: m for j, m in confirmed.items() if j != i and (j != LIAR or i in few)}
        try:
            ends[i] = change.finish(heard)
        except ChangeAborted:
            assert i not in few
    return ends


def test_of_several_sharings_of_one_epoch_only_the_one_in_the_log_is_taken(tmp_path: Path) -> None:
    """A liar that confirms to some only leaves honest members with different ones staged."""
    honest = [i for i in FOUR if i != LIAR]
    staged: dict[int, Seat] = {}
    homes = {i: tmp_path / str(i) for i in honest}
    for index, home in homes.items():
        home.mkdir()
        FOUR[index].save(home / SEAT)
    for few in ((1, 2, 3), (2, 3), (3,)):
        for index, seat in refresh_confirmed_to(few).items():
            if index in honest:
                staged[index] = seat
                changing.stage(seat, homes[index])
    assert len({seat.committee.digest for seat in staged.values()}) == 3
    assert {seat.committee.epoch for seat in staged.values()} == {1}
    first = Tenure(Venue(names=("ada",)).state.signers, FOUR[1].committee.key)
    in_office = replace(first, key_epoch=1, since=1, sharing=staged[2].committee.digest)
    after = {i: changing.settled(homes[i], FOUR[i], in_office) for i in honest}
    assert after == {1: FOUR[1], 2: staged[2], 3: FOUR[3]}
    assert all((homes[i] / SEAT).exists() and Seat.load(homes[i] / SEAT) == after[i] for i in honest)
    # By an epoch alone nobody gives its old shares away.
    assert changing.settled(homes[1], FOUR[1], replace(in_office, sharing=NO_SHARING)) == FOUR[1]
    public, c = FOUR[1].committee, FOUR[1].committee.key.encrypt(4242, 12345)
    assert combine(public, c, {i: partial(public, after[i].share, c) for i in (1, 3)}).plaintext == 4242


def test_a_member_with_shares_of_another_sharing_signs_nothing(here: Here) -> None:
    following = refreshed(here.venue.state, NOW + 1)
    here.venue.now += 1
    here.venue.take(entry_of(here.venue.state, following, here.venue.now))
    here.holders[1].seat = next_seat(0, following)
    here.changes[1].check_seated()
    here.holders[1].seat = next_seat(0, following, scale=1)
    with pytest.raises(OrderRefused, match="another sharing"):
        here.changes[1].check_seated()


def test_a_staged_refresh_is_not_taken_for_the_replacement_that_owners_agreed_to(here: Here) -> None:
    """Or the member that leaves would have shares of those in office, and its successor none."""
    same, wanted = refreshed(here.venue.state, NOW + 1), replaced(here.venue.state, NOW + 1)
    here.stage(same, same)
    for index in (1, 2):
        write_whole(here.homes[index] / NEXT, Planned(wanted).encode(), 0o600)
        with pytest.raises(OrderRefused, match="made for another committee"):
            here.asked(index, "succeed", replace(wanted, sharing=same.sharing))
        with pytest.raises(OrderRefused, match="another one than this member's folder wants"):
            here.asked(index, "succeed", same)
        here.asked(index, "withdraw")


@pytest.mark.parametrize("key_epoch", [0, 2])
def test_a_plan_of_another_epoch_replaces_nobody(here: Here, key_epoch: int) -> None:
    wanted = replace(replaced(here.venue.state, 0), key_epoch=key_epoch)
    write_whole(here.homes[1] / NEXT, Planned(wanted).encode(), 0o600)
    fields = {"session": "ab" * 32, "replaced": [3], "dealers": [1, 2]}
    told = Message("reshare", {**sharing_fields(seats()[0].committee), **fields})
    with pytest.raises(OrderRefused, match="1 is next"):
        asyncio.run(here.changes[1].operations["reshare"](told))  # type: ignore[arg-type]


def test_whoever_has_signed_cannot_be_told_to_give_its_seat_up(here: Here) -> None:
    """Else an operator erases the seats of some and then logs the entry they have signed."""
    state, following = here.venue.state, refreshed(here.venue.state, NOW + 1)
    here.stage(following, following)
    for index in here.homes:
        assert here.asked(index, "succeed", following).op == "signed"
    entry = entry_of(state, following, NOW + 1)
    fields = {"session": "ab" * 32, "replaced": [], "dealers": [1, 2, 3]}
    again = Message("reshare", {**sharing_fields(seats()[0].committee), **fields})
    for index in here.homes:
        with pytest.raises(ConfigError, match="has signed the staged one into office"):
            here.asked(index, "withdraw")
        with pytest.raises(ConfigError, match="has signed the staged one into office"):
            asyncio.run(here.changes[index].operations["reshare"](again))  # type: ignore[arg-type]
    here.venue.now = NOW + 1
    here.venue.take(entry)
    for index, changes in here.changes.items():
        assert changes.settle()
        assert here.holders[index].seat.committee.digest == following.sharing
        assert {path.name for path in here.homes[index].iterdir()} == {SEAT}


def test_it_may_be_told_so_once_the_log_is_past_what_it_has_signed(here: Here) -> None:
    following = refreshed(here.venue.state, NOW + 1)
    here.stage(following, following)
    here.asked(1, "succeed", following)
    here.venue.state.time = following.since + MAX_WAIT
    with pytest.raises(ConfigError, match="has signed"):
        here.asked(1, "withdraw")
    here.venue.state.time += 1
    assert here.asked(1, "withdraw").op == "withdrawn"
    assert {path.name for path in here.homes[1].iterdir()} == {SEAT}
    assert "not after the last list" in str(_late(here, following))


def _late(here: Here, following: Tenure) -> OrderRefused:
    """What the log says of the entry then."""
    entry = entry_of(here.venue.state, following, here.venue.state.time)
    with pytest.raises(OrderRefused) as caught:
        here.venue.state.checked(entry)
    return caught.value


def test_what_a_crash_left_of_the_seat_before_is_erased(here: Here) -> None:
    following = refreshed(here.venue.state, NOW + 1)
    here.stage(following, following)
    seat = changing.settled(here.homes[1], seats()[0], following)
    seats()[0].save(here.homes[1] / "seat.old.json")
    assert changing.settled(here.homes[1], seat, following) == seat
    assert {path.name for path in here.homes[1].iterdir()} == {SEAT}

"""A member to be gets its share from those that stay, if their owners agree, and of the sharing they have."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commitments.errors import VerificationError
from commitments.params import INSECURE_TEST
from commitments.threshold import combine, partial
from darkpool.committee import changing, follower
from darkpool.committee.changing import reshare
from darkpool.committee.follower import Follower
from darkpool.committee.home import SEAT
from darkpool.committee.meeting import Group, Sockets
from darkpool.committee.member import Member
from darkpool.committee.member_link import MemberLink
from darkpool.committee.node import Node, Over
from darkpool.committee.seat import Seat
from darkpool.committee.sharing import sharing_fields
from darkpool.committee.staging import NEXT
from darkpool.committee.successor import Successor
from darkpool.eip712 import address_of, fresh_key
from darkpool.errors import DarkpoolError
from darkpool.house import signers_of
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.store.database import Database, sqlite_url
from darkpool.store.member_store import MemberStore
from darkpool.tenure import Tenure
from darkpool.tenure_file import FIRST, Planned
from tests.encrypted import seats
from tests.fellowship import until
from tests.mesh_support import Meshes, group, run
from tests.succession import entry_of, other_seats, rotated
from tests.venue_log import Venue
from tests.venue_support import seats as venue_seats
from tests.venue_support import signers

SEATS = seats(INSECURE_TEST, 4)
KEY = fresh_key()
PRESENT = Tenure(signers_of(SEATS), SEATS[0].committee.key)
STAYING = (1, 2, 4)


def plan(*replaced: int, key_epoch: int = 1) -> Planned:
    """The successor at those indices."""
    addresses = {i: address_of(KEY) if i in replaced else a for i, a in PRESENT.signers.addresses.items()}
    return Planned(Tenure(Signers(1, addresses), PRESENT.key, key_epoch))


def request(**changes: object) -> Message:
    fields: dict[str, object] = {"session": "ab" * 32, "replaced": [3], "dealers": [1, 2]}
    message = Message("reshare", {**sharing_fields(SEATS[0].committee), **fields, **changes})
    return Message.decode(message.encode())


class Four:
    """Homes of four, of whom the third waits for its share."""

    def __init__(self, folder: Path) -> None:
        self.homes = {i: folder / f"home-{i}" for i in (1, 2, 3, 4)}
        for index, home in self.homes.items():
            home.mkdir()
            if index != 3:
                SEATS[index - 1].save(home / SEAT)
        self.successor = Successor(3, 4, KEY, self.homes[3])

    async def asked(
        self, meshes: Meshes, told: Message, plans: dict[int, Planned | None] | None = None
    ) -> dict[int, Message | DarkpoolError]:
        """What each answers: the members to `request`, the successor to what it is told."""
        self.successor.mesh = meshes.members[3]

        async def member(index: int) -> Message:
            planned = plan(3) if plans is None else plans.get(index, plan(3))
            mesh, home = meshes.members[index], self.homes[index]
            return await reshare(request(), SEATS[index - 1], home, mesh, PRESENT, planned, 0)

        work = [member(i) for i in STAYING] + [self.successor.handle(told)]
        found = await asyncio.gather(*work, return_exceptions=True)
        for one in found:
            if not isinstance(one, Message | DarkpoolError):
                raise one
        return dict(zip((*STAYING, 3), found, strict=True))  # type: ignore[arg-type]

    def seats(self) -> set[str]:
        return {f"{home.name}/{path.name}" for home in self.homes.values() for path in home.glob("seat*")}


@pytest.fixture
def four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Four:
    monkeypatch.setattr(changing, "STEP_SECONDS", 5.0)
    return Four(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, four: Four) -> Four:
    """They do not wait long for each other."""
    monkeypatch.setattr(changing, "STEP_SECONDS", 0.2)
    return four


PRESENT_SEATS = {f"home-{i}/{SEAT}" for i in STAYING}


def test_it_waits_gets_its_share_and_has_its_seat_when_the_log_has_it_in_office(
    four: Four, tmp_path: Path
) -> None:
    async def body() -> None:
        async with group(tmp_path, 4) as meshes:
            four.successor.mesh = meshes.members[3]
            status = await four.successor.handle(Message("status"))
            assert status.fields == {"size": 0, "peers": [1, 2, 4], "waits": True, "staged": False}
            answers = await four.asked(meshes, request())
            assert {m.op for m in answers.values() if isinstance(m, Message)} == {"staged"}
            assert len({str(m.fields) for m in answers.values() if isinstance(m, Message)}) == 1
            for epoch in (0, 2):
                seat = Message("seat", {"key_epoch": epoch})
                assert (await four.successor.handle(seat)).op == "waits"
                assert not four.successor.over
            assert (await four.successor.handle(Message("status"))).fields["staged"] is True
            seat = Message("seat", {"key_epoch": 1})
            assert [(await four.successor.handle(seat)).op for _ in range(2)] == ["seated"] * 2
            assert four.successor.over

    run(body())
    following = {i: Seat.load(four.homes[i] / f"seat{NEXT}") for i in STAYING}
    mine = Seat.load(four.homes[3] / SEAT)
    assert (mine.index, mine.signing_key, mine.committee) == (3, KEY, following[1].committee)
    public, c = mine.committee, mine.committee.key.encrypt(5, 7)
    opened = combine(public, c, {i: partial(public, s.share, c) for i, s in ((3, mine), (4, following[4]))})
    assert opened.plaintext == 5
    with pytest.raises(VerificationError):
        combine(public, c, {i: partial(public, s.share, c) for i, s in ((3, SEATS[2]), (4, following[4]))})


def test_what_the_members_gave_up_is_erased(four: Four, tmp_path: Path) -> None:
    async def body() -> None:
        async with group(tmp_path, 4) as meshes:
            await four.asked(meshes, request())
            assert "home-3/seat.next.json" in four.seats()
            assert (await four.successor.handle(Message("withdraw"))).op == "withdrawn"
            assert not any(name.startswith("home-3") for name in four.seats())
            assert (await four.successor.handle(Message("seat", {"key_epoch": 1}))).op == "waits"
            assert not four.successor.over

    run(body())


@pytest.mark.parametrize(
    "planned",
    [None, plan(), plan(2), plan(2, 3)],
    ids=["none", "nobody", "another", "one more"],
)
def test_nobody_is_replaced_whom_an_owner_does_not_want_replaced(
    quick: Four, tmp_path: Path, planned: Planned | None
) -> None:
    """One owner's word is enough to stop it."""

    async def body() -> None:
        async with group(tmp_path, 4) as meshes:
            answers = await quick.asked(meshes, request(), {2: planned})
            assert "not whom this member's folder wants replaced" in str(answers[2])
            assert quick.seats() == PRESENT_SEATS

    run(body())


SHARING = sharing_fields(SEATS[0].committee)
WRONG: dict[str, Callable[[], dict[str, Any]]] = {
    "values": lambda: {"values": list(reversed(SHARING["values"]))},  # type: ignore[call-overload]
    "no values": lambda: {"values": []},
    "epoch": lambda: {"epoch": 1},
    "epoch and scale": lambda: {"epoch": 1, "scale": 1},
    "key": lambda: sharing_fields(seats(INSECURE_TEST, 4)[0].committee),
    "dealers": lambda: {"dealers": [1, 4]},
    "another try": lambda: {"session": "cd" * 32},
    "others too": lambda: {"replaced": [2, 3], "dealers": [1, 4]},
    "not itself": lambda: {"replaced": [2], "dealers": [1, 3]},
    "nobody": lambda: {"replaced": [], "dealers": [1, 2, 3, 4]},
    "all": lambda: {"replaced": [1, 2, 3, 4], "dealers": []},
    "nonsense": lambda: {"replaced": "3"},
}


@pytest.mark.parametrize("name", WRONG)
def test_told_another_sharing_or_change_it_fails_and_nothing_is_kept(
    quick: Four, tmp_path: Path, name: str
) -> None:
    async def body() -> None:
        async with group(tmp_path, 4) as meshes:
            answers = await quick.asked(meshes, request(**WRONG[name]()))
            reply = answers.pop(3)
            assert isinstance(reply, Message)
            assert (reply.op, reply.fields["retry"]) == ("refused", False)
            assert all(isinstance(answer, DarkpoolError) for answer in answers.values())
            assert quick.seats() == PRESENT_SEATS

    run(body())


@pytest.mark.parametrize(
    "op", ["sign", "clear", "append", "ready", "settle", "succeed", "propose", "sharing"]
)
def test_it_does_nothing_else_yet(four: Four, op: str) -> None:
    reply = asyncio.run(four.successor.handle(Message(op)))
    assert (reply.op, reply.fields["retry"]) == ("refused", True)


@pytest.mark.parametrize("fields", [{}, {"key_epoch": -1}, {"key_epoch": "1"}, {"key_epoch": 1 << 16}])
def test_it_takes_no_seat_of_an_epoch_that_is_none(four: Four, fields: dict[str, object]) -> None:
    reply = asyncio.run(four.successor.handle(Message("seat", fields)))
    assert (reply.op, four.successor.over) == ("refused", False)


def test_its_node_ends_once_the_venue_has_told_it_of_its_epoch(
    four: Four, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "WAIT_SECONDS", 0.02)
    in_office = [0]

    async def read(_first: int, _limit: int) -> list[bytes]:
        raise AssertionError("it takes no entries yet")

    async def body() -> None:
        with tempfile.TemporaryDirectory(prefix="dp-") as folder:
            meeting = Sockets(Path(folder), Group.of(SEATS[0].committee))
            serving = asyncio.create_task(Node(four.successor, meeting).serve())
            link = MemberLink(meeting, 3)
            following = Follower(link, read, 9, lambda: in_office[-1])
            await until(lambda: following.waits)
            changing.stage(_at_epoch_1(SEATS[2]), four.homes[3])
            await asyncio.sleep(0.1)
            assert not serving.done()
            in_office.append(1)
            with pytest.raises(ExceptionGroup) as ended:
                await serving
            assert ended.value.subgroup(Over) is not None
            await following.close()
            await link.close()

    run(body())
    assert (four.homes[3] / SEAT).exists()


def test_a_member_that_died_before_it_took_a_seat_of_another_key_takes_it_when_it_is_back(
    tmp_path: Path,
) -> None:
    venue = Venue(names=("ada", "ben"))
    venue.now += 1
    entry = entry_of(venue.state, rotated(venue.state, venue.now), venue.now)
    first, (held, following) = tmp_path / SEAT, (venue_seats()[0], _at_epoch_1(other_seats()[0]))
    began = Planned(Tenure(signers(), held.committee.key))
    (tmp_path / FIRST).write_text(began.encode())
    held.save(first)
    store = MemberStore(Database.open(sqlite_url(tmp_path / "member.db")))

    def member() -> Member:
        return Member(Seat.load(first), signers(), store, None, tmp_path)

    log = member().log
    for data in venue.entries:
        log.append([data], [log.state.checked(Message.decode(data), None)])
    changing.stage(following, tmp_path)
    assert not (same := member()).over
    assert same.seat == held
    log.append([entry.encode()], [log.state.checked(entry, None)])
    late = member()
    assert (late.over, late.seat) == (True, following)
    anew = member()
    assert (anew.over, anew.seat, anew.log.state.key) == (False, following, following.committee.key)
    assert {path.name for path in tmp_path.glob("seat*")} == {SEAT}
    store.database.close()


def _at_epoch_1(seat: Seat) -> Seat:
    return replace(seat, committee=replace(seat.committee, epoch=1))


def test_a_plan_of_the_same_members_replaces_nobody() -> None:
    assert changing.successors(PRESENT, replace(PRESENT, key_epoch=1)) == ()
    assert changing.successors(PRESENT, plan(3).tenure) == (3,)

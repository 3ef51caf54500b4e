"""The operator has all members stage one sharing, or none: whatever they reply."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from darkpool.committee import resharing_lead
from darkpool.committee.member_links import MemberLinks
from darkpool.committee.sharing import sharing_fields
from darkpool.errors import PeerFault, Unavailable
from darkpool.message import Message
from darkpool.tenure import Tenure
from tests.venue_support import seats, signers

ONE, OTHER = b"\x11" * 32, b"\x22" * 32
NEXT = Tenure(signers(), seats()[0].committee.key, 1)


@dataclass
class Links:
    """Members that say their sharing, and reply so to what follows: by member, `sharing`, or an error."""

    sharings: dict[int, object]
    error: BaseException | None = None
    signers: Any = field(default_factory=signers)
    asked: list[str] = field(default_factory=list)

    def check_all_here(self) -> None:
        pass

    async def ask(self, _index: int, _request: Message, _seconds: float) -> Message:
        return Message("sharing", sharing_fields(seats()[0].committee))

    async def some(
        self, request: Message, _seconds: float, among: Iterable[int] = (1, 2, 3)
    ) -> tuple[dict[int, Message], dict[int, BaseException]]:
        self.asked.append(request.op)
        if request.op == "withdraw":
            return {}, {}
        if self.error is not None and not isinstance(self.error, Unavailable):
            raise self.error
        due = {"epoch": 1, "key_id": NEXT.key.key_id.hex()}
        replies = {i: Message("staged", {**due, "sharing": self.sharings[i]}) for i in among}
        return replies, {} if self.error is None else {3: self.error}

    @property
    def stage(self) -> bytes:
        return asyncio.run(resharing_lead.stage(cast("MemberLinks", self), ()))

    @property
    def check_dealt(self) -> bytes:
        return asyncio.run(resharing_lead.check_dealt(cast("MemberLinks", self), NEXT))


def all_say(sharing: object, third: object) -> Links:
    return Links({1: sharing, 2: sharing, 3: third})


def test_it_learns_which_sharing_all_have_staged() -> None:
    agreed = all_say(ONE.hex(), ONE.hex())
    assert (agreed.stage, agreed.check_dealt) == (ONE, ONE)
    assert agreed.asked == ["reshare", "staged"]


WRONG: list[object] = [
    OTHER.hex(),
    ["x"],
    {},
    None,
    1,
    "aa",
    ONE.hex().upper().replace("1", "A"),
    ONE.hex() + "11",
]


@pytest.mark.parametrize("third", WRONG, ids=str)
def test_another_reply_gives_the_change_up(third: object) -> None:
    links = all_say(ONE.hex(), third)
    with pytest.raises((PeerFault, Unavailable), match="sharing"):
        _ = links.stage
    assert links.asked == ["reshare", "withdraw"]


@pytest.mark.parametrize("third", WRONG, ids=str)
def test_dealt_seats_are_kept_whatever_is_replied(third: object) -> None:
    links = all_say(ONE.hex(), third)
    with pytest.raises((PeerFault, Unavailable), match="sharing"):
        _ = links.check_dealt
    assert links.asked == ["staged"]


@pytest.mark.parametrize(
    "error", [RuntimeError("no"), asyncio.CancelledError(), Unavailable("away", "committee")]
)
def test_any_end_but_success_gives_the_change_up(error: BaseException) -> None:
    links = Links(dict.fromkeys((1, 2, 3), ONE.hex()), error)
    with pytest.raises(type(error)):
        _ = links.stage
    assert links.asked == ["reshare", "withdraw"]

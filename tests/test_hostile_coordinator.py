"""A coordinator that asks for more than it may: refused and written down; nothing made of shares leaves.

Every reply of a member's is looked at: only the fields named here, and no secret of its seat, may be in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkpool.committee.member import REFUSALS_SHOWN
from darkpool.committee.rounds import MAX_ATTEMPTS
from darkpool.committee.seat import Seat
from darkpool.listing import RoundResult
from darkpool.message import Message
from darkpool.results import read_result
from darkpool.store.records import AttemptRow, AttemptState, PinRow
from darkpool.store.rows import PINS
from tests.member_host import Circle, Host, fresh_venue, refusal, sealed_venue
from tests.venue_log import Venue
from tests.venue_support import buy, sell

RESULT = frozenset({"state", "crossed", "price", "volume", "nets"})
MAY_SAY: dict[str, frozenset[str]] = {
    "refused": frozenset({"reason", "retry", "blame"}),
    "status": frozenset(
        {
            *("size", "root", "generation", "evaluator", "players", "key_epoch", "refusals", "charges"),
            *("peers", "handed", "peak_bytes", "evaluator_peak_bytes", "peer_frames", "peer_bytes"),
        }
    ),
    "appended": frozenset({"size", "root"}),
    "started": frozenset(),
    "signed": frozenset({"root", "id"}),
    "outcome": RESULT,
    "abandoned": frozenset(),
    "ready": frozenset(),
    "handed": frozenset(),
}
UNKNOWN = (
    *("open", "decrypt", "partial", "partials", "combine", "opening", "share", "shares", "reveal", "curves"),
    *("evaluate", "masks", "product", "box", "totals", "key", "seat", "backup", "pin", "undo", "forget"),
    *("Clear", "clear ", "CLEAR", "cle\u0430r", "sign\x00", "../clear", "__init__", "handle", "rounds.clear"),
    *("", "x" * 10_000),
)


def secrets_of(seat: Seat) -> list[str]:
    """As they would look in a message."""
    values = [seat.share.value, *(int.from_bytes(key) for key in seat.masks.keys.values())]
    texts = [seat.signing_key.hex(), *(key.hex() for key in seat.masks.keys.values())]
    return [*texts, *map(str, values), *(f"{value:x}" for value in values)]


def assert_says_no_more(seat: Seat, reply: Message) -> None:
    assert set(reply.fields) <= MAY_SAY[reply.op], reply
    text = json.dumps(dict(reply.fields))
    assert not any(secret in text for secret in secrets_of(seat))
    assert not any(bytes(seat.signing_key) in bytes(blob) for blob in reply.blobs)


class Tapped:
    """A member whose every reply is looked at."""

    def __init__(self, folder: Path) -> None:
        self.host = Host(folder)

    def ask(self, op: str, blobs: Sequence[bytes] = (), **fields: Any) -> Message:  # noqa: ANN401
        reply = self.host.ask(op, blobs, **fields)
        assert_says_no_more(self.host.seat, reply)
        return reply

    def portrait(self, venue: Venue) -> tuple[object, ...]:
        """Everything of it that a request could have changed."""
        digest = venue.sealed_list.digest(venue.terms.domain)
        log = self.host.member.log
        return log.size, log.root, self.host.store.attempt(digest), pins(self.host)


def pins(host: Host) -> list[PinRow]:
    """What it saw revealed, ever."""
    with host.store.database.reading("read pins") as connection:
        return PINS.read(connection, PINS.select())


@pytest.fixture
def venue() -> Venue:
    return sealed_venue()


@pytest.fixture
def tapped(tmp_path: Path, venue: Venue) -> Iterator[Tapped]:
    """It has the log, with the sealed round, and has signed it."""
    made = Tapped(tmp_path)
    made.host.follow(venue)
    assert made.ask("sign", **venue.about()).op == "signed"
    yield made
    made.host.close()


NEXT: Mapping[str, Any] = {"timeout": 5, "attempt": 1, "members": [1, 2, 3]}


# --- one member -------------------------------------------------------------------------------------


def test_there_is_no_operation_that_opens_anything(tapped: Tapped, venue: Venue) -> None:
    before = tapped.portrait(venue)
    order = venue.sealed_list.orders[0]
    blobs = [order.hash, *(int(c).to_bytes(1_000, "big") for c in order.ciphertexts)]
    for op in UNKNOWN:
        for fields in (dict[str, Any](), {**venue.about(), **NEXT}):
            assert "unknown operation" in refusal(tapped.ask(op, blobs, **fields))
        shown = tapped.ask("status").fields["refusals"]
        assert [row[1] for row in shown[-2:]] == [op[:32]] * 2
    assert tapped.portrait(venue) == before


def test_what_is_cleared_is_the_sealed_list_whatever_else_is_named(tapped: Tapped, venue: Venue) -> None:
    """There is no field for an order, a product or a list of one's own: such fields change nothing."""
    before = tapped.portrait(venue)
    order = venue.sealed_list.orders[0]
    extras: tuple[dict[str, Any], ...] = (
        {"orders": [order.hash.hex()]},
        {"products": [[0, 1]], "parts": [0]},
        {"digest": "00" * 32, "root": "00" * 32},
        {"prefix": 1, "account": order.account.hex(), "cut": 0},
        {"step": "nets", "threshold": 0, "signers": [], "pins": []},
    )
    for extra in extras:
        reply = tapped.ask("clear", [order.hash], **venue.about(), **NEXT, **extra)
        assert "evaluator: none" in refusal(reply, retry=True)
    assert tapped.portrait(venue) == before


def test_another_list_of_the_same_round_cannot_be_sealed(tapped: Tapped, venue: Venue) -> None:
    """One order less would show that order by the difference."""
    before, first = tapped.portrait(venue), tapped.host.member.log.size - 1
    fork = fresh_venue(names=("ada", "ben"))
    fork.place("ada", buy(3, 1))
    fork.seal()
    seal = Message.decode(venue.entries[first])
    assert "it forks at or after entry" in refusal(tapped.ask("append", fork.entries, first=0))
    for entry in (
        replace(seal, fields={**seal.fields, "time": seal.fields["time"] + 1}).encode(),
        replace(seal, fields={**seal.fields, "round": 2}).encode(),
    ):
        assert "it forks at or after entry" in refusal(tapped.ask("append", [entry], first=first))
        assert refusal(tapped.ask("append", [entry], first=first + 1))
    assert refusal(tapped.ask("append", [seal.encode()], first=first + 1))
    order = Message.decode(next(e for e in venue.entries if Message.decode(e).op == "order"))
    assert refusal(tapped.ask("append", [order.encode()], first=first + 1))
    assert tapped.portrait(venue) == before


def test_nothing_is_signed_or_cleared_before_it_is_sealed(tmp_path: Path) -> None:
    venue, tapped = fresh_venue(names=("ada", "ben")), Tapped(tmp_path)
    venue.place("ada", buy(3, 1))
    tapped.host.follow(venue)
    about: dict[str, Any] = {"market": venue.terms.market.id.hex(), "round": 1}
    for op in ("sign", "clear", "outcome", "adopt", "abandon"):
        assert "not sealed" in refusal(tapped.ask(op, **about, **NEXT))
    venue.place("ben", sell(0, 1))
    venue.seal()
    tapped.host.follow(venue)
    assert "not signed" in refusal(tapped.ask("clear", **about, **NEXT))
    assert pins(tapped.host) == []
    tapped.host.close()


def test_a_flood_of_requests_changes_nothing_and_is_remembered_in_bounds(
    tapped: Tapped, venue: Venue
) -> None:
    before = tapped.portrait(venue)
    for k in range(100):
        assert refusal(tapped.ask("clear", **venue.about(), **NEXT), retry=True)
        assert refusal(tapped.ask("clear", **venue.about(), **{**NEXT, "attempt": MAX_ATTEMPTS + 1 + k}))
        assert refusal(tapped.ask("y" * 1_000, [bytes(1_000)], nothing=[[k] * 100]))
    shown = tapped.ask("status").fields
    assert len(shown["refusals"]) == REFUSALS_SHOWN
    assert all(len(op) <= 32 and len(reason) <= 300 for _, op, reason in shown["refusals"])
    assert shown["charges"] == []
    assert tapped.portrait(venue) == before


ODD: tuple[Any, ...] = (None, True, -1, 1.5, "", "zz", "00" * 31, [], {}, [[[]]], 1 << 70, "x" * 5_000)


@pytest.mark.parametrize(
    "op", ["start", "append", "handed_refused", "ready", "sign", "clear", "outcome", "adopt", "settle"]
)
def test_odd_fields_are_refused_one_by_one(tapped: Tapped, venue: Venue, op: str) -> None:
    """None of them is an error nobody expects: the member answers all, and goes on."""
    good: dict[str, dict[str, Any]] = {
        "start": {"generation": 1, "members": [1, 2, 3]},
        "append": {"first": 0},
        "handed_refused": {"order": "00" * 32, "reason": "x"},
        "ready": {"epoch": 1},
        "adopt": {**venue.about(), "crossed": True, "price": 2, "volume": 1, "nets": []},
        "settle": {"id": 1},
        "clear": {**venue.about(), **NEXT},
    }
    fields = good.get(op, venue.about())
    before = tapped.portrait(venue)
    for name in fields:
        for value in ODD:
            if name in {"reason", "crossed"} and isinstance(value, str | bool):
                continue
            tried = tapped.ask(op, [b"", b"\xff" * 65], **{**fields, name: value})
            assert tried.op == "refused", (name, value, tried)
            assert tapped.ask("status").fields["refusals"][-1][1] == op
    assert tapped.portrait(venue) == before


# --- three members ----------------------------------------------------------------------------------


def circle_of(folder: Path, venue: Venue) -> Circle:
    """All have the sealed list; none has an evaluator."""
    circle = Circle(folder)
    for host in circle.hosts.values():
        host.follow(venue)
    return circle


def clear(circle: Circle, venue: Venue, attempt: int) -> dict[int, Message]:
    replies = circle.ask("clear", **venue.about(), timeout=20, attempt=attempt, members=[1, 2, 3])
    for index, reply in replies.items():
        assert_says_no_more(circle.hosts[index].seat, reply)
    return replies


def results(replies: Mapping[int, Message]) -> list[RoundResult]:
    assert {reply.op for reply in replies.values()} == {"outcome"}, replies
    return [read_result(reply) for reply in replies.values()]


def row(host: Host, venue: Venue) -> AttemptRow:
    found = host.store.attempt(venue.sealed_list.digest(venue.terms.domain))
    assert found is not None
    return found


def test_a_list_cleared_again_and_again_reveals_and_signs_the_same(tmp_path: Path, venue: Venue) -> None:
    with circle_of(tmp_path, venue) as circle:
        circle.ask("sign", **venue.about())
        circle.start()
        first = clear(circle, venue, 1)
        (result,) = {repr(r) for r in results(first)}
        pinned = [pins(host) for host in circle.hosts.values()]
        assert {p.step for p in pinned[0]} >= {"crosses", "price", "long", "conservation", "nets"}
        # No number twice, and none backwards: else what was sent once could be sent again.
        for reply in clear(circle, venue, 1).values():
            assert "attempt: 1 after 1" in refusal(reply)
        # Another attempt, after all have restarted: the same values, the very same signatures and totals.
        circle.restart()
        circle.start()
        again = clear(circle, venue, 3)
        assert again == first
        assert [repr(r) for r in results(again)] == [result] * 3
        assert [pins(host) for host in circle.hosts.values()] == pinned
        for reply in clear(circle, venue, 2).values():
            assert "attempt: 2 after 3" in refusal(reply)
        # A member that saw another price before ends it, and keeps what it had signed.
        host = circle.hosts[2]
        (price,) = (p for p in pins(host) if p.step == "price")
        with host.store.database.writing("another price") as connection:
            PINS.upsert(connection, [replace(price, code=bytes(32))])
        ended = clear(circle, venue, 4)
        for reply in ended.values():
            assert "price: it reveals another value than an earlier attempt did" in refusal(reply)
        assert [row(host, venue).state for host in circle.hosts.values()] == [AttemptState.SIGNED] * 3
        assert list(circle.ask("outcome", **venue.about()).values()) == [*first.values()]


def test_members_that_were_told_different_things_open_nothing(tmp_path: Path) -> None:
    """Two lists under one round, or two numbers, or two sets of players: their messages never meet."""
    venue, other = sealed_venue(), fresh_venue(names=("ada", "ben"))
    other.place("ada", buy(3, 1))
    other.seal()
    circle = Circle(tmp_path)
    for index, host in circle.hosts.items():
        host.follow(other if index == 1 else venue)
    with circle:
        signed = circle.ask("sign", **venue.about())
        assert len({reply.fields["root"] for reply in signed.values()}) == 2
        circle.start()
        about = {**venue.about(), "timeout": 1, "members": [1, 2, 3]}
        two_lists = circle.ask("clear", **about, attempt=1)
        two_numbers = circle.ask_each("clear", {i: {**about, "attempt": 1 + i} for i in circle.hosts})
        for replies in (two_lists, two_numbers):
            for index, reply in replies.items():
                assert refusal(reply)
                assert_says_no_more(circle.hosts[index].seat, reply)
        assert [pins(host) for host in circle.hosts.values()] == [[]] * 3
        # All that they can say of each other is who was silent or gave up, and that is kept.
        circle.restart()
        for index, host in circle.hosts.items():
            kept = host.store.charges()
            assert {c.charge for c in kept} in ({"silent"}, {"silent", "aborted"})
            assert {(c.step, c.evidence) for c in kept} == {("curves/masks", b"")}
            assert index not in {c.member for c in kept}
            shown = circle.ask("status")[index].fields["charges"]
            assert [row[1:] for row in shown] == [[c.member, c.charge, c.step] for c in kept]
        assert {row(circle.hosts[i], venue).state for i in (2, 3)} == {AttemptState.ATTEMPTED}

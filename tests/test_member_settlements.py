"""A member signs the settlement that its own log has pending under an id, and no other one of that id."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkpool.errors import ChainError
from darkpool.settlement import Settlement, recover
from darkpool.types import Address, Signature
from tests.member_host import Host, fresh_venue, refusal
from tests.venue_log import Venue, crossed


@pytest.fixture
def venue() -> Venue:
    """Two rounds with a result and in no window."""
    made = fresh_venue(names=("ada", "ben"))
    crossed(made)
    crossed(made)
    return made


class Node:
    """All that a member asks of its node here."""

    def __init__(self) -> None:
        self.number, self.away = 1, False

    def epoch(self) -> int:
        if self.away:
            raise ChainError("node: no answer")
        return self.number


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()


def signer(host: Host, venue: Venue, settlement: Settlement) -> Address:
    reply = host.ask("settle", id=settlement.id)
    assert (reply.op, len(reply.blobs)) == ("signed", 1), reply
    return recover(settlement, venue.terms.domain, Signature(reply.blobs[0]))


def test_it_signs_what_is_pending_and_says_the_same_again_through_restarts(host: Host, venue: Venue) -> None:
    pending = [venue.window(1), venue.window(1)]
    host.follow(venue)
    for _ in range(2):
        assert [signer(host, venue, p.settlement) for p in pending] == [host.seat.signer] * 2
        first = host.ask("settle", id=1)
        assert host.ask("settle", id=1) == first
        host.restart()
        assert host.ask("settle", id=1) == first


@pytest.mark.parametrize("number", [0, 2, 3, -1, None, "1", True, 1 << 64])
def test_it_signs_no_id_that_is_not_pending(host: Host, venue: Venue, number: object) -> None:
    venue.window(1)
    host.follow(venue)
    assert refusal(host.ask("settle", id=number))
    assert host.ask("settle", id=1).op == "signed"


def test_it_signs_nothing_before_its_own_log_has_the_window(host: Host, venue: Venue) -> None:
    host.follow(venue)
    settlement = venue.window().settlement
    assert "not pending at this member" in refusal(host.ask("settle", id=1))
    host.follow(venue)
    assert signer(host, venue, settlement) == host.seat.signer


def test_it_signs_none_that_landed_or_is_void(host: Host, venue: Venue) -> None:
    venue.window(1)
    venue.settled()
    venue.window(1)
    venue.settled(final=False)
    host.follow(venue)
    for number in (1, 2):
        assert "not pending" in refusal(host.ask("settle", id=number))


def test_after_a_void_the_id_is_of_what_the_log_has_then(host: Host) -> None:
    """The old one can land no more: the chain's final clock is past its window."""
    venue = Venue(now=int(time.time()) - 700, names=("ada", "ben"))
    crossed(venue)
    old = venue.window().settlement
    host.follow(venue)
    assert signer(host, venue, old) == host.seat.signer
    venue.settled(final=False)
    venue.now += 700
    crossed(venue)
    new = venue.window().settlement
    host.follow(venue)
    assert (new.id, new.root != old.root) == (old.id, True)
    assert signer(host, venue, new) == host.seat.signer


def test_with_a_node_it_signs_for_the_vaults_epoch_alone(tmp_path: Path, venue: Venue) -> None:
    """Under another one the vault refuses it; and a node that is away is to be asked again."""
    node = Node()
    host = Host(tmp_path)
    venue.window()
    host.follow(venue)
    host.member._chain = node  # type: ignore[assignment]
    node.number = 2
    assert "not the vault's epoch" in refusal(host.ask("settle", id=1), retry=True)
    node.number, node.away = 1, True
    assert "no answer" in refusal(host.ask("settle", id=1), retry=True)
    node.away = False
    assert host.ask("settle", id=1).op == "signed"
    host.close()


def test_a_window_that_does_not_follow_is_refused_for_good(host: Host, venue: Venue) -> None:
    host.follow(venue)
    for fields in ({"id": 2, "epoch": 1, "rounds": 1}, {"id": 1, "epoch": 1, "rounds": 3}):
        entry = venue.entry("window", fields).encode()
        assert refusal(host.append([entry]))
    assert host.member.log.size == len(venue.entries)

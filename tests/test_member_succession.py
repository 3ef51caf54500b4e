"""A member signs for those who come next only what its own folder says, and only when it may be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commitments.errors import DecodeError
from darkpool.chain import Chain, Token, VaultTerms
from darkpool.committee.seat import Seat
from darkpool.committee.succession import first_committee, plan_of, propose, succeed
from darkpool.eip712 import address_of, fresh_key, recover_digest
from darkpool.errors import ConfigError, DarkpoolError, OrderRefused, Unavailable
from darkpool.message import Message
from darkpool.settlement import committee_digest
from darkpool.state import VenueState
from darkpool.tenure import MAX_WAIT, Tenure
from darkpool.tenure_file import FIRST, MAX_FILE, NEXT, Planned
from darkpool.timing import CLOCK_SLACK_SECONDS
from darkpool.types import Address
from tests.succession import other_seats, refreshed, replaced, rotated
from tests.venue_log import Venue, crossed, crossing
from tests.venue_support import NOW, seats, signers

GUARDIAN = Address(b"\x77" * 20)
Change = Callable[[VenueState, int], Tenure]


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> Venue:
    """At rest, by its members' clocks as by its own."""
    monkeypatch.setattr(time, "time", lambda: NOW + 1)
    return Venue(names=("ada", "ben"))


def a_vault(members: tuple[Seat, ...] = seats()) -> Chain:
    chain, operator = Chain.embedded(), fresh_key()
    chain.fund(address_of(operator), 10**20)
    token = Token(chain.deploy_token(operator, "Base", "BASE", 18), 1)
    terms = VaultTerms(tuple(sorted(s.signer for s in members)), 1, (token,), guardian=GUARDIAN)
    chain.deploy_vault(operator, terms)
    return chain


def asked(following: Tenure, **fields: Any) -> Message:  # noqa: ANN401 - fields of the request
    """The request as it comes over the link."""
    return Message.decode(Message("succeed", {**following.fields(), **fields}).encode())


# --- for the log ------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [refreshed, rotated, replaced])
def test_it_signs_what_its_folder_says(venue: Venue, change: Change) -> None:
    following = change(venue.state, NOW + 1)
    present = venue.state.tenures.current
    digest = present.succession(following, venue.terms.domain, venue.terms.venue)
    for seat in (*seats()[:2], other_seats()[2] if change is replaced else seats()[2]):
        reply = succeed(seat, venue.state, Planned(following), None, asked(following))
        assert recover_digest(digest, reply.blobs[0]) == seat.signer


REFUSED: dict[str, tuple[Callable[[Venue], tuple[Planned | None, Message]], str]] = {
    "no plan": (lambda v: (None, asked(rotated(v.state, NOW + 1))), "no plan"),
    "another plan": (
        lambda v: (Planned(refreshed(v.state, 0)), asked(rotated(v.state, NOW + 1))),
        "another one than this member's folder wants",
    ),
    "an old plan": (
        lambda v: _at_epoch(v, 0),
        "1 is next",
    ),
    "a plan too far": (lambda v: _at_epoch(v, 2), "1 is next"),
    "too late": (lambda v: _at(v, NOW - MAX_WAIT), "by this member's clock"),
    "too early": (lambda v: _at(v, NOW + 2 + CLOCK_SLACK_SECONDS), "by this member's clock"),
}


def _at_epoch(venue: Venue, epoch: int) -> tuple[Planned, Message]:
    following = replace(rotated(venue.state, NOW + 1), key_epoch=epoch)
    return Planned(following), asked(following)


def _at(venue: Venue, at: int) -> tuple[Planned, Message]:
    following = rotated(venue.state, at)
    return Planned(following), asked(following)


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused(venue: Venue, name: str) -> None:
    make, problem = REFUSED[name]
    planned, request = make(venue)
    with pytest.raises(OrderRefused, match=problem):
        succeed(seats()[0], venue.state, planned, None, request)


def test_nothing_is_signed_while_something_hangs_on_those_in_office(venue: Venue) -> None:
    for following in (refreshed(venue.state, NOW + 1), replaced(venue.state, NOW + 1)):
        sealed = crossing()
        with pytest.raises(OrderRefused, match="still sealed"):
            succeed(seats()[0], sealed.state, Planned(following), None, asked(following))
    crossed(venue)
    following = replaced(venue.state, NOW + 1)
    with pytest.raises(OrderRefused, match="not settled"):
        succeed(seats()[0], venue.state, Planned(following), None, asked(following))
    following = refreshed(venue.state, NOW + 1)
    succeed(seats()[0], venue.state, Planned(following), None, asked(following))


def test_the_vault_comes_before_the_log(venue: Venue) -> None:
    following = replaced(venue.state, NOW + 1)
    present = (*seats()[:2], other_seats()[2])
    with pytest.raises(Unavailable, match="has another one in office"):
        succeed(seats()[0], venue.state, Planned(following), a_vault(), asked(following))
    succeed(seats()[0], venue.state, Planned(following), a_vault(present), asked(following))
    kept = refreshed(venue.state, NOW + 1)  # with which the vault has nothing to do
    succeed(seats()[0], venue.state, Planned(kept), a_vault(present), asked(kept))


def test_a_stranger_is_not_asked(venue: Venue) -> None:
    following = refreshed(venue.state, NOW + 1)
    with pytest.raises(OrderRefused, match="in neither"):
        succeed(other_seats()[0], venue.state, Planned(following), None, asked(following))
    empty = VenueState(seats()[0].committee.key, signers())
    with pytest.raises(OrderRefused, match="no market"):
        succeed(seats()[0], empty, Planned(following), None, asked(following))


# --- for the vault ----------------------------------------------------------------------------------


def proposal(following: Tenure, epoch: int = 2, guardian: bytes = GUARDIAN) -> Message:
    return Message("propose", {**following.fields(), "epoch": epoch, "guardian": guardian.hex()})


@pytest.mark.parametrize("with_node", [True, False])
def test_it_signs_the_vaults_next_committee(venue: Venue, with_node: bool) -> None:
    following = replaced(venue.state, NOW + 1)
    plan = Planned(following, None if with_node else GUARDIAN)
    chain = a_vault() if with_node else None
    reply = propose(seats()[0], venue.state, plan, chain, proposal(following))
    members = sorted(following.signers.addresses.values())
    digest = committee_digest(2, members, 1, GUARDIAN, venue.terms.domain)
    assert recover_digest(digest, reply.blobs[0]) == seats()[0].signer


def test_a_proposal_that_is_not_the_folders_is_refused(venue: Venue) -> None:
    following, chain = replaced(venue.state, NOW + 1), a_vault()
    plan = Planned(following)

    def ask(request: Message, planned: Planned | None = plan, node: Chain | None = chain) -> None:
        propose(seats()[0], venue.state, planned, node, request)

    cases: list[tuple[Callable[[], None], str]] = [
        (lambda: ask(proposal(following), None), "no plan"),
        (lambda: ask(proposal(refreshed(venue.state, NOW + 1))), "another one than this member's folder"),
        (lambda: ask(proposal(following, guardian=bytes(20))), "guardian: another"),
        (lambda: ask(proposal(following), Planned(following, Address(b"\x55" * 20))), "guardian: another"),
        (lambda: ask(proposal(following), node=None), "no node"),
        (lambda: ask(proposal(following, epoch=1)), "2 is the vault's next"),
        (lambda: ask(proposal(following, epoch=3)), "2 is the vault's next"),
        (lambda: ask(proposal(following, epoch=0)), "epoch"),
        (lambda: ask(proposal(following, guardian=b"\x77" * 19)), "guardian"),
    ]
    ask(proposal(following))
    for call, problem in cases:
        with pytest.raises((DarkpoolError, DecodeError), match=problem):
            call()


# --- the file ---------------------------------------------------------------------------------------


def test_a_plan_is_read_as_it_was_written(venue: Venue, tmp_path: Path) -> None:
    assert plan_of(tmp_path) is None
    for guardian in (None, GUARDIAN):
        plan = Planned(replaced(venue.state, 0), guardian)
        (tmp_path / NEXT).write_text(plan.encode())
        assert plan_of(tmp_path) == plan
        assert plan.same(replaced(venue.state, 5))
        assert not plan.same(refreshed(venue.state, 0))


def test_a_member_knows_whom_the_venue_began_with(venue: Venue, tmp_path: Path) -> None:
    first = Tenure(signers(), seats()[0].committee.key)
    assert first_committee(tmp_path, seats()[0], signers()) == first
    (tmp_path / FIRST).write_text(Planned(first).encode())
    changed = rotated(venue.state, 1)
    assert first_committee(tmp_path, other_seats()[0], changed.signers) == first


CHANGES: dict[str, dict[str, Any]] = {
    "another key": {"more": 1},
    "no address": {"members": {"1": "0x12", "2": "0x" + "22" * 20, "3": "0x" + "33" * 20}},
    "a number": {"members": {"1": 5, "2": "0x" + "22" * 20, "3": "0x" + "33" * 20}},
    "a list": {"members": []},
    "a wrong checksum": {"members": {str(i): "0x" + f"aB{i}" + "cd" * 18 + "e" for i in (1, 2, 3)}},
    "threshold": {"threshold": 2},
    "guardian": {"guardian": "me"},
    "guardian of a number": {"guardian": 1},
    "modulus": {"modulus": "12"},
    "epoch": {"key_epoch": -1},
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_no_plan_is_refused(venue: Venue, tmp_path: Path, name: str) -> None:
    document = json.loads(Planned(refreshed(venue.state, 0)).encode())
    (tmp_path / NEXT).write_text(json.dumps({**document, **CHANGES[name]}))
    with pytest.raises(ConfigError, match=NEXT):
        plan_of(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"{" * 40, b" " * (MAX_FILE + 1)])
def test_other_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / NEXT).write_bytes(data)
    with pytest.raises(ConfigError, match=NEXT):
        plan_of(tmp_path)

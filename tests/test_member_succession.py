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
from darkpool.committee import staging
from darkpool.committee.home import SEAT
from darkpool.committee.seat import Seat
from darkpool.committee.succession import first_committee, plan_of, propose, succeed
from darkpool.eip712 import address_of, fresh_key, recover_digest
from darkpool.errors import ConfigError, DarkpoolError, OrderRefused, Unavailable
from darkpool.message import Message
from darkpool.settlement import committee_digest
from darkpool.state import VenueState
from darkpool.tenure import MAX_WAIT, NO_SHARING, Tenure, read_tenure
from darkpool.tenure_file import FIRST, MAX_FILE, NEXT, Planned
from darkpool.timing import CLOCK_SLACK_SECONDS
from darkpool.types import Address
from tests.succession import next_seat, other_seats, refreshed, replaced, rotated
from tests.venue_log import Venue, crossed, crossing
from tests.venue_support import NOW, seats, signers

GUARDIAN = Address(b"\x77" * 20)
Change = Callable[[VenueState, int], Tenure]


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> Venue:
    """At rest, by its members' clocks as by its own."""
    monkeypatch.setattr(time, "time", lambda: NOW + 1)
    return Venue(names=("ada", "ben"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where member 1 has its seat."""
    seats()[0].save(tmp_path / SEAT)
    return tmp_path / SEAT


def staged(path: Path, following: Tenure, index: int = 0, **changes: Any) -> Seat:  # noqa: ANN401 - of a Committee
    """The member's seat in those who follow, staged for them; with other public values of its sharing."""
    seat = next_seat(index, following, int(following.signers != signers()))
    seat = replace(seat, committee=replace(seat.committee, **changes))
    staging.stage(seat, path, following.plan.hash)
    return seat


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
def test_it_signs_what_its_folder_says(venue: Venue, tmp_path: Path, change: Change) -> None:
    following = change(venue.state, NOW + 1)
    present = venue.state.tenures.current
    digest = present.succession(following, venue.terms.domain, venue.terms.venue)
    for index, seat in enumerate(seats()):
        path = tmp_path / f"{index}.json"
        if seat.signer in following.signers.addresses.values():  # who leaves has its owner's word only
            staged(path, following, index)
        reply = succeed(seat, venue.state, Planned(following), None, path, asked(following))
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
def test_anything_else_is_refused(venue: Venue, path: Path, name: str) -> None:
    make, problem = REFUSED[name]
    planned, request = make(venue)
    staged(path, read_tenure(request))
    with pytest.raises(OrderRefused, match=problem):
        succeed(seats()[0], venue.state, planned, None, path, request)
    staging.withdraw(path)  # it is bound by no word


def test_it_signs_for_no_sharing_but_the_one_it_has_staged(venue: Venue, path: Path) -> None:
    """Of a change that some finished with another, by one liar's choice, few have signed any."""
    following = refreshed(venue.state, NOW + 1)

    def refusal(told: Tenure = following) -> str:
        with pytest.raises(OrderRefused) as caught:
            succeed(seats()[0], venue.state, Planned(told), None, path, asked(told))
        return str(caught.value)

    assert "no next seat staged" in refusal()
    mine, *others = next_seat(0, following).committee.values
    other = staged(path, following, values=(mine, *reversed(others)))
    assert "another one than this member has staged" in refusal()
    assert "another one than this member has staged" in refusal(replace(following, sharing=NO_SHARING))
    staging.withdraw(path)
    succeed_with = replace(following, sharing=other.committee.digest)
    staging.stage(other, path, following.plan.hash)
    succeed(seats()[0], venue.state, Planned(following), None, path, asked(succeed_with))


def test_a_refresh_that_was_staged_puts_no_successor_into_office(venue: Venue, path: Path) -> None:
    """The one who leaves had its part in it, and the successor has none."""
    wanted = replaced(venue.state, NOW + 1)

    def refusal(seat: Seat, plan: Tenure, told: Tenure = wanted) -> str:
        staging.stage(seat, path, plan.plan.hash)
        told = replace(told, sharing=seat.committee.digest)
        with pytest.raises(OrderRefused) as caught:
            succeed(seats()[0], venue.state, Planned(told), None, path, asked(told))
        return str(caught.value)

    same = refreshed(venue.state, NOW + 1)
    grown, plain = next_seat(0, wanted, 1), next_seat(0, same)
    assert "made for another committee" in refusal(plain, same)
    assert "made for another committee" in refusal(grown, same)
    assert "made for another committee" in refusal(grown, replace(wanted, key_epoch=2))
    assert "made for another committee" in refusal(next_seat(1, wanted, 1), wanted)
    assert "a refresh where members change" in refusal(plain, wanted)
    assert "a refresh where members change" in refusal(grown, same, same)


def test_once_it_has_signed_it_keeps_the_seat_while_its_word_is_good(venue: Venue, path: Path) -> None:
    following = refreshed(venue.state, NOW + 1)
    seat = staged(path, following)
    succeed(seats()[0], venue.state, Planned(following), None, path, asked(following))
    until = following.since + MAX_WAIT
    for now in (0, NOW, until):
        with pytest.raises(ConfigError, match="has signed the staged one into office"):
            staging.withdraw(path, now)
        with pytest.raises(ConfigError, match="has signed the staged one into office"):
            staging.stage(seat, path, following.plan.hash, now)
    late = replace(following, since=NOW)  # said again for an earlier time, it is no shorter
    succeed(seats()[0], venue.state, Planned(following), None, path, asked(late))
    with pytest.raises(ConfigError, match=f"until {until}"):
        staging.withdraw(path, until)
    assert staging.commit(path, following.sharing) == seat
    assert {p.name for p in path.parent.iterdir()} == {SEAT}


def test_its_word_passes_with_the_logs_time(venue: Venue, path: Path) -> None:
    following = refreshed(venue.state, NOW + 1)
    staged(path, following)
    succeed(seats()[0], venue.state, Planned(following), None, path, asked(following))
    staging.withdraw(path, following.since + MAX_WAIT + 1)
    assert {p.name for p in path.parent.iterdir()} == {SEAT}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "{", '{"sharing": 1}', '{"sharing": "%s", "plan": "%s", "until": -1}']
)
def test_nothing_is_given_up_or_signed_by_a_broken_note(venue: Venue, path: Path, text: str) -> None:
    following = refreshed(venue.state, NOW + 1)
    staged(path, following)
    about = path.with_suffix(".next.about.json")
    about.write_text(text.replace("%s", "00" * 32))
    for call in (staging.withdraw, staging.kept):
        with pytest.raises(ConfigError, match=about.name):
            call(path)
    with pytest.raises(ConfigError, match=about.name):
        succeed(seats()[0], venue.state, Planned(following), None, path, asked(following))
    about.write_text('{"sharing": "%s", "plan": "%s", "until": 0}'.replace("%s", "00" * 32))
    with pytest.raises(ConfigError, match="of another seat"):
        succeed(seats()[0], venue.state, Planned(following), None, path, asked(following))


def test_nothing_is_signed_while_something_hangs_on_those_in_office(venue: Venue, path: Path) -> None:
    for following in (refreshed(venue.state, NOW + 1), replaced(venue.state, NOW + 1)):
        sealed = crossing()
        with pytest.raises(OrderRefused, match="still sealed"):
            succeed(seats()[0], sealed.state, Planned(following), None, path, asked(following))
    crossed(venue)
    following = replaced(venue.state, NOW + 1)
    with pytest.raises(OrderRefused, match="not settled"):
        succeed(seats()[0], venue.state, Planned(following), None, path, asked(following))
    following = refreshed(venue.state, NOW + 1)
    staged(path, following)
    succeed(seats()[0], venue.state, Planned(following), None, path, asked(following))


def test_the_vault_comes_before_the_log(venue: Venue, path: Path) -> None:
    following = replaced(venue.state, NOW + 1)
    present = (*seats()[:2], other_seats()[2])
    with pytest.raises(Unavailable, match="has another one in office"):
        succeed(seats()[0], venue.state, Planned(following), a_vault(), path, asked(following))
    staged(path, following)
    succeed(seats()[0], venue.state, Planned(following), a_vault(present), path, asked(following))
    kept, elsewhere = refreshed(venue.state, NOW + 1), path.with_name("other.json")
    staged(elsewhere, kept)  # with which the vault has nothing to do
    succeed(seats()[0], venue.state, Planned(kept), a_vault(present), elsewhere, asked(kept))


def test_a_stranger_is_not_asked(venue: Venue, path: Path) -> None:
    following = refreshed(venue.state, NOW + 1)
    with pytest.raises(OrderRefused, match="in neither"):
        succeed(other_seats()[0], venue.state, Planned(following), None, path, asked(following))
    empty = VenueState(seats()[0].committee.key, signers())
    with pytest.raises(OrderRefused, match="no market"):
        succeed(seats()[0], empty, Planned(following), None, path, asked(following))


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
        assert plan_of(tmp_path) == Planned(plan.tenure.plan, guardian)
        assert plan.same(replaced(venue.state, 5))
        assert plan.same(replace(replaced(venue.state, 5), sharing=b"\x5a" * 32))
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

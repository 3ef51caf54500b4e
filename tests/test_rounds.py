"""A member goes forward only: a list it signed has numbered attempts and one end, through any restart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkpool import eip712
from darkpool.certificates import abandon_digest
from darkpool.committee.evaluator import Evaluator
from darkpool.committee.rounds import MAX_ATTEMPTS, MAX_STEP_SECONDS
from darkpool.committee.steps import Attempt
from darkpool.listing import NO_CROSS, RoundResult
from darkpool.message import Message
from darkpool.results import read_result, result_fields
from darkpool.store.records import AttemptRow, AttemptState
from darkpool.types import Address, Lots
from tests.member_host import Host, refusal, sealed_venue
from tests.venue_log import Venue, crossing_result
from tests.venue_support import boxes_for, key_of, signatures_of

STATES = (None, *AttemptState)
LATEST = 2  # number of the latest attempt of whoever got so far
NEXT: dict[str, Any] = {"timeout": 5, "attempt": LATEST + 1, "members": [1, 2, 3]}
BEFORE_THE_END = (AttemptState.SEALED, AttemptState.ATTEMPTED, AttemptState.BOXED)


@pytest.fixture
def venue() -> Venue:
    return sealed_venue()


@pytest.fixture
def host(tmp_path: Path, venue: Venue) -> Iterator[Host]:
    """It has the log, with the sealed round."""
    made = Host(tmp_path)
    made.follow(venue)
    yield made
    made.close()


def digest_of(venue: Venue) -> bytes:
    return venue.sealed_list.digest(venue.terms.domain)


def boxes(venue: Venue) -> dict[Address, bytes]:
    """This member's sealed totals."""
    made = {}
    for name, (bought, sold) in {"ada": (1, 0), "ben": (0, 1)}.items():
        wallet = venue.wallets[name]
        made[wallet.address] = boxes_for(wallet, digest_of(venue), bought, sold)[1]
    return dict(sorted(made.items()))


def advance(host: Host, venue: Venue, state: AttemptState | None) -> None:
    """Let it get so far, and then die."""
    if state is None:
        return
    if state is AttemptState.ABANDONED:
        assert host.ask("abandon", **venue.about()).op == "abandoned"
    else:
        assert host.ask("sign", **venue.about()).op == "signed"
    attempt = host.store.attempt(digest_of(venue))
    assert attempt is not None
    if state in {AttemptState.ATTEMPTED, AttemptState.BOXED, AttemptState.SIGNED}:
        attempt = replace(attempt, state=AttemptState.ATTEMPTED, attempts=LATEST)
        host.store.record(attempt)
    if state in {AttemptState.BOXED, AttemptState.SIGNED}:
        mine = boxes(venue)
        payload = Message("boxes", {"accounts": [a.hex() for a in mine]}, list(mine.values())).encode()
        host.store.record(replace(attempt, state=AttemptState.BOXED, payload=payload))
    if state is AttemptState.SIGNED:
        assert adopt(host, venue, crossing_result(venue)).fields["state"] == "signed"
    host.restart()


def clear(host: Host, venue: Venue, **fields: Any) -> Message:  # noqa: ANN401 - of a request
    """The next attempt, by all, but for those fields."""
    return host.ask("clear", **{**venue.about(), **NEXT, **fields})


def row(host: Host, venue: Venue) -> AttemptRow | None:
    return host.store.attempt(digest_of(venue))


def totals(host: Host, venue: Venue) -> list[bytes]:
    """Its sealed totals, as it keeps them."""
    found = row(host, venue)
    assert found is not None
    blobs = Message.decode(found.payload).blobs
    return list(blobs if found.state is AttemptState.BOXED else blobs[1:])


def adopt(
    host: Host, venue: Venue, result: RoundResult, signatures: Sequence[bytes] | None = None
) -> Message:
    if signatures is None:
        signatures = signatures_of(venue.state.result_digest(venue.book, result), (2, 3))
    return host.ask("adopt", signatures, **venue.about(), **result_fields(result))


# --- signing ----------------------------------------------------------------------------------------


def test_it_signs_the_list_it_has_itself_and_says_the_same_again(host: Host, venue: Venue) -> None:
    reply = host.ask("sign", **venue.about())
    eip712.check_signer(digest_of(venue), reply.blobs[0], host.seat.signer)
    assert reply.fields["root"] == venue.sealed_list.root.hex()
    for state in BEFORE_THE_END[1:]:
        host.restart()
        assert host.ask("sign", **venue.about()) == reply
        attempt = row(host, venue)
        assert attempt is not None
        host.store.record(replace(attempt, state=state))
    assert host.ask("sign", **venue.about()) == reply


@pytest.mark.parametrize("op", ["sign", "clear", "outcome", "adopt", "abandon"])
@pytest.mark.parametrize("change", [{"round": 2}, {"round": 0}, {"market": "55" * 32}, {"market": None}])
def test_only_the_sealed_list_is_spoken_of(host: Host, venue: Venue, op: str, change: dict[str, Any]) -> None:
    assert refusal(host.ask(op, **{**venue.about(), **NEXT, **change}))
    assert row(host, venue) is None


@pytest.mark.parametrize("op", ["sign", "clear", "outcome", "adopt", "abandon"])
def test_what_is_over_is_spoken_of_no_more(host: Host, venue: Venue, op: str) -> None:
    about = venue.about()
    venue.abort()
    host.follow(venue)
    assert "not sealed at this member" in refusal(host.ask(op, **about))


def test_a_sealing_time_that_is_not_the_present_is_not_signed(tmp_path: Path) -> None:
    late = sealed_venue()
    entries = [Message.decode(data) for data in late.entries]
    late.entries = [
        Message(e.op, {**e.fields, "time": e.fields["time"] - 31}, e.blobs).encode() for e in entries
    ]
    host = Host(tmp_path)
    host.follow(late)
    assert "s ago, more than 30 s by this member's clock" in refusal(host.ask("sign", **late.about()))
    assert "not signed" in refusal(clear(host, late))
    host.close()


# --- clearing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [None, AttemptState.ABANDONED])
def test_only_a_list_that_was_signed_and_not_abandoned_is_cleared(
    host: Host, venue: Venue, state: AttemptState | None
) -> None:
    advance(host, venue, state)
    before = row(host, venue)
    said = "not signed" if state is None else "abandoned"
    assert f"it is {said} at this member" in refusal(clear(host, venue))
    assert row(host, venue) == before


@pytest.mark.parametrize("state", STATES[2:5])
def test_attempts_are_numbered_upwards_from_the_last_one_through_any_restart(
    host: Host, venue: Venue, state: AttemptState
) -> None:
    """An attempt is named by its number: under a name used before, what was sent then could be sent again."""
    advance(host, venue, state)
    before = row(host, venue)
    for number in (LATEST, 1):
        assert f"attempt: {number} after {LATEST}" in refusal(clear(host, venue, attempt=number))
    # The next one is refused only because there is no evaluator.
    for number in (LATEST + 1, MAX_ATTEMPTS):
        assert "evaluator" in refusal(clear(host, venue, attempt=number), retry=True)
    assert row(host, venue) == before


def test_the_number_of_attempts_and_the_time_for_a_step_are_bounded(host: Host, venue: Venue) -> None:
    advance(host, venue, AttemptState.SEALED)
    before = row(host, venue)
    for number in (0, -1, MAX_ATTEMPTS + 1, 1 << 64, True, "3", 3.0, None, [3]):
        assert "attempt" in refusal(clear(host, venue, attempt=number))
    for seconds in (0, -1, MAX_STEP_SECONDS + 1, True, None, "5", 5.0):
        assert "timeout" in refusal(clear(host, venue, timeout=seconds))
    assert row(host, venue) == before


NO_PLAYERS: tuple[object, ...] = (
    *(None, 3, "123", {"1": 2}),
    *([], [1], [1, 2], [2, 3]),
    *([1, 2, 2], [1, 1, 2, 3], [1, 3, 2], [3, 2, 1]),
    *([0, 1, 2, 3], [1, 2, 3, 4], [1, 2, -3], [1, 2, 1 << 70], list(range(1, 300))),
    *([True, 2, 3], [1.0, 2, 3], ["1", "2", "3"], [[1, 2, 3]], [1, 2, None]),
)


def test_players_ascend_are_members_this_one_among_them_and_as_many_as_it_takes(
    host: Host, venue: Venue
) -> None:
    """With fewer than 2t+1 nobody could tell a false share from a true one."""
    advance(host, venue, AttemptState.SEALED)
    before = row(host, venue)
    for players in NO_PLAYERS:
        assert "members" in refusal(clear(host, venue, members=players)), players
    assert row(host, venue) == before


def test_without_an_evaluator_nothing_is_attempted(host: Host, venue: Venue) -> None:
    advance(host, venue, AttemptState.SEALED)
    before = row(host, venue)
    assert "none among members [1, 2, 3]" in refusal(clear(host, venue, attempt=1), retry=True)
    assert row(host, venue) == before


def test_without_an_evaluator_the_others_are_told_and_by_whom_it_was_lost(
    host: Host, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would wait for it in vain, and charge it with its silence."""
    advance(host, venue, AttemptState.SEALED)
    told = list[tuple[bytes, str]]()
    monkeypatch.setattr(host.member.mesh, "abort", lambda session, reason: told.append((session, reason)))
    name = Attempt(digest_of(venue), 1, (1, 2, 3)).name(host.seat)
    reply = clear(host, venue, attempt=1)
    assert told == [(name, "evaluator: none among members [1, 2, 3]")]
    assert reply.fields["blame"] == []
    evaluator = Evaluator(index=1, n=3, t=1, send=lambda _peer, _data: None)
    evaluator.feed(2, b"")  # as if its child had ended at what member 2 sent
    host.member.rounds.evaluator = evaluator
    assert clear(host, venue, attempt=1).fields["blame"] == [[2, "off", "evaluation"]]
    assert [session for session, _ in told] == [name, name]


# --- adopting ---------------------------------------------------------------------------------------


def test_a_result_that_others_signed_is_adopted_in_the_last_step(host: Host, venue: Venue) -> None:
    advance(host, venue, AttemptState.BOXED)
    result, kept = crossing_result(venue), totals(host, venue)
    reply = adopt(host, venue, result)
    assert read_result(reply) == result
    signed = venue.state.result_digest(venue.book, result)
    eip712.check_signer(signed, reply.blobs[0], host.seat.signer)
    assert list(reply.blobs[1:]) == kept
    host.restart()
    assert host.ask("outcome", **venue.about()) == reply
    assert adopt(host, venue, NO_CROSS, []) == reply  # it has an end, whatever is asked
    assert "has signed" in refusal(host.ask("abandon", **venue.about()))


@pytest.mark.parametrize("state", [s for s in STATES if s not in {AttemptState.BOXED, AttemptState.SIGNED}])
def test_a_result_is_not_adopted_before_the_last_step_nor_after_abandoning(
    host: Host, venue: Venue, state: AttemptState | None
) -> None:
    advance(host, venue, state)
    before = row(host, venue)
    assert "adopt" in refusal(adopt(host, venue, crossing_result(venue)))
    assert row(host, venue) == before


@pytest.mark.parametrize("state", [s for s in STATES if s is not AttemptState.SIGNED])
def test_that_nothing_crosses_is_adopted_from_an_attempt_alone(
    host: Host, venue: Venue, state: AttemptState | None
) -> None:
    advance(host, venue, state)
    reply = adopt(host, venue, NO_CROSS)
    if state is AttemptState.ATTEMPTED:
        assert (reply.fields["state"], len(reply.blobs)) == ("signed", 1)
    else:
        assert "adopt" in refusal(reply)


@pytest.mark.parametrize("name", ["none", "one", "one twice", "stranger", "another result", "cut", "itself"])
def test_a_result_needs_the_word_of_an_honest_member(host: Host, venue: Venue, name: str) -> None:
    advance(host, venue, AttemptState.BOXED)
    result, before = crossing_result(venue), row(host, venue)
    good = signatures_of(venue.state.result_digest(venue.book, result), (2, 3))
    other = venue.state.result_digest(venue.book, replace(result, volume=Lots(2)))
    bad: dict[str, list[bytes]] = {
        "none": [],
        "one": list(good[:1]),
        "one twice": [good[0], good[0]],
        "stranger": [good[0], eip712.sign_digest(bytes(32), key_of("ada"))],
        "another result": list(signatures_of(other, (2, 3))),
        "cut": [good[0], good[1][:-1]],
        "itself": [good[0], good[0][:-1] + bytes([good[0][-1] ^ 1])],
    }
    assert refusal(adopt(host, venue, result, bad[name]))
    assert row(host, venue) == before


# --- abandoning -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [None, *BEFORE_THE_END])
def test_who_abandons_never_signs(host: Host, venue: Venue, state: AttemptState | None) -> None:
    advance(host, venue, state)
    reply = host.ask("abandon", **venue.about())
    signed = abandon_digest(venue.terms.domain, digest_of(venue))
    eip712.check_signer(signed, reply.blobs[0], host.seat.signer)
    host.restart()
    assert host.ask("abandon", **venue.about()) == reply
    assert host.ask("outcome", **venue.about()).fields["state"] == "abandoned"
    assert "abandoned it" in refusal(host.ask("sign", **venue.about()))
    assert "it is abandoned" in refusal(clear(host, venue))
    for result in (crossing_result(venue), NO_CROSS):
        assert refusal(adopt(host, venue, result))
    attempt = row(host, venue)
    assert attempt is not None
    assert attempt.state is AttemptState.ABANDONED


def test_who_signed_never_abandons(host: Host, venue: Venue) -> None:
    advance(host, venue, AttemptState.SIGNED)
    for _ in range(2):
        assert "has signed a result" in refusal(host.ask("abandon", **venue.about()))
        host.restart()


@pytest.mark.parametrize("state", STATES)
def test_it_says_how_far_it_went_and_nothing_more(
    host: Host, venue: Venue, state: AttemptState | None
) -> None:
    advance(host, venue, state)
    reply = host.ask("outcome", **venue.about())
    assert reply.fields["state"] == ("none" if state is None else state)
    if state is not AttemptState.SIGNED:
        assert (set(reply.fields), list(reply.blobs)) == ({"state"}, [])


# --- its sealed totals ------------------------------------------------------------------------------


def result_entry(venue: Venue, boxed: list[int], sealed: list[bytes]) -> bytes:
    entry = venue.result_entry(crossing_result(venue))
    return Message(entry.op, {**entry.fields, "boxed": boxed}, [*entry.blobs, *sealed]).encode()


def test_a_result_it_signed_carries_its_sealed_totals(host: Host, venue: Venue) -> None:
    """Else the operator could keep accounts from learning their fills."""
    advance(host, venue, AttemptState.SIGNED)
    mine = totals(host, venue)
    good = result_entry(venue, [1], mine)
    for bad in (
        result_entry(venue, [], []),
        result_entry(venue, [2], mine),
        result_entry(venue, [1], mine[:1]),
        result_entry(venue, [1], mine[::-1]),
        result_entry(venue, [1], [mine[0], mine[1][:-1]]),
        result_entry(venue, [1, 2], mine),
    ):
        assert "sealed totals" in refusal(host.append([bad]))
    assert host.append([good]).op == "appended"

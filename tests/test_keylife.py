"""Members change their shares together or not at all; whoever breaks a step is in every pair named."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial as partial_of
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.errors import ParameterError, VerificationError
from commitments.resharing import Change
from commitments.threshold import check_share, combine, partial
from darkpool.committee.keylife import ChangeAborted, KeyChange, Parameters
from darkpool.committee.seat import Seat
from darkpool.committee.staging import commit, stage, withdraw
from darkpool.eip712 import fresh_key
from darkpool.errors import ConfigError
from tests.venue_support import seats

SEATS = seats(4, 1)
COMMITTEE = SEATS[0].committee
WIDTH = COMMITTEE.key.modulus_bytes
HEADER = 35
REFRESH, REPLACEMENT = Change(COMMITTEE, (), (1, 2, 3, 4)), Change(COMMITTEE, (3,), (1, 4))
BOTH = pytest.mark.parametrize("change", [REFRESH, REPLACEMENT], ids=["refresh", "replacement"])

Tamper = Callable[[str, int, int, bytes], bytes | None]
"""(step, sender, receiver, message) -> what arrives, None for nothing."""


def honest(_step: str, _sender: int, _receiver: int, data: bytes) -> bytes:
    return data


def members(dealt: tuple[Seat, ...], change: Change, session: bytes = b"") -> dict[int, KeyChange]:
    parameters = Parameters(change, session or secrets.token_bytes(32))
    return {
        seat.index: KeyChange.succeed(parameters, seat.index, fresh_key())
        if seat.index in change.replaced
        else KeyChange.begin(parameters, seat)
        for seat in dealt
    }


def delivered(
    step: str, out: Mapping[int, Mapping[int, bytes]], tamper: Tamper
) -> dict[int, dict[int, bytes]]:
    """By receiver and sender; a step's messages by sender and receiver go in."""
    arrived: dict[int, dict[int, bytes]] = {i: {} for i in COMMITTEE.indices}
    for sender, messages in out.items():
        for receiver, data in messages.items():
            got = tamper(step, sender, receiver, data)
            if got is not None:
                arrived[receiver][sender] = got
    return arrived


def run(who: Mapping[int, KeyChange], tamper: Tamper = honest) -> dict[int, Seat | ChangeAborted]:
    """How the change ends for each member."""
    ends: dict[int, Seat | ChangeAborted] = {}

    def to_all(step: str, call: Callable[[int], bytes]) -> dict[int, dict[int, bytes]]:
        out: dict[int, dict[int, bytes]] = {}
        for i, member in who.items():
            try:
                out[i] = dict.fromkeys(member.peers, call(i))
            except ChangeAborted as error:
                ends[i] = error
        return delivered(step, out, tamper)

    dealt = delivered("deal", {i: m.deal() for i, m in who.items()}, tamper)
    verdicts = to_all("verdict", lambda i: who[i].receive(dealt[i]))
    confirmations = to_all("confirm", lambda i: who[i].judge(verdicts[i]))
    for i in set(who) - set(ends):
        try:
            ends[i] = who[i].finish(confirmations[i])
        except ChangeAborted as error:
            ends[i] = error
    return ends


def agreed(ends: Mapping[int, Seat | ChangeAborted]) -> tuple[Seat, ...]:
    made = [ends[i] for i in sorted(ends)]
    assert all(isinstance(end, Seat) for end in made), made
    return tuple(end for end in made if isinstance(end, Seat))


def aborted(ends: Mapping[int, Seat | ChangeAborted], culprit: int) -> set[tuple[int, int]]:
    """Nobody has a next seat, and every pair that anybody else names has the culprit in it."""
    named = set()
    for i, end in ends.items():
        assert isinstance(end, ChangeAborted), (i, end)
        if i != culprit:
            named |= set(end.pairs)
    return named


def opens(made: tuple[Seat, ...]) -> bool:
    committee = made[0].committee
    c = committee.key.encrypt(4_321, 5**120)
    pair = {s.index: partial(s.committee, s.share, c) for s in made[1:3]}
    try:
        return bool(combine(committee, c, pair).plaintext == 4_321)
    except VerificationError:
        return False


# --- what an honest change leaves -------------------------------------------------------------------


@BOTH
def test_all_have_the_next_seat(change: Change) -> None:
    made = agreed(run(members(SEATS, change)))
    after = made[0].committee
    assert all(seat.committee == after for seat in made)
    assert (after.epoch, after.scale, after.key) == (1, len(change.replaced), COMMITTEE.key)
    assert opens(made)
    assert not opens((made[0], SEATS[1], made[2], made[3]))
    for before, seat in zip(SEATS, made, strict=True):
        check_share(after, seat.share)
        assert (seat.signer == before.signer) == (seat.index not in change.replaced)
        assert set(seat.masks.keys) == set(before.masks.keys)


@BOTH
def test_every_mask_key_is_new_and_known_to_its_set(change: Change) -> None:
    made = agreed(run(members(SEATS, change)))
    everybody: dict[tuple[int, ...], set[bytes]] = {}
    for seat in made:
        for holders, key in seat.masks.keys.items():
            everybody.setdefault(holders, set()).add(key)
    assert all(len(keys) == 1 for keys in everybody.values())
    old = {key for seat in SEATS for key in seat.masks.keys.values()}
    new = {key for keys in everybody.values() for key in keys}
    assert len(new) == len(everybody) == 4
    assert not old & new


@pytest.mark.parametrize("members_, threshold", [(3, 1), (5, 1), (5, 2)])
def test_changes_follow_changes(members_: int, threshold: int) -> None:
    made = seats(members_, threshold)
    for replaced in ((), (1,), (members_,), ()):
        committee = made[0].committee
        staying = tuple(i for i in committee.indices if i not in replaced)
        change = Change(committee, replaced, staying[: threshold + 1] if replaced else staying)
        parameters = Parameters(change, secrets.token_bytes(32))
        who = {
            s.index: KeyChange.succeed(parameters, s.index, s.signing_key)
            if s.index in replaced
            else KeyChange.begin(parameters, s)
            for s in made
        }
        dealt = {i: m.deal() for i, m in who.items()}
        verdicts = {i: m.receive({j: dealt[j][i] for j in m.peers}) for i, m in who.items()}
        confirmed = {i: m.judge({j: verdicts[j] for j in m.peers}) for i, m in who.items()}
        made = tuple(m.finish({j: confirmed[j] for j in m.peers}) for m in who.values())
    committee = made[0].committee
    assert (committee.epoch, committee.scale) == (4, 2)
    c = committee.key.encrypt(99, 3**100)
    partials = {s.index: partial(committee, s.share, c) for s in made[-threshold - 1 :]}
    assert combine(committee, c, partials).plaintext == 99


def test_no_message_but_the_first_holds_a_secret() -> None:
    who = members(SEATS, REFRESH)
    dealt = {i: m.deal() for i, m in who.items()}
    verdicts = {i: m.receive({j: dealt[j][i] for j in m.peers}) for i, m in who.items()}
    confirmed = {i: m.judge({j: verdicts[j] for j in m.peers}) for i, m in who.items()}
    made = who[1].finish({j: confirmed[j] for j in who[1].peers})
    public = b"".join((*verdicts.values(), *confirmed.values()))
    for key in made.masks.keys.values():
        assert key not in public
    shown = repr(who[1]) + repr(made)
    for secret in (made.share.value, SEATS[0].share.value, who[1]._dealt[2].sub_share):
        assert str(secret) not in shown
        assert f"{secret:x}".encode() not in public
    assert all(key.hex() not in shown and repr(key) not in shown for key in made.masks.keys.values())


# --- what one member can break ----------------------------------------------------------------------


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def at(step: str, sender: int, receiver: int, change: Callable[[bytes], bytes | None]) -> Tamper:
    return lambda *m: change(m[3]) if m[:3] == (step, sender, receiver) else m[3]


DEALT: dict[str, Callable[[bytes], bytes | None]] = {
    "name": lambda d: flip(d, 0),
    "step": lambda d: flip(d, 32),
    "sender": lambda d: flip(d, 33),
    "receiver": lambda d: flip(d, 34),
    "constant": lambda d: flip(d, HEADER + WIDTH - 1),
    "slope": lambda d: flip(d, HEADER + 2 * WIDTH - 1),
    "sub-share": lambda d: flip(d, HEADER + 2 * WIDTH + REFRESH.sub_share_bytes - 1),
    "sub-share too large": lambda d: (
        d[: HEADER + 2 * WIDTH]
        + b"\xff" * REFRESH.sub_share_bytes
        + d[HEADER + 2 * WIDTH + REFRESH.sub_share_bytes :]
    ),
    "a byte less": lambda d: d[:-1],
    "a byte more": lambda d: d + b"\0",
    "empty": lambda _: b"",
    "missing": lambda _: None,
}


@pytest.mark.parametrize("part", DEALT)
def test_a_wrong_dealing_ends_the_change_for_all(part: str) -> None:
    ends = run(members(SEATS, REFRESH), at("deal", 2, 4, DEALT[part]))
    assert aborted(ends, 2) == {(4, 2)}
    assert "member 4 refuses what member 2 sent" in str(ends[1])
    made = agreed(run(members(SEATS, REFRESH)))  # nothing was lost
    assert opens(made)


def test_a_mask_key_sent_twofold_is_seen() -> None:
    # Member 1 draws for (1, 2, 3): what it sends 3 differs from what it and 2 have.
    ends = run(members(SEATS, REFRESH), at("deal", 1, 3, lambda d: flip(d, len(d) - 1)))
    assert aborted(ends, 1) == {(3, 1)}


def test_two_dealings_of_one_dealer_are_seen() -> None:
    # Each fits its receiver's sub-share; without the exchange of hashes the members would part here.
    session = secrets.token_bytes(32)
    who = members(SEATS, REFRESH, session)
    other = members(SEATS, REFRESH, session)[2].deal()[4]
    keys = 32 * sum(4 in a for a in who[2]._drawn(2))
    assert keys
    ends = run(who, at("deal", 2, 4, lambda d: other[:-keys] + d[-keys:]))
    assert aborted(ends, 2) == {(4, 2)}


def test_a_refresh_by_whoever_deals_a_share_instead() -> None:
    parameters = Parameters(REFRESH, secrets.token_bytes(32))
    liar = KeyChange.begin(Parameters(REPLACEMENT, parameters.session), SEATS[0])
    liar._name = parameters.name
    out = liar.deal()
    for peer, data in out.items():
        body = data[:HEADER] + data[HEADER : HEADER + 2 * WIDTH] + bytes(REFRESH.sub_share_bytes)
        reader = KeyChange.begin(parameters, SEATS[peer - 1])
        with pytest.raises(VerificationError, match="member 1: its constant"):
            reader._read_dealt(1, body)


VERDICTS: dict[str, Callable[[bytes], bytes | None]] = {
    "name": lambda d: flip(d, 31),
    "step": lambda d: flip(d, 32),
    "sender": lambda d: flip(d, 33),
    "receiver": lambda d: flip(d, 34),
    "flag of two": lambda d: d[: HEADER + 1] + b"\x02" + d[HEADER + 2 :],
    "short": lambda d: d[:-1],
    "long": lambda d: d + b"\0",
    "missing": lambda _: None,
}


@pytest.mark.parametrize("part", VERDICTS)
def test_a_verdict_that_is_none_ends_the_change_for_all(part: str) -> None:
    # Only member 1 sees it; the others wait for its confirmation in vain.
    ends = run(members(SEATS, REPLACEMENT), at("verdict", 2, 1, VERDICTS[part]))
    assert isinstance(ends[1], ChangeAborted)
    assert ends[1].pairs == ((1, 2),)
    assert {(i, 1) for i in (2, 3, 4)} == {p for i in (2, 3, 4) for p in getattr(ends[i], "pairs", ())}


def test_each_part_of_a_verdict_counts() -> None:
    flags, dealings, checks = 4, 2 * 32, 3 * 32
    length = HEADER + flags + dealings + checks
    for position in (HEADER, HEADER + 3, HEADER + flags, HEADER + flags + 32, length - checks, length - 1):
        ends = run(members(SEATS, REPLACEMENT), at("verdict", 2, 1, partial_of(flip, position=position)))
        assert isinstance(ends[1], ChangeAborted)
        assert all(2 in pair for pair in ends[1].pairs)
        assert not any(isinstance(end, Seat) for end in ends.values())


def test_a_false_complaint_names_the_pair_and_stores_nothing() -> None:
    accuse: Tamper = lambda *m: flip(m[3], HEADER + 3) if m[:2] == ("verdict", 2) else m[3]  # noqa: E731
    assert aborted(run(members(SEATS, REFRESH), accuse), 2) == {(2, 4)}


@pytest.mark.parametrize(
    "change", [lambda d: flip(d, 0), lambda d: flip(d, 40), lambda d: d[:-1], lambda d: d * 2, lambda _: None]
)
def test_without_all_confirmations_there_is_no_next_seat(change: Callable[[bytes], bytes | None]) -> None:
    ends = run(members(SEATS, REFRESH), at("confirm", 3, 1, change))
    assert isinstance(ends[1], ChangeAborted)
    assert ends[1].pairs == ((1, 3),)
    # The others have one, but do not use it before all have staged (staging.py).
    assert all(isinstance(ends[i], Seat) for i in (2, 3, 4))


@pytest.mark.parametrize("step", ["deal", "verdict", "confirm"])
def test_messages_of_another_try_are_refused(step: str) -> None:
    recorded: dict[tuple[str, int, int], bytes] = {}

    def record(*m: Any) -> bytes:  # noqa: ANN401
        recorded[m[:3]] = m[3]
        return bytes(m[3])

    agreed(run(members(SEATS, REFRESH), record))
    ends = run(members(SEATS, REFRESH), at(step, 3, 2, lambda _: recorded[step, 3, 2]))
    assert isinstance(ends[2], ChangeAborted)
    assert (2, 3) in ends[2].pairs
    # Nor what another receiver was sent in this try.
    current: dict[int, bytes] = {}

    def crossed(s: str, sender: int, receiver: int, data: bytes) -> bytes:
        if (s, sender) == ("deal", 3):
            current[receiver] = data
            return current[1] if receiver == 2 else data
        return data

    assert aborted(run(members(SEATS, REFRESH), crossed), 3) == {(2, 3)}


@given(st.binary(max_size=1_200), st.sampled_from(["deal", "verdict", "confirm"]), st.booleans())
@settings(max_examples=60)
def test_any_bytes_are_a_refusal_and_nothing_else(data: bytes, step: str, headed: bool) -> None:
    def garbage(s: str, sender: int, receiver: int, real: bytes) -> bytes:
        if (s, sender, receiver) != (step, 2, 1):
            return real
        return real[:HEADER] + data if headed else data

    ends = run(members(SEATS, REFRESH), garbage)
    assert isinstance(ends[1], ChangeAborted)
    assert all(2 in pair for pair in ends[1].pairs)


# --- changes nobody can begin -----------------------------------------------------------------------


def test_a_member_of_another_epoch_or_key_does_not_take_part() -> None:
    made = agreed(run(members(SEATS, REFRESH)))
    parameters = Parameters(REFRESH, bytes(32))
    with pytest.raises(ParameterError, match="epoch 1, or of another key; the change is of epoch 0"):
        KeyChange.begin(parameters, made[0])
    with pytest.raises(ParameterError, match="of another key"):
        KeyChange.begin(parameters, seats(5, 1)[0])
    with pytest.raises(ParameterError, match="of another key"):
        KeyChange.begin(
            parameters, replace(SEATS[0], committee=replace(COMMITTEE, values=COMMITTEE.values[::-1]))
        )


def test_who_may_be_what() -> None:
    parameters = Parameters(REPLACEMENT, bytes(32))
    with pytest.raises(ParameterError, match="member 3: a share"):
        KeyChange.begin(parameters, SEATS[2])
    for index in (1, 2, 4):
        with pytest.raises(ParameterError, match=f"member {index}: a share"):
            KeyChange.succeed(parameters, index, fresh_key())
    for index in (0, 5):
        with pytest.raises(ParameterError, match=f"member {index} of a committee of 4"):
            KeyChange.succeed(parameters, index, fresh_key())


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_try_has_a_name_of_32_bytes(length: int) -> None:
    with pytest.raises(ParameterError, match=f"{length} bytes"):
        Parameters(REFRESH, bytes(length))


def test_every_part_of_a_change_is_in_its_name() -> None:
    names = {
        Parameters(change, session).name
        for change in (REFRESH, REPLACEMENT, Change(COMMITTEE, (2,), (1, 4)), Change(COMMITTEE, (3,), (1, 2)))
        for session in (bytes(32), b"\1" * 32)
    }
    later = replace(COMMITTEE, epoch=1)
    assert len(names | {Parameters(Change(later, (), (1, 2, 3, 4)), bytes(32)).name}) == 9


@pytest.mark.parametrize("replaced, dealers", [((1,), (2, 3)), ((1, 2), (3, 4)), ((4,), (1, 2))], ids=str)
def test_mask_keys_are_drawn_by_members_that_stay(
    replaced: tuple[int, ...], dealers: tuple[int, ...]
) -> None:
    parameters = Parameters(Change(COMMITTEE, replaced, dealers), bytes(32))
    assert all(parameters.drawer(a) in set(a) - set(replaced) for a in parameters.sets)


def test_steps_come_once_and_in_order() -> None:
    member = members(SEATS, REFRESH)[1]
    for call in (lambda: member.receive({}), lambda: member.judge({}), lambda: member.finish({})):
        with pytest.raises(ParameterError):
            call()
    member.deal()
    with pytest.raises(ParameterError, match="deals once"):
        member.deal()
    member.receive({})
    with pytest.raises(ParameterError, match="comes once"):
        member.receive({})
    with pytest.raises(ChangeAborted):
        member.judge({})
    with pytest.raises(ParameterError):
        member.finish({})


# --- the seats on disk ------------------------------------------------------------------------------

NEXT = agreed(run(members(SEATS, REFRESH)))[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "seat.json"
    SEATS[0].save(file)
    return file


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def test_a_staged_seat_waits_for_the_commit(path: Path) -> None:
    stage(NEXT, path)
    assert Seat.load(path) == SEATS[0]
    assert names(path) == ["seat.json", "seat.next.about.json", "seat.next.json"]
    assert path.with_suffix(".next.json").stat().st_mode & 0o777 == 0o600
    assert commit(path, NEXT.committee.digest) == NEXT
    assert Seat.load(path) == NEXT
    assert names(path) == ["seat.json"]
    assert commit(path, NEXT.committee.digest) == NEXT  # said again


def test_the_old_seat_is_overwritten_and_the_withdrawn_one_too(path: Path, tmp_path: Path) -> None:
    # A second name keeps the blocks in sight.
    for erased, done in ((path, False), (path.with_suffix(".next.json"), True)):
        stage(NEXT, path)
        secret = f"{Seat.load(erased).share.value:x}".encode()
        spy = tmp_path / f"spy-{done}"
        spy.hardlink_to(erased)
        size = spy.stat().st_size
        if done:
            withdraw(path)
        else:
            commit(path, NEXT.committee.digest)
        assert spy.stat().st_size == size
        assert secret[:16] not in spy.read_bytes()
    withdraw(path)  # nothing there
    assert Seat.load(path) == NEXT


def test_a_successor_has_no_seat_before(tmp_path: Path) -> None:
    path = tmp_path / "seat.json"
    stage(NEXT, path)
    assert commit(path, NEXT.committee.digest) == NEXT
    assert names(path) == ["seat.json"]


def test_only_the_change_agreed_on_is_committed(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"seat\.next\.json"):
        commit(path, NEXT.committee.digest)
    stage(NEXT, path)
    with pytest.raises(ConfigError, match="another change"):
        commit(path, agreed(run(members(SEATS, REFRESH)))[0].committee.digest)
    assert commit(path, COMMITTEE.digest) == SEATS[0]  # the one in office is committed already
    assert names(path) == ["seat.json", "seat.next.about.json", "seat.next.json"]


def test_a_later_try_replaces_what_was_staged(path: Path) -> None:
    stage(NEXT, path)
    path.with_suffix(".next.tmp").write_text("cut short")
    other = agreed(run(members(SEATS, REPLACEMENT)))[0]
    stage(other, path)
    with pytest.raises(ConfigError, match="another change"):
        commit(path, NEXT.committee.digest)
    assert commit(path, other.committee.digest) == other


def test_a_crash_before_the_rename_leaves_the_old_seat(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise OSError(errno.EIO, "power cut")

    stage(NEXT, path)
    for _ in range(2):  # the second time with seat.old.json already there
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", crash)
            with pytest.raises(OSError, match="power cut"):
                commit(path, NEXT.committee.digest)
        assert Seat.load(path) == SEATS[0]
    assert names(path) == ["seat.json", "seat.next.about.json", "seat.next.json", "seat.old.json"]
    assert commit(path, NEXT.committee.digest) == NEXT
    assert names(path) == ["seat.json"]


def test_a_crash_before_the_erasure_is_made_up_for(path: Path, tmp_path: Path) -> None:
    old = path.with_suffix(".old.json")
    stage(NEXT, path)
    commit(path, NEXT.committee.digest)
    SEATS[0].save(old)
    assert commit(path, NEXT.committee.digest) == NEXT
    assert names(path) == ["seat.json"]
    # Never made up for, and then the next change: both old seats go.
    SEATS[0].save(old)
    spies = tmp_path / "spy-1", tmp_path / "spy-2"
    spies[0].hardlink_to(old)
    spies[1].hardlink_to(path)
    later = agreed(run(members(SEATS, REPLACEMENT)))[0]
    stage(later, path)
    commit(path, later.committee.digest)
    for spy, share in zip(spies, (SEATS[0].share, NEXT.share), strict=True):
        assert f"{share.value:x}"[:16].encode() not in spy.read_bytes()
        spy.unlink()
    assert names(path) == ["seat.json"]

"""Every message of a clearing is its sender's own, for that step of that attempt, or held against it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from commitments.encoding import Writer
from commitments.errors import DecodeError, VerificationError
from commitments.params import FIELD_PRIME
from commitments.shamir import SHARE_BYTES, share
from darkpool.committee.blame import MAX_EVIDENCE, MAX_STEP, Charge, Faulted
from darkpool.committee.seat import Seat
from darkpool.committee.steps import Attempt, Heard
from darkpool.eip712 import sign_digest
from tests.mesh_support import run
from tests.players import ALL, LIST, Player, evidence, found, liar_of, play, playing
from tests.venue_support import seats

TRUSTED = (1, 2, 3)  # of four, of whom the last lies
THREE = (1, 2, 4)
ATTEMPT = Attempt(LIST, 1, ALL)


def other_epoch(seat: Seat) -> Seat:
    return replace(seat, committee=replace(seat.committee, epoch=seat.committee.epoch + 1))


# --- what is signed ---------------------------------------------------------------------------------


def test_an_attempt_is_named_by_list_number_players_key_and_its_sharing() -> None:
    seat = seats(4, 1)[0]
    name = ATTEMPT.name(seat)
    assert len(name) == 32
    assert {ATTEMPT.name(other) for other in seats(4, 1)} == {name}
    others = [
        replace(ATTEMPT, digest=b"\x0b" * 32).name(seat),
        replace(ATTEMPT, number=2).name(seat),
        replace(ATTEMPT, players=(1, 2, 3)).name(seat),
        replace(ATTEMPT, players=(1, 2, 4)).name(seat),
        ATTEMPT.name(other_epoch(seat)),
    ]
    assert len({name, *others}) == 1 + len(others)


def honest(step: str = "a", receiver: int = 0, body: bytes = b"body", attempt: Attempt = ATTEMPT) -> Heard:
    """Member 4's message, as it signs it."""
    seat = seats(4, 1)[3]
    unsigned = Heard(4, receiver, step, body, b"")
    return replace(unsigned, signature=sign_digest(unsigned.digest(attempt.name(seat)), seat.signing_key))


def test_a_message_is_good_only_as_it_was_signed(tmp_path: Path) -> None:
    """Every element on its own; whoever it names as its sender is charged, without evidence."""

    async def body() -> None:
        async with playing(tmp_path) as table:
            mine, good = table[1], honest()
            mine.check(good)
            flipped = good.signature[:-1] + bytes([good.signature[-1] ^ 1])
            bad = [
                replace(good, sender=3),
                replace(good, sender=0),
                replace(good, sender=5),
                replace(good, receiver=1),
                replace(good, step="b"),
                replace(good, step=""),
                replace(good, body=b"bodY"),
                replace(good, body=b""),
                replace(good, signature=flipped),
                replace(good, signature=good.signature[:-1]),
                replace(good, signature=b""),
                honest(attempt=replace(ATTEMPT, number=2)),
                honest(attempt=replace(ATTEMPT, digest=bytes(32))),
                honest(attempt=replace(ATTEMPT, players=(1, 2, 4))),
            ]
            for message in bad:
                with pytest.raises(Faulted) as fault:
                    mine.check(message)
                assert found(fault.value) == [(message.sender, Charge.UNSIGNED, message.step)]
                assert evidence(fault.value).evidence == b""
            # The same attempt, after the shares of the key were changed.
            later = Player(
                other_epoch(mine.seat), mine.signers, mine.mesh, ATTEMPT, 1.0, mine.pin, mine.chain_id
            )
            with pytest.raises(Faulted):
                later.check(good)

    run(body())


@pytest.mark.parametrize("how", ["to another", "to all", "another step", "another attempt", "cut", "nothing"])
def test_what_another_step_receiver_or_attempt_was_meant_for_is_no_answer(tmp_path: Path, how: str) -> None:
    """It goes over an authenticated link: whoever is at the other end is charged, by who received it."""

    async def body() -> None:
        async with playing(tmp_path, seconds=2.0) as table:
            sent = {
                "to another": honest(receiver=2),
                "to all": honest(),
                "another step": honest("b", 1),
                "another attempt": honest("a", 1, attempt=replace(ATTEMPT, number=2)),
                "cut": honest(receiver=1),
                "nothing": Heard(4, 1, "a", b"", b""),
            }[how]
            data = sent.body + sent.signature
            out = dict.fromkeys(table, b"from member")
            waiting = asyncio.create_task(table[1].exchange("a", out))
            others = [asyncio.create_task(table[i].exchange("a", out)) for i in (2, 3)]
            told = {1: data[:-1] if how == "cut" else data, 2: b"", 3: b""}
            await table[4].mesh.exchange(table[4].name, "a", told, 5.0)
            with pytest.raises(Faulted) as fault:
                await waiting
            assert found(fault.value) == [(4, Charge.UNSIGNED, "a")]
            await asyncio.gather(*others, return_exceptions=True)

    run(body())


def test_evidence_is_read_back_as_it_was_signed(tmp_path: Path) -> None:
    async def body() -> None:
        async with playing(tmp_path) as table:
            message = Heard.parse(honest().blame(Charge.SHARE).evidence)
            assert message == honest()
            for player in table.values():
                player.check(message)

    run(body())


def test_evidence_is_parsed_strictly() -> None:
    data = bytes(honest())
    for bad in (b"", data + b"\0", *(data[:k] for k in range(len(data)))):
        with pytest.raises(DecodeError):
            Heard.parse(bad)
    signature = honest().signature
    for step, body, sign in (
        (b"s" * (MAX_STEP + 1), b"", signature),
        (b"\xc3\xa9", b"", signature),
        (b"a", bytes(MAX_EVIDENCE + 1), signature),
        (b"a", b"", signature + b"\0"),
    ):
        writer = Writer().uint(4, 1).uint(0, 1).var(step).var(body).var(sign)
        with pytest.raises(DecodeError):
            Heard.parse(bytes(writer))
    assert honest(body=bytes(MAX_EVIDENCE + 1)).blame(Charge.SHARE).evidence == b""


# --- revealing --------------------------------------------------------------------------------------

VALUES = (7, FIELD_PRIME - 1)


def shares_of(values: tuple[int, ...] = VALUES) -> dict[int, list[int]]:
    sharings = [share(v, 4, 1) for v in values]
    return {i: [s[i] for s in sharings] for i in ALL}


def add_one(step: str, receiver: int, body: bytes) -> bytes:
    """To the share of the last value."""
    del step, receiver
    last = (int.from_bytes(body[-SHARE_BYTES:]) + 1) % FIELD_PRIME
    return body[:-SHARE_BYTES] + last.to_bytes(SHARE_BYTES)


def reveals(step: str = "price", *, local: bool = False) -> Callable[[Player], Awaitable[object]]:
    shares = shares_of()
    return lambda player: player.reveal(step, shares[player.seat.index], local=local)


@pytest.mark.parametrize("players", [ALL, THREE, (2, 3, 4)])
def test_what_all_hold_shares_of_is_revealed_and_pinned(tmp_path: Path, players: tuple[int, ...]) -> None:
    async def body() -> None:
        async with playing(tmp_path, players) as table:
            assert await play(table, reveals()) == {i: list(VALUES) for i in players}
            pinned = b"".join(v.to_bytes(SHARE_BYTES) for v in VALUES)
            assert [p.pins for p in table.values()] == [{"price": pinned}] * len(players)
            assert [[*player.took] for player in table.values()] == [["price"]] * len(players)

    run(body())


@pytest.mark.parametrize("local", [True, False])
def test_of_four_shares_a_false_one_is_named_by_everybody(tmp_path: Path, *, local: bool) -> None:
    """Of an evaluation's output somebody else may have made it false: that is a lesser charge."""
    charge = Charge.SHARE if local else Charge.OFF

    async def body() -> None:
        async with playing(tmp_path, lie={4: add_one}) as table:
            outcome = await play(table, reveals(local=local))
            for index in TRUSTED:
                assert found(outcome[index]) == [(4, charge, "price")]
                message = Heard.parse(evidence(outcome[index]).evidence)
                table[1].check(message)
                assert (message.sender, message.step) == (4, "price")
                assert table[index].pins == {}

    run(body())


def test_of_three_shares_a_false_one_is_detected_and_nobody_named(tmp_path: Path) -> None:
    """Any one of three may be the false one."""

    async def body() -> None:
        async with playing(tmp_path, THREE, lie={4: add_one}) as table:
            outcome = await play(table, reveals())
            for index in (1, 2):
                assert found(outcome[index]) == []
                assert "degree of sharing" in str(outcome[index])
                assert table[index].pins == {}

    run(body())


def test_who_tells_one_member_a_false_share_is_named_by_that_one(tmp_path: Path) -> None:
    """The others have the value already; what they hear next is that it ended the attempt."""

    async def body() -> None:
        async with playing(tmp_path, lie={4: lambda _s, _r, body: body}) as table:
            liar_of(table).whisper = lambda step, to, body: (
                add_one(step, to, body) if step == "price" else body
            )
            shares = shares_of()

            async def two_steps(player: Player) -> object:
                mine = shares[player.seat.index]
                await player.reveal("price", mine)
                return await player.reveal("long", mine)

            outcome = await play(table, two_steps)
            assert found(outcome[1]) == [(4, Charge.OFF, "price")]
            for index in (2, 3):
                assert {charge for _, charge, _ in found(outcome[index])} == {Charge.ABORTED}
                assert (1, Charge.ABORTED, "long") in found(outcome[index])

    run(body())


@pytest.mark.parametrize("how", ["short", "long", "empty", "not reduced"])
def test_what_are_no_shares_is_charged_by_everybody(tmp_path: Path, how: str) -> None:
    def say(step: str, receiver: int, body: bytes) -> bytes:
        del step, receiver
        return {
            "short": body[:-1],
            "long": body + b"\0",
            "empty": b"",
            "not reduced": FIELD_PRIME.to_bytes(SHARE_BYTES) + body[SHARE_BYTES:],
        }[how]

    async def body() -> None:
        async with playing(tmp_path, lie={4: say}) as table:
            outcome = await play(table, reveals())
            for index in TRUSTED:
                assert found(outcome[index]) == [(4, Charge.MALFORMED, "price")]
                table[index].check(Heard.parse(evidence(outcome[index]).evidence))

    run(body())


def test_a_later_attempt_reveals_the_same_or_ends(tmp_path: Path) -> None:
    """Else it could be steered by what the first one opened."""

    async def body() -> None:
        async with playing(tmp_path) as table:
            same = reveals()
            assert await play(table, same) == {i: list(VALUES) for i in ALL}
            for player in table.values():
                player.attempt = replace(player.attempt, number=2)
                player.name = player.attempt.name(player.seat)
            # Shared anew, the value is the same.
            assert await play(table, reveals()) == {i: list(VALUES) for i in ALL}
            other = shares_of((7, 5))
            for player in table.values():
                player.attempt = replace(player.attempt, number=3)
                player.name = player.attempt.name(player.seat)
            ended = await asyncio.gather(
                *(p.reveal("price", other[i]) for i, p in table.items()), return_exceptions=True
            )
            assert all(isinstance(e, VerificationError) for e in ended), ended

    run(body())


# --- who does not answer ----------------------------------------------------------------------------


def test_who_is_late_gone_or_ends_the_attempt_is_told_apart(tmp_path: Path) -> None:
    async def body() -> None:
        async with playing(tmp_path, seconds=0.2) as table:
            three = {i: table[i] for i in TRUSTED}
            late = await play(three, lambda p: p.broadcast("a", b"x"))
            assert (4, Charge.SILENT, "a") in found(late[1])
        async with playing(tmp_path) as table:
            table[4].mesh.abort(table[4].name, "no")
            three = {i: table[i] for i in TRUSTED}
            ended = await play(three, lambda p: p.broadcast("a", b"x"))
            for outcome in ended.values():
                assert (4, Charge.ABORTED, "a") in found(outcome)
                assert {charge for _, charge, _ in found(outcome)} == {Charge.ABORTED}
        async with playing(tmp_path) as table:
            for link in list(table[4].mesh.links.values()):
                link.close()
            three = {i: table[i] for i in TRUSTED}
            gone = await play(three, lambda p: p.broadcast("a", b"x"))
            assert (4, Charge.GONE, "a") in [c for outcome in gone.values() for c in found(outcome)]
            waiting = await table[1].aborted("auction")
            assert (4, Charge.GONE, "auction") in found(waiting)

    run(body())


def test_nothing_secret_is_shown(tmp_path: Path) -> None:
    async def body() -> None:
        async with playing(tmp_path) as table:
            seat = table[1].seat
            shown = repr(table[1])
            assert f"{seat.share.value:x}"[:16] not in shown
            assert str(seat.share.value)[:16] not in shown
            assert seat.signing_key.hex() not in shown
            assert "xde" not in repr(honest(body=b"\xde\xad"))

    run(body())

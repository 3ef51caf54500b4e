"""Meetings over real TLS on loopback: who is let in; whoever else is refused is told why, and we note it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from darkpool.committee.certificate import Identity, short
from darkpool.committee.meeting import Group, Sockets, keep_connected
from darkpool.committee.tls import Tls
from darkpool.committee.transport import COORDINATOR, MAX_FRAME, Kind, Link
from darkpool.errors import ConfigError, PeerFault
from tests.encrypted import INSECURE_TEST, seats
from tests.fellowship import Fellowship, closed, fellowship, listening, logged, refused, run

DEALT = seats(INSECURE_TEST, 3)


@pytest.fixture
def group(tmp_path: Path) -> Fellowship:
    return fellowship(tmp_path, 3, DEALT)


def test_holders_of_a_certificate_of_the_committee_are_let_in(group: Fellowship) -> None:
    async def body() -> None:
        async with listening(group.tls(1), 1) as member:
            for who in (COORDINATOR, 2, 3):
                where = group.tls(who)
                link = await where.dial(1, who)
                assert link is not None, where.trouble
                assert link._writer.get_extra_info("ssl_object").version() == "TLSv1.3"
                end = (await member.came.get())[1]
                for writer in (link._writer, end._writer):
                    options = writer.get_extra_info("socket")
                    assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                    assert options.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                link.send(Kind.STEP, bytes(1 << 21))
                assert await link.receive() == (Kind.STEP, bytes(1 << 21))
                assert end.name == ("coordinator" if who == COORDINATOR else f"member {who}")
                await closed(link)
                assert not where.trouble
            assert not member.meeting.trouble

    run(body())


def stranger(tmp_path: Path) -> Identity:
    (tmp_path / "stranger").mkdir()
    return Identity.create(tmp_path / "stranger")


def test_a_certificate_that_is_not_in_the_directory_is_refused(
    group: Fellowship, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        new = stranger(tmp_path)
        with pytest.raises(ConfigError, match=r"certificate [0-9a-f]{8}…: none of committee.json's"):
            Tls(new, group.directory)
        async with listening(group.tls(1), 1) as member:
            why = await refused(Tls(new, group.with_certificate(2, new)), 2)
            ours = short(new.certificate.fingerprint)
            assert f"before HELLO; does its committee.json have our certificate {ours}?" in why
            assert member.meeting.refused == 1
            assert member.came.empty()
        assert logged(
            caplog, "TLS: self-signed certificate; expected version 1.3 and a certificate of committee"
        )

    run(body())


def test_a_member_with_another_certificate_than_expected_gets_no_hello(
    group: Fellowship, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def body() -> None:
        new = stranger(tmp_path)
        impostor = Tls(new, group.with_certificate(1, new))
        async with listening(impostor, 1) as member:
            found, expected = (short(i.certificate.fingerprint) for i in (new, group.identities[1]))
            assert await refused(group.tls(2), 2) == f"shows certificate {found}, expected {expected}"
            assert member.came.empty()
        assert logged(caplog, f"member 1: shows certificate {found}, expected {expected}")

    run(body())


@pytest.mark.parametrize("says", [COORDINATOR, 1, 3, 255])
def test_the_right_certificate_with_anothers_index_is_refused(
    group: Fellowship, caplog: pytest.LogCaptureFixture, says: int
) -> None:
    async def body() -> None:
        async with listening(group.tls(1), 1) as member:
            why = await refused(group.tls(2), says)
            assert why == f"refuses this link: HELLO: index {says}, expected 2"
            assert member.meeting.trouble == {2: f"was refused: HELLO: index {says}, expected 2"}
            assert member.came.empty()
        assert logged(caplog, f"member 2, from 127.0.0.1, is refused: HELLO: index {says}, expected 2")

    run(body())


def test_a_member_is_not_dialled_by_those_below_it(group: Fellowship) -> None:
    async def body() -> None:
        async with listening(group.tls(2), 2) as member:
            why = await refused(group.tls(1), 1, index=2)
            assert why.endswith("HELLO: index 1; member 2 waits for the coordinator and higher ones")
            assert member.came.empty()

    run(body())


GROUPS: dict[str, tuple[Callable[[Group], Group], str]] = {
    "key": (lambda g: replace(g, key_id=bytes(32)), "HELLO: key 00000000…, expected "),
    "n": (lambda g: replace(g, members=4), "HELLO: n = 4, t = 1, expected n = 3, t = 1"),
    "t": (lambda g: replace(g, threshold=2), "HELLO: n = 3, t = 2, expected n = 3, t = 1"),
}


@pytest.mark.parametrize("name", GROUPS)
def test_another_committee_is_refused_on_both_sides(
    group: Fellowship, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    change, words = GROUPS[name]

    async def body() -> None:
        ours, theirs = group.tls(1), group.tls(2)
        vars(theirs)["group"] = change(theirs.group)
        async with listening(ours, 1) as member:
            assert words in await refused(theirs, 2)
            assert words in ours.trouble[2]
            assert member.came.empty()
        assert logged(caplog, words)

    run(body())


HELLOS: dict[str, tuple[Callable[[bytes], tuple[Kind, bytes]], bytes]] = {
    "version": (lambda hello: (Kind.HELLO, b"\x02" + hello[1:]), b"HELLO: version 2"),
    "short": (lambda hello: (Kind.HELLO, hello[:-1]), b"HELLO: "),
    "empty": (lambda _: (Kind.HELLO, b""), b"HELLO: "),
    "another frame": (lambda hello: (Kind.STEP, hello), b"a STEP frame before HELLO"),
    "long": (lambda hello: (Kind.HELLO, hello + b"\0"), b"a frame of 38 bytes; 1 to 37 are allowed"),
    "huge": (lambda _: (Kind.HELLO, bytes(1 << 20)), b"a frame of 1048577 bytes; 1 to 37 are allowed"),
    "huge and another": (lambda _: (Kind.MPC, bytes(1 << 20)), b"a frame of 1048577 bytes; 1 to 37"),
}


@pytest.mark.parametrize("name", HELLOS)
def test_what_is_no_hello_is_refused_before_it_is_buffered(group: Fellowship, name: str) -> None:
    change, words = HELLOS[name]

    async def body() -> None:
        async with listening(group.tls(1), 1) as member:
            link = await group.tls(2)._connected(1, 2)
            link.send(*change(group.directory.group.hello(2)))
            kind, reason = await link.receive()
            assert kind is Kind.ABORT
            assert reason.startswith(words)
            with pytest.raises(PeerFault):
                await link.receive()
            link.close()
            assert member.came.empty()

    run(body())


def test_the_length_of_a_first_frame_is_enough_to_refuse_it(group: Fellowship) -> None:
    async def body() -> None:
        async with listening(group.tls(1), 1):
            link = await group.tls(2)._connected(1, 2)
            link._writer.write((MAX_FRAME + 1).to_bytes(4, "big"))  # and never the frame
            assert (await link.receive())[1] == b"a frame of %d bytes; 1 to 37 are allowed" % (MAX_FRAME + 1)
            await closed(link)

    run(body())


class Odd(Tls):
    """It answers HELLO with something else."""

    answer: tuple[Kind, bytes]

    async def _greeted(self, link: Link, me: int, known: int | None = None) -> int | None:
        del me
        await link.receive()
        link.send(*self.answer)
        return known


@pytest.mark.parametrize("kind, words", [(Kind.HELLO, "index 3, expected 1"), (Kind.STEP, "a STEP frame")])
def test_who_is_dialled_must_answer_with_its_own_hello(group: Fellowship, kind: Kind, words: str) -> None:
    async def body() -> None:
        odd = Odd(group.identities[1], group.directory)
        odd.answer = (kind, group.directory.group.hello(3))
        async with listening(odd, 1):
            assert words in await refused(group.tls(2), 2)

    run(body())


def test_links_heal_after_either_side_was_away(group: Fellowship) -> None:
    async def body() -> None:
        links: asyncio.Queue[Link] = asyncio.Queue()

        async def use(link: Link) -> None:
            links.put_nowait(link)
            try:
                await link.receive()
            except PeerFault:
                pass
            finally:
                link.close()

        dialling = group.tls(2)
        keeping = asyncio.create_task(keep_connected(dialling, 1, 2, use))
        for _ in range(2):
            async with listening(group.tls(1), 1) as member:
                link = await links.get()
                who, other_end = await member.came.get()
                assert (who, link.name, other_end.name) == (2, "member 1", "member 2")
                other_end.close()
                link = await links.get()
                link.close()
        keeping.cancel()
        await asyncio.wait((keeping,))
        await asyncio.sleep(0.05)

    run(body())


def test_an_address_that_is_taken_is_said_at_once(group: Fellowship) -> None:
    place = group.directory.member(1)
    taken = pytest.raises(ConfigError, match=f"{place.host}:{place.port}: Address already in use")
    with socket.create_server((place.host, place.port)), taken:
        group.tls(1).bind()


def test_over_unix_sockets_the_same_is_refused(tmp_path: Path) -> None:
    async def body() -> None:
        ours = Group(b"\1" * 32, 3, 1)
        where = Sockets(tmp_path, ours)
        assert await refused(where, 2) == "does not listen (No such file or directory)"
        async with listening(where, 1) as member:
            for change, words in GROUPS.values():
                assert words in await refused(Sockets(tmp_path, change(ours)), 2)
            assert await refused(where, 1) == (
                "refuses this link: HELLO: index 1; member 1 waits for the coordinator and higher ones"
            )
            assert member.came.empty()
            link = await where.dial(1, 2)
            assert link is not None
            await closed(link)

    run(body())

"""Strangers at a member's port: plain TCP, garbage, other versions, silence and floods do no harm."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from darkpool.committee import certificate, meeting, tls
from darkpool.committee.transport import Kind, Link
from darkpool.errors import ConfigError
from tests.encrypted import INSECURE_TEST, seats
from tests.fellowship import LIMIT, Fellowship, closed, fellowship, listening, logged, refused, run, until

DEALT = seats(INSECURE_TEST, 3)


@pytest.fixture
def group(tmp_path: Path) -> Fellowship:
    return fellowship(tmp_path, 3, DEALT)


@pytest.mark.parametrize(
    "sent, words",
    [
        (b"GET / HTTP/1.1\r\n\r\n", "TLS: HTTP_REQUEST"),
        (b"\0\0\0\x25\x01" + bytes(36), "TLS: "),
        (b"\x16\x03\x01\xff\xff" + bytes(1000), "TLS: "),
        (bytes(300_000), "TLS: "),
        (b"", "TLS: "),
    ],
)
def test_plain_tcp_and_garbage_are_hung_up_on(
    group: Fellowship, caplog: pytest.LogCaptureFixture, sent: bytes, words: str
) -> None:
    async def body() -> None:
        async with listening(group.tls(1), 1) as member:
            place = group.directory.member(1)
            reader, writer = await asyncio.open_connection(place.host, place.port)
            writer.write(sent)
            if not sent:
                writer.close()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(1)
            writer.close()
            await until(lambda: member.meeting.refused == 1)
            assert member.came.empty()
        assert logged(caplog, f"a newcomer from 127.0.0.1 is refused: {words}")

    run(body())


def test_a_listener_without_tls_is_told_from_one_with_another_certificate(group: Fellowship) -> None:
    async def body() -> None:
        place = group.directory.member(1)

        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 hello, this is mail\r\n" * 10)
            writer.close()

        server = await asyncio.start_server(answer, place.host, place.port)
        assert (await refused(group.tls(2), 2)).startswith("TLS: WRONG_VERSION_NUMBER")
        server.close()
        assert await refused(group.tls(2), 2) == "does not listen (Connection refused)"

    run(body())


def test_an_older_tls_is_refused(group: Fellowship, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with listening(group.tls(1), 1) as member:
            place, context = group.directory.member(1), group.identities[2].client()
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection(place.host, place.port, ssl=context)
            await until(lambda: member.meeting.refused == 1)
            assert member.came.empty()
        assert logged(caplog, "TLS: UNSUPPORTED_PROTOCOL")

    run(body())


def test_a_client_without_certificate_is_refused(group: Fellowship, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with listening(group.tls(1), 1) as member:
            place, context = group.directory.member(1), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            reader, writer = await asyncio.open_connection(place.host, place.port, ssl=context)
            with pytest.raises((asyncio.IncompleteReadError, OSError)):
                await reader.readexactly(1)
            writer.close()
            assert member.came.empty()
        assert logged(caplog, "TLS: PEER_DID_NOT_RETURN_A_CERTIFICATE")

    run(body())


def test_an_expired_certificate_is_refused_by_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(certificate, "_LIFE", timedelta(seconds=-1))
    old = fellowship(tmp_path, 3, DEALT)
    (tmp_path / "fresh").mkdir()
    monkeypatch.undo()
    fresh = fellowship(tmp_path / "fresh", 3, DEALT)
    with pytest.raises(ConfigError, match=r"is valid from .* to ") as caught:
        old.tls(2)
    assert "clock" in caught.value.hint

    async def body() -> None:
        monkeypatch.setattr(certificate.Certificate, "check_dates", lambda *_: None)
        ours, theirs = old.tls(1), old.tls(2)
        async with listening(ours, 1) as member:
            assert "before HELLO" in await refused(theirs, 2)
            assert member.came.empty()
            assert logged(caplog, "TLS: certificate has expired")
            # Whoever is dialled: OpenSSL does not look at its dates for us.
            monkeypatch.undo()
            assert "is valid from" in await refused(theirs, 2)
        assert member.came.empty()

    run(body())
    fresh.identities[0].certificate.check_dates(datetime.now(UTC))


def test_a_slow_handshake_is_cut(
    group: Fellowship, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0.05)

    async def body() -> None:
        async with listening(group.tls(1), 1) as member:
            place = group.directory.member(1)
            reader, writer = await asyncio.open_connection(place.host, place.port)
            writer.write(b"\x16\x03\x01\x02")  # the beginning of one
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asyncio.wait_for(reader.readexactly(1), LIMIT)
            writer.close()
            assert member.meeting.refused == 1
        assert logged(caplog, "SSL handshake is taking longer than 0.05 seconds")

    run(body())


def test_a_member_that_says_no_hello_is_cut(group: Fellowship, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with listening(group.tls(1), 1) as member:
            link = await group.tls(2)._connected(1, 2)
            monkeypatch.setattr(meeting, "HELLO_SECONDS", 0.05)
            second = await group.tls(3)._connected(1, 3)
            assert await second.receive() == (Kind.ABORT, b"does not say who it is")
            link.close()
            await closed(second)
            assert member.came.empty()

    run(body())


def test_a_listener_that_never_answers_is_given_up(
    group: Fellowship, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meeting, "HELLO_SECONDS", 0.05)

    async def body() -> None:
        place = group.directory.member(1)
        with socket.create_server((place.host, place.port)):
            assert await refused(group.tls(2), 2) == "does not answer within 0.05 s"

    run(body())


def test_strangers_do_not_keep_members_out(
    group: Fellowship, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "MAX_NEWCOMERS_OF_ONE", 4)

    async def body() -> None:
        async with listening(group.tls(1), 1) as member:
            place, ours = group.directory.member(1), group.tls(2)
            silent = [socket.create_connection((place.host, place.port)) for _ in range(10)]
            await until(lambda: member.meeting.refused == 6)
            # This address has no place left, others have.
            assert "before HELLO" in (why := await refused(ours, 2)) or "TLS: " in why
            with socket.socket() as other:
                other.bind(("127.0.0.9", 0))
                other.settimeout(0)
                await asyncio.get_running_loop().sock_connect(other, (place.host, place.port))
                reader, writer = await asyncio.open_connection(
                    sock=other.dup(), ssl=group.identities[3].client(), server_hostname="darkpool"
                )
                link = Link(reader, writer, "member 1")
                link.send(Kind.HELLO, group.directory.group.hello(3))
                assert (await link.receive())[0] is Kind.HELLO
                await closed(link)
            for connection in silent:
                connection.close()
            while (link_ := await ours.dial(1, 2)) is None:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
            await closed(link_)
        assert len(caplog.records) < 6  # ten connections, and no line for each

    run(body())

"""Members that meet over TCP: TLS 1.3, both ends with a certificate of committee.json.

A stranger gets no further than the handshake, which takes HANDSHAKE_SECONDS at most; few handshakes are under
way at a time, and of one address fewer. A link that the network has lost ends within LOST_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from commitments.errors import VerificationError
from darkpool.committee.certificate import Identity, short
from darkpool.committee.directory import Directory
from darkpool.committee.introduction import Introduction
from darkpool.committee.meeting import Meeting, Serve, name_of
from darkpool.committee.transport import READ_BYTES, Link, Tap, failure
from darkpool.errors import ConfigError, PeerFault

HANDSHAKE_SECONDS: Final = 5.0
SHUTDOWN_SECONDS: Final = 1.0
LOST_SECONDS: Final = 30
MAX_NEWCOMERS: Final = 64  # connections that are not yet somebody's
MAX_NEWCOMERS_OF_ONE: Final = 20  # address: a whole committee may be on one machine
_BACKLOG: Final = 64
_TELL_SECONDS: Final = 1.0  # at most one refusal of a stranger is logged in that time
_RETRY_SECONDS: Final = 0.2  # when the system is out of descriptors

log = logging.getLogger("darkpool.link")


class Tls(Meeting):
    """The meeting as seen by the holder of one certificate of a directory.

    Raises ConfigError if the certificate is none of it, or not valid now.
    """

    def __init__(self, identity: Identity, directory: Directory, tap: Tap | None = None) -> None:
        super().__init__(directory.group, tap)
        self._identity, self._directory = identity, directory
        me = directory.who(identity.certificate.der)
        if me is None:
            raise ConfigError(
                f"certificate {short(identity.certificate.fingerprint)}: none of committee.json's",
                "take the committee.json that was dealt to this one",
            )
        try:
            identity.certificate.check_dates(datetime.now(UTC))
        except VerificationError as error:
            raise ConfigError(str(error), "set the clock, or join a committee anew") from None
        self.me: Final = me
        self.hint = (
            f"; does its committee.json have our certificate {short(identity.certificate.fingerprint)}?"
        )
        self._told = 0.0
        self._client = identity.client()
        self._listener: socket.socket | None = None
        self._newcomers: Counter[str] = Counter()

    def bind(self) -> None:
        """Take the address this member listens at. Raises ConfigError if that cannot be had."""
        place = self._directory.member(self.me)
        try:
            self._listener = socket.create_server(
                (place.host, place.port), family=_family(place.host), backlog=_BACKLOG
            )
        except OSError as error:
            raise ConfigError(
                f"{place.host}:{place.port}: {error.strerror or 'no such address'}",
                "end what listens there; committee.json says that this member does",
            ) from None
        self._listener.settimeout(0)

    async def listen(self, me: int, serve: Serve) -> None:
        """As in Meeting, at the address that committee.json gives. Raises ConfigError as `bind`."""
        if self._listener is None:
            self.bind()
        assert self._listener is not None  # noqa: S101 - bind raises or sets it
        context = self._identity.server(self._directory.certificate(i) for i in range(self.group.members + 1))
        loop = asyncio.get_running_loop()
        with self._listener as listener:
            self._listener = None
            async with asyncio.TaskGroup() as group:
                while True:
                    try:
                        connection, (host, *_) = await loop.sock_accept(listener)
                    except OSError:
                        await asyncio.sleep(_RETRY_SECONDS)
                        continue
                    group.create_task(self._newcomer(connection, host, context, me, serve))

    async def _newcomer(
        self, connection: socket.socket, host: str, context: ssl.SSLContext, me: int, serve: Serve
    ) -> None:
        try:
            with self._room(host):
                link, known = await self._shaken(connection, host, context)
                who = await self._greeted(link, me, known)
        except PeerFault as error:
            connection.close()
            self._turned_away(host, error)
            return
        if who is not None:
            await serve(who, link)

    @contextmanager
    def _room(self, host: str) -> Iterator[None]:
        """One of the places for those who are not yet somebody. Raises PeerFault if there is none."""
        if self._newcomers[host] >= MAX_NEWCOMERS_OF_ONE or self._newcomers.total() >= MAX_NEWCOMERS:
            raise PeerFault("too many connections of strangers")
        self._newcomers[host] += 1
        try:
            yield
        finally:
            self._newcomers -= Counter((host,))

    def _turned_away(self, host: str, error: PeerFault) -> None:
        self.refused += 1
        now = time.monotonic()
        if now - self._told > _TELL_SECONDS:  # strangers shall not fill the log either
            self._told = now
            log.warning("a newcomer from %s is refused: %s; %d so far", host, error, self.refused)

    async def _shaken(
        self, connection: socket.socket, host: str, context: ssl.SSLContext
    ) -> tuple[Link, int]:
        """The link of whoever holds one of the certificates, and who that is. Raises PeerFault."""
        reader = asyncio.StreamReader(limit=READ_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        try:
            _prepare(connection)
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError as error:
            raise PeerFault(
                f"TLS: {failure(error)}; expected version 1.3 and a certificate of committee.json"
            ) from None
        der = _certificate(transport)
        who = self._directory.who(der)
        if who is None:
            transport.abort()
            raise PeerFault(f"certificate {short(sha256(der).digest())} is none of committee.json's")
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return Link(reader, writer, f"{name_of(who)}, from {host},", self._tap), who

    async def _connected(self, index: int, me: int) -> Link:
        del me  # the certificate says who
        place = self._directory.member(index)
        connection = socket.socket(_family(place.host), socket.SOCK_STREAM)
        try:
            connection.settimeout(0)
            _prepare(connection)
            await asyncio.get_running_loop().sock_connect(connection, (place.host, place.port))
        except BaseException:
            connection.close()
            raise
        try:
            reader, writer = await asyncio.open_connection(
                sock=connection,
                limit=READ_BYTES,
                ssl=self._client,
                server_hostname="darkpool",  # nobody looks at it
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError as error:
            raise PeerFault(f"TLS: {failure(error)}") from None
        try:
            self._check(_certificate(writer.transport), place)
        except BaseException:
            writer.transport.abort()
            raise
        return Link(reader, writer, name_of(index), self._tap)

    @staticmethod
    def _check(der: bytes, place: Introduction) -> None:
        """Raises PeerFault unless it is that member's certificate, and valid now."""
        expected = place.certificate
        if der != expected.der:
            raise PeerFault(
                f"shows certificate {short(sha256(der).digest())}, expected {short(expected.fingerprint)}"
            )
        try:
            expected.check_dates(datetime.now(UTC))
        except VerificationError as error:
            raise PeerFault(str(error)) from None


def _certificate(transport: asyncio.BaseTransport) -> bytes:
    """The peer's, in DER: TLS has shown that it holds the key."""
    return bytes(transport.get_extra_info("ssl_object").getpeercert(binary_form=True) or b"")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _prepare(connection: socket.socket) -> None:
    """Send at once, and have the kernel find out about a peer that is gone without a word."""
    tcp = socket.IPPROTO_TCP
    connection.setsockopt(tcp, socket.TCP_NODELAY, 1)  # steps are small, and somebody waits for each
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(tcp, socket.TCP_KEEPIDLE, LOST_SECONDS // 3)
    connection.setsockopt(tcp, socket.TCP_KEEPINTVL, LOST_SECONDS // 6)
    connection.setsockopt(tcp, socket.TCP_KEEPCNT, 4)
    connection.setsockopt(tcp, socket.TCP_USER_TIMEOUT, LOST_SECONDS * 1_000)

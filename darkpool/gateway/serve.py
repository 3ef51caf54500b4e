"""Runs the gateway: on this machine only, unless it is told otherwise."""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys
from typing import Final

import uvicorn

from darkpool.client.live import Live
from darkpool.client.trader import AsyncTrader
from darkpool.client.trader_home import TraderHome
from darkpool.client.views import set_aside_text
from darkpool.errors import ConfigError
from darkpool.gateway.app import create_app
from darkpool.gateway.guard import token_of
from darkpool.gateway.hub import Hub
from darkpool.keystore import Keystore

TOKEN_FILE: Final = "gateway.token"
_GRACE_SECONDS: Final = 5

log = logging.getLogger("darkpool.gateway")


def listening(host: str, port: int, *, allow_remote: bool) -> socket.socket:
    """The socket to serve at. Raises ConfigError for an address others can reach, or one that is taken."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise ConfigError(f"host: {host[:64]!r} is no address", "127.0.0.1 is this machine") from None
    if not ipaddress.ip_address(str(address[0])).is_loopback and not allow_remote:
        raise ConfigError(
            f"host: {host} can be reached by others, and orders are plain text there",
            "use 127.0.0.1; or --allow-remote, behind something that encrypts",
        )
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        raise ConfigError(f"port {port}: {error.strerror}", "choose another with --port") from None
    return found


async def serve(
    venue: str,
    home: TraderHome,
    keystore: Keystore,
    rpc_url: str | None,
    *,
    host: str,
    port: int,
    allow_remote: bool,
    workers: int,
) -> None:
    """Serve until told to stop. Raises ConfigError, and as `AsyncTrader.open`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with listening(host, port, allow_remote=allow_remote) as bound:
        path = home.folder / TOKEN_FILE
        token = token_of(path)
        async with (
            AsyncTrader.open(venue, home, keystore, rpc_url=rpc_url, workers=workers) as trader,
            Hub(Live(trader, renew=True)) as hub,
        ):
            if trader.set_aside:
                log.warning("%s", set_aside_text(trader.set_aside))
            config = uvicorn.Config(
                create_app(trader, hub, token),
                log_config=None,
                access_log=False,  # it would say who asked for what
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
            name, actual = bound.getsockname()[:2]
            sys.stderr.write(f"gateway http://{name}:{actual}, token in {path}\n")
            await uvicorn.Server(config).serve(sockets=[bound])

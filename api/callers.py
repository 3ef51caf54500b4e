"""Who calls: rate limits by client address and by account, and signed private requests."""

from __future__ import annotations

import ipaddress
import time
from typing import Annotated, Any, Final, TypeAlias

from fastapi import Depends, Request

from api.body import Body
from api.parameters import AccountPath
from api.venue import VenueOf, domain_of
from darkpool.buckets import TokenBuckets
from darkpool.errors import OrderRefused
from darkpool.request import Caller, check_request
from darkpool.types import Address, address_hex

PRIVATE_CODES: Final = (
    "bad-authorization",
    "request-expired",
    "bad-signature",
    "request-replayed",
    "body-too-large",
    "database-away",
)
SIGNED: Final[dict[str, Any]] = {"security": [{"signed": []}]}
_IPV6_CUSTOMER_BITS: Final = 64


class Limits:
    """The buckets of one app."""

    def __init__(self, rate: int, burst: int) -> None:
        self.clients = TokenBuckets(rate, burst)
        self.accounts = TokenBuckets(rate, burst)


def client_key(host: str) -> str:
    """An IPv4 address; of IPv6 the network, as one customer has at least that."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_CUSTOMER_BITS), strict=False))
    return host


async def limit_client(request: Request) -> None:
    """Raises Busy when the client's bucket is empty."""
    limits: Limits = request.app.state.limits
    limits.clients.take(client_key(request.client.host if request.client else ""), "client")


def target_of(request: Request) -> str:
    """Path and query as they were sent."""
    raw, query = request.scope["raw_path"], request.scope["query_string"]
    return bytes(raw + b"?" + query if query else raw).decode("latin-1")


async def caller(request: Request, venue: VenueOf, body: Body) -> Caller:
    """The account that signed the request, which is used up. Raises OrderRefused, Busy."""
    settings, now = venue.settings.api, int(time.time())
    header = request.headers.get("authorization", "")
    signed = check_request(
        header,
        request.method,
        target_of(request),
        body,
        now,
        domain_of(venue),
        settings.request_expiry_seconds,
    )
    limits: Limits = request.app.state.limits
    limits.accounts.take(signed.account, "account")
    if not await venue.read(lambda store: store.remember_request(*signed, now)):
        raise OrderRefused(
            "nonce: the request was used before", "sign it anew, with a fresh nonce", "request-replayed"
        )
    return signed


CallerOf: TypeAlias = Annotated[Caller, Depends(caller)]


async def owner(account: AccountPath, signed: CallerOf) -> Address:
    """The account of the path, which signed. Raises OrderRefused of code not-the-account."""
    if signed.account != account:
        raise OrderRefused(
            f"account: signed by {address_hex(signed.account)}", "ask for your own", "not-the-account"
        )
    return account


OwnerOf: TypeAlias = Annotated[Address, Depends(owner)]


async def operator(venue: VenueOf, signed: CallerOf) -> None:
    """Raises OrderRefused of code not-the-operator unless the operator signed."""
    if signed.account != venue.operator:
        raise OrderRefused(
            f"account: signed by {address_hex(signed.account)}", "use the operator's key", "not-the-operator"
        )

"""A venue that takes grants and queries, with a clock of its own, and an auditor at it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from api.app import create_app
from compliance.disclosure import Disclosure, NamedAuditor
from compliance.grantor import Grantor
from darkpool.client.trader import AsyncTrader
from darkpool.client.trader_home import TraderHome
from darkpool.keystore import INSECURE_TEST, Keystore
from darkpool.types import Address
from tests.client.plain_venue import OPERATOR, PASSPHRASE, PlainVenue

DAY_SECONDS = 86_400


@dataclass
class Records:
    """What the venue records; `fails`: it cannot."""

    kept: list[tuple[str, str, dict[str, object], int]] = field(default_factory=list)
    fails: bool = False

    async def __call__(
        self, kind: str, actor: str, body: Mapping[str, object], *, account: Address, visible_at: int
    ) -> None:
        del account
        if self.fails:
            raise OSError("the disk is full")
        self.kept.append((kind, actor, dict(body), visible_at))


@dataclass
class Disclosing:
    """A venue's disclosure, the app that serves it, and how it is reached."""

    venue: PlainVenue
    records: Records
    service: Disclosure
    transport: httpx.AsyncBaseTransport


def disclosing(venue: PlainVenue, auditors: Mapping[str, NamedAuditor] | None = None) -> Disclosing:
    records = Records()
    service = Disclosure(venue.venue, OPERATOR, records, auditors, clock=lambda: time.time())  # noqa: PLW0108 - may be patched
    transport = httpx.ASGITransport(create_app(venue.venue, serving=service))
    return Disclosing(venue, records, service, transport)


def auditor_keystore(folder: Path) -> Keystore:
    home = TraderHome(folder)
    return Keystore.create(home.keystore, PASSPHRASE, cost=INSECURE_TEST)


def grantor(trader: AsyncTrader, keystore: Keystore) -> Grantor:
    return Grantor(trader._trading, keystore)


@contextmanager
def later(seconds: float) -> Iterator[None]:
    """The clock on the wall is ahead by so many seconds."""
    real = time.time
    ahead: Any = lambda: real() + seconds  # noqa: E731
    time.time = ahead
    try:
        yield
    finally:
        time.time = real


async def asked(at: Disclosing, steps: Any) -> Any:  # noqa: ANN401
    """What a coroutine of the auditor's comes to, at the venue."""
    from darkpool.client.shells import Concurrent

    async with Concurrent("http://venue", at.transport) as shell:
        return await shell.run(steps)

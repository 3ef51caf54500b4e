"""Two venues on one database, which must not be (tests/test_sole.py): even then nothing is used twice.

Both are on one PostgreSQL, each with its own connections and its own state, and take orders at the same time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from darkpool.draft import Standing
from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder
from darkpool.log import Log, nobody
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.order import Order
from darkpool.receipt import Receipt
from darkpool.store.database import StoreError
from darkpool.store.log_store import LogStore
from darkpool.types import Quanta, RoundId
from darkpool.venue import Venue
from darkpool.wallet import Wallet
from tests.client.plain_venue import PlainVenue, plain_venue, signers
from tests.databases import fresh_url
from tests.venue_support import buy, finish, key_of

DEPOSIT = Quanta(10**12)


def wallet(v: PlainVenue, name: str) -> Wallet:
    """An account's, as it is before its first order."""
    found = Wallet(v.view.terms, signers(), key_of(name), key_of(name)[::-1])
    for token in (v.view.terms.market.base, v.view.terms.market.quote):
        found.deposited(token, DEPOSIT)
    return found


def sealed(v: PlainVenue, owner: Wallet, order: Order) -> bytes:
    draft = owner.draft(order, Standing(RoundId(1), int(time.time())))
    return finish(draft, v.view.terms, owner.private_key).raw


def one_nonce(v: PlainVenue, name: str) -> tuple[bytes, bytes]:
    """Two contents signed for one nonce, which no client does."""
    first, second = (sealed(v, wallet(v, name), buy(32, quantity)) for quantity in (1, 2))
    return first, second


def one_collateral(v: PlainVenue, name: str) -> tuple[bytes, bytes]:
    """Two orders, each paid for by the same deposit."""
    owner = wallet(v, name)
    return sealed(v, owner, buy(32, 1)), sealed(v, owner, buy(32, 1))


def one_order(v: PlainVenue, name: str) -> tuple[bytes, bytes]:
    """The same order at both."""
    raw = sealed(v, wallet(v, name), buy(32, 1))
    return raw, raw


async def taken(venue: Venue, raw: bytes) -> Receipt | Exception:
    """As a client does: again after an error that leaves it open."""
    for _ in range(10):
        try:
            return await venue.submit(raw)
        except StoreError:
            continue
        except OrderRefused as refusal:
            return refusal
    raise AssertionError("the two hinder each other for ever")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", [one_nonce, one_collateral, one_order])
def test_nothing_is_used_twice(
    tmp_path: Path, kind: Callable[[PlainVenue, str], tuple[bytes, bytes]]
) -> None:
    names = [f"trader-{i}" for i in range(4)]

    async def scenario(url: str) -> None:
        async with plain_venue(tmp_path, url) as v:
            for name in names:
                await v.threads.chain(v._deposit, key_of(name), [DEPOSIT, DEPOSIT])
            await v.engine.follow_chain()
            async with v.another(url) as other:
                pairs = [kind(v, name) for name in names]
                answers = await asyncio.gather(
                    *(
                        taken(venue, raw)
                        for pair in pairs
                        for venue, raw in zip((v.venue, other), pair, strict=True)
                    )
                )
                receipts = {a.sequence for a in answers if isinstance(a, Receipt)}
                assert len(receipts) == len(names)
                for venue in (v.venue, other):
                    await venue.catch_up()
                check(other.engine.log.store, v, len(receipts))

    with fresh_url("postgresql", tmp_path) as url:
        asyncio.run(scenario(url))


def check(store: LogStore, v: PlainVenue, due: int) -> None:
    """The log, folded anew with every check, has each (account, nonce) once."""
    log = Log.open(store, v.engine.state.key, Signers(1, signers().addresses), nobody)
    entries = [Message.decode(data) for data in log.store.entries(0, 1_000)]
    orders = [ListedOrder.read(e.blobs[0], log.state.key) for e in entries if e.op == "order"]
    assert len(orders) == len({(o.account, o.nonce) for o in orders}) == due

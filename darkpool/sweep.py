"""Orders that may stand no longer leave a book: named in the log, with a reason for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder
from darkpool.state import MAX_RELEASED

if TYPE_CHECKING:
    from darkpool.book import Book
    from darkpool.engine import Engine

_PASSES: Final = 5  # orders may be cancelled while it is found out which ones must go


async def sweep(engine: Engine, book: Book, *, sealing: bool = False) -> int:
    """Release what the screening no longer wants in the book, until it wants all; how many went.

    Raises OrderRefused of code not-screened if that cannot be found out, Unavailable, StoreError.
    """
    gone = 0
    for _ in range(_PASSES):
        releases = await engine.screening.releases(book, sealing=sealing)
        if not releases:
            return gone
        for found in releases:
            gone += await release(engine, book, found.orders, found.reason)
    raise OrderRefused(
        f"market {book.terms.market.name}: orders come and go too fast to be screened",
        "try again",
        "not-screened",
    )


async def release(engine: Engine, book: Book, orders: Sequence[ListedOrder], reason: str) -> int:
    """Take unsealed orders out; how many went: one that is gone already is left out.

    Raises Unavailable, StoreError.
    """
    from darkpool.engine import Draft

    gone = 0
    for start in range(0, len(orders), MAX_RELEASED):
        there = {(o.account, o.nonce) for o in book.unsealed}
        part = [o for o in orders[start : start + MAX_RELEASED] if (o.account, o.nonce) in there]
        named = [[o.account.hex(), o.nonce] for o in part]
        fields = {"market": book.terms.market.id.hex(), "orders": named, "reason": reason}
        if part:
            try:
                await engine.commit_one(Draft("release", fields))
            except OrderRefused as refusal:
                if refusal.code != "order-not-standing":
                    raise
            else:
                gone += len(part)
    return gone

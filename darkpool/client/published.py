"""What a venue publishes of the rounds of a settlement: enough to contest it, or to refute a contest of it.

Nothing is believed: rounds that do not hash to the settlement's transcript make no case. Coroutines are of
steps.py. A copy of the log holds the same (logged.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from commitments import merkle
from commitments.encoding import Reader
from commitments.errors import DecodeError
from commitments.order_statement import Statement
from darkpool import jsontext
from darkpool.client.answers import picked
from darkpool.client.connection import Connection
from darkpool.client.settlements import ListedSettlement
from darkpool.client.venue_api import PAGE, Call
from darkpool.contest import Case, Listed, SettledRecord
from darkpool.entitlement import RoundWords
from darkpool.errors import PeerFault
from darkpool.jsonfields import hex_text
from darkpool.message import Message
from darkpool.order import MAX_ORDER_BYTES, order_hash
from darkpool.results import read_result
from darkpool.signed_settlement import SignedSettlement
from darkpool.types import Address

_MOST_ROUNDS: Final = 64
_FIRST_PAGE: Final = 8


@dataclass(frozen=True, slots=True)
class PublishedRound:
    """A round by its words, with the leaves of its list."""

    words: RoundWords
    leaves: tuple[bytes, ...] = field(repr=False)

    def listed(self, account: Address, place: int) -> list[Listed]:
        """The account's orders in it, if it is the round at that place of a settlement."""
        leaves = self.leaves
        own = [i for i, leaf in enumerate(leaves) if leaf[:20] == account]
        tree = merkle.Tree(leaves if own else ())
        return [
            Listed(int.from_bytes(leaves[i][20:28]), leaves[i][-32:], place, i, tree.inclusion(i))
            for i in own
        ]


async def published_rounds(connection: Connection, transcript: bytes) -> list[PublishedRound]:
    """The rounds of the settlement of that transcript, in its order, as the venue tells.

    Raises as VenueApi; PeerFault for nonsense.
    """
    listed = await _found(connection, lambda listed: listed.transcript == transcript)
    return [await _round(connection, market, number) for market, number in listed.rounds]


async def published_case(connection: Connection, record: SettledRecord, account: Address) -> Case:
    """The account's case, of what the venue tells. Raises as `published_rounds`."""
    rounds = await published_rounds(connection, record.transcript)
    listed = [at for place, found in enumerate(rounds) for at in found.listed(account, place)]
    return Case.of(record, [found.words for found in rounds], listed)


async def settlement_of(connection: Connection, market: bytes, number: int) -> SettledRecord:
    """The latest settlement of a round as the venue lists it, its time left open.

    Raises as `published_rounds`.
    """
    listed = await _found(connection, lambda listed: (market, number) in listed.rounds)
    s = listed.signed.settlement
    return SettledRecord(s.id, 0, s.root, s.transcript, s.deltas, s.nullifiers)


@dataclass(frozen=True, slots=True)
class _Listed:
    """A settlement in the venue's list, with market and number of each of its rounds."""

    signed: SignedSettlement = field(repr=False)
    rounds: tuple[tuple[bytes, int], ...]

    @property
    def transcript(self) -> bytes:
        return self.signed.settlement.transcript

    @staticmethod
    def of(item: object) -> _Listed:
        rows = picked(item, "settlement", "rounds").array("rounds", _MOST_ROUNDS)
        rounds = [picked(row, "round", "market", "round") for row in rows]
        return _Listed(
            ListedSettlement.of(item).signed,
            tuple((row.octets("market", 32), row.uint("round")) for row in rounds),
        )


def _read_page(body: bytes) -> tuple[list[_Listed], int | None]:
    page = picked(jsontext.parsed(body, "answer"), "page", "items", "next")
    following = None if page.member("next") is None else page.uint("next")
    return [_Listed.of(item) for item in page.array("items", PAGE)], following


async def _found(connection: Connection, wanted: Callable[[_Listed], bool]) -> _Listed:
    """The newest that is wanted. Raises PeerFault if there is none."""
    before = last = None
    while True:
        # What is looked for is nearly always among the latest.
        limit, cursor = (_FIRST_PAGE, "") if before is None else (PAGE, f"&before={before}")
        call = Call("GET", f"/settlements?limit={limit}{cursor}", _read_page)
        items, before = await connection.api.ask(call)
        for listed in items:
            if wanted(listed):
                return listed
        if before is None or (last is not None and before >= last):
            raise PeerFault("it does not list the settlement", "ask again in a moment", "venue")
        last = before


async def _round(connection: Connection, market: bytes, number: int) -> PublishedRound:
    sealed = await connection.api.sealed(market, number)
    sealed.check_leaves()
    if not sealed.leaves:
        raise PeerFault(f"round {number}: its list is empty, and it crossed", peer="venue")
    result = read_result(Message.decode(await connection.api.result(market, number)))
    raw = await sealed_order(connection, market, number, sealed.leaves[0][-32:])
    s = Statement.read(Reader(raw))
    terms = connection.info(market).terms
    words = (
        market,
        number,
        sealed.sealed_at,
        sealed.root,
        len(sealed.leaves),
        s.price(result.price),
        s.p_0,
        s.tick,
        s.lot,
        result.volume,
        terms.tokens.index(terms.market.base),
        terms.tokens.index(terms.market.quote),
        sealed.audit_root,
    )
    return PublishedRound(RoundWords.of(words), sealed.leaves)


async def sealed_order(connection: Connection, market: bytes, number: int, digest: bytes) -> bytes:
    """The bytes of an order of a sealed list. Raises as VenueApi, PeerFault for others."""

    def read(body: bytes) -> bytes:
        if len(body) > MAX_ORDER_BYTES or order_hash(body) != digest:
            raise DecodeError("order", "other bytes than the list names")
        return body

    path = f"/rounds/{hex_text(market)}/{number}/orders/{hex_text(digest)}"
    return await connection.api.ask(Call("GET", path, read))

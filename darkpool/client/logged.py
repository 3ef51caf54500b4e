"""The rounds of settlements as a copy of the log has them: a member's own, without venue or operator.

The log is folded from its first entry, as the member did it when it took each in; only the proofs of orders,
which it verified then, are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, TypeVar

from commitments.encoding import Reader
from commitments.errors import DecodeError
from commitments.order_statement import Statement
from commitments.paillier import PublicKey
from darkpool.client.published import PublishedRound
from darkpool.client.steps import Steps
from darkpool.committee.home import DATABASE, SEAT, Home
from darkpool.committee.seat import Seat
from darkpool.committee.succession import first_committee
from darkpool.entitlement import RoundWords
from darkpool.errors import ConfigError, OrderRefused, Unavailable
from darkpool.listing import ListedOrder
from darkpool.log import listed
from darkpool.message import Message
from darkpool.netting import Signers, transcript_words
from darkpool.results import read_result
from darkpool.state import VenueState
from darkpool.store.database import Database, sqlite_url
from darkpool.store.log_store import LogStore
from darkpool.types import Address

T = TypeVar("T")

_PAGE: Final = 256


@dataclass(frozen=True, slots=True)
class _Cleared:
    """A crossing round, and where the log has each order of its list."""

    words: RoundWords
    places: Mapping[bytes, int] = field(repr=False)  # by the order's hash, in the list's order


class LoggedRounds:
    """`Published` of a log; key and signers are of the venue's first committee.

    Its coroutines await nothing: see `finished`.
    """

    def __init__(self, store: LogStore, key: PublicKey, signers: Signers) -> None:
        self._store, self._state = store, VenueState(key, signers)
        self._size = 0
        self._terms: dict[bytes, bytes] = {}
        self._cleared: dict[tuple[bytes, int], _Cleared] = {}
        self._windows: dict[bytes, list[tuple[bytes, int]]] = {}

    @classmethod
    @contextmanager
    def of_member(cls, home: Path) -> Iterator[Self]:
        """Those of a member's home; the member may run meanwhile. Raises ConfigError, StoreError."""
        signers = Home.load(home).signers
        if signers is None:
            raise ConfigError(f"{home}: it has not joined a committee", "run darkpool member join")
        first = first_committee(home, Seat.load(home / SEAT), signers)
        database = Database.as_it_is(sqlite_url(home / DATABASE))
        try:
            yield cls(LogStore(database), first.key, first.signers)
        finally:
            database.close()

    def follow(self) -> None:
        """Take in what the log has got since the last time.

        Raises StoreError, ConfigError if it is no log of that committee.
        """
        try:
            while page := self._store.entries(self._size, _PAGE):
                for data in page:
                    self._take(Message.decode(data))
        except (DecodeError, OrderRefused) as error:
            raise ConfigError(
                f"log: entry {self._size} is none of this committee's: {error}",
                "name the member it belongs to",
            ) from None

    def _take(self, entry: Message) -> None:
        state = self._state
        change = state.checked(entry, listed(entry, state.key))
        if entry.op == "result" and (result := read_result(entry)).crossed:
            book = state.book(entry)
            if book.sealed is not None:
                words = RoundWords.of(transcript_words(book.terms, book.sealed, result))
                places = {order.hash: order.sequence for order in book.sealed.orders}
                self._cleared[words.market, words.number] = _Cleared(words, places)
        effects = change(self._size)
        self._size += 1
        if effects.window is not None:
            rounds = [(cleared.market, int(cleared.round)) for cleared in effects.window.rounds]
            self._windows[effects.window.settlement.transcript] = rounds
        if entry.op in {"market", "committee"}:
            for terms in state.markets.values():
                self._terms[terms.hash] = terms.preimage

    @property
    def vault(self) -> Address:
        """That of its markets. Raises Unavailable if it has none yet."""
        for terms in self._state.markets.values():
            return terms.contract
        raise Unavailable("log: it has no market yet", "log", "wait until the member has taken it in")

    async def rounds(self, transcript: bytes) -> Sequence[PublishedRound]:
        """Raises StoreError; Unavailable if the log has no settlement of that transcript."""
        found = self._windows.get(transcript)
        if found is None:
            raise Unavailable(
                "log: no settlement of this transcript is in it",
                "log",
                "wait until the member has taken it in",
            )
        return [self._published(self._cleared[name]) for name in found]

    def _published(self, cleared: _Cleared) -> PublishedRound:
        return PublishedRound(cleared.words, tuple(map(self._leaf, cleared.places.values())))

    def _leaf(self, sequence: int) -> bytes:
        raw = self._raw(sequence)
        key = self._state.tenures.key(Statement.read(Reader(raw)).key_id)  # it may be a former one's
        return ListedOrder.read(raw, key).leaf

    async def order(self, words: RoundWords, digest: bytes) -> bytes:
        """Raises StoreError."""
        return self._raw(self._cleared[words.market, words.number].places[digest])

    def terms(self, digest: bytes) -> bytes | None:
        """Of all that were ever in force."""
        return self._terms.get(digest)

    def _raw(self, sequence: int) -> bytes:
        return Message.decode(self._store.entry(sequence)).blobs[0]


def finished(steps: Steps[T]) -> T:
    """What a coroutine returns or raises that asks nothing of the world, as with a log."""
    try:
        steps.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it asks for something, and nobody is there to do it")

"""What a venue asks whoever screens its accounts: it knows nothing itself of policies and persons.

Reasons that get into the log are for everybody, so they say nothing of an account; it reads its own in full
by a request of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from commitments.group import Point
from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder
from darkpool.market import WHOLE
from darkpool.types import Address

if TYPE_CHECKING:
    from darkpool.book import Book
    from darkpool.engine import Committed, Draft


@dataclass(frozen=True, slots=True)
class PolicyTerms:
    """What a policy adds to a market's terms: its hash, and every auditor's key that an order may owe."""

    hash: bytes = bytes(32)
    auditor_keys: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """Orders that may stand no longer, and why, for everybody."""

    orders: tuple[ListedOrder, ...] = field(repr=False)
    reason: str


class Screening(Protocol):
    """Whoever decides which orders may be here. Everything that cannot be found out is a refusal."""

    def segments(self, market: str) -> Mapping[str, PolicyTerms]:
        """The segments of a market of the settings, by name, with their terms; none if it has no place."""

    async def register(self, account: Address) -> None:
        """May the account register? Raises OrderRefused, StoreError."""

    async def screen(self, order: ListedOrder, book: Book, others: int) -> None:
        """May it be verified? others: the account's orders in this market that stand or are on their way.

        Raises OrderRefused with the deciding rule's sentence and code, StoreError.
        """

    async def admit(self, drafts: Sequence[Draft], books: Mapping[bytes, Book]) -> dict[int, OrderRefused]:
        """Decide for good on orders about to be written; the refused by position.

        What is decided is on record, durably, when this returns. Raises StoreError.
        """

    def check(self, draft: Draft, books: Mapping[bytes, Book]) -> None:
        """That an order or a seal about to be written was screened by what is in force now.

        Raises OrderRefused of code not-screened.
        """

    async def releases(self, book: Book, *, sealing: bool) -> list[Release]:
        """The unsealed orders that may stand no longer, now or in a list about to be sealed; on record.

        Raises StoreError, and OrderRefused of code not-screened if it cannot be said.
        """

    def stop(self, book: Book) -> str:
        """Why the sealed round, whose clearing has not begun, is to be aborted, if so."""

    def told(self, done: Sequence[Committed], chain_time: int) -> None:
        """Take note of entries that are in the log; chain_time: of the latest final block, unix seconds."""


class NoScreening:
    """Everybody may do everything; no segments."""

    def segments(self, market: str) -> Mapping[str, PolicyTerms]:  # noqa: ARG002
        """One, without a policy."""
        return {WHOLE: PolicyTerms()}

    async def register(self, account: Address) -> None:
        """Anybody."""

    async def screen(self, order: ListedOrder, book: Book, others: int) -> None:
        """Anything."""

    async def admit(
        self,
        drafts: Sequence[Draft],  # noqa: ARG002
        books: Mapping[bytes, Book],  # noqa: ARG002
    ) -> dict[int, OrderRefused]:
        """All."""
        return {}

    def check(self, draft: Draft, books: Mapping[bytes, Book]) -> None:
        """Holds."""

    async def releases(self, book: Book, *, sealing: bool) -> list[Release]:  # noqa: ARG002
        """None."""
        return []

    def stop(self, book: Book) -> str:  # noqa: ARG002
        """Never."""
        return ""

    def told(self, done: Sequence[Committed], chain_time: int) -> None:
        """Nothing to note."""

"""What a vault is made of and what it reports: terms, tokens, and its events as typed records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, Self

from darkpool.settlement import MAX_WORD
from darkpool.types import Address, Quanta, TokenIndex, parse_address

DEFAULT_SETTLE_WINDOW: Final = 3600
DEFAULT_FINALITY: Final = 900
DEFAULT_DELAY: Final = 2 * 3600
MIN_WITHDRAW_DELAY: Final = 3600
"""Of a venue that is set up: a quarter of it is the time to refute a false denial. The contract asks 600."""

DEFAULT_COMMITTEE_DELAY: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a vault: its contract, and how many of its units make a quantum."""

    contract: Address
    quantum: int


@dataclass(frozen=True, slots=True)
class VaultTerms:
    """What a vault is created with and, but for the committee, never changes; times in seconds.

    The contract refuses terms under which a withdrawal or a cancellation could overtake a settlement, or a
    new committee a withdrawal: both delays exceed settle_window + finality, withdraw_delay is 600 at least,
    committee_delay exceeds 2 * withdraw_delay. `members` are at least 2 * threshold + 1 and at most 16,
    ascending; tokens are 1 to 8. `guardian` may pause settling; None is whoever deploys. `arbiter` judges
    contests; None is a new one.
    """

    members: tuple[Address, ...]
    threshold: int
    tokens: tuple[Token, ...]
    settle_window: int = DEFAULT_SETTLE_WINDOW
    finality: int = DEFAULT_FINALITY
    withdraw_delay: int = DEFAULT_DELAY
    cancel_delay: int = DEFAULT_DELAY
    committee_delay: int = DEFAULT_COMMITTEE_DELAY
    guardian: Address | None = None
    arbiter: Address | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next committee and guardian; anyone may put them into office from `ready_at` (unix seconds) on.

    epoch: the number they will have; 0 if nothing is proposed.
    """

    epoch: int
    ready_at: int


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an event stands: block, then position in it. Orders the events of one chain."""

    block: int
    log_index: int
    tx_hash: bytes


class VaultEvent(Protocol):
    """A record of one kind of event; `EVENT` is its name in the contract."""

    EVENT: ClassVar[str]

    @property
    def place(self) -> Place:
        """Where it stands in the chain."""

    @classmethod
    def decoded(cls, place: Place, arguments: dict[str, Any]) -> Self:
        """The record of a decoded log entry."""


@dataclass(frozen=True, slots=True)
class Deposit:
    """Quanta were credited to an account."""

    EVENT: ClassVar[str] = "Deposit"
    place: Place
    token: TokenIndex
    account: Address
    quanta: Quanta

    @classmethod
    def decoded(cls, place: Place, arguments: dict[str, Any]) -> Self:
        """The record of a decoded log entry."""
        return cls(place, *_movement(arguments))


@dataclass(frozen=True, slots=True)
class WithdrawalRequest:
    """An account asked for quanta, from `ready_at` (unix seconds) on; replaces an earlier request."""

    EVENT: ClassVar[str] = "WithdrawalRequested"
    place: Place
    token: TokenIndex
    account: Address
    quanta: Quanta
    ready_at: int

    @classmethod
    def decoded(cls, place: Place, arguments: dict[str, Any]) -> Self:
        """The record of a decoded log entry."""
        return cls(place, *_movement(arguments), int(arguments["ready_at"]))


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A request was paid and closed; `quanta` may be less than was asked for, even none."""

    EVENT: ClassVar[str] = "Withdrawn"
    place: Place
    token: TokenIndex
    account: Address
    quanta: Quanta

    @classmethod
    def decoded(cls, place: Place, arguments: dict[str, Any]) -> Self:
        """The record of a decoded log entry."""
        return cls(place, *_movement(arguments))


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """An account asked to burn nonces 256 * word + i for the bits i of `mask`, from `ready_at` on."""

    EVENT: ClassVar[str] = "CancelRequested"
    place: Place
    account: Address
    word: int
    mask: int
    ready_at: int

    @classmethod
    def decoded(cls, place: Place, arguments: dict[str, Any]) -> Self:
        """The record of a decoded log entry."""
        return cls(place, *_bits(arguments), int(arguments["ready_at"]))


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Requested nonces were burnt and the request closed."""

    EVENT: ClassVar[str] = "Cancelled"
    place: Place
    account: Address
    word: int
    mask: int

    @classmethod
    def decoded(cls, place: Place, arguments: dict[str, Any]) -> Self:
        """The record of a decoded log entry."""
        return cls(place, *_bits(arguments))


@dataclass(frozen=True, slots=True)
class Settled:
    """A settlement was applied; its rows as (token, account, amount) and (account, word, mask).

    Plain tuples, not `Delta` and `NullifierRow`: the log is what the contract did, even if this library
    would have refused to make such a row.
    """

    EVENT: ClassVar[str] = "Settled"
    place: Place
    id: int
    epoch: int
    sealed_at: int
    root: bytes
    transcript: bytes
    deltas: tuple[tuple[TokenIndex, Address, Quanta], ...]
    nullifiers: tuple[tuple[Address, int, int], ...]

    @classmethod
    def decoded(cls, place: Place, arguments: dict[str, Any]) -> Self:
        """The record of a decoded log entry."""
        return cls(
            place,
            int(arguments["id"]),
            int(arguments["epoch"]),
            int(arguments["sealed_at"]),
            bytes(arguments["root"]),
            bytes(arguments["transcript"]),
            tuple(map(_unpacked_delta, arguments["deltas"])),
            tuple(
                (_account(row["key"] >> 96), row["key"] & MAX_WORD, row["mask"])
                for row in arguments["nullifiers"]
            ),
        )


def _movement(arguments: dict[str, Any]) -> tuple[TokenIndex, Address, Quanta]:
    account = parse_address(arguments["account"])
    return TokenIndex(arguments["token"]), account, Quanta(arguments["quanta"])


def _bits(arguments: dict[str, Any]) -> tuple[Address, int, int]:
    return parse_address(arguments["account"]), int(arguments["word"]), int(arguments["mask"])


def _account(number: int) -> Address:
    return Address((number & (2**160 - 1)).to_bytes(20))


def _unpacked_delta(row: int) -> tuple[TokenIndex, Address, Quanta]:
    magnitude = row & (2**87 - 1)
    return TokenIndex(row >> 248), _account(row >> 88), Quanta(-magnitude if row >> 87 & 1 else magnitude)

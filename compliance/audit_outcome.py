"""What came out of an audit: the checklist, orders, fills, and nets against the chain."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from compliance.audit_file import AuditFile
from compliance.completeness import Report
from compliance.fills import OrderFill
from darkpool.client.answers import MarketInfo
from darkpool.market import RoundState
from darkpool.types import Address, Quanta

EXIT_DONE: Final = 0
EXIT_INCOMPLETE: Final = 1
EXIT_FAULT: Final = 3


class Outcome(StrEnum):
    """What came out of a check."""

    HOLDS = "holds"
    INCOMPLETE = "incomplete"
    REFUSED = "refused"
    FAILS = "fails"
    NOT_DONE = "not done"


@dataclass(frozen=True, slots=True)
class Check:
    """A line of the checklist. by: who is at fault, if somebody is."""

    name: str
    what: str
    count: int
    outcome: Outcome
    problem: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class AuditedFills:
    """What the account's orders got of a round; price: quote quanta per lot; state: the venue's word."""

    round: int
    sealed_at: int
    price: Quanta
    state: RoundState
    fills: tuple[OrderFill, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NetLine:
    """What a settlement moves of a token for the account, in quanta.

    rounds: by its rounds; chain: by the chain, None if it was not asked or has it not.
    """

    settlement: int
    token: Address
    rounds: int
    chain: int | None
    block: int
    tx_hash: bytes


@dataclass(frozen=True, slots=True)
class Audit:
    """What the file shows.

    report: the account's orders, None if it did not come to that; undetermined: rounds sealed before or after
    the days in which the account traded, by which of its orders the audit of those days says.
    """

    file: AuditFile
    info: MarketInfo | None
    account: Address
    checks: tuple[Check, ...]
    report: Report | None
    fills: tuple[AuditedFills, ...]
    nets: tuple[NetLine, ...]
    undetermined: frozenset[int]

    @property
    def exit_code(self) -> int:
        """0 all verified and complete; 3 somebody's fault; 1 incomplete or refused."""
        outcomes = {check.outcome for check in self.checks}
        if Outcome.FAILS in outcomes:
            return EXIT_FAULT
        return EXIT_DONE if outcomes == {Outcome.HOLDS} else EXIT_INCOMPLETE

    @property
    def verdict(self) -> str:
        """In a sentence."""
        return {
            EXIT_DONE: "everything was verified, and nothing is missing",
            EXIT_INCOMPLETE: "what could be verified holds, but not everything could be",
            EXIT_FAULT: "something does not hold: "
            + "; ".join(f"{c.name}, by {c.by}" for c in self.checks if c.outcome is Outcome.FAILS),
        }[self.exit_code]

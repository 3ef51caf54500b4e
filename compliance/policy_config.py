"""policy.toml: who may do what where, as data. The format is explained in docs/compliance-policy.md.

    [policy]        id, version, note, credentials, markets, jurisdictions, classes
    [[group]]       a name for several jurisdictions
    [[list]]        a file in lists/
    [[issuer]]      whose credentials count, for which jurisdictions
    [[auditor]]     who reads what: a name and a key
    [[allow]]       what is allowed; all else is not
    [[forbid]]      what is not allowed, whatever an [[allow]] says
    [[limit]]       a bound on an account's open orders in a market
    [[disclosure]]  which orders carry handles for which auditors, and why
    [[segment]]     who trades with whom

What an [[allow]] leaves out it does not allow; what the others leave out they apply to all. So a forgotten
line never widens what is allowed. A subdivision ("US-NY") belongs to its country wherever that is named.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from commitments.auditor_key import Registration
from commitments.group import Point
from compliance.policy_lists import ListKind, country
from darkpool.market import WHOLE
from darkpool.types import Address

WHOLE_VENUE: Final = WHOLE
"""The segment of everybody, if a policy has none."""


class Effect(StrEnum):
    """What a rule does to the requests it applies to; a forbid wins over every permit."""

    PERMIT = "permit"
    FORBID = "forbid"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which requests something applies to: those that every part names. None is any.

    Jurisdictions are codes and names of groups.
    """

    markets: tuple[str, ...] | None = None
    jurisdictions: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One generated rule. `listed` names the list, `open_orders` the number from which on it applies."""

    id: str
    effect: Effect
    reason: str
    selector: Selector
    issuers: tuple[str, ...] | None = None
    listed: str | None = None
    open_orders: int | None = None


@dataclass(frozen=True, slots=True)
class ListEntry:
    """A list that the policy has a file for."""

    name: str
    kind: ListKind
    title: str


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who may state what: credentials signed by `address` for these jurisdictions (codes only; None: any).

    max_age: seconds after which its revocation list is too old to tell who is not on it.
    """

    name: str
    title: str
    address: Address
    jurisdictions: frozenset[str] | None
    max_age: int


@dataclass(frozen=True, slots=True)
class PolicyAuditor:
    """Who reads orders: a point of the prime-order subgroup.

    account: signs its queries, if it may query; proof: that its holder knows the key's secret.
    """

    name: str
    title: str
    key: Point
    account: Address | None = None
    proof: Registration | None = None


@dataclass(frozen=True, slots=True)
class Disclosure:
    """A duty: orders that it selects carry handles for the auditors, who look only on a legal reference.

    visible_after: seconds after which the account holder sees that they looked.
    """

    id: str
    reason: str
    selector: Selector
    auditors: tuple[str, ...]
    visible_after: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Participants that trade with each other only."""

    name: str
    selector: Selector


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """A whole policy.toml; every name in it resolves."""

    id: str
    version: int
    note: str
    credentials: bool
    markets: tuple[str, ...]
    jurisdictions: tuple[str, ...]
    classes: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    lists: tuple[ListEntry, ...]
    issuers: tuple[Issuer, ...]
    auditors: tuple[PolicyAuditor, ...]
    rules: tuple[Rule, ...]
    disclosures: tuple[Disclosure, ...]
    segments: tuple[Segment, ...]

    def names(self, chosen: Collection[str] | None, jurisdiction: str) -> bool:
        """Whether codes and groups (None: any) name the jurisdiction or its country."""
        if chosen is None:
            return True
        own = {jurisdiction, country(jurisdiction)}
        return any(not own.isdisjoint(self.groups.get(name, (name,))) for name in chosen)

    def selects(self, selector: Selector, market: str, jurisdiction: str, investor_class: str) -> bool:
        """Whether a selector applies."""
        return (
            (selector.markets is None or market in selector.markets)
            and self.names(selector.jurisdictions, jurisdiction)
            and (selector.classes is None or investor_class in selector.classes)
        )

    def segment(self, jurisdiction: str, investor_class: str) -> str | None:
        """The one segment of such an account; None if the policy has segments and none is for it."""
        if not self.segments:
            return WHOLE_VENUE
        found = (s.name for s in self.segments if self.selects(s.selector, "", jurisdiction, investor_class))
        return next(found, None)

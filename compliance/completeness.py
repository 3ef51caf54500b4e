"""Whether an auditor has seen every order of an account: from sealed lists, never from trader or operator.

Members sign the root of every list that is cleared, and a leaf begins with its account, so the leaves name
the account's orders: each must open, or stands in the report as refused. A list with a leaf left out has
another root; a list left out altogether leaves a gap in the numbers.

    days asked                 |<-------------- first_day ... last_day -------------->|
    lists needed    before     in      in      in      in                             after

`before` is round 1 or a list sealed earlier, `after` one sealed later, when all that was signed in time has
reached a list. Orders signed after the last day are other cells and left out. What was cancelled or expired
before any list was sealed is in no list: it never could trade, and only the log has it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, TypeAlias

from commitments.encoding import Reader
from commitments.errors import CommitmentsError
from commitments.order_statement import Statement
from commitments.paillier import PublicKey
from compliance.opening import NATIVE, Opened, Reason, Refusal, open_order
from compliance.view_keys import ViewKey
from darkpool import eip712
from darkpool.admission import DAY_SLACK_SECONDS
from darkpool.certificates import check_abandoned
from darkpool.errors import ConfigError, OrderRefused, PeerFault
from darkpool.listing import RoundResult
from darkpool.order import Terms, order_hash
from darkpool.sealed_view import SealedListView
from darkpool.tenure import Tenures
from darkpool.types import Address, Nonce, Signature

_SECONDS_PER_DAY: Final = 86_400
_VENUE: Final = "venue"


@dataclass(frozen=True, slots=True)
class RoundList:
    """A sealed list and how members vouch for it.

    By its signatures if it had a result, else by those of its abandonment; by neither while it waits, or if
    it ended because its settle window passed.
    """

    sealed: SealedListView
    abandoned: tuple[Signature, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists that were checked.

    unsigned: rounds no member vouches for; closed: no list that follows can have orders of the days asked.
    """

    rounds: tuple[RoundList, ...]
    first_day: int
    last_day: int
    unsigned: tuple[int, ...]
    closed: bool

    def orders_of(self, account: Address) -> dict[bytes, tuple[bytes, tuple[int, ...]]]:
        """hash -> (leaf, rounds) of the account's orders, by first appearance."""
        found: dict[bytes, tuple[bytes, tuple[int, ...]]] = {}
        for listed in self.rounds:
            for leaf in listed.sealed.leaves:
                if leaf[:20] == account:
                    _, rounds = found.get(leaf[-32:], (leaf, ()))
                    found[leaf[-32:]] = (leaf, (*rounds, listed.sealed.round))
        return found


@dataclass(frozen=True, slots=True)
class Listed:
    """An order to open: its hash and leaf by the lists, and its bytes, None if nobody gave them."""

    hash: bytes
    leaf: bytes = field(repr=False)
    raw: bytes | None = field(repr=False)


Opener: TypeAlias = Callable[[Sequence[Listed], Terms, Collection[ViewKey], str], "list[Opened | Refusal]"]


def open_listed(
    listed: Sequence[Listed], terms: Terms, keys: Collection[ViewKey], backend: str
) -> list[Opened | Refusal]:
    """What each opens to, or why it does not."""
    return [_outcome(job, terms, keys, backend) for job in listed]


def _outcome(job: Listed, terms: Terms, keys: Collection[ViewKey], backend: str) -> Opened | Refusal:
    if job.raw is None:
        return Refusal(job.hash, Reason.MISSING, "nobody gave its bytes")
    try:
        return open_order(job.raw, terms, keys, leaf=job.leaf, backend=backend)
    except Refusal as refusal:
        return refusal


def check_lists(
    rounds: Sequence[RoundList],
    market: bytes,
    days: tuple[int, int],
    domain: eip712.Domain,
    tenures: Tenures,
) -> Lists:
    """The lists of a market for those days (first and last, UTC days since 1970-01-01), by number.

    1. all are of the market, numbered without a gap, sealed one after the other; 2. the first is round 1 or
    was sealed before the days asked; 3. every root is that of its leaves, and 2t+1 members signed the list,
    or n-t its abandonment. Raises PeerFault naming what does not hold, ConfigError for days in the wrong
    order or no list at all.
    """
    first_day, last_day = days
    if first_day > last_day or not rounds:
        raise ConfigError("audit: no days or no sealed lists", "give the earlier day first, and its lists")
    views = [listed.sealed for listed in rounds]
    for view in views:  # 1
        if view.market != market:
            raise PeerFault(f"sealed list {view.round}: it is of another market", peer=_VENUE)
    for before, after in pairwise(views):
        if after.round != before.round + 1:
            raise PeerFault(f"sealed lists: {after.round} follows {before.round}", peer=_VENUE)
        if after.sealed_at < before.sealed_at:
            raise PeerFault(f"sealed list {after.round}: it is older than the one before it", peer=_VENUE)
    start, end = first_day * _SECONDS_PER_DAY, (last_day + 1) * _SECONDS_PER_DAY
    if views[0].round > 1 and views[0].sealed_at >= start - DAY_SLACK_SECONDS:  # 2
        raise PeerFault(f"sealed lists: those before {views[0].round} are missing", peer=_VENUE)
    unsigned = tuple(listed.sealed.round for listed in rounds if not _vouched(listed, domain, tenures))  # 3
    closed = views[-1].sealed_at >= end + DAY_SLACK_SECONDS
    return Lists(tuple(rounds), first_day, last_day, unsigned, closed)


def _vouched(listed: RoundList, domain: eip712.Domain, tenures: Tenures) -> bool:
    sealed = listed.sealed
    signers = tenures.at(sealed.sealed_at).signers
    sealed.check_leaves()
    if sealed.signatures:
        sealed.check(domain, signers)
    elif listed.abandoned:
        try:
            check_abandoned(sealed.digest(domain), domain, listed.abandoned, signers)
        except OrderRefused as error:
            raise PeerFault(f"abort of round {sealed.round}: {error}", peer=_VENUE) from None
    else:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Finding:
    """An order of the account in the lists, and what it opened to, or why it did not."""

    hash: bytes
    nonce: Nonce
    rounds: tuple[int, ...]
    outcome: Opened | Refusal


@dataclass(frozen=True, slots=True)
class Report:
    """Every order of an account in the days asked. `later`: orders in the lists, but signed after them."""

    account: Address
    lists: Lists
    findings: tuple[Finding, ...]
    later: int

    @property
    def opened(self) -> tuple[Opened, ...]:
        """The orders that opened, by first appearance in a list."""
        return tuple(f.outcome for f in self.findings if isinstance(f.outcome, Opened))

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The orders that did not."""
        return tuple(f.outcome for f in self.findings if isinstance(f.outcome, Refusal))

    @property
    def complete(self) -> bool:
        """Whether every order opened, members vouch for every list, and no list of those days can follow."""
        return not self.refusals and not self.lists.unsigned and self.lists.closed

    def in_round(self, number: int) -> tuple[Opened, ...] | None:
        """The account's orders of a list, in its order; None if one of them did not open."""
        sealed = next(r.sealed for r in self.lists.rounds if r.sealed.round == number)
        outcomes = {finding.hash: finding.outcome for finding in self.findings}
        mine = [outcomes.get(leaf[-32:]) for leaf in sealed.leaves if leaf[:20] == self.account]
        found = tuple(o for o in mine if isinstance(o, Opened))
        return found if len(found) == len(mine) else None


def examine(
    lists: Lists,
    account: Address,
    orders: Mapping[bytes, bytes],
    terms: Terms,
    tenures: Tenures,
    keys: Collection[ViewKey],
    *,
    backend: str = NATIVE,
    opener: Opener = open_listed,
) -> Report:
    """Open every order of the account in the lists. `orders`: hash -> accepted bytes, from anywhere.

    An order whose bytes are not given, or that does not open (compliance/opening.py), is a refusal; so
    nothing is left out because somebody would rather not show it. `terms`: the market's, of whatever grid
    and committee key; `opener`: who opens them, all of one committee key at once.
    """
    found: list[tuple[bytes, Nonce, tuple[int, ...]]] = []
    jobs: list[Listed] = []
    later = 0
    for digest, (leaf, rounds) in lists.orders_of(account).items():
        raw, nonce = orders.get(digest), Nonce(int.from_bytes(leaf[20:28]))
        day = _signed_on(raw, digest)
        if day is not None and day > lists.last_day:
            later += 1
            continue
        if day is not None and day < lists.first_day and not _stood(lists, rounds):
            continue
        found.append((digest, nonce, rounds))
        jobs.append(Listed(digest, leaf, raw))
    outcomes: dict[bytes, Opened | Refusal] = {}
    for key, sealed_to in _by_key(jobs, tenures).items():
        opened = opener(sealed_to, replace(terms, key=key), keys, backend)
        outcomes |= {job.hash: outcome for job, outcome in zip(sealed_to, opened, strict=True)}
    findings = (Finding(*names, outcomes[names[0]]) for names in found)
    return Report(account, lists, tuple(findings), later)


def _by_key(jobs: Iterable[Listed], tenures: Tenures) -> dict[PublicKey, list[Listed]]:
    """The orders by the committee key they are sealed to; by the present one if that cannot be read."""
    found: dict[PublicKey, list[Listed]] = {}
    for job in jobs:
        try:
            key = tenures.key(Statement.read(Reader(job.raw or b"")).key_id)
        except CommitmentsError:
            key = tenures.current.key
        found.setdefault(key, []).append(job)
    return found


def check_consumed(lists: Lists, account: Address, results: Mapping[int, RoundResult]) -> None:
    """A round in which the account traded consumes all of its orders: none may stand in a later list.

    `results`: by round number, as certified. Raises PeerFault naming the order.
    """
    for digest, (_, rounds) in lists.orders_of(account).items():
        for number in rounds[:-1]:
            if number in results and account in results[number].nets:
                raise PeerFault(
                    f"order {digest.hex()} was consumed in round {number} and sealed again", peer="committee"
                )


def _stood(lists: Lists, rounds: Sequence[int]) -> bool:
    """Whether an order of those rounds stood in the days asked: in a list sealed since they began."""
    start = lists.first_day * _SECONDS_PER_DAY
    return any(r.sealed.sealed_at >= start for r in lists.rounds if r.sealed.round in rounds)


def _signed_on(raw: bytes | None, digest: bytes) -> int | None:
    """The day in the statement of the listed order; other bytes must not say that it is out of range."""
    if raw is None or order_hash(raw) != digest:
        return None
    try:
        return Statement.read(Reader(raw)).utc_day
    except CommitmentsError:
        return None

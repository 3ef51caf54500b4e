"""Whether a grant holds, what it opens, and lists of grants for those who gave and those who got them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Final

from commitments import sealing
from commitments.encoding import Reader
from commitments.errors import DecodeError, VerificationError
from commitments.sealing import BoxKey
from compliance.grant_revocations import Revocation, revoked_at
from compliance.grants import (
    LABEL_GRANT_BOX,
    NODE_BYTES,
    Check,
    Grant,
    GrantRefused,
    Header,
    read_node,
    well_formed,
)
from compliance.view_keys import MAX_NODES, NO_END, Level, ViewKey
from darkpool import eip712
from darkpool.types import Address

CLOCK_SLACK_SECONDS: Final = 60
_SECONDS_PER_DAY: Final = 86_400


def check_grant(
    grant: Grant,
    domain: eip712.Domain,
    now: int,
    days: tuple[int, int] | None = None,
    revocations: Iterable[Revocation] = (),
) -> None:
    """Whether the grant is good now for those days (first and last; all of its own if not given).

    1. it is of this vault; 2. the account signed it; 3. it was issued and has not expired; 4. the days are
    among its own; 5. it was not revoked for any of them. Raises GrantRefused naming the check that failed.
    """
    header = grant.header
    if header.domain != domain:  # 1
        raise GrantRefused(Check.VAULT, "it is of another vault or chain", "use it where it belongs")
    try:  # 2
        eip712.check_signer(grant.digest(), grant.signature, header.account)
    except VerificationError as error:
        raise GrantRefused(Check.SIGNATURE, f"not the account's: {error.problem}") from None
    if header.issued_at > now + CLOCK_SLACK_SECONDS:  # 3
        raise GrantRefused(Check.NOT_YET, f"issued at {header.issued_at}, now is {now}", "check the clock")
    if header.expires <= now:
        raise GrantRefused(Check.EXPIRED, f"at {header.expires}, now is {now}")
    first, last = days or (header.first_day, header.last_day)
    if not header.first_day <= first <= last <= header.last_day:  # 4
        raise GrantRefused(
            Check.RANGE,
            f"days {first} to {last} are not within {header.first_day} to {header.last_day}",
            "ask for the days it grants, the earlier one first",
        )
    revoked = revoked_at(header, revocations)  # 5
    if revoked is not None and revoked <= now and last >= revoked // _SECONDS_PER_DAY:
        raise GrantRefused(
            Check.REVOKED,
            f"at {revoked}, for day {revoked // _SECONDS_PER_DAY} and later ones",
            "ask for earlier days, or the account for another grant",
        )


def open_grant(grant: Grant, key: BoxKey, days: tuple[int, int] | None = None) -> tuple[ViewKey, ...]:
    """The auditor's keys for those days (all if not given) of a grant that `check_grant` let pass.

    1. it is sealed to this key; 2. the box opens and belongs to the header; 3. its nodes are well formed,
    4. within what the header states: days of its range, single orders of days before it, and 5. all of it.
    Keys of other days are left out. Raises GrantRefused naming the check that failed.
    """
    header = grant.header
    if header.auditor.key != key.public:  # 1
        raise GrantRefused(Check.AUDITOR, "it is sealed to another auditor", "open the auditor's keystore")
    try:  # 2
        plaintext = sealing.box_open(key, grant.box, LABEL_GRANT_BOX, header.encode())
    except (DecodeError, VerificationError) as error:
        raise GrantRefused(Check.BOX, str(error)) from None
    keys = well_formed(lambda: _nodes(plaintext, header))  # 3
    _check_scope(header, keys)  # 4, 5
    return _within(keys, days or (header.first_day, header.last_day))


def _nodes(plaintext: bytes, header: Header) -> tuple[ViewKey, ...]:
    count, rest = divmod(len(plaintext), NODE_BYTES)
    if rest or not 0 < count <= MAX_NODES:
        raise DecodeError("box", f"not 1 to {MAX_NODES} nodes")
    reader = Reader(plaintext)
    keys = tuple(read_node(reader, header.scope) for _ in range(count))
    if any(_place(b) <= _place(a) for a, b in pairwise(keys)):
        raise DecodeError("box", "its nodes do not ascend")
    return keys


def _place(key: ViewKey) -> tuple[int, int, int]:
    return key.scope.level, key.scope.day or 0, key.scope.nonce or 0


def _check_scope(header: Header, keys: Sequence[ViewKey]) -> None:
    """Days ascend without repetition, so that many within the range are all of it."""
    all_time = (header.first_day, header.last_day) == (0, NO_END)
    days = 0
    for key in keys:
        level, day, _ = _place(key)
        if level == Level.DAY:
            days += 1
            allowed = header.first_day <= day <= header.last_day and not all_time
        elif level == Level.ORDER:
            allowed = day < header.first_day
        else:
            allowed = all_time
        if not allowed:
            raise GrantRefused(
                Check.OVER_SCOPED,
                f"its box has a key of level {Level(level).name.lower()}, day {day}",
                "do not use it: the account handed over more than it signed for",
            )
    if not all_time and days != header.last_day - header.first_day + 1:
        raise GrantRefused(Check.INCOMPLETE, f"its box has the keys of {days} days only")


def _within(keys: Sequence[ViewKey], days: tuple[int, int]) -> tuple[ViewKey, ...]:
    """The keys for those days; of a market's key for all time its days, unless all time is asked."""
    first, last = days
    if keys[0].scope.level is not Level.MARKET:
        return tuple(k for k in keys if k.scope.level is Level.ORDER or first <= _place(k)[1] <= last)
    if days == (0, NO_END):
        return tuple(keys)
    if last - first >= MAX_NODES:
        raise GrantRefused(Check.RANGE, f"over {MAX_NODES} days", "ask for fewer days at once")
    return tuple(keys[0].under(replace(keys[0].scope, day=day)) for day in range(first, last + 1))


class GrantState(StrEnum):
    """What a grant is good for now."""

    NOT_YET = "not-yet"
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ListedGrant:
    """A line of a list of grants; revoked_at: unix seconds, None if it was not."""

    header: Header
    state: GrantState
    revoked_at: int | None


def listed_grants(
    grants: Iterable[Grant],
    revocations: Sequence[Revocation],
    now: int,
    *,
    account: Address | None = None,
    auditor: Address | None = None,
) -> list[ListedGrant]:
    """Grants by that account, or to that auditor, oldest first, with what they are good for now.

    Raises GrantRefused for a grant or a revocation that its account did not sign.
    """
    rows = []
    for grant in grants:
        header = grant.header
        if account not in {None, header.account} or auditor not in {None, header.auditor.account}:
            continue
        try:
            eip712.check_signer(grant.digest(), grant.signature, header.account)
        except VerificationError as error:
            raise GrantRefused(Check.SIGNATURE, f"not the account's: {error.problem}") from None
        revoked = revoked_at(header, revocations)
        rows.append(ListedGrant(header, _state(header, revoked, now), revoked))
    return sorted(rows, key=lambda row: (row.header.issued_at, row.header.id))


def _state(header: Header, revoked: int | None, now: int) -> GrantState:
    if revoked is not None and revoked <= now:
        return GrantState.REVOKED
    if header.expires <= now:
        return GrantState.EXPIRED
    return GrantState.NOT_YET if header.issued_at > now + CLOCK_SLACK_SECONDS else GrantState.ACTIVE

"""The whole audit of a query by policy: as of a grant, with what authorities opened in the place of notes.

Side, level and quantity come from the handles; everything else of the check is the same: lists, signatures,
results, fills, settlements, the chain (compliance/audit_check.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from compliance import handles
from compliance.audit_check import audit
from compliance.audit_file import AuditFile
from compliance.audit_outcome import Audit, Check, Outcome
from compliance.completeness import Listed, open_listed
from compliance.opening import Opened, Reason, Refusal
from compliance.policy_query import Reading
from compliance.view_keys import ViewKey
from darkpool.errors import OrderRefused
from darkpool.market import Side
from darkpool.order import Order, SealedOrder, Terms, TimeInForce
from darkpool.types import Quanta, Tick

_HANDLES = "t+1 authorities opened the handles, each with a proof"


def audit_of(file: AuditFile, reading: Reading) -> Audit:
    """Verify the audit file that the request was made of. Raises OrderRefused if it is another."""
    request = reading.request
    if file.answer_bytes != request.answer_bytes:
        raise OrderRefused(
            "audit file: not the one that the request was made of",
            "give the file of `audit policy-query --save`",
            "audit-file-other",
        )
    opened = {one.order: one for one in reading.opened}

    def opener(
        listed: Sequence[Listed], terms: Terms, keys: Collection[ViewKey], backend: str
    ) -> list[Opened | Refusal]:
        plain = open_listed(listed, terms, keys, backend)
        return [_outcome(found, job, opened, terms) for found, job in zip(plain, listed, strict=True)]

    done = audit(file, request.auditor.account, None, opener=opener)
    by_handles = Check("handles", _HANDLES, len(opened), Outcome.HOLDS)
    return replace(done, checks=tuple(by_handles if c.name == "grant" else c for c in done.checks))


def _outcome(
    found: Opened | Refusal, job: Listed, opened: dict[bytes, handles.Opened], terms: Terms
) -> Opened | Refusal:
    """Without a key an order that is in order is out of scope: then what its handles say counts."""
    one = opened.get(job.hash)
    if not isinstance(found, Refusal) or found.reason is not Reason.OUT_OF_SCOPE or job.raw is None:
        return found
    if one is None:
        return Refusal(job.hash, Reason.OUT_OF_SCOPE, "it carries no handle for this auditor")
    s = SealedOrder.decode(job.raw, terms.key).statement
    # Of a decoy nothing but its quantity is defined.
    side = Side.BUY if one.side is None else one.side
    level = Tick(0) if one.level is None else one.level
    return Opened(
        hash=job.hash,
        account=one.account,
        market=one.market,
        nonce=one.nonce,
        utc_day=s.utc_day,
        first_round=s.first_round,
        time_in_force=TimeInForce(s.time_in_force),
        valid_until=s.valid_until,
        lot=Quanta(s.lot),
        order=Order(side, level, one.quantity),
        price=Quanta(s.price(level)),
    )

"""A query by policy, from the lists to the orders: what to ask authorities for, and what their answers open.

    audit file (by policy) -> every listed order of the account -> request -> answers of t+1 -> orders

Which orders are asked for follows from the sealed lists alone, as in any audit (compliance/completeness.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from commitments.auditor_shares import Partial, check_partial, combine
from commitments.discrete_log import Table
from commitments.errors import CommitmentsError, VerificationError
from commitments.group import Point
from commitments.sealing import BoxKey
from compliance.audit_outcome import Audit, Outcome
from compliance.auditor import Auditor
from compliance.authority import Authority
from compliance.authority_answer import SealedAnswer, check_answer, open_answer
from compliance.authority_request import MAX_ORDERS, Request
from compliance.handles import Opened, handle_points, open_order, request_context
from compliance.report_view import day_text, when
from darkpool.errors import OrderRefused, PeerFault
from darkpool.jsonfields import hex_text
from darkpool.order import SealedOrder
from darkpool.types import PrivateKey, Quanta, address_hex

NO_HANDLE: Final = "no handle"
OPENED: Final = "opened"
_CODE: Final = "request-refused"


def request_of(done: Audit, authority: Authority, auditor: Auditor, key: PrivateKey) -> Request:
    """The request for every order of the account in the days, signed with the auditor's key.

    done: the check of an audit file by policy. Raises PeerFault for what does not hold in it, OrderRefused if
    there is nothing to ask for, or too much.
    """
    for check in done.checks:
        if check.outcome in {Outcome.FAILS, Outcome.REFUSED}:
            raise PeerFault(f"{check.name}: {check.problem}", peer=check.by)
    if done.report is None or done.info is None or not done.report.findings:
        raise OrderRefused(
            "request: no sealed list of these days has an order of the account", "ask for other days", _CODE
        )
    found, without = {}, []
    for finding in done.report.findings:
        order = done.info.order(done.file.orders[finding.hash])
        if authority.sharing.key in order.statement.auditor_keys:
            found[finding.hash] = order.raw
        else:
            without.append(finding.hash)
    if not found:
        raise OrderRefused(
            f"request: none of the account's {len(without)} orders has a handle for {authority.name!r}",
            "no policy demanded one when they were sealed: ask the account for a grant",
            "handle-missing",
        )
    if len(found) > MAX_ORDERS:
        raise OrderRefused(f"request: {len(found)} orders, over {MAX_ORDERS}", "ask for fewer days", _CODE)
    market = done.file.markets[done.file.answer.query.market]
    return Request(
        auditor, authority.sharing.key, done.file.answer_bytes, market, found, tuple(without)
    ).signed(key)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the answers opened. false: authorities whose own answer does not hold."""

    request: Request
    opened: tuple[Opened, ...] = field(repr=False)
    false: tuple[int, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Each order in human units, those without a handle last."""
        orders = {order.hash: order for order in self.request.sealed}
        rows = [self._row(one, orders[one.order]) for one in self.opened]
        nothing = dict.fromkeys(("day", "nonce", "side", "quantity", "limit"))
        return [
            *rows,
            *({"order": hex_text(h), **nothing, "state": NO_HANDLE} for h in self.request.without),
        ]

    def _row(self, one: Opened, order: SealedOrder) -> dict[str, Any]:
        instrument, statement = self.request.info.instrument, order.statement
        lot = replace(instrument, lot=Quanta(statement.lot))
        return {
            "order": hex_text(one.order),
            "day": day_text(statement.utc_day),
            "nonce": int(one.nonce),
            "side": None if one.side is None else one.side.name.lower(),
            "quantity": instrument.base.text(Quanta(one.quantity * statement.lot)),
            "limit": None if one.price is None else lot.price_text(one.price),
            "state": OPENED,
        }


def scope_of(request: Request) -> dict[str, Any]:
    """What is asked, in human terms, as plain values."""
    query, receipt = request.answer.query, request.answer.receipt
    return {
        "request": hex_text(request.digest),
        "authority": query.authority,
        "legal_reference": query.legal_reference,
        "account": address_hex(query.account),
        "market": request.info.name,
        "first_day": day_text(query.first_day),
        "last_day": day_text(query.last_day),
        "orders": len(request.orders),
        "without_handle": len(request.without),
        "auditor": address_hex(request.auditor.account),
        "query": receipt.number,
        "asked_at": when(receipt.at),
    }


def read_orders(
    request: Request,
    authority: Authority,
    answers: Sequence[SealedAnswer],
    key: BoxKey,
    table: Callable[[], Table],
) -> Reading:
    """Open the request's orders with the answers of any t+1 authorities; key: the auditor's.

    table: gives the table of logarithms, once there is something to open.

    A false answer is named and not used. Raises OrderRefused for a request or an answer that is not to be
    used at all, or if too few answered; PeerFault naming the authorities if false answers are why.
    """
    if key.public != request.auditor.key:
        raise OrderRefused("request, auditor: it is another's", "give the keystore that asked", _CODE)
    request.check(authority, request.auditor)
    partials: list[Partial] = []
    false: set[int] = set()
    refused: OrderRefused | None = None
    for made in answers:
        try:
            check_answer(made, request, authority)
        except OrderRefused as refusal:
            refused = refused or refusal  # nobody's answer: others may be enough
            continue
        try:
            partials.append(open_answer(made, key))
        except CommitmentsError:
            false.add(made.index)
    points = handle_points(request.sealed, request.key)
    context = request_context(request.sealed, request.key, request.legal_reference)
    due = authority.sharing.threshold + 1
    try:
        combined = combine(authority.sharing, points, context, partials)
    except VerificationError:
        false |= _false(authority, points, context, partials)
        if false:
            raise PeerFault(
                f"their answers do not hold; {due} true ones are needed",
                "ask other authorities",
                named(tuple(sorted(false))),
            ) from None
        if refused is not None:
            raise refused from None
        got = len({p.index for p in partials})
        raise OrderRefused(
            f"answers: of {got}/{due} authorities", "ask further authorities", "answers-missing"
        ) from None
    pairs = zip(combined.points[::2], combined.points[1::2], strict=True)
    steps = table()
    opened = (open_order(o, request.key, pair, steps) for o, pair in zip(request.sealed, pairs, strict=True))
    return Reading(request, tuple(opened), tuple(sorted(false | set(combined.false))))


def _false(
    authority: Authority, points: Sequence[Point], context: bytes, partials: Sequence[Partial]
) -> set[int]:
    found = set()
    for one in partials:
        try:
            check_partial(authority.sharing, points, context, one)
        except VerificationError:
            found.add(one.index)
    return found


def named(authorities: Sequence[int]) -> str:
    """Them in words."""
    return f"authority {', '.join(map(str, authorities))}"

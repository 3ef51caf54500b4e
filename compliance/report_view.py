"""An audit in human units, as plain values: what every form of the report is made of.

Times are unix seconds, days and prices decimal or ISO text, quantities in base tokens, moves in tokens. What
only the venue knows of an order (when it came, how it ended) is under `venue`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from compliance.audit_outcome import Audit, AuditedFills
from compliance.completeness import Finding
from compliance.disclosure_answer import VenueOrder
from compliance.disclosure_query import Basis
from compliance.opening import Opened, Refusal
from darkpool.client.answers import MarketInfo
from darkpool.instrument import TokenUnits
from darkpool.jsonfields import hex_text
from darkpool.market import Side
from darkpool.types import Address, Lots, Quanta, address_hex

_LAST_SECOND: Final = 253_402_300_799
_DAY: Final = 86_400


def when(seconds: int) -> str:
    """ISO 8601 in UTC; a time beyond the calendar by its number."""
    if seconds > _LAST_SECOND:
        return f"{seconds} s"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day_text(day: int) -> str:
    """2026-11-01."""
    return when(day * _DAY).partition("T")[0]


@dataclass(frozen=True, slots=True)
class OrderLine:
    """An order that opened.

    filled: in base tokens, None if it may have got something before or after the days asked; price: what it
    traded at, "" if it did not; reference: the client's own words, what cannot be printed replaced.
    """

    hash: str
    nonce: int
    day: str
    side: str
    quantity: str
    limit: str
    time_in_force: str
    valid_until: int
    rounds: tuple[int, ...]
    filled: str | None
    price: str
    round: int | None
    executed_at: int | None
    reference: str
    direct: bool
    venue: VenueOrder | None

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        names = [name for name in self.__dataclass_fields__ if name != "venue"]
        known = None if self.venue is None else self.venue.as_json()
        return {**{name: getattr(self, name) for name in names}, "rounds": list(self.rounds), "venue": known}


def order_lines(audit: Audit) -> list[OrderLine]:
    """The orders that opened, by first appearance in a list."""
    if audit.report is None or audit.info is None:
        return []
    filled = {
        fill.opened.hash: (row, fill.filled) for row in audit.fills for fill in row.fills if fill.filled
    }
    told = {order.hash: order for order in audit.file.answer.orders}
    lines = []
    for finding in audit.report.findings:
        opened = finding.outcome
        if isinstance(opened, Refusal):
            continue
        line = _line(opened, finding, audit.info, filled.get(opened.hash), told.get(opened.hash))
        if line.round is None and audit.undetermined & set(line.rounds):
            line = replace(line, filled=None)
        lines.append(line)
    return lines


def _line(
    opened: Opened,
    finding: Finding,
    info: MarketInfo,
    fill: tuple[AuditedFills, Lots] | None,
    told: VenueOrder | None,
) -> OrderLine:
    base, instrument = info.instrument.base, info.instrument
    row, lots = (None, 0) if fill is None else fill

    def price(quanta: Quanta) -> str:
        """Of the lot it was made for."""
        return replace(instrument, lot=opened.lot).price_text(quanta)

    return OrderLine(
        hash=hex_text(opened.hash),
        nonce=int(opened.nonce),
        day=day_text(opened.utc_day),
        side=opened.side.name.lower(),
        quantity=base.text(Quanta(opened.quantity * opened.lot)),
        limit=price(opened.price),
        time_in_force=opened.time_in_force.name.lower().replace("_", "-"),
        valid_until=opened.valid_until,
        rounds=finding.rounds,
        filled=base.text(Quanta(lots * opened.lot)),
        price="" if row is None else price(row.price),
        round=None if row is None else row.round,
        executed_at=None if row is None else row.sealed_at,
        reference="".join(c if c.isprintable() else "\ufffd" for c in opened.reference),
        direct=opened.direct,
        venue=told,
    )


def unlisted(audit: Audit) -> list[VenueOrder]:
    """Orders that are in no list: by the venue's word, and they could not trade."""
    if audit.report is None:
        return []
    listed = audit.report.lists.orders_of(audit.account)
    return [order for order in audit.file.answer.orders if order.hash not in listed]


def refusal_rows(audit: Audit) -> list[dict[str, Any]]:
    """The orders that did not open, and why."""
    refusals: Iterable[Refusal] = () if audit.report is None else audit.report.refusals
    return [
        {"hash": hex_text(r.order), "reason": r.reason.value, "problem": r.problem, "hint": r.hint}
        for r in refusals
    ]


def net_rows(audit: Audit) -> list[dict[str, Any]]:
    """What each settlement moved, by its rounds and by the chain, in tokens."""
    units = _units(audit)
    rows = []
    for line in audit.nets:
        unit = units.get(line.token)
        rows.append(
            {
                "settlement": line.settlement,
                "token": address_hex(line.token) if unit is None else unit.symbol,
                "rounds": _amount(line.rounds, unit),
                "chain": None if line.chain is None else _amount(line.chain, unit),
                "agrees": None if line.chain is None else line.chain == line.rounds,
                "block": line.block or None,
                "transaction": hex_text(line.tx_hash) if line.tx_hash else None,
            }
        )
    return rows


def _amount(quanta: int, unit: TokenUnits | None) -> str:
    return f"{quanta} quanta" if unit is None else unit.text(Quanta(quanta))


def _units(audit: Audit) -> dict[Address, TokenUnits]:
    found = {}
    for info in audit.file.infos.values():
        market = info.terms.market
        found[market.base], found[market.quote] = info.instrument.base, info.instrument.quote
    return found


def fill_rows(audit: Audit) -> list[dict[str, Any]]:
    """What each order got of each round."""
    lines = {line.hash: line for line in order_lines(audit)}
    rows = []
    for found in audit.fills:
        for fill in found.fills:
            line = lines.get(hex_text(fill.opened.hash))
            if fill.filled and line is not None:
                got = {"order": line.hash, "side": line.side, "quantity": line.filled, "price": line.price}
                where = {"round": found.round, "sealed_at": found.sealed_at, "state": found.state.value}
                rows.append({**where, **got})
    return rows


def scope_rows(audit: Audit) -> dict[str, Any]:
    """What was asked, by whom, on what basis, and of whom."""
    answer = audit.file.answer
    query, receipt, grant = answer.query, answer.receipt, answer.grant
    info = audit.info
    scope: dict[str, Any] = {
        "account": address_hex(audit.account),
        "market": hex_text(query.market) if info is None else info.name,
        "first_day": day_text(query.first_day),
        "last_day": day_text(query.last_day),
        "basis": query.basis.value,
        "auditor": address_hex(receipt.auditor),
        "query": receipt.number,
        "asked_at": receipt.at,
        "gathered_at": audit.file.made_at,
        "chain": audit.file.chain or None,
    }
    if query.basis is Basis.GRANT and grant is not None:
        scope |= {"grant": hex_text(grant.header.id), "purpose": grant.header.purpose}
    else:
        scope |= {"authority": query.authority, "legal_reference": query.legal_reference}
    if info is not None:
        t = info.terms
        scope |= {"chain_id": t.chain_id, "vault": address_hex(t.contract), "venue": hex_text(t.venue)}
        scope |= {"operator": address_hex(info.operator), "threshold": info.signers.threshold}
        scope["committee"] = [address_hex(a) for _, a in sorted(info.signers.addresses.items())]
    return scope


def check_rows(audit: Audit) -> list[dict[str, Any]]:
    """The checklist."""
    return [
        {
            "check": check.name,
            "what": check.what,
            "count": check.count,
            "result": check.outcome.value,
            "problem": check.problem,
            "by": check.by,
        }
        for check in audit.checks
    ]


def audit_view(audit: Audit) -> dict[str, Any]:
    """All of it as one JSON object."""
    lines = order_lines(audit)
    return {
        "verdict": audit.verdict,
        "exit_code": audit.exit_code,
        "scope": scope_rows(audit),
        "checks": check_rows(audit),
        "orders": [line.as_json() for line in lines],
        "fills": fill_rows(audit),
        "refusals": refusal_rows(audit),
        "unlisted": [order.as_json() for order in unlisted(audit)],
        "later": 0 if audit.report is None else audit.report.later,
        "nets": net_rows(audit),
        "totals": _totals(audit),
    }


def _totals(audit: Audit) -> dict[str, int]:
    opened: tuple[Opened, ...] = () if audit.report is None else audit.report.opened
    sells = sum(1 for one in opened if one.side is Side.SELL)
    return {"orders": len(opened), "buys": len(opened) - sells, "sells": sells, "rounds": len(audit.fills)}

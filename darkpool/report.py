"""What `darkpool run` prints: one JSON object for machines, tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from darkpool import windows
from darkpool.plan import BASE
from darkpool.run import RoundOutcome, RunReport, SettlementOutcome

_SHOWN_FILLS = 40


def as_json(report: RunReport) -> dict[str, Any]:
    """The object of `--json`: base in lots, quote in ticks times lots, prices as decimals on the tick."""
    return {
        "rounds": [_round(report, r) for r in report.rounds],
        "settlements": [_settlement(s) for s in report.settlements],
        "netting_ratio": netting_ratio(report),
        "timings": timings(report),
        "profile": report.profile.name,
        "outside_band": [row.order_id for row in report.plan.outside],
    }


def price_of(report: RunReport, outcome: RoundOutcome) -> str | None:
    """The clearing price as a decimal, None if nothing crossed."""
    result = outcome.result
    return report.plan.tick.text(report.plan.grid.first_tick + result.price) if result.crossed else None


def nets_of(report: RunReport, outcome: RoundOutcome) -> list[tuple[str, int, int]]:
    """(account, base lots, quote ticks times lots) of every account that traded, by name."""
    result = outcome.result
    ticks = report.plan.grid.first_tick + result.price
    return sorted((report.names[a], net, -net * ticks) for a, net in result.nets.items())


def netting_ratio(report: RunReport) -> float:
    """Gross over net lots of all settlements: the trading one moved lot stands for. 0 if nothing moved."""
    flows = [flow for s in report.settlements for flow in s.pending.flows if flow.token == BASE]
    gross, net = sum(flow.gross for flow in flows), sum(flow.net for flow in flows)
    return windows.netting_ratio(gross, net) or 0.0


def _settlement(settled: SettlementOutcome) -> dict[str, Any]:
    """flows: base in lots, quote in ticks times lots."""
    accounts = {account for r in settled.rounds for account in r.result.nets}
    return {
        "tx": "0x" + settled.receipt.tx_hash.hex(),
        "gas_used": settled.receipt.gas_used,
        "rounds": [int(r.closed.round.id) for r in settled.rounds],
        "nullifiers": sum(len(r.consumed) for r in settled.rounds),
        "accounts": len(accounts),
        "flows": [
            {
                "token": "base" if flow.token == BASE else "quote",
                "gross": flow.gross,
                "net": flow.net,
                "netting_ratio": windows.netting_ratio(flow.gross, flow.net),
            }
            for flow in settled.pending.flows
        ],
    }


def timings(report: RunReport) -> dict[str, float]:
    """Milliseconds per order and seconds in all; sums and verification are the operator's own."""
    orders, listed = max(report.sealed, 1), max(sum(r.orders for r in report.rounds), 1)
    return {
        "seal_ms_per_order": round(1000 * report.seal_seconds / orders, 3),
        "verify_ms_per_order": round(1000 * report.verify_seconds / orders, 3),
        "sum_ms_per_order": round(1000 * sum(r.sum_seconds for r in report.rounds) / listed, 4),
        "clear_s": round(sum(r.closed.seconds for r in report.rounds), 3),
        "settle_s": round(sum(s.seconds for s in report.settlements), 3),
    }


def _round(report: RunReport, outcome: RoundOutcome) -> dict[str, Any]:
    result = outcome.result
    return {
        "round": int(outcome.closed.round.id),
        "orders": outcome.orders,
        "accounts": outcome.accounts,
        "crossed": result.crossed,
        "price": price_of(report, outcome),
        "volume": int(result.volume),
        "fills": [{"order_id": i, "account": a, "filled": int(f)} for i, a, f in outcome.fills],
        "nets": [{"account": a, "base": b, "quote": q} for a, b, q in nets_of(report, outcome)],
    }


def as_tables(report: RunReport) -> RenderableType:
    """A table per round, the settlements, and what was left out."""
    parts: list[RenderableType] = []
    settled = {s.rounds[-1].closed.round.id: s for s in report.settlements}
    for outcome in report.rounds:
        parts += _round_tables(report, outcome)
        if outcome.closed.round.id in settled:
            parts += [_settlement_text(settled[outcome.closed.round.id]), ""]
    if report.plan.outside:
        names = ", ".join(row.order_id for row in report.plan.outside[:10])
        more = f" and {len(report.plan.outside) - 10} more" if len(report.plan.outside) > 10 else ""  # noqa: PLR2004
        parts.append(f"outside the band, not sealed: {len(report.plan.outside)} orders ({names}{more})")
    summary = Table(title=f"Timings, profile {report.profile.name}")
    for name in timings(report):
        summary.add_column(name, justify="right")
    summary.add_row(*(f"{value:g}" for value in timings(report).values()))
    parts.append(summary)
    parts.append(
        "checked: price, volume, fills and nets against the plain auction; "
        "balances and nullifiers against the chain"
    )
    return Group(*parts)


def _round_tables(report: RunReport, outcome: RoundOutcome) -> list[RenderableType]:
    number = outcome.closed.round.id
    result = outcome.result
    head = f"Round {number}: {outcome.orders} orders from {outcome.accounts} accounts"
    if not result.crossed:
        return [f"{head}; nothing crossed, and that is all anybody learns", ""]
    fills = Table(title=f"{head}; {result.volume} lots at {price_of(report, outcome)}")
    for name in ("order", "account"):
        fills.add_column(name)
    fills.add_column("filled", justify="right")
    shown = [f for f in outcome.fills if f[2]]
    for order_id, account, filled in shown[:_SHOWN_FILLS]:
        fills.add_row(order_id, account, str(filled))
    if len(shown) > _SHOWN_FILLS:
        fills.add_row("…", f"{len(shown) - _SHOWN_FILLS} more", "")
    nets = Table(title="Net deltas")
    nets.add_column("account")
    for name in ("base, lots", "quote, ticks x lots"):
        nets.add_column(name, justify="right")
    for account, base, quote in nets_of(report, outcome):
        nets.add_row(account, f"{base:+d}", f"{quote:+d}")
    return [fills, nets]


def _settlement_text(settled: SettlementOutcome) -> str:
    facts = _settlement(settled)
    numbers = ", ".join(map(str, facts["rounds"]))
    text = (
        f"{'round' if len(settled.rounds) == 1 else 'rounds'} {numbers} settled in {facts['tx']}: "
        f"{facts['gas_used']} gas, {facts['nullifiers']} nullifiers, {facts['accounts']} accounts"
    )
    for flow in facts["flows"]:
        ratio = "all nets out" if flow["netting_ratio"] is None else f"ratio {flow['netting_ratio']:g}"
        text += f"; {flow['token']} gross {flow['gross']}, net {flow['net']}, {ratio}"
    return text

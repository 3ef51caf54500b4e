"""The report as one page that needs nothing else: no script, font, image or link; every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from compliance.audit_outcome import Audit
from compliance.report_view import audit_view, when

_STYLE: Final = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #bbb}"
    "table{border-collapse:collapse;width:100%;font-size:.85rem}"
    "th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #e3e3e3}"
    "td{font-variant-numeric:tabular-nums;overflow-wrap:anywhere}"
    ".verdict{font-weight:600;padding:.6rem .8rem;border-left:.4rem solid}"
    ".e0{border-color:#2b7a3d;background:#eef7f0}.e1{border-color:#a67400;background:#fdf6e3}"
    ".e3{border-color:#b3261e;background:#fdeeee}"
    ".holds{color:#2b7a3d}.incomplete,.refused,.not{color:#8a6100}.fails{color:#b3261e;font-weight:600}"
    "@media print{body{max-width:none;margin:0}}"
)
_HEAD: Final = (
    '<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)
_FOOT: Final = (
    "<p>Times are UTC. When an order came, and how it ended untraded, is the venue's word; all else "
    "follows from what the account and the committee signed.</p></body></html>"
)
_CHECKS: Final = ("check", "what", "count", "result", "problem", "by")
_ORDERS: Final = (
    "day",
    "nonce",
    "side",
    "quantity",
    "limit",
    "time_in_force",
    "rounds",
    "filled",
    "price",
    "accepted_at",
    "state",
    "reference",
    "hash",
)
_FILLS: Final = ("round", "sealed_at", "order", "side", "quantity", "price", "state")
_REFUSALS: Final = ("hash", "reason", "problem", "hint")
_UNLISTED: Final = ("hash", "nonce", "accepted_at", "state", "reason")
_NETS: Final = ("settlement", "token", "rounds", "chain", "agrees", "block", "transaction")
_TIMES: Final = {"sealed_at", "accepted_at", "asked_at", "gathered_at"}


def page(audit: Audit) -> str:
    """The whole document."""
    view = audit_view(audit)
    scope = [{"what": name.replace("_", " "), "value": _text(name, v)} for name, v in view["scope"].items()]
    orders = [{**row, **(row["venue"] or {}), "rounds": row["rounds"]} for row in view["orders"]]
    parts = [
        "<!doctype html>",
        _HEAD,
        f"<title>Audit of {escape(str(view['scope']['account']))}</title>",
        f"<style>{_STYLE}</style></head><body>",
        "<h1>Audit report</h1>",
        f'<p class="verdict e{view["exit_code"]}">{escape(view["verdict"])}</p>',
        _section("Scope", scope, ("what", "value")),
        _section("Verification", view["checks"], _CHECKS),
        _section("Orders that did not open", view["refusals"], _REFUSALS),
        _section("Orders", orders, _ORDERS),
        _section("Fills", view["fills"], _FILLS),
        _section("Nets against the chain", view["nets"], _NETS),
        _section("Orders in no list (the venue's word; they could not trade)", view["unlisted"], _UNLISTED),
        _FOOT,
    ]
    return "\n".join(parts) + "\n"


def _section(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    if not rows:
        return f"<h2>{escape(title)}</h2><p>none</p>"
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(_cells(row, columns))}</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Mapping[str, Any], columns: Iterable[str]) -> Iterable[str]:
    for name in columns:
        text = _text(name, row.get(name))
        marked = f' class="{escape(text.partition(" ")[0])}"' if name == "result" else ""
        yield f"<td{marked}>{escape(text)}</td>"


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _TIMES and isinstance(value, int):
        return when(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)

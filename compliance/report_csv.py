"""Order records as CSV, in two layouts: of 17 CFR 242.302(c) and of the Annex of (EU) 2017/580 (RTS 24).

Column names begin with the number of the paragraph, or of the field in Table 2. Columns the venue cannot know
are there and empty: docs/audit-guide.md lists them. A record is as complete as the audit it is made from.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final

from compliance.audit_outcome import Audit
from compliance.report_view import OrderLine, order_lines, scope_rows, when
from darkpool.store.records import OrderState

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

ATS: Final = (
    "c1_received",
    "c2_security",
    "c3_quantity",
    "c4_program_trade",
    "c5_side",
    "c6_short_sale",
    "c7_order_type",
    "c8_limit_price",
    "c9_expires",
    "c10_time_in_force",
    "c11_modified_or_cancelled",
    "c12_account_type",
    "c13_executed",
    "c14_execution_price",
    "c15_executed_quantity",
    "c16_parties",
    "order",
    "client_reference",
)
RTS24: Final = (
    "01_submitting_entity",
    "03_client_id",
    "07_trading_capacity",
    "09_date_and_time",
    "10_validity_period",
    "12_validity_time",
    "13_priority_time_stamp",
    "15_sequence_number",
    "16_segment_mic",
    "17_order_book_code",
    "18_instrument",
    "19_date_of_receipt",
    "20_order_id",
    "21_event",
    "22_order_type",
    "24_limit_price",
    "28_transaction_price",
    "29_price_currency",
    "32_side",
    "33_order_status",
    "34_quantity_notation",
    "36_initial_quantity",
    "37_remaining_quantity",
    "38_displayed_quantity",
    "39_traded_quantity",
    "48_transaction_id",
)
_EVENTS: Final[Mapping[OrderState, str]] = {
    OrderState.CANCELLED: "CAME",
    OrderState.REPLACED: "CHME",
    OrderState.EXPIRED: "EXPI",
    OrderState.RELEASED: "CAMO",
    OrderState.CONSUMED: "CAMO",  # its account traded, and it got nothing
}
_INSTRUCTED: Final = {OrderState.CANCELLED, OrderState.REPLACED}
_VALIDITY: Final = {"round": "IOCV", "good-till-time": "GTTV", "good-till-cancelled": "GTCV"}


class Layout(StrEnum):
    """Of the file."""

    ATS = "ats"
    RTS24 = "rts24"


def order_records(audit: Audit, layout: Layout) -> str:
    """The records with a header, RFC 4180."""
    columns, rows = (ATS, _ats(audit)) if layout is Layout.ATS else (RTS24, _rts24(audit))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _cell(value: str) -> str:
    """A client's own words must not be a formula to whoever opens the file with a spreadsheet."""
    return f"'{value}" if value.startswith(_FORMULA) else value


def _ats(audit: Audit) -> Iterable[dict[str, str]]:
    """One row an order."""
    market, account = (str(scope_rows(audit)[name]) for name in ("market", "account"))
    for line in order_lines(audit):
        yield {
            "c1_received": _received(line),
            "c2_security": market,
            "c3_quantity": line.quantity,
            "c5_side": line.side,
            "c7_order_type": "limit",
            "c8_limit_price": line.limit,
            "c9_expires": when(line.valid_until) if line.valid_until else "",
            "c10_time_in_force": line.time_in_force,
            "c11_modified_or_cancelled": _change(line),
            "c13_executed": "" if line.executed_at is None else when(line.executed_at),
            "c14_execution_price": line.price,
            "c15_executed_quantity": _traded(line),
            "c16_parties": account,
            "order": line.hash,
            "client_reference": line.reference,
        }


def _rts24(audit: Audit) -> Iterable[dict[str, str]]:
    """A row for each event of an order: new, then filled, or how else it ended."""
    scope, info = scope_rows(audit), audit.info
    currency = "" if info is None else info.instrument.quote.symbol
    for line in order_lines(audit):
        common = {
            "01_submitting_entity": str(scope["account"]),
            "10_validity_period": _VALIDITY.get(line.time_in_force, ""),
            "12_validity_time": when(line.valid_until) if line.valid_until else "",
            "13_priority_time_stamp": _received(line),
            "15_sequence_number": _told(line, lambda v: str(v.sequence)),
            "17_order_book_code": str(scope["market"]),
            "18_instrument": str(scope["market"]),
            "19_date_of_receipt": _received(line)[:10] or line.day,
            "20_order_id": line.hash,
            "22_order_type": "LMTO",
            "24_limit_price": line.limit,
            "29_price_currency": currency,
            "32_side": line.side.upper()[:4],
            "33_order_status": "ACTI",
            "34_quantity_notation": "UNIT",
            "36_initial_quantity": line.quantity,
            "37_remaining_quantity": line.quantity,
            "38_displayed_quantity": "0",
        }
        yield {**common, "09_date_and_time": _received(line), "21_event": "NEWO"}
        if line.round is not None and line.executed_at is not None:
            whole = line.filled == line.quantity
            yield {
                **common,
                "09_date_and_time": when(line.executed_at),
                "21_event": "FILL" if whole else "PARF",
                "28_transaction_price": line.price,
                "33_order_status": "INAC",
                "37_remaining_quantity": "0" if whole else "",
                "39_traded_quantity": _traded(line),
                "48_transaction_id": f"round {line.round}",
            }
        elif line.venue is not None and line.venue.state in _EVENTS:
            ended = {"21_event": _EVENTS[line.venue.state], "33_order_status": "INAC"}
            yield {**common, **ended, "37_remaining_quantity": "0"}


def _received(line: OrderLine) -> str:
    return _told(line, lambda v: when(v.accepted_at))


def _change(line: OrderLine) -> str:
    return _told(line, lambda v: v.state.value if v.state in _INSTRUCTED else "")


def _told(line: OrderLine, read: Callable[..., str]) -> str:
    return "" if line.venue is None else read(line.venue)


def _traded(line: OrderLine) -> str:
    return line.filled if line.filled and line.filled != "0" else ""

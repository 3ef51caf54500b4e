"""Reports: orders, fills and checks in every form; nothing a client or venue wrote is taken for markup."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from compliance.audit_outcome import Audit, Check, Outcome
from compliance.report_csv import ATS, RTS24, Layout, order_records
from compliance.report_html import page
from compliance.report_view import audit_view, day_text, order_lines, when
from darkpool.store.records import OrderState
from tests.compliance.audit_support import DAY, sealed
from tests.compliance.audited import (
    ADA,
    TERMS,
    a_file,
    answered,
    honest,
    orders,
    told,
    verified,
    with_answer,
    without,
)
from tests.venue_support import sell

EVIL = "<script>alert(1)</script>&\"'"


def rows(done: Audit, layout: Layout) -> list[dict[str, str]]:
    text = order_records(done, layout)
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_view_says_what_was_opened_in_units_of_people() -> None:
    view = audit_view(verified(honest()))
    json.dumps(view)
    assert (view["exit_code"], view["verdict"]) == (0, "everything was verified, and nothing is missing")
    first = next(row for row in view["orders"] if row["nonce"] == 2)
    assert (first["side"], first["quantity"], first["limit"]) == ("buy", "0.00000013", "102000")
    assert (first["filled"], first["price"], first["round"]) == ("0.00000013", "101000", 5)
    assert (first["reference"], first["day"]) == ("one", day_text(DAY))
    second = next(row for row in view["orders"] if row["nonce"] == 3)
    assert (second["side"], second["filled"], second["price"], second["round"]) == ("sell", "0", "", None)
    assert [(row["token"], row["rounds"], row["agrees"]) for row in view["nets"]] == [
        ("BASE", "0.00000017", True),
        ("QUOTE", "-0.01717", True),
    ]
    assert sorted(row["quantity"] for row in view["fills"]) == ["0.00000004", "0.00000013"]
    assert view["later"] == 1
    assert view["totals"] == {"orders": 3, "buys": 2, "sells": 1, "rounds": 1}
    assert view["scope"]["account"].lower() == "0x" + ADA.hex()


def test_records_have_a_row_an_order_and_their_columns_whatever_is_unknown() -> None:
    found = rows(verified(honest()), Layout.ATS)
    assert [tuple(row) for row in found] == [ATS] * 3
    first = next(row for row in found if row["client_reference"] == "one")
    assert (first["c3_quantity"], first["c5_side"], first["c8_limit_price"]) == (
        "0.00000013",
        "buy",
        "102000",
    )
    assert (first["c15_executed_quantity"], first["c14_execution_price"]) == ("0.00000013", "101000")
    assert first["c1_received"] == when(DAY * 86_400 + 60)
    assert first["c13_executed"] == when(DAY * 86_400 + 3_600)
    assert all(
        row["c4_program_trade"] == row["c6_short_sale"] == row["c12_account_type"] == "" for row in found
    )


def test_records_of_events_have_new_orders_fills_and_ends() -> None:
    answer = honest().answer
    cancelled = told(orders()["second"], OrderState.CANCELLED)
    mine = tuple(cancelled if o.hash == cancelled.hash else o for o in answer.orders)
    found = rows(verified(with_answer(honest(), answered(replace(answer, orders=mine)))), Layout.RTS24)
    assert [tuple(row) for row in found] == [RTS24] * len(found)
    events = [(row["15_sequence_number"], row["21_event"], row["39_traded_quantity"]) for row in found]
    assert events == [
        ("0", "NEWO", ""),
        ("0", "PARF", "0.00000004"),
        ("2", "NEWO", ""),
        ("2", "FILL", "0.00000013"),
        ("3", "NEWO", ""),
        ("3", "CAME", ""),
    ]
    assert {row["32_side"] for row in found} == {"BUY", "SELL"}


def test_a_clients_words_are_no_commands_to_a_terminal() -> None:
    done = verified(a_file({**orders(), "second": sealed("ada", sell(3, 14, "\x1b[2J\r\n"), DAY, 3, TERMS)}))
    text = order_records(done, Layout.ATS)
    assert "\x1b" not in text
    assert "\ufffd[2J\ufffd\ufffd" in text


def test_a_clients_words_are_no_formula() -> None:
    references = [row["client_reference"] for row in rows(verified(honest()), Layout.ATS)]
    assert references == ["old", "one", "'=two"]


class Seen(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def seen(done: Audit) -> Seen:
    parser = Seen()
    parser.feed(page(done))
    return parser


def test_the_page_needs_nothing_else_and_has_everything() -> None:
    found = seen(verified(honest()))
    assert not found.tags & {"script", "img", "link", "iframe", "a", "object", "form", "svg", "base"}
    assert {name for name, _ in found.attributes} <= {
        "lang",
        "charset",
        "name",
        "content",
        "class",
        "http-equiv",
    }
    assert not any("//" in (value or "") or "javascript" in (value or "") for _, value in found.attributes)
    text = " ".join(found.text)
    assert "url(" not in page(verified(honest()))
    for part in ("everything was verified", "Verification", "0.00000013", "101000", "one", "=two", "holds"):
        assert part in text


def test_what_others_wrote_is_text() -> None:
    answer = honest().answer
    mine = tuple(replace(o, reason=EVIL, hash=bytes(31) + bytes([i])) for i, o in enumerate(answer.orders))
    done = verified(with_answer(honest(), answered(replace(answer, orders=(*answer.orders, *mine)))))
    spoiled = replace(done, checks=(*done.checks, Check(EVIL, EVIL, 1, Outcome.FAILS, EVIL, EVIL)))
    found = seen(spoiled)
    assert "script" not in found.tags
    assert EVIL in found.text
    assert not any(EVIL in (value or "") for _, value in found.attributes)


def test_refusals_stand_in_every_form() -> None:
    done = verified(without(honest(), "first"))
    assert done.exit_code == 3
    view = audit_view(done)
    ((refusal),) = view["refusals"]
    assert (refusal["reason"], refusal["hash"]) == ("missing", "0x" + orders()["first"].hash.hex())
    assert "orders, by venue" in view["verdict"]
    assert refusal["hash"] in page(done)
    assert len(rows(done, Layout.ATS)) == 2


def test_a_report_of_what_did_not_come_to_orders_is_one() -> None:
    answer = replace(honest().answer, orders=())
    done = verified(with_answer(honest(), answer))  # not what the receipt says
    assert (audit_view(done)["orders"], order_lines(done)) == ([], [])
    assert "fails" in page(done)
    assert rows(done, Layout.ATS) == rows(done, Layout.RTS24) == []


@pytest.mark.parametrize("seconds", [0, 1_800_000_000, 253_402_300_799, 253_402_300_800, (1 << 64) - 1])
def test_any_time_has_a_text(seconds: int) -> None:
    assert when(seconds)

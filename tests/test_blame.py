"""Charges in a report: read within bounds, and never more than who, what and where."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from commitments.errors import DecodeError
from darkpool.committee.blame import MAX_BLAME, MAX_STEP, Blame, Charge, Faulted, blame_field, read_blame
from darkpool.message import Message

MEMBERS = {1: "a", 2: "b", 3: "c"}


def report(blame: object) -> Message:
    """As it arrives."""
    return Message.decode(Message("refused", {"reason": "x", "blame": blame}).encode())


def test_a_report_says_what_was_charged_without_the_evidence() -> None:
    charges = [Blame(1 + k % 3, charge, f"cut/{k}", b"it said so") for k, charge in enumerate(Charge)]
    sent = report(blame_field(charges))
    assert b"said so" not in sent.encode()
    assert read_blame(sent, MEMBERS) == [Blame(b.member, b.charge, b.step) for b in charges]


@pytest.mark.parametrize("fields", [{}, {"blame": []}])
def test_a_report_may_charge_nobody(fields: dict[str, Any]) -> None:
    assert read_blame(Message("refused", fields), MEMBERS) == []


def test_the_most_there_can_be() -> None:
    row = [3, "share", "s" * MAX_STEP]
    assert len(read_blame(report([row] * MAX_BLAME), MEMBERS)) == MAX_BLAME
    with pytest.raises(DecodeError, match=f"at most {MAX_BLAME}"):
        read_blame(report([row] * (MAX_BLAME + 1)), MEMBERS)


@pytest.mark.parametrize("blame", [None, 1, "share", {"1": "share"}, True])
def test_what_is_no_list_is_refused(blame: object) -> None:
    with pytest.raises(DecodeError, match="blame"):
        read_blame(report(blame), MEMBERS)


@pytest.mark.parametrize(
    "row",
    [
        None,
        "row",
        [],
        [1, "share"],
        [1, "share", "price", "more"],
        {"0": 1, "1": "share", "2": "price"},
        [0, "share", "price"],
        [4, "share", "price"],
        [-1, "share", "price"],
        [True, "share", "price"],
        ["1", "share", "price"],
        [None, "share", "price"],
        [[1], "share", "price"],
        [1, "shares", "price"],
        [1, "SHARE", "price"],
        [1, "", "price"],
        [1, 5, "price"],
        [1, None, "price"],
        [1, ["share"], "price"],
        [1, {"share": 1}, "price"],
        [1, "share", "s" * (MAX_STEP + 1)],
        [1, "share", 7],
        [1, "share", None],
        [1, "share", ["price"]],
    ],
)
def test_what_is_no_charge_is_refused_wherever_it_stands(row: object) -> None:
    good = [2, "share", "price"]
    for blame in ([row], [good, row], [row, good]):
        with pytest.raises(DecodeError, match="blame"):
            read_blame(report(blame), MEMBERS)


def test_a_fault_carries_no_more_charges_than_a_report_can() -> None:
    fault = Faulted("step price: no", [Blame(1, Charge.SHARE, "price")] * (MAX_BLAME + 5))
    assert len(fault.blame) == MAX_BLAME
    assert len(read_blame(report(blame_field(fault.blame)), MEMBERS)) == MAX_BLAME


def test_a_fault_is_told_from_one_process_to_the_next() -> None:
    fault = Faulted("step price: no", [Blame(1, Charge.SHARE, "price", b"signed")])
    copy = pickle.loads(pickle.dumps(fault))  # noqa: S301
    assert (str(copy), copy.blame) == (str(fault), fault.blame)


def test_evidence_is_not_shown() -> None:
    blame = Blame(2, Charge.PARTIAL, "curves/partials", b"\xde\xad")
    assert "dead" not in repr(blame)
    assert "xde" not in repr(blame)
    assert str(blame) == "member 2 partial at curves/partials"

"""An audit file: what holds of an honest one, each lie named with whose it is, and no byte changed unseen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.errors import CommitmentsError, DecodeError
from compliance.audit_check import audit
from compliance.audit_file import UNDONE, AuditFile, sealed_json
from compliance.audit_outcome import Audit, Outcome
from compliance.auditor import box_key
from compliance.disclosure_answer import Answer
from compliance.grant_revocations import Revocation
from compliance.grants import Check as GrantCheck
from compliance.opening import Reason
from compliance.opening_pool import OpeningPool
from darkpool.listing import NO_CROSS
from darkpool.market import RoundState
from darkpool.settlement import Delta, Settlement
from darkpool.types import Lots, Quanta
from tests.compliance.audit_support import DAY, DAY_SECONDS, signed
from tests.compliance.audited import (
    ADA,
    AUDITOR,
    BEN,
    BOX,
    EVE,
    NOW,
    TERMS,
    a_file,
    answered,
    certified,
    changed,
    crossing,
    grant,
    honest,
    line,
    names,
    orders,
    settled,
    settlement_of,
    verified,
    view,
    with_answer,
    with_round,
    without,
)
from tests.compliance.test_opening import cheating, noted, with_note
from tests.venue_support import buy, key_of

STEPS = ["file", "query", "grant", "lists", "orders", "results", "fills", "settlements", "chain"]


def test_an_honest_file_holds_and_is_complete() -> None:
    done = verified(AuditFile.decode(honest().encode()))
    assert [(c.name, c.outcome) for c in done.checks] == [(name, Outcome.HOLDS) for name in STEPS]
    assert done.exit_code == 0
    assert done.report is not None
    assert {o.nonce: o.quantity for o in done.report.opened} == {0: 11, 2: 13, 3: 14}
    filled = {f.opened.nonce: f.filled for f in done.fills[0].fills}
    assert filled == {0: 4, 2: 13}
    assert [(n.rounds, n.chain) for n in done.nets] == [(170, 170), (-17 * 1_010, -17 * 1_010)]
    assert done.account == ADA


def test_an_opener_of_many_says_the_same() -> None:
    with OpeningPool(1) as pool:
        done = audit(honest(), AUDITOR.account, BOX, opener=pool)
    assert done.report == verified(honest()).report


@pytest.mark.slow
def test_worker_processes_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compliance.opening_pool.FEW", 0)
    monkeypatch.setattr("compliance.opening_pool.CHUNK", 1)
    with OpeningPool(2) as pool:
        assert audit(honest(), AUDITOR.account, BOX, opener=pool).report == verified(honest()).report
        lying = of_ada("second", FORGED)
        assert audit(lying, AUDITOR.account, BOX, opener=pool).checks == verified(lying).checks


def failing(done: Audit, *expected: str) -> None:
    bad = [c for c in done.checks if c.outcome is Outcome.FAILS]
    assert names(bad) == list(expected)
    assert done.exit_code == 3
    assert all(check.by and check.problem for check in bad)


# --- orders -------------------------------------------------------------------------------------------


def of_ada(order: str, instead: object) -> AuditFile:
    """The file of a day in which ada sent that instead."""
    return a_file({**orders(), order: instead})  # type: ignore[dict-item]


FORGED = cheating(lambda draft, key: noted(draft, key, buy(2, 76)))
CLOSED = cheating(lambda draft, _: with_note(draft, bytes(len(draft.note))))
OUTSIDE = cheating(lambda draft, _: with_note(draft, draft.note, leaf=bytes(32)))


@pytest.mark.parametrize(
    "order,reason",
    [(FORGED, Reason.COMMITMENT), (CLOSED, Reason.NOTE_CLOSED), (OUTSIDE, Reason.WRONG_KEY)],
)
def test_a_note_that_lies_or_does_not_open_is_its_accounts_fault(order: object, reason: Reason) -> None:
    """They are of another lot, hence of a list of another market's terms; the note is what counts."""
    done = verified(of_ada("second", order))
    found = line(done, "orders")
    assert (found.outcome, found.by) == (Outcome.FAILS, "account")
    named = done.checks[-1]
    assert named.name.startswith("order 0x")
    assert (named.what, named.by) == (reason.value, "account")
    assert done.exit_code == 3


@pytest.mark.parametrize("name", ["standing", "first", "second"])
def test_an_order_whose_bytes_are_withheld_is_named(name: str) -> None:
    done = verified(without(honest(), name))
    assert line(done, "orders").by == "venue"
    assert done.checks[-1].name == f"order 0x{orders()[name].hash.hex()}"
    assert done.checks[-1].what == Reason.MISSING
    assert done.exit_code == 3


def test_an_order_without_a_key_is_incomplete_and_nobodys_fault() -> None:
    held = replace(grant(), box=b"")
    narrow = type(held).issue(held.header, key_of("ada")[::-1], key_of("ada"))
    done = verified(with_answer(honest(), answered(replace(honest().answer, grant=narrow))))
    assert line(done, "orders").outcome is Outcome.INCOMPLETE
    assert done.checks[-1].what == Reason.OUT_OF_SCOPE
    assert (line(done, "fills").outcome, done.exit_code) == (Outcome.INCOMPLETE, 1)


# --- results and settlements ----------------------------------------------------------------------------


def test_a_false_net_is_named() -> None:
    true = crossing()
    false = replace(true, nets={account: 2 * net for account, net in true.nets.items()}, volume=Lots(34))
    failing(verified(a_file(result=false)), "fills")


def test_a_result_the_members_did_not_sign_is_named() -> None:
    true = certified(view(5), crossing())
    for spoiled in (true[:-1] + b"\0", b"", b"{}"):
        failing(verified(with_round(honest(), 5, result=spoiled)), "results")


def test_an_order_of_a_round_that_traded_may_not_be_sealed_again() -> None:
    again = view(6)
    again = replace(again, leaves=(*again.leaves, orders()["first"].leaf), sequences=(1, 2))
    from commitments import merkle

    again = signed(replace(again, root=merkle.root(again.leaves)), TERMS)
    spoiled = with_round(honest(), 6, sealed=sealed_json(again), result=certified(again, NO_CROSS))
    assert "consumed in round 5" in line(verified(spoiled), "results").problem


def moved(settlement: Settlement) -> Settlement:
    """One that moves one quantum more from ben to ada."""
    rows = [
        Delta(d.token, d.account, Quanta(d.amount + (1 if d.amount > 0 else -1))) for d in settlement.deltas
    ]
    return replace(settlement, deltas=tuple(rows))


def test_a_settlement_that_is_not_the_sum_of_its_rounds_is_named() -> None:
    due = settlement_of(view(5), crossing())
    failing(verified(a_file(settlement=settled(moved(due)))), "settlements", "chain")


def test_a_chain_that_moved_something_else_is_named() -> None:
    due = settlement_of(view(5), crossing())
    done = verified(a_file(settlement=settled(due, moved(due))))
    failing(done, "chain")
    assert "a false fill" in line(done, "chain").problem
    nets = [(n.rounds, n.chain) for n in done.nets]
    assert nets[0] == (170, 171)
    other = replace(due, transcript=bytes(32))
    assert (
        "the chain has another one" in line(verified(a_file(settlement=settled(due, other))), "chain").problem
    )


def test_what_is_not_on_chain_yet_is_incomplete() -> None:
    due = settlement_of(view(5), crossing())
    waiting = replace(settled(due), chain=b"", state="pending")
    done = verified(a_file(settlement=waiting))
    assert (line(done, "chain").outcome, done.exit_code) == (Outcome.INCOMPLETE, 1)
    assert [n.chain for n in done.nets] == [None, None]
    done = verified(changed(honest(), chain=""))
    assert "--rpc-url" in line(done, "chain").problem
    assert done.exit_code == 1


def test_a_settlement_said_to_be_void_is_not_on_chain() -> None:
    void = replace(honest().settlements[0], state="void")
    failing(verified(changed(honest(), settlements=(void,))), "chain")


def test_a_settlement_that_was_undone_is_named() -> None:
    undone = replace(honest().settlements[0], state=UNDONE, chain=b"")
    done = verified(changed(honest(), settlements=(undone,)))
    failing(done, "chain")
    assert "undone after a contest" in line(done, "chain").problem


def test_a_settlement_not_handed_out_is_named() -> None:
    done = verified(changed(honest(), settlements=()))
    assert line(done, "settlements").by == "venue"


# --- lists --------------------------------------------------------------------------------------------


def test_a_list_or_a_leaf_left_out_is_named() -> None:
    answer = honest().answer
    short = answered(replace(answer, rounds=answer.rounds[:1] + answer.rounds[2:]))
    assert "6 follows 4" in line(verified(with_answer(honest(), short)), "lists").problem
    late = answered(replace(answer, rounds=answer.rounds[1:]))
    assert "those before 5 are missing" in line(verified(with_answer(honest(), late)), "lists").problem
    five = view(5)
    gone = replace(five, leaves=five.leaves[:-1], sequences=five.sequences[:-1])
    done = verified(with_round(honest(), 5, sealed=sealed_json(gone)))
    assert "do not have its root" in line(done, "lists").problem
    assert line(done, "orders").outcome is Outcome.NOT_DONE
    done = verified(changed(honest(), rounds=honest().rounds[:-1]))
    assert "was not handed out" in line(done, "lists").problem


def test_days_that_are_not_over_are_incomplete() -> None:
    answer = honest().answer
    open_still = answered(replace(answer, rounds=answer.rounds[:3]))
    done = verified(with_answer(honest(), open_still))
    assert (line(done, "lists").outcome, done.exit_code) == (Outcome.INCOMPLETE, 1)
    assert line(done, "orders").outcome is Outcome.HOLDS


# --- query and grant ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil,problem",
    [
        (lambda a: answered(a, key_of("ben")), "not the operator's"),
        (lambda a: answered(a, auditor=BEN), "auditor: it is of another"),
        (lambda a: replace(a, query=replace(a.query, last_day=DAY + 1)), "query: it is of another"),
        (lambda a: replace(a, orders=a.orders[1:]), "answer: it is of another"),
        (lambda a: replace(a, receipt=replace(a.receipt, number=8)), "not the operator's"),
        (lambda a: replace(a, receipt=replace(a.receipt, at=NOW - 1)), "not the operator's"),
    ],
)
def test_a_receipt_that_is_not_of_this_query_and_answer_is_named(
    spoil: Callable[[Answer], Answer], problem: str
) -> None:
    done = verified(with_answer(honest(), spoil(honest().answer)))
    failing(done, "query")
    assert problem in line(done, "query").problem
    assert {c.outcome for c in done.checks[2:]} == {Outcome.NOT_DONE}


def refused(answer: Answer) -> str:
    done = verified(with_answer(honest(), answered(answer)))
    found = line(done, "grant")
    assert (found.outcome, done.exit_code) == (Outcome.REFUSED, 1)
    return found.problem


def test_a_grant_that_does_not_hold_is_refused_by_name() -> None:
    answer = honest().answer
    mallory = replace(AUDITOR, key=box_key(b"\x08" * 32).public)
    cases = {
        GrantCheck.EXPIRED: replace(answer, grant=grant(expires=NOW - 1)),
        GrantCheck.NOT_YET: replace(answer, grant=grant(issued_at=NOW + 900)),
        GrantCheck.RANGE: replace(answer, query=replace(answer.query, last_day=DAY + 1)),
        GrantCheck.SIGNATURE: replace(answer, grant=replace(grant(), box=grant().box[::-1])),
        GrantCheck.AUDITOR: replace(answer, grant=grant(auditor=mallory)),
        GrantCheck.REVOKED: replace(
            answer, revocations=(Revocation.issue(grant().header, DAY * DAY_SECONDS + 5, key_of("ada")),)
        ),
        GrantCheck.REVOCATION: replace(
            answer, revocations=(Revocation.issue(grant().header, DAY * DAY_SECONDS + 5, key_of("ben")),)
        ),
    }
    for check, spoiled in cases.items():
        assert f"grant, {check}" in refused(spoiled), check


def test_another_grant_than_the_one_asked_for_is_named() -> None:
    answer = honest().answer
    other = answered(replace(answer, grant=grant(id=b"\x32" * 32)))
    assert line(verified(with_answer(honest(), other)), "grant").by == "venue"


def test_nothing_opens_with_another_key_or_none() -> None:
    done = audit(honest(), AUDITOR.account, box_key(b"\x08" * 32))
    assert line(done, "grant").outcome is Outcome.REFUSED
    done = audit(honest(), AUDITOR.account, None)
    assert (line(done, "grant").outcome, done.exit_code) == (Outcome.INCOMPLETE, 1)
    assert done.report is not None
    assert done.report.opened == ()


def test_a_file_somebody_else_put_together_is_named() -> None:
    failing(verified(honest().signed(key_of("ben"))), "file")
    failing(audit(honest(), BEN, BOX), "file", "query")
    failing(verified(replace(honest(), made_at=1)), "file")


# --- the form -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil,field",
    [
        (lambda d: d[:-70], "signature|head|blob|cut|audit|order|trailing|blobs"),
        (lambda d: d[:0], "head"),
        (lambda d: d + b"\0", "message|trailing|canonical"),
        (lambda d: d.replace(b'"version":1', b'"version":2', 1), "version"),
        (lambda d: d.replace(b'"op":"audit"', b'"op":"other"', 1), "not an audit file"),
        (lambda d: d.replace(b'"made_at":', b'"made_by":', 1), "audit"),
        (lambda d: d.replace(b'"state":"settled"', b'"state":"settlED"', 1), "state"),
        (lambda d: d.replace(b"dpaudit1", b"dpaudit2", 1), "answer"),
    ],
)
def test_a_malformed_file_is_refused_by_the_field(spoil: Callable[[bytes], bytes], field: str) -> None:
    with pytest.raises(DecodeError, match=field):
        AuditFile.decode(spoil(honest().encode()))


def test_bytes_of_another_order_are_refused_by_its_hash() -> None:
    first, second = orders()["first"], orders()["second"]
    swapped = {**honest().orders, first.hash: second.raw}
    with pytest.raises(DecodeError, match=first.hash.hex()):
        AuditFile.decode(changed(honest(), orders=swapped).encode())


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_bit_changes_unseen(place: float, bit: int) -> None:
    data = bytearray(honest().encode())
    data[int(place * len(data))] ^= 1 << bit
    try:
        file = AuditFile.decode(bytes(data))
    except CommitmentsError:
        return
    assert line(verified(file), "file").outcome is Outcome.FAILS


def test_the_file_holds_nothing_of_what_the_orders_say() -> None:
    data = honest().encode()
    for secret in (b"=two", b"one#", key_of("ada"), key_of("ada")[::-1], EVE):
        assert secret not in data


def test_a_round_that_is_void_by_the_venues_word_alone_is_not_taken_for_verified() -> None:
    answer = honest().answer
    rounds = (replace(r, state=RoundState.VOID, settlement=b"") if r.round == 5 else r for r in answer.rounds)
    done = verified(with_answer(honest(), answered(replace(answer, rounds=tuple(rounds)))))
    assert (line(done, "settlements").outcome, done.exit_code) == (Outcome.INCOMPLETE, 1)

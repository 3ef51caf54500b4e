"""A query by policy: authorities answer only what is in order, and t+1 open exactly what was sealed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments import sealing
from commitments.auditor_key import SecretKey
from commitments.auditor_shares import partial
from commitments.errors import CommitmentsError, ParameterError
from commitments.pedersen import generator_h
from compliance import authority_answer, handles
from compliance.audit_file import answer_json
from compliance.audit_outcome import Outcome
from compliance.auditor import Auditor
from compliance.authority import Member, dealt
from compliance.authority_answer import LABEL_AUTHORITY_BOX, SealedAnswer, answer, check_answer, signed
from compliance.authority_answer import _associated as associated
from compliance.authority_request import Request, read_request
from compliance.disclosure import NamedAuditor
from compliance.policy_audit import audit_of
from compliance.policy_query import Reading, read_orders, request_of, scope_of
from darkpool.eip712 import address_of
from darkpool.errors import OrderRefused, PeerFault
from darkpool.message import Message
from darkpool.types import Address, address_hex
from tests.compliance import audited
from tests.compliance.audit_support import account_of
from tests.compliance.audited import AUDITOR, BOX, EVE
from tests.compliance.conftest import Desk
from tests.compliance.desk_support import DeskVenue
from tests.compliance.policy_case import (
    ASKED,
    CONTEXT,
    SECRET,
    a_file,
    an_answer,
    ceremony,
    changed,
    honest,
    market_json,
    orders,
    table,
    verified,
    with_answer,
)
from tests.venue_support import key_of


@cache
def one(index: int) -> SealedAnswer:
    return answer(ceremony()[1][index - 1], honest())


def answers(*indices: int) -> list[SealedAnswer]:
    return [one(index) for index in indices]


def read(given_answers: Sequence[SealedAnswer]) -> Reading:
    return read_orders(honest(), ceremony()[0], given_answers, BOX, table)


OPENED = [("buy", "0.0007"), ("sell", "0.00000014"), (None, "0")]


# --- what is asked ------------------------------------------------------------------------------------


def test_every_listed_order_of_the_days_is_asked_for_or_named() -> None:
    request = read_request(honest().encode())
    assert request == honest()
    assert set(request.orders) == {orders()[name].hash for name in ASKED}
    assert request.without == (orders()["bare"].hash,)
    request.check(ceremony()[0])
    assert (scope_of(request)["orders"], scope_of(request)["without_handle"]) == (3, 1)


def test_a_withheld_order_is_the_venues_fault() -> None:
    with pytest.raises(PeerFault, match="venue"):
        request_of(verified(a_file(without=frozenset({"sold"}))), ceremony()[0], AUDITOR, EVE)


def test_orders_without_a_handle_alone_make_no_request() -> None:
    other, _ = dealt(SecretKey(77), CONTEXT, AUDITOR, address_of(audited.OPERATOR), "Another", 1, 0)
    with pytest.raises(OrderRefused, match="none of the account's 4 orders has a handle") as refused:
        request_of(verified(a_file()), other, AUDITOR, EVE)
    assert refused.value.code == "handle-missing"


# --- what opens ---------------------------------------------------------------------------------------


def test_any_two_of_three_open_what_was_sealed() -> None:
    for pair in combinations((1, 2, 3), 2):
        found = read(answers(*pair))
        rows = found.rows()
        assert [(r["side"], r["quantity"]) for r in rows[:3]] == OPENED
        assert [o.level for o in found.opened] == [2, 3, None]
        assert [r["state"] for r in rows] == ["opened"] * 3 + ["no handle"]
        assert found.false == ()


def test_a_single_holder_opens_too() -> None:
    authority, (member,) = ceremony(1, 0)
    request = request_of(verified(a_file()), authority, AUDITOR, EVE)
    found = read_orders(request, authority, [answer(member, request)], BOX, table)
    assert [o.quantity for o in found.opened] == [70_000, 14, 0]


def test_the_audit_with_openings_is_of_the_same_query() -> None:
    reading = read(answers(1, 2))
    done = audit_of(a_file(), reading)
    outcomes = {check.name: check.outcome for check in done.checks}
    assert (outcomes["handles"], outcomes["orders"]) == (Outcome.HOLDS, Outcome.INCOMPLETE)
    assert done.report is not None
    assert [(o.quantity, o.order.level) for o in done.report.opened] == [(70_000, 2), (14, 3), (0, 0)]
    other = replace(a_file(), answer_bytes=answer_json(an_answer(legal_reference="file 8"))).signed(EVE)
    with pytest.raises(OrderRefused, match="not the one that the request was made of"):
        audit_of(other, reading)


@pytest.mark.parametrize("few", [(1,), (2, 2), (3, 3, 3)])
def test_too_few_authorities_open_nothing(few: tuple[int, ...]) -> None:
    with pytest.raises(OrderRefused, match="answers: of 1/2 authorities") as refused:
        read(answers(*few))
    assert refused.value.code == "answers-missing"


def test_an_answer_is_for_the_auditor_alone() -> None:
    made = answers(1)[0]
    member = ceremony()[1][0]
    points = handles.answer(
        member.share, honest().sealed, honest().legal_reference, honest().info.terms.key
    ).points
    assert not any(point.encode() in made.encode() for point in points)
    with pytest.raises(OrderRefused, match="auditor: it is another's"):
        read_orders(honest(), ceremony()[0], answers(1, 2), sealing.BoxKey.generate(), table)


def test_a_long_answer_is_in_several_boxes_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority_answer, "MAX_BOX_BYTES", 128)
    member = ceremony()[1][1]
    long = SealedAnswer.decode(answer(member, honest()).encode())
    assert len(long.boxes) > 3
    assert read([answers(1)[0], long]).false == ()
    for boxes in (long.boxes[::-1], long.boxes[:-1], (*long.boxes[:-1], long.boxes[0])):
        lie = signed(member, replace(long, boxes=boxes))
        assert read([answers(1)[0], lie, answers(3)[0]]).false == (2,)


# --- an authority that lies ---------------------------------------------------------------------------


def sealed_lie(member: Member, plain: bytes, index: int | None = None) -> SealedAnswer:
    own = member.share.index
    box = sealing.box_seal(AUDITOR.key, plain, LABEL_AUTHORITY_BOX, associated(honest().digest, own, 1, 0))
    return signed(member, SealedAnswer(honest().digest, own if index is None else index, (box,)))


def lies(member: Member) -> dict[str, SealedAnswer]:
    """What authority 2 can say of its own, signed by itself."""
    request = honest()
    context = handles.request_context(request.sealed, request.key, request.legal_reference)
    points = handles.handle_points(request.sealed, request.key)
    true = partial(member.share, points, context)
    moved = replace(true, points=(true.points[0] + generator_h(), *true.points[1:]))
    other = handles.request_context(request.sealed, request.key, "another file")
    return {
        "a false point": sealed_lie(member, moved.encode()),
        "a false response": sealed_lie(member, replace(true, response=true.response ^ 1).encode()),
        "too few points": sealed_lie(member, replace(true, points=true.points[:-1]).encode()),
        "another request": sealed_lie(member, partial(member.share, points, other).encode()),
        "another's points": sealed_lie(member, partial(ceremony()[1][0].share, points, context).encode()),
        "no points": sealed_lie(member, b"\x00" * 99),
        "a box for another": signed(member, replace(sealed_lie(member, true.encode()), boxes=(bytes(200),))),
    }


@pytest.mark.parametrize(
    "kind",
    [
        *("a false point", "a false response", "too few points", "another request"),
        *("another's points", "no points", "a box for another"),
    ],
)
def test_a_lying_authority_is_named_and_the_others_still_open(kind: str) -> None:
    lie = lies(ceremony()[1][1])[kind]
    found = read([answers(1)[0], lie, answers(3)[0]])
    assert found.false == (2,)
    assert [o.quantity for o in found.opened] == [70_000, 14, 0]
    with pytest.raises(PeerFault, match="authority 2: their answers do not hold") as fault:
        read([answers(1)[0], lie])
    assert (fault.value.exit_code, fault.value.peer) == (3, "authority 2")


@pytest.mark.parametrize(
    "alter",
    [
        lambda a: replace(a, index=1),
        lambda a: replace(a, index=4),
        lambda a: replace(a, index=0),
        lambda a: replace(a, request=bytes(32)),
        lambda a: replace(a, boxes=(a.boxes[0][:-1] + bytes([a.boxes[0][-1] ^ 1]),)),
        lambda a: replace(a, boxes=(*a.boxes, a.boxes[0])),
        lambda a: replace(a, signature=a.signature[:-1] + bytes([a.signature[-1] ^ 1])),
        lambda a: replace(a, signature=answers(1)[0].signature),
        lambda a: replace(a, signature=b""),
    ],
)
def test_nobody_is_blamed_for_what_it_did_not_sign(alter: Callable[[SealedAnswer], SealedAnswer]) -> None:
    with pytest.raises(OrderRefused, match="answer of authority") as refused:
        read([answers(1)[0], alter(answers(2)[0])])
    assert refused.value.code == "answer-refused"


def test_an_answer_reads_back_and_its_form_is_strict() -> None:
    raw = answers(1)[0].encode()
    check_answer(SealedAnswer.decode(raw), honest(), ceremony()[0])
    for bad in (raw[:-1], raw + b"\x00", b"\x00" + raw, b"", raw[:4] + b"x" + raw[5:]):
        with pytest.raises(CommitmentsError):
            SealedAnswer.decode(bad)


# --- a request that is not in order -------------------------------------------------------------------


def other_market() -> bytes:
    return market_json().replace(b"0x" + b"02" * 32, b"0x" + b"05" * 32)


def by(key: bytes) -> Auditor:
    return Auditor(address_of(key), BOX.public)  # type: ignore[arg-type]


def unsigned(name: str) -> dict[bytes, bytes]:
    raw = orders()[name].raw
    return {orders()[name].hash: raw[:-1] + bytes([raw[-1] ^ 1])}


def only(*names: str) -> dict[bytes, bytes]:
    return {orders()[name].hash: orders()[name].raw for name in names}


WRONG: dict[str, tuple[Callable[[], Request], str]] = {
    "not signed": (lambda: replace(honest(), without=()), "signature"),
    "signed by another": (lambda: honest().signed(key_of("ben")), "signature"),
    "another auditor": (
        lambda: replace(honest(), auditor=by(key_of("ben"))).signed(key_of("ben")),
        "auditor",
    ),
    "another box": (
        lambda: changed(auditor=Auditor(AUDITOR.account, sealing.BoxKey.generate().public)),
        "auditor",
    ),
    "another key": (lambda: changed(key=generator_h()), "key"),
    "a grant": (lambda: changed(**with_answer(audited.an_answer(b""))), "query"),
    "another name": (lambda: changed(**with_answer(an_answer(authority="tax"))), "query"),
    "another operator": (
        lambda: changed(**with_answer(audited.answered(an_answer(), key_of("ben")))),
        "receipt",
    ),
    "another's receipt": (
        lambda: changed(**with_answer(audited.answered(an_answer(), auditor=account_of("ben")))),
        "receipt",
    ),
    "a reference that is not on record": (
        lambda: changed(
            **with_answer(replace(an_answer(), query=replace(an_answer().query, legal_reference="file 8")))
        ),
        "receipt",
    ),
    "an answer that is not on record": (
        lambda: changed(**with_answer(replace(an_answer(), orders=an_answer().orders[:2]))),
        "receipt",
    ),
    "another account asked about": (
        lambda: changed(**with_answer(an_answer(account=account_of("ben")))),
        "order",
    ),
    "another market asked about": (lambda: changed(**with_answer(an_answer(market=b"\x07" * 32))), "market"),
    "an order of another": (lambda: changed(orders=only("ben")), "order"),
    "an order of a later day": (lambda: changed(orders=only("tomorrow")), "order"),
    "an order nobody named": (
        lambda: changed(**with_answer(audited.answered(replace(an_answer(), orders=an_answer().orders[:1])))),
        "order",
    ),
    "an order not signed": (lambda: changed(orders=unsigned("sold")), "order"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_request_that_is_not_in_order_is_refused_by_name(kind: str) -> None:
    make, name = WRONG[kind]
    with pytest.raises(OrderRefused, match=f"request, {name}") as refused:
        read_request(make().encode()).check(ceremony()[0])
    assert refused.value.code == "request-refused"


def test_another_auditor_may_be_named_by_the_authority_itself() -> None:
    ben = by(key_of("ben"))
    answer_to = audited.answered(an_answer(), auditor=ben.account)
    request = replace(changed(**with_answer(answer_to)), auditor=ben).signed(key_of("ben"))
    request.check(ceremony()[0], ben)
    with pytest.raises(OrderRefused, match="auditor"):
        request.check(ceremony()[0])


def test_an_order_without_a_handle_gets_no_answer() -> None:
    request = changed(orders=only("bare"), without=())
    request.check(ceremony()[0])
    with pytest.raises(OrderRefused, match="no handle for this auditor key") as refused:
        answer(ceremony()[1][0], request)
    assert refused.value.code == "handle-missing"


@given(place=st.integers(0, 1 << 30), flip=st.integers(1, 255))
@settings(max_examples=25, deadline=None)
def test_no_byte_of_a_request_can_be_changed(place: int, flip: int) -> None:
    raw = bytearray(honest().encode())
    raw[place % len(raw)] ^= flip
    with pytest.raises(OrderRefused, match="request"):
        read_request(bytes(raw)).check(ceremony()[0])


@pytest.mark.parametrize(
    "field,value",
    [
        *(("version", 2), ("version", True), ("auditor", "dpaudit1x"), ("auditor", 3), ("key", "0x00")),
        *(("orders", []), ("orders", "x"), ("orders", ["0x12"]), ("without", [3]), ("more", 1)),
    ],
)
def test_a_malformed_field_is_named(field: str, value: Any) -> None:  # noqa: ANN401
    message = Message.decode(honest().body)
    bad = Message(message.op, {**message.fields, field: value}, message.blobs).encode()
    with pytest.raises(OrderRefused, match=rf"request, ({field}|authority-request)"):
        read_request(bad + honest().signature)


def test_more_orders_than_there_are_handles_for_are_refused() -> None:
    many = [f"0x{i:064x}" for i in range(4_097)]
    message = Message.decode(honest().body)
    bad = Message(message.op, {**message.fields, "orders": many}, message.blobs).encode()
    with pytest.raises(OrderRefused, match="at most 4096"):
        read_request(bad + honest().signature)


@pytest.mark.parametrize("members,threshold", [(0, 0), (1, 1), (3, 3), (17, 1), (3, -1)])
def test_a_ceremony_has_bounds(members: int, threshold: int) -> None:
    with pytest.raises(ParameterError):
        dealt(SECRET, CONTEXT, AUDITOR, Address(bytes(20)), "x", members, threshold)


def test_no_secret_is_shown() -> None:
    _, members = ceremony()
    text = repr(members) + repr(honest()) + repr(read(answers(1, 2)))
    assert str(members[0].share.value) not in text
    assert "70000" not in text


# --- whose queries a venue takes ------------------------------------------------------------------------


def test_the_policys_duties_say_when_an_account_sees_a_query(desk: Desk) -> None:
    """The longest of an auditor's delays counts; one without an account cannot ask."""

    async def scenario(v: DeskVenue) -> None:
        served: dict[str, NamedAuditor] = {}
        v.office.serve(served)
        account = account_of("examiner")
        auditors = [v.auditor("examiner", account=address_hex(account)), v.auditor("silent")]
        named = {2: ["examiner"], 5: ["examiner", "silent"]}
        duties = [
            {"id": f"d{hours}", "reason": "R.", "auditors": names, "visible_after_hours": hours}
            for hours, names in named.items()
        ]
        await v.apply(v.document(auditor=auditors, disclosure=duties))
        assert served == {"examiner": NamedAuditor(account, 5 * 3_600)}
        await v.apply(v.document())
        assert served == {}

    desk(scenario)

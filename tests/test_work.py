"""Requests and answers of heavy work: the same verdicts as in process, and no answer that is not one."""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Any

import pytest

from commitments.errors import DecodeError
from commitments.paillier import fresh_randomness
from commitments.threshold import combine, partial
from darkpool import work
from darkpool.admission import unproven
from darkpool.message import Message
from tests.commitments_support import committee, published_key
from tests.worker_support import KEY, Masked, mixed_orders, said

SEATS, SHARES = committee()


@pytest.fixture(scope="module")
def orders() -> list[bytes]:
    return mixed_orders()


def masked() -> Masked:
    c = SEATS.key.encrypt(secrets.randbits(40), fresh_randomness())
    return c, {share.index: partial(SEATS, share, c) for share in SHARES}


# --- orders -----------------------------------------------------------------------------------------


def test_a_workers_verdicts_are_those_of_this_process(orders: list[bytes]) -> None:
    request = work.orders_request(KEY, orders)
    found = work.read_refusals(work.read_answer(request, work.answered(request)), len(orders))
    assert said(found) == said(unproven(KEY, orders))
    assert sorted(found) == [1, 3, 4]
    assert {r.code for r in found.values()} == {"order-unproven", "order-malformed"}


ROWS = [[1, "proof: it does not hold", "build it anew", "order-unproven"]]


@pytest.mark.parametrize(
    "fields",
    [
        {"rows": ROWS},
        {"count": 2, "rows": ROWS},
        {"count": True, "rows": ROWS},
        {"count": 3},
        {"count": 3, "rows": {}},
        {"count": 3, "rows": [*ROWS, *ROWS]},
        {"count": 3, "rows": [[3, *ROWS[0][1:]]]},
        {"count": 3, "rows": [[-1, *ROWS[0][1:]]]},
        {"count": 3, "rows": [["1", *ROWS[0][1:]]]},
        {"count": 3, "rows": [ROWS[0][:3]]},
        {"count": 3, "rows": [[1, "w" * 2_001, "", "c"]]},
        {"count": 3, "rows": [[1, "why", None, "c"]]},
        {"count": 3, "rows": [[1, "why", "", 7]]},
        {"count": 1, "rows": [[0, "", "", ""], [0, "", "", ""]]},
    ],
)
def test_an_answer_that_is_no_list_of_refusals_is_refused(fields: dict[str, Any]) -> None:
    assert work.read_refusals(Message("refused", {"count": 3, "rows": ROWS}), 3)[1].code == "order-unproven"
    with pytest.raises(DecodeError):
        work.read_refusals(Message("refused", fields), 3)


@pytest.mark.parametrize("message", [Message("opening"), Message("refused", {"count": 3, "rows": []}, [b""])])
def test_another_kind_of_answer_is_refused(message: Message) -> None:
    with pytest.raises(DecodeError):
        work.read_refusals(message, 3)


# --- any answer -------------------------------------------------------------------------------------


def test_an_answer_is_one_to_its_request_alone() -> None:
    request, other = (work.orders_request(KEY, [raw]) for raw in (b"one", b"two"))
    answer = work.answered(request)
    work.read_answer(request, answer)
    for wrong in (b"", answer[:40], answer + b"\0", answer[:32] + answer[40:], bytes(work.MAX_ANSWER + 1)):
        with pytest.raises(DecodeError):
            work.read_answer(request, wrong)
    with pytest.raises(DecodeError, match="another request"):
        work.read_answer(other, answer)


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\0" * 8,
        Message("orders").encode(),
        Message("orders", {}, [bytes(1025)]).encode(),
        Message("partial", {}, [b"\1"]).encode(),
        Message("eval", {"code": "1"}, [b"\1"]).encode(),
        Message("combine", {"members": 3, "threshold": 1, "indices": "01"}, [b"\7"]).encode(),
    ],
)
def test_what_is_no_work_is_answered_with_why(request_: bytes) -> None:
    answer = work.answered(request_)
    assert answer[:32] == sha256(request_).digest()
    with pytest.raises(DecodeError, match="request"):
        work.read_answer(request_, answer)


def test_code_of_another_version_does_no_work() -> None:
    request = work.warm(KEY)
    assert work.answered_alike(work.code_hash(), request) == work.answered(request)
    with pytest.raises(RuntimeError, match="another version"):
        work.answered_alike(bytes(32), request)


# --- openings ---------------------------------------------------------------------------------------


def test_a_workers_opening_is_that_of_this_process() -> None:
    c, partials = masked()
    request = work.combine_request(SEATS, c, partials)
    assert work.read_opening(work.read_answer(request, work.answered(request)), SEATS.key) == combine(
        SEATS, c, partials
    )


@pytest.mark.parametrize(
    "change",
    [
        {"members": 1},
        {"members": 10**6},
        {"threshold": 2},
        {"threshold": 0},
        {"scale": -1},
        {"scale": 10**6},
        {"indices": "0101"},
        {"indices": "0104"},
        {"indices": "01"},
        {"indices": None},
        {"blob": (1, b"")},
        {"blob": (1, b"\0" * 256)},
        {"blob": (2, b"\0" * 64)},
        {"blob": (3, b"\1")},
    ],
)
def test_a_corrupted_field_of_a_combination_is_answered_with_why(change: dict[str, Any]) -> None:
    good = Message.decode(work.combine_request(SEATS, *masked()))
    blobs = list(good.blobs)
    if (blob := change.pop("blob", None)) is not None:
        blobs[blob[0]] = blob[1]
    request = Message("combine", {**good.fields, **change}, blobs).encode()
    with pytest.raises(DecodeError):
        work.read_answer(request, work.answered(request))


def test_partials_that_do_not_combine_are_answered_with_why() -> None:
    c, partials = masked()
    request = work.combine_request(SEATS, c, {**partials, 2: partials[2] + 1})
    with pytest.raises(DecodeError, match="do not combine"):
        work.read_answer(request, work.answered(request))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("value", ["cut", "modulus", "long"])
def test_an_opening_out_of_range_is_refused(place: int, value: str) -> None:
    width = SEATS.key.modulus_bytes
    blobs = [(5).to_bytes(width), (7).to_bytes(width)]
    work.read_opening(Message("opening", {}, blobs), SEATS.key)
    good = blobs[place]
    wrong = {"cut": good[1:], "modulus": int(SEATS.key.n).to_bytes(width), "long": good + b"\0"}
    blobs[place] = wrong[value]
    with pytest.raises(DecodeError):
        work.read_opening(Message("opening", {}, blobs), SEATS.key)


def test_another_number_of_parts_is_no_opening() -> None:
    width = SEATS.key.modulus_bytes
    blobs = [(5).to_bytes(width), (7).to_bytes(width)]
    for message in (
        Message("opening", {}, blobs[:1]),
        Message("opening", {}, [*blobs, b""]),
        Message("refused", {}, blobs),
    ):
        with pytest.raises(DecodeError):
            work.read_opening(message, SEATS.key)


def test_requests_hold_nothing_but_what_they_are_about() -> None:
    c, partials = masked()
    message = Message.decode(work.combine_request(SEATS, c, partials))
    assert set(message.fields) == {"members", "threshold", "scale", "indices"}
    assert len(message.blobs) == 2 + SEATS.threshold + 1
    assert Message.decode(work.orders_request(published_key(), [b"x"])).fields == {}

"""Requests as they leave and answers as they are read: no network, only what the coroutine asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest

from darkpool.client.answers import OrderRecord
from darkpool.client.steps import Answer, Send, Sleep, Steps, Unreachable
from darkpool.client.venue_api import VenueApi, VenueRefused
from darkpool.eip712 import Domain, address_of
from darkpool.errors import PeerFault
from darkpool.request import check_request
from darkpool.types import Address, PrivateKey

T = TypeVar("T")
KEY = PrivateKey(b"\x11" * 32)
DOMAIN = Domain(1, Address(b"\x01" * 20))
ORDER = {
    "hash": "0x" + "ab" * 32,
    "sequence": 3,
    "market": "0x" + "03" * 32,
    "nonce": 1,
    "time_in_force": 2,
    "valid_until": 0,
    "accepted_at": 5,
    "state": "standing",
    "reason": "",
    "ended_round": None,
}


def api(patience: float = 30.0) -> VenueApi:
    found = VenueApi(KEY, patience)
    found.domain = DOMAIN
    return found


def problem(code: str, status: int, retry: str = "", **facts: str | int) -> Answer:
    body = {"type": f"urn:darkpool:problem:{code}", "detail": "no", "hint": "later", "title": "t", **facts}
    headers = {"retry-after": retry} if retry else {}
    return Answer(status, headers, json.dumps(body).encode())


def page(*items: Any, following: int | None = None) -> Answer:  # noqa: ANN401 - JSON
    return Answer(200, {}, json.dumps({"items": list(items), "next": following}).encode())


def run(steps: Steps[T], answers: Iterator[Answer | Exception]) -> tuple[T, list[Send], list[float]]:
    """The coroutine's result, what it sent, and how long it slept each time."""
    sent: list[Send] = []
    slept: list[float] = []
    value: Any = None
    error: Exception | None = None
    while True:
        try:
            step = steps.send(value) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value, sent, slept
        value, error = None, None
        if isinstance(step, Sleep):
            slept.append(step.seconds)
            continue
        assert isinstance(step, Send)
        sent.append(step)
        answer = next(answers)
        value, error = (None, answer) if isinstance(answer, Exception) else (answer, None)


@pytest.mark.parametrize(
    "failure",
    [
        Unreachable("no answer"),
        problem("busy", 429),
        problem("queue-full", 429),
        problem("rate-limited", 429),
        problem("database-away", 503),
        problem("chain-away", 503),
        problem("committee-away", 503),
    ],
)
def test_what_passes_is_tried_again_and_signed_anew(failure: Answer | Exception) -> None:
    found, sent, slept = run(api().orders(), iter([failure, page(ORDER)]))
    assert [o.nonce for o in found] == [1]
    assert len(slept) == 1
    headers = [s.headers["Authorization"] for s in sent]
    assert headers[0] != headers[1]
    assert {s.target for s in sent} == {sent[0].target}


@pytest.mark.parametrize("retry,expected", [("3", 3.0), ("99", 10.0), ("0", 0.2), ("soon", 0.2), ("-5", 0.2)])
def test_retry_after_is_honoured_within_reason(retry: str, expected: float) -> None:
    _, _, slept = run(api().orders(), iter([problem("busy", 429, retry), page()]))
    assert slept == [expected]


@pytest.mark.parametrize(
    "answer,code",
    [
        (problem("nonce-used", 409), "nonce-used"),
        (problem("quota-exceeded", 429, "1"), "quota-exceeded"),
        (problem("book-full", 429, "1"), "book-full"),
        (problem("venue-halted", 503, "1"), "venue-halted"),
        (problem("bad-signature", 401), "bad-signature"),
    ],
)
def test_what_does_not_pass_is_refused_at_once(answer: Answer, code: str) -> None:
    with pytest.raises(VenueRefused) as caught:
        run(api().orders(), iter([answer]))
    assert (caught.value.code, caught.value.status, caught.value.hint) == (code, answer.status, "later")


def test_facts_of_a_refusal_are_kept() -> None:
    with pytest.raises(VenueRefused) as caught:
        run(api().orders(), iter([problem("collateral-decreased", 409, version=7, token="base")]))
    assert caught.value.facts == {"version": 7, "token": "base"}


def test_patience_ends() -> None:
    failures = iter([Unreachable("gone")] * 100)
    with pytest.raises(Unreachable, match="gone"):
        run(api(patience=5.0).orders(), failures)
    assert 90 < len(list(failures)) < 100


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, {}, b'{"type": "x", "detail": "d", "hint": ""}'),
        Answer(500, {}, b"<html>"),
        Answer(404, {}, b""),
        Answer(302, {}, b""),
        Answer(418, {}, b'{"type": 1, "detail": "d", "hint": ""}'),
        Answer(200, {}, b""),
        Answer(200, {}, b"[1]"),
        page({**ORDER, "sequence": -1}),
        page({**ORDER, "sequence": 1 << 64}),
        page({**ORDER, "sequence": True}),
        page({**ORDER, "hash": "0x" + "AB" * 32}),
        page({**ORDER, "hash": "ab" * 32}),
        page({**ORDER, "state": "eaten"}),
        page({**ORDER, "reason": "x" * 301}),
        page({**ORDER, "time_in_force": 3}),
        page({**ORDER, "ended_round": "1"}),
        page({k: v for k, v in ORDER.items() if k != "nonce"}),
        page(*[ORDER] * 101),
        page(ORDER, following=-1),
        page("order"),
    ],
)
def test_nonsense_is_the_venues_fault(answer: Answer) -> None:
    with pytest.raises(PeerFault):
        run(api().orders(), iter([answer]))


def test_fields_the_client_does_not_know_are_left_alone() -> None:
    assert OrderRecord.of({**ORDER, "new": 1}).sequence == 3


def test_pages_are_followed_to_their_end() -> None:
    answers = iter([page(ORDER, following=3), page({**ORDER, "sequence": 9}, following=9), page()])
    found, sent, _ = run(api().orders(), answers)
    assert [o.sequence for o in found] == [3, 9]
    assert [s.target.partition("?")[2] for s in sent] == [
        "limit=100",
        "after=3&limit=100",
        "after=9&limit=100",
    ]


def test_a_private_request_is_signed_as_the_venue_checks_it() -> None:
    _, (sent,), _ = run(api().orders(after=4, standing=True), iter([page()]))
    expires = int(sent.headers["Authorization"].split("expires=")[1].split(",")[0])
    header = sent.headers["Authorization"]
    signed = check_request(header, sent.method, sent.target, sent.body, expires - 5, DOMAIN, 60)
    assert signed.account == address_of(KEY)
    assert sent.target.endswith("orders?state=standing&after=4&limit=100")


def test_a_certified_result_is_bytes() -> None:
    def shown(payload: object) -> Iterator[Answer]:
        return iter([Answer(200, {}, json.dumps({"payload": payload}).encode())])

    found, (sent,), _ = run(api().result(b"\x01" * 32, 8), shown("0x00ff"))
    assert (found, sent.target.endswith(f"/rounds/0x{'01' * 32}/8/result")) == (b"\x00\xff", True)
    for payload in ("0x0", "00", None, "0x" + "00" * (1 << 21)):
        with pytest.raises(PeerFault, match="payload"):
            run(api().result(b"\x01" * 32, 8), shown(payload))


def test_no_secret_is_shown() -> None:
    _, (sent,), _ = run(api().orders(), iter([page()]))
    assert KEY.hex() not in repr(sent) + repr(api())
    assert "signature" not in repr(sent)

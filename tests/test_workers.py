"""Workers that die, hang, lie or are away: no order is lost, and none is taken that is not proven."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import util
from typing import Any, Self

import pytest

from commitments.errors import ParameterError
from commitments.paillier import fresh_randomness
from commitments.threshold import combine, partial
from darkpool import work, workers
from darkpool.admission import unproven
from darkpool.committee.spread import Combination, spread
from darkpool.config import WorkersSettings
from darkpool.errors import ConfigError, Unavailable
from darkpool.message import Message
from darkpool.workers import Processes, Workers, chosen, present, refusals
from darkpool.workers_ray import Ray
from tests.commitments_support import committee
from tests.worker_support import KEY, Masked, good_order, mixed_orders, said

SEATS, SHARES = committee()
ORDERS = mixed_orders()
VERDICTS = said(unproven(KEY, ORDERS))


class Scripted:
    """Workers whose answers a test writes; `asked` are the requests they got."""

    def __init__(self, answer: Callable[[bytes], Message], at_once: int = 2) -> None:
        self.at_once, self._answer = at_once, answer
        self.asked: list[bytes] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def ask(self, request: bytes) -> Message:
        self.asked.append(request)
        return self._answer(request)


def honest(request: bytes) -> Message:
    return work.read_answer(request, work.answered(request))


def away(_: bytes) -> Message:
    raise Unavailable("workers: away", "venue")


def masked(count: int) -> list[Masked]:
    found = []
    for _ in range(count):
        c = SEATS.key.encrypt(secrets.randbits(40), fresh_randomness())
        found.append((c, {share.index: partial(SEATS, share, c) for share in SHARES}))
    return found


# --- orders -----------------------------------------------------------------------------------------


def test_many_orders_are_divided_and_every_verdict_is_of_its_order() -> None:
    orders = [good_order("ada", 1, 5)] * 30 + ORDERS
    found = Scripted(honest, 4)
    assert said(asyncio.run(refusals(found, KEY, orders, divided=True))) == {
        30 + i: verdict for i, verdict in VERDICTS.items()
    }
    assert [len(Message.decode(request).blobs) - 1 for request in found.asked] == [16, 16, 4]
    found = Scripted(honest, 4)
    assert said(asyncio.run(refusals(found, KEY, ORDERS))) == VERDICTS
    assert len(found.asked) == 1
    assert asyncio.run(refusals(found, KEY, [])) == {}
    assert said(asyncio.run(refusals(None, KEY, ORDERS))) == VERDICTS


@pytest.mark.parametrize("answer", [Message("refused", {"count": 1, "rows": []}), Message("opening")])
def test_an_answer_that_is_none_is_verified_here(answer: Message) -> None:
    assert said(asyncio.run(refusals(Scripted(lambda _: answer), KEY, ORDERS))) == VERDICTS


def test_orders_that_nobody_can_verify_are_neither_accepted_nor_refused() -> None:
    with pytest.raises(Unavailable):
        asyncio.run(refusals(Scripted(away), KEY, ORDERS))


# --- openings ---------------------------------------------------------------------------------------


def spread_by(found: Workers | None, items: list[Masked]) -> list[Any]:
    async def run() -> list[Any]:
        async with present(found):
            return await spread(Combination(SEATS), items)

    return asyncio.run(run())


def test_combinations_go_to_the_workers_and_nothing_else_does() -> None:
    items = masked(3)
    expected = [combine(SEATS, *item) for item in items]
    found = Scripted(honest)
    assert spread_by(found, items) == expected
    assert len(found.asked) == 3
    assert spread_by(found, []) == []

    async def decrypt() -> list[object]:
        async with present(found):
            return await spread(lambda item: partial(SEATS, SHARES[0], item[0]), items)

    assert asyncio.run(decrypt()) == [partials[1] for _, partials in items]
    assert len(found.asked) == 3  # a share stays where it is
    assert spread_by(None, items) == expected
    assert workers.PRESENT.get() is None


def test_a_share_has_no_way_into_a_request() -> None:
    (item,) = masked(1)
    request = work.combine_request(SEATS, *item)
    for share in SHARES:
        value = abs(int(share.value))
        assert value.to_bytes((value.bit_length() + 7) // 8) not in request


def test_false_openings_are_found_and_combined_here() -> None:
    items = masked(3)
    other, _ = masked(2)

    def lying(request: bytes) -> Message:
        asked = Message.decode(request)
        if asked.blobs[1] != SEATS.key.encode_ciphertext(items[1][0]):
            return honest(request)
        return honest(work.combine_request(SEATS, *other))

    assert spread_by(Scripted(lying), items) == [combine(SEATS, *item) for item in items]


@pytest.mark.parametrize("answer", [away, lambda _: Message("refused")])
def test_openings_that_no_worker_gives_are_combined_here(answer: Callable[[bytes], Message]) -> None:
    items = masked(2)
    assert spread_by(Scripted(answer), items) == [combine(SEATS, *item) for item in items]


def test_partials_that_do_not_combine_are_none_with_and_without_workers() -> None:
    items = masked(3)
    c, partials = items[1]
    items[1] = c, {**partials, 2: partials[2] + 1}
    for found in (None, Scripted(honest)):
        first, second, third = spread_by(found, items)
        assert second is None
        assert None not in {first, third}
    items[1] = c, {1: partials[1]}
    for found in (None, Scripted(honest)):
        with pytest.raises(ParameterError, match="1/2"):
            spread_by(found, items)


# --- processes --------------------------------------------------------------------------------------


def pids(found: Processes) -> list[int]:
    return list(found._pool._processes)


def test_a_process_that_dies_or_hangs_is_replaced_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patience = [60.0]

    def seconds(_: Processes) -> float:
        return patience.pop(0) if len(patience) > 1 else patience[0]

    monkeypatch.setattr(Processes, "_seconds", property(seconds, lambda *_: None), raising=False)

    async def run() -> None:
        async with Processes(KEY, 1, seconds=0) as found:
            assert said(await refusals(found, KEY, ORDERS)) == VERDICTS
            for number in (signal.SIGKILL, signal.SIGSTOP):
                (old,) = pids(found)
                os.kill(old, number)
                patience[:] = [1.0, 60.0] if number == signal.SIGSTOP else [60.0]
                assert said(await refusals(found, KEY, ORDERS)) == VERDICTS
                assert old not in pids(found)

    asyncio.run(run())


def die() -> None:
    os._exit(1)


def test_work_over_which_processes_die_twice_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "begin", die)

    async def run() -> None:
        with pytest.raises(Unavailable, match="died twice"):
            await refusals(Processes(KEY, 1, seconds=30), KEY, ORDERS)

    asyncio.run(run())


# --- a cluster --------------------------------------------------------------------------------------

STAND_IN = """
import sys
from darkpool import work
from darkpool.workers_ray_child import Answers

kind, answers = sys.argv[1], Answers(sys.stdout.buffer)
answers.write(0, (3).to_bytes(4, "big"))
while len(head := sys.stdin.buffer.read(12)) == 12:
    request = sys.stdin.buffer.read(int.from_bytes(head[:4], "big"))
    number, answer = int.from_bytes(head[4:], "big"), work.answered(request)
    if kind == "dies":
        sys.exit(1)
    if kind == "fails":
        answers.write(number, b"RuntimeError: lost", done=False)
    elif kind == "mixes":
        answers.write(number, work.answered(request + b"x"))
    elif kind == "floods":
        sys.stdout.buffer.write(b"\\xff" * 64)
        sys.stdout.flush()
    elif kind == "others":
        answers.write(number + 1_000, answer)
        answers.write(0, b"")
        answers.write(number, answer)
    elif kind == "answers":
        answers.write(number, answer)
"""


@pytest.mark.parametrize(
    "kind, by_others",
    [("answers", 0), ("others", 0), *((k, 1) for k in ("fails", "mixes", "floods", "dies"))],
)
def test_what_the_cluster_does_not_answer_is_done_on_this_machine(kind: str, by_others: int) -> None:
    local = Scripted(honest)

    async def run() -> None:
        async with Ray(KEY, local, 30, kind, (sys.executable, "-c", STAND_IN)) as found:
            assert found.at_once == 3
            assert said(await refusals(found, KEY, ORDERS)) == VERDICTS

    asyncio.run(run())
    assert len(local.asked) == by_others


def test_a_cluster_that_takes_too_long_or_is_away_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkpool.workers_ray.START_SECONDS", 0.2)
    local = Scripted(honest)

    async def run(kind: str, program: str) -> None:
        async with Ray(KEY, local, 0.2, kind, (sys.executable, "-c", program)) as found:
            assert said(await refusals(found, KEY, ORDERS)) == VERDICTS

    asyncio.run(run("hangs", STAND_IN))
    asyncio.run(run("away", "raise SystemExit(2)"))
    assert len(local.asked) == 2


# --- the choice -------------------------------------------------------------------------------------


def test_the_settings_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    found = chosen(WorkersSettings(), KEY, 3)
    assert (type(found), found.at_once) == (Processes, 3)
    ray = WorkersSettings(kind="ray", address="10.0.0.1:6379")
    assert isinstance(chosen(ray, KEY, 1), Ray)
    monkeypatch.setattr("darkpool.workers_ray.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="not installed"):
        chosen(ray, KEY, 1)


def test_ray_is_imported_by_its_own_process_alone() -> None:
    if util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    modules = "api.serve, darkpool.cli.app, darkpool.committee.node, darkpool.workers_ray"
    script = f"import sys, {modules}\nsys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)

"""Plugins: asked in order, within a time, and whatever is no consent is a refusal of that one thing."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx
import pytest

from compliance.audit_record import Kind
from compliance.hooks import NotScreened, Plugins, darkpool_hook
from darkpool.client.intent import Wanted
from darkpool.errors import ConfigError, OrderRefused
from darkpool.market import Side
from darkpool.types import Address
from examples.plugins import http_screening
from tests.compliance.conftest import Desk
from tests.compliance.desk_support import DeskVenue

BUY, SELL = Wanted(Side.BUY, "0.01"), Wanted(Side.SELL, "0.01")
ADA, BEN = Address(b"\x0a" * 20), Address(b"\x0b" * 20)


class Says:
    """Answers `submit` and `register` with what it was made with, and writes down when it was asked."""

    def __init__(self, name: str, asked: list[str], answer: Any = None) -> None:  # noqa: ANN401
        self.name, self.asked, self.answer = name, asked, answer

    @darkpool_hook
    def submit(self, account: bytes) -> Any:  # noqa: ANN401, ARG002
        self.asked.append(self.name)
        return self.answer

    @darkpool_hook
    def register(self) -> Any:  # noqa: ANN401
        return self.answer


class Fails:
    @darkpool_hook
    def submit(self) -> None:
        raise RuntimeError("the secret reason")

    @darkpool_hook
    def seal(self) -> None:
        raise RuntimeError("the secret reason")


class Hangs:
    released: ClassVar[threading.Event] = threading.Event()

    @darkpool_hook
    def submit(self) -> None:
        self.released.wait(5)


class Objects:
    """To some accounts, before a seal."""

    def __init__(self, answer: Any) -> None:  # noqa: ANN401
        self.answer = answer
        self.seen: list[tuple[str, int, tuple[bytes, ...]]] = []

    @darkpool_hook
    def seal(self, market: str, round: int, accounts: tuple[bytes, ...]) -> Any:  # noqa: A002, ANN401
        self.seen.append((market, round, accounts))
        return self.answer


def run(work: Any) -> Any:  # noqa: ANN401
    return asyncio.run(work)


def test_all_are_asked_in_the_order_of_the_settings() -> None:
    asked: list[str] = []
    plugins = Plugins([Says("a", asked, "No."), Says("b", asked), Says("c", asked, "Never.")], 1)
    assert run(plugins.objections("submit", account=ADA, market="M", order=b"")) == ["No.", "Never."]
    assert asked == ["a", "b", "c"]
    assert run(plugins.objections("disclose", account=ADA, auditor=BEN, basis="grant", market=b"")) == []


@pytest.mark.parametrize("answer", [7, b"No.", ["No."], {}])
def test_an_answer_that_is_no_sentence_is_no_consent(answer: object) -> None:
    plugins = Plugins([Says("a", [], answer)], 1)
    with pytest.raises(NotScreened, match="something else than a sentence"):
        run(plugins.objections("submit", account=ADA, market="M", order=b""))


def test_what_throws_or_hangs_is_no_consent_and_says_nothing_of_why() -> None:
    with pytest.raises(NotScreened, match=r"it failed \(RuntimeError\)") as failed:
        run(Plugins([Fails()], 1).objections("submit", account=ADA, market="M", order=b""))
    assert "secret" not in failed.value.message
    Hangs.released.clear()
    with pytest.raises(NotScreened, match=r"no answer in 0\.05 s"):
        run(Plugins([Hangs()], 0.05).objections("submit", account=ADA, market="M", order=b""))
    Hangs.released.set()


@pytest.mark.parametrize("answer", ["No.", {BEN: b"No."}, {ADA: 7}])
def test_before_a_seal_only_accounts_that_stand_can_be_objected_to(answer: object) -> None:
    assert run(Plugins([Objects({ADA: "No.", BEN: "No."})], 1).objected("M", 1, [ADA])) == {ADA: "No."}
    with pytest.raises(NotScreened):
        run(Plugins([Objects(answer)], 1).objected("M", 1, [ADA]))


def test_a_sentence_is_cut_to_one_printable_line() -> None:
    plugins = Plugins([Says("a", [], "line\none\x1b[31m" + "x" * 1000), Says("b", [], "\n")], 1)
    first, second = run(plugins.objections("register", account=ADA))
    assert first.isprintable()
    assert len(first) <= 400
    assert second == "A plugin objects."


@pytest.mark.parametrize(
    "name, settings, problem",
    [
        ("no.such.module", {}, "No module named"),
        ("examples.plugins.http_screening", {}, "settings: url"),
        ("examples.plugins.http_screening", {"url": "ftp://x"}, "settings: url"),
        ("examples.plugins.http_screening", {"url": "http://x", "more": 1}, "settings: url"),
        ("json", {"a": 1}, "takes no settings"),
    ],
)
def test_a_module_that_cannot_serve_keeps_the_venue_from_starting(
    name: str, settings: Mapping[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        Plugins.load([(name, settings)], 1)
    assert name in refused.value.message


def test_an_order_a_plugin_objects_to_or_cannot_judge_is_refused_and_nothing_else(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        await v.apply(v.document())
        await v.publish()
        async with v.trader("ada") as ada, v.trader("ben") as ben:
            for plugin, code, text in (
                (Says("a", [], "The account is under review."), "policy-denied", "under review"),
                (Fails(), "not-screened", "failed"),
            ):
                v.plug(plugin)
                size = v.plain.engine.log.size
                with pytest.raises(OrderRefused, match=text) as refused:
                    await ada.submit(BUY)
                assert refused.value.code == code
                assert v.plain.engine.log.size == size
                record = v.records(Kind.DECISION)[-1].record
                assert (record.account, record.body["code"]) == (ada.address, code)
            v.plug()
            await ada.submit(BUY)
            await ben.submit(SELL)
            # A seal that a plugin cannot judge waits; who it objects to leaves.
            v.plug(Fails())
            with pytest.raises(OrderRefused) as postponed:
                await v.close()
            assert postponed.value.code == "not-screened"
            assert len(v.standing()) == 2
            objects = Objects({ben.address: "Ben is under review."})
            v.plug(objects)
            with pytest.raises(OrderRefused, match="1 orders of 1 accounts"):
                await v.close()
            assert set(v.standing()) == {ada.address}
            assert objects.seen[0][0] == "WETH-USDC"
            assert set(objects.seen[0][2]) == {ada.address, ben.address}
            release = v.records(Kind.RELEASE)[-1].record
            assert (release.account, release.body["why"]) == (ben.address, "Ben is under review.")

    desk(scenario)


def test_a_registration_can_be_objected_to(desk: Desk) -> None:
    async def scenario(v: DeskVenue) -> None:
        v.plug(Says("a", [], "Not this one."))
        with pytest.raises(OrderRefused, match="Not this one"):
            await v.office.desk.register(ADA)

    desk(scenario)


# --- the example ------------------------------------------------------------------------------------


class Service(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, tuple[int, bytes]]] = {}
    asked: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(question)
        status, body = self.answers.get(question["account"], (200, b'{"allowed": true}'))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    Service.answers, Service.asked = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/accounts"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_example_asks_a_service_once_in_a_while(service: str) -> None:
    http_screening.setup({"url": service, "timeout_ms": 2000, "keep_seconds": 60})
    Service.answers["0x" + BEN.hex()] = (200, b'{"allowed": false, "reason": "Listed elsewhere."}')
    plugins = Plugins([http_screening], 2)
    for _ in range(2):
        assert run(plugins.objections("submit", account=ADA, market="M", order=b"")) == []
    assert run(plugins.objections("submit", account=BEN, market="M", order=b"")) == ["Listed elsewhere."]
    assert run(plugins.objections("register", account=BEN)) == ["Listed elsewhere."]
    assert [(q["account"][-2:], q["market"]) for q in Service.asked] == [("0a", "M"), ("0b", "M"), ("0b", "")]


@pytest.mark.parametrize(
    "status, body",
    [
        (500, b""),
        (302, b'{"allowed": true}'),
        (200, b""),
        (200, b"yes"),
        (200, b'{"allowed": "yes"}'),
        (200, b'["allowed"]'),
        (200, b'{"allowed": true, "x": "' + b"x" * 5000 + b'"}'),
    ],
)
def test_the_example_takes_nothing_but_a_plain_answer_for_consent(
    service: str, status: int, body: bytes
) -> None:
    http_screening.setup({"url": service, "timeout_ms": 2000, "keep_seconds": 60})
    Service.answers["0x" + ADA.hex()] = (status, body)
    plugins = Plugins([http_screening], 2)
    with pytest.raises(NotScreened):
        run(plugins.objections("submit", account=ADA, market="M", order=b""))


def test_a_service_that_is_away_is_no_consent() -> None:
    http_screening.setup({"url": "http://127.0.0.1:9/v1", "timeout_ms": 200})
    with pytest.raises((NotScreened, httpx.HTTPError)):
        run(Plugins([http_screening], 2).objections("submit", account=ADA, market="M", order=b""))

"""Mutated orders and noise: the decoder and the API refuse them all, quickly, and say why."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.body import JSON_TYPE, ORDER_TYPE
from commitments.encoding import Reader
from commitments.errors import DecodeError
from commitments.order_statement import Statement
from commitments.paillier import PublicKey
from darkpool.admission import screened, unproven
from darkpool.draft import Standing
from darkpool.eip712 import SIGNATURE_BYTES, Domain, sign_digest
from darkpool.errors import OrderRefused
from darkpool.listing import ListedOrder
from darkpool.order import MAX_ORDER_BYTES, Order, SealedOrder, Terms, order_hash, signing_digest
from darkpool.types import RoundId
from darkpool.wallet import Wallet
from tests.client.plain_venue import URL, PlainVenue, plain_venue
from tests.venue_support import NOW, RICH, buy, finish, key_of, sell, signers, some_terms

SECONDS = 1.0  # of this process for one refusal; a proof alone takes a twentieth of it
WALL_SECONDS = 10.0  # for one by the API, whose workers share the machine with other tests
BYTES = 32 * MAX_ORDER_BYTES
SHORT = settings(max_examples=150)
LONG = settings(max_examples=10_000)


class Valid:
    """Two orders of one market that would be accepted; the second lends its bytes."""

    def __init__(self, order: bytes, other: bytes) -> None:
        self.order, self.other = order, other


def sealed(terms: Terms, name: str, order: Order, now: int) -> bytes:
    """An order of an account with deposits that would be accepted."""
    wallet = Wallet(terms, signers(), key_of(name), key_of(name)[::-1])
    for token in (terms.market.base, terms.market.quote):
        wallet.deposited(token, RICH)
    return finish(wallet.draft(order, Standing(RoundId(1), now)), terms, key_of(name)).raw


@pytest.fixture(scope="module")
def valid() -> Valid:
    return orders(some_terms(), NOW)


def orders(terms: Terms, now: int) -> Valid:
    return Valid(sealed(terms, "ada", buy(1, 5), now), sealed(terms, "ben", sell(2, 0), now))


# Each takes the bytes, other bytes, a <= b < len, and a number.
CHANGES: dict[str, Callable[[bytes, bytes, int, int, int], bytes]] = {
    "flip": lambda raw, _, a, __, n: raw[:a] + bytes([raw[a] ^ 1 << n % 8]) + raw[a + 1 :],
    "set": lambda raw, _, a, __, n: raw[:a] + bytes([n % 256]) + raw[a + 1 :],
    "length": lambda raw, _, a, __, n: raw[:a] + (0xFFFFFFFF, 0x7FFF, 1, 0)[n % 4].to_bytes(4) + raw[a + 4 :],
    "cut": lambda raw, _, a, *__: raw[:a],
    "drop": lambda raw, _, a, b, __: raw[:a] + raw[b:],
    "repeat": lambda raw, _, a, b, __: raw[:b] + raw[a:],
    "move": lambda raw, _, a, b, n: raw[: n % len(raw)] + raw[a:b] + raw[n % len(raw) :],
    "splice": lambda raw, other, a, b, _: raw[:a] + other[a:b] + raw[b:],
    "fill": lambda raw, _, a, b, n: raw[:a] + bytes([n % 256]) * (b - a) + raw[b:],
}
Step: TypeAlias = tuple[str, int, int, int]
"""A change and its numbers, which are cut to any length."""

STEPS = st.lists(
    st.tuples(st.sampled_from(list(CHANGES)), *[st.integers(0, 1 << 20)] * 3), min_size=1, max_size=4
)


def changed(raw: bytes, other: bytes, steps: list[Step]) -> bytes:
    for kind, first, second, number in steps:
        raw = raw or b"\0"
        a, b = sorted((first % len(raw), second % len(raw)))
        raw = CHANGES[kind](raw, other, a, b, number)[: 2 * MAX_ORDER_BYTES]
    return raw


def resigned(raw: bytes, name: str, domain: Domain) -> bytes:
    """With a signature that holds, if it has a statement: whoever attacks has an account too."""
    try:
        digest = signing_digest(domain, Statement.read(Reader(raw)), order_hash(raw))
    except DecodeError:
        return raw
    return raw[:-SIGNATURE_BYTES] + sign_digest(digest, key_of(name))


def same_order(raw: bytes, valid: bytes, *, sign: bool) -> bool:
    """Whether the changes came to nothing."""
    return raw == valid or (sign and raw[:-SIGNATURE_BYTES] == valid[:-SIGNATURE_BYTES])


def refused(raw: bytes, key: PublicKey) -> None:
    """No reader takes it for an order, whatever they are asked in. Only their own errors come out."""
    started = time.process_time()
    tracemalloc.start()
    terms = some_terms()
    try:
        for read in (SealedOrder.decode, ListedOrder.read):
            with suppress(DecodeError):
                read(raw, key)
        try:
            screened({terms.market.id: terms}, raw, NOW)
        except OrderRefused:
            pass
        else:
            assert unproven(key, [raw])
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < SECONDS


def _mutated_order(valid: Valid, steps: list[Step], *, sign: bool) -> None:
    raw = changed(valid.order, valid.other, steps)
    if sign:
        raw = resigned(raw, "ada", some_terms().domain)
    if not same_order(raw, valid.order, sign=sign):
        refused(raw, some_terms().key)


@SHORT
@given(steps=STEPS, sign=st.booleans())
def test_a_mutated_order_is_refused(valid: Valid, steps: list[Step], sign: bool) -> None:
    _mutated_order(valid, steps, sign=sign)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@LONG
@given(steps=STEPS, sign=st.booleans())
def test_many_mutated_orders_are_refused(valid: Valid, steps: list[Step], sign: bool) -> None:
    _mutated_order(valid, steps, sign=sign)


@SHORT
@given(raw=st.binary(max_size=4_096), keep=st.integers(0, 1_000))
def test_noise_is_refused(valid: Valid, raw: bytes, keep: int) -> None:
    refused(valid.order[:keep] + raw, some_terms().key)


@pytest.mark.parametrize("filler", [b"\0", b"\1", b"\x7f", b"\xff"])
@pytest.mark.parametrize("length", [0, 1, SIGNATURE_BYTES, 20_000, MAX_ORDER_BYTES, MAX_ORDER_BYTES + 1])
def test_one_byte_over_and_over_is_refused(filler: bytes, length: int) -> None:
    refused(filler * length, some_terms().key)


def test_each_byte_of_an_order_counts(valid: Valid) -> None:
    """Every byte is signed, or is the signature: screening alone refuses any other value."""
    raw, terms = valid.order, some_terms()
    screened({terms.market.id: terms}, raw, NOW)
    for at in [*range(0, len(raw), 61), *range(len(raw) - SIGNATURE_BYTES, len(raw))]:
        with pytest.raises(OrderRefused):
            screened({terms.market.id: terms}, raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :], NOW)


# --- the API ----------------------------------------------------------------------------------------


class Api:
    """A real venue in this process, and two orders it would take."""

    def __init__(
        self, runner: asyncio.Runner, plain: PlainVenue, client: httpx.AsyncClient, valid: Valid
    ) -> None:
        self.runner, self.plain, self.client, self.valid = runner, plain, client, valid

    def post(self, body: bytes, content_type: str) -> httpx.Response:
        return self.runner.run(
            self.client.post("/v1/orders", content=body, headers={"Content-Type": content_type})
        )

    def refuses(self, body: bytes, content_type: str) -> None:
        """With a problem of the caller's, at once, and nothing stored."""
        size, started = self.plain.engine.log.size, time.perf_counter()
        answer = self.post(body, content_type)
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["type"].startswith("urn:darkpool:problem:")
        assert len(answer.content) < 2_000
        assert self.plain.engine.log.size == size
        assert not self.plain.venue.intake.size
        assert time.perf_counter() - started < WALL_SECONDS


@asynccontextmanager
async def _api(folder: Path) -> AsyncIterator[tuple[PlainVenue, httpx.AsyncClient, Valid]]:
    async with (
        plain_venue(folder) as plain,
        httpx.AsyncClient(base_url=URL, transport=plain.transport) as client,
    ):
        for name in ("ada", "ben"):
            await plain.threads.chain(plain._deposit, key_of(name), [RICH, RICH])
        await plain.engine.follow_chain()
        yield plain, client, orders(plain.view.terms, int(time.time()))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with asyncio.Runner() as runner:
        opened = _api(tmp_path_factory.mktemp("fuzz"))
        made = Api(runner, *runner.run(opened.__aenter__()))
        yield made
        # Were it refused as it is, no refusal of a mutation would mean anything.
        assert made.post(made.valid.order, ORDER_TYPE).status_code == 201
        runner.run(opened.__aexit__(None, None, None))


def _mutated_body(api: Api, steps: list[Step], *, sign: bool, as_json: bool) -> None:
    raw = changed(api.valid.order, api.valid.other, steps)
    if sign:
        raw = resigned(raw, "ada", api.plain.view.terms.domain)
    if same_order(raw, api.valid.order, sign=sign):
        return
    if as_json:
        api.refuses(json.dumps({"order": base64.b64encode(raw).decode()}).encode(), JSON_TYPE)
    else:
        api.refuses(raw, ORDER_TYPE)


@SHORT
@given(steps=STEPS, sign=st.booleans(), as_json=st.booleans())
def test_the_api_refuses_a_mutated_order(api: Api, steps: list[Step], sign: bool, as_json: bool) -> None:
    _mutated_body(api, steps, sign=sign, as_json=as_json)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@LONG
@given(steps=STEPS, sign=st.booleans(), as_json=st.booleans())
def test_the_api_refuses_many_mutated_orders(api: Api, steps: list[Step], sign: bool, as_json: bool) -> None:
    _mutated_body(api, steps, sign=sign, as_json=as_json)


@SHORT
@given(steps=STEPS)
def test_the_api_refuses_a_mutated_json_body(api: Api, steps: list[Step]) -> None:
    """The text around the order, its base64, other members, other JSON."""
    body = json.dumps({"order": base64.b64encode(api.valid.order).decode()}).encode()
    body = changed(body, body[::-1], steps)
    try:
        same = json.loads(body) == {"order": base64.b64encode(api.valid.order).decode()}
    except (ValueError, RecursionError):
        same = False
    if not same:
        api.refuses(body, JSON_TYPE)


@SHORT
@given(body=st.binary(max_size=2_048), content_type=st.sampled_from([ORDER_TYPE, JSON_TYPE]))
def test_the_api_refuses_noise(api: Api, body: bytes, content_type: str) -> None:
    api.refuses(body, content_type)

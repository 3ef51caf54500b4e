"""The running app against its own OpenAPI: no 5xx but 503, and every answer as described.

Over a real socket. Requests are signed as they are sent, now by an account and now by the operator, so that
private routes and the operator's are reached too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck
from requests.auth import AuthBase
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from api.app import create_app
from darkpool.eip712 import address_of
from darkpool.request import sign_request
from darkpool.types import address_hex
from tests.api.stand_in import ADA, MARKET, OPERATOR, stand_in, terms
from tests.api.test_private import filled


class Signed(AuthBase):
    """Signs what is sent; every third request goes out unsigned."""

    _keys = cycle((ADA, OPERATOR, None))

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        key = next(self._keys)
        if key is not None:
            body = request.body or b""
            data = body if isinstance(body, bytes) else str(body).encode()
            target, method = request.path_url, request.method or "GET"
            request.headers["Authorization"] = sign_request(
                key, terms().domain, method, target, data, int(time.time()) + 30
            )
        return request


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    venue = stand_in(Path(tmp_path_factory.mktemp("schemathesis")))
    filled(venue, 5)
    config = uvicorn.Config(create_app(venue), port=0, log_level="critical", lifespan="off")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    document = requests.get(f"{base}/v1/openapi.json", timeout=10).json()
    for item in document["paths"].values():
        for operation in item.values():
            operation.pop("security", None)  # `Signed` sees to it, and would add what a test left out
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=base)
    yield schema
    server.should_exit = True
    thread.join()
    venue.store.database.close()


def _there(names: Mapping[str, Any]) -> dict[str, str]:
    """Values of path parameters that lead to something."""
    values = {
        "account": address_hex(address_of(ADA)),
        "market": "0x" + MARKET.hex(),
        "order": "0x" + (1).to_bytes(32).hex(),
        "nonce": "1",
        "sequence": "1",
    }
    return {name: values[name] for name in names if name in values}


def check_operation(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, examples: int) -> None:
    """Every second well-formed request leads to something that is there."""
    known = cycle((mode is GenerationMode.POSITIVE, False))

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    def answers(case: schemathesis.Case[Any]) -> None:
        if next(known):
            case.path_parameters = {**case.path_parameters, **_there(case.path_parameters)}
        # What a schema cannot say (checksums, proofs) may be refused still.
        case.call_and_validate(auth=Signed(), excluded_checks=[positive_data_acceptance])

    answers()


def check_all(description: schemathesis.BaseSchema, examples: int) -> int:
    """Well-formed and malformed requests to every operation; how many operations there are."""
    count = 0
    for found in description.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        count += 1
        given = [*operation.path_parameters, *operation.query, *operation.headers, *operation.body]
        for mode in GenerationMode if given else [GenerationMode.POSITIVE]:
            check_operation(operation, mode, examples)
    return count


def test_every_answer_is_as_described(description: schemathesis.BaseSchema) -> None:
    assert check_all(description, 8) > 20


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_answer_is_as_described_at_length(description: schemathesis.BaseSchema) -> None:
    assert check_all(description, 300) > 20

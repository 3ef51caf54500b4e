"""The table of problems is complete: every code raised is in it, and the API's description names them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.problems import KINDS, MEDIA_TYPE, refusals
from tests.api.stand_in import StandIn

ROOT = Path(__file__).parents[2]
RAISED = {"OrderRefused": 2, "Busy": 2}  # the place of `code` among the arguments


ELSEWHERE = (
    "darkpool/client/",
    "darkpool/gateway/",
    "darkpool/cli/",
    "darkpool/committee/",
    "compliance/authority",
    "compliance/handles.py",
    "compliance/policy_audit.py",
    "compliance/policy_query.py",
    "compliance/predicate",
)  # other processes


def codes_raised() -> Iterator[tuple[Path, str]]:
    for folder in ("api", "darkpool", "compliance"):
        for path in (ROOT / folder).rglob("*.py"):
            if str(path.relative_to(ROOT)).startswith(ELSEWHERE):
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                    continue
                place = RAISED.get(node.func.id)
                if place is None:
                    continue
                found = [k.value for k in node.keywords if k.arg == "code"] + node.args[place : place + 1]
                for value in found:
                    if isinstance(value, ast.Constant):
                        yield path, str(value.value)


def test_every_code_raised_has_its_status() -> None:
    found = list(codes_raised())
    assert len(found) > 40
    assert not [(path.name, code) for path, code in found if code not in KINDS]


def test_every_part_that_can_be_away_has_its_code() -> None:
    from api.problems import _PARTS

    assert set(_PARTS) == {"venue", "database", "chain", "committee"}
    assert set(_PARTS.values()) <= set(KINDS)


@pytest.fixture
def described(venue: StandIn) -> dict[str, Any]:
    return create_app(venue).openapi()  # type: ignore[arg-type]


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def test_every_operation_describes_its_problems(described: dict[str, Any]) -> None:
    for method, path, operation in operations(described):
        for status, response in operation["responses"].items():
            if int(status) >= 400 and path != "/v1/ready":
                assert list(response["content"]) == [MEDIA_TYPE], (method, path, status)
        due = {"429", "500"}
        if operation.get("parameters"):
            due.add("400")
        if operation.get("requestBody"):
            due |= {"400", "413", "415"}
        if operation.get("security"):
            due |= {"401", "503"}
        assert due <= operation["responses"].keys(), (method, path, due - operation["responses"].keys())


def test_every_private_operation_says_so(described: dict[str, Any]) -> None:
    private = {path for _, path, operation in operations(described) if operation.get("security")}
    assert private == {
        "/v1/accounts/{account}/collateral",
        "/v1/accounts/{account}/orders",
        "/v1/accounts/{account}/fills",
        "/v1/accounts/{account}/events",
        "/v1/accounts/{account}/grants",
        "/v1/accounts/{account}/disclosures",
        "/v1/audit/queries",
        "/v1/orders/{order}",
        "/v1/orders/{order}/evidence",
        "/v1/operator/markets/{market}/seal",
        "/v1/operator/settle",
        "/v1/operator/committee",
        "/v1/operator/committee/propose",
        "/v1/operator/halt",
        "/v1/operator/resume",
        "/v1/operator/policies",
        "/v1/operator/blocks",
        "/v1/operator/block",
        "/v1/operator/unblock",
        "/v1/operator/markets/{market}/mass-cancel",
        "/v1/accounts/{account}/access",
        "/v1/accounts/{account}/credential",
    }


def test_each_path_has_one_method(described: dict[str, Any]) -> None:
    """So that the Allow header of a 405, which names one route's, is complete."""
    assert all(len(item) == 1 for item in described["paths"].values())


def test_references_lead_somewhere_and_nothing_of_fastapis_own_is_left(described: dict[str, Any]) -> None:
    text = str(described)
    assert "HTTPValidationError" not in text
    for name in described["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text
    assert "#/components/schemas/Problem" in text


def test_every_operation_has_a_summary_and_a_description(described: dict[str, Any]) -> None:
    for method, path, operation in operations(described):
        assert operation.get("description"), (method, path)


def test_refusals_join_the_codes_of_a_status() -> None:
    found = refusals("nonce-used", "round-closed", parameters=False)
    assert list(found) == [409, 429, 500]
    assert "nonce-used" in found[409]["description"]
    assert "round-closed" in found[409]["description"]


def test_an_undefined_code_cannot_be_documented() -> None:
    with pytest.raises(KeyError):
        refusals("no-such-code")

"""Random policies and requests: Cedar agrees with a second opinion, and a forbid cannot be escaped."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from compliance.credential_check import Check
from compliance.credentials import Claim
from compliance.policy_decision import Request
from darkpool.types import address_hex
from tests.compliance.policy_support import (
    ALICE,
    ISSUER,
    MALLORY,
    OTHER_ISSUER,
    Document,
    document,
    expected,
    policy,
    request,
)

MARKETS = ("M-1", "M-2")
CODES = ("US", "US-NY", "DE", "FR", "KP")
CLASSES = ("retail", "pro")
PERMIT_ALL = '@id("anyone") @reason("Anyone.") permit (principal, action, resource);'


def some(names: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    chosen = st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)
    return st.just(["*"]) | chosen


SELECTOR: dict[str, st.SearchStrategy[Any]] = {
    "markets": some(MARKETS),
    "jurisdictions": some((*CODES, "eu")),
    "classes": some(CLASSES),
}
ISSUERS = {"issuers": some(("kyc", "bank"))}
ALLOW = st.fixed_dictionaries(SELECTOR, optional=ISSUERS)
FORBID = st.fixed_dictionaries(
    {}, optional={**SELECTOR, **ISSUERS, "list": st.sampled_from(["addresses", "countries"])}
)
LIMIT = st.fixed_dictionaries({"max_open_orders": st.integers(0, 3)}, optional={**SELECTOR, **ISSUERS})
SEGMENTS: list[list[Document]] = [
    [],
    [{"name": "us", "jurisdictions": ["US"]}],
    [{"name": "retail", "classes": ["retail"]}, {"name": "pro", "classes": ["pro"]}],
]


@st.composite
def documents(draw: st.DrawFn) -> Document:
    tables = {
        name: [
            {"id": f"{name}-{number}", "reason": "Because.", **rule}
            for number, rule in enumerate(draw(st.lists(rules, max_size=4)))
        ]
        for name, rules in (("allow", ALLOW), ("forbid", FORBID), ("limit", LIMIT))
    }
    used = {rule["list"] for rule in tables["forbid"] if "list" in rule}
    issuers = [
        {"name": name, "title": name, "address": address_hex(address), "revocations_max_age_hours": 1}
        for name, address in (("kyc", ISSUER), ("bank", OTHER_ISSUER))
    ]
    lists = [{"name": name, "kind": name, "title": name} for name in sorted(used)]
    return document(list=lists, issuer=issuers, segment=draw(st.sampled_from(SEGMENTS)), **tables)


LISTS = st.fixed_dictionaries(
    {
        "addresses": st.sampled_from(["", f"0x{MALLORY.hex()}\n", f"0x{ALICE.hex()}\n0x{MALLORY.hex()}\n"]),
        "countries": st.sampled_from(["", "US", "US-NY", "KP\nDE"]),
    }
)
REQUESTS = st.builds(
    request,
    code=st.sampled_from((*CODES, "GB")),
    investor=st.sampled_from((*CLASSES, "whale")),
    account=st.sampled_from((ALICE, MALLORY)),
    market=st.sampled_from((*MARKETS, "M-3")),
    open_orders=st.integers(0, 4),
    issuer=st.sampled_from((ISSUER, OTHER_ISSUER)),
)


def used_lists(value: Document, lists: dict[str, str]) -> dict[str, str]:
    return {entry["name"]: lists[entry["name"]] for entry in value["list"]}


@settings(max_examples=100)
@given(documents(), LISTS, st.lists(REQUESTS, min_size=8, max_size=8))
def test_cedar_decides_as_the_words_of_the_policy_do(
    value: Document, lists: dict[str, str], asked: list[Request]
) -> None:
    found = policy(value, used := used_lists(value, lists))
    for each in asked:
        decision = found.decide(each)
        assert (decision.allowed, set(decision.rules), decision.segment) == expected(value, used, each)
        assert not decision.errors


ODD: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=24),
    st.lists(st.sampled_from(CODES), max_size=2),
    st.sampled_from(Check),
)
MOST = 2**63 - 1
ERRS = (
    '@id("errs") @reason("Errs.") forbid (principal, action, resource) '
    "when {{ context.open_orders + {} < 0 }};"
)


@settings(max_examples=100)
@given(
    documents(),
    LISTS,
    REQUESTS,
    st.sampled_from([field.name for field in fields(Request)]),
    ODD,
    st.sampled_from([0, MOST]),
)
def test_what_a_forbid_names_is_denied_whatever_is_missing_or_odd(
    value: Document, lists: dict[str, str], asked: Request, name: str, odd: object, addend: int
) -> None:
    """One more rule permits everybody, and one errs for some: neither opens what a forbid names."""
    used = used_lists(value, lists)
    found = policy(value, used, extra=PERMIT_ALL, errs=ERRS.format(addend))
    against = {rule["id"] for table in ("forbid", "limit") for rule in value[table]}
    errs = addend + asked.open_orders > MOST
    if errs or expected(value, used, asked)[1] & against:
        assert not found.decide(asked).allowed
    changes: dict[str, Any] = {name: odd}
    strange = replace(asked, **changes)
    decision = found.decide(strange)
    if not well_formed(strange) or expected(value, used, strange)[1] & against:
        assert not decision.allowed
    assert decision.policy == found.hash


def well_formed(asked: Request) -> bool:
    """Whether every attribute is there and of its kind, so that the second opinion has one."""
    given: dict[str, object] = {field.name: getattr(asked, field.name) for field in fields(asked)}
    account, stated = given["account"], given["claim"]
    return (
        all(type(n) is int and 0 <= n <= MOST for n in (given["at"], given["open_orders"]))
        and isinstance(account, bytes)
        and isinstance(given["market"], str)
        and given["refused"] is None
        and isinstance(stated, Claim)
        and stated.subject == account
    )

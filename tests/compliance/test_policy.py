"""Decisions: the deciding rules, lists, segments and auditors, the hash, and that nothing fails open."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import cedarpy
import pytest

from compliance.cedar_rules import entities_json, schema_text
from compliance.credential_check import Check
from compliance.policy import Policy
from compliance.policy_decision import Request, recorded_request
from compliance.policy_lists import ListKind, read_list
from darkpool.types import Address
from tests.compliance.policy_support import (
    ALICE,
    KEYS,
    MALLORY,
    NOW,
    OTHER_ISSUER,
    claim,
    document,
    policy,
    request,
    toml,
    without_credentials,
)

LISTED = {"forbid": [{"id": "listed", "reason": "Listed.", "list": "bad"}]}
ADDRESSES = [{"name": "bad", "kind": "addresses", "title": "Bad addresses"}]
COUNTRIES = [{"name": "bad", "kind": "countries", "title": "Bad countries"}]
PERMIT_ALL = '@id("anyone") @reason("Anyone.") permit (principal, action, resource);'


def test_a_forbid_wins_and_both_say_why() -> None:
    forbid = [{"id": "no-retail", "reason": "No retail.", "classes": ["retail"]}]
    found = policy(document(forbid=forbid))
    assert found.decide(request(investor="pro")).rules == ("all",)
    denied = found.decide(request(investor="retail"))
    assert not denied.allowed
    assert [(r.rule, r.sentence) for r in denied.reasons] == [("no-retail", "No retail.")]
    assert denied.segment is None


def test_what_no_rule_allows_is_denied() -> None:
    assert policy(document(allow=[])).decide(request()).rules == ("default",)


def test_a_listed_address_is_denied_whoever_vouches() -> None:
    found = policy(document(list=ADDRESSES, **LISTED), {"bad": f"0x{MALLORY.hex()}\n"})
    assert found.decide(request()).allowed
    denied = found.decide(request(account=MALLORY))
    assert denied.rules == ("listed",)
    assert denied.listed == ("bad",)


@pytest.mark.parametrize("entry, denied", [("US", {"US", "US-NY"}), ("US-NY", {"US-NY"}), ("IR", set())])
def test_a_listed_country_covers_its_subdivisions(entry: str, denied: set[str]) -> None:
    found = policy(document(list=COUNTRIES, **LISTED), {"bad": entry})
    assert {code for code in ("US", "US-NY", "DE") if not found.decide(request(code)).allowed} == denied


def test_a_limit_counts_the_orders_that_stand() -> None:
    limit = [{"id": "three", "reason": "Three.", "markets": ["M-1"], "max_open_orders": 3}]
    found = policy(document(limit=limit))
    assert found.decide(request(open_orders=2)).allowed
    assert found.decide(request(open_orders=3)).rules == ("three",)
    assert found.decide(request(open_orders=3, market="M-2")).allowed


def test_segments_and_auditors_follow_the_account() -> None:
    auditors = [{"name": n, "title": n, "key": k} for n, k in zip(("sec", "esma"), KEYS, strict=False)]
    duties = [
        {
            "id": "us",
            "reason": "US.",
            "jurisdictions": ["US"],
            "auditors": ["sec"],
            "visible_after_hours": 2,
        },
        {
            "id": "retail",
            "reason": "Retail.",
            "classes": ["retail"],
            "auditors": ["sec", "esma"],
            "visible_after_hours": 0,
        },
    ]
    segments = [{"name": "us", "jurisdictions": ["US"]}, {"name": "eu", "jurisdictions": ["eu"]}]
    found = policy(document(auditor=auditors, disclosure=duties, segment=segments))
    assert found.decide(request("US-NY")).segment == "us"
    assert [d.visible_after for d in found.decide(request("US")).disclosures] == [7200]
    german = found.decide(request("DE"))
    assert (german.segment, german.auditor_keys) == ("eu", ())
    both = [key.encode() for key in found.decide(request("DE", "retail")).auditor_keys]
    assert both == sorted(bytes.fromhex(key[2:]) for key in KEYS[:2])
    assert found.decide(request("KP")).rules == ("no-segment",)


@pytest.mark.parametrize(
    "asked, rule",
    [
        (replace(request(), claim=None), "credential-missing"),
        (replace(request(), claim=None, refused=Check.REVOKED), "credential-revoked"),
        (replace(request(), refused=Check.FOREIGN), "credential-foreign"),
        (replace(request(), at=NOW + 1), "credential-expired"),
        (replace(request(), at=NOW - 2), "credential-early"),
        (replace(request(), account=MALLORY), "credential-subject"),
        (request(issuer=OTHER_ISSUER), "credential-issuer"),
        (request(market="M-3"), "unknown-market"),
        (request("GB"), "unknown-jurisdiction"),
        (request(investor="whale"), "unknown-class"),
    ],
)
def test_even_a_rule_that_permits_anyone_permits_only_a_good_request(asked: Request, rule: str) -> None:
    found = policy(document(), extra=PERMIT_ALL)
    assert found.decide(request()).rules == ("all", "anyone")
    denied = found.decide(asked)
    assert not denied.allowed
    assert denied.rules == (rule,)


# --- nothing fails open -----------------------------------------------------------------------------

OVERFLOWS = (
    '@id("overflows") @reason("Errs.") forbid (principal, action, resource) '
    "when { context.open_orders + 9223372036854775807 > 0 };"
)


def test_a_forbid_that_errs_denies_although_cedar_skips_it() -> None:
    found = policy(document(), extra=OVERFLOWS)
    asked = request(open_orders=1)
    naive = cedarpy.is_authorized(
        {
            "principal": {"type": "Account", "id": "0x" + ALICE.hex()},
            "action": {"type": "Action", "id": "submit"},
            "resource": {"type": "Market", "id": "M-1"},
            "context": {
                "jurisdiction": {"type": "Jurisdiction", "id": "US"},
                "investor_class": {"type": "InvestorClass", "id": "pro"},
                "issuer": {"type": "Issuer", "id": "kyc"},
                "lists": [],
                "open_orders": 1,
                "time": NOW,
            },
        },
        found.engine.text,
        entities_json(found.config),
        schema_text(found.config),
    )
    assert naive.allowed, "Cedar no longer fails open here: this test shows nothing any more"
    denied = found.decide(asked)
    assert not denied.allowed
    assert denied.rules == ("evaluation-error",)
    assert "overflow" in denied.errors[0]


@pytest.mark.parametrize(
    "odd",
    [
        {"open_orders": -1},
        {"open_orders": True},
        {"open_orders": 1.0},
        {"open_orders": None},
        {"open_orders": 2**63},
        {"open_orders": "0"},
        {"at": None},
        {"account": None},
        {"account": "0x" + ALICE.hex()},
        {"market": None},
        {"market": ["M-1"]},
        {"claim": "US"},
        {"claim": {"jurisdiction": "US"}},
    ],
    ids=str,
)
def test_an_odd_or_missing_attribute_denies(odd: dict[str, Any]) -> None:
    found = policy(document(), extra=PERMIT_ALL)
    asked = replace(request(), **odd)
    denied = found.decide(asked)
    assert not denied.allowed
    assert denied.segment is None


def test_an_engine_that_breaks_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    found = policy(document())
    monkeypatch.setattr(cedarpy, "is_authorized", lambda *_: 1 // 0)
    denied = found.decide(request())
    assert (denied.allowed, denied.rules, denied.errors) == (
        False,
        ("evaluation-error",),
        ("ZeroDivisionError",),
    )


def test_without_credentials_none_is_asked_for_and_none_can_matter() -> None:
    found = policy(without_credentials(list=ADDRESSES, **LISTED), {"bad": f"0x{MALLORY.hex()}"})
    assert found.decide(Request(ALICE, "M-1", NOW)).segment == "all"
    assert found.decide(replace(request("KP"), market="M-1")).allowed
    assert found.decide(Request(MALLORY, "M-1", NOW)).rules == ("listed",)


# --- hash and record --------------------------------------------------------------------------------


def test_layout_is_not_in_the_hash_but_every_meaning_is() -> None:
    value = document(list=ADDRESSES, **LISTED)
    files = {
        "policy.toml": toml(value),
        "lists/bad.txt": f"0x{MALLORY.hex()}\n0x{ALICE.hex()}\n".encode(),
        "extra.cedar": PERMIT_ALL.encode(),
    }
    mark = Policy(files).hash
    same = {
        "lists/bad.txt": f"# two\n\n0x{ALICE.hex().upper()}  # first\r\n  0x{MALLORY.hex()}".encode(),
        "policy.toml": b"# a comment\n" + toml(dict(reversed(value.items()))),
        "extra.cedar": PERMIT_ALL.encode(),
    }
    assert Policy(same).hash == mark
    head = {**value["policy"], "note": "From the round after."}
    others: list[dict[str, bytes]] = [
        {**files, "policy.toml": toml({**value, "policy": head})},
        {**files, "lists/bad.txt": f"0x{MALLORY.hex()}\n".encode()},
        {**files, "extra.cedar": PERMIT_ALL.encode() + b"\n"},
        {**files, "other.cedar": b""},
        {k: v for k, v in files.items() if k != "extra.cedar"},
    ]
    assert len({mark, *(Policy(each).hash for each in others)}) == 1 + len(others)


def test_the_version_of_a_list_is_what_coreutils_say(tmp_path: Path) -> None:
    text = "".join(f"0x{i:040x}\n" for i in (5, 3, 9))
    (tmp_path / "list.txt").write_text(text)
    command = ["/bin/sh", "-c", "sort list.txt | sha256sum"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    found = read_list("list.txt", text.encode(), "list", ListKind.ADDRESSES)
    assert found.version.hex() == done.stdout.decode().split()[0]


def test_a_decision_is_recorded_with_all_it_rests_on() -> None:
    found = policy(document(list=ADDRESSES, **LISTED), {"bad": f"0x{MALLORY.hex()}"})
    for asked in (request(), request(account=MALLORY), replace(request(), claim=None, refused=Check.EXPIRED)):
        decision = found.decide(asked)
        line = json.dumps(decision.as_json()).encode()
        assert recorded_request(line) == asked
        record = json.loads(line)
        assert record["policy"] == "0x" + found.hash.hex()
        assert record["lists"] == {"bad": "0x" + found.lists[0].version.hex()}


def test_a_claim_about_a_subject_of_another_length_is_nobodys() -> None:
    found = policy(document())
    asked = replace(request(), account=Address(b"\x0a"), claim=claim(subject=Address(b"\x0a")))
    assert found.decide(asked).rules == ("evaluation-error",)

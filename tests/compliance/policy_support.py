"""Policies made in memory, requests to them, and a second opinion that shares no code with the first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from commitments.group import Point
from compliance.credentials import Claim
from compliance.policy import Policy
from compliance.policy_decision import Request
from darkpool.types import Address, address_hex

NOW: Final = 1_800_000_000
ALICE: Final = Address(bytes(19) + b"\x0a")
MALLORY: Final = Address(bytes(19) + b"\x0b")
ISSUER: Final = Address(b"\x11" * 20)
OTHER_ISSUER: Final = Address(b"\x22" * 20)
KEYS: Final = tuple("0x" + Point.hash(bytes([i]), b"TEST-AUDITOR").encode().hex() for i in range(12))

Document = dict[str, Any]


def document(**tables: object) -> Document:
    """A policy.toml as data: two markets, five jurisdictions, and the tables given."""
    base: Document = {
        "policy": {
            "id": "test",
            "version": 1,
            "note": "From the next round.",
            "markets": ["M-1", "M-2"],
            "jurisdictions": ["US", "US-NY", "DE", "FR", "KP"],
            "classes": ["retail", "pro"],
        },
        "group": [{"name": "eu", "jurisdictions": ["DE", "FR"]}],
        "issuer": [
            {
                "name": "kyc",
                "title": "An issuer",
                "address": address_hex(ISSUER),
                "revocations_max_age_hours": 1,
            }
        ],
        "allow": [
            {"id": "all", "reason": "All.", "markets": ["*"], "jurisdictions": ["*"], "classes": ["*"]},
        ],
    }
    return {**base, **tables}


def without_credentials(**tables: object) -> Document:
    """A policy.toml of a venue that asks for no credential."""
    head = {"id": "open", "version": 1, "note": "Now.", "credentials": False, "markets": ["M-1"]}
    return {"policy": head, "allow": [{"id": "all", "reason": "All.", "markets": ["*"]}], **tables}


def toml(value: Document) -> bytes:
    """The text of such data; strings, numbers, booleans and lists are written as in JSON."""
    lines: list[str] = []
    for name, table in value.items():
        for row in table if isinstance(table, list) else [table]:
            lines.append(f"[[{name}]]" if isinstance(table, list) else f"[{name}]")
            lines += [f"{key} = {json.dumps(item)}" for key, item in row.items()]
    return ("\n".join(lines) + "\n").encode()


def policy(value: Document, lists: Mapping[str, str] | None = None, **cedar: str) -> Policy:
    """The policy of such data, with lists and Cedar files by name."""
    files = {"policy.toml": toml(value)}
    files |= {f"lists/{name}.txt": text.encode() for name, text in (lists or {}).items()}
    return Policy(files | {f"{name}.cedar": text.encode() for name, text in cedar.items()})


def claim(
    code: str = "US", investor: str = "pro", subject: Address = ALICE, issuer: Address = ISSUER
) -> Claim:
    """What an issuer states, from a second ago until a second from now."""
    return Claim(subject, code, investor, NOW - 1, NOW + 1, 7, issuer)


def request(
    code: str = "US",
    investor: str = "pro",
    account: Address = ALICE,
    market: str = "M-1",
    open_orders: int = 0,
    issuer: Address = ISSUER,
) -> Request:
    """An order of an account with a credential."""
    return Request(account, market, NOW, open_orders, claim(code, investor, account, issuer))


# --- a second opinion -------------------------------------------------------------------------------


def expected(value: Document, lists: Mapping[str, str], asked: Request) -> tuple[bool, set[str], str | None]:
    """Whether, by which rules and into which segment a well-formed request goes, by the words of the docs."""
    stated = asked.claim
    assert stated is not None
    hit = {name for name, text in lists.items() if _listed(text.split(), asked)}
    head = value["policy"]
    for rule, known, name in (
        ("unknown-market", head["markets"], asked.market),
        ("unknown-jurisdiction", head["jurisdictions"], stated.jurisdiction),
        ("unknown-class", head["classes"], stated.investor_class),
    ):
        if name not in known:
            return False, {rule}, None
    against = {
        rule["id"]
        for rule in value.get("forbid", [])
        if _applies(value, rule, asked) and rule.get("list") in {None, *hit}
    } | {
        rule["id"]
        for rule in value.get("limit", [])
        if _applies(value, rule, asked) and asked.open_orders >= rule["max_open_orders"]
    }
    if against:
        return False, against, None
    in_favour = {rule["id"] for rule in value.get("allow", []) if _applies(value, rule, asked)}
    if not in_favour:
        return False, {"default"}, None
    if not value.get("segment"):
        return True, in_favour, "all"
    segments = [part["name"] for part in value["segment"] if _applies(value, part, asked)]
    return (True, in_favour, segments[0]) if segments else (False, {"no-segment"}, None)


def _listed(entries: list[str], asked: Request) -> bool:
    assert asked.claim is not None
    code = asked.claim.jurisdiction
    return bool({"0x" + asked.account.hex(), code, code[:2]} & set(entries))


def _applies(value: Document, rule: Mapping[str, Any], asked: Request) -> bool:
    assert asked.claim is not None
    groups = {group["name"]: group["jurisdictions"] for group in value.get("group", [])}
    names = {issuer["name"]: issuer["address"] for issuer in value["issuer"]}
    places = [c for name in rule.get("jurisdictions", ["*"]) for c in groups.get(name, [name])]
    code = asked.claim.jurisdiction
    vouching = [names.get(name, name) for name in rule.get("issuers", ["*"])]
    return (
        _in(asked.market, rule.get("markets", ["*"]))
        and (_in(code, places) or _in(code[:2], places))
        and _in(asked.claim.investor_class, rule.get("classes", ["*"]))
        and _in(address_hex(asked.claim.issuer), vouching)
    )


def _in(item: str, chosen: list[str]) -> bool:
    return "*" in chosen or item in chosen

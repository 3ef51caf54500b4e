"""Random policies, accounts and blocks: no forbid is escaped, and a sweep takes exactly who must go."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.group import Point
from compliance.blocks import Block, BlockKind, Blocks
from compliance.credential_revocations import RevocationList
from compliance.credentials import Claim, Credential
from compliance.desk import Desk, objection
from compliance.facts import Facts, segments_of
from compliance.hooks import NotScreened, Plugins
from compliance.policy import Policy
from compliance.recorder import Recorder
from darkpool import eip712
from darkpool.book import Book
from darkpool.engine import Draft
from darkpool.listing import ListedOrder
from darkpool.types import Address, PrivateKey, address_hex
from tests.compliance.policy_support import KEYS, NOW, Document, document, expected, policy
from tests.compliance.test_policy_property import CLASSES, CODES, LISTS, documents
from tests.venue_support import some_terms

DOMAIN = eip712.Domain(31_337, Address(b"\x01" * 20))
KEY = PrivateKey(b"\x51" * 32)
ISSUER = eip712.address_of(KEY)
ACCOUNTS = tuple(Address(bytes(19) + bytes([n])) for n in (10, 11, 12))
NO_PLUGINS = Plugins([], 1)
POINTS = tuple(Point.decode(bytes.fromhex(key[2:]), "key") for key in KEYS[:2])


@dataclass
class Kept:
    """What a recorder does without a log."""

    now: int = NOW
    records: list[Any] = field(default_factory=list)

    def note(self, *records: Any) -> None:  # noqa: ANN401
        for record in records:
            record.encode()
        self.records += records

    async def flush(self) -> None:
        pass


@dataclass
class Scene:
    """A policy, who presented what, and what is blocked."""

    value: Document
    lists: dict[str, str]
    claims: dict[Address, Claim]
    blocked: tuple[tuple[BlockKind, str], ...]

    @property
    def policy(self) -> Policy:
        named = {entry["name"] for entry in self.value["list"]}
        return policy(self.value, {name: text for name, text in self.lists.items() if name in named})

    def facts(self) -> Facts:
        facts = Facts(DOMAIN)
        facts.put_in_force(self.policy)
        facts.take_revocations(RevocationList(ISSUER, DOMAIN, 1, NOW, ()).signed(KEY))
        for claim in self.claims.values():
            facts.take_credential(Credential(claim, DOMAIN).signed(KEY))
        facts.set_blocks(
            Blocks(Block(kind, subject, "Because.", "officer", NOW) for kind, subject in self.blocked)
        )
        return facts

    def stopped(self, account: Address) -> bool:
        claim = self.claims.get(account)
        names = {(BlockKind.ACCOUNT, address_hex(account)), (BlockKind.MARKET, "M-1")}
        if claim is not None:
            names |= {
                (BlockKind.JURISDICTION, claim.jurisdiction),
                (BlockKind.JURISDICTION, claim.jurisdiction[:2]),
            }
            names.add((BlockKind.ISSUER, address_hex(ISSUER)))
        return not names.isdisjoint(self.blocked)

    def answer(self, account: Address, others: int) -> tuple[bool, str | None, set[str]]:
        """Whether it may, in which segment, owing whom: by the words of the docs, not by the code."""
        from compliance.policy_decision import Request

        claim = self.claims.get(account)
        if claim is None or self.stopped(account):
            return False, None, set()
        allowed, _, segment = expected(self.value, self.lists, Request(account, "M-1", NOW, others, claim))
        owed = {"first"} if claim.jurisdiction[:2] == "US" else set()
        owed |= {"second"} if claim.investor_class == "pro" else set()
        return allowed, segment, owed


DUTIES = {
    "auditor": [
        {"name": name, "title": name, "key": key}
        for name, key in zip(("first", "second"), KEYS, strict=False)
    ],
    "disclosure": [
        {
            "id": "d1",
            "reason": "R.",
            "jurisdictions": ["US"],
            "auditors": ["first"],
            "visible_after_hours": 1,
        },
        {"id": "d2", "reason": "R.", "classes": ["pro"], "auditors": ["second"], "visible_after_hours": 1},
    ],
}
BLOCKED = st.sampled_from(
    [
        (BlockKind.MARKET, "M-1"),
        (BlockKind.JURISDICTION, "US"),
        (BlockKind.JURISDICTION, "DE"),
        (BlockKind.ACCOUNT, address_hex(ACCOUNTS[0])),
        (BlockKind.ISSUER, address_hex(ISSUER)),
    ]
)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    value = {**draw(documents()), **DUTIES}
    value["issuer"] = [
        {"name": "kyc", "title": "kyc", "address": address_hex(ISSUER), "revocations_max_age_hours": 1},
        {"name": "bank", "title": "bank", "address": "0x" + "22" * 20, "revocations_max_age_hours": 1},
    ]
    claims = {}
    for account in ACCOUNTS:
        if draw(st.booleans()):
            code, investor = draw(st.sampled_from(CODES)), draw(st.sampled_from(CLASSES))
            claims[account] = Claim(account, code, investor, NOW - 1, NOW + 100, 7, ISSUER)
    return Scene(value, draw(LISTS), claims, tuple(draw(st.lists(BLOCKED, max_size=2, unique=True))))


def an_order(account: Address, sequence: int, keys: tuple[Point, ...], policy_hash: bytes) -> ListedOrder:
    statement = SimpleNamespace(auditor_keys=keys, policy_hash=policy_hash)
    fields = {"account": account, "nonce": sequence, "sequence": sequence, "hash": bytes([sequence]) * 32}
    return cast("ListedOrder", SimpleNamespace(statement=statement, **fields))


KEYRINGS = st.sampled_from([(), POINTS[:1], POINTS[1:], POINTS])
SEGMENT = st.sampled_from(["all", "us", "retail", "pro"])


def named(keys: tuple[Point, ...]) -> set[str]:
    return {name for name, point in zip(("first", "second"), POINTS, strict=True) if point in keys}


@settings(max_examples=40, deadline=None)
@given(scenes(), st.sampled_from(ACCOUNTS), st.integers(0, 3), KEYRINGS, SEGMENT)
def test_an_order_passes_only_if_the_words_of_the_policy_let_it(
    scene: Scene, account: Address, others: int, keys: tuple[Point, ...], segment: str
) -> None:
    facts = scene.facts()
    name = "M-1" if segment == "all" else f"M-1/{segment}"
    market = replace(some_terms().market, name=name)
    allowed, own, owed = scene.answer(account, others)
    ordered = tuple(sorted(keys, key=Point.encode))
    for _ in range(2):  # from the cache too
        decision = facts.decide(account, "M-1", NOW, others)
        passes = objection(decision, an_order(account, 1, ordered, facts.hash), market) is None
        assert passes == (allowed and own == segment and named(keys) == owed)
        assert objection(decision, an_order(account, 1, ordered, bytes(32)), market) is not None
    assert (own in segments_of(scene.policy, "M-1")) or own is None


@settings(max_examples=60, deadline=None)
@given(
    scenes(), st.lists(st.tuples(st.sampled_from(ACCOUNTS), KEYRINGS), max_size=8), SEGMENT, st.integers(0, 3)
)
def test_a_sweep_takes_exactly_the_orders_that_may_stand_no_longer(
    scene: Scene, given_orders: list[tuple[Address, tuple[Point, ...]]], segment: str, sealed: int
) -> None:
    kept = Kept()
    desk = Desk(scene.facts(), cast("Recorder", kept), NO_PLUGINS)
    name = "M-1" if segment == "all" else f"M-1/{segment}"
    terms = replace(some_terms(), market=replace(some_terms().market, name=name))
    orders = [an_order(a, n, keys, bytes(32)) for n, (a, keys) in enumerate(given_orders, 1)]
    book = cast("Book", SimpleNamespace(standing=tuple(orders), unsealed=tuple(orders[sealed:]), terms=terms))
    stays: Counter[Address] = Counter()
    must_go = set()
    for position, (order, (account, keys)) in enumerate(zip(orders, given_orders, strict=True)):
        allowed, own, owed = scene.answer(account, stays[account])
        if position < sealed or (allowed and own == segment and owed <= named(keys)):
            stays[account] += 1
        else:
            must_go.add(order.sequence)
    found = asyncio.run(desk.releases(book, sealing=False))
    assert {order.sequence for release in found for order in release.orders} == must_go
    assert len(kept.records) == len(must_go)
    for release in found:  # what everybody reads says nothing of the account
        assert release.reason in {
            "halted by the operator",
            f"the policy {desk.facts.hash.hex()[:8]} has no place for it",
            "lacks a handle that the policy demands",
        }


@settings(max_examples=10, deadline=None)
@given(scenes(), st.sampled_from(ACCOUNTS))
def test_whatever_is_missing_nothing_gets_allowed_by_it(scene: Scene, account: Address) -> None:
    facts = scene.facts()
    full = facts.decide(account, "M-1", NOW, 0)
    bare = scene.facts()
    bare._credentials.clear()
    late = scene.facts().decide(account, "M-1", NOW + 7200, 0)  # the issuer's list is too old by then
    assert not bare.decide(account, "M-1", NOW, 0).allowed
    assert not late.allowed
    assert not full.allowed or account in scene.claims
    stranger = scene.facts().decide(account, "M-9", NOW, 0)
    assert not stranger.allowed


def test_orders_of_one_batch_count_against_each_other() -> None:
    """A limit of two: the third order written together is refused, and a replacement takes no place."""
    value = document(limit=[{"id": "two", "reason": "Two at most.", "max_open_orders": 2}])
    value["issuer"][0]["address"] = address_hex(ISSUER)
    claim = Claim(ACCOUNTS[0], "US", "pro", NOW - 1, NOW + 100, 7, ISSUER)
    facts = Scene({**value, "list": []}, {}, {ACCOUNTS[0]: claim}, ()).facts()
    kept = Kept()
    found = Desk(facts, cast("Recorder", kept), NO_PLUGINS)
    terms = replace(some_terms(), market=replace(some_terms().market, name="M-1"))
    orders = [an_order(ACCOUNTS[0], n, (), facts.hash) for n in range(1, 4)]
    for order in orders:
        cast("SimpleNamespace", order.statement).market = terms.market.id
    for standing, ops, refused in (
        (0, ("order", "order", "order"), {2}),
        (1, ("order", "order", "order"), {1, 2}),
        (2, ("replace", "order", "replace"), {1}),
    ):
        book = cast("Book", SimpleNamespace(terms=terms, open_orders=lambda _, n=standing: n))
        drafts = [Draft(op, {}, [b""], order) for op, order in zip(ops, orders, strict=True)]
        kept.records.clear()
        answers = asyncio.run(found.admit(drafts, {terms.market.id: book}))
        assert set(answers) == refused
        assert all(answer.facts["rule"] == "two" for answer in answers.values())
        assert [record.body["allowed"] for record in kept.records] == [n not in refused for n in range(3)]
        for position, draft in enumerate(drafts):
            if position in refused:
                with pytest.raises(NotScreened):
                    found.check(draft, {})
            else:
                found.check(draft, {})

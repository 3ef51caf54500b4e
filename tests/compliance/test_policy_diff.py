"""What a new policy does to orders that stand under the old one."""

from __future__ import annotations

from compliance.policy_diff import changes, effects
from tests.compliance.policy_support import KEYS, document, policy, request

DUTY = {"id": "d", "reason": "D.", "auditors": ["a"], "jurisdictions": ["US"], "visible_after_hours": 1}
READ = {"auditor": [{"name": "a", "title": "A", "key": KEYS[0]}], "disclosure": [DUTY]}
APART = {"segment": [{"name": "us", "jurisdictions": ["US"]}, {"name": "eu", "jurisdictions": ["eu"]}]}
ASKED = [(1, request("US")), (2, request("DE")), (3, request("KP"))]


def test_exactly_the_orders_that_lack_a_handle_or_change_segment_go() -> None:
    open_, read, apart = policy(document()), policy(document(**READ)), policy(document(**APART))
    lacking = list(effects(open_, read, ASKED))
    assert [(e.line, e.what, e.released) for e in lacking] == [(1, "other auditors", True)]
    # Handles that are no longer demanded harm nobody.
    assert [(e.line, e.released) for e in effects(read, open_, ASKED)] == [(1, False)]
    assert [(e.line, e.what, e.released) for e in effects(open_, apart, ASKED)] == [
        (1, "other segment", True),
        (2, "other segment", True),
        (3, "allowed -> denied", True),
    ]
    assert [(e.line, e.released) for e in effects(apart, open_, ASKED)][2] == (3, False)
    assert not list(effects(read, read, ASKED))


def test_where_a_rule_stands_is_no_change() -> None:
    rule = '@id("h") @reason("H.") forbid (principal, action, resource);'
    before, after = policy(document(), one=rule), policy(document(), two=f"// moved\n{rule}")
    assert not list(changes(before, after))
    assert before.hash != after.hash

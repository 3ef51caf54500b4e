"""The rule engine, made so that it cannot fail open.

Cedar denies by default, but a rule whose evaluation errs is skipped: a forbid that errs forbids nothing.
Therefore an answer is "allowed" only if Cedar says Allow, reports no error at all, and names at least one
permit and nothing but permits as its reasons. Everything else is a denial, and so is any exception, which
`Policy.decide` catches.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import cedarpy

from compliance.cedar_rules import (
    ACTION,
    WrittenRule,
    entities_json,
    generated_text,
    schema_text,
)
from compliance.policy_config import Effect, PolicyConfig, Rule
from compliance.policy_decision import Request
from compliance.policy_lists import account_text
from compliance.policy_toml import PolicyError


@dataclass(frozen=True, slots=True)
class Verdict:
    """Cedar's word: ids of the deciding rules in the policy's order, and the errors, if any."""

    allowed: bool
    rules: tuple[str, ...]
    errors: tuple[str, ...] = ()


class RuleEngine:
    """The parsed rules of one policy, kept between requests."""

    def __init__(self, file: str, config: PolicyConfig, written: tuple[WrittenRule, ...]) -> None:
        self.text = "\n".join((generated_text(config), *(f"// by hand\n{r.text}\n" for r in written)))
        rules: tuple[Rule | WrittenRule, ...] = (*config.rules, *written)
        self.sentences = {rule.id: rule.reason for rule in rules}
        self._place = {rule.id: place for place, rule in enumerate(rules)}
        self._effects = {rule.id: rule.effect for rule in rules}
        self._credentials = config.credentials
        try:
            self._schema = cedarpy.Schema.from_str(schema_text(config))
            self._rules = cedarpy.PolicySet.from_str(self.text)
            self._entities = cedarpy.Entities.from_json_str(entities_json(config), self._schema)
            faults = cedarpy.validate_policies(self.text, self._schema).errors
        except ValueError as error:
            raise PolicyError(file, None, f"its rules do not load: {str(error)[:200]}") from None
        if faults or len(self._rules) != len(rules):
            raise PolicyError(file, None, f"its rules do not validate: {str(faults[:1])[:200]}")

    def decide(self, request: Request, issuer: str, listed: tuple[str, ...]) -> Verdict:
        """What the rules say. An exception means that they could not be asked: the caller denies."""
        if request.open_orders < 0 or request.at < 0:
            raise ValueError("below zero, where a limit would not see it")
        context: dict[str, object] = {
            "lists": [_uid("List", name) for name in listed],
            "open_orders": request.open_orders,
            "time": request.at,
        }
        if self._credentials and request.claim is not None:
            context["jurisdiction"] = _uid("Jurisdiction", request.claim.jurisdiction)
            context["investor_class"] = _uid("InvestorClass", request.claim.investor_class)
            context["issuer"] = _uid("Issuer", issuer)
        found = cedarpy.is_authorized(
            {
                "principal": _uid("Account", account_text(request.account)),
                "action": _uid("Action", ACTION),
                "resource": _uid("Market", request.market),
                "context": json.dumps(context, allow_nan=False),
            },
            self._rules,
            self._entities,
            self._schema,
        )
        names = found.diagnostics.id_annotations_by_reason
        rules = tuple(sorted((names[r] for r in found.diagnostics.reasons), key=self._place.__getitem__))
        errors = tuple(found.diagnostics.errors)
        decided = {cedarpy.Decision.Allow: Effect.PERMIT, cedarpy.Decision.Deny: Effect.FORBID}
        if not errors and any(self._effects[rule] is not decided[found.decision] for rule in rules):
            errors = ("the reasons do not fit the decision",)
        allowed = found.decision is cedarpy.Decision.Allow and bool(rules) and not errors
        return Verdict(allowed, rules, errors)


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}

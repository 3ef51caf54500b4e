"""Why no rule allowed a request: for each [[allow]], the parts that do not fit."""

from __future__ import annotations

from collections.abc import Iterator

from compliance.policy import Policy
from compliance.policy_config import Effect, Rule
from compliance.policy_decision import Builtin, Decision


def near_misses(policy: Policy, decision: Decision) -> Iterator[tuple[str, str]]:
    """Id of each generated permit and what keeps it from applying; nothing unless the default denied."""
    if decision.rules != (Builtin.DEFAULT,):
        return
    for rule in policy.config.rules:
        if rule.effect is Effect.PERMIT:
            yield rule.id, ", ".join(_misfits(policy, rule, decision))


def _misfits(policy: Policy, rule: Rule, decision: Decision) -> Iterator[str]:
    request, selector = decision.request, rule.selector
    if selector.markets is not None and request.market not in selector.markets:
        yield f"market {request.market}"
    claim = request.claim if policy.config.credentials else None
    if claim is None:
        return
    if not policy.config.names(selector.jurisdictions, claim.jurisdiction):
        yield f"jurisdiction {claim.jurisdiction}"
    if selector.classes is not None and claim.investor_class not in selector.classes:
        yield f"class {claim.investor_class}"
    issuer = policy.issuers[claim.issuer].name
    if rule.issuers is not None and issuer not in rule.issuers:
        yield f"issuer {issuer}"

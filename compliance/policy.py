"""A jurisdiction policy: its files become decisions with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from compliance.cedar import RuleEngine, Verdict
from compliance.cedar_rules import written_rules
from compliance.credential_check import Check, CredentialRefused
from compliance.policy_config import Issuer
from compliance.policy_decision import (
    CREDENTIAL_SENTENCES,
    SENTENCES,
    Builtin,
    Decision,
    Reason,
    Request,
    credential_rule,
)
from compliance.policy_folder import FILE, RULES, check_names, list_file, policy_hash, read_folder
from compliance.policy_lists import NamedList, read_list
from compliance.policy_parse import parse_config
from compliance.policy_toml import PolicyError
from darkpool.types import Address


class Policy:
    """One version of a policy, from its files' bytes by name ("policy.toml", "lists/x.txt", "y.cedar").

    `folder` only says in errors where the files are. Raises PolicyError; a policy that exists is whole.
    """

    def __init__(self, files: Mapping[str, bytes], folder: Path = Path()) -> None:
        self.files = MappingProxyType(dict(files))
        file = str(folder / FILE)
        check_names(files, folder)
        if FILE not in files:
            raise PolicyError(file, None, "not found", "a policy folder holds a policy.toml")
        self.config = parse_config(file, files[FILE])
        self.lists = self._read_lists(folder)
        self.written = written_rules(
            self.config, {str(folder / n): data for n, data in files.items() if n.endswith(RULES)}
        )
        self._refuse_unused(file)
        self.engine = RuleEngine(file, self.config, self.written)
        self._issuers = {issuer.address: issuer for issuer in self.config.issuers}
        self._auditors = {auditor.name: auditor for auditor in self.config.auditors}
        self.versions = tuple((each.name, each.version) for each in self.lists)
        """Name and version of every list."""
        self.hash = policy_hash(self.files, self.lists)
        """The policy hash, 32 bytes."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The policy in a folder. Raises PolicyError, ConfigError if a file cannot be read."""
        return cls(read_folder(folder), folder)

    @property
    def issuers(self) -> Mapping[Address, Issuer]:
        """The registered issuers by address."""
        return self._issuers

    def decide(self, request: Request) -> Decision:
        """May the account place another order there now? Fails closed: whatever goes wrong is a denial.

        1. the policy names the market  2. a credential is there and counts, if the policy demands them
        3. its jurisdiction and class are the policy's  4. the rules, with the lists' look-ups, allow it
        5. the account has a segment
        """
        try:
            return self._decide(request)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not let an order through
            return self._denied(request, Builtin.ERROR, errors=(type(error).__name__,))

    def _decide(self, request: Request) -> Decision:
        claim = request.claim if self.config.credentials else None
        code, investor = (claim.jurisdiction, claim.investor_class) if claim else ("", "")
        listed = tuple(each.name for each in self.lists if each.hits(request.account, code))
        refused = self._refused(request)
        if refused is not None:
            return self._denied(request, refused, listed)
        issuer = self._issuers[claim.issuer].name if claim else ""
        verdict = self.engine.decide(request, issuer, listed)
        if not verdict.allowed:
            return self._ruled_out(request, listed, verdict)
        segment = self.config.segment(code, investor)
        if segment is None:
            return self._denied(request, Builtin.NO_SEGMENT, listed)
        duties = tuple(
            d for d in self.config.disclosures
            if self.config.selects(d.selector, request.market, code, investor)
        )  # fmt: skip
        readers = {name: self._auditors[name] for duty in duties for name in duty.auditors}
        return Decision(
            allowed=True,
            reasons=self._reasons(verdict.rules),
            policy=self.hash,
            lists=self.versions,
            request=request,
            listed=listed,
            segment=segment,
            disclosures=duties,
            auditors=tuple(sorted(readers.values(), key=lambda auditor: auditor.key.encode())),
        )

    def _refused(self, request: Request) -> Builtin | Check | None:
        """What refuses the request before any rule is asked, if anything does."""
        if request.market not in self.config.markets:
            return Builtin.UNKNOWN_MARKET
        if not self.config.credentials:
            return None
        if request.refused is not None or request.claim is None:
            return request.refused or Check.MISSING
        try:  # again, because time goes on and policies change after it was verified
            request.claim.check(self._issuers, request.account, request.at)
        except CredentialRefused as refusal:
            return refusal.check
        if request.claim.jurisdiction not in self.config.jurisdictions:
            return Builtin.UNKNOWN_JURISDICTION
        return None if request.claim.investor_class in self.config.classes else Builtin.UNKNOWN_CLASS

    def _reasons(self, rules: tuple[str, ...]) -> tuple[Reason, ...]:
        return tuple(Reason(rule, self.engine.sentences[rule]) for rule in rules)

    def _ruled_out(self, request: Request, listed: tuple[str, ...], verdict: Verdict) -> Decision:
        if verdict.errors:  # what Cedar named beside them decides nothing
            return self._denied(request, Builtin.ERROR, listed, verdict.errors)
        if not verdict.rules:
            return self._denied(request, Builtin.DEFAULT, listed)
        reasons = self._reasons(verdict.rules)
        return Decision(
            allowed=False,
            reasons=reasons,
            policy=self.hash,
            lists=self.versions,
            request=request,
            listed=listed,
        )

    def _denied(
        self,
        request: Request,
        why: Builtin | Check,
        listed: tuple[str, ...] = (),
        errors: tuple[str, ...] = (),
    ) -> Decision:
        if isinstance(why, Builtin):
            reason = Reason(why, SENTENCES[why])
        else:
            reason = Reason(credential_rule(why), CREDENTIAL_SENTENCES[why])
        return Decision(
            allowed=False,
            reasons=(reason,),
            policy=self.hash,
            lists=self.versions,
            request=request,
            listed=listed,
            errors=errors,
        )

    def _read_lists(self, folder: Path) -> tuple[NamedList, ...]:
        found = []
        for entry in sorted(self.config.lists, key=lambda each: each.name):
            name = list_file(entry.name)
            if name not in self.files:
                raise PolicyError(str(folder / name), None, "not found", "policy.toml names this list")
            found.append(read_list(str(folder / name), self.files[name], entry.name, entry.kind))
        for name in self.files.keys() - {FILE, *(list_file(each.name) for each in found)}:
            if not name.endswith(RULES):
                problem = "policy.toml has no such list"
                raise PolicyError(str(folder / name), None, problem, "add a [[list]] table")
        return tuple(found)

    def _refuse_unused(self, file: str) -> None:
        """A list that no rule uses, or an auditor whom no duty names, was meant to have an effect."""
        by_hand = {name for rule in self.written for kind, name in rule.entities if kind == "List"}
        used = by_hand | {rule.listed for rule in self.config.rules}
        readers = {name for duty in self.config.disclosures for name in duty.auditors}
        for each in self.config.lists:
            if each.name not in used:
                raise PolicyError(
                    file, None, f"list {each.name} is used by no rule", "add a [[forbid]] with it"
                )
        for auditor in self.config.auditors:
            if auditor.name not in readers:
                raise PolicyError(
                    file, None, f"auditor {auditor.name} is named by no duty", "add a [[disclosure]] with it"
                )

"""All that a decision rests on, in memory: the policy in force, credentials, revocation lists, blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from compliance.blocks import Block, Blocks
from compliance.credential_check import Check, CredentialRefused
from compliance.credential_revocations import RevocationList, Revocations
from compliance.credentials import Claim, Credential
from compliance.policy import Policy
from compliance.policy_config import WHOLE_VENUE
from compliance.policy_decision import SENTENCES, Builtin, Decision, Reason, Request
from darkpool import eip712
from darkpool.screening import PolicyTerms
from darkpool.types import Address

NO_POLICY: Final = bytes(32)
_CACHED: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Cached:
    decision: Decision
    until: int


class Facts:
    """For the vault of `domain`. `version` grows with every change that concerns more than one account.

    Of each account the credential it presented last.
    """

    def __init__(self, domain: eip712.Domain) -> None:
        self.domain: Final = domain
        self.version = 0
        self.policy: Policy | None = None
        self.blocks = Blocks()
        self.revocations = Revocations(domain)
        self._credentials: dict[Address, Credential] = {}
        self._cache: dict[tuple[Address, str], _Cached] = {}
        self._signed: set[Address] = set()  # accounts whose credential's signature was found to hold
        self._lists: dict[Address, RevocationList] = {}

    # --- changes ------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self.version += 1
        self._cache.clear()

    def put_in_force(self, policy: Policy) -> None:
        """A policy instead of the one before."""
        self.policy = policy
        self._changed()

    def take_credential(self, credential: Credential) -> None:
        """An account's credential instead of the one before.

        That is no new version: it concerns one account, which could hold up everybody's rounds else.
        """
        account = credential.claim.subject
        self._credentials[account] = credential
        self._signed.discard(account)
        for key in [key for key in self._cache if key[0] == account]:
            del self._cache[key]

    def take_revocations(self, new: RevocationList) -> None:
        """An issuer's list instead of the one before. Raises RevocationsRefused."""
        self.revocations.take(new)
        self._lists[new.issuer] = new
        self._changed()

    def set_blocks(self, blocks: Blocks) -> None:
        """Other blocks."""
        self.blocks = blocks
        self._changed()

    # --- decisions ----------------------------------------------------------------------------------

    @property
    def hash(self) -> bytes:
        """Of the policy in force; 32 zeros without one."""
        return NO_POLICY if self.policy is None else self.policy.hash

    @property
    def sequences(self) -> Mapping[Address, int]:
        """Number of the revocation list held, by issuer."""
        return self.revocations.sequences

    def credential(self, account: Address) -> Credential | None:
        """What the account presented last."""
        return self._credentials.get(account)

    def claim(self, account: Address, at: int) -> tuple[Claim | None, Check | None]:
        """What the account's credential states, or the check that it fails now."""
        held = self._credentials.get(account)
        if held is None or self.policy is None:
            return None, None
        try:
            if account not in self._signed:  # what a database kept is no better than what comes in
                held.verify(self.domain, self.policy.issuers, account, at, self.revocations)
                self._signed.add(account)
            held.claim.check(self.policy.issuers, account, at)
            self.revocations.check(self.policy.issuers[held.claim.issuer], held.claim.serial, at)
        except CredentialRefused as refused:
            return None, refused.check
        return held.claim, None

    def decide(self, account: Address, market: str, at: int, open_orders: int = 0) -> Decision:
        """May the account place another order in the market of that plain name? Fails closed, as the policy.

        at: unix seconds; open_orders: its other orders there, of a standing order the earlier ones.
        """
        cached = self._cache.get((account, market))
        if cached is not None and at < cached.until:
            asked = replace(cached.decision.request, at=at, open_orders=open_orders)
            return replace(cached.decision, request=asked)
        claim, refused = self.claim(account, at)
        request = Request(account, market, at, open_orders, claim, refused)
        if (block := self.stopping(market, account)) is not None:
            return self._stopped(request, block)
        if self.policy is None:
            return Decision(
                allowed=True, reasons=(), policy=NO_POLICY, lists=(), request=request, segment=WHOLE_VENUE
            )
        decision = self.policy.decide(request)
        if self._timeless:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            self._cache[account, market] = _Cached(decision, self._until(claim, at))
        return decision

    def stopping(self, market: str, account: Address) -> Block | None:
        """The block that stops an account in a market, if one does; its credential need not count."""
        held = self._credentials.get(account)
        return self.blocks.stopping(market, account, None if held is None else held.claim)

    def _stopped(self, request: Request, block: Block) -> Decision:
        reason = Reason(Builtin.BLOCKED, f"{SENTENCES[Builtin.BLOCKED]} {block.reason}")
        lists = () if self.policy is None else self.policy.versions
        return Decision(allowed=False, reasons=(reason,), policy=self.hash, lists=lists, request=request)

    @property
    def _timeless(self) -> bool:
        """Whether neither time nor other orders matter to the rules: those written by hand may ask both."""
        policy = self.policy
        return (
            policy is not None
            and not policy.written
            and not any(rule.open_orders is not None for rule in policy.config.rules)
        )

    def _until(self, claim: Claim | None, at: int) -> int:
        """Up to when a decision made now holds, if nothing changes but the time."""
        if claim is None or self.policy is None:
            return at + 1
        held = self._lists[claim.issuer]
        return min(claim.expires, held.issued + self.policy.issuers[claim.issuer].max_age + 1)

    # --- terms --------------------------------------------------------------------------------------

    def segments(self, market: str) -> dict[str, PolicyTerms]:
        """The segments of a market with what the policy adds to their terms; none if it has none there."""
        policy = self.policy
        if policy is None:
            return {WHOLE_VENUE: PolicyTerms()}
        return segments_of(policy, market)


def segments_of(policy: Policy, market: str) -> dict[str, PolicyTerms]:
    """The segments of a market under a policy, by name; none if the policy does not name the market."""
    config = policy.config
    if market not in config.markets:
        return {}
    names = {
        name
        for duty in config.disclosures
        if duty.selector.markets is None or market in duty.selector.markets
        for name in duty.auditors
    }
    keys = sorted((a.key for a in config.auditors if a.name in names), key=lambda key: key.encode())
    terms = PolicyTerms(policy.hash, tuple(keys))
    return dict.fromkeys([segment.name for segment in config.segments] or [WHOLE_VENUE], terms)

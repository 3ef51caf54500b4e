"""What changes a running venue's compliance: policies, credentials, revocation lists, blocks. And access.

Each change is checked whole, kept, on record, in force, and carried out: orders that may stand no longer
leave before it is answered where they can, and in any case before the next round is sealed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from commitments.auditor_key import verify
from commitments.errors import CommitmentsError
from commitments.params import MAX_AUDITOR_KEYS
from compliance.audit_record import Kind, Record
from compliance.blocks import Block, Blocks, subject_of
from compliance.credential_check import Check, CredentialRefused
from compliance.credential_revocations import RevocationList, RevocationsRefused
from compliance.credentials import Credential
from compliance.desk import HALTED, Desk
from compliance.disclosure import NamedAuditor
from compliance.facts import Facts, segments_of
from compliance.policy import Policy
from compliance.policy_decision import Decision
from compliance.policy_files import decoded, encoded
from compliance.policy_toml import PolicyError
from darkpool.errors import ConfigError, OrderRefused
from darkpool.jsonfields import hex_text
from darkpool.market import MAX_NAME
from darkpool.order import Terms
from darkpool.screening import PolicyTerms
from darkpool.segments import MAX_MARKETS, market_name
from darkpool.store.compliance_store import ComplianceStore
from darkpool.store.records import CredentialRow, PolicyRow, RevocationsRow
from darkpool.sweep import release
from darkpool.types import Address, address_hex
from darkpool.venue import Venue

T = TypeVar("T")

_EARLIER: Final = 8
CLOCK_SLACK: Final = 60
"""Seconds by which a revocation list may be ahead of the venue's clock."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A policy in force. waiting: markets that follow when their sealed round is over; released: orders."""

    policy: Policy
    waiting: tuple[str, ...]
    released: int


@dataclass(frozen=True, slots=True)
class Access:
    """What an account may do in a market of that plain name; the market of its segment, if it has one."""

    market: str
    decision: Decision
    terms: Terms | None


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A policy that is or was in force, and since when."""

    policy: Policy
    applied_at: int
    actor: str


class Office:
    """Of one venue. Every method raises StoreError, and has then changed nothing that was not kept before."""

    def __init__(self, venue: Venue, desk: Desk, venue_id: bytes) -> None:
        self._venue, self._venue_id = venue, venue_id
        self.desk: Final = desk
        self.version: PolicyVersion | None = None
        self._kept: dict[Address, bytes] = {}  # digests of revocation lists in database and audit log
        self._auditors: dict[str, NamedAuditor] | None = None
        self._earlier: dict[bytes, PolicyVersion] = {}  # that were asked for
        self._turn = asyncio.Lock()
        self._reading = asyncio.Lock()

    @property
    def facts(self) -> Facts:
        """What decisions rest on."""
        return self.desk.facts

    @property
    def markets(self) -> list[str]:
        """Plain names of the venue's markets."""
        return [market.name for market in self._venue.settings.market]

    async def _store(self, work: Callable[[ComplianceStore], T]) -> T:
        return await self._venue.read(lambda store: work(ComplianceStore(store.database)))

    async def _record(
        self, kind: Kind, actor: str, subject: str, body: Mapping[str, object], account: Address | None = None
    ) -> None:
        now = self.desk.recorder.now
        await self.desk.recorder.write([Record(kind, now, actor, subject, account, body=body)])

    async def load(self, first: Path | None = None) -> None:
        """What was in force before a restart; `first`: folder of the policy of a venue that never had one.

        Raises ConfigError if what was kept is not whole.
        """
        facts, row = self.facts, await self._store(ComplianceStore.policy)
        try:
            facts.set_blocks(Blocks(map(Block.of, await self._store(ComplianceStore.blocks))))
            for kept in await self._store(ComplianceStore.revocations):
                facts.take_revocations(RevocationList.from_bytes(kept.payload))
            for held in await self._store(ComplianceStore.credentials):
                facts.take_credential(Credential.from_bytes(held.payload))
            if row is not None:
                self._in_force(PolicyVersion(decoded(row.files), row.applied_at, row.actor))
        except (CommitmentsError, OrderRefused, ConfigError, ValueError) as error:
            raise ConfigError(
                f"compliance: what the database keeps is not whole: {error}", "restore it from a backup"
            ) from None
        if row is None and first is not None:
            policy = Policy.load(first)
            self.check(policy)
            await self._keep(policy, "settings")
        elif self.version is not None:
            await self._record(Kind.POLICY, "venue", hex_text(facts.hash), {"what": "in force at start"})

    # --- policies -----------------------------------------------------------------------------------

    def check(self, policy: Policy) -> None:
        """That a valid policy can be this venue's. Raises PolicyError.

        1. auditors' keys come with a proof for this venue  2. it names a market of the venue
        3. names of segments' markets fit, and there are not too many  4. nor too many keys for one market
        """
        domain = self.facts.domain
        for auditor in policy.config.auditors:  # 1
            if auditor.proof is None:
                problem = f"auditor {auditor.name}: no proof that anybody holds its key"
                raise PolicyError(
                    "policy.toml", None, problem, "add its `proof`; see docs/compliance-policy.md"
                )
            if auditor.proof.context.authority != auditor.name:
                problem = f"auditor {auditor.name}: its proof was made for {auditor.proof.context.authority}"
                raise PolicyError("policy.toml", None, problem, "call it so, or have it register this name")
            try:
                verify(auditor.proof, domain.chain_id, domain.contract, self._venue_id)
            except CommitmentsError as error:
                problem = f"auditor {auditor.name}: {error}"
                hint = "have the auditor register the key for this venue"
                raise PolicyError("policy.toml", None, problem, hint) from None
        names = {book.terms.market.name for book in self._venue.engine.state.books.values()}
        for market in self.markets:
            for segment, terms in segments_of(policy, market).items():
                names.add(market_name(market, segment))
                self._check_terms(market_name(market, segment), terms)
        if not set(self.markets) & set(policy.config.markets):  # 2
            raise PolicyError(
                "policy.toml", None, "it names none of the venue's markets", f"name {', '.join(self.markets)}"
            )
        if len(names) > MAX_MARKETS:
            problem = (
                f"{len(names)} markets, those of segments and closed ones included; at most {MAX_MARKETS}"
            )
            raise PolicyError("policy.toml", None, problem, "use segments that there were before")

    @staticmethod
    def _check_terms(name: str, terms: PolicyTerms) -> None:
        if len(name) > MAX_NAME:  # 3
            problem = f"the market of a segment would be called {name}; at most {MAX_NAME} characters"
            raise PolicyError("policy.toml", None, problem, "shorten the segment's name")
        if len(terms.auditor_keys) > MAX_AUDITOR_KEYS:  # 4
            problem = f"{len(terms.auditor_keys)} auditors in market {name}; at most {MAX_AUDITOR_KEYS}"
            raise PolicyError("policy.toml", None, problem, "let authorities share a key")

    async def apply(self, policy: Policy, actor: str) -> Applied:
        """Put a policy in force: what it has no place for leaves at once, unless a round is sealed.

        Raises PolicyError, and nothing changed. Raises Unavailable while the log takes nothing: then it is in
        force, no round is sealed under the old one, and markets follow by themselves.
        """
        async with self._turn:
            self.check(policy)
            await self._keep(policy, actor)
            before = self._standing()
            waiting = () if self._venue.segments is None else await self._venue.segments.follow()
            return Applied(policy, waiting, before - self._standing())

    def _standing(self) -> int:
        return sum(len(book.standing) for book in self._venue.books)

    async def _keep(self, policy: Policy, actor: str) -> None:
        now = self.desk.recorder.now
        before = hex_text(self.facts.hash)
        row = PolicyRow(policy.hash, encoded(policy.files), now, actor)
        await self._store(lambda store: store.add_policy(row))
        self._in_force(PolicyVersion(policy, now, actor))
        body = {
            "what": "applied",
            "id": policy.config.id,
            "version": policy.config.version,
            "before": before,
            "lists": {name: hex_text(version) for name, version in policy.versions},
        }
        await self._record(Kind.POLICY, actor, hex_text(policy.hash), body)

    def _in_force(self, version: PolicyVersion) -> None:
        self.facts.put_in_force(version.policy)
        self.version = version
        self._name_auditors()

    def serve(self, auditors: dict[str, NamedAuditor]) -> None:
        """Keep a disclosure's auditors those whom the policy in force names with an account."""
        self._auditors = auditors
        self._name_auditors()

    def _name_auditors(self) -> None:
        if self._auditors is None or self.version is None:
            return
        config = self.version.policy.config
        self._auditors.clear()
        for auditor in config.auditors:
            if auditor.account is not None:
                duties = [d.visible_after for d in config.disclosures if auditor.name in d.auditors]
                self._auditors[auditor.name] = NamedAuditor(auditor.account, max(duties))

    async def policy(self, policy_hash: bytes) -> PolicyVersion:
        """A policy that is or was in force. Raises OrderRefused of code policy-unknown."""
        if self.version is not None and policy_hash == self.version.policy.hash:
            return self.version
        if policy_hash in self._earlier:
            return self._earlier[policy_hash]
        row = await self._store(lambda store: store.policy(policy_hash))
        if row is None:
            raise OrderRefused(
                f"policy: {hex_text(policy_hash)} was never in force here",
                "GET /v1/policies/current",
                "policy-unknown",
            )
        async with self._reading:
            policy = await asyncio.to_thread(decoded, row.files)
        if len(self._earlier) >= _EARLIER:
            self._earlier.clear()
        found = PolicyVersion(policy, row.applied_at, row.actor)
        return self._earlier.setdefault(policy_hash, found)

    @property
    def current(self) -> PolicyVersion:
        """The policy in force. Raises OrderRefused of code policy-unknown if there is none."""
        if self.version is None:
            raise OrderRefused("policy: none is in force here", "no order needs one", "policy-unknown")
        return self.version

    # --- credentials and revocation lists -----------------------------------------------------------

    async def present(self, account: Address, data: bytes) -> Credential:
        """Keep an account's own credential. Raises CredentialRefused naming the check, OrderRefused.

        Whether it counts is asked anew at every decision.
        """
        policy, found = self.current.policy, Credential.from_bytes(data)
        now = self.desk.recorder.now
        if found.domain != self.facts.domain:
            raise CredentialRefused(
                Check.FOREIGN,
                f"it is for {address_hex(found.domain.contract)} on chain {found.domain.chain_id}",
                "have it issued for this venue's vault and chain",
            )
        if found.claim.issuer in policy.issuers:  # else the claim's own check says so
            found.check_signature()
        found.claim.check(policy.issuers, account, now)
        async with self._turn:
            if found == self.facts.credential(account):
                return found
            row = CredentialRow(account, data, now)
            await self._store(lambda store: store.save_credential(row))
            self.facts.take_credential(found)
            claim = {name: value for name, value in found.claim.as_json().items() if name != "subject"}
            await self._record(Kind.CREDENTIAL, address_hex(account), "presented", claim, account)
        return found

    async def publish(self, data: bytes) -> RevocationList:
        """Take an issuer's revocation list; the same again changes nothing.

        Raises RevocationsRefused, OrderRefused of code issuer-unknown.
        """
        async with self._reading:  # it may be long, and anybody may send one
            new = await asyncio.to_thread(RevocationList.from_bytes, data)
        now = self.desk.recorder.now
        if new.issuer not in self.current.policy.issuers:
            raise OrderRefused(
                f"issuer: {address_hex(new.issuer)} is not registered in the policy",
                "the operator registers issuers in the policy",
                "issuer-unknown",
            )
        if new.issued > now + CLOCK_SLACK:
            raise RevocationsRefused(
                f"revocations: issued at {new.issued}, now is {now}", "check the issuer's clock"
            )
        async with self._turn:
            if self._kept.get(new.issuer) == new.digest():
                return new
            if self.facts.sequences.get(new.issuer) != new.sequence:
                self.facts.take_revocations(new)
            else:
                self.facts.revocations.take(new)  # which could not be kept before; or another of its number
            row = RevocationsRow(new.issuer, data, now)
            await self._store(lambda store: store.save_revocations(row))
            body = {"issued": new.issued, "serials": len(new.serials), "digest": hex_text(new.digest())}
            await self._record(Kind.REVOCATION, address_hex(new.issuer), str(new.sequence), body)
            self._kept[new.issuer] = new.digest()
            await self._sweep()
        return new

    # --- blocks -------------------------------------------------------------------------------------

    async def block(self, kind: str, subject: str, reason: str, actor: str) -> int:
        """Stop a market, jurisdiction, account or issuer; how many orders left at once.

        Sealed orders leave with their round, which is aborted unless its clearing has begun. Raises
        OrderRefused of code bad-block.
        """
        found, name = subject_of(kind, subject, self.markets)
        block = Block(found, name, reason, actor, self.desk.recorder.now)
        async with self._turn:
            blocks = self.facts.blocks.with_(block)
            await self._store(lambda store: store.block(block.row))
            self.facts.set_blocks(blocks)
            body = {"what": "block", "kind": found.value, "reason": reason}
            await self._record(Kind.HALT, actor, name, body)
            return await self._sweep()

    async def unblock(self, kind: str, subject: str, reason: str, actor: str) -> None:
        """Lift a block. Raises OrderRefused of code bad-block, block-unknown."""
        found, name = subject_of(kind, subject, [*self.markets, subject])  # of a market that is gone too
        async with self._turn:
            blocks = self.facts.blocks.without(found, name)
            body = {"what": "unblock", "kind": found.value, "reason": reason}
            await self._record(Kind.HALT, actor, name, body)
            await self._store(lambda store: store.unblock(found.value, name))
            self.facts.set_blocks(blocks)

    def blocks(self) -> list[Block]:
        """All there are."""
        return list(self.facts.blocks)

    async def mass_cancel(self, market: str, reason: str, actor: str) -> int:
        """Release every unsealed order of a market of that plain name; how many."""
        async with self._turn:
            await self._record(Kind.RELEASE, actor, market, {"what": "mass cancel", "reason": reason})
            books = [b for b in self._venue.books if b.terms.market.instrument == market]
            engine = self._venue.engine
            return sum([await release(engine, book, book.unsealed, HALTED) for book in books])

    async def _sweep(self) -> int:
        return 0 if self._venue.segments is None else await self._venue.segments.sweep()

    async def operator(self, what: str, actor: Address, body: Mapping[str, object]) -> None:
        """On record: the operator is about to do something by hand."""
        await self._record(Kind.OPERATOR, address_hex(actor), what, body)

    # --- access -------------------------------------------------------------------------------------

    def access(self, account: Address) -> list[Access]:
        """What an account may do now, in every market of the venue."""
        return [self._access(account, market) for market in self.markets]

    def _access(self, account: Address, market: str) -> Access:
        now, venue = self.desk.recorder.now, self._venue
        books = [book for book in venue.books if book.terms.market.instrument == market]
        others = sum(book.open_orders(account) for book in books)
        decision = self.facts.decide(account, market, now, others)
        own = (b.terms for b in books if b.terms.market.segment == decision.segment)
        return Access(market, decision, next(own, None))

"""What a new version of a policy changes: in its text, and for decisions that were recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from commitments.errors import DecodeError
from compliance.policy import Policy
from compliance.policy_decision import Decision, Request, recorded_request
from compliance.policy_toml import PolicyError

MAX_RECORDS: Final = 1_000_000
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. what: added, removed or changed; detail: a few words, if they help."""

    kind: str
    name: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.what} {self.kind} {self.name}" + (f": {self.detail}" if self.detail else "")


def changes(old: Policy, new: Policy) -> Iterator[Change]:
    """Every difference that can matter to a decision, in the order of policy.toml."""
    before, after = old.config, new.config
    yield from _scalars(old, new)
    for kind in ("market", "jurisdiction", "class"):
        name = "classes" if kind == "class" else f"{kind}s"
        names = (dict.fromkeys(getattr(config, name)) for config in (before, after))
        yield from _named(kind, *names)
    yield from _named("group", before.groups, after.groups)
    yield from _lists(old, new)
    yield from _named("issuer", *({i.name: i for i in c.issuers} for c in (before, after)))
    yield from _named("auditor", *({a.name: a for a in c.auditors} for c in (before, after)))
    yield from _named("rule", *({r.id: r for r in c.rules} for c in (before, after)))
    yield from _named("disclosure", *({d.id: d for d in c.disclosures} for c in (before, after)))
    yield from _named("segment", *({s.name: s for s in c.segments} for c in (before, after)))
    # Where in its file a rule stands is no difference.
    written = ({r.id: replace(r, file="", line=0) for r in p.written} for p in (old, new))
    yield from _named("written rule", *written)


def _scalars(old: Policy, new: Policy) -> Iterator[Change]:
    for name in ("id", "version", "note", "credentials"):
        before, after = getattr(old.config, name), getattr(new.config, name)
        if before != after:
            yield Change("policy", name, "changed", f"{before} -> {after}")


def _named(kind: str, before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[Change]:
    for name in before:
        if name not in after:
            yield Change(kind, name, "removed")
        elif before[name] != after[name]:
            yield Change(kind, name, "changed")
    yield from (Change(kind, name, "added") for name in after if name not in before)


def _lists(old: Policy, new: Policy) -> Iterator[Change]:
    before, after = ({each.name: each for each in policy.lists} for policy in (old, new))
    for change in _named("list", before, after):
        if change.what != "changed":
            yield change
            continue
        was, now = before[change.name].entries, after[change.name].entries
        more, fewer = sorted(now - was), sorted(was - now)
        shown = [f"+{e}" for e in more[:_SHOWN]] + [f"-{e}" for e in fewer[:_SHOWN]]
        yield replace(change, detail=f"{len(more)} more, {len(fewer)} fewer: {', '.join(shown)}")


# --- what if ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Effect:
    """A recorded request that the two policies answer differently; `line` of the record, from 1."""

    line: int
    old: Decision
    new: Decision

    @property
    def what(self) -> str:
        """In what they differ first."""
        words = {True: "allowed", False: "denied"}
        if self.old.allowed is not self.new.allowed:
            return f"{words[self.old.allowed]} -> {words[self.new.allowed]}"
        if self.old.segment != self.new.segment:
            return "other segment"
        return "other auditors" if self.old.auditors != self.new.auditors else "other rules"

    @property
    def released(self) -> bool:
        """Whether an order that stands under the old policy could not stay under the new as it is."""
        lacks = {a.key.encode() for a in self.new.auditors} - {a.key.encode() for a in self.old.auditors}
        moved = self.old.segment != self.new.segment
        return self.old.allowed and (not self.new.allowed or moved or bool(lacks))


def effects(old: Policy, new: Policy, requests: Iterable[tuple[int, Request]]) -> Iterator[Effect]:
    """The requests, with their lines, that the new policy answers differently.

    Both are asked anew, with the facts of the record: what the credential stated then, and the time.
    """
    for line, request in requests:
        effect = Effect(line, old.decide(request), new.decide(request))
        if _answer(effect.old) != _answer(effect.new):
            yield effect


def _answer(decision: Decision) -> tuple[object, ...]:
    return decision.allowed, decision.rules, decision.segment, decision.auditors


def read_records(file: str, data: bytes) -> list[tuple[int, Request]]:
    """The requests of recorded decisions, one JSON object a line. Raises PolicyError with the line."""
    found: list[tuple[int, Request]] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        if len(found) == MAX_RECORDS:
            raise PolicyError(file, number, f"more than {MAX_RECORDS} decisions", "split the file")
        try:
            found.append((number, recorded_request(line)))
        except DecodeError as error:
            raise PolicyError(
                file, number, f"no recorded decision: {error}", "one JSON object a line"
            ) from None
    return found

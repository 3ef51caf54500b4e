"""Cedar text: the schema of a policy, the rules generated from its toml, and rules written beside them.

A request is `principal` (Account), `action` (always submit), `resource` (Market) and a `context` in which
every attribute is always there, so no rule can be escaped by leaving one out:

    jurisdiction, investor_class, issuer   of the verified credential; absent if the policy has credentials
                                           off, and then no rule can name them
    lists                                  names of the lists that the account or its jurisdiction is on
    open_orders, time                      other open orders in the market; unix seconds

Jurisdictions form a hierarchy: `context.jurisdiction in Jurisdiction::"US"` also holds for "US-NY", and
`in Group::"eea"` for every member of the group. A rule written by hand needs `@id` and `@reason`. Long lists
stay outside of Cedar: only the result of the look-up enters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cedarpy
from cedarpy import pst

from compliance.policy_config import Effect, PolicyConfig, Rule
from compliance.policy_decision import RESERVED
from compliance.policy_lists import country
from compliance.policy_parse import is_name
from compliance.policy_toml import MAX_TEXT, PolicyError, quoted

MAX_CEDAR_BYTES: Final = 1 << 16
MAX_RULE: Final = 2048
"""Most characters of one rule: Cedar's parser recurses, and a long or deep one could end the process."""
MAX_DEPTH: Final = 32

ACTION: Final = "submit"
_ACCOUNT: Final = re.compile(r"0x[0-9a-f]{40}")
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|//[^\n]*|[;(){}\[\]]', re.DOTALL)
_BLANK: Final = re.compile(r"(?:\s|//[^\n]*(?:\n|\Z))*")


@dataclass(frozen=True, slots=True)
class WrittenRule:
    """A rule from a .cedar file; `line` is where it begins."""

    id: str
    effect: Effect
    reason: str
    text: str
    file: str
    line: int
    entities: frozenset[tuple[str, str]]


# --- schema and entities ----------------------------------------------------------------------------


def schema_text(config: PolicyConfig) -> str:
    """The schema: names that the policy does not have are errors, not conditions that never hold."""
    enums = {
        "Market": config.markets,
        "Group": tuple(config.groups),
        "InvestorClass": config.classes,
        "Issuer": tuple(i.name for i in config.issuers),
        "List": tuple(entry.name for entry in config.lists),
    }
    context = ["lists: Set<List>", "open_orders: Long", "time: Long"]
    if config.credentials:
        context += ["jurisdiction: Jurisdiction", "investor_class: InvestorClass", "issuer: Issuer"]
    # An enumeration cannot be empty; without the word, no entity of the type ever comes.
    types = [
        f"entity {kind} enum [{', '.join(map(json.dumps, names))}];" if names else f"entity {kind};"
        for kind, names in enums.items()
    ]
    shape = f"principal: Account, resource: Market, context: {{ {', '.join(context)} }}"
    head = ["entity Account;", "entity Jurisdiction in [Jurisdiction, Group];"]
    return "\n".join([*head, *types, f'action "{ACTION}" appliesTo {{ {shape} }};'])


def entities_json(config: PolicyConfig) -> str:
    """Every jurisdiction below its country and its groups, as Cedar's JSON."""
    parents: dict[str, list[dict[str, str]]] = {}
    for code in config.jurisdictions:
        above = [{"type": "Jurisdiction", "id": country(code)}] if country(code) != code else []
        groups = [
            name for name, codes in config.groups.items() if not {code, country(code)}.isdisjoint(codes)
        ]
        parents[code] = [*above, *({"type": "Group", "id": name} for name in groups)]
    return json.dumps(
        [
            {"uid": {"type": "Jurisdiction", "id": code}, "attrs": {}, "parents": above}
            for code, above in parents.items()
        ]
    )


# --- generated rules --------------------------------------------------------------------------------


def generated_text(config: PolicyConfig) -> str:
    """The rules of the toml in Cedar, in its order."""
    return "\n".join(_generated(config, rule) for rule in config.rules)


def _generated(config: PolicyConfig, rule: Rule) -> str:
    conditions = [*_conditions(config, rule)]
    when = f"\nwhen {{ {' && '.join(conditions)} }}" if conditions else ""
    head = f"{rule.effect} (principal, action == Action::{json.dumps(ACTION)}, resource)"
    return f"// {rule.reason}\n@id({json.dumps(rule.id)})\n{head}{when};\n"


def _conditions(config: PolicyConfig, rule: Rule) -> Iterator[str]:
    selector = rule.selector
    if selector.markets is not None:
        yield f"resource in [{_uids('Market', selector.markets)}]"
    if selector.jurisdictions is not None:
        groups = [name for name in selector.jurisdictions if name in config.groups]
        codes = [name for name in selector.jurisdictions if name not in config.groups]
        # Two sets, because a set has elements of one type.
        sets = [_uids(kind, names) for kind, names in (("Group", groups), ("Jurisdiction", codes)) if names]
        yield f"({' || '.join(f'context.jurisdiction in [{named}]' for named in sets)})"
    if selector.classes is not None:
        yield f"context.investor_class in [{_uids('InvestorClass', selector.classes)}]"
    if rule.issuers is not None:
        yield f"context.issuer in [{_uids('Issuer', rule.issuers)}]"
    if rule.listed is not None:
        yield f"context.lists.contains({_uids('List', [rule.listed])})"
    if rule.open_orders is not None:
        yield f"context.open_orders >= {rule.open_orders}"


def _uids(kind: str, names: Sequence[str]) -> str:
    return ", ".join(f"{kind}::{json.dumps(name)}" for name in names)


# --- rules written beside them ----------------------------------------------------------------------


def written_rules(config: PolicyConfig, files: Mapping[str, bytes]) -> tuple[WrittenRule, ...]:
    """The rules of the .cedar files, by name of the file. Raises PolicyError with the line of the rule."""
    schema = cedarpy.Schema.from_str(schema_text(config))
    taken = {rule.id for rule in config.rules} | {duty.id for duty in config.disclosures}
    found: list[WrittenRule] = []
    for file in sorted(files):
        for line, text in _statements(file, files[file]):
            rule = _written(config, schema, file, line, text)
            if rule.id in taken or rule.id in RESERVED:
                raise PolicyError(file, line, f"@id({quoted(rule.id)}) is taken", "choose another")
            taken.add(rule.id)
            found.append(rule)
    return tuple(found)


def _statements(file: str, data: bytes) -> Iterator[tuple[int, str]]:
    """Each rule with the line it begins on."""
    if len(data) > MAX_CEDAR_BYTES:
        raise PolicyError(file, None, f"over {MAX_CEDAR_BYTES} bytes", "split the file")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PolicyError(file, line, "not UTF-8", "save it as UTF-8") from None
    begin = depth = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        depth += (mark in {"(", "[", "{"}) - (mark in {")", "]", "}"})
        if depth > MAX_DEPTH or depth < 0:
            raise PolicyError(
                file,
                _line(text, token.start()),
                "brackets do not match, or are too deep",
                f"nest up to {MAX_DEPTH}",
            )
        if mark == ";":
            yield _statement(file, text, begin, token.end())
            begin = token.end()
    if _BLANK.fullmatch(text, begin) is None:
        raise PolicyError(file, _line(text, _start(text, begin)), "the rule has no end", "end it with ;")


def _statement(file: str, text: str, begin: int, end: int) -> tuple[int, str]:
    start = _start(text, begin)
    line = _line(text, start)
    if end - start > MAX_RULE:
        raise PolicyError(file, line, f"a rule of {end - start} characters; at most {MAX_RULE}", "split it")
    return line, text[start:end]


def _start(text: str, begin: int) -> int:
    blank = _BLANK.match(text, begin)
    return blank.end() if blank else begin


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _written(config: PolicyConfig, schema: cedarpy.Schema, file: str, line: int, text: str) -> WrittenRule:
    try:
        tree = cedarpy.PolicySet.from_str(text).to_pst()
        faults = [fault.error for fault in cedarpy.validate_policies(text, schema).errors]
    except ValueError as error:
        raise PolicyError(file, line, f"not a Cedar rule: {str(error)[:200]}", "correct the rule") from None
    if tree.templates or len(tree.static_policies) != 1:
        raise PolicyError(file, line, "not one rule without slots", "write out ?principal and ?resource")
    if faults:
        problem = faults[0].removeprefix("for policy `policy0`").lstrip(":, ")
        raise PolicyError(
            file, line, f"it does not fit the schema: {problem[:300]}", "see `policy check --cedar`"
        )
    (policy,) = tree.static_policies.values()
    name, reason = policy.annotations.get("id"), policy.annotations.get("reason")
    if name is None or not is_name(name):
        raise PolicyError(file, line, "a rule without @id, or one not of a-z 0-9 -", 'write @id("my-rule")')
    if reason is None or not reason.isprintable() or not 0 < len(reason.strip()) <= MAX_TEXT:
        hint = 'write @reason("Why, in a sentence.")'
        raise PolicyError(file, line, f"a rule without @reason of 1 to {MAX_TEXT} characters", hint)
    entities = frozenset((str(uid.type), uid.id) for uid in pst.entity_uids(policy))
    for kind, named in sorted(entities):
        _check_entity(config, file, line, kind, named)
    return WrittenRule(name, Effect(policy.effect), reason, text, file, line, entities)


def _check_entity(config: PolicyConfig, file: str, line: int, kind: str, name: str) -> None:
    """What the schema cannot: a rule about an account or a jurisdiction that never comes would never hold."""
    if kind == "Account" and not _ACCOUNT.fullmatch(name):
        raise PolicyError(file, line, f"Account::{quoted(name)}", "write 0x and 40 lower-case digits")
    codes = {*config.jurisdictions, *map(country, config.jurisdictions)}
    if kind == "Jurisdiction" and name not in codes:
        raise PolicyError(file, line, f"Jurisdiction::{quoted(name)} is unknown", "name it in [policy]")

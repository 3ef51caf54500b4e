"""From the text of policy.toml to a `PolicyConfig` whose names all resolve."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Final

from commitments.auditor_key import Registration, verify
from commitments.errors import CommitmentsError, DecodeError, VerificationError
from commitments.group import Point
from commitments.params import MAX_AUDITOR_KEYS, POINT_BYTES
from compliance.policy_config import (
    Disclosure,
    Effect,
    Issuer,
    ListEntry,
    PolicyAuditor,
    PolicyConfig,
    Rule,
    Segment,
    Selector,
)
from compliance.policy_decision import RESERVED
from compliance.policy_lists import ListKind, is_code
from compliance.policy_toml import PolicyError, Source, Table
from darkpool.jsonfields import read_hex
from darkpool.types import Address, parse_address

MAX_MARKETS: Final = 64
MAX_JURISDICTIONS: Final = 512
MAX_CLASSES: Final = 16
MAX_TABLES: Final = 256
"""Most tables of one kind, for example of [[allow]]."""
MAX_SEGMENTS: Final = 16
MAX_OPEN: Final = 1 << 16
MAX_HOURS: Final = 10 * 366 * 24

_ANY: Final = "*"
_HOUR: Final = 3600
_MARKET: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_NAMES: Final = "1 to 63 of a-z 0-9 -, the first no -"
_CODES: Final = "an ISO 3166 code like US or US-NY"
_PROOF: Final = re.compile(r"0x(?:[0-9a-f]{2}){1,1024}")
_TABLES: Final = (
    "policy", "group", "list", "issuer", "auditor", "allow", "forbid", "limit", "disclosure", "segment",
)  # fmt: skip


def is_name(text: str) -> bool:
    """Whether it may name a rule, class, list, group, issuer, auditor or segment."""
    return _NAME.fullmatch(text) is not None


def parse_config(file: str, data: bytes) -> PolicyConfig:
    """The policy of a TOML text. Raises PolicyError naming file, line, table, key and what is allowed."""
    source = Source(file, data)
    source.refuse_others(_TABLES)
    return _Parser(source).config()


class _Parser:
    """Reads the tables in the order in which they name each other."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._taken: dict[str, set[str]] = {}
        self._markets: tuple[str, ...] = ()
        self._jurisdictions: tuple[str, ...] = ()
        self._classes: tuple[str, ...] = ()
        self._credentials = True
        self._groups: dict[str, tuple[str, ...]] = {}

    def config(self) -> PolicyConfig:
        head = self._source.one("policy")
        name, version = head.text("id", _NAMES, is_name), head.whole("version", 1, (1 << 32) - 1)
        note = head.sentence("note")
        self._credentials = head.flag("credentials", default=True)
        self._markets = head.names("markets", "1 to 64 of A-Z a-z 0-9 . _ -", _MARKET.fullmatch, MAX_MARKETS)
        if self._credentials:
            self._jurisdictions = head.names("jurisdictions", _CODES, is_code, MAX_JURISDICTIONS)
            self._classes = head.names("classes", _NAMES, is_name, MAX_CLASSES)
        head.end()
        self._groups = dict(map(self._group, self._tables("group", if_credentials=True)))
        lists = tuple(map(self._list, self._tables("list")))
        issuers = tuple(map(self._issuer, self._tables("issuer", if_credentials=True)))
        auditors = tuple(map(self._auditor, self._tables("auditor")))
        known = tuple(issuer.name for issuer in issuers)
        files = {entry.name: entry for entry in lists}
        rules = (
            *(self._allow(table, known) for table in self._tables("allow")),
            *(self._forbid(table, known, files) for table in self._tables("forbid")),
            *(self._limit(table, known) for table in self._tables("limit")),
        )
        readers = tuple(auditor.name for auditor in auditors)
        duties = self._tables("disclosure")
        disclosures = tuple(self._disclosure(table, readers) for table in duties)
        parts = self._tables("segment", if_credentials=True, limit=MAX_SEGMENTS)
        segments = tuple(map(self._segment, parts))
        config = PolicyConfig(
            name, version, note, self._credentials, self._markets, self._jurisdictions, self._classes,
            self._groups, lists, issuers, auditors, rules, disclosures, segments,
        )  # fmt: skip
        self._check_readers(config)
        self._check_partition(config, parts)
        return config

    # --- tables -----------------------------------------------------------------------------------------

    def _tables(self, name: str, *, if_credentials: bool = False, limit: int = MAX_TABLES) -> list[Table]:
        tables = self._source.many(name, limit)
        if tables and if_credentials and not self._credentials:
            raise tables[0].refused(
                None, "needs credentials, which [policy] turns off", "remove one of the two"
            )
        return tables

    def _group(self, table: Table) -> tuple[str, tuple[str, ...]]:
        name = self._name(table, "group")
        codes = self._known(table, "jurisdictions", self._jurisdictions)
        table.end()
        return name, codes

    def _list(self, table: Table) -> ListEntry:
        name, title = self._name(table, "list"), table.sentence("title")
        kind = ListKind(table.text("kind", f"one of {', '.join(ListKind)}", set(ListKind).__contains__))
        if kind is ListKind.COUNTRIES and not self._credentials:
            raise table.refused("kind", "countries need credentials, which [policy] turns off")
        table.end()
        return ListEntry(name, kind, title)

    def _issuer(self, table: Table) -> Issuer:
        name, title = self._name(table, "issuer"), table.sentence("title")
        text = table.text("address", "0x and 40 hexadecimal digits", lambda t: bool(parse_address(t)))
        self._once(table, "address", text.lower())
        chosen = self._chosen(table, "jurisdictions", (*self._groups, *self._jurisdictions))
        codes = None if chosen is None else frozenset(c for n in chosen for c in self._groups.get(n, (n,)))
        hours = table.whole("revocations_max_age_hours", 1, MAX_HOURS)
        table.end()
        return Issuer(name, title, parse_address(text), codes, hours * _HOUR)

    def _auditor(self, table: Table) -> PolicyAuditor:
        name, title = self._name(table, "auditor"), table.sentence("title")
        digits = f"0x and {2 * POINT_BYTES} lower-case hexadecimal digits"
        text = table.text("key", digits, lambda t: _fits(lambda: read_hex(t, "key", POINT_BYTES)))
        self._once(table, "key", text)
        try:
            key = Point.decode(read_hex(text, "key", POINT_BYTES), "key")
        except DecodeError as error:
            raise table.refused("key", error.problem, "copy the auditor's key again") from None
        account, proof = self._signer(table), self._proof(table, key)
        table.end()
        return PolicyAuditor(name, title, key, account, proof)

    @staticmethod
    def _signer(table: Table) -> Address | None:
        if not table.has("account"):
            return None
        form = "0x and 40 hexadecimal digits"
        return parse_address(table.text("account", form, lambda t: bool(parse_address(t))))

    @staticmethod
    def _proof(table: Table, key: Point) -> Registration | None:
        """The proof of possession, which must hold for the key wherever it was registered."""
        if not table.has("proof"):
            return None
        text = table.text("proof", "0x and lower-case hexadecimal digits", _PROOF.fullmatch)
        try:
            proof = Registration.decode(bytes.fromhex(text[2:]))
            if proof.key != key:
                raise VerificationError("proof", "it is of another key")
            context = proof.context
            verify(proof, context.chain_id, context.contract, context.venue)
        except CommitmentsError as error:
            hint = "have the auditor register the key again"
            raise table.refused("proof", str(error), hint) from None
        return proof

    def _allow(self, table: Table, issuers: tuple[str, ...]) -> Rule:
        for key in ("markets", *(("jurisdictions", "classes") if self._credentials else ())):
            if not table.has(key):
                raise table.refused(
                    None, f"{key} is missing", f'name them, or write {key} = ["{_ANY}"] for all'
                )
        return self._rule(table, Effect.PERMIT, issuers)

    def _forbid(self, table: Table, issuers: tuple[str, ...], lists: dict[str, ListEntry]) -> Rule:
        listed = None
        if table.has("list"):
            listed = table.text("list", f"one of {', '.join(lists)}", lists.__contains__)
        return self._rule(table, Effect.FORBID, issuers, listed=listed)

    def _limit(self, table: Table, issuers: tuple[str, ...]) -> Rule:
        return self._rule(table, Effect.FORBID, issuers, most=table.whole("max_open_orders", 0, MAX_OPEN))

    def _rule(
        self,
        table: Table,
        effect: Effect,
        issuers: tuple[str, ...],
        listed: str | None = None,
        most: int | None = None,
    ) -> Rule:
        name, reason, selector = self._id(table), table.sentence("reason"), self._selector(table)
        chosen = self._chosen(table, "issuers", issuers)
        table.end()
        return Rule(name, effect, reason, selector, chosen, listed, most)

    def _disclosure(self, table: Table, auditors: tuple[str, ...]) -> Disclosure:
        name, reason, selector = self._id(table), table.sentence("reason"), self._selector(table)
        chosen = self._known(table, "auditors", auditors)
        hours = table.whole("visible_after_hours", 0, MAX_HOURS)
        table.end()
        return Disclosure(name, reason, selector, chosen, hours * _HOUR)

    def _segment(self, table: Table) -> Segment:
        name = self._name(table, "segment")
        selector = self._selector(table, markets=False)
        table.end()
        return Segment(name, selector)

    # --- parts of tables --------------------------------------------------------------------------------

    def _name(self, table: Table, kind: str) -> str:
        return self._fresh(table, "name", kind)

    def _id(self, table: Table) -> str:
        name = self._fresh(table, "id", "rule")
        if name in RESERVED:
            raise table.refused("id", f"{name!r} is the name of a built-in reason", "choose another")
        return name

    def _fresh(self, table: Table, key: str, kind: str) -> str:
        name = table.text(key, _NAMES, is_name)
        if name in self._taken.setdefault(kind, set()):
            raise table.refused(key, f"{name!r} is taken by a {kind} above", "choose another")
        self._taken[kind].add(name)
        return name

    def _once(self, table: Table, key: str, value: str) -> None:
        if value in self._taken.setdefault(f"value of {key}", set()):
            raise table.refused(key, "two tables have the same", "each needs its own")
        self._taken[f"value of {key}"].add(value)

    def _selector(self, table: Table, *, markets: bool = True) -> Selector:
        return Selector(
            self._chosen(table, "markets", self._markets) if markets else None,
            self._chosen(table, "jurisdictions", (*self._groups, *self._jurisdictions)),
            self._chosen(table, "classes", self._classes),
        )

    def _chosen(self, table: Table, key: str, known: tuple[str, ...]) -> tuple[str, ...] | None:
        """Names, or None for any: if the key is not there, or ["*"]."""
        if not table.has(key):
            return None
        if not known:
            raise table.refused(key, "there is nothing of that kind to name", "remove the line")
        names = self._known(table, key, (_ANY, *known))
        if _ANY not in names:
            return names
        if len(names) > 1:
            raise table.refused(key, f'"{_ANY}" and others', f'either ["{_ANY}"] or names')
        return None

    def _known(self, table: Table, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
        return table.names(key, f"one of {', '.join(known)}", known.__contains__, max(len(known), 1))

    # --- the whole --------------------------------------------------------------------------------------

    def _accounts(self) -> Iterator[tuple[str, str]]:
        """Every jurisdiction with every class."""
        yield from product(self._jurisdictions or ("",), self._classes or ("",))

    def _check_readers(self, config: PolicyConfig) -> None:
        """An order has room for so many auditors' handles."""
        if len(config.auditors) <= MAX_AUDITOR_KEYS:
            return
        for market, (code, investor) in product(config.markets, self._accounts()):
            duties = (d for d in config.disclosures if config.selects(d.selector, market, code, investor))
            count = len({name for duty in duties for name in duty.auditors})
            if count > MAX_AUDITOR_KEYS:
                who = f"{investor} accounts of {code} in {market}"
                raise PolicyError(
                    self._source.file, None,
                    f"{count} auditors for {who}; an order has room for {MAX_AUDITOR_KEYS}",
                    "let authorities share a key",
                )  # fmt: skip

    @staticmethod
    def _of(config: PolicyConfig, code: str, investor: str) -> list[int]:
        return [
            index
            for index, segment in enumerate(config.segments)
            if config.selects(segment.selector, "", code, investor)
        ]

    def _check_partition(self, config: PolicyConfig, tables: list[Table]) -> None:
        """No account is in two segments; one that is in none is denied when it asks."""
        for code, investor in self._accounts() if tables else ():
            found = self._of(config, code, investor)
            if len(found) > 1:
                first, second = (config.segments[index].name for index in found[:2])
                raise tables[found[1]].refused(
                    None,
                    f"{investor} accounts of {code} are in {first} and in {second}",
                    "let every account be in one segment",
                )


def _fits(read: Callable[[], object]) -> bool:
    try:
        read()
    except DecodeError:
        return False
    return True

"""A plugin may object to a query before it is answered, and the attempt is on record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from compliance.disclosure import DisclosingVenue, Disclosure, Recorder
from compliance.disclosure_query import Basis, Query
from compliance.hooks import Plugins, darkpool_hook
from compliance.screened_disclosure import ScreenedDisclosure
from darkpool.errors import OrderRefused
from darkpool.types import Address, PrivateKey

ACCOUNT, AUDITOR = Address(b"\x0a" * 20), Address(b"\x0b" * 20)


class Says:
    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.seen: list[tuple[bytes, bytes, str]] = []

    @darkpool_hook
    def disclose(self, account: bytes, auditor: bytes, basis: str) -> Any:  # noqa: ANN401
        self.seen.append((account, auditor, basis))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    "answer, said",
    [("Not without a judge.", "Not without a judge"), (RuntimeError(), "it failed"), (7, "else")],
)
def test_an_objection_refuses_and_is_recorded(answer: object, said: str) -> None:
    records: list[tuple[str, Mapping[str, object], Address]] = []

    async def record(
        kind: str, _: str, body: Mapping[str, object], *, account: Address, visible_at: int
    ) -> None:
        assert visible_at == 0
        records.append((kind, body, account))

    plugin = Says(answer)
    found = screened(plugin, cast("Recorder", record))
    with pytest.raises(OrderRefused, match=said) as refused:
        asyncio.run(found.query(AUDITOR, query()))
    assert (refused.value.code, refused.value.facts) == ("query-refused", {"check": "plugin"})
    ((kind, body, account),) = records
    assert (kind, body["outcome"], account) == ("query", "plugin", ACCOUNT)
    assert plugin.seen == [(ACCOUNT, AUDITOR, "policy")]


def test_without_an_objection_the_query_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answered(*_: object) -> str:
        return "answered"

    monkeypatch.setattr(Disclosure, "query", answered)
    found = screened(Says(None), cast("Recorder", None))
    assert cast("str", asyncio.run(found.query(AUDITOR, query()))) == "answered"


def screened(plugin: Says, record: Recorder) -> ScreenedDisclosure:
    venue = cast("DisclosingVenue", None)
    return ScreenedDisclosure(venue, PrivateKey(b"\x01" * 32), record, Plugins([plugin], 1))


def query() -> Query:
    return Query(
        basis=Basis.POLICY,
        market=b"\x03" * 32,
        first_day=1,
        last_day=2,
        authority="sec",
        legal_reference="17 CFR 242",
        account=ACCOUNT,
    )

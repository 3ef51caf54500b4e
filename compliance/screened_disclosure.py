"""Disclosure whose queries plugins are asked about too, before they are answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from compliance.disclosure import DisclosingVenue, Disclosure, NamedAuditor, Recorder
from compliance.disclosure_answer import Answer
from compliance.disclosure_query import Basis, Query
from compliance.hooks import NotScreened, Plugins
from darkpool.errors import OrderRefused
from darkpool.types import Address, PrivateKey, address_hex

PLUGIN: Final = "plugin"


class ScreenedDisclosure(Disclosure):
    """As Disclosure. An objection, or no answer of a plugin, refuses the query by the check "plugin"."""

    def __init__(
        self,
        venue: DisclosingVenue,
        operator: PrivateKey,
        record: Recorder,
        plugins: Plugins,
        auditors: Mapping[str, NamedAuditor] | None = None,
    ) -> None:
        super().__init__(venue, operator, record, auditors)
        self._plugins, self._written = plugins, record

    async def query(self, auditor: Address, query: Query) -> Answer:
        """As Disclosure, after the plugins. A query they refuse is on record too."""
        account = await self._about(query)
        if account is not None:
            await self._ask(auditor, account, query)
        return await super().query(auditor, query)

    async def _about(self, query: Query) -> Address | None:
        if query.basis is not Basis.GRANT:
            return query.account
        kept = await self._kept(query.grant)
        return None if kept is None else kept.grant.header.account

    async def _ask(self, auditor: Address, account: Address, query: Query) -> None:
        try:
            sentences = await self._plugins.objections(
                "disclose",
                account=account,
                auditor=auditor,
                basis=query.basis.value,
                market=query.market,
            )
        except NotScreened as error:
            sentences = [error.message]
        if not sentences:
            return
        body = {**query.as_json(), "signed_by": address_hex(auditor), "outcome": PLUGIN, "why": sentences}
        await self._written("query", address_hex(auditor), body, account=account, visible_at=0)
        raise OrderRefused(
            f"query, {PLUGIN}: {' '.join(sentences)}", "ask the operator", "query-refused", {"check": PLUGIN}
        )

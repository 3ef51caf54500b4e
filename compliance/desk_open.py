"""Opens the compliance desk of a venue that is being opened: audit log, plugins, what was in force before."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from compliance.audit_key import audit_signer
from compliance.audit_log import AuditLog
from compliance.desk import Desk
from compliance.facts import Facts
from compliance.hooks import Plugins
from compliance.office import Office
from compliance.recorder import Recorder
from darkpool import eip712
from darkpool.store.audit_store import AuditStore
from darkpool.venue import Venue

T = TypeVar("T")


async def open_office(
    stack: AsyncExitStack, venue: Venue, folder: Path, venue_id: bytes, domain: eip712.Domain
) -> Office:
    """The office of a venue, which screens it from now on. Raises ConfigError, StoreError."""
    settings, signer = venue.settings.compliance, audit_signer(folder, venue_id)
    log = await venue.read(lambda store: AuditLog.open(AuditStore(store.database), signer))
    recorder = Recorder(log, lambda call: venue.read(lambda _: call()))
    modules = [(plugin.module, plugin.settings) for plugin in settings.plugin]
    plugins = Plugins.load(modules, settings.hook_seconds)
    stack.callback(plugins.close)
    office = Office(venue, Desk(Facts(domain), recorder, plugins), venue_id)
    await office.load(Path(settings.policy) if settings.policy else None)
    venue.engine.audit_head = recorder.head
    venue.engine.screening = office.desk
    return office

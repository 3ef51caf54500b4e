"""What the compliance desk keeps besides its audit log: policies, credentials, revocation lists, blocks."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, insert

from darkpool.store.database import Database
from darkpool.store.records import BlockRow, CredentialRow, PolicyRow, RevocationsRow
from darkpool.store.rows import BLOCKS, CREDENTIALS, POLICIES, REVOCATION_LISTS

_policies: Final = POLICIES.table.c
_blocks: Final = BLOCKS.table.c


class ComplianceStore:
    """Every method raises StoreError, and has then written nothing."""

    __slots__ = ("database",)

    def __init__(self, database: Database) -> None:
        self.database: Final = database

    def add_policy(self, row: PolicyRow) -> None:
        """Keeps an applied policy, which is in force from now on."""
        values = {name: value for name, value in POLICIES.values(row).items() if name != "number"}
        with self.database.writing("keep a policy") as connection:
            connection.execute(insert(POLICIES.table), [values])

    def policy(self, policy_hash: bytes | None = None) -> PolicyRow | None:
        """The policy applied last, of all or of that hash."""
        where = [] if policy_hash is None else [_policies.hash == policy_hash]
        with self.database.reading("read a policy") as connection:
            return POLICIES.first(connection, POLICIES.select(*where).order_by(_policies.number.desc()))

    def save_credential(self, row: CredentialRow) -> None:
        """Keeps an account's credential instead of the one before."""
        with self.database.writing("keep a credential") as connection:
            CREDENTIALS.upsert(connection, [row])

    def credentials(self) -> list[CredentialRow]:
        """Every account's."""
        with self.database.reading("read credentials") as connection:
            return CREDENTIALS.read(connection, CREDENTIALS.select())

    def save_revocations(self, row: RevocationsRow) -> None:
        """Keeps an issuer's list instead of the one before."""
        with self.database.writing("keep a revocation list") as connection:
            REVOCATION_LISTS.upsert(connection, [row])

    def revocations(self) -> list[RevocationsRow]:
        """Every issuer's."""
        with self.database.reading("read revocation lists") as connection:
            return REVOCATION_LISTS.read(connection, REVOCATION_LISTS.select())

    def block(self, row: BlockRow) -> None:
        """Keeps a block instead of one of the same subject."""
        with self.database.writing("keep a block") as connection:
            BLOCKS.upsert(connection, [row])

    def unblock(self, kind: str, subject: str) -> None:
        """Forgets a block, if there is one."""
        with self.database.writing("forget a block") as connection:
            connection.execute(delete(BLOCKS.table).where(_blocks.kind == kind, _blocks.subject == subject))

    def blocks(self) -> list[BlockRow]:
        """All, by kind and subject."""
        with self.database.reading("read blocks") as connection:
            return BLOCKS.read(connection, BLOCKS.select().order_by(_blocks.kind, _blocks.subject))

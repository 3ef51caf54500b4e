"""Grants of accounts to auditors, their revocations, and auditors' queries. Frozen, like every step."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From venues without disclosure."""
    integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "grants",
        sa.Column("position", integer, autoincrement=True, nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("auditor", sa.LargeBinary(), nullable=False),
        sa.Column("expires", integer, nullable=False),
        sa.Column("received_at", integer, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_grants"),
        sa.UniqueConstraint("id", name="uq_grants_id"),
    )
    op.create_index("ix_grants_account_position", "grants", ["account", "position"])
    op.create_index("ix_grants_auditor_position", "grants", ["auditor", "position"])
    op.create_table(
        "grant_revocations",
        sa.Column("grant", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", integer, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("grant", name="pk_grant_revocations"),
    )
    op.create_table(
        "disclosure_queries",
        sa.Column("number", integer, autoincrement=True, nullable=False),
        sa.Column("at", integer, nullable=False),
        sa.Column("visible_at", integer, nullable=False),
        sa.Column("auditor", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("basis", sa.String(length=16), nullable=False),
        sa.Column("grant", sa.LargeBinary(), nullable=True),
        sa.Column("authority", sa.String(), nullable=False),
        sa.Column("legal_reference", sa.String(), nullable=False),
        sa.Column("market", sa.LargeBinary(), nullable=False),
        sa.Column("first_day", integer, nullable=False),
        sa.Column("last_day", integer, nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_disclosure_queries"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_disclosure_queries_account_number", "disclosure_queries", ["account", "number"])

"""The audit log and its checkpoints. Frozen, like every step."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_INT64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """From venues that kept none."""
    op.create_table(
        "audit_entries",
        sa.Column("sequence", _INT64, autoincrement=False, nullable=False),
        sa.Column("at", _INT64, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=True),
        sa.Column("visible_at", _INT64, nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_entries"),
    )
    op.create_index("ix_audit_entries_account_sequence", "audit_entries", ["account", "sequence"])
    op.create_table(
        "audit_checkpoints",
        sa.Column("size", _INT64, autoincrement=False, nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_audit_checkpoints"),
    )

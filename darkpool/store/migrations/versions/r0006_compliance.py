"""Policies, credentials, revocation lists and blocks. Frozen, like every step."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_INT64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """From venues without a policy."""
    op.create_table(
        "policies",
        sa.Column("number", _INT64, autoincrement=True, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("files", sa.LargeBinary(), nullable=False),
        sa.Column("applied_at", _INT64, nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_policies"),
    )
    op.create_index("ix_policies_hash", "policies", ["hash"])
    op.create_table(
        "credentials",
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("presented_at", _INT64, nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_credentials"),
    )
    op.create_table(
        "revocation_lists",
        sa.Column("issuer", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("published_at", _INT64, nullable=False),
        sa.PrimaryKeyConstraint("issuer", name="pk_revocation_lists"),
    )
    op.create_table(
        "blocks",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("at", _INT64, nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name="pk_blocks"),
    )

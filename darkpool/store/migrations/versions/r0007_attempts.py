"""Several attempts at clearing a list: which was the latest, what was revealed, who was charged. Frozen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_INT64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """From one attempt a list."""
    with op.batch_alter_table("attempts") as table:
        table.add_column(sa.Column("attempts", _INT64, nullable=False, server_default="0"))
    with op.batch_alter_table("attempts") as table:
        table.alter_column("attempts", existing_type=_INT64, server_default=None)
    op.create_table(
        "pins",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("code", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "step", name="pk_pins"),
    )
    op.create_table(
        "blame",
        sa.Column("position", _INT64, autoincrement=True, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("attempt", _INT64, nullable=False),
        sa.Column("member", _INT64, nullable=False),
        sa.Column("charge", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("at", _INT64, nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_blame"),
    )

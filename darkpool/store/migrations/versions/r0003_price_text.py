"""A round keeps its price as decimal text, for its market's grid may be another one later.

Rounds that are there already have none: the grid they cleared on is not in the tables. Frozen, like every
step.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From prices in levels alone."""
    op.add_column("rounds", sa.Column("price_text", sa.String(), nullable=True))

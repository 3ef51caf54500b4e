"""Settlements of several rounds: a round names the digest of its settlement, a settlement lists its rounds.

Signatures move into the payload, and were there before. Frozen, like every step.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from darkpool.store.database import StoreError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SETTLEMENTS = sa.table(
    "settlements",
    sa.column("digest", sa.LargeBinary()),
    sa.column("market", sa.LargeBinary()),
    sa.column("round", sa.BigInteger()),
    sa.column("state", sa.String()),
    sa.column("rounds", sa.String()),
)
_ROUNDS = sa.table(
    "rounds",
    sa.column("market", sa.LargeBinary()),
    sa.column("number", sa.BigInteger()),
    sa.column("settled_by", sa.LargeBinary()),
)


def upgrade() -> None:
    """From one settlement a round."""
    connection, s, r = op.get_bind(), _SETTLEMENTS.c, _ROUNDS.c
    under_way = connection.scalar(
        sa.select(sa.func.count()).select_from(_SETTLEMENTS).where(s.state.in_(("pending", "submitted")))
    )
    if under_way:
        raise StoreError(
            f"database: {under_way} settlements of an earlier version of darkpool are not final",
            "start that version once more, and wait until they are settled or void",
        )
    with op.batch_alter_table("settlements") as table:
        table.add_column(sa.Column("rounds", sa.String(), nullable=False, server_default="[]"))
        table.add_column(sa.Column("flows", sa.String(), nullable=False, server_default="[]"))
    op.add_column("rounds", sa.Column("settled_by", sa.LargeBinary(), nullable=True))
    for digest, market, number in connection.execute(sa.select(s.digest, s.market, s.round)).all():
        rounds = json.dumps([[bytes(market).hex(), number]])
        connection.execute(sa.update(_SETTLEMENTS).where(s.digest == digest).values(rounds=rounds))
        ended = sa.and_(r.market == market, r.number == number)
        connection.execute(sa.update(_ROUNDS).where(ended).values(settled_by=digest))
    with op.batch_alter_table("settlements") as table:
        for name in ("market", "round", "signatures"):
            table.drop_column(name)
        for name in ("rounds", "flows"):
            table.alter_column(name, server_default=None)
    with op.batch_alter_table("rounds") as table:
        table.drop_column("settlement")
        table.alter_column("settled_by", new_column_name="settlement")

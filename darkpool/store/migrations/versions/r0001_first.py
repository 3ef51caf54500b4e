"""The first layout: the log, the operator's read model, the members' records.

Frozen: a later layout is a new step, so this one names its types itself.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_INT64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _int(name: str, *, serial: bool = False, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, _INT64, autoincrement=serial, nullable=null)


def _unsigned(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _bytes(name: str, *, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=null)


def _word(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(16), nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)


def upgrade() -> None:
    """From nothing."""
    op.create_table(
        "accounts",
        _bytes("account"),
        _int("registered_at"),
        _bytes("signature"),
        sa.PrimaryKeyConstraint("account", name="pk_accounts"),
    )
    op.create_table(
        "attempts",
        _int("position", serial=True),
        _bytes("digest"),
        _bytes("market"),
        _int("round"),
        _word("state"),
        _bytes("root"),
        _bytes("payload"),
        _bytes("signature", null=True),
        sa.PrimaryKeyConstraint("position", name="pk_attempts"),
        sa.UniqueConstraint("digest", name="uq_attempts_digest"),
    )
    op.create_index("ix_attempts_market_position", "attempts", ["market", "position"])
    op.create_table(
        "boxes",
        _bytes("market"),
        _int("round"),
        _bytes("account"),
        _int("member"),
        _bytes("box"),
        sa.PrimaryKeyConstraint("market", "round", "account", "member", name="pk_boxes"),
    )
    op.create_table(
        "checkpoints",
        _int("sequence"),
        _bytes("data"),
        sa.PrimaryKeyConstraint("sequence", name="pk_checkpoints"),
    )
    op.create_table(
        "cursors", _text("name"), _int("position"), sa.PrimaryKeyConstraint("name", name="pk_cursors")
    )
    op.create_table(
        "entries",
        _int("sequence"),
        _bytes("leaf"),
        _bytes("data"),
        sa.PrimaryKeyConstraint("sequence", name="pk_entries"),
    )
    op.create_table(
        "events",
        _int("id", serial=True),
        _int("at"),
        _bytes("account", null=True),
        _text("kind"),
        _text("data"),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_account_id", "events", ["account", "id"])
    op.create_table(
        "fills",
        _bytes("market"),
        _int("round"),
        _bytes("account"),
        _int("sequence"),
        _int("net"),
        _word("state"),
        sa.PrimaryKeyConstraint("market", "round", "account", name="pk_fills"),
    )
    op.create_index("ix_fills_account_sequence", "fills", ["account", "sequence"])
    op.create_table(
        "handed",
        _int("position", serial=True),
        _bytes("hash"),
        _bytes("raw"),
        _int("received_at"),
        _word("state"),
        _text("reason"),
        sa.PrimaryKeyConstraint("position", name="pk_handed"),
        sa.UniqueConstraint("hash", name="uq_handed_hash"),
    )
    op.create_index("ix_handed_state_position", "handed", ["state", "position"])
    op.create_table(
        "orders",
        _bytes("hash"),
        _int("sequence"),
        _bytes("market"),
        _bytes("account"),
        _unsigned("nonce"),
        _unsigned("first_round"),
        _int("time_in_force"),
        _unsigned("valid_until"),
        _int("accepted_at"),
        _word("state"),
        _text("reason"),
        _int("ended_round", null=True),
        _int("ended_sequence", null=True),
        _bytes("replaced_by", null=True),
        sa.PrimaryKeyConstraint("hash", name="pk_orders"),
        sa.UniqueConstraint("account", "nonce", name="uq_orders_account_nonce"),
        sa.UniqueConstraint("sequence", name="uq_orders_sequence"),
    )
    op.create_index("ix_orders_account_sequence", "orders", ["account", "sequence"])
    op.create_index("ix_orders_state", "orders", ["state"])
    op.create_table(
        "receipts",
        _bytes("subject"),
        _int("sequence"),
        _text("payload"),
        sa.PrimaryKeyConstraint("subject", name="pk_receipts"),
    )
    op.create_index("ix_receipts_sequence", "receipts", ["sequence"])
    op.create_table(
        "requests",
        _bytes("account"),
        _bytes("nonce"),
        _int("expires"),
        sa.PrimaryKeyConstraint("account", "nonce", name="pk_requests"),
    )
    op.create_index("ix_requests_expires", "requests", ["expires"])
    op.create_table(
        "rounds",
        _bytes("market"),
        _int("number"),
        _word("state"),
        _int("reference"),
        _text("reference_price"),
        _text("source"),
        _int("opened_at"),
        _int("open_sequence"),
        _bytes("terms_hash"),
        _int("sealed_at", null=True),
        _int("orders", null=True),
        _int("accounts", null=True),
        _bytes("root", null=True),
        _bytes("digest", null=True),
        _int("price", null=True),
        _int("volume", null=True),
        _int("settlement", null=True),
        _int("seal_sequence", null=True),
        _int("result_sequence", null=True),
        _text("reason"),
        sa.PrimaryKeyConstraint("market", "number", name="pk_rounds"),
    )
    op.create_index("ix_rounds_state", "rounds", ["state"])
    op.create_table(
        "sealed",
        _bytes("market"),
        _int("round"),
        _int("position"),
        _int("sequence"),
        _bytes("leaf"),
        sa.PrimaryKeyConstraint("market", "round", "position", name="pk_sealed"),
    )
    op.create_table(
        "settlements",
        _bytes("digest"),
        _int("id"),
        _bytes("market"),
        _int("round"),
        _int("sequence"),
        _bytes("payload"),
        _int("created_at"),
        _int("sealed_at"),
        _word("state"),
        _bytes("signatures"),
        _bytes("tx_hash", null=True),
        _int("block", null=True),
        _int("gas", null=True),
        sa.PrimaryKeyConstraint("digest", name="pk_settlements"),
        sa.UniqueConstraint("sequence", name="uq_settlements_sequence"),
    )
    op.create_index("ix_settlements_id", "settlements", ["id"])
    op.create_index("ix_settlements_state", "settlements", ["state"])

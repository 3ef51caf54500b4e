"""Alembic's entry: runs the steps on the connection, and in the transaction, that `Database` hands over."""

from __future__ import annotations

from alembic import context

from darkpool.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
)
context.run_migrations()

"""Alembic's entry point. It runs on the connection, and inside the transaction, that alembic_runner hands over."""

from __future__ import annotations

from alembic import context

from usageflow.storage.sql.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite can roll DDL back; Alembic assumes that it cannot unless it is told.
    transactional_ddl=True,
    now_us=context.config.attributes["now_us"],
)
with context.begin_transaction():
    context.run_migrations()

"""Runs migrations by Alembic inside a transaction of the caller. Imported only where there is something to migrate."""

from __future__ import annotations

import io
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from usageflow.storage.sql.collation import order_text_by_bytes

SCRIPTS = Path(__file__).parent / "migrations"


def config_for(connection: Connection, *, now_us: int) -> Config:
    """Returns Alembic's configuration for one connection; ``now_us`` is Unix time for rows that migrations add."""
    config = Config(stdout=io.StringIO(), output_buffer=io.StringIO())
    # A percent sign begins an interpolation in Alembic's settings, and a folder's name may hold one.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["now_us"] = now_us
    return config


def upgrade(connection: Connection, revision: str, *, now_us: int) -> None:
    """Takes the database up to a revision; nothing is committed here."""
    command.upgrade(config_for(connection, now_us=now_us), revision)
    order_text_by_bytes(connection)


def downgrade(connection: Connection, revision: str, *, now_us: int) -> None:
    """Takes the database down to a revision (``base``: before the first); nothing is committed here."""
    command.downgrade(config_for(connection, now_us=now_us), revision)
    order_text_by_bytes(connection)

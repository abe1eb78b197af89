"""Events and ids of reports in a partition per UTC day, on PostgreSQL. SQLite has none, and stays as it is."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_DAY_S = 86_400
_DAY_US = _DAY_S * 1_000_000


def upgrade() -> None:
    """Makes the tables anew, with a partition for each day that there are rows of."""
    if op.get_bind().dialect.name != "postgresql":
        return
    _part("report_ids", "day", 1)
    op.execute("CREATE TABLE report_ids_undated PARTITION OF report_ids FOR VALUES FROM (0) TO (1)")
    _bring_over("report_ids")
    op.execute("ALTER TABLE report_ids ADD PRIMARY KEY (application_id, record_id, day)")
    _part("events", "time_us", _DAY_US)
    _bring_over("events")
    op.execute("ALTER TABLE events ADD PRIMARY KEY (time_us, row_id)")
    op.create_index("ix_events_row", "events", ["row_id"])


def downgrade() -> None:
    """Puts all rows into plain tables again."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in ("report_ids", "events"):
        _rename(table)
        op.execute(f"CREATE TABLE {table} (LIKE old_{table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        _bring_over(table)
    op.execute("ALTER TABLE report_ids ADD PRIMARY KEY (application_id, record_id, day)")
    op.execute("ALTER TABLE events ADD PRIMARY KEY (row_id)")
    op.create_index("ix_events_time", "events", ["time_us"])


def _part(table: str, column: str, step: int) -> None:
    """Makes a table of partitions beside the old one; ``step`` is a day in its column. What is of no other day has a place too."""
    _rename(table)
    op.execute(
        f"CREATE TABLE {table} (LIKE old_{table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE ({column})"
    )
    op.execute(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")
    days = sa.text(f"SELECT DISTINCT {column} / {step} FROM old_{table} WHERE {column} >= {step}")  # noqa: S608 - our own names
    for day in op.get_bind().scalars(days).all():
        name = f"{table}_{datetime.fromtimestamp(day * _DAY_S, UTC):%Y%m%d}"
        span = f"FROM ({day * step}) TO ({(day + 1) * step})"
        op.execute(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES {span}")


def _rename(table: str) -> None:
    op.execute(f"ALTER TABLE {table} RENAME TO old_{table}")


def _bring_over(table: str) -> None:
    if table == "events":  # else the numbers would go with the old table
        op.execute("ALTER SEQUENCE events_row_id_seq OWNED BY events.row_id")
    op.execute(f"INSERT INTO {table} SELECT * FROM old_{table}")  # noqa: S608 - our own names
    op.execute(f"DROP TABLE old_{table}")

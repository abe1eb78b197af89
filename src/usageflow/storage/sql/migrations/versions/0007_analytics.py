"""Usage that is read in sums: series, rollups, and events and deltas that name them.

Events and deltas are made anew: what was reported before is brought over, in the new shape.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SUMS = ("requests", "whole", "pico", "request_bytes", "response_bytes")
_LABELS = ("status", "denied", "reason", "degraded", "policy", "shadow")
_ROLLUPS = ("usage_minutes", "usage_hours", "usage_days", "identity_hours", "identity_days")
_PAGE = 10_000


def upgrade() -> None:
    """Makes the tables and brings events and deltas over."""
    for name in ("first_used", "last_used"):
        op.add_column("endpoint_names", sa.Column(name, sa.BigInteger, nullable=True))
    op.execute("CREATE TEMPORARY TABLE old_events AS SELECT * FROM events")
    op.execute("CREATE TEMPORARY TABLE old_deltas AS SELECT * FROM usage_deltas")
    op.execute("CREATE TEMPORARY TABLE old_metering AS SELECT * FROM metering_deltas")
    for table in ("events", "usage_deltas", "metering_deltas"):
        op.drop_table(table)
    _create_series()
    _create_events()
    _create_deltas()
    _create_metering()
    _create_rollups()
    _bring_over()


def downgrade() -> None:
    """Goes back to the old tables, without the events and sums: those cannot be taken apart again. What is to be billed stays."""
    op.execute("CREATE TEMPORARY TABLE kept_metering AS SELECT * FROM metering_deltas")
    for table in (*_ROLLUPS, "metering_deltas", "usage_deltas", "events", "usage_series"):
        op.drop_table(table)
    for name in ("first_used", "last_used"):
        op.drop_column("endpoint_names", name)
    _create_old_events()
    _create_old_deltas()
    _create_metering(nobody_is_null=True)
    columns = "row_id, application_id, endpoint_id, NULLIF(pseudonym, 0), policy, price, revision, second, requests, whole, pico, part"
    op.execute(f"INSERT INTO metering_deltas SELECT {columns} FROM kept_metering")  # noqa: S608 - our own names
    op.execute("DROP TABLE kept_metering")
    _number_on("metering_deltas")


def _create_series() -> None:
    op.create_table(
        "usage_series",
        sa.Column("series_id", _ROW_ID, primary_key=True),
        sa.Column("application_id", sa.Text, nullable=False),
        sa.Column("endpoint_id", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("denied", sa.Boolean, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in _LABELS[2:]),
        sa.UniqueConstraint("application_id", "endpoint_id", *_LABELS, name="uq_usage_series_labels"),
    )


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("row_id", _ROW_ID, primary_key=True),
        sa.Column("application_id", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("series_id", sa.BigInteger, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("pseudonym", sa.BigInteger, nullable=False),
        sa.Column("latency_us", sa.BigInteger, nullable=False),
        sa.Column("quantity", sa.Double, nullable=False),
        sa.Column("request_bytes", sa.BigInteger, nullable=False),
        sa.Column("response_bytes", sa.BigInteger, nullable=False),
        sa.Column("detail_json", sa.Text, nullable=False),
    )
    op.create_index("ix_events_time", "events", ["time_us"])


def _create_deltas() -> None:
    op.create_table(
        "usage_deltas",
        sa.Column("row_id", _ROW_ID, primary_key=True),
        sa.Column("application_id", sa.Text, nullable=False),
        sa.Column("series_id", sa.BigInteger, nullable=False),
        sa.Column("pseudonym", sa.BigInteger, nullable=False),
        sa.Column("second", sa.BigInteger, nullable=False),
        *_sums(),
        *_bounds("usage_deltas"),
    )


def _create_metering(*, nobody_is_null: bool = False) -> None:
    op.create_table(
        "metering_deltas",
        sa.Column("row_id", _ROW_ID, primary_key=True),
        sa.Column("application_id", sa.Text, nullable=False),
        sa.Column("endpoint_id", sa.BigInteger, nullable=False),
        sa.Column("pseudonym", sa.BigInteger, nullable=nobody_is_null),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("price", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("revision", "second", *_SUMS[:3])),
        sa.Column("part", sa.BigInteger, nullable=True),
        *_bounds("metering_deltas"),
    )
    is_open = sa.text("part IS NULL")
    op.create_index(
        "ix_metering_deltas_open",
        "metering_deltas",
        ["application_id", "second"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )


def _create_rollups() -> None:
    for name in _ROLLUPS[:3]:
        op.create_table(
            name,
            sa.Column("series_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
            *_sums(),
        )
        op.create_index(f"ix_{name}_start", name, ["start"])
    for name in _ROLLUPS[3:]:
        op.create_table(
            name,
            sa.Column("application_id", sa.Text, primary_key=True),
            sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("pseudonym", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("endpoint_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("refused", sa.Boolean, primary_key=True),
            *(
                sa.Column(column, sa.BigInteger, nullable=False)
                for column in ("errors", "client_errors", "denied", "degraded")
            ),
            *_sums(),
        )


def _bring_over() -> None:
    """Copies what was there. The old events told neither the policy nor the bytes."""
    labels = {
        "old_events": "status, denied, reason, '' AS degraded, '' AS policy, '' AS shadow",
        "old_deltas": "status, denied, reason, degraded, policy, '' AS shadow",
    }
    for source, columns in labels.items():
        op.execute(
            f"INSERT INTO usage_series (application_id, endpoint_id, {', '.join(_LABELS)}) "  # noqa: S608
            f"SELECT DISTINCT application_id, endpoint_id, {columns} FROM {source} WHERE 1 = 1 ON CONFLICT DO NOTHING"
        )
    same = "s.application_id = o.application_id AND s.endpoint_id = o.endpoint_id AND s.status = o.status"
    same += " AND s.denied = o.denied AND s.reason = o.reason AND s.shadow = ''"
    op.execute(
        "INSERT INTO events SELECT o.row_id, o.application_id, event_id, time_us, series_id, path, COALESCE(pseudonym, 0), "  # noqa: S608
        "latency_us, quantity, 0, 0, detail_json FROM old_events o JOIN usage_series s "
        f"ON {same} AND s.degraded = '' AND s.policy = ''"
    )
    _bring_deltas(f"{same} AND s.degraded = o.degraded AND s.policy = o.policy")
    columns = "row_id, application_id, endpoint_id, COALESCE(pseudonym, 0), policy, price, revision, second, requests, whole, pico, part"
    op.execute(f"INSERT INTO metering_deltas SELECT {columns} FROM old_metering")  # noqa: S608 - our own names
    for table in ("old_events", "old_deltas", "old_metering"):
        op.execute(f"DROP TABLE {table}")
    for table in ("events", "usage_deltas", "metering_deltas"):
        _number_on(table)


def _bring_deltas(same: str) -> None:
    """Copies deltas page by page: their histograms were JSON."""
    connection, last = op.get_bind(), 0
    names = ("row_id", "application_id", "series_id", "pseudonym", "second", *_SUMS, "latency")
    target = sa.table("usage_deltas", *(sa.column(name) for name in names))
    statement = sa.text(
        "SELECT o.row_id, o.application_id, series_id, COALESCE(pseudonym, 0) AS pseudonym, second, requests, whole, pico, "  # noqa: S608
        "request_bytes, response_bytes, latency FROM old_deltas o "
        f"JOIN usage_series s ON {same} WHERE o.row_id > :last ORDER BY o.row_id LIMIT :page"
    )
    while rows := connection.execute(statement, {"last": last, "page": _PAGE}).mappings().all():
        connection.execute(
            sa.insert(target), [dict(row) | {"latency": _packed(row["latency"])} for row in rows]
        )
        last = rows[-1]["row_id"]


def _packed(histogram: str | None) -> bytes:
    """Returns a histogram in six bytes an entry: bucket and requests, little-endian."""
    pieces = []
    for bucket, requests in json.loads(histogram or "[]"):
        pieces.append(bucket.to_bytes(2, "little") + requests.to_bytes(4, "little"))
    return b"".join(pieces)


def _number_on(table: str) -> None:
    """Makes PostgreSQL number rows after those that were copied with their numbers."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'row_id'), (SELECT COALESCE(MAX(row_id), 0) + 1 FROM {table}), false)"  # noqa: S608
        )


def _sums() -> list[sa.Column[Any]]:
    return [
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
        sa.Column("latency", sa.LargeBinary, nullable=False),
    ]


def _bounds(table: str) -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint("requests BETWEEN 0 AND 1000000000000", name=f"ck_{table}_requests"),
        sa.CheckConstraint("pico BETWEEN 0 AND 999999999999", name=f"ck_{table}_pico"),
    ]


def _create_old_events() -> None:
    op.create_table(
        "events",
        sa.Column("row_id", _ROW_ID, primary_key=True),
        sa.Column("application_id", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("endpoint_id", sa.BigInteger, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("pseudonym", sa.BigInteger, nullable=True),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("latency_us", sa.BigInteger, nullable=False),
        sa.Column("quantity", sa.Double, nullable=False),
        sa.Column("denied", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail_json", sa.Text, nullable=False),
    )


def _create_old_deltas() -> None:
    op.create_table(
        "usage_deltas",
        sa.Column("row_id", _ROW_ID, primary_key=True),
        sa.Column("application_id", sa.Text, nullable=False),
        sa.Column("endpoint_id", sa.BigInteger, nullable=False),
        sa.Column("pseudonym", sa.BigInteger, nullable=True),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("denied", sa.Boolean, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("reason", "degraded", "policy")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("revision", "second", *_SUMS)),
        sa.Column("latency", sa.Text, nullable=True),
        *_bounds("usage_deltas"),
    )
    op.create_index("ix_usage_deltas_second", "usage_deltas", ["application_id", "second"])

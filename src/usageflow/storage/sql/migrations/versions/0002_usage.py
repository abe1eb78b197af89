"""Reported usage: ids, events, deltas, and the small integers that stand for names in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes the tables."""
    _create_names()
    _create_report_ids()
    _create_events()
    _create_usage_deltas()
    _create_metering_deltas()


def downgrade() -> None:
    """Drops all of it, with the usage that it holds."""
    for table in ("metering_deltas", "usage_deltas", "events", "report_ids", "identities", "endpoint_names"):
        op.drop_table(table)


def _application() -> sa.Column[str]:
    return sa.Column("application_id", sa.Text, sa.ForeignKey("applications.application_id"), nullable=False)


def _create_names() -> None:
    op.create_table(
        "endpoint_names",
        sa.Column("endpoint_id", _ROW_ID, primary_key=True),
        _application(),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("template", sa.Text, nullable=False),
        sa.UniqueConstraint("application_id", "method", "template", name="uq_endpoint_names_name"),
    )
    op.create_table(
        "identities",
        sa.Column("pseudonym", _ROW_ID, primary_key=True, autoincrement=False),
        _application(),
        sa.Column("value", sa.Text, nullable=False),
        sa.UniqueConstraint("application_id", "value", name="uq_identities_value"),
    )


def _create_report_ids() -> None:
    op.create_table(
        "report_ids",
        sa.Column("application_id", sa.Text, primary_key=True),
        sa.Column("record_id", sa.Text, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("payload_hash", sa.LargeBinary, nullable=False),
        sa.Column("received_us", sa.BigInteger, nullable=False),
        sa.CheckConstraint("length(payload_hash) = 16", name="ck_report_ids_payload_hash"),
        sa.CheckConstraint("length(record_id) BETWEEN 1 AND 256", name="ck_report_ids_record_id"),
        sqlite_with_rowid=False,
    )


def _create_events() -> None:
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


def _create_usage_deltas() -> None:
    op.create_table(
        "usage_deltas",
        sa.Column("row_id", _ROW_ID, primary_key=True),
        sa.Column("application_id", sa.Text, nullable=False),
        sa.Column("endpoint_id", sa.BigInteger, nullable=False),
        sa.Column("pseudonym", sa.BigInteger, nullable=True),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("denied", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("degraded", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("second", sa.BigInteger, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("whole", sa.BigInteger, nullable=False),
        sa.Column("pico", sa.BigInteger, nullable=False),
        sa.Column("request_bytes", sa.BigInteger, nullable=False),
        sa.Column("response_bytes", sa.BigInteger, nullable=False),
        sa.Column("latency", sa.Text, nullable=True),
        sa.CheckConstraint("requests BETWEEN 0 AND 1000000000000", name="ck_usage_deltas_requests"),
        sa.CheckConstraint("pico BETWEEN 0 AND 999999999999", name="ck_usage_deltas_pico"),
    )
    op.create_index("ix_usage_deltas_second", "usage_deltas", ["application_id", "second"])


def _create_metering_deltas() -> None:
    op.create_table(
        "metering_deltas",
        sa.Column("row_id", _ROW_ID, primary_key=True),
        sa.Column("application_id", sa.Text, nullable=False),
        sa.Column("endpoint_id", sa.BigInteger, nullable=False),
        sa.Column("pseudonym", sa.BigInteger, nullable=True),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("price", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("second", sa.BigInteger, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("whole", sa.BigInteger, nullable=False),
        sa.Column("pico", sa.BigInteger, nullable=False),
        sa.Column("part", sa.BigInteger, nullable=True),
        sa.CheckConstraint("requests BETWEEN 0 AND 1000000000000", name="ck_metering_deltas_requests"),
        sa.CheckConstraint("pico BETWEEN 0 AND 999999999999", name="ck_metering_deltas_pico"),
    )
    op.create_index(
        "ix_metering_deltas_open",
        "metering_deltas",
        ["application_id", "second"],
        sqlite_where=sa.text("part IS NULL"),
        postgresql_where=sa.text("part IS NULL"),
    )

"""Alerts: rules, destinations, states, events, the outbox of messages and the lease of whoever evaluates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = (
    "alert_rules",
    "alert_destinations",
    "alert_states",
    "alert_events",
    "alert_deliveries",
    "alert_lease",
)


def upgrade() -> None:
    """Makes the tables."""
    _create_declared("alert_rules")
    _create_declared("alert_destinations")
    _create_states()
    _create_events()
    _create_deliveries()
    op.create_table(
        "alert_lease",
        sa.Column("lease_id", sa.Integer, primary_key=True, autoincrement=False),
        _text("holder"),
        _big("until_us"),
        sa.CheckConstraint("lease_id = 1", name="ck_alert_lease_one"),
    )
    op.execute("INSERT INTO alert_lease (lease_id, holder, until_us) VALUES (1, '', 0)")


def downgrade() -> None:
    """Drops them, with the rules."""
    for table in reversed(_TABLES):
        op.drop_table(table)


def _text(name: str, *, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=primary_key, nullable=False)


def _big(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _create_declared(table: str) -> None:
    op.create_table(
        table,
        sa.Column(
            "application_id",
            sa.Text,
            sa.ForeignKey("applications.application_id"),
            primary_key=True,
            nullable=False,
        ),
        _text("name", primary_key=True),
        _text("row_id"),
        _text("document"),
        _big("created_us"),
        _big("updated_us"),
        _big("deleted_us", nullable=True),
        _big("version"),
        sa.UniqueConstraint("row_id", name=f"uq_{table}_row_id"),
    )


def _create_states() -> None:
    op.create_table(
        "alert_states",
        _text("rule_id", primary_key=True),
        _text("subject", primary_key=True),
        _text("application_id"),
        _text("phase"),
        _big("since_us"),
        _big("clear_us", nullable=True),
        _big("seen_us"),
        sa.Column("value", sa.Double, nullable=False),
        _text("alert_id"),
        sa.Column("threshold", sa.Double, nullable=False),
        _text("about"),
        sa.CheckConstraint("phase IN ('PENDING', 'FIRING')", name="ck_alert_states_phase"),
    )
    op.create_index("ix_alert_states_application", "alert_states", ["application_id"])


def _create_events() -> None:
    op.create_table(
        "alert_events",
        _text("event_id", primary_key=True),
        _text("application_id"),
        _text("rule_id"),
        _big("at_us"),
        _text("document"),
    )
    op.create_index("ix_alert_events_application", "alert_events", ["application_id", "event_id"])
    op.create_index("ix_alert_events_time", "alert_events", ["at_us"])


def _create_deliveries() -> None:
    op.create_table(
        "alert_deliveries",
        sa.Column("row_id", _ROW_ID, primary_key=True),
        *(
            _text(name)
            for name in ("event_id", "destination_id", "application_id", "alert_id", "destination", "status")
        ),
        sa.Column("attempts", sa.Integer, nullable=False),
        _big("created_us"),
        _big("next_us"),
        _text("told"),
        sa.UniqueConstraint("event_id", "destination_id", name="uq_alert_deliveries_once"),
    )
    op.create_index("ix_alert_deliveries_due", "alert_deliveries", ["status", "next_us"])

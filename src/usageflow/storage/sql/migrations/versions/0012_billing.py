"""Billing: ledgers, parts on their way, holds and pauses; metering deltas are found by whose they are."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = (
    "billing_ledgers",
    "billing_stops",
    "billing_spans",
    "billing_parts",
    "billing_holds",
    "billing_pauses",
)
_SPAN = ("destination", "environment", "payee", "trigger", "price", "event_name", "span_start")
_OPEN = "part IS NULL"
_BOUND = "part IS NULL AND customer IS NOT NULL"


def upgrade() -> None:
    """Makes the tables and the indices."""
    _create_ledgers()
    _create_parts()
    _create_holds()
    _index_deltas("application_id", "pseudonym", "second")
    op.create_index("ix_metering_deltas_part", "metering_deltas", ["part"], **_where("part IS NOT NULL"))
    op.create_index("ix_metering_deltas_hours", "metering_deltas", ["second"], **_where(_OPEN))
    bound = ["application_id", "customer", "second"]
    op.create_index("ix_metering_deltas_bound", "metering_deltas", bound, **_where(_BOUND))


def downgrade() -> None:
    """Drops them; what was claimed stays claimed."""
    op.drop_index("ix_metering_deltas_bound", "metering_deltas")
    op.drop_index("ix_metering_deltas_hours", "metering_deltas")
    op.drop_index("ix_metering_deltas_part", "metering_deltas")
    _index_deltas("application_id", "second")
    for table in reversed(_TABLES):
        op.drop_table(table)


def _index_deltas(*columns: str) -> None:
    op.drop_index("ix_metering_deltas_open", "metering_deltas")
    op.create_index("ix_metering_deltas_open", "metering_deltas", list(columns), **_where(_OPEN))


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def _application(*, primary_key: bool = False) -> sa.Column[str]:
    applications = sa.ForeignKey("applications.application_id")
    return sa.Column("application_id", sa.Text, applications, primary_key=primary_key, nullable=False)


def _text(name: str, *, primary_key: bool = False, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=primary_key, nullable=False, server_default=default)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


def _create_ledgers() -> None:
    op.create_table(
        "billing_ledgers",
        sa.Column("ledger_id", _ROW_ID, primary_key=True),
        _application(),
        *(_text(name) for name in ("customer", "trigger", "price", "event_name")),
        _count("carry_whole"),
        _count("carry_pico"),
        sa.UniqueConstraint(
            "application_id", "customer", "trigger", "price", "event_name", name="uq_billing_ledgers_target"
        ),
    )
    op.create_table(
        "billing_stops",
        _application(primary_key=True),
        _text("customer", primary_key=True),
        _text("price", primary_key=True),
        _count("created_us"),
    )
    op.create_table(
        "billing_spans",
        sa.Column("span_id", _ROW_ID, primary_key=True),
        *(_text(name) for name in _SPAN[:-1]),
        *(_big(name) for name in ("span_start", "span_end")),
        *(_count(name) for name in ("whole", "pico")),
        sa.UniqueConstraint(*_SPAN, name="uq_billing_spans_span"),
    )


def _create_parts() -> None:
    op.create_table(
        "billing_parts",
        sa.Column("part_id", _ROW_ID, primary_key=True),
        _application(),
        sa.Column("ledger_id", sa.BigInteger, sa.ForeignKey("billing_ledgers.ledger_id"), nullable=False),
        *(_big(name) for name in ("window_start", "window_end", "number")),
        _text("kind"),
        *(_big(name) for name in ("requests", "whole", "pico")),
        *(_text(name) for name in ("value", "identifier", "destination")),
        sa.Column("span_id", sa.BigInteger, sa.ForeignKey("billing_spans.span_id"), nullable=True),
        _big("timestamp_s"),
        _text("terms"),
        _text("state"),
        *(_count(name) for name in ("attempts", "first_attempt_us", "next_us")),
        *(_text(name, default="") for name in ("worker", "note", "stripe_id", "stripe_request")),
        *(_count(name) for name in ("issue", "created_us", "updated_us")),
        sa.UniqueConstraint("ledger_id", "window_start", "number", name="uq_billing_parts_number"),
        sa.UniqueConstraint("identifier", name="uq_billing_parts_identifier"),
        sa.CheckConstraint("pico BETWEEN 0 AND 999999999999", name="ck_billing_parts_pico"),
    )
    due = _where("state IN ('FROZEN', 'SENDING')")
    op.create_index("ix_billing_parts_due", "billing_parts", ["window_start", "part_id"], **due)
    of_spans = _where("span_id IS NOT NULL")
    op.create_index("ix_billing_parts_span", "billing_parts", ["span_id", "part_id"], **of_spans)
    op.create_index("ix_billing_parts_time", "billing_parts", ["application_id", "timestamp_s"])


def _create_holds() -> None:
    op.create_table(
        "billing_holds",
        _application(primary_key=True),
        *(_text(name, primary_key=True) for name in ("customer", "trigger", "price", "event_name", "reason")),
        _text("message"),
        *(_big(name) for name in ("requests", "whole", "pico", "oldest")),
        _count("since_us"),
    )
    op.create_table(
        "billing_pauses", _text("destination", primary_key=True), _text("message"), _count("since_us")
    )

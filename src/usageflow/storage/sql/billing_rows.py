"""Rows of parts and what they say; and what every part of a ledger is made under."""

from __future__ import annotations

import json
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Select, select

from usageflow.domain.billing import Method, Mode, Part, PartKind, PartState, Target, Terms, Window
from usageflow.domain.policies import Trigger
from usageflow.domain.units import join
from usageflow.storage.sql.tables import BILLING_LEDGERS, BILLING_PARTS, INSTALLATION

PARTS, LEDGERS = BILLING_PARTS.c, BILLING_LEDGERS.c


def installation_id(connection: Connection) -> str:
    """Returns the id that the first migration made."""
    return str(connection.execute(select(INSTALLATION.c.installation_id)).scalar_one())


def select_parts() -> Select[Any]:
    """Returns the statement that reads parts, for ``part_of``."""
    return select(
        BILLING_PARTS, LEDGERS.customer, LEDGERS.trigger, LEDGERS.price, LEDGERS.event_name
    ).join_from(BILLING_PARTS, BILLING_LEDGERS, LEDGERS.ledger_id == PARTS.ledger_id)


def part_of(row: Any) -> Part:
    """Returns the part of a row."""
    return Part(
        part_id=row.part_id,
        application_id=row.application_id,
        customer=row.customer,
        target=Target(Trigger(row.trigger), row.price, row.event_name),
        window=Window(row.window_start, row.window_end),
        number=row.number,
        kind=PartKind(row.kind),
        requests=row.requests,
        units=join(row.whole, row.pico),
        value=Decimal(row.value),
        identifier=row.identifier,
        terms=read_terms(row.terms),
        state=PartState(row.state),
        attempts=row.attempts,
        first_attempt_us=row.first_attempt_us,
        next_us=row.next_us,
        note=row.note,
        stripe_id=row.stripe_id,
        stripe_request=row.stripe_request,
        created_us=row.created_us,
        updated_us=row.updated_us,
        issue=row.issue,
    )


def write_terms(terms: Terms) -> str:
    """Returns terms as they are stored."""
    return json.dumps(asdict(terms), ensure_ascii=False, separators=(",", ":"))


def read_terms(text: str) -> Terms:
    """Returns the terms that were stored."""
    found = json.loads(text)
    span = found["span"]
    found |= {"method": Method(found["method"]), "mode": Mode(found["mode"])}
    return Terms(**{**found, "span": None if span is None else Window(*span)})

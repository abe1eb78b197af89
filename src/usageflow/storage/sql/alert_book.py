"""Alert rules, destinations and history in SQL; each function runs inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Table, insert, select, update

from usageflow.domain.alert_messages import AlertEvent
from usageflow.domain.alerting import AlertState, Phase
from usageflow.domain.alerts import AlertDestination, AlertRule
from usageflow.domain.changes import Cause
from usageflow.domain.errors import FailedPrecondition
from usageflow.storage.alerts import (
    AlertResource,
    AlertRow,
    DeliveryRow,
    DeliveryStatus,
    HistoryRow,
    StoredAlert,
)
from usageflow.storage.resources import Stamp
from usageflow.storage.sql import receipts
from usageflow.storage.sql.audit import append_entries
from usageflow.storage.sql.control_read import unknown_application
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import (
    ALERT_DELIVERIES,
    ALERT_DESTINATIONS,
    ALERT_EVENTS,
    ALERT_RULES,
    ALERT_STATES,
    APPLICATIONS,
)

TABLES: Mapping[AlertResource, tuple[Table, type[AlertRule | AlertDestination]]] = {
    AlertResource.RULE: (ALERT_RULES, AlertRule),
    AlertResource.DESTINATION: (ALERT_DESTINATIONS, AlertDestination),
}


def rows(connection: Connection, kind: AlertResource, application_id: str) -> list[AlertRow]:
    """Returns all of a kind, deleted ones too."""
    table, model = TABLES[kind]
    found = connection.execute(
        select(table).where(table.c.application_id == application_id).order_by(table.c.name)
    )
    return [
        AlertRow(
            row.row_id,
            model.model_validate_json(row.document),
            Stamp(row.created_us, row.updated_us, row.version, row.deleted_us),
        )
        for row in found
    ]


def put(
    connection: Connection,
    kind: AlertResource,
    application_id: str,
    row_id: str,
    item: AlertRule | AlertDestination,
    *,
    deleted: bool,
    version: int,
    cause: Cause,
    now_us: int,
) -> None:
    """Stores one. Raises FailedPrecondition (CHANGED_MEANWHILE) and NotFound."""
    table, _ = TABLES[kind]
    there = select(APPLICATIONS.c.application_id).where(
        APPLICATIONS.c.application_id == application_id, APPLICATIONS.c.deleted_us.is_(None)
    )
    if connection.execute(there.with_for_update(read=True)).one_or_none() is None:
        raise unknown_application(application_id)
    values = {
        "row_id": row_id,
        "document": item.model_dump_json(by_alias=True, exclude_defaults=True),
        "updated_us": now_us,
        "deleted_us": now_us if deleted else None,
    }
    same = (table.c.application_id == application_id, table.c.name == item.name)
    if version:
        statement = update(table).where(*same, table.c.version == version)
        written = statement.values(**values, version=version + 1).returning(table.c.name)
        done = connection.execute(written).one_or_none()
    else:
        named = {"application_id": application_id, "name": item.name, "created_us": now_us, "version": 1}
        new = upsert(connection, table).values(**named, **values).on_conflict_do_nothing()
        done = connection.execute(new.returning(table.c.name)).one_or_none()
    if done is None:
        raise FailedPrecondition(
            f"the {kind} {item.name!r} was changed meanwhile: load it again and repeat the change",
            reason="CHANGED_MEANWHILE",
        )
    receipts.store(connection, cause, application_id, revision=0, now_us=now_us)
    append_entries(connection, cause, application_id, revision=0, now_us=now_us)


def open_alerts(connection: Connection, application_id: str) -> list[tuple[str, StoredAlert]]:
    """Returns alerts that are not OK, with the names of their rules."""
    table = ALERT_STATES
    joined = table.join(ALERT_RULES, ALERT_RULES.c.row_id == table.c.rule_id)
    found = connection.execute(
        select(table, ALERT_RULES.c.name.label("rule_name"))
        .select_from(joined)
        .where(table.c.application_id == application_id)
        .order_by(table.c.phase, ALERT_RULES.c.name, table.c.subject)
    )
    return [(row.rule_name, stored_alert(row)) for row in found]


def stored_alert(row: Any) -> StoredAlert:
    """Returns the alert of a row."""
    state = AlertState(Phase(row.phase), row.since_us, row.clear_us, row.seen_us, row.value, row.alert_id)
    return StoredAlert(row.rule_id, row.subject, state, row.threshold, json.loads(row.about))


def history(connection: Connection, application_id: str, before: str, limit: int) -> list[HistoryRow]:
    """Returns events, newest first."""
    table = ALERT_EVENTS
    statement = select(table.c.event_id, table.c.document).where(table.c.application_id == application_id)
    if before:
        statement = statement.where(table.c.event_id < before)
    found = connection.execute(statement.order_by(table.c.event_id.desc()).limit(limit)).all()
    sent: dict[str, list[DeliveryRow]] = {}
    out = ALERT_DELIVERIES.c
    deliveries = select(out.event_id, out.destination, out.status, out.attempts, out.told, out.next_us)
    for event_id, destination, status, attempts, told, next_us in connection.execute(
        deliveries.where(out.event_id.in_([row.event_id for row in found])).order_by(out.destination)
    ):
        row = DeliveryRow(destination, DeliveryStatus(status), attempts, told, next_us)
        sent.setdefault(event_id, []).append(row)
    return [HistoryRow(event_of(row.document), sent.get(row.event_id, [])) for row in found]


def document_of(event: AlertEvent) -> str:
    """Returns an event as a row holds it."""
    return json.dumps(asdict(event), ensure_ascii=False)


def event_of(document: str) -> AlertEvent:
    """Returns the event that a row holds."""
    return AlertEvent(**json.loads(document))


def add_event(connection: Connection, application_id: str, rule_id: str, event: AlertEvent) -> None:
    """Stores an event."""
    connection.execute(
        insert(ALERT_EVENTS).values(
            event_id=event.event_id,
            application_id=application_id,
            rule_id=rule_id,
            at_us=event.at_us,
            document=document_of(event),
        )
    )

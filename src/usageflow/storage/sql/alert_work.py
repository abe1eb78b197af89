"""Where alerts stand, and their messages, in SQL; each function runs inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, delete, exists, insert, or_, select, update
from sqlalchemy.orm import aliased

from usageflow.domain.alert_messages import AlertEvent
from usageflow.domain.alerting import Phase
from usageflow.domain.alerts import AlertDestination, AlertRule
from usageflow.domain.changes import Action, Actor, Cause, Change
from usageflow.storage.alerts import (
    Delivery,
    DeliveryResult,
    DeliveryStatus,
    StoredAlert,
    Told,
    WatchedApplication,
)
from usageflow.storage.sql import alert_book
from usageflow.storage.sql.audit import append_entries
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import (
    ALERT_DELIVERIES,
    ALERT_DESTINATIONS,
    ALERT_EVENTS,
    ALERT_LEASE,
    ALERT_RULES,
    ALERT_STATES,
    APPLICATIONS,
)

_OUT, _TO = ALERT_DELIVERIES.c, ALERT_DESTINATIONS.c
_WAITING = DeliveryStatus.WAITING.value


def take_lease(connection: Connection, holder: str, now_us: int, until_us: int) -> bool:
    """Takes or renews the lease."""
    table = ALERT_LEASE
    free = or_(table.c.holder == holder, table.c.until_us <= now_us)
    return bool(
        connection.execute(update(table).where(free).values(holder=holder, until_us=until_us)).rowcount
    )


def leave_lease(connection: Connection, holder: str) -> None:
    """Ends a lease."""
    table = ALERT_LEASE
    connection.execute(update(table).where(table.c.holder == holder).values(holder="", until_us=0))


def watched(connection: Connection) -> list[WatchedApplication]:
    """Returns applications with rules or alerts."""
    names = {
        row.application_id: (row.name, row.deleted_us is None)
        for row in connection.execute(
            select(APPLICATIONS.c.application_id, APPLICATIONS.c.name, APPLICATIONS.c.deleted_us)
        )
    }
    alerts: dict[str, list[StoredAlert]] = {}
    for row in connection.execute(select(ALERT_STATES)):
        alerts.setdefault(row.application_id, []).append(alert_book.stored_alert(row))
    open_rules = {each.rule_id for some in alerts.values() for each in some}
    rules: dict[str, dict[str, AlertRule]] = {}
    known: dict[str, dict[str, AlertRule]] = {}
    for row in connection.execute(select(ALERT_RULES)):
        rule = AlertRule.model_validate_json(row.document)
        if row.deleted_us is None and rule.enabled and names[row.application_id][1]:
            rules.setdefault(row.application_id, {})[row.row_id] = rule
        elif row.row_id in open_rules:
            known.setdefault(row.application_id, {})[row.row_id] = rule
    return [
        WatchedApplication(
            application_id,
            names[application_id][0],
            rules.get(application_id, {}),
            known.get(application_id, {}),
            alerts.get(application_id, []),
        )
        for application_id in sorted(rules.keys() | alerts.keys())
    ]


def record(
    connection: Connection,
    holder: str,
    application_id: str,
    alerts: Sequence[StoredAlert],
    told: Sequence[Told],
    now_us: int,
) -> bool:
    """Stores states, events and messages, unless the lease is another's by now."""
    held = select(ALERT_LEASE.c.holder).with_for_update()
    if connection.execute(held).scalar_one() != holder:
        return False
    for alert in alerts:
        _store(connection, application_id, alert)
    for each in told:
        alert_book.add_event(connection, application_id, each.rule_id, each.event)
        _address(connection, application_id, each, now_us)
    return True


def _store(connection: Connection, application_id: str, alert: StoredAlert) -> None:
    table, state = ALERT_STATES, alert.state
    if state.phase is Phase.OK:
        connection.execute(
            delete(table).where(table.c.rule_id == alert.rule_id, table.c.subject == alert.subject)
        )
        return
    values = {
        "application_id": application_id,
        "phase": state.phase.value,
        "since_us": state.since_us,
        "clear_us": state.clear_us,
        "seen_us": state.seen_us,
        "value": state.value,
        "alert_id": state.alert_id,
        "threshold": alert.threshold,
        "about": json.dumps(dict(alert.about), ensure_ascii=False),
    }
    new = upsert(connection, table).values(rule_id=alert.rule_id, subject=alert.subject, **values)
    keys = [table.c.rule_id, table.c.subject]
    connection.execute(new.on_conflict_do_update(index_elements=keys, set_=values))


def _address(connection: Connection, application_id: str, told: Told, now_us: int) -> None:
    """Puts a message per enabled destination into the outbox."""
    found = connection.execute(
        select(_TO.row_id, _TO.name, _TO.document).where(
            _TO.application_id == application_id, _TO.name.in_(told.destinations), _TO.deleted_us.is_(None)
        )
    )
    for row_id, name, document in found.all():
        if not AlertDestination.model_validate_json(document).enabled:
            continue
        connection.execute(
            insert(ALERT_DELIVERIES).values(
                event_id=told.event.event_id,
                destination_id=row_id,
                application_id=application_id,
                alert_id=told.event.alert_id,
                destination=name,
                status=_WAITING,
                attempts=0,
                created_us=now_us,
                next_us=now_us,
                told="",
            )
        )


def claim(connection: Connection, now_us: int, until_us: int, limit: int) -> list[Delivery]:
    """Claims messages that are due; rows that another process is claiming are passed over."""
    earlier = aliased(ALERT_DELIVERIES)
    waits = exists().where(
        earlier.c.alert_id == _OUT.alert_id,
        earlier.c.destination_id == _OUT.destination_id,
        earlier.c.status == _WAITING,
        earlier.c.row_id < _OUT.row_id,
    )
    due = (
        select(_OUT.row_id)
        .where(_OUT.status == _WAITING, _OUT.next_us <= now_us, ~waits)
        .order_by(_OUT.next_us, _OUT.row_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.scalars(due))
    if not ids:
        return []
    mine = update(ALERT_DELIVERIES).where(_OUT.row_id.in_(ids))
    connection.execute(mine.values(next_us=until_us, attempts=_OUT.attempts + 1))
    joined = ALERT_DELIVERIES.join(ALERT_EVENTS, ALERT_EVENTS.c.event_id == _OUT.event_id)
    joined = joined.outerjoin(ALERT_DESTINATIONS, _TO.row_id == _OUT.destination_id)
    rows = connection.execute(
        select(ALERT_DELIVERIES, ALERT_EVENTS.c.document.label("event"), _TO.document, _TO.deleted_us)
        .select_from(joined)
        .where(_OUT.row_id.in_(ids))
        .order_by(_OUT.row_id)
    ).all()
    claimed: list[Delivery] = []
    for row in rows:
        destination = AlertDestination.model_validate_json(row.document) if row.document else None
        if destination is None or row.deleted_us is not None or not destination.enabled:
            gone = DeliveryResult(row.row_id, DeliveryStatus.DROPPED, "the destination is gone or disabled")
            _settle(connection, gone)
            continue
        event: AlertEvent = alert_book.event_of(row.event)
        claimed.append(
            Delivery(
                row.row_id,
                row.application_id,
                event,
                row.destination_id,
                destination,
                row.attempts,
                row.created_us,
            )
        )
    return claimed


def settle(connection: Connection, results: Sequence[DeliveryResult], now_us: int) -> None:
    """Records results, in order of their rows."""
    for result in sorted(results, key=lambda each: each.delivery_id):
        destination_id = _settle(connection, result)
        if destination_id and result.disable:
            _disable(connection, destination_id, result.disable, now_us)


def _settle(connection: Connection, result: DeliveryResult) -> str:
    """Records a result; returns the destination's id, "" where the message did not wait any more."""
    statement = update(ALERT_DELIVERIES).where(_OUT.row_id == result.delivery_id, _OUT.status == _WAITING)
    done = connection.execute(
        statement.values(
            status=result.status.value, told=result.told[:500], next_us=result.next_us
        ).returning(_OUT.destination_id)
    ).scalar_one_or_none()
    return done or ""


def _disable(connection: Connection, destination_id: str, why: str, now_us: int) -> None:
    row = connection.execute(
        select(ALERT_DESTINATIONS).where(_TO.row_id == destination_id).with_for_update()
    ).one_or_none()
    if row is None:
        return
    before = AlertDestination.model_validate_json(row.document)
    after = before.model_copy(update={"enabled": False, "disabled_reason": why})
    statement = update(ALERT_DESTINATIONS).where(_TO.row_id == destination_id)
    document = after.model_dump_json(by_alias=True, exclude_defaults=True)
    connection.execute(statement.values(document=document, version=row.version + 1, updated_us=now_us))
    change = Change(Action.UPDATED, "alert_destination", before.name)
    cause = Cause(Actor("", "meter"), "alert delivery", (change,))
    append_entries(connection, cause, row.application_id, revision=0, now_us=now_us)


def forget(connection: Connection, before_us: int) -> int:
    """Deletes what is older."""
    waiting = exists().where(_OUT.event_id == ALERT_EVENTS.c.event_id, _OUT.status == _WAITING)
    old = select(ALERT_EVENTS.c.event_id).where(ALERT_EVENTS.c.at_us < before_us, ~waiting)
    gone = connection.execute(delete(ALERT_DELIVERIES).where(_OUT.event_id.in_(old))).rowcount
    gone += connection.execute(
        delete(ALERT_EVENTS).where(ALERT_EVENTS.c.at_us < before_us, ~waiting)
    ).rowcount
    standing = exists().where(ALERT_STATES.c.rule_id == ALERT_RULES.c.row_id)
    gone += connection.execute(
        delete(ALERT_RULES).where(ALERT_RULES.c.deleted_us < before_us, ~standing)
    ).rowcount
    gone += connection.execute(delete(ALERT_DESTINATIONS).where(_TO.deleted_us < before_us)).rowcount
    return gone

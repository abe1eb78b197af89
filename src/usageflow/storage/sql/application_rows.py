"""Applications and endpoints as people look at them, in SQL; each function runs inside the caller's transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select, update

from usageflow.domain.applications import ApplicationSettings, Capture
from usageflow.domain.changes import Cause
from usageflow.domain.errors import FailedPrecondition, NotFound
from usageflow.domain.listing import Query
from usageflow.domain.usage import EndpointName
from usageflow.storage.ports import Application, NumberKind
from usageflow.storage.resources import ApplicationRow, EndpointRow, Stamp
from usageflow.storage.sql import receipts
from usageflow.storage.sql.audit import append_entries
from usageflow.storage.sql.control_read import unknown_application
from usageflow.storage.sql.endpoint_rows import register_endpoints
from usageflow.storage.sql.listing import paged
from usageflow.storage.sql.tables import APPLICATIONS, ENDPOINTS, NUMBERS

_A, _E = APPLICATIONS.c, ENDPOINTS.c
_TITLE = _E.method + " " + _E.template
_FIELDS: dict[str, ColumnElement[Any]] = {
    "name": _A.name,
    "capture": _A.capture,
    "retention_days": _A.retention_days,
    "decision_log_percent": _A.decision_log_percent,
    "create_time": _A.created_us,
    "update_time": _A.updated_us,
    "delete_time": _A.deleted_us,
}
_ENDPOINT_FIELDS: dict[str, ColumnElement[Any]] = {
    "name": _TITLE,
    "method": _E.method,
    "template": _E.template,
    "number": NUMBERS.c.number,
    "create_time": _E.first_seen_us,
    "update_time": _E.last_seen_us,
    "delete_time": _E.deleted_us,
}


def listed(connection: Connection, query: Query) -> list[ApplicationRow]:
    """Returns a page of applications."""
    statement = select(APPLICATIONS)
    if not query.show_deleted:
        statement = statement.where(_A.deleted_us.is_(None))
    return [_application(row) for row in connection.execute(paged(statement, query, _FIELDS))]


def named(connection: Connection, name: str) -> ApplicationRow | None:
    """Returns an application, deleted or not."""
    row = connection.execute(select(APPLICATIONS).where(_A.name == name)).one_or_none()
    return None if row is None else _application(row)


def change(
    connection: Connection,
    application_id: str,
    settings: ApplicationSettings,
    *,
    deleted: bool,
    version: int,
    cause: Cause,
    now_us: int,
) -> ApplicationRow:
    """Changes settings, deletes or brings back. Raises NotFound and FailedPrecondition (CHANGED_MEANWHILE)."""
    deleted_us = func.coalesce(_A.deleted_us, now_us) if deleted else None
    statement = (
        update(APPLICATIONS)
        .where(_A.application_id == application_id, _A.version == version)
        .values(
            capture=settings.capture.value,
            retention_days=settings.retention_days,
            decision_log_percent=settings.decision_log_percent,
            deleted_us=deleted_us,
            updated_us=now_us,
            version=_A.version + 1,
            plan_version=_A.plan_version + 1,
        )
        .returning(APPLICATIONS)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        _unchanged(connection, application_id)
    receipts.store(connection, cause, application_id, revision=0, now_us=now_us)
    append_entries(connection, cause, application_id, revision=0, now_us=now_us)
    return _application(row)


def listed_endpoints(connection: Connection, application_id: str, query: Query) -> list[EndpointRow]:
    """Returns a page of endpoints."""
    statement = _numbered(application_id)
    if not query.show_deleted:
        statement = statement.where(_E.deleted_us.is_(None))
    return [_endpoint(row) for row in connection.execute(paged(statement, query, _ENDPOINT_FIELDS))]


def put_endpoint(
    connection: Connection, application_id: str, endpoint: EndpointName, cause: Cause, now_us: int
) -> EndpointRow:
    """Registers an endpoint or brings it back."""
    register_endpoints(connection, application_id, [endpoint], now_us)
    return _told(connection, application_id, endpoint, cause, now_us)


def drop_endpoint(
    connection: Connection, application_id: str, endpoint: EndpointName, cause: Cause, now_us: int
) -> EndpointRow:
    """Deletes an endpoint. Raises NotFound."""
    raised = update(APPLICATIONS).where(_A.application_id == application_id, _A.deleted_us.is_(None))
    if not connection.execute(raised.values(plan_version=_A.plan_version + 1)).rowcount:
        raise unknown_application(application_id)
    one = and_(_same(application_id, endpoint), _E.deleted_us.is_(None))
    if not connection.execute(update(ENDPOINTS).where(one).values(deleted_us=now_us)).rowcount:
        raise NotFound(f"there is no endpoint {endpoint.method} {endpoint.template}")
    return _told(connection, application_id, endpoint, cause, now_us)


def _told(
    connection: Connection, application_id: str, endpoint: EndpointName, cause: Cause, now_us: int
) -> EndpointRow:
    row = connection.execute(_numbered(application_id).where(_same(application_id, endpoint))).one()
    receipts.store(connection, cause, application_id, revision=0, now_us=now_us)
    append_entries(connection, cause, application_id, revision=0, now_us=now_us)
    return _endpoint(row)


def _same(application_id: str, endpoint: EndpointName) -> ColumnElement[bool]:
    return and_(
        _E.application_id == application_id,
        _E.method == endpoint.method,
        _E.template == endpoint.template,
    )


def _numbered(application_id: str) -> Any:
    number = and_(
        NUMBERS.c.application_id == _E.application_id,
        NUMBERS.c.kind == NumberKind.ENDPOINT.value,
        NUMBERS.c.name == _TITLE,
    )
    columns = (_E.method, _E.template, _E.first_seen_us, _E.last_seen_us, _E.deleted_us, NUMBERS.c.number)
    statement = select(*columns).select_from(ENDPOINTS.outerjoin(NUMBERS, number))
    return statement.where(_E.application_id == application_id)


def _unchanged(connection: Connection, application_id: str) -> None:
    """Raises what kept an application from being changed."""
    known = select(_A.name).where(_A.application_id == application_id)
    if connection.execute(known).one_or_none() is None:
        raise unknown_application(application_id)
    raise FailedPrecondition(
        "the application was changed meanwhile: load it again and repeat the change",
        reason="CHANGED_MEANWHILE",
    )


def _application(row: Any) -> ApplicationRow:
    return ApplicationRow(
        Application(
            row.application_id,
            row.name,
            row.revision,
            row.plan_version,
            row.decision_log_percent,
            Capture(row.capture),
            row.retention_days,
        ),
        ApplicationSettings(
            name=row.name,
            capture=Capture(row.capture),
            retention_days=row.retention_days,
            decision_log_percent=row.decision_log_percent,
        ),
        Stamp(row.created_us, row.updated_us, row.version, row.deleted_us),
    )


def _endpoint(row: Row[Any]) -> EndpointRow:
    version = 0 if row.deleted_us is None else 1
    return EndpointRow(
        EndpointName(row.method, row.template),
        row.number or 0,
        Stamp(row.first_seen_us, row.last_seen_us, version, row.deleted_us),
    )

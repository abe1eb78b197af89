"""Receipts of requests that carried an id: stored in the transaction of what they changed."""

from __future__ import annotations

from sqlalchemy import Connection, select

from usageflow.domain.changes import Cause
from usageflow.domain.errors import FailedPrecondition
from usageflow.storage.resources import Receipt
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import RECEIPTS


def store(connection: Connection, cause: Cause, application_id: str, *, revision: int, now_us: int) -> None:
    """Stores the receipt of a cause that has a request_id. Raises FailedPrecondition (CHANGED_MEANWHILE) where there is one."""
    if not cause.request_id:
        return
    resource_id = cause.changes[0].logged_id if cause.changes else ""
    statement = upsert(connection, RECEIPTS).on_conflict_do_nothing(
        index_elements=[RECEIPTS.c.actor_id, RECEIPTS.c.request_id]
    )
    values = statement.values(
        actor_id=cause.actor.credential_id,
        request_id=cause.request_id,
        method=cause.method,
        payload_hash=cause.payload_hash,
        application_id=application_id,
        resource_id=resource_id,
        revision=revision,
        created_us=now_us,
    )
    if connection.execute(values.returning(RECEIPTS.c.request_id)).one_or_none() is None:
        message = "this request is being carried out already: ask again"
        raise FailedPrecondition(message, reason="CHANGED_MEANWHILE")


def find(connection: Connection, actor_id: str, request_id: str) -> Receipt | None:
    """Returns the receipt of an actor's request."""
    table = RECEIPTS
    row = connection.execute(
        select(
            table.c.method,
            table.c.payload_hash,
            table.c.application_id,
            table.c.resource_id,
            table.c.revision,
        ).where(table.c.actor_id == actor_id, table.c.request_id == request_id)
    ).one_or_none()
    return None if row is None else Receipt(*row)

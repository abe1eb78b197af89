"""Receipts of requests that carried an id: the same one carried out twice changes nothing the second time.

A receipt belongs to whoever made the request: ids of others never collide. Each function runs inside the transaction of what the
request changes.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from usageflow.domain.changes import Cause
from usageflow.domain.errors import FailedPrecondition
from usageflow.storage.resources import Receipt
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import RECEIPTS


def store(connection: Connection, cause: Cause, application_id: str, *, revision: int, now_us: int) -> None:
    """Stores the receipt of a cause that has a request_id. Raises FailedPrecondition (CHANGED_MEANWHILE) where there is one."""
    resource_id = cause.changes[0].logged_id if cause.changes else ""
    if not _insert(connection, cause, application_id, resource_id, revision, now_us):
        message = "this request is being carried out already: ask again"
        raise FailedPrecondition(message, reason="CHANGED_MEANWHILE")


def claim(
    connection: Connection,
    cause: Cause,
    application_id: str,
    resource_id: str,
    now_us: int,
    *,
    revision: int = 0,
) -> Receipt | None:
    """Stores the receipt of a request that is carried out now; returns None. Returns the earlier receipt where the request was
    carried out before: then nothing must be changed. Raises as ``find_same``.

    Of two requests under one id at the same time, the second one waits here until the first is committed.
    """
    if _insert(connection, cause, application_id, resource_id, revision, now_us):
        return None
    return find_same(connection, cause)


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


def find_same(connection: Connection, cause: Cause) -> Receipt | None:
    """Returns the receipt of the cause's request id, None where it has none or was not carried out yet.

    Raises AlreadyExists (REQUEST_ID_REUSED) where the request under that id was another one.
    """
    found = find(connection, cause.actor.credential_id, cause.request_id) if cause.request_id else None
    if found is not None:
        found.ensure_of(cause)
    return found


def _insert(
    connection: Connection, cause: Cause, application_id: str, resource_id: str, revision: int, now_us: int
) -> bool:
    """Stores a receipt where the cause has a request id; False where there is one under it already."""
    if not cause.request_id:
        return True
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
    return connection.execute(values.returning(RECEIPTS.c.request_id)).one_or_none() is not None

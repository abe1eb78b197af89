"""Receipts of requests that carried an id: the same one carried out twice changes nothing the second time.

A receipt belongs to whoever made the request: ids of others never collide. Each function runs inside the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from usageflow.domain.changes import Cause
from usageflow.domain.errors import AlreadyExists
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import RECEIPTS


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an earlier request was about: ids; ``revision`` 0 where it made none."""

    application_id: str
    resource_id: str
    revision: int = 0


def find_receipt(connection: Connection, cause: Cause) -> Receipt | None:
    """Returns the receipt of the cause's request id, None where it has none or was not carried out yet.

    Raises AlreadyExists (REQUEST_ID_REUSED) where the request under that id was another one.
    """
    if not cause.request_id:
        return None
    row = connection.execute(
        select(
            RECEIPTS.c.method,
            RECEIPTS.c.payload_hash,
            RECEIPTS.c.application_id,
            RECEIPTS.c.resource_id,
            RECEIPTS.c.revision,
        ).where(RECEIPTS.c.actor_id == cause.actor.credential_id, RECEIPTS.c.request_id == cause.request_id)
    ).one_or_none()
    if row is None:
        return None
    method, payload_hash, application_id, resource_id, revision = row
    if (method, payload_hash) != (cause.method, cause.payload_hash):
        raise AlreadyExists(
            "another request was carried out under this request_id: send a new id with each new request",
            reason="REQUEST_ID_REUSED",
        )
    return Receipt(application_id, resource_id, revision)


def claim_receipt(connection: Connection, cause: Cause, receipt: Receipt, now_us: int) -> Receipt | None:
    """Stores the receipt of a request that is carried out now; returns None. Returns the earlier receipt where the request was
    carried out before: then nothing must be changed. Raises as ``find_receipt``.

    Of two requests under one id at the same time, the second one waits here until the first is committed.
    """
    if not cause.request_id:
        return None
    statement = (
        upsert(connection, RECEIPTS)
        .on_conflict_do_nothing()
        .values(
            actor_id=cause.actor.credential_id,
            request_id=cause.request_id,
            method=cause.method,
            payload_hash=cause.payload_hash,
            application_id=receipt.application_id,
            resource_id=receipt.resource_id,
            revision=receipt.revision,
            created_us=now_us,
        )
        .returning(RECEIPTS.c.request_id)
    )
    if connection.execute(statement).one_or_none() is not None:
        return None
    return find_receipt(connection, cause)

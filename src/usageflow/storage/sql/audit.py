"""The audit log in SQL: entries are written in the transaction of what they tell of, and read page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from sqlalchemy import ColumnElement, Connection, select, update

from usageflow.domain.audit import AuditEntry, ChainedEntry, chained, values_of
from usageflow.domain.changes import Cause
from usageflow.storage.audit import AuditHead, AuditQuery, AuditRow
from usageflow.storage.sql.announcing import announce
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.statements import append_rows
from usageflow.storage.sql.tables import APPLICATIONS, AUDIT_HEAD, AUDIT_LOG, CREDENTIALS

_ENTRY = [AUDIT_LOG.c[field.name] for field in fields(AuditEntry)]


def append_entries(
    connection: Connection, cause: Cause, application_id: str, *, revision: int, now_us: int
) -> None:
    """Appends an entry per change of a cause, and announces the transaction. ``revision``: the one that the changes made, 0 for
    none.

    Call it last: whoever holds the chain's head holds up every other writer until the commit.
    """
    announce(connection)
    if not cause.changes:
        return
    head = select(AUDIT_HEAD.c.sequence, AUDIT_HEAD.c.digest).with_for_update()
    sequence, digest = connection.execute(head).one()
    entries = (
        AuditEntry(
            sequence=number,
            at_us=now_us,
            actor_id=cause.actor.credential_id,
            peer=cause.actor.peer,
            method=cause.method,
            application_id=application_id,
            action=change.action.value,
            kind=change.kind,
            resource_id=change.logged_id,
            revision=revision,
            request_id=cause.request_id,
        )
        for number, change in enumerate(cause.changes, sequence + 1)
    )
    links = list(chained(digest, entries))
    append_rows(connection, AUDIT_LOG, [(*values_of(link.entry), link.digest) for link in links])
    newest = links[-1]
    connection.execute(update(AUDIT_HEAD).values(sequence=newest.entry.sequence, digest=newest.digest))


class SqlAuditLog:
    """The AuditLog over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def audit_entries(self, query: AuditQuery) -> tuple[Sequence[AuditRow], AuditHead]:
        """See AuditLog."""
        return await self._database.read(lambda connection: _read(connection, query))


def _read(connection: Connection, query: AuditQuery) -> tuple[list[AuditRow], AuditHead]:
    named = AUDIT_LOG.outerjoin(CREDENTIALS, CREDENTIALS.c.credential_id == AUDIT_LOG.c.actor_id)
    named = named.outerjoin(APPLICATIONS, APPLICATIONS.c.application_id == AUDIT_LOG.c.application_id)
    statement = (
        select(*_ENTRY, AUDIT_LOG.c.digest, CREDENTIALS.c.name, APPLICATIONS.c.name)
        .select_from(named)
        .where(*_conditions(query))
        .order_by(AUDIT_LOG.c.sequence)
        .limit(query.limit)
    )
    rows = [
        AuditRow(ChainedEntry(AuditEntry(*entry), digest), actor or "", application or "")
        for *entry, digest, actor, application in connection.execute(statement)
    ]
    head = connection.execute(select(AUDIT_HEAD.c.sequence, AUDIT_HEAD.c.digest)).one()
    return rows, AuditHead(*head)


def _conditions(query: AuditQuery) -> Iterator[ColumnElement[bool]]:
    yield AUDIT_LOG.c.sequence > query.after
    for column, value in (
        (AUDIT_LOG.c.actor_id, query.actor_id),
        (AUDIT_LOG.c.application_id, query.application_id),
        (AUDIT_LOG.c.kind, query.kind),
    ):
        if value:
            yield column == value
    if query.since_us is not None:
        yield AUDIT_LOG.c.at_us >= query.since_us
    if query.until_us is not None:
        yield AUDIT_LOG.c.at_us < query.until_us

"""The audit log in SQL: entries are written in the transaction of what they tell of."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from usageflow.domain.audit import AuditEntry, chained, values_of
from usageflow.domain.changes import Cause
from usageflow.storage.sql.statements import append_rows
from usageflow.storage.sql.tables import AUDIT_HEAD, AUDIT_LOG


def append_entries(
    connection: Connection, cause: Cause, application_id: str, *, revision: int, now_us: int
) -> None:
    """Appends an entry per change of a cause. ``revision``: the one that the changes made, 0 for none.

    Call it last: whoever holds the chain's head holds up every other writer until the commit.
    """
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

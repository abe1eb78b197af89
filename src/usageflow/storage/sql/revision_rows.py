"""Revisions, tags and what is forgotten in time, in SQL; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, or_, select, update

from usageflow.domain.changes import Cause
from usageflow.domain.errors import NotFound
from usageflow.storage.resources import RevisionRow
from usageflow.storage.sql.audit import append_entries
from usageflow.storage.sql.control_write import lock_application
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import (
    APPLICATIONS,
    BLOCKS,
    CUSTOMERS,
    ENDPOINTS,
    RECEIPTS,
    RESOURCES,
    REVISION_TAGS,
    REVISIONS,
)

_R, _T = REVISIONS.c, REVISION_TAGS.c
_COLUMNS = (_R.revision, _R.created_us, _R.author, _R.author_id, _R.message)
_MAX_NUMBER = 2**63 - 1


def listed(
    connection: Connection, application_id: str, *, before: int | None, limit: int
) -> list[RevisionRow]:
    """Returns revisions, newest first."""
    statement = select(*_COLUMNS).where(_R.application_id == application_id)
    if before is not None:
        statement = statement.where(_R.revision < before)
    return _rows(connection, application_id, statement.order_by(_R.revision.desc()).limit(limit))


def named(connection: Connection, application_id: str, name: str) -> RevisionRow | None:
    """Returns the revision of a number or tag."""
    number: int | None
    if name.isascii() and name.isdigit():
        number = int(name[:19])
    else:
        tagged = select(_T.revision).where(_T.application_id == application_id, _T.tag == name)
        number = connection.scalar(tagged)
    if number is None or number > _MAX_NUMBER:
        return None
    one = select(*_COLUMNS).where(_R.application_id == application_id, _R.revision == number)
    return next(iter(_rows(connection, application_id, one)), None)


def tag(
    connection: Connection, application_id: str, revision: int, name: str, cause: Cause, now_us: int
) -> RevisionRow:
    """Tags a revision. Raises NotFound."""
    lock_application(connection, application_id)  # no revision is purged while it gets or loses a tag
    if named(connection, application_id, str(revision)) is None:
        raise NotFound(f"there is no revision {revision}: see `usageflow revisions list`")
    statement = upsert(connection, REVISION_TAGS).values(
        application_id=application_id,
        tag=name,
        revision=revision,
        created_us=now_us,
        author_id=cause.actor.credential_id,
    )
    columns = ("revision", "created_us", "author_id")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[_T.application_id, _T.tag],
            set_={column: statement.excluded[column] for column in columns},
        )
    )
    return _told(connection, application_id, revision, cause, now_us)


def untag(connection: Connection, application_id: str, name: str, cause: Cause, now_us: int) -> RevisionRow:
    """Takes a tag away. Raises NotFound."""
    lock_application(connection, application_id)  # no revision is purged while it gets or loses a tag
    one = delete(REVISION_TAGS).where(_T.application_id == application_id, _T.tag == name)
    revision = connection.execute(one.returning(_T.revision)).scalar_one_or_none()
    if revision is None:
        raise NotFound(f"there is no tag {name[:63]!r}: see `usageflow revisions list`")
    return _told(connection, application_id, revision, cause, now_us)


def purge(connection: Connection, *, revisions_us: int, deleted_us: int, receipts_us: int) -> int:
    """Forgets what is old; returns how many rows went."""
    # Held, so that nobody tags a revision after it was found to have no tag; the statements below see what was tagged before.
    applications = select(APPLICATIONS.c.application_id).order_by(APPLICATIONS.c.application_id)
    connection.execute(applications.with_for_update(key_share=True)).all()
    forgotten = 0
    for statement in (
        delete(REVISIONS).where(_R.created_us < revisions_us, ~_kept()),
        delete(RESOURCES).where(RESOURCES.c.deleted_us < deleted_us),
        delete(BLOCKS).where(BLOCKS.c.deleted_us < deleted_us),
        delete(ENDPOINTS).where(ENDPOINTS.c.deleted_us < deleted_us),
        delete(RECEIPTS).where(RECEIPTS.c.created_us < receipts_us),
    ):
        forgotten += connection.execute(statement).rowcount
    # A customer's row stays as the word to whoever still holds the customer, without what would bring the customer back.
    table = CUSTOMERS.c
    held = or_(
        table.identities != "[]", table.stripe_customer != "", table.plan != "", table.overrides != "[]"
    )
    old = and_(table.deleted_us < deleted_us, held)
    emptied = (
        update(CUSTOMERS).where(old).values(identities="[]", stripe_customer="", plan="", overrides="[]")
    )
    return forgotten + connection.execute(emptied).rowcount


def _kept() -> Any:
    tagged = exists().where(_T.application_id == _R.application_id, _T.revision == _R.revision)
    in_force = exists().where(
        APPLICATIONS.c.application_id == _R.application_id, APPLICATIONS.c.revision == _R.revision
    )
    return or_(tagged, in_force)


def _told(
    connection: Connection, application_id: str, revision: int, cause: Cause, now_us: int
) -> RevisionRow:
    append_entries(connection, cause, application_id, revision=0, now_us=now_us)
    found = named(connection, application_id, str(revision))
    return found or RevisionRow(revision, 0, "", "", "")  # an old one goes with its last tag


def _rows(connection: Connection, application_id: str, statement: Any) -> list[RevisionRow]:
    rows = connection.execute(statement).all()
    tags = _tags(connection, application_id, [row.revision for row in rows])
    return [
        RevisionRow(
            row.revision,
            row.created_us,
            row.author,
            row.author_id,
            row.message,
            tuple(tags.get(row.revision, ())),
        )
        for row in rows
    ]


def _tags(connection: Connection, application_id: str, revisions: Sequence[int]) -> dict[int, list[str]]:
    if not revisions:
        return {}
    statement = select(_T.revision, _T.tag).where(
        _T.application_id == application_id,
        _T.revision >= min(revisions),
        _T.revision <= max(revisions),
    )
    found: dict[int, list[str]] = {}
    for revision, name in connection.execute(statement.order_by(_T.tag)):
        found.setdefault(revision, []).append(name)
    return found

"""The rows of RESOURCES: what revisions do not tell of strategies, policies and plans. Inside the caller's transaction."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select

from usageflow.domain.garbage import uncollected
from usageflow.storage.resources import DeclaredKind, DeclaredRow, Stamp
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import RESOURCES

_FIELDS = {
    "strategies": DeclaredKind.STRATEGY,
    "policies": DeclaredKind.POLICY,
    "plans": DeclaredKind.PLAN,
}

_Key = tuple[DeclaredKind, str]


def record(
    connection: Connection, application_id: str, before: str, after: str, revision: int, now_us: int
) -> None:
    """Writes down what a revision changed: ``before`` and ``after`` are the documents of two revisions."""
    with uncollected():
        old, new = _items(before), _items(after)
    changed = []
    for key, item in new.items():
        if old.get(key) != item:
            changed.append(_row(application_id, key, revision, now_us))
    for key in old.keys() - new.keys():
        row = _row(application_id, key, revision, now_us)
        changed.append(row | {"deleted_us": now_us, "document": json.dumps(old[key])})
    _store(connection, changed)


def rows(connection: Connection, application_id: str) -> list[DeclaredRow]:
    """Returns an application's rows, by kind and name."""
    table = RESOURCES
    found = connection.execute(
        select(
            table.c.kind,
            table.c.name,
            table.c.created_us,
            table.c.updated_us,
            table.c.revision,
            table.c.deleted_us,
            table.c.document,
        )
        .where(table.c.application_id == application_id)
        .order_by(table.c.kind, table.c.name)
    )
    kinds = {kind.value: kind for kind in DeclaredKind}
    return [
        DeclaredRow(kinds[kind], name, Stamp(created, updated, revision, deleted), document or "")
        for kind, name, created, updated, revision, deleted, document in found
    ]


def _items(document: str) -> dict[_Key, Any]:
    content = json.loads(document)
    return {(kind, item["name"]): item for field, kind in _FIELDS.items() for item in content.get(field, ())}


def _row(application_id: str, key: _Key, revision: int, now_us: int) -> dict[str, Any]:
    kind, name = key
    return {
        "application_id": application_id,
        "kind": kind.value,
        "name": name,
        "created_us": now_us,
        "updated_us": now_us,
        "revision": revision,
        "deleted_us": None,
        "document": None,
    }


def _store(connection: Connection, changed: list[dict[str, Any]]) -> None:
    """Stores rows; what is there, or was and comes back, keeps the time that it was made at."""
    if not changed:
        return
    statement = upsert(connection, RESOURCES)
    statement = statement.on_conflict_do_update(
        index_elements=[RESOURCES.c.application_id, RESOURCES.c.kind, RESOURCES.c.name],
        set_={
            name: statement.excluded[name] for name in ("updated_us", "revision", "deleted_us", "document")
        },
    )
    connection.execute(statement, changed)

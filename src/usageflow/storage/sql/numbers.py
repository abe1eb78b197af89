"""Numbers that stand for names: from 1 upwards per application and kind, never given twice.

Callers hold the application's row (an update, or lock_application), so two transactions never number at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert, select

from usageflow.storage.ports import NumberKind
from usageflow.storage.sql.statements import chunked, upsert
from usageflow.storage.sql.tables import NUMBER_MARKS, NUMBERS


def assign_numbers(
    connection: Connection, application_id: str, kind: NumberKind, names: Sequence[str]
) -> Mapping[str, int]:
    """Returns the number of every name; names without one get the next, in order."""
    wanted = list(dict.fromkeys(names))
    known = _known(connection, application_id, kind, wanted)
    fresh = [name for name in wanted if name not in known]
    if not fresh:
        return known
    first = _last(connection, application_id, kind) + 1
    given = {name: first + index for index, name in enumerate(fresh)}
    connection.execute(
        insert(NUMBERS),
        [
            {"application_id": application_id, "kind": kind.value, "name": name, "number": number}
            for name, number in given.items()
        ],
    )
    _mark(connection, application_id, kind, first + len(fresh) - 1)
    return known | given


def _known(
    connection: Connection, application_id: str, kind: NumberKind, names: Sequence[str]
) -> dict[str, int]:
    known: dict[str, int] = {}
    for chunk in chunked(names):
        rows = connection.execute(
            select(NUMBERS.c.name, NUMBERS.c.number).where(
                NUMBERS.c.application_id == application_id,
                NUMBERS.c.kind == kind.value,
                NUMBERS.c.name.in_(chunk),
            )
        )
        known.update((name, number) for name, number in rows)
    return known


def _last(connection: Connection, application_id: str, kind: NumberKind) -> int:
    last = connection.scalar(
        select(NUMBER_MARKS.c.last_number).where(
            NUMBER_MARKS.c.application_id == application_id, NUMBER_MARKS.c.kind == kind.value
        )
    )
    return int(last or 0)


def _mark(connection: Connection, application_id: str, kind: NumberKind, last: int) -> None:
    statement = upsert(connection, NUMBER_MARKS).values(
        application_id=application_id, kind=kind.value, last_number=last
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[NUMBER_MARKS.c.application_id, NUMBER_MARKS.c.kind],
            set_={"last_number": statement.excluded.last_number},
        )
    )
